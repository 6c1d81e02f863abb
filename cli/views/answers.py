"""Shows answers as they come: side by side on a wide terminal, one after the other elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from attune.serving.v1 import playground_pb2 as pb
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.views.figures import bar, latency, number, seconds_of, small_money, span
from cli.views.printable import printable
from cli.views.screen import Screen

FRAME_S = 0.1
"""Shortest time between two drawings of growing texts."""
COLUMN_MIN = 26
"""Narrowest column; answers that have less stand under each other."""
GAP = 3
"""Cells between two columns."""
LABEL_MIN = len("first token")
HEADING_ROWS, FACTS_ROWS = 2, 2
ROWS_MIN = 3
"""Rows that a growing answer keeps on the smallest screen."""
TAIL_STEP = 1024
"""Characters by which the part of a long answer that is drawn moves on."""
LINE_EVERY_S = 5.0
"""How often a plain line tells of an engine that starts."""
BROKEN = "(broke off)"
ENDINGS = {"length": "cut off", "tool_calls": "calls a tool"}


@dataclass
class Answer:
    """One model's answer, as far as it came."""

    title: str
    text: str = ""
    wait: pb.EngineWait | None = None
    end: pb.GenerationEnd | None = None
    failure: pb.GenerationFailure | None = None
    broken: bool = False
    """Whether nobody waits for the rest any more."""
    told: float = field(default=-LINE_EVERY_S)
    """When a plain line last told of its engine, on the monotonic clock."""

    @property
    def begun(self) -> bool:
        """Whether anything came."""
        return bool(self.text) or self.wait is not None or self.over

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.end is not None or self.failure is not None or self.broken

    @classmethod
    def kept(cls, title: str, kept: pb.Answer) -> Self:
        """Return an answer of the history."""
        answer = cls(title, kept.text)
        if kept.HasField("end"):
            answer.add(pb.GenerateResponse(end=kept.end))
        if kept.HasField("failure"):
            answer.add(pb.GenerateResponse(failure=kept.failure))
        return answer

    def add(self, piece: pb.GenerateResponse) -> None:
        """Take the next piece."""
        kind = piece.WhichOneof("piece")
        if kind == "text_delta":
            self.text += piece.text_delta
        elif kind == "wait":
            self.wait = piece.wait
        elif kind == "end":
            self.end = piece.end
            calls = [f"\u2192 {one.name}({one.arguments})" for one in piece.end.tool_calls]
            self.text = "\n".join(filter(None, (self.text, *calls)))
        elif kind == "failure":
            self.failure = piece.failure

    @property
    def exchange(self) -> str:
        """Name of the exchange that it belongs to; empty before its end."""
        return self.end.exchange if self.end else self.failure.exchange if self.failure else ""


