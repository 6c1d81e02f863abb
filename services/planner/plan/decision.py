"""What the rules decide from the brief and the data, before a plan is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.plan.notices import Note


@dataclass(frozen=True)
class Decision:
    """Whether to train, how, and how to judge the result."""

    recommendation: spec_pb2.Verdict.Recommendation.ValueType | None
    """The advice; None when no spec may exist (rule V1)."""
    rules: tuple[str, ...]
    """Rules that fired, that of the verdict first."""
    reason: str
    """One sentence with its figures."""
    instead: tuple[str, ...]
    """What to do instead, in order; empty when training is advised."""
    would_change: tuple[str, ...]
    """What would change the advice."""
    techniques: tuple[stage_pb2.Technique.ValueType, ...]
    """One per stage, in order; empty when nothing is trained."""
    method: stage_pb2.Method.ValueType
    """LORA unless something else was said."""
    technique_reason: str
    """One sentence."""
    technique_origin: str
    """The rule, such as `rule T2: pairs`."""
    rejected: Mapping[str, str]
    """Why not, by title of what else was considered."""
    grader_kinds: tuple[str, ...]
    """Kinds of check by rules G1 to G11, the deciding one first."""
    task: str
    """A value of `vocabulary.Task`; empty while unknown."""
    notes: tuple[Note, ...]
    """What the person should know."""
