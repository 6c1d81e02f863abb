"""The words for waiting."""

import pytest

from services.scheduler.queue.wait import Outlook, Wait, words
from tests.scheduler.queue.entries import an_account


@pytest.mark.parametrize("wait", Wait)
def test_every_reason_is_a_sentence(wait):
    account = an_account(running_jobs_max=1, device_s_max=1.0, budget_micro_usd=1)
    said = words(Outlook(3, wait, machines=("node-a",)), account)
    assert said[0].isupper() or said[0].isdigit()
    assert said.endswith(".")


def test_who_is_behind_others_hears_how_many_and_whether_it_had_its_share():
    assert words(Outlook(2, Wait.AHEAD), an_account()) == "One job is before it."
    said = words(Outlook(8, Wait.AHEAD, share=2.04), an_account())
    assert said.startswith("7 jobs are before it. Its project has had 2.0 times the usual share")


def test_a_quota_is_named_with_its_amount_and_the_remedy():
    account = an_account(running_jobs_max=2, device_s_max=36_000.0, budget_micro_usd=12_500_000)
    assert "(2)" in words(Outlook(1, Wait.RUNNING_JOBS), account)
    assert "10 device-hours" in words(Outlook(1, Wait.DEVICE_HOURS), account)
    assert "$12.50" in words(Outlook(1, Wait.BUDGET), account)
    assert "raise it" in words(Outlook(1, Wait.BUDGET), account)
