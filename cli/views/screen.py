"""What a person sees: tables and colour on a terminal, plain lines elsewhere.

With `--json` standard output carries JSON and nothing else; what is said to people goes to
standard error. No text that a model, a file or a service gave reaches a terminal as a command.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.views.printable import printable

PLAIN_WIDTH = 100
FACTS_WIDTH = 80
"""Columns that labelled texts keep to, on a terminal and elsewhere."""
COLUMN_MAX = 44
"""Widest column that plain lines keep free for one long cell."""


class Screen:
    """Standard output for people, or standard error when the output is JSON."""

    def __init__(self, as_json: bool = False) -> None:
        """Choose the stream; nothing is written yet."""
        file = sys.stderr if as_json else sys.stdout
        self.as_json = as_json
        self.live = file.isatty()
        self.console = Console(file=file, highlight=False, width=None if self.live else PLAIN_WIDTH)

    def say(self, text: str = "", style: str = "") -> None:
        """Write one line, or a paragraph that wraps on a terminal."""
        self.console.print(Text(printable(text), style=style), soft_wrap=not self.live)

    def write(self, text: str) -> None:
        """Write a piece of a line, at once."""
        self.console.file.write(printable(text))
        self.console.file.flush()

    def say_parts(self, parts: Sequence[tuple[str, bool]]) -> None:
        """Write text of which some parts stand out: green on a terminal, else between marks."""
        whole = Text()
        for part, stands_out in parts:
            text = printable(part)
            if not stands_out:
                whole.append(text)
            elif self.live:
                whole.append(text, "green")
            else:
                whole.append(f"\u00ab{text}\u00bb")
        self.console.print(whole, soft_wrap=not self.live)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.say()
        self.say(text, "bold")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write rows; on a terminal the cells wrap, elsewhere each row is one line."""
        if self.live:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            for header in headers:
                table.add_column(Text(printable(header)), overflow="fold")
            for row in rows:
                table.add_row(*(Text(printable(cell)) for cell in row))
            self.console.print(table)
            return
        for line in aligned([headers, *rows] if any(headers) else rows):
            self.say(line)

    def facts(self, rows: Sequence[tuple[str, str]], label_width: int = 15) -> None:
        """Write labelled texts one under the other, wrapped; those without a text are left out."""
        for label, text in rows:
            lead = f"  {label.ljust(label_width)}"
            for line in textwrap.wrap(
                text,
                FACTS_WIDTH,
                initial_indent=lead,
                subsequent_indent=" " * (label_width + 2),
                break_on_hyphens=False,
            ):
                self.say(line)

    def next_steps(self, *commands: str) -> None:
        """Say what to do now."""
        self.say()
        for index, command in enumerate(commands):
            self.say(("Next:  " if index == 0 else "       ") + command)

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something goes on, on a terminal only; what it yields changes the text."""
        if not self.live:
            yield lambda text: None
            return
        with self.console.status(Text(text)) as status:
            yield lambda text: status.update(Text(text))


def print_json(message: Message) -> None:
    """Write a message as JSON, with the names of its proto."""
    print(json_of(message))


def json_of(message: Message, indent: int | None = 2, *, zeros: bool = False) -> str:
    """Return a message as JSON, with the names of its proto; on one line without indent.

    Args:
        message: Any.
        indent: Spaces per level; None for one line.
        zeros: Whether fields that are 0, false or empty are written too.
    """
    return MessageToJson(
        message,
        preserving_proto_field_name=True,
        indent=indent,
        always_print_fields_with_no_presence=zeros,
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with the columns under each other; a long cell pushes its own line."""
    if not rows:
        return []
    count = max(len(row) for row in rows)
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(count)]
    return [
        "  ".join(cell.ljust(min(widths[i], COLUMN_MAX)) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
