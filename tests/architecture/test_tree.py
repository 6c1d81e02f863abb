"""Sizes, names and captions of files."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
DRAWERS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "misc",
    "base",
    "core",
    "manager",
    "models",
    "common",
}


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_files_stop_at_400_lines():
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked("*.py", "*.proto")
        if (count := len(path.read_text().splitlines())) > LINES_MAX
    }
    assert long == {}


def test_functions_stop_at_70_lines():
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_file_is_a_junk_drawer():
    assert [path for path in tracked("services", "cli", "bench") if path.stem in DRAWERS] == []


def test_a_service_nests_at_most_one_level():
    deep = [
        path
        for path in tracked("services/*.py")
        if len(path.relative_to(ROOT / "services").parts) > 3
    ]
    assert deep == []


def test_generated_code_is_not_committed():
    assert tracked("*_pb2*") == []


@pytest.mark.parametrize("service", ["planner", "scheduler", "trainer", "serving"])
def test_every_service_has_the_same_rim(service):
    names = {path.name for path in (ROOT / "services" / service).iterdir()}
    assert {"__init__.py", "__main__.py", "settings.py", "servicer.py", "peers.py"} <= names | (
        {"servicer.py"} if service == "serving" else set()
    )


def test_the_tree_in_contributing_is_the_tree():
    """Each caption names what exists, and every folder of the code has one."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text.split("<!-- tree -->")[1]
    named = set(re.findall(r"^([\w./-]+/?)\s{2,}\S", block, re.MULTILINE))
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = {
        str(path.parent.relative_to(ROOT)) + "/"
        for path in tracked("services/*.py", "cli/*.py", "protos/*.proto", "bench/*.py")
        if "migrations" not in path.parts
    }
    assert {folder for folder in folders if folder.count("/") <= 2} - named == set()