class AnswersView:
    """The answers to one prompt, for as long as they come."""

    def __init__(self, screen: Screen, answers: Sequence[Answer]) -> None:
        """Keep the answers; nothing is shown yet, and never anything where JSON is written.

        Args:
            screen: Where they are shown.
            answers: Without a word yet; they take what comes.
        """
        self.answers = answers
        self._screen = screen
        self._written, self._shown, self._titled = 0, 0, False
        self._drawn = 0.0
        self._live: Live | None = None
        if screen.live and not screen.as_json:
            self._live = Live(
                console=screen.console,
                get_renderable=self._growing,
                auto_refresh=False,
                transient=True,
            )

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave what came standing, whole; nothing when nothing came."""
        if self._live is not None:
            self._live.stop()
        if any(answer.begun for answer in self.answers):
            self.stand()

    def stand(self) -> None:
        """Write the answers whole, as far as they came."""
        if self._screen.as_json:
            return
        for answer in self.answers:
            answer.broken = not answer.over
        if self._live is not None:
            self._screen.console.print(self.picture())
        else:
            self._write_plainly()

    def add(self, index: int, piece: pb.GenerateResponse) -> None:
        """Show the next piece of one answer.

        Args:
            index: Which answer, from 0.
            piece: The piece.
        """
        answer = self.answers[index]
        answer.add(piece)
        if self._screen.as_json:
            return
        now = time.monotonic()
        if self._live is not None:
            # Texts come faster than anybody reads; everything else is drawn at once.
            if now - self._drawn >= FRAME_S or not piece.HasField("text_delta"):
                self._drawn = now
                self._live.refresh()
            return
        # Never within an answer that is being written.
        due = not self._titled and now - answer.told >= LINE_EVERY_S
        if due and piece.HasField("wait"):
            answer.told = now
            self._screen.say(f"{self._title(index)}: {wait_of(piece.wait)}")
        self._write_plainly()

    def picture(self, rows: int | None = None) -> Table:
        """Return the answers as one drawing, whole or with the last rows of each that fit.

        Args:
            rows: Height in lines; all that there is without it.
        """
        columns = len(self.answers)
        width = (self._screen.console.width - GAP * (columns - 1)) // columns
        if width >= COLUMN_MIN or columns == 1:
            return self._beside(width, rows)
        return self._stacked(self._screen.console.width, rows)

    def _growing(self) -> Table:
        return self.picture(self._screen.console.height - 1)

    def _beside(self, width: int, rows: int | None) -> Table:
        facts = [dict(facts_of(answer)) for answer in self.answers]
        labels = list(dict.fromkeys(label for each in facts for label in each))
        room = None if rows is None else max(ROWS_MIN, rows - HEADING_ROWS - 1 - len(labels))
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        for _ in self.answers:
            table.add_column(width=width, overflow="fold")
        table.add_row(*(self._heading(index, width) for index in range(len(self.answers))))
        table.add_row(*(self._body(answer, width, room) for answer in self.answers))
        table.add_row("")
        lead = min(max(map(len, labels), default=0), max(LABEL_MIN, width // 3))
        for label in labels:
            table.add_row(
                *(
                    self._fact(answer, label, each.get(label, ""), lead)
                    for answer, each in zip(self.answers, facts, strict=True)
                )
            )
        return table

    def _stacked(self, width: int, rows: int | None) -> Table:
        room = None
        if rows is not None:
            room = max(ROWS_MIN, rows // len(self.answers) - HEADING_ROWS - FACTS_ROWS - 1)
        table = Table.grid()
        table.add_column(width=width, overflow="fold")
        for index, answer in enumerate(self.answers):
            table.add_row(self._heading(index, width))
            table.add_row(self._body(answer, width, room))
            if answer.end is not None:
                table.add_row(Text(facts_line(answer), "dim"))
            table.add_row("")
        return table

    def _body(self, answer: Answer, width: int, room: int | None) -> Text:
        body = _text_of(answer, None if room is None else 2 * room * width)
        if room is None:
            return body
        lines = body.wrap(self._screen.console, width, overflow="fold")
        return Text("\n").join(lines[-room:])

    def _fact(self, answer: Answer, label: str, value: str, lead: int) -> Text:
        """Return what an answer took or how it was scored; empty where that is not known."""
        if not value:
            return Text()
        shown = Text(label, "dim")
        shown.truncate(lead, overflow="ellipsis", pad=True)
        best = self._is_best(answer, label)
        return Text.assemble(shown, "  ", (value, "bold green" if best else ""))

    def _is_best(self, answer: Answer, grader: str) -> bool:
        """Return whether an answer is scored higher than another, and none higher than it."""
        scores = [_score(one, grader) for one in self.answers]
        known = [score for score in scores if score is not None]
        own = _score(answer, grader)
        return own is not None and own == max(known) and own > min(known)

    def _title(self, index: int) -> str:
        """Return the name of what answers, with the number that a preference may name it by."""
        title = self.answers[index].title
        return f"{index + 1}  {title}" if len(self.answers) > 1 else title

    def _heading(self, index: int, width: int) -> Text:
        title = Text(printable(self._title(index)), "bold")
        title.truncate(width, overflow="ellipsis")
        return Text("\n").join([title, Text("\u2500" * width, "dim")])

    def _write_plainly(self) -> None:
        """Write what is new of the first answer that is not over, and of those before it.

        Those after it wait for its end.
        """
        while self._written < len(self.answers):
            answer = self.answers[self._written]
            if not (answer.text or answer.over):
                return
            if not self._titled:
                if self._written:
                    self._screen.say()
                self._screen.say(self._title(self._written))
                self._titled = True
            self._screen.write(answer.text[self._shown :])
            self._shown = len(answer.text)
            if not answer.over:
                return
            self._end_plainly(answer)
            self._written, self._shown, self._titled = self._written + 1, 0, False

    def _end_plainly(self, answer: Answer) -> None:
        if answer.text and not answer.text.endswith("\n"):
            self._screen.write("\n")
        if answer.failure is not None:
            how = "broke off" if answer.text else "no answer"
            self._screen.say(f"  {how}: {reason_of(answer.failure)}")
        elif answer.end is None:
            self._screen.say(f"  {BROKEN}")
        else:
            self._screen.say(f"  {facts_line(answer)}")


def facts_of(answer: Answer) -> Iterator[tuple[str, str]]:
    """Yield what an answer took and its scores, each with its label; nothing before its end."""
    end = answer.end
    if end is None:
        return
    ending = ENDINGS.get(end.finish_reason, "")
    tokens = number(end.answer_token_count)
    yield "tokens", f"{tokens}, {ending}" if ending else tokens
    yield "first token", latency(end.first_token_s)
    yield "tokens/s", f"{end.tokens_per_s:,.1f}" if end.tokens_per_s else "-"
    if end.HasField("cost_micro_usd"):
        yield "cost", small_money(end.cost_micro_usd)
    for one in end.scores:
        name = printable(one.grader)
        yield name, f"{one.score:.3f}" if one.HasField("score") else printable(one.error)


def facts_line(answer: Answer) -> str:
    """Return what an answer took and its scores on one line."""
    return " \u00b7 ".join(f"{label} {value}" for label, value in facts_of(answer))


def wait_of(wait: pb.EngineWait) -> str:
    """Return what an answer waits for, how far it is, and how long it may take."""
    rest = seconds_of(wait.remaining_duration)
    left = f", about {span(rest)} left" if rest else ""
    return f"{wait.message} {wait.progress:.0%}{left}"


def reason_of(failure: pb.GenerationFailure) -> str:
    """Return why there is no answer, and when to ask again."""
    if not failure.HasField("retry_delay"):
        return failure.message
    return f"{failure.message} (again in {span(seconds_of(failure.retry_delay))})"


def _text_of(answer: Answer, most: int | None) -> Text:
    """Return an answer's text, or what stands in its place.

    Args:
        answer: The answer.
        most: Characters at the end that are enough; all without it.
    """
    text = answer.text
    if most is not None and len(text) > most:
        text = text[(len(text) - most) // TAIL_STEP * TAIL_STEP :]
    shown = Text(printable(text.rstrip()))
    if answer.failure is not None:
        lead = "\n" if text else ""
        shown.append(lead + printable(reason_of(answer.failure)), "red")
    elif answer.broken:
        shown.append("\n" + BROKEN if text else BROKEN, "dim")
    elif not answer.text and answer.end is not None:
        shown.append("(empty)", "dim")
    elif not answer.text and answer.wait is not None:
        drawn = bar(answer.wait.progress, 1)
        shown.append(f"{printable(wait_of(answer.wait))}\n{drawn}", "dim")
    elif not answer.text:
        shown.append("waiting", "dim")
    return shown


def _score(answer: Answer, grader: str) -> float | None:
    for one in answer.end.scores if answer.end else ():
        if one.grader == grader and one.HasField("score"):
            return float(one.score)
    return None
