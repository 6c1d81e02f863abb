"""Readers of every format, and what a file looks like when it is another."""

import gzip
import io
import json

import pyarrow
import pytest
from pyarrow import parquet

from services.planner.dataset.file import FileFormat, look_of, read_format
from tests.planner.dataset.reported import chats, found_in, lines, pairs, report_of, structure_of

GOOD = lines(chats())
ARRAY = json.dumps(chats(), indent=1).encode()
TABLE = "prompt,completion\n" + "".join(
    f'"{row["prompt"]}\nand, ""why""?",{row["completion"]}\n' for row in pairs()
)


def zst(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def table_bytes(rows: list[dict]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "file_format", "expected"),
    [
        ("a.jsonl", "", "jsonl"),
        ("a.b.NDJSON.gz", "", "jsonl.gz"),
        ("a.csv.zst", "", "csv.zst"),
        ("a.pq", "", "parquet"),
        ("a", "", "jsonl"),
        ("a.csv", "json.gz", "json.gz"),
    ],
)
def test_the_name_or_the_owner_says_how_a_file_is_read(name, file_format, expected):
    assert str(read_format(name, file_format)) == expected


def test_an_unknown_format_is_none():
    assert read_format("a.csv", "xlsx") is None
    assert str(FileFormat("csv")) == "csv"


