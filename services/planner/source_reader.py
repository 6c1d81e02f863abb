"""Gathers what a plan is made from: models, recipes and datasets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from attune.planner.v1 import dataset_pb2

from services.common.errors import NotFound, Unavailable, Violation, invalid
from services.planner import wire
from services.planner.dataset.facts import DatasetFacts
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.plan.catalogue import CatalogueModel, narrow
from services.planner.plan.recipe import Recipe
from services.planner.plan.stages import Sources

REPORT_WAIT_S = 20.0
REPORT_POLL_S = 0.1


class SourceReader:
    """Reads the sources of plans."""

    def __init__(
        self,
        datasets: DatasetStore,
        trainer: Trainer,
        catalogue: Sequence[CatalogueModel],
        recipes: tuple[Recipe, ...],
        allowed_models: Sequence[str],
        report_wait_s: float = REPORT_WAIT_S,
    ) -> None:
        """Keep where everything comes from.

        Args:
            datasets: What was uploaded.
            trainer: Knows which models are at hand.
            catalogue: All models that plans may name.
            recipes: Hyperparameters by size.
            allowed_models: Ids that the operator allows; empty for all.
            report_wait_s: Longest wait for a report that is being made, in seconds.
        """
        self._datasets = datasets
        self._trainer = trainer
        self._catalogue = catalogue
        self._recipes = recipes
        self._allowed = allowed_models
        self._report_wait_s = report_wait_s

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes that hyperparameters come from."""
        return self._recipes

    async def models(self) -> tuple[CatalogueModel, ...]:
        """Return the models that a plan may name, best default first.

        Raises:
            Unavailable: If the trainer cannot be asked, or the operator allows only unknown models.
        """
        models = narrow(self._catalogue, await self._trainer.list_models(), self._allowed)
        if not models:
            allowed = ", ".join(self._allowed)
            raise Unavailable(
                f"ATTUNE_PLANNER_BASE_MODELS allows only {allowed}, which is neither in the "
                "catalogue nor at hand in the trainer. Correct it or bring the model there.",
                reason="NO_BASE_MODEL",
                base_models=allowed,
            )
        return models

    async def model_at_hand(self) -> CatalogueModel:
        """Return the default base model, which counts tokens.

        Raises:
            Unavailable: If none that a plan may name is at hand.
        """
        model = (await self.models())[0]
        if not model.is_at_hand:
            raise Unavailable(
                "No base model is at hand, so tokens cannot be counted. Run `python -m "
                f"services.trainer.models.base_models ensure {model.id}`, then upload again.",
                reason="NO_BASE_MODEL_AT_HAND",
                base_model=model.id,
            )
        return model

    async def has_judge(self) -> bool | None:
        """Return whether graders may ask a model; None while the trainer cannot be asked."""
        return await self._trainer.has_judge()

    async def dataset(self, name: str) -> DatasetFacts:
        """Return the facts of a dataset, after a wait for its report when that is being made.

        Raises:
            NotFound: If there is none of that name.
            Unavailable: If its report takes longer; the message says how far it is.
        """
        latest = time.monotonic() + self._report_wait_s
        while True:
            dataset = await self._datasets.get(name)
            if dataset.state != dataset_pb2.Dataset.STATE_ANALYSING:
                return wire.facts_from_proto(dataset)
            if time.monotonic() >= latest:
                raise Unavailable(
                    f"The report of {dataset.display_name or name} is {dataset.progress:.0%} made, "
                    "and a plan needs it. Nothing was kept; send the same request again.",
                    reason="REPORT_IN_PROGRESS",
                    retry_after_s=5.0,
                    dataset=name,
                    progress=f"{dataset.progress:.4f}",
                )
            await asyncio.sleep(REPORT_POLL_S)

    async def rows(
        self, dataset: str, holdout_dataset: str
    ) -> tuple[DatasetFacts | None, DatasetFacts | None]:
        """Return the rows to learn from and those to hold out; None for an empty name.

        Raises:
            NotFound: If a dataset does not exist.
            Unavailable: If a report is still being made.
        """
        return (
            await self.dataset(dataset) if dataset else None,
            await self.dataset(holdout_dataset) if holdout_dataset else None,
        )

    async def read(self, dataset: str, holdout_dataset: str) -> Sources:
        """Return everything a plan needs.

        Args:
            dataset: Name of the rows to learn from; empty while they are only described.
            holdout_dataset: Name of the rows to hold out; empty when a share is.

        Raises:
            NotFound: If a dataset does not exist.
            Unavailable: If the trainer cannot be asked now, or a report is still being made.
        """
        rows, holdout = await self.rows(dataset, holdout_dataset)
        return Sources(
            dataset=rows,
            holdout=holdout,
            models=await self.models(),
            narrowed=bool(self._allowed),
            recipes=self._recipes,
            has_judge=await self.has_judge(),
        )

    async def named(self, dataset: str, holdout_dataset: str) -> Sources:
        """Return the sources for names that a person wrote into a spec.

        Raises:
            InvalidArgument: If a dataset does not exist.
            Unavailable: If the trainer cannot be asked now.
        """
        try:
            return await self.read(dataset, holdout_dataset)
        except NotFound as error:
            field = (
                "data.dataset" if error.metadata["dataset"] == dataset else "data.holdout_dataset"
            )
            raise invalid([Violation(field, "UNKNOWN_DATASET", error.message)]) from None
