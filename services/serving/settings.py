"""Serving's settings."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from services.common.settings import Settings

ENGINE_URL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}=https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/?"
)


class ServingSettings(Settings):
    """What `python -m services.serving` reads from the environment."""

    port: int = Field(7104, ge=0, le=65535)
    """Port of the gRPC server, in [0, 65535]; 0 picks a free one."""
    database_url: str = ""
    """Database; empty for sqlite+aiosqlite:///$ATTUNE_HOME/serving.db."""
    scheduler_address: str = "127.0.0.1:7102"
    """Host and port of the scheduler, which the reconciler asks for succeeded jobs."""
    trainer_address: str = "127.0.0.1:7103"
    """Host and port of the trainer, which merges adapters and runs graders."""
    http_port: int = Field(7180, ge=0, le=65535)
    """Port of the OpenAI-compatible endpoint, in [0, 65535]; 0 picks a free one."""
    engine_port: int = Field(7190, ge=0, le=65535)
    """Port of the first engine, which listens on loopback only, in [0, 65535]; 0 picks a free one.
    Further engines pick free ones."""
    base_model: str = Field("attune/starter", min_length=1)
    """Id of the base model whose engine is kept warm."""
    engine_replicas: int = Field(1, ge=1, le=16)
    """Engines of the warm model and of each model that is deployed, in [1, 16]."""
    engine_processes_max: int = Field(2, ge=1, le=64)
    """Engines that this machine runs at most, in [1, 64]. One of them is the warm model's."""
    engine_idle_s: float = Field(600.0, ge=10, le=86_400)
    """How long an engine that is neither warm nor deployed runs without a request, in seconds, in
    [10, 86,400]."""
    engine_urls: str = Field("", max_length=10_000)
    """Engines that others look after, such as `attune/starter=http://vllm:8000`, separated by
    spaces; several of one model share its requests. They see the artefact root under the same
    path."""
    engine_cpus: str = Field("", pattern=r"^([0-9]+([-,][0-9]+)*)?$")
    """Cores of the engine, such as `1` or `2,3` or `4-7`; all when empty."""

    @field_validator("engine_urls")
    @classmethod
    def _are_urls(cls, value: str) -> str:
        for entry in value.split():
            if not ENGINE_URL.fullmatch(entry):
                raise ValueError(f"'{entry[:200]}' is not MODEL=http://HOST:PORT")
        return value

    @property
    def engine_addresses(self) -> dict[str, list[str]]:
        """Addresses of the engines that others look after, by model id."""
        found: dict[str, list[str]] = {}
        for entry in self.engine_urls.split():
            model_id, address = entry.split("=", 1)
            found.setdefault(model_id, []).append(address.rstrip("/"))
        return found

    @property
    def store_url(self) -> str:
        """URL of the database, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'serving.db'}"
