"""Gathers what a plan is made from: models, recipes and datasets."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import NotFound, Unavailable, Violation, invalid
from services.planner import wire
from services.planner.dataset.facts import DatasetFacts
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.plan.catalogue import CatalogueModel, narrow
from services.planner.plan.recipe import Recipe
from services.planner.plan.stages import Sources


class SourceReader:
    """Reads the sources of plans."""

    def __init__(
        self,
        datasets: DatasetStore,
        trainer: Trainer,
        catalogue: Sequence[CatalogueModel],
        recipes: tuple[Recipe, ...],
        allowed_models: Sequence[str],
    ) -> None:
        """Keep where everything comes from.

        Args:
            datasets: What was uploaded.
            trainer: Knows which models are at hand.
            catalogue: All models that plans may name.
            recipes: Hyperparameters by size.
            allowed_models: Ids that the operator allows; empty for all.
        """
        self._datasets = datasets
        self._trainer = trainer
        self._catalogue = catalogue
        self._recipes = recipes
        self._allowed = allowed_models

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
                f"services.trainer.base_models ensure {model.id}`, then upload again.",
                reason="NO_BASE_MODEL_AT_HAND",
                base_model=model.id,
            )
        return model

    async def dataset(self, name: str) -> DatasetFacts:
        """Return the facts of a dataset.

        Raises:
            NotFound: If there is none of that name.
        """
        return wire.facts_from_proto(await self._datasets.get(name))

    async def read(self, dataset: str, holdout_dataset: str) -> Sources:
        """Return everything a plan needs.

        Args:
            dataset: Name of the rows to learn from.
            holdout_dataset: Name of the rows to hold out; empty when a share is.

        Raises:
            NotFound: If a dataset does not exist.
            Unavailable: If the trainer cannot be asked now.
        """
        return Sources(
            dataset=await self.dataset(dataset),
            holdout=await self.dataset(holdout_dataset) if holdout_dataset else None,
            models=await self.models(),
            narrowed=bool(self._allowed),
            recipes=self._recipes,
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
