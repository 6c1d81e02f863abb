"""What a node must say of itself, and whether it could run a spec at all; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.spec_pb2 import BaseModel, Spec
from attune.spec.v1.stage_pb2 import Method, Technique

from services.common.errors import Violation

NODE_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
PROFILE_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
LIVE_S = 45.0
"""A node was heard of within this time: twice the longest wait of LeaseRun, and some more."""
LISTED_MAX = 5
"""Models that a sentence names."""


def check_node(node: Node) -> list[Violation]:
    """Return every rule that a node breaks.

    A kind of device that nobody has described breaks none: it is listed, and not used.

    Args:
        node: As its worker sent it; required fields are set.
    """
    found = []
    if not NODE_ID.fullmatch(node.id):
        text = f"'{node.id[:80]}' is not a node id, [a-z]([a-z0-9-]{{0,61}}[a-z0-9])?."
        found.append(Violation("node.id", "FORMAT", text))
    try:
        UUID(node.instance)
    except ValueError:
        text = f"'{node.instance[:80]}' is not a UUID. Make a new one when the worker starts."
        found.append(Violation("node.instance", "UUID", text))
    for name in ("core_count", "free_slot_count"):
        least = 1 if name == "core_count" else 0
        if getattr(node, name) < least:
            text = f"{getattr(node, name)} is less than {least}. Send at least {least}."
            found.append(Violation(f"node.{name}", "RANGE", text))
    for index, device in enumerate(node.devices):
        path = f"node.devices.{index}"
        if not PROFILE_ID.fullmatch(device.profile):
            text = f"'{device.profile[:80]}' is not a profile id, [a-z0-9][a-z0-9.-]{{0,62}}."
            found.append(Violation(f"{path}.profile", "FORMAT", text))
        if device.memory_bytes < 1:
            text = f"{device.memory_bytes} is less than 1. Send the bytes that runs may use."
            found.append(Violation(f"{path}.memory_bytes", "RANGE", text))
    for index, shape in enumerate(node.base_models):
        found += _check_shape(shape, f"node.base_models.{index}")
    return found


def _check_shape(shape: ModelShape, path: str) -> list[Violation]:
    """Refuse counts below zero; those of 0 were refused as left out."""
    return [
        Violation(f"{path}.{field.name}", "RANGE", f"{value} is below 0. Send the real count.")
        for field, value in shape.ListFields()
        if isinstance(value, int) and value < 0
    ]


def live_since(now: datetime) -> datetime:
    """Return the moment after which a live node must have been heard of."""
    return now - timedelta(seconds=LIVE_S)


def find_shape(model: BaseModel, nodes: Sequence[Node]) -> ModelShape | None:
    """Return a model's shape from the nodes that have it, the exact revision first."""
    shapes = [shape for node in nodes for shape in node.base_models if shape.id == model.id]
    exact = [shape for shape in shapes if shape.revision == model.revision]
    return next(iter(exact + shapes), None)


def unmet(spec: Spec, stage_index: int, node: Node) -> list[str]:
    """Return what a stage needs and the node has not, memory aside; a sentence with remedy each.

    Args:
        spec: The spec.
        stage_index: Position of the stage in it.
        node: A live node.
    """
    stage, found = spec.stages[stage_index], []
    if stage.technique not in node.techniques:
        wanted = Technique.Name(stage.technique).removeprefix("TECHNIQUE_")
        names = [Technique.Name(each).removeprefix("TECHNIQUE_") for each in node.techniques]
        found.append(
            f"No live trainer runs the technique {wanted}; choose {_one_of(names)}, or start one "
            "that does."
        )
    if stage.method not in node.methods:
        wanted = Method.Name(stage.method).removeprefix("METHOD_")
        names = [Method.Name(each).removeprefix("METHOD_") for each in node.methods]
        found.append(
            f"No live trainer runs the method {wanted}; choose {_one_of(names)}, or start one "
            "that does."
        )
    model = spec.base_model
    revisions = [shape.revision for shape in node.base_models if shape.id == model.id]
    if not revisions:
        found.append(
            f"The base model {model.id} is not at hand on a live trainer; get it there with "
            f"`python -m services.trainer.models.base_models ensure {model.id}` and restart "
            f"the trainer, or choose {_one_of([shape.id for shape in node.base_models])}."
        )
    elif model.revision and model.revision not in revisions:
        found.append(
            f"The base model {model.id} is at hand in revision {revisions[0]}, not "
            f"{model.revision}; propose the spec again to take the one that is."
        )
    return found


def _one_of(names: Sequence[str]) -> str:
    shown = list(names[:LISTED_MAX])
    return " or ".join(shown) if shown else "another one"
