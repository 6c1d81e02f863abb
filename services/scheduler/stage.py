"""Stages of a spec in words; pure."""

from __future__ import annotations

from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Technique


def stage_title(spec: Spec, index: int) -> str:
    """Return a stage by its position, such as `Stage 2 of 2 (DPO)`."""
    technique = Technique.Name(spec.stages[index].technique).removeprefix("TECHNIQUE_")
    return f"Stage {index + 1} of {len(spec.stages)} ({technique})"


def runs(spec: Spec, index: int) -> str:
    """Return what runs; of a spec of one stage that needs no saying."""
    return f"{stage_title(spec, index)} runs" if len(spec.stages) > 1 else "Runs"
