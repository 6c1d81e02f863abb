"""Comparing and generating, against a playground with canned answers."""

import io
import json

import pytest

from tests.cli.canned_playground import BASE, EXCHANGE, VERSION, end, failure, text, wait

ALIAS = "projects/default/deployments/front"


def lines(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_answers_are_written_one_after_the_other_with_what_they_took(attune, services):
    result = attune("compare", "tickets/1", "base:attune/starter", "Hi")
    assert result.code == 0, result.err
    assert result.out.splitlines()[:5] == [
        "1  tickets/1",
        "base",
        "  tokens 34 · first token 12.3 ms · tokens/s 41.0",
        "",
        "2  base:attune/starter",
    ]
    assert "attune exchange prefer exchanges/e1 --better N" in result.out
    sent = services.asked[-1]
    assert list(sent.models) == [VERSION, BASE]
    assert [message.content for message in sent.prompt.messages] == ["Hi"]
    assert not sent.HasField("grading")


def test_one_model_is_compared_with_its_base(attune, services):
    assert attune("compare", "tickets/1", "Hi").code == 0
    assert list(services.asked[-1].models) == [BASE, VERSION]
    result = attune("compare", "base:attune/starter", "Hi")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "Name two to four models" in result.err


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("front", ALIAS),
        ("deployments/front", ALIAS),
        (ALIAS, ALIAS),
        ("tickets@1", VERSION),
        ("models/tickets/versions/1", VERSION),
        (VERSION, VERSION),
        ("base:org/model", "projects/default/baseModels/org~model"),
    ],
)
def test_models_are_named_as_people_name_them(attune, services, named, meant):
    services.aliases["front"] = VERSION
    assert attune("generate", named, "Hi", "--json").code == 0
    assert services.asked[-1].model == meant


def test_a_name_without_an_alias_is_the_newest_version_that_is_ready(attune, services):
    services.version_states = services.version_states[1:]
    assert attune("generate", "tickets", "Hi").code == 0
    assert services.asked[-1].model == VERSION


def test_a_name_that_nothing_has_is_one_line_with_the_remedy(attune, services):
    services.version_states = services.version_states[:1]
    result = attune("generate", "tickets", "Hi")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "neither an alias nor a model with a version that is ready" in result.err
    result = attune("generate", "org/model", "Hi")
    assert "MODEL: 'org/model' is none" in result.err
    assert "did you mean base:org/model?" in result.err


def test_json_is_a_line_for_every_piece_with_its_position(attune, services):
    result = attune("compare", "tickets/1", "Hi", "--json")
    found = lines(result.out)
    assert [(one["model_index"], next(iter(one["response"]))) for one in found] == [
        ("1", "text_delta"), ("0", "text_delta"), ("1", "text_delta"), ("0", "end"), ("1", "end"),
    ]  # fmt: skip
    assert found[3]["response"]["end"]["exchange"] == EXCHANGE
    assert result.err == ""
    generated = lines(attune("generate", "tickets/1", "Hi", "--json").out)
    assert generated[0] == {"text_delta": "tuned "}


def test_options_say_how_tokens_are_drawn_and_what_may_be_called(attune, services, tmp_path):
    tools = tmp_path / "tools.json"
    function = {"name": "find", "parameters": {"type": "object"}}
    tools.write_text(json.dumps([{"type": "function", "function": function}]))
    schema = tmp_path / "schema.json"
    schema.write_text('{"b": 1, "a": 2}')
    drawn = [
        "--temperature",
        "0.5",
        "--top-p",
        "0.9",
        "--max-tokens",
        "12",
        "--seed",
        "7",
        "--stop",
        "X",
        "--stop",
        "Y",
    ]
    result = attune(
        "compare", "tickets/1", "Hi", "--system", "Route.", "--tools", tools,
        "--json-schema", schema, *drawn,
    )  # fmt: skip
    assert result.code == 0, result.err
    prompt = services.asked[-1].prompt
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert (prompt.tools[0].name, prompt.tools[0].parameters) == ("find", '{"type": "object"}')
    assert prompt.json_schema == '{"b": 1, "a": 2}'
    sampling = prompt.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.5, 0.9, 12)
    assert (sampling.seed, list(sampling.stop)) == (7, ["X", "Y"])


def test_what_is_not_said_is_left_to_the_service(attune, services):
    attune("generate", "tickets/1", "Hi")
    assert services.asked[-1].prompt.sampling.ListFields() == []


def test_a_prompt_comes_from_standard_input_or_a_file(attune, services, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("From afar\n"))
    attune("generate", "tickets/1", "-")
    assert services.asked[-1].prompt.messages[0].content == "From afar\n"
    path = tmp_path / "prompt.txt"
    path.write_text("From a file")
    attune("compare", "tickets/1", "base:x", "--prompt-file", path)
    assert services.asked[-1].prompt.messages[0].content == "From a file"
    assert list(services.asked[-1].models) == [VERSION, "projects/default/baseModels/x"]


