"""Where an adapter comes from: all that is needed to make it again, or to ask who made it."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attune.spec.v1.stage_pb2 import Method, Technique
from google.protobuf.json_format import MessageToDict

from services.trainer.attempt import list_attempts
from services.trainer.recipes.processor import processor_name
from services.trainer.run import Phase
from services.trainer.runtime.run_context import RunContext

LINEAGE = "lineage.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "safetensors")
CODE = ("trainer", "common")
"""Folders of `services/` that decide what a run does."""


def lineage(context: RunContext, create_time: str) -> dict[str, Any]:
    """Return where the result of a run comes from, as JSON.

    Args:
        context: The run, trained and evaluated by this attempt.
        create_time: Now, RFC 3339.
    """
    spec, manifest, stage = context.spec, context.manifest, context.stage
    base, data = spec.base_model, spec.data
    hyperparameters = MessageToDict(stage.hyperparameters, preserving_proto_field_name=True)
    return {
        "run": manifest.run,
        "job": manifest.job,
        "stage_index": manifest.stage_index,
        "spec": {"name": spec.name, "revision": spec.revision, "sha256": manifest.spec_hash},
        "base_model": {"id": base.id, "revision": base.revision, "licence": base.licence},
        "base_adapter_sha256": manifest.base_adapter_sha256,
        "data": {
            "dataset_sha256": data.dataset_sha256,
            "holdout_sha256": data.holdout_sha256,
            "split_seed": data.split_seed,
            "train_row_count": len(context.split.train),
            "validation_row_count": len(context.split.validation),
            "holdout_row_count": len(context.split.holdout),
        },
        "technique": Technique.Name(stage.technique).removeprefix("TECHNIQUE_"),
        "method": Method.Name(stage.method).removeprefix("METHOD_"),
        "hyperparameters": hyperparameters,
        "parallel_plan": MessageToDict(context.plan, preserving_proto_field_name=True),
        "seeds": {
            "training": stage.hyperparameters.seed,
            "split": data.split_seed,
            "evaluation": spec.evaluation.seed,
        },
        "code": {"version": _version("attune"), "source_sha256": source_sha256()},
        "libraries": {name: _version(name) for name in LIBRARIES},
        "hardware": {
            "node": manifest.node,
            "accelerator": manifest.accelerator,
            "processor": processor_name(cuda=context.use_cuda),
            "device_count": context.device_count,
            "threads": manifest.threads,
        },
        "attempts": _attempts(context),
        "create_time": create_time,
    }


def phase_seconds(context: RunContext) -> dict[str, float]:
    """Return the time of each phase that has ended, over all attempts, by its key."""
    found = {phase.key: 0.0 for phase in Phase}
    for attempt in _of_run(context):
        for timing in attempt.phases():
            if timing.end_time is not None:
                seconds = (timing.end_time - timing.start_time).total_seconds()
                found[timing.phase.key] += seconds
    return {key: seconds for key, seconds in found.items() if seconds > 0.0}


@cache
def source_sha256() -> str:
    """Return the hash of the code that trains and evaluates: a version may cover many states."""
    digest = sha256()
    services = Path(__file__).parents[2]
    for path in sorted(
        path
        for folder in CODE
        for kind in ("*.py", "*.yaml")
        for path in (services / folder).rglob(kind)
    ):
        digest.update(str(path.relative_to(services)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _attempts(context: RunContext) -> list[dict[str, Any]]:
    """Return who executed the attempts so far, the first one first."""
    found = []
    for attempt in reversed(_of_run(context)):
        manifest = attempt.manifest()
        if manifest is not None:
            found.append({"fence": manifest.fence, "node": manifest.node})
    return found


def _of_run(context: RunContext) -> list[Any]:
    manifest = context.manifest
    return list_attempts(context.artefacts.run(manifest.run_id), manifest.fence)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
