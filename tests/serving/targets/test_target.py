"""Which two targets are offered, and which of them first."""

from services.serving.targets.target import Offer, recommend


def offer(target, hour=None, objection="", *, is_outside=False):
    return Offer(target, target, "", "", hour, "", (), objection, is_outside)


SHARED, DEDICATED = offer("shared", 0), offer("dedicated")
OUTSIDE = offer("sagemaker", 1_000_000, is_outside=True)


def test_ours_are_the_two_without_another_one():
    found = recommend([SHARED, DEDICATED])
    assert [(one.offer.target, one.is_best) for one in found] == [
        ("shared", True),
        ("dedicated", False),
    ]
    assert found[1].reason == "What it costs is not known here."


def test_one_outside_stands_beside_the_better_one_of_ours():
    found = recommend([SHARED, DEDICATED, OUTSIDE])
    assert [one.offer.target for one in found] == ["shared", "sagemaker"]
    assert found[1].reason == "The other one serves this version for less, or for the same."


def test_where_ours_cannot_serve_a_version_the_one_outside_is_recommended():
    shared = offer("shared", 0, "It is a whole model.")
    dedicated = offer("dedicated", None, "This machine runs one engine.")
    found = recommend([shared, dedicated, OUTSIDE])
    assert [(one.offer.target, one.is_best) for one in found] == [
        ("sagemaker", True),
        ("shared", False),
    ]
    assert found[1].reason == "It is a whole model."


def test_what_is_here_comes_before_a_bill_of_unknown_height():
    shared = offer("shared", 0, "It is a whole model.")
    unknown = offer("sagemaker", is_outside=True)
    found = recommend([shared, DEDICATED, unknown])
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
    found = recommend([shared, DEDICATED, OUTSIDE])
    assert [one.offer.target for one in found] == ["dedicated", "sagemaker"]
