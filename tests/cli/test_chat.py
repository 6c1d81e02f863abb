"""Talking to what is deployed from the command line."""

import json


def test_chat_streams_one_answer(attune, services):
    result = attune("chat", "front", "Hello")
    assert result.out.startswith("Good day\n")
    answer = json.loads(attune("chat", "deployments/front", "Hello", "--json").out)
    assert answer["choices"][0]["message"]["content"] == "Good day"


def test_chat_without_a_message_talks_until_an_empty_line(attune, services, monkeypatch):
    lines = iter(["Hello", "More", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert attune("chat", "front").out.startswith("Good day\nGood day\n")


def test_chat_with_an_unknown_model_says_what_the_endpoint_says(attune, services):
    result = attune("chat", "missing", "Hello")
    assert (result.code, result.err.strip()) == (1, "There is no model 'missing'.")


def test_chat_with_nobody_there_says_what_to_do(attune, services, home):
    text = home.endpoints.read_text().replace(services.openai, "http://127.0.0.1:1/v1")
    home.endpoints.write_text(text)
    result = attune("chat", "front", "Hello")
    assert result.code == 1
    assert "attune up" in result.err
