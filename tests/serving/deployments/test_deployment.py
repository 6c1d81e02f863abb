from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.common.errors import Conflict, FailedPrecondition
from services.serving.deployments.deployment import (
    Arms,
    Canary,
    DeploymentState,
    check_etag,
    confirm,
    create,
    decide,
    delete,
    fail,
    point_at,
    promote,
    roll_back,
    try_canary,
)
from services.serving.deployments.lot import ALWAYS, NEVER, Lot

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
ONE, TWO, THREE = (f"projects/default/models/tickets/versions/{n}" for n in (1, 2, 3))


def made():
    return confirm(create("projects/default/deployments/t", "shared", ONE, etag="e1", now=NOW), NOW)


def decided(deployment, *, held=True):
    return decide(deployment, held=held, etag="e2", now=LATER)


def test_a_new_deployment_answers_nothing_until_its_target_confirms_it():
    new = create("projects/default/deployments/t", "shared", ONE, etag="e1", now=NOW)
    assert (new.alias, new.state, new.serving) == ("t", "PENDING", Arms(""))
    ready = confirm(new, LATER)
    assert (ready.state, ready.serving, ready.etag) == ("READY", Arms(ONE), "e1")


def test_what_answered_goes_on_answering_until_the_new_version_is_held():
    pending = decided(point_at(made(), TWO), held=False)
    assert (pending.state, pending.decided, pending.serving) == ("PENDING", Arms(TWO), Arms(ONE))
    assert pending.needed_versions == {ONE, TWO}
    assert confirm(pending, LATER).serving == Arms(TWO)
    failed = fail(pending, "no room", LATER)
    assert (failed.state, failed.serving, failed.state_reason) == ("FAILED", Arms(ONE), "no room")


def test_a_rollback_returns_to_the_version_before_and_another_one_forward_again():
    switched = decided(point_at(made(), TWO))
    assert (switched.etag, switched.decide_time) == ("e2", LATER)
    back = decided(roll_back(switched))
    assert (back.serving.model_version, back.previous_model_version) == (ONE, TWO)
    assert decided(roll_back(back)).serving.model_version == TWO


def test_pointing_an_alias_where_it_points_keeps_its_way_back():
    switched = decided(point_at(made(), TWO))
    assert point_at(switched, TWO).previous_model_version == ONE


def test_a_rollback_ends_a_canary_first():
    tried = decided(try_canary(made(), Canary(TWO, 10)))
    assert tried.serving == Arms(ONE, Canary(TWO, 10))
    assert tried.needed_versions == {ONE, TWO}
    back = roll_back(tried)
    assert (back.decided, back.previous_model_version) == (Arms(ONE), "")


def test_a_promoted_canary_becomes_the_version_and_can_be_taken_back():
    promoted = decided(promote(try_canary(made(), Canary(TWO, 10))))
    assert promoted.serving == Arms(TWO)
    assert roll_back(promoted).decided == Arms(ONE)


@pytest.mark.parametrize(
    "act",
    [
        lambda: roll_back(made()),
        lambda: promote(made()),
        lambda: try_canary(made(), Canary(ONE, 10)),
        lambda: point_at(delete(made()), TWO),
        lambda: try_canary(delete(made()), None),
        lambda: promote(delete(made())),
        lambda: roll_back(delete(made())),
    ],
)
def test_what_cannot_be_decided_is_refused_with_the_remedy(act):
    with pytest.raises(FailedPrecondition) as caught:
        act()
    assert len(caught.value.message.split(". ")) == 2


def test_what_is_deleted_stops_answering_at_once():
    gone = decided(delete(made()))
    assert (gone.state, gone.serving) == (DeploymentState.DELETING, Arms(""))


def test_an_old_etag_is_refused_and_an_empty_one_fits():
    check_etag(made(), "")
    check_etag(made(), "e1")
    with pytest.raises(Conflict):
        check_etag(made(), "e0")


ARMS = Arms(ONE, Canary(TWO, 25))


@pytest.mark.parametrize(
    ("lot", "arms", "chosen"),
    [
        (Lot(ALWAYS), ARMS, TWO),
        (Lot(NEVER), ARMS, ONE),
        (Lot(ALWAYS), Arms(ONE), ONE),
        (Lot("perhaps", "u"), Arms(ONE, Canary(TWO, 0)), ONE),
        (Lot("", "u"), Arms(ONE, Canary(TWO, 100)), TWO),
        (Lot(), Arms(""), ""),
    ],
)
def test_a_header_decides_before_the_share(lot, arms, chosen):
    assert lot.choose(arms) == chosen


def test_the_share_holds_over_many_users_and_requests_without_one():
    for lots in ([Lot("", f"u{n}") for n in range(4000)], [Lot()] * 4000):
        share = Counter(lot.choose(ARMS) for lot in lots)[TWO] / 4000
        assert 0.21 < share < 0.29  # Six standard deviations.


def test_a_user_stays_with_the_canary_while_its_share_grows():
    users = [Lot("", f"u{n}") for n in range(500)]
    chosen = [
        {lot for lot in users if lot.choose(replace(ARMS, canary=Canary(TWO, percent))) == TWO}
        for percent in (5, 25, 60, 100)
    ]
    assert all(few <= many for few, many in pairwise(chosen))
    assert len(chosen[-1]) == 500
