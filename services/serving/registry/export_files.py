"""What an export says besides its weights: card, licence, command, Compose file; pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.serving.registry.version import Version

IMAGE = "vllm/vllm-openai:v0.32.0"
"""The engine whose answers parity compares, as its makers publish it for NVIDIA GPUs."""
PORT = 8000
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank."""
REPORT_LINE = "`lineage.json` has all of this for programs"
"""Begins the card's last paragraph, which names files that stay with Attune."""


@dataclass(frozen=True)
class Served:
    """What vLLM is told to serve; paths are relative to the export."""

    model: str
    """A folder, or an id of the hub."""
    model_name: str
    """What requests call the version."""
    dtype: str
    """Of the weights, as vLLM spells it, or `auto`."""
    hub_revision: str = ""
    """Commit of the hub; empty for a folder."""
    base_name: str = ""
    """What requests call the base, where an adapter is served beside it; empty otherwise."""
    lora_rank: int = 0

    def arguments(self, host: str) -> list[str]:
        """Return what follows `vllm serve`.

        Args:
            host: Address to listen on.
        """
        found = [self.model, "--served-model-name", self.base_name or self.model_name]
        if self.hub_revision:
            found += ["--revision", self.hub_revision, "--tokenizer-revision", self.hub_revision]
        if self.base_name:
            rank = next((one for one in LORA_RANKS if one >= self.lora_rank), self.lora_rank)
            found += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(rank)]
            found += ["--lora-modules", f"{self.model_name}=./adapter"]
        return [*found, "--dtype", self.dtype, "--host", host, "--port", str(PORT)]

    @property
    def command(self) -> str:
        """The command line that serves it on loopback, run in the export's folder."""
        return shlex.join(["vllm", "serve", *self.arguments("127.0.0.1")])


def compose(served: Served) -> str:
    """Return the Compose file that serves an export on a machine with an NVIDIA GPU."""
    hub = served.hub_revision
    lines = [
        "# docker compose up: serves this model at http://127.0.0.1:8000/v1.",
        "services:",
        "  model:",
        f"    image: ${{VLLM_IMAGE:-{IMAGE}}}",
        '    entrypoint: ["vllm", "serve"]',
        f"    command: {json.dumps(served.arguments('0.0.0.0'))}",
        "    working_dir: /model",
        "    volumes:",
        "      - type: bind",
        "        source: .",
        "        target: /model",
        "        read_only: true",
        # Of the user that vLLM's image runs as.
        *(["      - hub:/root/.cache/huggingface"] if hub else []),
        "    environment:",
        '      VLLM_NO_USAGE_STATS: "1"',
        *(['      HF_TOKEN: "${HF_TOKEN:-}"'] if hub else ['      HF_HUB_OFFLINE: "1"']),
        "    ports:",
        f'      - "127.0.0.1:{PORT}:{PORT}"',
        "    ipc: host",
        "    restart: unless-stopped",
        "    healthcheck:",
        f'      test: ["CMD", "curl", "--fail", "http://127.0.0.1:{PORT}/health"]',
        "      interval: 10s",
        "      timeout: 5s",
        "      retries: 3",
        "      start_period: 600s",
        "    deploy:",
        "      resources:",
        "        reservations:",
        "          devices:",
        "            - driver: nvidia",
        "              count: 1",
        "              capabilities: [gpu]",
        *(["volumes:", "  hub: {}"] if hub else []),
    ]
    return "\n".join(lines) + "\n"


def licence(version: Version, name: str) -> str:
    """Return what is known of the terms.

    Args:
        version: What is exported.
        name: Licence of the base, as the catalogue or whoever imported it says; may be empty.
    """
    said = name or "not known. Ask whoever gave you the base before you pass this on"
    return (
        f"These weights come from {version.base_model} at revision\n"
        f"{version.base_model_revision}.\n\n"
        f"Licence of that base: {said}.\n\n"
        "It binds the use of these weights too. What the data that they were trained on allows is\n"
        "for its owner to say.\n"
    )


def card(version: Version, written: str, lineage: Mapping[str, Any], served: Served) -> str:
    """Return the card: the trainer's, and what became known since.

    Args:
        version: What is exported.
        written: The trainer's card; empty when there is none.
        lineage: The trainer's record; empty when there is none.
        served: How it is served.
    """
    parts = [_as_served(written, served).split(REPORT_LINE)[0].strip()]
    if not written:
        parts = [f"# {served.model_name}", _origin(version)]
    if rows := _flat(lineage.get("hyperparameters", {})):
        parts += ["## Hyperparameters", _table([*rows, *_flat(lineage.get("parallel_plan", {}))])]
    parts += ["## Parity", version.parity.describe() if version.parity else version.state_reason]
    parts += [
        "## Serving",
        f"In this folder, with vLLM installed:\n\n```\n{served.command}\n```",
        "Where there is no command `vllm`, `python -m vllm.entrypoints.openai.api_server --model` "
        "takes the place of `vllm serve`. `docker compose up` does the same on a machine with an "
        "NVIDIA GPU; VLLM_IMAGE names another image. Requests to "
        f"`http://127.0.0.1:{PORT}/v1` call the model `{served.model_name}`.",
    ]
    if served.hub_revision:
        parts.append(f"The base is fetched from the hub: {served.model}.")
    parts.append(
        "`lineage.json` says whence it comes, for programs; `LICENCE` what is known of the terms. "
        f"The whole evaluation stays with Attune as {version.name}: it quotes rows of the data."
    )
    return "\n\n".join(parts) + "\n"


def _as_served(written: str, served: Served) -> str:
    """Return the card with a header that fits a whole model, where an adapter was merged."""
    if served.base_name:
        return written
    return written.replace(
        'base_model_relation: "adapter"', 'base_model_relation: "merge"', 1
    ).replace('library_name: "peft"', 'library_name: "transformers"', 1)


def _origin(version: Version) -> str:
    report = version.report
    return (
        f"Trained by {version.job} after the plan with SHA-256 {version.spec_hash}, from "
        f"{version.base_model} at revision {version.base_model_revision}. On "
        f"{report.holdout_row_count} held-out rows it scored {report.tuned_score:.3f}, its base "
        f"{report.base_score:.3f}; the difference lies in {report.interval_low:+.3f} to "
        f"{report.interval_high:+.3f} at {100 * report.confidence:g} % confidence."
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as pairs of a dotted name and a text."""
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, str(value)))
    return found


def _table(rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in rows]
    return "\n".join(["| field | value |", "|---|---|", *lines])
