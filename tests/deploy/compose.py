"""docker-compose.yml as Compose reads it: anchors, variables and all."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$(?:\$|\{([A-Z0-9_]+)(?::-([^}]*))?\})")


def interpolated(text: str, environ: dict[str, str]) -> str:
    """Return a text with `${NAME:-default}` replaced, and `$$` by `$`."""

    def value(match: re.Match) -> str:
        if match[0] == "$$":
            return "$"
        name, default = match[1], match[2]
        if not environ.get(name) and default is None:
            raise KeyError(f"{name} has no default")
        return environ.get(name) or default

    return VARIABLE.sub(value, text)


def mapped(node, change):
    """Return a tree with every string changed."""
    if isinstance(node, dict):
        return {key: mapped(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [mapped(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def read_compose(environ: dict[str, str] | None = None, name: str = "docker-compose.yml") -> dict:
    """Return the file's tree with the variables of an environment in it."""
    tree = yaml.safe_load((ROOT / name).read_text())
    return mapped(tree, lambda text: interpolated(text, environ or {}))


def env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file in the form of `--env-file`."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)
