"""One mistake at each step, as a person makes it: the answer names it, and nothing is lost."""

import json
import os
import re
import socket
import subprocess

import pytest

from tests.system.network import scripts

pytestmark = pytest.mark.system

ANSWER = {"role": "assistant", "content": '{"team": "network"}'}
GOOD = [
    {"messages": [{"role": "user", "content": f"My router number {n * 37} is broken."}, ANSWER]}
    for n in range(12)
]
LONG = {"messages": [{"role": "user", "content": "word " * 9000}, ANSWER]}
NO_ANSWER = {"messages": GOOD[0]["messages"][:1]}
BAD_ROLE = {"messages": [{"role": "robot", "content": "x"}, ANSWER]}


def rows(*items: object) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


FILES = {
    "not UTF-8": (rows(*GOOD) + b'{"messages": "\xff\xfe"}\n', "line 13"),
    "a broken line": (rows(*GOOD) + b'{"messages": [\n', "line 13"),
    "a wrong role": (rows(*GOOD, BAD_ROLE), "line 13"),
    "no assistant message": (rows(*GOOD, NO_ANSWER), "line 13"),
    "an answer that would be cut": (rows(*GOOD, LONG), "line 13"),
    "too few rows": (rows(*GOOD[:5]), "fewer than 10|has 5 rows"),
}


def stored(installed) -> list[str]:
    return sorted(path.name for path in (installed.home / "artefacts" / "datasets").iterdir())


@pytest.mark.parametrize("fault", FILES)
def test_a_bad_file_is_reported_by_line_and_kept_as_invalid(installed, demo, tmp_path, fault):
    content, place = FILES[fault]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    result = installed.run("attune", "dataset", "upload", str(path))
    said = result.stdout + result.stderr
    assert result.returncode == 1
    assert re.search(place, said)
    assert "--corrects" in said
    assert "Traceback" not in said
    newest = installed.json("dataset", "list")["datasets"][0]
    assert newest["state"] == "STATE_INVALID"
    folder = installed.home / "artefacts" / "datasets" / newest["sha256"]
    assert [each.name for each in folder.iterdir()] == ["original"]


def test_an_empty_file_is_refused_and_nothing_is_stored(installed, demo, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"")
    before = stored(installed), len(installed.json("dataset", "list")["datasets"])
    result = installed.run("attune", "dataset", "upload", str(path))
    assert result.returncode == 1
    assert "empty" in result.stdout + result.stderr
    assert (stored(installed), len(installed.json("dataset", "list")["datasets"])) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["dataset", "upload", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["dataset", "show", "projects/default/datasets/nothing"], "nothing"),
        (["spec", "show", "projects/default/specs/nothing"], "nothing"),
        (["spec", "show", "projects/default/specs/Not A Name"], "projects/{project}/specs/{spec}"),
        (["job", "cancel", "projects/default/jobs/nothing"], "nothing"),
        (["deploy", "projects/default/models/m/versions/1"], "versions/1"),
        (["chat", "no-such-model", "hello"], "no-such-model"),
    ],
)
def test_a_wrong_name_is_one_readable_refusal(installed, demo, command, words):
    result = installed.run("attune", *command)
    said = result.stdout + result.stderr
    assert result.returncode in (1, 2)
    assert words.lower() in said.lower()
    assert "Traceback" not in said


def test_a_bad_alias_is_refused_with_its_rule(installed, demo):
    version = demo.outcome["model_version"]
    result = installed.run("attune", "deploy", version, "--alias", "Not An Alias")
    assert result.returncode == 1
    assert "Not An Alias" in result.stdout + result.stderr


def test_a_stale_hash_is_refused_with_what_changed(installed, demo):
    spec = installed.json("job", "list")["jobs"][0]["spec"]
    result = installed.run("attune", "spec", "approve", spec, "--hash", "0" * 64, "--yes")
    said = result.stdout + result.stderr
    assert result.returncode == 1
    assert "hash" in said.lower()


def test_an_approval_without_a_terminal_needs_the_flag(installed, demo):
    result = installed.run("attune", "demo")
    assert result.returncode != 0
    assert "--approve" in result.stdout + result.stderr


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["env", f"ATTUNE_PLANNER_PORT={port}", f"ATTUNE_HOME={tmp_path / 'other'}"]
        result = run_outside(*command, "attune", "up")
    said = (result.stdout + result.stderr).strip()
    assert result.returncode == 1
    assert str(port) in said
    assert "Traceback" not in said


def test_a_home_that_cannot_be_written_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = run_outside("env", f"ATTUNE_HOME={blocked / 'home'}", "attune", "up")
    said = result.stdout + result.stderr
    assert result.returncode == 1
    assert str(blocked) in said
    assert "Traceback" not in said


def run_outside(*command: str) -> subprocess.CompletedProcess:
    """Run a command outside the namespace, where this test's socket is."""
    words = [scripts() / word if word == "attune" else word for word in command]
    environ = os.environ | {"ATTUNE_PORT_BASE": "0"}
    return subprocess.run(
        words, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
