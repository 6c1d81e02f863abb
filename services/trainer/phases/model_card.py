"""The card of a model version: what it is for, what it learnt from, what it can do, its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.spec_pb2 import Spec
from google.protobuf.json_format import ParseDict

from services.trainer.evaluation.page_files import copy_page
from services.trainer.evaluation.page_markdown import plain, table
from services.trainer.runtime.lineage import LINEAGE
from services.trainer.runtime.run_context import RunContext

CARD = "README.md"
HUB_LICENCES = frozenset(
    {
        "apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "cc-by-4.0", "cc-by-sa-4.0",
        "cc-by-nc-4.0", "cc0-1.0", "openrail", "bigscience-openrail-m", "gemma", "llama2", "llama3",
        "llama3.1", "llama3.2", "llama3.3",
    }
)  # fmt: skip
"""Licences that the Hub knows by these names; any other is `other` with its own name."""
FULL = "FULL"


def describe(context: RunContext, folder: Path, tuned: Mapping[str, Any]) -> None:
    """Write lineage, card and page of a version beside its weights.

    Args:
        context: The run.
        folder: Of what is published.
        tuned: What EVALUATE returned.
    """
    # As it was when the run was evaluated: registering again after a crash gives the same bytes,
    # on whatever machine.
    made = tuned["lineage"]
    report = ParseDict(tuned["report"], EvaluationReport())
    (folder / LINEAGE).write_text(json.dumps(made, indent=1, sort_keys=True))
    (folder / CARD).write_text(card(context.spec, report, made), encoding="utf-8")
    copy_page(context, folder)


def card(spec: Spec, report: EvaluationReport, made: Mapping[str, Any]) -> str:
    """Return the card as Markdown with the Hub's header; pure."""
    parts = [_header(spec, report, made), f"# {plain(spec.display_name or spec.serving.alias)}"]
    parts += [plain(_summary(made)), "## Intended use", plain(spec.objective.problem)]
    if spec.objective.users:
        parts.append(f"Users: {plain(spec.objective.users)}")
    if spec.objective.out_of_scope:
        parts += ["Not for:", *_points(spec.objective.out_of_scope)]
    parts += ["## Data", *_points(_data(made))]
    verdict = EvaluationReport.Verdict.Name(report.verdict).removeprefix("VERDICT_")
    parts += [
        "## Results",
        f"Verdict: **{verdict.lower().replace('_', ' ')}** than its base on "
        f"{report.holdout_row_count} held-out rows."
        if report.verdict != EvaluationReport.VERDICT_CANNOT_TELL
        else f"Verdict: **cannot tell**, from {report.holdout_row_count} held-out rows.",
        table(("", "score", f"{100 * report.confidence:g} % interval"), _results(report)),
        *_points(report.verdict_reasons),
    ]
    parts += ["## Limits", *_points(_limits(report))]
    parts += ["## How it was made", table(("", ""), _origin(made))]
    parts.append("`lineage.json` has all of this for programs, `report.html` the whole evaluation.")
    return "\n\n".join(parts) + "\n"


def _header(spec: Spec, report: EvaluationReport, made: Mapping[str, Any]) -> str:
    """Return the header in YAML; its scalars are JSON, which YAML reads."""
    licence = spec.base_model.licence
    known = licence.lower() in HUB_LICENCES
    fields: dict[str, Any] = {
        "base_model": spec.base_model.id,
        "base_model_relation": "finetune" if made["method"] == FULL else "adapter",
        "library_name": "transformers" if made["method"] == FULL else "peft",
        "pipeline_tag": "text-generation",
        "license": licence.lower() if known else "other",
    }
    if licence and not known:
        fields["license_name"] = licence
    if spec.objective.languages:
        fields["language"] = list(spec.objective.languages)
    fields["tags"] = ["attune", made["technique"].lower(), made["method"].lower()]
    fields["metrics"] = [one.grader for one in report.graders]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _summary(made: Mapping[str, Any]) -> str:
    base = made["base_model"]
    what = "Weights" if made["method"] == FULL else f"A {made['method']} adapter"
    return (
        f"{what} for {base['id']} at revision {base['revision'][:12]}, trained by "
        f"{made['technique']}. Its use is bound to the licence of the base model: "
        f"{base['licence'] or 'not known; ask whoever gave you the base'}."
    )


def _data(made: Mapping[str, Any]) -> list[str]:
    data = made["data"]
    held = data["holdout_sha256"]
    return [
        f"{data['train_row_count']} rows were taught and {data['validation_row_count']} chose the "
        f"checkpoint, of the dataset with SHA-256 {data['dataset_sha256']}.",
        f"{data['holdout_row_count']} rows were held out, "
        + (f"of the dataset with SHA-256 {held}." if held else "chosen by seed from the same."),
    ]


def _results(report: EvaluationReport) -> list[tuple[str, str, str]]:
    labels = {
        "tuned_interval": f"tuned, {report.grader}",
        "base_interval": "base",
        "few_shot_interval": "base with examples in its prompt",
        "majority_interval": "most frequent training answer",
    }
    measured = {field.name: value for field, value in report.ListFields()}
    rows = [
        (label, f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}")
        for name, label in labels.items()
        if (one := measured.get(name)) is not None
    ]
    change = f"{report.interval_low:+.3f} to {report.interval_high:+.3f}"
    return [*rows, ("tuned less base", f"{report.difference:+.3f}", change)]


def _limits(report: EvaluationReport) -> list[str]:
    told = [
        f"Measured on {report.holdout_row_count} rows like those that it was taught; of other "
        "requests nothing is known.",
        report.general_ability.summary,
        report.overfit.summary,
        report.leakage.summary,
    ]
    if report.regressions:
        told.append(
            f"It got worse on some rows that the base had right; {len(report.regressions)} of them "
            "stand in report.html."
        )
    return [text for text in told if text]


def _origin(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    hardware, code = made["hardware"], made["code"]
    return [
        ("plan", made["spec"]["sha256"]),
        ("run", made["run"]),
        ("base revision", made["base_model"]["revision"]),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in made["seeds"].items())),
        ("hardware", f"{hardware['device_count']} x {hardware['processor']}"),
        ("code", f"attune {code['version']}, source {code['source_sha256'][:12]}"),
        ("libraries", ", ".join(f"{name} {text}" for name, text in made["libraries"].items())),
        ("made", made["create_time"]),
    ]


def _points(texts: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {plain(text)}" for text in texts)]