GOOD_FILES = {
    "x.jsonl": (GOOD, "chat"),
    "x.jsonl.gz": (gzip.compress(GOOD), "chat"),
    "x.jsonl.zst": (zst(GOOD), "chat"),
    "x.json": (ARRAY, "chat"),
    "x.json.gz": (gzip.compress(ARRAY), "chat"),
    "x.csv": (TABLE.encode(), "prompt_completion"),
    "x.csv.zst": (zst(TABLE.encode()), "prompt_completion"),
    "x.parquet": (table_bytes(chats()), "chat"),
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_a_good_file_of_any_format_has_no_finding(tmp_path, name):
    content, shape = GOOD_FILES[name]
    report = report_of(tmp_path, content, name)
    assert found_in(report) == []
    assert (report.format, report.row_count, report.valid_row_count) == (shape, 12, 12)


OTHER_CONTENT = [
    ("x.jsonl", b"", "empty_file"),
    ("x.jsonl", b" \n\t\n", "empty_file"),
    ("x.jsonl", ARRAY, "json_array_not_lines"),
    ("x.jsonl", json.dumps(chats()).encode(), "json_array_not_lines"),
    ("x.jsonl", TABLE.encode(), "looks_like_csv"),
    ("x.jsonl", gzip.compress(GOOD), "looks_like_gzip"),
    ("x.jsonl", zst(GOOD), "looks_like_zstd"),
    ("x.jsonl", table_bytes(chats()), "looks_like_parquet"),
    ("x.jsonl", b"<!DOCTYPE html><html><body>Sign in</body></html>", "looks_like_html"),
    ("x.jsonl", GOOD.decode().encode("utf-16"), "encoding_not_utf8"),
    ("x.jsonl", GOOD.decode().encode("utf-16-le"), "encoding_not_utf8"),
    ("x.jsonl", b"PK\x03\x04" + b"\0\1" * 50, "unreadable_file"),
    ("x.csv", GOOD, "looks_like_jsonl"),
    ("x.csv", b"prompt,,completion\n1,2,3\n", "bad_header"),
    ("x.csv", b'prompt,completion\n"open,1\n', "unreadable_file"),
    ("x.json", GOOD, "looks_like_jsonl"),
    ("x.parquet", GOOD, "looks_like_jsonl"),
    ("x.parquet", b"PAR1 and nothing else", "unreadable_file"),
    ("x.jsonl.gz", GOOD, "looks_like_jsonl"),
    ("x.jsonl.gz", gzip.compress(GOOD)[:-40], "unreadable_file"),
]


@pytest.mark.parametrize(("name", "content", "code"), OTHER_CONTENT)
def test_content_that_disagrees_is_one_finding_that_says_what_it_is(tmp_path, name, content, code):
    report = report_of(tmp_path, content, name)
    assert [each.code for each in report.findings] == [code]
    assert report.valid_row_count == 0


def test_a_small_file_that_holds_a_large_one_is_refused(tmp_path):
    bomb = gzip.compress(b'{"a": "' + b"0" * 5_000_000)
    structure = structure_of(tmp_path, bomb, "x.jsonl.gz", bytes_max=1_000_000)
    assert [each.code for each in structure.findings][-1] == "decoded_too_large"


def test_lines_are_counted_by_line_feeds_alone(tmp_path):
    rows = chats()
    rows[3]["messages"][0]["content"] = "a\u2028b\u0085c\x0bd\x0ce\u2029f"
    content = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    content = content.replace(b"\\u000b", b" ").replace(b"\\f", b" ")
    assert found_in(report_of(tmp_path, content + b"{}\n")) == [(13, "unknown_shape", "")]


def test_marks_and_line_ends_are_told_and_skipped(tmp_path):
    content = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")
    report = report_of(tmp_path, content)
    assert found_in(report) == [(0, "crlf_line_endings", ""), (1, "bom", "")]
    assert report.valid_row_count == 12


@pytest.mark.parametrize(
    "end", [b'{"messages": [{"role": "us', b'{"messages": [', b'{"a": tr', b'{"a": "\xc3', b'{"a":']
)
def test_a_last_line_that_breaks_off_is_told_apart_from_bad_json(tmp_path, end):
    assert found_in(report_of(tmp_path, GOOD + end)) == [(13, "truncated_last_line", "")]
    whole = found_in(report_of(tmp_path, GOOD + end + b"\n"))
    assert whole[0][1] in ("invalid_json", "encoding_not_utf8")


def test_bad_json_on_a_last_line_without_an_end_is_bad_json(tmp_path):
    assert found_in(report_of(tmp_path, GOOD + b"{'a': 1}")) == [(13, "invalid_json", "")]


def test_a_file_in_another_encoding_is_told_once_with_its_lines(tmp_path):
    rows = chats()
    for row in rows[4:7]:
        row["messages"][0]["content"] += " für alle"
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("latin-1")
    report = report_of(tmp_path, content)
    assert found_in(report) == [(0, "encoding_not_utf8", "")]
    assert "Lines 5, 6, 7" in report.findings[0].message
    assert report.valid_row_count == 9


def test_rows_of_a_table_stand_on_the_line_where_they_start(tmp_path):
    content = TABLE + 'short\n\n"only a prompt",\n'
    report = report_of(tmp_path, content.encode(), "x.csv")
    assert found_in(report) == [
        (26, "wrong_cell_count", ""),
        (27, "blank_line", ""),
        (28, "empty_completion", "completion"),
    ]


def test_columns_may_hold_messages_and_unused_ones_are_told_once(tmp_path):
    cells = [json.dumps(row["messages"]).replace('"', '""') for row in chats()]
    content = "Messages;note\n" + "".join(f'"{cell}";n\n' for cell in cells)
    report = report_of(tmp_path, content.encode(), "x.csv")
    assert found_in(report) == [(1, "unknown_key", "note")]
    assert report.format == "chat"


def test_a_bad_cell_of_json_is_told_with_its_column(tmp_path):
    content = "messages\n" + "".join(
        '"' + json.dumps(row["messages"]).replace('"', '""') + '"\n' for row in chats()
    )
    report = report_of(tmp_path, f"{content}nothing\n".encode(), "x.csv")
    assert found_in(report) == [(14, "invalid_json", "messages")]


def test_an_array_is_read_to_where_it_breaks(tmp_path):
    whole = json.dumps([*chats(), {"messages": []}]).encode()
    report = report_of(tmp_path, whole, "x.json")
    assert found_in(report) == [(13, "empty_messages", "messages")]
    broken = report_of(tmp_path, whole[:-1] + b", {x}]", "x.json")
    assert [each[:2] for each in found_in(broken)] == [(13, "empty_messages"), (14, "invalid_json")]


def test_a_long_array_is_read_in_pieces(tmp_path):
    rows = [{"text": f"{number} " + "word " * 200} for number in range(5000)]
    structure = structure_of(tmp_path, json.dumps(rows).encode(), "x.json")
    assert (structure.row_count, structure.findings) == (5000, [])


def test_binary_content_is_told_from_text():
    assert look_of(bytes(range(1, 32)) * 20) == "binary"
    assert look_of(b"just a line of text\n") == "text"
    assert look_of(b'["a", "b"]\n["c"]\n') == "jsonl"
