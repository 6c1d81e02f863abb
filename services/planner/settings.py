"""What the planner reads from its environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from services.common import settings


class Settings(settings.Settings):
    """Settings of the planner, `ATTUNE_PLANNER_<FIELD>`, beside those that all services share."""

    port: int = Field(7101, ge=0, le=65535)
    """Port of its gRPC server, 0 to 65535; 0 picks a free one."""
    database_url: str = ""
    """Database. Default SQLite in $ATTUNE_HOME/planner.db."""
    scheduler_address: str = "127.0.0.1:7102"
    """Host and port of the scheduler."""
    trainer_address: str = "127.0.0.1:7103"
    """Host and port of the trainer."""
    base_models: str = ""
    """Ids of the base models that plans may name, separated by commas; empty for all."""
    upload_bytes_max: int = Field(4 * 1024**3, ge=1)
    """Largest dataset file in bytes, at least 1."""
    decoded_bytes_max: int = Field(16 * 1024**3, ge=1)
    """Most bytes that a compressed dataset file may hold, at least 1."""
    llm_base_url: str = ""
    """OpenAI-compatible endpoint of a language model that reads messages, such as
    `http://127.0.0.1:8000/v1`; empty for the deterministic reader alone."""
    llm_model: str = ""
    """Name of that model at its endpoint."""
    llm_api_key: SecretStr = SecretStr("")
    """Key for that endpoint; empty when it asks for none. Never logged."""
    llm_timeout_s: float = Field(20.0, gt=0, le=120)
    """Longest time that model may take for one message, in seconds, in (0, 120]; then the
    deterministic reader reads it."""
    report_wait_s: float = Field(20.0, ge=0, le=50)
    """Longest time that a message waits for the report of a dataset that has just been uploaded,
    in seconds, in [0, 50]."""

    @property
    def database(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'planner.db'}"

    @property
    def allowed_models(self) -> tuple[str, ...]:
        """Ids in `base_models`; empty for all."""
        return tuple(part.strip() for part in self.base_models.split(",") if part.strip())
