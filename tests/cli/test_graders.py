"""The commands of `grader`, against the real service."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from attune.spec.v1.grader_pb2 import Grader
from attune.trainer.v1 import grader_pb2_grpc
from google.protobuf.json_format import MessageToDict

from cli.endpoints import Endpoints
from cli.grader_file import read_grader, read_graders
from services.common.errors import InvalidArgument
from services.common.rpc import Server
from services.trainer import wire
from services.trainer.servicer_grader import GraderServicer
from tests.cli.full_spec import full_spec
from tests.trainer import tiny

EXACT = """
type: string_check
name: exact
input: "{{sample.output_text}}"
reference: "{{item.reference}}"
operation: eq
"""


@pytest.fixture
def trainer(home):
    """A trainer of which only the graders are there, in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Server, int]:
        server = Server(wire.DOMAIN)
        server.add(
            grader_pb2_grpc.add_GraderServiceServicer_to_server,
            GraderServicer(),
            "attune.trainer.v1.GraderService",
        )
        return server, await server.start("127.0.0.1", 0)

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result()
    Endpoints(*[f"127.0.0.1:{port}"] * 4, "http://x", "http://x", "nats://x").write(home)
    yield
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def grader_file(tmp_path: Path) -> Path:
    path = tmp_path / "grader.yaml"
    path.write_text(EXACT)
    return path


def test_rows_are_graded_and_the_lowest_are_shown_first(attune, trainer, tmp_path, grader_file):
    rows = tiny.rows(130)
    rows[7]["output_text"] = "wrong"
    found = attune("grader", "run", grader_file, write(tmp_path / "rows.jsonl", rows))
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert "exact (string_check): mean 0.9923, 130 rows" in lines[1]
    assert lines[3].split()[:2] == ["8", "0"]
    assert f"attune grader validate {grader_file}" in found.out


def test_json_has_every_result(attune, trainer, tmp_path, grader_file):
    rows = [{"q": 1, "output_text": "a"}, {"reference": "a", "output_text": "a"}]
    found = attune("grader", "run", grader_file, write(tmp_path / "rows.jsonl", rows), "--json")
    answer = json.loads(found.out)
    assert answer["results"][0]["errors"] == {"invalid_variable_error": True}
    assert answer["results"][1]["reward"] == 1.0
    assert answer["metadata"]["mean_reward"] == 1.0


def test_what_cannot_be_graded_is_said_not_to_be_zero(attune, trainer, tmp_path, grader_file):
    found = attune("grader", "run", grader_file, write(tmp_path / "r.jsonl", [{"q": 1}]))
    assert "1 could not be graded" in found.out


def test_a_sound_grader_is_fit_and_a_loose_one_exits_with_one(
    attune, trainer, tmp_path, grader_file
):
    rows = write(tmp_path / "rows.jsonl", tiny.rows(20))
    found = attune("grader", "validate", grader_file, rows)
    assert found.code == 0, found.err
    assert "exact: fit to train on" in found.out
    loose = tmp_path / "loose.json"
    loose.write_text(json.dumps({"name": "loose", "regex": {"pattern": "."}}))
    found = attune("grader", "validate", loose, rows, "--other", grader_file, "--json")
    assert found.code == 1
    assert "not fit" in found.err
    assert not json.loads(found.out).get("passed", False)


def test_a_plans_graders_are_found_by_name(tmp_path):
    spec = full_spec()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(MessageToDict(spec, preserving_proto_field_name=True)))
    first = spec.evaluation.graders[0]
    assert read_grader(path, "") == read_grader(path, first.name) == first
    with pytest.raises(InvalidArgument, match=first.name):
        read_grader(path, "nobody")


def test_a_plan_gives_each_grader_once_those_of_its_evaluation_first(tmp_path):
    spec = full_spec()
    judged = [grader.name for grader in spec.evaluation.graders]
    spec.stages[0].reward.graders.add().grader.CopyFrom(spec.evaluation.graders[0])
    spec.stages[0].reward.graders.add().grader.name = "only_rewards"
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(MessageToDict(spec, preserving_proto_field_name=True)))
    names = [grader.name for grader in read_graders(path)]
    assert names[: len(judged)] == judged
    assert names[-1] == "only_rewards"
    assert len(names) == len(set(names))


def test_openais_shapes_become_ours(tmp_path):
    theirs = {
        "type": "multi",
        "name": "all",
        "calculate_output": "0.5 * taste + 0.5 * code",
        "graders": {
            "taste": {
                "type": "score_model", "name": "x", "model": "m", "range": [1, 5],
                "input": [{"role": "user", "content": "{{sample.output_text}}"}],
                "sampling_params": {"temperature": 0, "seed": 3, "max_completions_tokens": 9},
            },
            "code": {"type": "python", "name": "code", "source": "x", "image_tag": "y"},
        },
    }  # fmt: skip
    path = tmp_path / "g.json"
    path.write_text(json.dumps(theirs))
    found = read_grader(path, "")
    assert isinstance(found, Grader)
    taste, code = found.multi.graders
    assert (taste.name, taste.score_model.range_high) == ("taste", 5.0)
    assert taste.score_model.sampling.max_completion_tokens == 9
    assert code.python.source == "x"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", "no grader"),
        ("a: [", "neither JSON nor YAML"),
        ('{"name": "g", "regexp": {}}', "no grader"),
        ('{"type": "string_check", "name": "g"}', "no grader"),
        ('!!python/object/apply:os.system ["true"]', "neither JSON nor YAML"),
    ],
)
def test_files_that_hold_no_grader_are_refused(attune, tmp_path, content, says):
    path = tmp_path / "g.json"
    path.write_text(content)
    found = attune("grader", "run", path, write(tmp_path / "r.jsonl", [{}]))
    assert found.code == 1
    assert says in found.err
    assert "Traceback" not in found.err


def test_files_that_hold_no_rows_are_refused(attune, tmp_path, grader_file):
    missing = attune("grader", "run", grader_file, tmp_path / "none.jsonl")
    assert "cannot be read" in missing.err
    path = tmp_path / "r.jsonl"
    path.write_text("\n\n")
    assert "has no rows" in attune("grader", "run", grader_file, path).err
    path.write_text("{}\n3\n")
    assert "line 2" in attune("grader", "run", grader_file, path).err
