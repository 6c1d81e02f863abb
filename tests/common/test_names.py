from datetime import UTC, datetime, timedelta

import pytest

from services.common.clock import new_id
from services.common.errors import InvalidArgument
from services.common.names import SEGMENT, parse

SPEC = "projects/{project}/specs/{spec}"


def test_a_name_is_taken_apart():
    assert parse("projects/default/specs/a1", SPEC) == {"project": "default", "spec": "a1"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "specs/a1",
        "projects/default/specs/",
        "projects/default/specs/a1/x",
        "projects/default/jobs/a1",
        "projects/../specs/a1",
        "projects/default/specs/A1",
        "projects/default/specs/a1\n",
        "projects/-/specs/a1",
        "projects/default/specs/" + "a" * 64,
    ],
)
def test_a_bad_name_is_refused_with_its_form(name):
    with pytest.raises(InvalidArgument, match=r"projects/\{project\}/specs/\{spec\}") as caught:
        parse(name, SPEC, field="spec")
    assert caught.value.violations[0].field == "spec"


def test_only_the_named_part_may_be_a_wildcard():
    assert parse("projects/-", "projects/{project}", wildcard="project") == {"project": "-"}


def test_a_version_is_a_positive_number():
    pattern = "models/{model}/versions/{version}"
    assert parse("models/m/versions/12", pattern)["version"] == "12"
    with pytest.raises(InvalidArgument):
        parse("models/m/versions/01", pattern)


def test_new_ids_are_segments_in_the_order_of_time():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_id(start + timedelta(milliseconds=n)) for n in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 100
    assert all(SEGMENT.fullmatch(each) for each in ids)
