"""Short names become whole ones."""

import pytest

from cli.resource_names import base_model_name, short, version_name, whole_name
from services.common.errors import InvalidArgument


@pytest.mark.parametrize("text", ["abc", "specs/abc", "projects/default/specs/abc", "specs/abc/"])
def test_a_resource_of_the_default_project_may_be_named_shortly(text):
    assert whole_name("specs", text) == "projects/default/specs/abc"


def test_another_project_is_kept():
    assert whole_name("specs", "projects/p/specs/abc") == "projects/p/specs/abc"


@pytest.mark.parametrize("text", ["", "jobs/abc", "projects/default/jobs/abc", "a/b/c"])
def test_a_name_of_something_else_is_refused(text):
    with pytest.raises(InvalidArgument, match="specs/ID"):
        whole_name("specs", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tickets", ("projects/default/models/tickets", "")),
        ("models/tickets", ("projects/default/models/tickets", "")),
        ("tickets/2", ("projects/default/models/tickets", "2")),
        ("models/tickets/versions/2", ("projects/default/models/tickets", "2")),
        ("projects/p/models/t/versions/2", ("projects/p/models/t", "2")),
        ("projects/p/models/t", ("projects/p/models/t", "")),
    ],
)
def test_versions_may_be_named_shortly(text, expected):
    assert version_name(text) == expected


@pytest.mark.parametrize("text", ["", "tickets/new", "a/b/c/d"])
def test_what_names_no_version_is_refused(text):
    with pytest.raises(InvalidArgument):
        version_name(text)


def test_names_are_shown_as_they_may_be_typed():
    assert short("projects/default/specs/abc") == "specs/abc"
    assert base_model_name("attune/starter") == "projects/default/baseModels/attune~starter"
