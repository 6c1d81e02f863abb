import pytest
from attune.spec.v1.spec_pb2 import Spec

from services.common.errors import InvalidArgument
from services.common.paging import PAGE_BYTES_MAX, cut_page, page_size, page_token, read_page_token


def test_a_page_token_serves_only_the_query_that_made_it():
    token = page_token("a17", "specs default 0")
    assert read_page_token(token, "specs default 0") == "a17"
    assert read_page_token("", "specs default 0") == ""
    for bad, query in ((token, "specs other 0"), (token[:-4], "x"), ("\u00e9", "x"), ("MQ==", "x")):
        with pytest.raises(InvalidArgument):
            read_page_token(bad, query)


def test_page_sizes_have_a_default_and_a_bound():
    assert [page_size(asked) for asked in (0, 7, 1000, 5000)] == [50, 7, 1000, 1000]
    with pytest.raises(InvalidArgument):
        page_size(-1)


def test_a_page_holds_no_more_than_its_size_and_its_bytes_but_always_one_entry():
    small, large = Spec(display_name="x"), Spec(display_name="x" * (PAGE_BYTES_MAX - 100))
    assert cut_page([small] * 4, 3) == [small] * 3
    assert cut_page([large, large], 3) == [large]
    assert cut_page([large, small, large], 3) == [large, small]
    assert cut_page([], 3) == []
