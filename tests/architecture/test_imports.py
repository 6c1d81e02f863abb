"""Who may import what; CONTRIBUTING says why."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(path for folder in ("services", "cli") for path in (ROOT / folder).rglob("*.py"))

# Library -> the only files (as patterns of their path) that may import it.
OWNERS = {
    "sqlalchemy": (
        r"services/\w+/(\w+/)?(\w*store|migrations/\w+)|services/common/(database|idempotency|outbox)"
    ),
    "alembic": r"services/\w+/migrations/\w+|services/common/(database|migration/env)",
    "aiosqlite": r"$^",
    "asyncpg": r"$^",
    "nats": r"services/common/events",
    "torch": r"services/trainer/(recipes/\w+|data/render)",
    "transformers": r"services/trainer/(recipes/\w+|data/render)",
    "pyarrow": r"services/planner/dataset/file_arrow",
    "peft": r"services/trainer/recipes/\w+",
    "trl": r"services/trainer/recipes/\w+",
    "datasets": r"services/trainer/recipes/\w+",
    "vllm": r"services/serving/engines/engine",
    "aiohttp": r"services/serving/engines/\w+",
    "starlette": r"services/serving/endpoint/\w+",
    "prometheus_client": r"services/serving/endpoint/metrics",
    "boto3": r"services/serving/targets/aws",
    "botocore": r"services/serving/targets/aws",
    "mlflow": r"services/trainer/tracking",
    "math_verify": r"services/trainer/grading/mathematics_process",
    "sympy": r"services/trainer/grading/mathematics_process",
    "ray": r"services/trainer/engine/ray_.*",
    "pydantic_ai": r"services/planner/reading/language_model",
    "pydantic": (
        r"services/(common|planner|scheduler|trainer|serving)/settings"
        r"|services/planner/reading/language_model_output"
    ),
    "yaml": (
        r"services/(planner/\w+|scheduler|scheduler/memory)"
        r"/(catalogue|recipe|lexicon|template|profile|base_model|library)\w*"
        r"|services/common/language_lexicon"
        r"|cli/grader_file"
        r"|services/trainer/phases/watchdogs"
    ),
    "gpuhunt": r"services/scheduler/price_refresh",
    "openai": r"cli/(chat|demo/serving)|services/trainer/grading/judge_client",
    "rich": r"cli/views/\w+",
    "click": r"cli/(\w+|demo/command|playground/\w+)",
}
PURE_OF_RUNS = {"grpc", "nats", "sqlalchemy", "mlflow"}


def imports_of(path: Path) -> set[str]:
    """Return the top-level names that a file imports anywhere in it, as full dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_import_contracts_hold():
    tool = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("library", OWNERS)
def test_each_library_has_its_owner(library):
    strangers = [
        str(path.relative_to(ROOT))
        for path in CODE
        if any(name.split(".")[0] == library for name in imports_of(path))
        and not re.fullmatch(OWNERS[library], str(path.relative_to(ROOT).with_suffix("")))
    ]
    assert strangers == []


def test_a_run_imports_no_rpc_no_events_no_sql_no_tracking():
    seen, queue = set(), ["services.trainer.run_process"]
    while queue:
        name = queue.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if not path.exists():
            path = ROOT / name.replace(".", "/") / "__init__.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for imported in imports_of(path):
            assert imported.split(".")[0] not in PURE_OF_RUNS, f"{name} imports {imported}"
            if imported.startswith("services."):
                queue.append(imported)
                queue.extend(
                    f"{imported}.{alias.name}"
                    for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.ImportFrom) and node.module == imported
                    for alias in node.names
                )
    assert len(seen) > 3
