"""A page as Markdown; charts are left out, for all that they show also stands in tables. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.trainer.evaluation.page import (
    Block,
    Chart,
    Examples,
    Matrix,
    Page,
    Paragraph,
    Points,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def markdown(page: Page) -> str:
    """Return the text of a page."""
    parts = [f"# {plain(page.title)}", f"**{plain(page.verdict)}.** {plain(page.lead)}"]
    for section in page.sections:
        blocks = [_block(block) for block in section.blocks if not isinstance(block, Chart)]
        if blocks:
            parts += [f"## {plain(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Return text in one line in which nothing is Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [headers, ["---"] * len(headers)]
    made = [" | ".join(lines[0]), " | ".join(lines[1])]
    made += [" | ".join(plain(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in made)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return plain(block.text)
    if isinstance(block, Points):
        return "\n".join(f"- {plain(text)}" for text in block.texts)
    if isinstance(block, Table):
        return table(block.headers, block.rows)
    if isinstance(block, Matrix):
        headers = ["right \\ taken for", *map(plain, block.labels), "none"]
        rows = [
            [label, *map(str, counts)]
            for label, counts in zip(block.labels, block.counts, strict=True)
        ]
        return table(headers, rows)
    assert isinstance(block, Examples)
    return "\n\n".join(
        "\n\n".join(
            (
                f"**{number}.** base {one.base_score:.3g}, tuned {one.tuned_score:.3g}",
                *(
                    f"{name}:\n\n{_quoted(text)}"
                    for name, text in (
                        ("Asked", one.prompt),
                        ("Expected", one.reference),
                        ("Base", one.base_answer),
                        ("Tuned", one.tuned_answer),
                    )
                ),
            )
        )
        for number, one in enumerate(block.rows, 1)
    )


def _quoted(text: str) -> str:
    """Return text as it is, in a block that nothing in it can end."""
    return "\n".join(f"    {line}" for line in (text.splitlines() or ["(nothing)"]))
