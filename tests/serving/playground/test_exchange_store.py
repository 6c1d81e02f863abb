from uuid import uuid4

import pytest
from attune.serving.v1 import playground_pb2 as pb

from services.common.clock import SystemClock
from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.serving import store
from services.serving.playground import exchange_store
from services.serving.playground.answer import Answer, Failure, Score
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.prompt import Message, Sampling, Tool, ToolCall
from tests.serving.playground.exchanges import (
    ALL_BAD,
    BASE,
    BETTER,
    TUNED,
    an_answer,
    an_exchange,
    an_opinion,
)


@pytest.fixture
async def exchanges(database_url):
    database = store.new_database(database_url)
    await database.migrate()
    yield ExchangeStore(database, SystemClock())
    await database.close()


def a_request(name, request_id=""):
    return pb.RecordPreferenceRequest(
        exchange=name,
        preference={"verdict": pb.Preference.VERDICT_BETTER},
        request_id=request_id or str(uuid4()),
    )


def allow(exchange):
    """Refuse nothing."""


async def names(exchanges, *page, **only):
    return [one.name[-1] for one in await exchanges.list_page("default", *page, **only)]


async def test_an_exchange_comes_back_as_it_was_written(exchanges):
    call = ToolCall("c1", "weather", '{"city": "Bonn"}')
    written = an_exchange(
        Answer(BASE),
        an_answer(
            "very well",
            TUNED,
            tokens_per_s=8.5,
            cost_micro_usd=0,
            tool_calls=(call,),
            scores=(Score("exact", 0.0), Score("judge", None, "No judge is set.")),
            exchange="projects/default/exchanges/x",
        ),
        messages=(Message("user", "weather?"), Message("assistant", "", (call,)),
            Message("tool", "sunny", tool_call_id="c1")),
        tools=(Tool("weather", "Tells it.", '{"type": "object"}'),),
        json_schema='{"type": "object"}',
        sampling=Sampling(0.5, 0.9, 7, -1, ("\n",)),
        preference=an_opinion(ALL_BAD, corrected="well"),
    )  # fmt: skip
    await exchanges.add(written)
    assert await exchanges.get(written.name) == written
    broken = written.with_text(0, "half of").with_outcome(
        0, Failure("ENGINE_AWAY", "It went away.", 2.5, written.name)
    )
    await exchanges.replace_answers(broken)
    assert await exchanges.get(written.name) == broken


async def test_what_is_not_there_is_not_found(exchanges):
    with pytest.raises(NotFound) as caught:
        await exchanges.get("projects/default/exchanges/x")
    assert caught.value.reason == "NO_SUCH_EXCHANGE"
    with pytest.raises(InvalidArgument):
        await exchanges.get("projects/default/models/x")
    await exchanges.add(an_exchange())
    with pytest.raises(NotFound):  # Another project's is none.
        await exchanges.get(an_exchange().name.replace("default", "other"))
    await exchanges.replace_answers(an_exchange(number=2))
    assert await names(exchanges, "", 9) == ["1"]


async def test_exchanges_are_listed_newest_first_page_by_page(exchanges):
    for number in (2, 1, 3):
        opinion = an_opinion() if number != 2 else None
        await exchanges.add(an_exchange(number=number, preference=opinion))
    assert await names(exchanges, "", 9) == ["3", "2", "1"]
    after = an_exchange(number=3).id
    assert await names(exchanges, after, 1) == ["2"]
    assert await names(exchanges, "", 9, with_preference=True) == ["3", "1"]
    assert await exchanges.list_page("other", "", 9) == []


async def test_the_newest_are_kept_and_all_that_somebody_judged(exchanges, monkeypatch):
    monkeypatch.setattr(exchange_store, "KEPT_MAX", 2)
    await exchanges.add(an_exchange(number=1))
    await exchanges.record(a_request(an_exchange().name), an_exchange().name, an_opinion(), allow)
    for number in range(2, 6):
        await exchanges.add(an_exchange(number=number))
    assert await names(exchanges, "", 9) == ["5", "4", "1"]


async def test_a_later_opinion_replaces_an_earlier_one(exchanges):
    made = an_exchange()
    await exchanges.add(made)
    first, second = an_opinion(), an_opinion(BETTER, 1, "well", "bob")
    request = a_request(made.name)
    answer = await exchanges.record(request, made.name, first, allow)
    assert answer.preference.author == "ann"
    await exchanges.record(a_request(made.name), made.name, second, allow)
    assert (await exchanges.get(made.name)).preference == second
    # A repeat of the first request changes nothing any more.
    assert await exchanges.record(request, made.name, first, allow) == answer
    assert (await exchanges.get(made.name)).preference == second
    with pytest.raises(InvalidArgument):
        other = a_request(made.name[:-1] + "2", request.request_id)
        await exchanges.record(other, made.name, first, allow)


async def test_an_opinion_does_not_touch_answers_that_still_come(exchanges):
    made = an_exchange(Answer(BASE), Answer(TUNED))
    await exchanges.add(made)
    await exchanges.record(a_request(made.name), made.name, an_opinion(ALL_BAD), allow)
    await exchanges.replace_answers(made.with_text(1, "late"))
    found = await exchanges.get(made.name)
    assert (found.answers[1].text, found.preference) == ("late", an_opinion(ALL_BAD))


async def test_what_a_check_refuses_is_not_kept(exchanges):
    def refuse(exchange):
        raise FailedPrecondition(exchange.name, reason="NO")

    made = an_exchange()
    await exchanges.add(made)
    with pytest.raises(FailedPrecondition, match=made.name):
        await exchanges.record(a_request(made.name), made.name, an_opinion(), refuse)
    with pytest.raises(NotFound):
        await exchanges.record(a_request("x"), made.name[:-1] + "9", an_opinion(), allow)
    assert (await exchanges.get(made.name)).preference is None


async def test_the_first_answer_to_an_export_is_kept(exchanges):
    request = pb.ExportPreferencesRequest(parent="projects/default", request_id=str(uuid4()))
    assert await exchanges.find_export(request) is None
    first = pb.ExportPreferencesResponse(dataset="projects/default/datasets/one")
    assert await exchanges.keep_export(request, first) == first
    assert await exchanges.keep_export(request, pb.ExportPreferencesResponse()) == first
    assert await exchanges.find_export(request) == first
