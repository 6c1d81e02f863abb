"""Pages made from the code are current."""

import document
import pytest

REMEDY = "docs are not current: run `make docs`"


@pytest.mark.parametrize("name", document.PAGES)
def test_generated_pages_are_current(name):
    assert (document.ROOT / "docs" / name).read_text() == document.PAGES[name](), REMEDY
