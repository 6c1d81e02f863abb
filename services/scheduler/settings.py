"""The scheduler's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from services.common.settings import Settings


class SchedulerSettings(Settings):
    """What `python -m services.scheduler` reads from the environment."""

    port: int = Field(7102, ge=0, le=65535)
    """Port of the gRPC server, in [0, 65535]; 0 picks a free one."""
    database_url: str = ""
    """Database; empty for sqlite+aiosqlite:///$ATTUNE_HOME/scheduler.db."""
    planner_address: str = "127.0.0.1:7101"
    """Host and port of the planner, which the reconciler asks for approved specs."""
    lease_s: float = Field(30.0, gt=0, le=3600)
    """Seconds until a lease ends unless renewed, in (0, 3600]."""
    renew_s: float = Field(10.0, gt=0, le=1200, validate_default=True)
    """Seconds between a trainer's renewals, in (0, 1200]; less than the lease."""

    profiles_file: Path | None = None
    """YAML file in the form of profiles.yaml, with kinds of device to add or to put in place."""
    allowed_profiles: str = ""
    """Ids of the kinds of device that runs may use, separated by commas; empty for all."""
    quotas_file: Path | None = None
    """JSON file with shares and quotas by project; without it all are equal and unlimited."""

    @field_validator("renew_s")
    @classmethod
    def _renew_in_time(cls, renew_s: float, info: ValidationInfo) -> float:
        lease_s = info.data.get("lease_s")
        if lease_s is not None and renew_s >= lease_s:
            raise ValueError(f"it must be less than LEASE_S, {lease_s:g}")
        return renew_s

    @property
    def store_url(self) -> str:
        """URL of the database, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'scheduler.db'}"
