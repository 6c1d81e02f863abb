"""Logs stay short and tell why a process ended."""

import pytest

from cli import log_files


def test_a_log_is_appended_to(tmp_path):
    for _ in range(2):
        with log_files.open_log(tmp_path / "logs" / "a.log") as log:
            log.write(b"line\n")
    assert (tmp_path / "logs" / "a.log").read_text() == "line\nline\n"


def test_a_large_log_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(log_files, "SIZE_MAX_BYTES", 3)
    path = tmp_path / "a.log"
    path.write_text("long")
    with log_files.open_log(path) as log:
        log.write(b"new")
    assert path.read_text() == "new"
    assert (tmp_path / "a.log.1").read_text() == "long"


def test_the_tail_begins_where_it_is_told_to(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"before\nafter\n")
    assert log_files.read_tail(path, 7) == "after\n"
    assert log_files.read_tail(path, 1000) == "before\nafter\n"
    assert log_files.read_tail(tmp_path / "none.log") == ""


@pytest.mark.parametrize(
    ("text", "words", "on_purpose"),
    [
        ("", "", False),
        ('{"message": "serving"}\nPort 7104 is taken.\n', "Port 7104 is taken.", True),
        ('{"message": "failed", "exception": "Traceback\\nValueError: x"}', "ValueError: x", False),
        ('{"message": "stopping"}', "stopping", False),
        ("Traceback (most recent call last):\n  File\nKeyError: 'a'", "KeyError: 'a'", False),
    ],
)
def test_the_last_words_are_the_reason(text, words, on_purpose):
    assert log_files.last_words(text) == (words, on_purpose)
