"""Settings from the environment: typed, described, and refused when unknown."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Port = Field(ge=0, le=65535)
SECRET = "secret"
"""Kind of an error of a value that must not be shown."""
FILE_SUFFIX = "_FILE"
"""What a variable ends in that names a file with the value, so that a secret is in no variable."""
FILE_CHARACTERS_MAX = 64 * 1024


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
    """Address of NATS; several of one cluster, separated by commas."""
    nats_replicas: int = Field(1, ge=1, le=5)
    """Servers of a NATS cluster that keep each event, in [1, 5]; for streams that are new."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    host: str = "127.0.0.1"
    """Address that servers listen on. Only serving's endpoint knows keys: keep it on loopback."""

    @classmethod
    def read(cls, service: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings of one service.

        Args:
            service: Such as `planner`.
            environ: The environment.

        Raises:
            SystemExit: With one line for each variable that is unknown or wrong, or whose file
                cannot be read.
        """
        prefix = f"ATTUNE_{service.upper()}_"
        variables = cls._variables(service)
        values: dict[str, str] = {}
        from_files: set[str] = set()
        lines: list[str] = []
        for variable, text in environ.items():
            whole = variable.removesuffix(FILE_SUFFIX)
            if variable in variables:
                values[variables[variable]] = text
            elif whole in variables and whole in environ:
                lines.append(f"{whole} and {variable} are both set. Set one of them.")
            elif whole in variables:
                from_files.add(variables[whole])
                try:
                    values[variables[whole]] = _read(Path(text))
                except ValueError as error:
                    lines.append(f"{variable}={text!r}: {error}")
            elif variable.startswith(prefix):
                values[variable.removeprefix(prefix).lower()] = text  # Refused below.
        if lines:
            raise SystemExit("\n".join(lines))
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise SystemExit("\n".join(_explain(error, prefix, from_files))) from None
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
        lines = [
            f"{variable:<36} {field.description or ''} [{field.default}]"
            for variable, name in cls._variables(service).items()
            if (field := cls.model_fields[name])
        ]
        lines.append(f"Any of them with {FILE_SUFFIX} at its end names a file with the value.")
        return "\n".join(lines)

    @classmethod
    def _variables(cls, service: str) -> dict[str, str]:
        """Return the field of each variable."""
        return {
            f"ATTUNE_{name}".upper()
            if name in Settings.model_fields
            else f"ATTUNE_{service}_{name}".upper(): name
            for name in cls.model_fields
        }

    @classmethod
    def describe_own(cls, service: str) -> str:
        """Return the lines of `describe` without those that are the same for all services."""
        prefix = f"ATTUNE_{service.upper()}_"
        lines = cls.describe(service).splitlines()
        return "\n".join(line for line in lines if line.startswith(prefix))


def _read(path: Path) -> str:
    """Return what a file holds, without the white space around it.

    Raises:
        ValueError: If it cannot be read, is empty or too long, with what to do.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(FILE_CHARACTERS_MAX + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ValueError(
            f"the file cannot be read ({reason}). Check the path, and that the user of this "
            "process may read it."
        ) from None
    if not 0 < len(text) <= FILE_CHARACTERS_MAX:
        raise ValueError(f"the file must hold 1 to {FILE_CHARACTERS_MAX:,} characters.")
    return text


def _explain(error: ValidationError, prefix: str, from_files: Collection[str]) -> list[str]:
    """Return a line for each fault; what a file held stays out of it, for it may be secret."""
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
        elif name in from_files:
            lines.append(f"What {variable}{FILE_SUFFIX} names: {detail['msg']}.")
        else:
            lines.append(f"{variable}={detail['input']!r}: {detail['msg']}.")
    return lines
