"""A page as one HTML file that loads nothing and runs nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from services.trainer.evaluation.page import (
    Block,
    Chart,
    Example,
    Examples,
    Matrix,
    Page,
    Paragraph,
    Points,
    Table,
)
from services.trainer.evaluation.page_style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded or run, even if an answer of a model got past the escaping."""


def html(page: Page) -> str:
    """Return the text of a page."""
    sections = "".join(
        f"<section><h2>{escape(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"
        for section in page.sections
    )
    kind = page.verdict.replace(" ", "-")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head><body><main>"
        f'<header><h1>{escape(page.title)}</h1><p class="verdict {escape(kind)}">'
        f"<strong>{escape(page.verdict)}</strong> {escape(page.lead)}</p></header>"
        f"{sections}</main></body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in block.texts)}</ul>"
    if isinstance(block, Chart):
        title = f"<figcaption>{escape(block.title)}</figcaption>"
        return f'<figure>{title}<div class="chart">{block.svg}</div></figure>'
    if isinstance(block, Table):
        return _table(block.headers, [[escape(cell) for cell in row] for row in block.rows])
    if isinstance(block, Matrix):
        return _matrix(block)
    assert isinstance(block, Examples)
    return "".join(map(_example, block.rows))


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in headers)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    # Of two columns the second may hold a hash; of more they hold figures, which stay whole.
    kind = "facts" if len(headers) == 2 else "figures"
    return f'<div class="wide"><table class="{kind}">{inside}</table></div>'


def _matrix(block: Matrix) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (*block.labels, "none"))
    rows = []
    for index, (label, counts) in enumerate(zip(block.labels, block.counts, strict=True)):
        total = sum(counts) or 1
        cells = "".join(
            f'<td class="{"right" if column == index else "wrong"}" '
            f'style="--share:{count / total:.2f}">{count}</td>'
            for column, count in enumerate(counts)
        )
        rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return (
        '<div class="wide"><table class="matrix"><thead><tr><th>right / taken for</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _example(one: Example) -> str:
    def said(name: str, text: str, score: float | None = None) -> str:
        mark = "" if score is None else f" <span>{score:.3g}</span>"
        return f"<div><h4>{name}{mark}</h4><pre>{escape(text) or '<i>nothing</i>'}</pre></div>"

    return (
        f'<article><pre class="asked">{escape(one.prompt)}</pre><div class="sides">'
        f"{said('Expected', one.reference)}"
        f"{said('Base', one.base_answer, one.base_score)}"
        f"{said('Tuned', one.tuned_answer, one.tuned_score)}</div></article>"
    )
