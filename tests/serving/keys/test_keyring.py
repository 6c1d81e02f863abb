from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import InvalidArgument
from services.serving.keys import key as keys
from services.serving.keys.key import SECRET, ApiKey, PermissionDenied, Unauthenticated
from services.serving.keys.keyring import Keyring
from services.serving.keys.limits import Limits
from services.serving.keys.loopback import is_local
from services.serving.settings import ServingSettings

NOW = datetime(2026, 5, 1, 12, 30, 45, tzinfo=UTC)


class Clock:
    moment = NOW

    def now(self):
        return self.moment


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ring(clock):
    return Keyring(clock, Limits(1, 2, 3))


def a_key(secret, **fields):
    facts = {
        "name": "projects/default/apiKeys/k1",
        "title": "App",
        "secret_prefix": secret[:16],
        "secret_sha256": keys.hash_of(secret),
        "models": (),
        "limits": Limits(),
        "create_time": NOW,
    }
    return ApiKey(**{**facts, **fields})


def find(ring, secret, *, is_local=False):
    return ring.find(f"Bearer {secret}", is_local=is_local)


def test_a_secret_is_marked_and_never_the_same_twice():
    secrets = {keys.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(SECRET.fullmatch(secret) for secret in secrets)


def test_a_key_is_found_by_its_secret_with_its_project_and_the_default_limits(ring):
    secret = keys.new_secret()
    ring.add(a_key(secret, name="projects/other/apiKeys/k1"))
    caller = find(ring, secret)
    assert caller.project == "other"
    assert ring.find(f"bearer {secret}", is_local=False) is caller
    assert dict(caller.limiter.headers())[b"x-ratelimit-limit-tokens"] == b"2"


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic abc", "Bearer none", "sk-attune-x"])
def test_without_a_key_nobody_is_let_in(ring, header):
    with pytest.raises(Unauthenticated):
        ring.find(header, is_local=True)


def test_a_removed_key_is_refused_at_once_and_the_error_does_not_show_it(ring):
    secret = keys.new_secret()
    ring.add(a_key(secret))
    find(ring, secret)
    ring.remove("projects/default/apiKeys/k1")
    with pytest.raises(Unauthenticated) as caught:
        find(ring, secret)
    assert secret not in caught.value.message
    assert secret[:16] in caught.value.message


def test_a_key_ends_when_it_expires(ring, clock):
    secret = keys.new_secret()
    ring.add(a_key(secret, expire_time=NOW + timedelta(seconds=1)))
    find(ring, secret)
    clock.moment = NOW + timedelta(seconds=1)
    with pytest.raises(Unauthenticated):
        find(ring, secret)


def test_uses_are_kept_to_the_minute_and_taken_once(ring):
    secret = keys.new_secret()
    ring.add(a_key(secret))
    find(ring, secret)
    assert ring.take_uses() == {"projects/default/apiKeys/k1": NOW.replace(second=0, microsecond=0)}
    assert ring.take_uses() == {}


def test_a_scope_is_kept_whether_or_not_the_model_exists(ring):
    secret = keys.new_secret()
    ring.add(a_key(secret, models=("tickets", "base:a/b")))
    caller = find(ring, secret)
    caller.check_model("tickets")
    for other in ("tickets/1", "other", "base:a"):
        with pytest.raises(PermissionDenied, match="tickets, base:a/b"):
            caller.check_model(other)


def test_who_has_no_key_is_let_in_on_loopback_only_and_a_wrong_key_never(clock):
    ring = Keyring(clock, Limits(), "default")
    caller = ring.find("Bearer none", is_local=True)
    assert (caller.project, caller.key) == ("default", None)
    with pytest.raises(Unauthenticated):
        ring.find("", is_local=False)
    with pytest.raises(Unauthenticated):
        find(ring, keys.new_secret(), is_local=True)


@pytest.mark.parametrize(
    ("host", "origin", "local"),
    [
        ("127.0.0.1:7180", "", True),
        ("localhost", "", True),
        ("[::1]:7180", "", True),
        ("127.0.0.1:7180", "http://localhost:3000", True),
        ("127.0.0.1:7180", "https://elsewhere.example", False),
        ("127.0.0.1:7180", "null", False),
        ("rebound.example:7180", "", False),
        ("", "", False),
        ("[broken", "", False),
    ],
)
def test_a_foreign_page_in_a_browser_is_not_local(host, origin, local):
    assert is_local(host, origin) is local


def test_every_rule_of_a_key_is_told_at_once():
    with pytest.raises(InvalidArgument) as caught:
        keys.check("", ["tickets", "No Model", "base:"], Limits(0, 10**10, 1), NOW, NOW)
    assert [violation.field for violation in caught.value.violations] == [
        "api_key.title",
        "api_key.models.1",
        "api_key.models.2",
        "api_key.limits.requests_per_minute",
        "api_key.limits.tokens_per_minute",
        "api_key.expire_time",
    ]
    with pytest.raises(InvalidArgument, match="at most 100"):
        keys.check("App", ["tickets"] * 101, Limits(), None, NOW)
    keys.check("App", ["tickets", "tickets/3", "base:attune/starter"], Limits(1, 1, 1), None, NOW)


def settings(**environ):
    return ServingSettings.read("serving", environ)


def test_requests_without_a_key_need_an_endpoint_on_loopback():
    assert settings().anonymous_project == "default"
    assert settings(ATTUNE_SERVING_ANONYMOUS="false").anonymous_project == ""
    assert settings(ATTUNE_SERVING_HTTP_HOST="0.0.0.0").anonymous_project == ""
    everywhere = settings(ATTUNE_HOST="0.0.0.0", ATTUNE_SERVING_ANONYMOUS="true")
    with pytest.raises(SystemExit, match=r"this one listens on 0\.0\.0\.0"):
        _ = everywhere.anonymous_project
    only_host = settings(ATTUNE_HOST="10.0.0.1", ATTUNE_SERVING_HTTP_HOST="127.0.0.1")
    assert only_host.anonymous_project == "default"
