"""Fills in what follows from a spec's decisions: facts of its base model and of its data."""

from __future__ import annotations

from attune.spec.v1 import spec_pb2

from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.catalogue import CatalogueModel


def set_base_model(spec: spec_pb2.Spec, model: CatalogueModel) -> None:
    """Write the facts of the chosen base model, and its revision when none was chosen."""
    chosen = spec.base_model
    chosen.revision = chosen.revision or model.revision
    chosen.licence = model.licence
    chosen.context_length = model.context_length
    chosen.parameter_count = model.parameter_count


def set_data(spec: spec_pb2.Spec, dataset: DatasetFacts, holdout: DatasetFacts | None) -> None:
    """Write the facts of the chosen dataset and hold-out.

    Args:
        spec: Its `data` names both; `holdout_fraction` counts when there is no hold-out.
        dataset: The rows to learn from.
        holdout: The rows that are held out; None when a share of `dataset` is.
    """
    data, row_count = spec.data, dataset.report.row_count
    data.dataset_sha256 = dataset.sha256
    data.format = dataset.report.format
    if holdout is not None:
        data.split_method = spec_pb2.Data.SPLIT_METHOD_GIVEN
        data.holdout_sha256 = holdout.sha256
        data.holdout_row_count = holdout.report.row_count
    else:
        data.split_method = spec_pb2.Data.SPLIT_METHOD_RANDOM
        data.ClearField("holdout_sha256")
        data.holdout_row_count = round(row_count * data.holdout_fraction)
    data.train_row_count = row_count if holdout else row_count - data.holdout_row_count
    del data.preparation_steps[:]
    data.preparation_steps.extend(_steps(spec))


def _steps(spec: spec_pb2.Spec) -> list[str]:
    steps = []
    if spec.data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM:
        steps.append("Hold out a seeded random share of the rows.")
    return [
        *steps,
        "Set a seeded share of the training rows aside to choose the checkpoint.",
        "Render every row with the base model's own chat template.",
        "Mask all tokens but those of the assistant's answers.",
    ]
