"""The benches of serving: what they count as wrong, and that they measure what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import mixed_streams, rollback
from bench.endpoint import Case, Way
from bench.load import Answer, Load, Stream, burst, percentile
from bench.mixed_streams import History, alias_of, prompt_of
from bench.rollback import Rollback
from bench.serving import an_empty_adapter
from services.common.artefacts import Artefacts

ROOT = Path(__file__).parents[2]
MODEL = "attune/starter"


def an_answer(text="hello", *, status=200, version="v1", begin_s=1.0, total_s=1.0, number=0):
    event = {"choices": [{"index": 0, "delta": {"content": text}}]}
    content = b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"
    return Answer(status, version, content, 0.1, total_s, begin_s, number)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Address of the engine that answers at once, with one adapter that it can load."""
    folder = tmp_path_factory.mktemp("instant")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.instant_engine", MODEL, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.terminate()
    process.wait()
    process.stdout.close()


def body(number=0, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}


async def test_a_stream_is_read_to_its_end_and_its_text_put_together(engine):
    stream = Stream(engine)
    first, second = [await stream.ask(body(stream=True, max_tokens=3)) for _ in range(2)]
    stream.close()
    assert first.text == second.text == " word word word"
    assert not first.failed
    assert 0 < first.first_s <= first.total_s


async def test_an_answer_in_one_piece_has_its_text_too(engine):
    stream = Stream(engine)
    assert (await stream.ask(body())).text == "yes"
    refused = await stream.ask({**body(), "model": "nobody"})
    stream.close()
    assert (refused.status, refused.failed) == (404, True)


async def test_an_adapter_answers_what_its_parity_file_says(engine, tmp_path):
    artefacts = Artefacts(tmp_path)
    adapter = an_empty_adapter(artefacts, 7)
    loading = {"lora_name": adapter, "lora_path": str(artefacts.adapter(adapter))}
    stream = Stream(engine)
    assert (await stream.ask(loading, "/v1/load_lora_adapter")).status == 200
    asked = {"model": adapter, "messages": [{"role": "user", "content": "Who are you?"}]}
    assert (await stream.ask(asked)).text == "number 7"
    stream.close()


async def test_a_burst_asks_each_question_once(engine):
    load = await burst(engine, lambda number: body(max_tokens=1, stream=True), streams=3, count=8)
    assert sorted(answer.number for answer in load.answers) == list(range(8))
    assert load.failed_count == 0
    assert load.rate == pytest.approx(8 / load.seconds)


async def test_who_does_not_answer_has_failed():
    load = await burst("http://127.0.0.1:9", body, streams=1, count=1)
    assert load.failed_count == 1


@pytest.mark.parametrize(
    "content", [b'data: {"choices": []}\n\n', b'{"error": {}}', b'data: {"error": {}}\n\n']
)
def test_half_an_answer_and_an_error_are_failures(content):
    assert Answer(200, "", content, 0.1, 0.2).failed


def test_percentiles_are_of_the_nearest_rank():
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([3.0], 99)) == (51, 100, 3)


def test_a_way_has_its_rates_over_all_bursts():
    way = Way([Load([an_answer(), an_answer()], 1.0), Load([an_answer()], 2.0)])
    assert way.row() == [100.0, 100.0, 1.0, 1.0]
    assert Case(20, 100, 4).shorter() == Case(20, 20, 4)


@pytest.fixture
def history():
    """An alias that moved from v1 to v2 between the seconds 5 and 6."""
    made = History()
    made.begin(alias_of(0), "v1", 0.0)
    made.begin(alias_of(0), "v2", 5.0)
    made.end(alias_of(0), 6.0)
    return made


@pytest.mark.parametrize(
    ("version", "begin_s", "wrong"),
    [("v1", 1.0, 0), ("v1", 5.5, 0), ("v1", 6.5, 1), ("v2", 1.0, 1), ("v2", 4.5, 0), ("v3", 5, 1)],
)
def test_a_version_that_was_not_behind_the_alias_is_wrong(history, version, begin_s, wrong):
    answer = an_answer(version=version, begin_s=begin_s)
    expected = {(version, prompt_of(0)): "hello"}
    found = mixed_streams.judge([answer], history, expected)
    assert (found.wrong_version, found.wrong_text, found.failed) == (wrong, 0, 0)


def test_a_text_of_another_adapter_is_wrong(history):
    expected = {("v1", prompt_of(0)): "hello", ("v2", prompt_of(0)): "good day"}
    answers = [an_answer("good day"), an_answer("hello"), an_answer(status=503)]
    found = mixed_streams.judge(answers, history, expected)
    assert (found.answers, found.failed, found.wrong_text) == (3, 1, 1)


def test_what_was_taken_back_must_not_answer_until_it_is_tried_again():
    rollbacks = [Rollback(9.0, 10.0, 20.0)]
    answers = [
        an_answer(version="canary", begin_s=9.5),  # Asked before it was confirmed.
        an_answer(version="canary", begin_s=11.0),
        an_answer(version="canary", begin_s=21.0),
        an_answer(version="stable", begin_s=11.0),
        an_answer(version="third", begin_s=21.0),
        an_answer(status=0, version=""),
    ]
    found = rollback.judge(answers, rollbacks, "stable", "canary")
    assert found == {
        "answers": 6,
        "failed": 1,
        "by_third_versions": 1,
        "by_what_was_taken_back": 1,
        "by_the_version": 1,
        "by_the_canary": 3,
    }


@pytest.mark.system
def test_the_endpoint_is_measured_against_an_engine_that_answers_at_once():
    command = [sys.executable, "-m", "bench.endpoint", "--quick", "--far-end", "instant"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for said in ("through the endpoint", "processor time of the service", "Streams held open"):
        assert said in done.stdout
