"""Fills in what follows from a spec's decisions: facts of its base model and of its data."""

from __future__ import annotations

from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.dataset.facts import DatasetFacts
from services.planner.dataset.split import minimum_detectable_difference
from services.planner.plan.catalogue import CatalogueModel

TRAINED_FORMATS = ("", "chat", "tool_calls", "prompt_completion", "mixed")
"""Shapes that the trainer reads; empty while unknown."""
CONVERTED = {
    "prompt_completion": "Make a chat of each prompt and its completion.",
    "mixed": "Make chats of prompts with completions; a row that is neither stops the run.",
}
"""What the trainer makes of rows that are no chats."""


def set_base_model(spec: spec_pb2.Spec, model: CatalogueModel) -> None:
    """Write the facts of the chosen base model, and its revision when none was chosen."""
    chosen = spec.base_model
    chosen.revision = chosen.revision or model.revision
    chosen.licence = model.licence
    chosen.context_length = model.context_length
    chosen.parameter_count = model.parameter_count
    del chosen.languages[:]
    chosen.languages.extend(model.languages)


def set_data(
    spec: spec_pb2.Spec,
    dataset: DatasetFacts | None,
    holdout: DatasetFacts | None,
    described_rows: int = 0,
) -> None:
    """Write the facts of the chosen dataset and hold-out.

    Args:
        spec: Its `data` names both; `holdout_rows`, else `holdout_fraction`, counts when there is
            no hold-out.
        dataset: The rows to learn from; None while they are only described.
        holdout: The rows that are held out; None when a share of `dataset` is.
        described_rows: Rows that a person said there are; 0 keeps what the spec holds.
    """
    data = spec.data
    data.provisional = dataset is None
    if dataset is not None:
        row_count = dataset.report.row_count
        if data.drop_repeated_rows:
            row_count -= dataset.report.duplicate_row_count
        data.dataset_sha256 = dataset.sha256
        data.format = dataset.report.format
    else:
        row_count = described_rows or data.train_row_count + data.holdout_row_count
        data.ClearField("dataset_sha256")
        data.ClearField("format")
    if holdout is not None:
        data.split_method = spec_pb2.Data.SPLIT_METHOD_GIVEN
        data.holdout_sha256 = holdout.sha256
        data.holdout_row_count = holdout.report.row_count
    else:
        data.split_method = spec_pb2.Data.SPLIT_METHOD_RANDOM
        data.ClearField("holdout_sha256")
        share = round(row_count * data.holdout_fraction)
        wanted = data.holdout_rows if data.HasField("holdout_rows") else share
        data.holdout_row_count = min(wanted, row_count)
    data.train_row_count = row_count if holdout else row_count - data.holdout_row_count
    held = data.holdout_row_count
    data.minimum_detectable_difference = (
        round(minimum_detectable_difference(held), 4) if held else 0
    )
    del data.preparation_steps[:]
    data.preparation_steps.extend(_steps(spec, dataset.report if dataset else None))


def _steps(spec: spec_pb2.Spec, report: dataset_pb2.DatasetReport | None) -> list[str]:
    """Return what a person has to do to the rows, then what the trainer does to them."""
    taught = any(stage.technique == stage_pb2.TECHNIQUE_SFT for stage in spec.stages)
    steps = _asked(spec, report, taught) if report is not None else []
    if not spec.stages:
        return steps
    if report is None:
        steps.append("You: upload the rows; until then every figure here is what was said.")
    if report is not None and spec.data.drop_repeated_rows:
        steps.append(f"Leave out {rows_of(report.duplicate_row_count)} equal to an earlier one.")
    if spec.data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM:
        steps.append(
            "Hold out rows by seed: near equals stay on one side, and every label keeps its share."
        )
    steps.append(
        "Set a share of the training rows aside by the same seed to choose the checkpoint."
    )
    shape = report.format if report is not None else ""
    if taught and shape in CONVERTED:
        steps.append(CONVERTED[shape])
    if taught:
        steps += [
            "Render every row with the base model's own chat template.",
            "Mask all tokens but those of the assistant's answers.",
        ]
    return steps


def _asked(spec: spec_pb2.Spec, report: dataset_pb2.DatasetReport, taught: bool) -> list[str]:
    counts = {each.code: each.count for each in report.finding_counts}
    personal = sum(count for code, count in counts.items() if code.startswith(("personal", "pii")))
    planted = sum(count for code, count in counts.items() if "injection" in code)
    bad = report.row_count - report.valid_row_count if report.valid_row_count else 0
    kept = 0 if spec.data.drop_repeated_rows else report.duplicate_row_count
    asked = [
        (bad, "mend or drop {} with faults, which the report lists"),
        (kept, "remove {} equal to an earlier one"),
        (report.near_duplicate_row_count, "look at {} nearly equal to an earlier one"),
        (report.holdout_overlap_count, "remove {} that the hold-out holds too"),
        (report.contradictory_row_count, "settle {} whose prompt has another answer elsewhere"),
        (personal, "mask what the report calls personal, in {}"),
        (planted, "take out {} with instructions to a model"),
    ]
    found = [f"You: {text.format(rows_of(count))}." for count, text in asked if count]
    if report.format == "mixed" and not taught:
        found.insert(0, "You: bring the rows into one shape; the file holds several.")
    elif taught and report.format == "preference":
        found.insert(0, "You: make chat rows of the prompts and their preferred answers.")
    elif taught and report.format not in TRAINED_FORMATS:
        found.insert(0, "You: write each row as a chat that ends in the wanted answer.")
    if report.format == "ratings" and not taught:
        found.append("You: pair liked with disliked answers to the same prompt; leave out ties.")
    return found


def rows_of(count: int) -> str:
    """Return a number of rows in words: `1 row`, `1,540 rows`."""
    return "1 row" if count == 1 else f"{count:,} rows"
