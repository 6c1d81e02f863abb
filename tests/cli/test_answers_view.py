"""How answers look on a terminal while they come, and when they stand."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.views.answers import Answer, AnswersView
from cli.views.printable import printable
from cli.views.screen import Screen
from tests.cli.canned_playground import end, failure, text, wait

PROSE = "The lamp [bold]flickers[/bold]. \u65e5\u672c\u8a9e\u306e\u56de\u7b54 \U0001f389 "
INTERRUPT_TIMEOUT_S = 60.0
POLL_S = 0.1


def a_view(width: int, height: int, count: int = 2) -> AnswersView:
    """Return a view on a terminal of that size, drawn only when it is asked for."""
    screen = Screen()
    screen.live = True
    screen.console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, highlight=False
    )
    return AnswersView(screen, [Answer(f"model-{index}") for index in range(1, count + 1)])


def drawn(view: AnswersView, rows: int | None = None) -> list[str]:
    """Return the lines of the drawing, without styles."""
    console = Console(file=io.StringIO(), width=view._screen.console.width, color_system=None)
    console.print(view.picture(rows))
    return console.file.getvalue().splitlines()


def fill(view: AnswersView, *pieces) -> None:
    for piece in pieces:
        view.answers[piece.model_index].add(piece.response)


@pytest.mark.parametrize(("width", "count"), [(80, 2), (120, 3), (120, 4), (200, 4)])
def test_a_wide_terminal_has_the_answers_side_by_side(width, count):
    view = a_view(width, 24, count)
    fill(view, *(text(index, PROSE * 9) for index in range(count)))
    lines = drawn(view, 23)
    assert all(f"{index}  model-{index}" in lines[0] for index in range(1, count + 1))
    assert len(lines) <= 23
    assert {cell_len(line) for line in lines} == {max(map(cell_len, lines))}
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "count"), [(40, 2), (80, 4)])
def test_a_narrow_terminal_stacks_them(width, count):
    view = a_view(width, 40, count)
    fill(view, *(text(index, PROSE * 30) for index in range(count)))
    lines = drawn(view, 39)
    titles = [line.split() for line in lines if "model-" in line]
    assert titles == [[str(index), f"model-{index}"] for index in range(1, count + 1)]
    assert len(lines) <= 39


def test_a_growing_answer_shows_its_end_and_a_finished_one_all():
    view = a_view(80, 24)
    fill(view, text(0, "".join(f"line {number}\n" for number in range(5000))), text(1, "short"))
    growing = drawn(view, 23)
    assert "line 4999" in "".join(growing)
    assert "line 4900" not in "".join(growing)
    assert len(drawn(view)) > 5000


def test_every_answer_has_the_same_fact_on_the_same_line_and_the_best_score_stands_out():
    view = a_view(80, 24)
    fill(
        view,
        text(0, "a"),
        end(0, {"exact": 0.0, "alike": 0.5}, cost_micro_usd=7),
        end(1, {"exact": 1.0, "alike": 0.5}),
    )
    lines = drawn(view)
    assert [line.split() for line in lines if line.startswith("exact")] == [
        ["exact", "0.000", "exact", "1.000"]
    ]
    assert [line.split() for line in lines if line.startswith("cost")] == [["cost", "$0.000007"]]
    assert "(empty)" in lines[2]
    view._screen.console.print(view.picture())
    styled = view._screen.console.file.getvalue()
    assert "\x1b[1;32m1.000" in styled
    assert "32m0.5" not in styled


def test_an_engine_that_starts_is_shown_in_its_column():
    view = a_view(80, 24)
    fill(view, wait(1, "Loading weights", 0.5, 20))
    lines = drawn(view)
    assert "waiting" in lines[2]
    assert "Loading weights 50%, about 20 s left" in lines[2]
    assert "\u2588" * 12 in lines[3]


def test_a_failure_and_an_answer_that_broke_off_say_so():
    view = a_view(80, 24)
    with view:
        fill(view, text(0, "half"), text(1, "some"), failure(1, "It went away."))
    shown = view._screen.console.file.getvalue()
    assert "(broke off)" in shown
    assert "It went away." in shown


def test_nothing_is_left_when_nothing_came():
    view = a_view(80, 24)
    with view:
        pass
    assert "model-" not in view._screen.console.file.getvalue().split("\x1b[?25h")[-1]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[2Jb", "a\u241b[2Jb"),
        ("\x07\x08\x7f\x9b", "\u2407\u2408\u2421\\x9b"),
        ("a\u202eb\u2028c", "a\\u202eb\\u2028c"),
        ("a\r\nb\rc\td\n", "a\nb\u240dc\td\n"),
        ("\U0001f469\u200d\U0001f4bb \u05e9\u05dc\u05d5\u05dd", None),
    ],
)
def test_what_a_terminal_would_obey_becomes_visible_and_nothing_else_changes(raw, shown):
    assert printable(raw) == (raw if shown is None else shown)


def test_everything_that_a_screen_says_is_printable(capsys):
    screen = Screen()
    screen.say("\x1b[1m")
    screen.write("\x1b[2m")
    screen.say_parts([("\x1b[3m", True)])
    screen.table(("\x1b[4m",), [("\x1b[5m",)])
    screen.live = True
    screen.table(("\x1b[6m",), [("\x1b[7m",)])
    assert "\x1b" not in capsys.readouterr().out


def test_an_interrupt_leaves_the_terminal_sane_and_says_what_is_kept(services, home):
    services.pieces, services.hangs = [text(0, "So far"), end(1)], True
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cli", "compare", "tickets/1", "Hi"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    running = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        # Tests that run in a shell's background have a child that ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    screen = _read_until(ours, b"tokens/s")
    assert b"So far" in screen
    assert b"\x1b[?25l" in screen  # The cursor is hidden while answers come.
    running.send_signal(signal.SIGINT)
    screen = _read_until(ours, b"Interrupted.")
    os.close(ours)
    assert running.wait(INTERRUPT_TIMEOUT_S) == 130
    assert screen.rindex(b"\x1b[?25h") < screen.index(b"(broke off)")
    assert b"What came until now is kept" in screen
    assert b"attune exchange prefer exchanges/e1" in screen
    assert b"Traceback" not in screen


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    """Return what a terminal got up to the words that are waited for."""
    found, deadline = b"", time.monotonic() + INTERRUPT_TIMEOUT_S
    while wanted not in found and time.monotonic() < deadline:
        if select.select([descriptor], [], [], POLL_S)[0]:
            found += os.read(descriptor, 65536)
    assert wanted in found, found
    return found
