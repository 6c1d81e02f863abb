"""What must hold before anything starts; each broken condition is one line that says what to do."""

from __future__ import annotations

import os
import platform
import re
import runpy
import shutil
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from cli.launcher.launch import RunEngine
from cli.ports import LOOPBACK, VARIABLES, Ports

FREE_BYTES_MIN = 3 * 1000**3
PYTHON = (3, 11)
ADDRESS = re.compile(r"([^\s:/]+):([0-9]{1,5})")
PORT_MAX = 65535
HEAD_TIMEOUT_S = 5.0
"""Longest that the head of a cluster may take to accept a connection."""
# pip takes any build of 2.13.0 for what is asked, unless it is made to install again.
CPU_TORCH = (
    "pip install --force-reinstall --no-deps torch==2.13.0 "
    "--index-url https://download.pytorch.org/whl/cpu"
)


def broken_preconditions(
    root: Path, host: str, ports: Ports, environ: Mapping[str, str], engine: RunEngine
) -> list[str]:
    """Return one line for each condition that does not hold.

    Args:
        root: The home folder.
        host: Address that the services are to listen on.
        ports: Those they are to listen on, none of them 0.
        environ: Says which accelerator is asked for.
        engine: Where training is to run.
    """
    lines = [
        machine_line(platform.system(), platform.machine()),
        python_line(sys.version_info[:2]),
        torch_line(environ.get("ATTUNE_ACCELERATOR", "cpu")),
        engine_line(engine, has_ray=find_spec("ray") is not None),
        home_line(root),
    ]
    if lines[-1] is None:
        lines.append(disk_line(root, shutil.disk_usage(root).free))
    lines += [port_line(name, port, host) for name, port in ports.items()]
    if not any(lines):
        lines.append(head_line(engine.ray_address))  # The one that may have to wait.
    return [line for line in lines if line is not None]


def machine_line(system: str, machine: str) -> str | None:
    """Return what is wrong with the machine, or None."""
    if system == "Linux" and machine == "x86_64":
        return None
    return f"This is {system} on {machine}; Attune runs on Linux on x86-64. Use such a machine."


def python_line(version: tuple[int, ...]) -> str | None:
    """Return what is wrong with the interpreter, or None."""
    if version == PYTHON:
        return None
    found = ".".join(map(str, version))
    return f"This is Python {found}; Attune needs Python 3.11. Install it and run `make setup`."


def torch_line(accelerator: str) -> str | None:
    """Return what is wrong with torch, or None; reads its version without importing it."""
    if accelerator not in ("cpu", "cuda"):
        return f"ATTUNE_ACCELERATOR={accelerator!r} is unknown. Set it to cpu or cuda."
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "torch is not installed in this environment. Run `make setup`."
    version = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return torch_build_line(accelerator, version.get("cuda"))


def torch_build_line(accelerator: str, cuda: str | None) -> str | None:
    """Return how torch's build differs from what is asked for, or None.

    Args:
        accelerator: `cpu` or `cuda`.
        cuda: CUDA version that torch was built for, or None.
    """
    if accelerator == "cpu" and cuda is not None:
        return f"torch is a build for CUDA {cuda}, too large and slow here. Run `{CPU_TORCH}`."
    if accelerator == "cuda" and cuda is None:
        return "ATTUNE_ACCELERATOR=cuda, but torch is a CPU build. Install a CUDA build of torch."
    return None


def engine_line(engine: RunEngine, *, has_ray: bool) -> str | None:
    """Return what is wrong with where training is to run, or None."""
    name, address = engine.name, engine.ray_address
    if name not in ("local", "ray"):
        return f"ATTUNE_ENGINE={name!r} is unknown. Set it to local or ray."
    if name == "local":
        return f"--ray-address {address} is for --engine ray. Add that." if address else None
    if not address:
        return "--engine ray needs --ray-address: the head's HOST:PORT, or auto."
    if address != "auto" and not is_host_and_port(address):
        return f"--ray-address {address!r} is not HOST:PORT, such as 10.0.0.1:6379, nor auto."
    return None if has_ray else "ray is not installed in this environment. Run `make setup`."


def is_host_and_port(address: str) -> bool:
    """Return whether an address is HOST:PORT, its port from 1 to 65535."""
    parts = ADDRESS.fullmatch(address)
    return parts is not None and 1 <= int(parts[2]) <= PORT_MAX


def head_line(address: str) -> str | None:
    """Return that nobody listens where a cluster's head should be, or None.

    Told here, since the trainer, which serves more than runs, starts without it and waits.

    Args:
        address: HOST:PORT; nothing is known of `auto`, which the trainer looks for, nor of none.
    """
    if address in ("", "auto"):
        return None
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), HEAD_TIMEOUT_S).close()
    except OSError as error:
        return (
            f"--ray-address {address}: nobody answers there ({error.strerror or error}). Name the "
            "head of a Ray cluster that runs, or start one: `ray start --head --port=6379`."
        )
    return None


def home_line(root: Path) -> str | None:
    """Return why nothing can be kept there, or None; makes the folder."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return (
            f"ATTUNE_HOME {root} cannot be written ({error.strerror}). "
            "Change its permissions or set ATTUNE_HOME to another folder."
        )
    return None


def disk_line(root: Path, free_bytes: int) -> str | None:
    """Return that the disk is too full, or None."""
    if free_bytes >= FREE_BYTES_MIN:
        return None
    return (
        f"{free_bytes / 1000**3:.1f} GB are free at {root}; Attune needs "
        f"{FREE_BYTES_MIN / 1000**3:.0f} GB. Free some, or set ATTUNE_HOME to another disk."
    )


def port_line(name: str, port: int, host: str) -> str | None:
    """Return that a port cannot be listened on, or None."""
    address = LOOPBACK if name in ("nats", "mlflow", "engine") else host
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return (
                f"Port {port} for {name} cannot be used ({error.strerror}). Stop what uses it, "
                f"or set {VARIABLES[name]} to another one (0 picks a free one)."
            )
    return None
