"""What the operator gives projects, read from a file."""

import json

import pytest

from services.scheduler.account import Share, Usage, read_shares
from services.scheduler.queue.entry import Account, Quota


def a_file(tmp_path, content):
    path = tmp_path / "quotas.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_without_a_file_all_are_equal_and_unlimited():
    assert read_shares(None).of("any") == Share(1.0, Quota())


def test_a_project_has_its_own_entry_or_that_of_all_others(tmp_path):
    limits = {"running_jobs_max": 2, "device_hours_max": 1.5, "budget_usd": 0.25}
    shares = read_shares(a_file(tmp_path, {"team": {"weight": 3, **limits}, "*": {"weight": 0.5}}))
    assert shares.of("team") == Share(3, Quota(2, 5400.0, 250_000))
    assert shares.of("other") == Share(0.5, Quota())
    used = Usage(1.0, 2.0, 3)
    assert shares.account("team", used) == Account(3, Quota(2, 5400.0, 250_000), 1.0, 2.0, 3)
    assert shares.account("other", None) == Account(0.5)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        {"team": 3},
        {"team": {"gpus": 3}},
        {"team": {"weight": 0}},
        {"team": {"budget_usd": -1}},
        {"team": {"running_jobs_max": "2"}},
        {"team": {"running_jobs_max": True}},
    ],
    ids=str,
)
def test_a_wrong_file_stops_the_start_in_one_line(tmp_path, content):
    path = a_file(tmp_path, content)
    with pytest.raises(SystemExit) as caught:
        read_shares(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_stops_the_start(tmp_path):
    with pytest.raises(SystemExit, match="cannot be used"):
        read_shares(tmp_path / "none.json")
