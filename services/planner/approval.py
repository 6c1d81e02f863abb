"""What keeps a plan from being approved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.judged import lack_of_judge
from services.planner.spec.facts import TRAINED_FORMATS

SEEN_ANEW = frozenset({"provisional", "data_invalid", "base_model_not_at_hand", "no_judge"})
"""Blocking notices whose cause is looked at when the approval is asked for; it may be gone."""
LEARNS_FROM = {
    stage_pb2.TECHNIQUE_SFT: (
        TRAINED_FORMATS,
        "Write each row as a chat that ends in the wanted answer, and attach that file.",
    ),
    stage_pb2.TECHNIQUE_DPO: (
        ("", "preference"),
        "Attach rows with a preferred and a rejected answer, or train with SFT.",
    ),
}
"""Shapes of rows by technique, empty while unknown, and what to do with others. Prompts for
reinforcement can be taken from rows of any shape."""
SFT_THEN_DPO = [stage_pb2.TECHNIQUE_SFT, stage_pb2.TECHNIQUE_DPO]
"""Techniques of a plan whose first stage learns the preferred answers of pairs."""


@dataclass(frozen=True)
class Bar:
    """One reason against an approval."""

    reason: str
    """UPPER_SNAKE, for programs."""
    text: str
    """One or two sentences with the remedy."""


def bars(
    spec: spec_pb2.Spec,
    dataset: DatasetFacts | None,
    holdout: DatasetFacts | None,
    *,
    has_judge: bool | None = None,
) -> list[Bar]:
    """Return everything but the hardware that keeps a plan from being approved.

    Args:
        spec: The newest revision.
        dataset: What it would learn from; None while the rows are only described.
        holdout: What it would be judged on; None when a share of the dataset is.
        has_judge: Whether the trainer has a model for graders to ask. None while it does not say:
            then nothing stands against the plan, for VALIDATE looks again.
    """
    found = []
    if not spec.stages:
        instead = spec.verdict.instead[0] if spec.verdict.instead else ""
        text = f"It trains nothing. {spec.verdict.reason} {instead}".strip()
        found.append(Bar("TRAINS_NOTHING", text))
    if spec.data.provisional or dataset is None:
        text = "Its rows are only described. Upload them and attach the dataset."
        found.append(Bar("DATA_MISSING", text))
    for facts in (dataset, holdout):
        if facts is not None and not facts.valid:
            text = (
                f"{facts.display_name} holds rows with errors; `attune dataset show --findings` "
                "lists them. Correct the file and attach the new one."
            )
            found.append(Bar("DATA_INVALID", text))
    if dataset is not None and spec.stages and (text := _unfit(spec.stages, dataset)):
        found.append(Bar("DATA_UNFIT", text))
    if has_judge is False and spec.stages and (text := lack_of_judge(spec)):
        found.append(Bar("NO_JUDGE", text))
    for notice in spec.notices:
        blocks = notice.severity == spec_pb2.Notice.SEVERITY_BLOCKING
        if blocks and notice.code not in SEEN_ANEW:
            found.append(Bar(notice.code.upper(), notice.message))
    return found


def _unfit(stages: Sequence[stage_pb2.Stage], dataset: DatasetFacts) -> str:
    """Return why stages do not learn from rows of this shape; empty when they do."""
    shape, technique = dataset.report.format, stages[0].technique
    if shape == "preference" and [each.technique for each in stages] == SFT_THEN_DPO:
        return ""  # SFT learns the preferred answers.
    formats, remedy = LEARNS_FROM.get(technique, ((shape,), ""))
    if shape in formats:
        return ""
    name = stage_pb2.Technique.Name(technique).removeprefix("TECHNIQUE_")
    whose = f"{dataset.display_name} holds rows of the shape {shape}"
    return f"{whose}, which {name} does not learn from. {remedy}"
