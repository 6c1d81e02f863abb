"""Every environment variable that the trainer reads."""

from __future__ import annotations

import os
import re
import socket
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from services.common.settings import Settings

NODE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class TrainerSettings(Settings):
    """Settings of the trainer."""

    port: int = Field(default=7103, ge=0, le=65535)
    """Port of the gRPC server; 0 picks a free one."""
    scheduler_address: str = "127.0.0.1:7102"
    """Where the scheduler listens, host:port."""
    mlflow_url: str = "http://127.0.0.1:7150"
    """Address of MLflow; empty turns tracking off."""
    node: str = ""
    """Id of this machine, stable over restarts; made from the host's name when empty."""
    cpus: str = ""
    """Processor cores that runs are bound to, such as 0,2; empty for all that this process has."""
    threads: int = Field(default=1, ge=1, le=256)
    """OpenMP threads of a run. More than there are free cores makes a step 10 times slower."""
    accelerator: Literal["cpu", "cuda"] = "cpu"
    """What runs compute on: cpu, or cuda where PyTorch was installed with it."""

    @field_validator("node")
    @classmethod
    def _node_is_a_name(cls, node: str) -> str:
        if node and not NODE.fullmatch(node):
            raise ValueError("must be lower-case letters, digits and hyphens, letter first")
        return node

    @field_validator("cpus")
    @classmethod
    def _cpus_exist(cls, cpus: str) -> str:
        numbers = [part.strip() for part in cpus.split(",") if part.strip()]
        here = os.sched_getaffinity(0)
        unknown = [part for part in numbers if not part.isdecimal() or int(part) not in here]
        if unknown:
            raise ValueError(f"no such core: {', '.join(unknown)}; there are {sorted(here)}")
        return ",".join(numbers)

    @property
    def node_id(self) -> str:
        """Id of this machine, `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`."""
        if self.node:
            return self.node
        letters = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower())
        return f"node-{letters}"[:63].rstrip("-")

    @property
    def cpu_numbers(self) -> tuple[int, ...]:
        """Numbers of the cores that runs are bound to, ascending, at least one."""
        if not self.cpus:
            return tuple(sorted(os.sched_getaffinity(0)))
        return tuple(sorted({int(part) for part in self.cpus.split(",")}))


class JudgeSettings(Settings):
    """Where graders that ask a model find it; read by the service and by its runs alike.

    They reach runs through the environment alone, so that the key is in no file.
    """

    base_url: str = ""
    """Of an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1; empty for no judge."""
    api_key: SecretStr = SecretStr("")
    """Sent as bearer token; empty when the endpoint asks for none."""
    workers: int = Field(default=8, ge=1, le=64)
    """Requests that are with the judge at one time."""
    timeout_s: float = Field(default=60.0, gt=0, le=600)
    """Longest time for one request, in seconds."""
    retries: int = Field(default=4, ge=0, le=10)
    """Repeats of a request that is refused for load, fails in the server or is late."""

    @classmethod
    def of_environment(cls) -> JudgeSettings:
        """Return the settings of this process: `ATTUNE_JUDGE_BASE_URL` and the others.

        Raises:
            SystemExit: With one line for each variable that is unknown or wrong.
        """
        return cls.read("judge")

    @field_validator("base_url")
    @classmethod
    def _base_url_is_http(cls, base_url: str) -> str:
        if base_url and not base_url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return base_url
