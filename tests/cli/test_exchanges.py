"""The history of the playground and what people think of it."""

import io
import json

import pytest
from attune.serving.v1 import playground_pb2 as pb

from tests.cli.canned_playground import EXCHANGE, VERSION


def test_the_newest_exchanges_are_listed_up_to_the_limit(attune, services):
    out = attune("exchange", "list").out
    assert "exchanges/e3  Prompt 3 of two lines  base:attune/starter, tickets/1  -" in out
    assert "exchanges/e1" in out
    assert "attune exchange show NAME" in out
    found = json.loads(attune("exchange", "list", "--limit", "1", "--judged", "--json").out)
    assert [one["name"][-2:] for one in found["exchanges"]] == ["e3"]
    assert services.asked[-1].with_preference


def test_an_exchange_is_found_on_a_later_page_and_shown_whole(attune, services):
    out = attune("exchange", "show", "e1").out
    assert "user: Prompt 1\nof two lines" in out
    assert "1  base:attune/starter\nanswer 0\n" in out
    assert "exact 1.000" in out
    assert json.loads(attune("exchange", "show", "e1", "--json").out)["name"] == EXCHANGE
    missing = attune("exchange", "show", "e9")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    assert "There is no exchanges/e9. `attune exchange list`" in missing.err


@pytest.mark.parametrize(
    ("options", "verdict", "index", "said"),
    [
        (["--better", "2"], pb.Preference.VERDICT_BETTER, 1, "2 is better"),
        (["--worse", "1"], pb.Preference.VERDICT_WORSE, 0, "1 is worse"),
        (["--all-bad"], pb.Preference.VERDICT_ALL_BAD, 0, "all are bad"),
    ],
)
def test_a_preference_counts_answers_from_1(attune, services, options, verdict, index, said):
    result = attune("exchange", "prefer", "e1", *options, "--author", "Ada", "--correct", "C")
    assert result.code == 0, result.err
    sent = services.asked[-1]
    assert (sent.exchange, sent.preference.verdict) == (EXCHANGE, verdict)
    assert sent.preference.answer_index == index
    assert f"Of exchanges/e1: {said}, corrected, says Ada." in result.out
    assert "attune exchange export --shape pairs" in result.out


def test_a_correction_may_come_from_standard_input(attune, services, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("The right one"))
    result = attune("exchange", "prefer", "e1", "--all-bad", "--correct", "-", "--json")
    assert json.loads(result.out)["preference"]["corrected_answer"] == "The right one"


@pytest.mark.parametrize(
    "options",
    [[], ["--better", "1", "--all-bad"], ["--better", "0"], ["--worse", "1", "--better", "2"]],
)
def test_a_preference_is_exactly_one_verdict(attune, services, options):
    assert attune("exchange", "prefer", "e1", *options).code == 2
    assert services.asked == []


def test_an_exchange_that_is_not_there_is_said_in_one_line(attune, services):
    result = attune("exchange", "prefer", "e9", "--better", "1")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "There is no projects/default/exchanges/e9." in result.err


def test_an_export_ends_with_the_plan_that_learns_from_it(attune, services):
    result = attune("exchange", "export", "--shape", "pairs", "--version", "tickets/1")
    assert result.code == 0, result.err
    assert "datasets/d7 has 1,200 pairs; answers of tickets/1 are in them." in result.out
    assert "3 judgements make no row" in result.out
    assert "attune spec propose --dataset datasets/d7" in result.out
    sent = services.asked[-1]
    assert (sent.shape, sent.model_version) == (pb.ExportPreferencesRequest.SHAPE_PAIRS, VERSION)
    made = json.loads(attune("exchange", "export", "--shape", "demonstrations", "--json").out)
    assert made["dataset"] == "projects/default/datasets/d7"
