"""Which tests stay together when two processes share the suite, and which begin."""

from types import SimpleNamespace

from tests.sharing import longest_first, unit_of

DEMO = "tests/system/test_journey.py::test_down_leaves_nothing"


def an_item(nodeid: str, *, is_system: bool = False) -> SimpleNamespace:
    return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda name: is_system)


def test_a_file_is_not_parted():
    assert unit_of("tests/a/test_b.py::test_c[d::e]") == "tests/a/test_b.py"


def test_files_that_share_the_demo_are_not_parted():
    assert unit_of(DEMO) == unit_of("tests/system/test_ray.py::test_f")


def test_files_with_processes_begin_and_tests_keep_their_order_within():
    names = ["a.py::quick", "b.py::quick", "b.py::slow", "c.py::slow", "b.py::again", DEMO]
    items = [an_item(name, is_system="slow" in name) for name in names]
    longest_first(items)
    assert [item.nodeid for item in items] == [
        DEMO, "b.py::quick", "b.py::slow", "c.py::slow", "b.py::again", "a.py::quick",
    ]  # fmt: skip
