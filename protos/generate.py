"""Compiles every .proto here into Python modules beside it, which git ignores.

Runs as `python protos/generate.py`, and as the build hook of `pip install`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent
OUTPUTS = ("python", "grpc_python", "mypy", "mypy_grpc")
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def stale() -> bool:
    """Return whether any .proto is newer than the module generated from it."""
    return any(
        not (made := proto.with_name(f"{proto.stem}_pb2.py")).exists()
        or made.stat().st_mtime < proto.stat().st_mtime
        for proto in ROOT.rglob("*.proto")
    )


def include_paths() -> list[str]:
    """Return where protoc finds our files, Google's well-known types and Google's API types."""
    tools, rpc = find_spec("grpc_tools"), find_spec("google.rpc.status_pb2")
    if tools is None or tools.origin is None or rpc is None or rpc.origin is None:
        raise SystemExit("grpcio-tools and googleapis-common-protos are needed: run `make setup`.")
    google = Path(rpc.origin).parents[2]
    return [f"-I{ROOT}", f"-I{Path(tools.origin).parent / '_proto'}", f"-I{google}"]


def generate() -> None:
    """Write `*_pb2.py`, `*_pb2_grpc.py` and their type stubs next to each .proto.

    Raises:
        SystemExit: If protoc refuses a file; it has printed why.
    """
    from grpc_tools import protoc  # Not needed to ask whether the stubs are stale.

    scripts = Path(sys.executable).parent  # Not by PATH: the environment may not be active.
    plugins = [f"--plugin={name}={scripts / name}" for name in PLUGINS]
    flags = [f"--{name}_out={ROOT}" for name in OUTPUTS]
    sources = [str(path.relative_to(ROOT)) for path in sorted(ROOT.rglob("*.proto"))]
    code = protoc.main(["protoc", *include_paths(), *plugins, *flags, *sources])
    if code != 0:
        raise SystemExit(code)


if __name__ == "__main__":
    generate()
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    except ImportError:  # Imported by a tool that only asks whether the stubs are stale.
        pass
    else:

        class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # Not generic at run time.
            """Generates the modules whenever the project is built or installed."""

            def initialize(self, version: str, build_data: dict[str, object]) -> None:
                """Generate before hatchling collects the files."""
                generate()
