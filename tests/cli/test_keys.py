"""Keys and usage from the command line."""

import json
from datetime import UTC, datetime, timedelta

from tests.cli.canned_keys import KEY, SECRET


def test_a_key_is_made_and_its_secret_shown_once(attune, services):
    result = attune(
        *("key", "create", "Desk", "--model", "tickets", "--model", "base:attune/starter"),
        *("--tokens-per-minute", "5000", "--days", "90"),
    )
    assert result.code == 0
    assert result.out.startswith(SECRET + "\n")
    assert "shown only now" in result.out
    assert "attune key revoke k1" in result.out
    (asked,) = services.asked
    assert asked.api_key.title == "Desk"
    assert asked.api_key.models == ["tickets", "base:attune/starter"]
    assert asked.api_key.limits.tokens_per_minute == 5000
    assert not asked.api_key.limits.HasField("requests_per_minute")
    lives = asked.api_key.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=89) < lives <= timedelta(days=90)


def test_a_key_as_json_has_its_secret(attune, services):
    made = json.loads(attune("key", "create", "Desk", "--json").out)
    assert made["secret"] == SECRET
    assert not services.asked[0].api_key.HasField("expire_time")


def test_keys_are_listed_with_their_scope_limits_state_and_last_use(attune, services):
    lines = attune("key", "list").out.splitlines()
    revoked, over, limited, plain = [
        next(line for line in lines if line.lstrip().startswith(name))
        for name in ("k4", "k3", "k2", "k1")
    ]
    assert "revoked 2023-11-14" in revoked
    assert "over since 2023-11-14" in over
    assert "never" in over
    assert "tickets, base:attune/starter" in limited
    assert "5,000 tokens/min" in limited
    assert "lives until 2096" in limited
    assert "all" in plain
    assert "default" in plain
    assert "2023-11-14 22:14:00 UTC" in plain
    assert SECRET not in "".join(lines)


def test_a_key_is_revoked_by_its_id(attune, services):
    result = attune("key", "revoke", "k1")
    assert result.code == 0
    assert "lets no request in any more" in result.out
    assert services.asked[0].name == KEY


def test_usage_is_a_table_by_key_model_and_version(attune, services):
    result = attune("usage", "--days", "7")
    first, second = [
        line for line in result.out.splitlines() if "starter" in line or "Desk" in line
    ]
    assert first.split() == ["Desk", "tickets", "tickets/1", "1,200", "3", "345,678", "9"]
    assert second.startswith("(without a key)") or "(without a key)" in second
    since = services.asked[0].start_time.ToDatetime(UTC)
    assert timedelta(days=6) < datetime.now(UTC) - since < timedelta(days=8)
    rows = json.loads(attune("usage", "--json").out)["rows"]
    assert rows[0]["prompt_token_count"] == "345678"


def test_chat_sends_the_key_of_the_environment(attune, services, monkeypatch):
    monkeypatch.setenv("ATTUNE_API_KEY", SECRET)
    assert attune("chat", "front", "Hello").code == 0
    assert services.authorizations[-1] == f"Bearer {SECRET}"
