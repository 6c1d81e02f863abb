"""Rows of a JSON file that is one array, read piece by piece."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from services.planner.dataset.file import ROW_BYTES_MAX, UTF8_MARK, Record, bad_file
from services.planner.dataset.findings import found
from services.planner.dataset.rows_json import parse

PIECE_BYTES = 1024 * 1024
BLANKS = " \t\r\n"


class _Text:
    """The part of the file that is being read, as text."""

    def __init__(self, stream: BinaryIO) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def more(self) -> bool:
        """Drop what was read and add the next piece; tell whether there was one."""
        if self.ended:
            return False
        piece = self._stream.read(PIECE_BYTES)
        self.ended = not piece
        try:
            added = self._decoder.decode(piece, final=self.ended)
        except UnicodeDecodeError as error:
            text = f"A byte (0x{error.object[error.start]:02x}) is not UTF-8."
            raise bad_file("encoding_not_utf8", text) from None
        self.text, self.at = self.text[self.at :] + added, 0
        return not self.ended

    def next_sign(self) -> str:
        """Return the next sign that is no blank, without taking it; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in BLANKS:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""


def read_array(stream: BinaryIO) -> Iterator[Record]:
    """Yield one record per element; the line of each is its place in the array, from 1.

    Args:
        stream: Positioned at the start of the file.

    Raises:
        BadFile: If the array itself is broken, so that what follows cannot be told apart.
    """
    mark = stream.read(len(UTF8_MARK))
    text = _Text(stream)
    if mark == UTF8_MARK:
        yield Record(1, None, (found("bom", 1, "The file starts with the bytes EF BB BF."),))
    else:
        text.text = mark.decode(errors="replace")
    if text.next_sign() != "[":
        raise bad_file("unreadable_file", "It is not a JSON array: it does not start with '['.")
    text.at += 1
    number = 0
    if text.next_sign() == "]":
        return
    while True:
        number += 1
        element = _element(text, number)
        body, findings = parse(element, number)
        if len(element) > ROW_BYTES_MAX:
            long = found("line_too_long", number, f"More than {ROW_BYTES_MAX:,} bytes.")
            body, findings, element = None, [long], b"{"
        yield Record(number, body, tuple(findings), element)
        sign = text.next_sign()
        if sign == "]":
            return
        if sign != ",":
            raise bad_file(
                "invalid_json", f"After row {number} stands no comma and no ']'.", number
            )
        text.at += 1


def _element(text: _Text, number: int) -> bytes:
    """Return the bytes of the next element and stand behind it."""
    if not text.next_sign():
        raise bad_file("invalid_json", f"The array breaks off before row {number}.", number)
    decoder = json.JSONDecoder()
    while True:
        try:
            _, end = decoder.raw_decode(text.text, text.at)
            if end < len(text.text) or text.ended:
                break
        except RecursionError:
            raise bad_file("nesting_too_deep", "More than 100 levels.", number) from None
        except ValueError as error:
            if text.ended or len(text.text) - text.at > 2 * ROW_BYTES_MAX:
                where = f"Row {number} is not JSON, so the rest cannot be read: {str(error)[:100]}."
                raise bad_file("invalid_json", where, number) from None
        text.more()
    element = text.text[text.at : end]
    text.at = end
    return element.encode()