def test_a_row_of_a_dataset_is_asked_and_its_answer_is_the_reference(attune, services, tmp_path):
    call = {"id": "c1", "function": {"name": "find", "arguments": '{"q": 1}'}}
    row = {
        "messages": [
            {"role": "user", "content": "Find it"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "found", "tool_call_id": "c1"},
            {"role": "assistant", "content": "Here."},
        ],
        "tools": [{"type": "function", "function": {"name": "find"}}],
    }
    rows, grader = tmp_path / "rows.jsonl", tmp_path / "grader.json"
    rows.write_text('{"messages": []}\n' + json.dumps(row) + "\n")
    grader.write_text('{"name": "exact", "regex": {"pattern": "."}}')
    options = ("--prompt-file", rows, "--line", "2", "--grader", grader)
    assert attune("compare", "tickets/1", *options).code == 0
    sent = services.asked[-1]
    assert [message.role for message in sent.prompt.messages] == ["user", "assistant", "tool"]
    assert sent.prompt.messages[1].tool_calls[0].arguments == '{"q": 1}'
    assert sent.prompt.tools[0].name == "find"
    assert (sent.grading.graders[0].name, sent.grading.reference) == ("exact", "Here.")
    attune("compare", "tickets/1", *options, "--reference", "There.")
    assert services.asked[-1].grading.reference == "There."


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("chat.json", "{", "is not JSON"),
        ("chat.json", "7", "holds no chat"),
        ("chat.json", '[{"content": "Hi"}]', "there is no 'role'"),
        ("chat.json", '[{"role": "user", "content": {"a": 1}}]', "no chat of OpenAI's form"),
        ("rows.jsonl", "\n", "has no row in line 1"),
        ("none.txt", None, "cannot be read"),
    ],
)
def test_a_file_that_asks_nothing_is_refused_in_one_line(
    attune, services, tmp_path, name, content, says
):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    result = attune("compare", "tickets/1", "--prompt-file", path)
    assert (result.code, result.err.count("\n")) == (1, 1), result.err
    assert says in result.err
    assert str(path) in result.err


def test_options_that_make_no_sense_together_are_misuse(attune, services, tmp_path):
    result = attune("compare", "tickets/1", "Hi", "--reference", "x")
    assert result.code == 2
    assert "Give --grader, too" in result.err
    assert attune("compare", "tickets/1").code == 2
    assert attune("compare", "a", "b", "c", "d", "e", "Hi").code == 2
    assert attune("generate", "a", "b", "Hi").code == 2
    path = tmp_path / "chat.json"
    path.write_text('[{"role": "system", "content": "A"}, {"role": "user", "content": "B"}]')
    result = attune("generate", "tickets/1", "--prompt-file", path, "--system", "C")
    assert (result.code, result.err.startswith("--system: ")) == (1, True)


def test_a_model_that_fails_leaves_the_others_and_ends_with_1(attune, services):
    services.pieces = [text(0, "half"), failure(0, "It went away.", 5), text(1, "whole"), end(1)]
    result = attune("compare", "tickets/1", "Hi")
    assert result.code == 1
    assert "half\n  broke off: It went away. (again in 5.0 s)" in result.out
    assert "whole\n  tokens 34" in result.out
    assert "attune exchange prefer exchanges/e1 --better N" in result.out
    refused = attune("generate", "tickets/1", "Hi")
    assert (refused.code, refused.err.strip()) == (1, "It went away.")
    assert "half\n  (broke off)" in refused.out


def test_an_engine_that_starts_is_told_of_before_its_answer(attune, services):
    services.pieces = [wait(1, "Loading weights", 0.25, 42), *services.pieces]
    result = attune("compare", "tickets/1", "Hi")
    assert result.out.startswith("2  tickets/1: Loading weights 25%, about 42 s left\n1  base:")


def test_scores_costs_and_calls_stand_with_the_answer(attune, services):
    last = end(1, {"exact": 1.0}, finish_reason="tool_calls", cost_micro_usd=12)
    last.response.end.scores.add(grader="judge", error="It did not answer.")
    last.response.end.tool_calls.add(id="c", name="find", arguments='{"q": 1}')
    services.pieces = [text(0, "base"), end(0, {"exact": 0.0}, finish_reason="length"), last]
    out = attune("compare", "tickets/1", "Hi").out
    assert "tokens 34, cut off · first token 12.3 ms · tokens/s 41.0 · exact 0.000" in out
    assert '→ find({"q": 1})\n' in out
    assert "cost $0.000012 · exact 1.000 · judge It did not answer." in out


def test_what_a_model_writes_is_never_obeyed(attune, services):
    services.pieces = [text(0, "a\x1b[31mb\x9b2J [bold]c[/bold]\r\n"), end(0), end(1)]
    out = attune("compare", "tickets/1", "Hi").out
    assert "a\u241b[31mb\\x9b2J [bold]c[/bold]\n" in out
    assert "\x1b" not in out
