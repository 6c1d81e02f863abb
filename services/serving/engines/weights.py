"""What computes an answer: a model, and perhaps an adapter beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """The weights behind a name; an engine holds one model and some adapters of it."""

    model_id: str
    """Id of the model that the engine loads, such as `attune/starter` or `merged/1a2b3c4d5e6f`."""
    revision: str
    """Its exact revision."""
    adapter_sha256: str = ""
    """Hash of the adapter's manifest; empty for the model itself."""

    @property
    def engine_model(self) -> str:
        """Its name in the engine."""
        return self.adapter_sha256 or self.model_id

    @property
    def model(self) -> Weights:
        """The model without an adapter."""
        return Weights(self.model_id, self.revision)
