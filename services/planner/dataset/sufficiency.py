"""Whether there are enough rows for a technique, by published rules."""

from __future__ import annotations

from dataclasses import dataclass

from attune.planner.v1 import dataset_pb2

from services.planner.dataset import shapes

Level = dataset_pb2.Sufficiency.Level


@dataclass(frozen=True)
class Rule:
    """How many rows a technique needs."""

    technique: str
    """`SFT`, `DPO`, `RLVR` or `RLAIF`."""
    formats: frozenset[str]
    """Shapes of rows that fit it."""
    unit: str
    """What one row is, plural."""
    start: int
    """Fewer show nothing that can be relied on."""
    enough: int
    """As many are recommended."""
    reason: str
    """What is known of the numbers, one clause."""
    source: str
    """Where that was published."""


_OPENAI_SFT = "https://developers.openai.com/docs/guides/distillation"
RULES = (
    Rule(
        "SFT",
        frozenset({shapes.CHAT, shapes.PAIR, shapes.TOOL_CALLS, shapes.TEXT}),
        "demonstrations",
        50,
        200,
        "10 are the least that is taken, gains show from 50 to 100 on, and 200 to 1,000 are good "
        "for a format or a style",
        f"{_OPENAI_SFT}; https://docs.fireworks.ai/fine-tuning/fine-tuning-models",
    ),
    Rule(
        "DPO",
        frozenset({shapes.PREFERENCE}),
        "pairs",
        200,
        500,
        "200 to 500 are where to start, and 1,000 to 10,000 are good",
        "https://docs.fireworks.ai/fine-tuning/dpo-fine-tuning (the least); the rest is our own "
        "rule, for want of a published one",
    ),
    Rule(
        "RLVR",
        frozenset({shapes.REFERENCE}),
        "prompts with a reference",
        100,
        200,
        "100 to 200 prompts that the base sometimes solves are where to start, and 20,000 the most "
        "that services take",
        "https://docs.aws.amazon.com/bedrock/latest/userguide/rft-prepare-data.html (the most); "
        "NVIDIA-NeMo/nemo-helix docs/customizer/grpo-training.mdx",
    ),
    Rule(
        "RLAIF",
        frozenset({shapes.PROMPTS, shapes.REFERENCE}),
        "prompts with a rubric",
        200,
        200,
        "200 are recommended, with a judge that was checked on at least 50 answers which people "
        "have judged",
        "microsoft/azure-skills skills/microsoft-foundry/finetuning/references/reward-hacking.md",
    ),
)
"""By technique, in the order of docs and plans."""


def judge(report: dataset_pb2.DatasetReport) -> list[dataset_pb2.Sufficiency]:
    """Return a verdict for each technique.

    Rows count that have no error and are no repeat, exact or near, of an earlier one.

    Args:
        report: With its format and its counts of rows.
    """
    repeats = report.duplicate_row_count + report.near_duplicate_row_count
    usable = max(0, report.valid_row_count - repeats)
    return [_verdict(rule, report.format, usable) for rule in RULES]


def _verdict(rule: Rule, row_format: str, usable: int) -> dataset_pb2.Sufficiency:
    verdict = dataset_pb2.Sufficiency(technique=rule.technique, source=rule.source)
    needed = f"at least {rule.start:,} {rule.unit}, better {rule.enough:,}: {rule.reason}."
    if rule.start == rule.enough:
        needed = f"at least {rule.start:,} {rule.unit}: {rule.reason}."
    if row_format not in rule.formats:
        fitting = " or ".join(sorted(rule.formats))
        verdict.level = dataset_pb2.Sufficiency.LEVEL_UNFIT
        verdict.rule = (
            f"{rule.technique} learns from rows of the shape {fitting}, not {row_format}."
        )
        return verdict
    if usable < rule.start:
        verdict.level = dataset_pb2.Sufficiency.LEVEL_TOO_SMALL
    elif usable < rule.enough:
        verdict.level = dataset_pb2.Sufficiency.LEVEL_THIN
    else:
        verdict.level = dataset_pb2.Sufficiency.LEVEL_ENOUGH
    verdict.rule = f"{usable:,} usable rows; {rule.technique} needs {needed}"
    return verdict
