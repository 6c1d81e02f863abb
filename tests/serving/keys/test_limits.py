import pytest

from services.serving.keys.limits import Limiter, LimitReached, Limits


class Time:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def time():
    return Time()


def refusal(limiter):
    with pytest.raises(LimitReached) as caught:
        limiter.enter()
    return caught.value


def test_requests_of_a_minute_are_let_in_and_the_next_waits(time):
    limiter = Limiter(Limits(requests_per_minute=2), time)
    limiter.enter()
    limiter.enter()
    refused = refusal(limiter)
    assert (refused.limit, refused.retry_after_s) == ("requests", 30)
    time.now_s += 30
    limiter.enter()
    assert refusal(limiter).retry_after_s == 30


def test_a_refused_request_costs_nothing(time):
    limiter = Limiter(Limits(requests_per_minute=1), time)
    limiter.enter()
    for _ in range(5):
        refusal(limiter)
    time.now_s += 60
    limiter.enter()


def test_tokens_are_counted_after_and_what_was_taken_beyond_is_owed(time):
    limiter = Limiter(Limits(tokens_per_minute=60), time)
    limiter.enter()
    limiter.leave(180)
    refused = refusal(limiter)
    assert (refused.limit, refused.retry_after_s) == ("tokens", 121)
    time.now_s += 121
    limiter.enter()


def test_nothing_is_saved_up_beyond_a_minute(time):
    limiter = Limiter(Limits(requests_per_minute=2), time)
    time.now_s += 3600
    limiter.enter()
    limiter.enter()
    refusal(limiter)


def test_requests_at_once_are_bounded_and_a_place_comes_back(time):
    limiter = Limiter(Limits(concurrent_requests=2), time)
    limiter.enter()
    limiter.enter()
    assert refusal(limiter).limit == "concurrent_requests"
    limiter.leave(10)
    limiter.enter()


def test_headers_say_what_is_left_as_openai_does(time):
    limiter = Limiter(Limits(requests_per_minute=10, tokens_per_minute=60), time)
    limiter.enter()
    limiter.leave(90)
    assert dict(limiter.headers()) == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"9",
        b"x-ratelimit-reset-requests": b"6.000s",
        b"x-ratelimit-limit-tokens": b"60",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"90.000s",
    }


def test_no_limit_refuses_nothing_and_says_nothing(time):
    limiter = Limiter(Limits(), time)
    for _ in range(1000):
        limiter.enter()
    limiter.leave(10**9)
    limiter.enter()
    assert limiter.headers() == []


def test_a_keys_own_limits_win_over_the_default():
    assert Limits(tokens_per_minute=5).over(Limits(1, 2, 3)) == Limits(1, 5, 3)
