"""Settings from the environment: typed, described, and refused when unknown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Port = Field(ge=0, le=65535)
SECRET = "secret"
"""Kind of an error of a value that must not be shown."""


class Settings(BaseModel):
    """What every service reads; a service's own settings derive from it.

    A field `port` of the planner is the variable `ATTUNE_PLANNER_PORT`. The fields here are the
    same for all services and carry no service's name: `ATTUNE_HOME`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path("~/.attune")
    """Folder for everything that is kept. Default ~/.attune."""
    artefacts: Path | None = None
    """Root of datasets, models, runs and adapters; a folder. Default $ATTUNE_HOME/artefacts."""
    nats_url: str = "nats://127.0.0.1:7122"
    """Address of NATS."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    host: str = "127.0.0.1"
    """Address that servers listen on. There is no authentication yet: keep it on loopback."""

    @classmethod
    def read(cls, service: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings of one service.

        Args:
            service: Such as `planner`.
            environ: The environment.

        Raises:
            SystemExit: With one line for each variable that is unknown or wrong.
        """
        prefix = f"ATTUNE_{service.upper()}_"
        values: dict[str, str] = {}
        for name in Settings.model_fields:
            if (text := environ.get(f"ATTUNE_{name.upper()}")) is not None:
                values[name] = text
        for variable, text in environ.items():
            if variable.startswith(prefix):
                values[variable.removeprefix(prefix).lower()] = text
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise SystemExit("\n".join(_explain(error, prefix))) from None
        home = settings.home.expanduser().resolve()
        artefacts = settings.artefacts or home / "artefacts"
        return settings.model_copy(
            update={"home": home, "artefacts": artefacts.expanduser().resolve()}
        )

    @property
    def artefact_root(self) -> Path:
        """The root of all artefacts, absolute."""
        return self.artefacts or self.home / "artefacts"

    @classmethod
    def describe(cls, service: str) -> str:
        """Return one line per variable: its name, default and meaning."""
        lines = []
        for name, field in cls.model_fields.items():
            shared = name in Settings.model_fields
            variable = f"ATTUNE_{name.upper()}" if shared else f"ATTUNE_{service}_{name}".upper()
            lines.append(f"{variable:<36} {field.description or ''} [{field.default}]")
        return "\n".join(lines)

    @classmethod
    def describe_own(cls, service: str) -> str:
        """Return the lines of `describe` without those that are the same for all services."""
        prefix = f"ATTUNE_{service.upper()}_"
        lines = cls.describe(service).splitlines()
        return "\n".join(line for line in lines if line.startswith(prefix))


def _explain(error: ValidationError, prefix: str) -> list[str]:
    lines = []
    for detail in error.errors():
        name = str(detail["loc"][0])
        variable = (
            f"ATTUNE_{name.upper()}" if name in Settings.model_fields else prefix + name.upper()
        )
        if detail["type"] == "extra_forbidden":
            lines.append(f"{variable} is not a setting. --help lists those that are.")
        elif detail["type"] == SECRET:
            lines.append(f"{variable}: {detail['msg']}.")
        else:
            lines.append(f"{variable}={detail['input']!r}: {detail['msg']}.")
    return lines
