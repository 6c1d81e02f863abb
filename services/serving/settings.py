"""Serving's settings."""

from __future__ import annotations

from pydantic import Field

from services.common.settings import Settings


class ServingSettings(Settings):
    """What `python -m services.serving` reads from the environment."""

    port: int = Field(7104, ge=0, le=65535)
    """Port of the gRPC server, in [0, 65535]; 0 picks a free one."""
    database_url: str = ""
    """Database; empty for sqlite+aiosqlite:///$ATTUNE_HOME/serving.db."""
    scheduler_address: str = "127.0.0.1:7102"
    """Host and port of the scheduler, which the reconciler asks for succeeded jobs."""
    http_port: int = Field(7180, ge=0, le=65535)
    """Port of the OpenAI-compatible endpoint, in [0, 65535]; 0 picks a free one."""
    engine_port: int = Field(7190, ge=0, le=65535)
    """Port of the engine, which listens on loopback only, in [0, 65535]; 0 picks a free one."""
    base_model: str = Field("attune/starter", min_length=1)
    """Id of the base model whose engine is kept warm."""
    engine_cpus: str = Field("", pattern=r"^([0-9]+([-,][0-9]+)*)?$")
    """Cores of the engine, such as `1` or `2,3` or `4-7`; all when empty."""

    @property
    def store_url(self) -> str:
        """URL of the database, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'serving.db'}"
