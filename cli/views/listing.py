"""What the `list` commands print: all resources of a kind as a table, then what to do with one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.message import Message

from cli.views.screen import Screen, print_json


def show_list(
    found: Message,
    as_json: bool,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    then: Sequence[str],
    otherwise: str,
) -> None:
    """Print a list, or the whole answer as JSON.

    Args:
        found: The answer with every page.
        as_json: Whether to print JSON and nothing else.
        headers: Of the columns.
        rows: A row for each resource.
        then: Commands for one of them.
        otherwise: The command that makes the first, when there is none.
    """
    if as_json:
        print_json(found)
        return
    screen, table = Screen(), list(rows)
    screen.table(headers, table)
    screen.next_steps(*(then if table else (otherwise,)))
