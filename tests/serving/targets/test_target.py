"""Which two targets are offered, and which of them first."""

import pytest

from services.serving.targets.target import Offer, recommend


def offer(target, hour=None, objection="", *, is_outside=False):
    return Offer(target, target, "", "", hour, "", (), objection, is_outside)


SHARED, DEDICATED = offer("shared", 0), offer("dedicated")
OUTSIDE = offer("sagemaker", 1_000_000, is_outside=True)


def test_ours_are_the_two_without_another_one():
    found = recommend([SHARED, DEDICATED], "")
    assert [(one.offer.target, one.is_best) for one in found] == [
        ("shared", True),
        ("dedicated", False),
    ]
    assert found[1].reason == "What it costs is not known here."


def test_one_outside_stands_beside_the_better_one_of_ours():
    found = recommend([SHARED, DEDICATED, OUTSIDE], "")
    assert [one.offer.target for one in found] == ["shared", "sagemaker"]
    assert found[1].reason == "The other one serves this version for less, or for the same."


def test_where_ours_cannot_serve_a_version_the_one_outside_is_recommended():
    shared = offer("shared", 0, "It is a whole model.")
    dedicated = offer("dedicated", None, "This machine runs one engine.")
    found = recommend([shared, dedicated, OUTSIDE], "")
    assert [(one.offer.target, one.is_best) for one in found] == [
        ("sagemaker", True),
        ("shared", False),
    ]
    assert found[1].reason == "It is a whole model."


def test_what_is_here_comes_before_a_bill_of_unknown_height():
    shared = offer("shared", 0, "It is a whole model.")
    unknown = offer("sagemaker", is_outside=True)
    found = recommend([shared, DEDICATED, unknown], "")
    assert [(one.offer.target, one.is_best) for one in found] == [
        ("dedicated", True),
        ("sagemaker", False),
    ]
    assert [one.reason for one in found] == [
        "It runs here: nothing is billed for it.",
        "The other one runs here, and nothing is billed for it.",
    ]


def test_a_bill_that_is_known_is_no_reason_to_leave_an_engine_that_is_here():
    shared = offer("shared", 0, "It is a whole model.")
    found = recommend([shared, DEDICATED, OUTSIDE], "")
    assert [one.offer.target for one in found] == ["dedicated", "sagemaker"]


@pytest.mark.parametrize("planned", ["shared", "dedicated"])
def test_the_planned_one_is_recommended_whatever_it_costs(planned):
    found = recommend([SHARED, DEDICATED], planned)
    assert (found[0].offer.target, found[0].is_best) == (planned, True)
    assert [one.reason for one in found] == [
        "The plan asks for it.",
        "The plan asks for the other one.",
    ]


@pytest.mark.parametrize(
    ("planned", "targets"),
    [
        ("dedicated", ["dedicated", "sagemaker"]),
        ("sagemaker", ["sagemaker", "shared"]),
        ("shared", ["shared", "sagemaker"]),
    ],
)
def test_the_planned_one_is_among_the_two_that_are_offered(planned, targets):
    found = recommend([SHARED, DEDICATED, OUTSIDE], planned)
    assert [one.offer.target for one in found] == targets
    assert found[0].is_best
    assert found[0].reason == "The plan asks for it."


@pytest.mark.parametrize("planned", ["", "bedrock", "mars"])
def test_a_planned_one_that_is_not_offered_changes_nothing(planned):
    offers = [SHARED, DEDICATED, OUTSIDE]
    assert recommend(offers, planned) == recommend(offers, "")
    assert recommend(offers, planned)[0].reason == "Of what is known, it costs least."


def test_a_planned_one_that_cannot_serve_the_version_gives_way():
    shared = offer("shared", 0, "It is a whole model.")
    assert recommend([shared, DEDICATED], "shared") == recommend([shared, DEDICATED], "")
    dedicated = offer("dedicated", None, "This machine runs one engine.")
    found = recommend([SHARED, dedicated, OUTSIDE], "dedicated")
    assert [(one.offer.target, one.reason) for one in found] == [
        ("shared", "Of what is known, it costs least."),
        ("sagemaker", "The other one serves this version for less, or for the same."),
    ]


def test_a_planned_one_stands_beside_one_that_cannot_serve_the_version():
    shared = offer("shared", 0, "It is a whole model.")
    found = recommend([shared, DEDICATED], "dedicated")
    assert [one.reason for one in found] == ["The plan asks for it.", "It is a whole model."]
