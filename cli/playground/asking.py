"""The options of `compare` and `generate`: what is asked, how tokens are drawn, what scores."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from attune.serving.v1 import playground_pb2 as pb

from cli.grader_file import read_graders
from cli.options import sampling_options, system_option
from cli.playground.prompt_file import Chat, read_chat, read_schema, read_tools
from services.common.errors import InvalidArgument, Violation, invalid

STDIN = "-"
file_type = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class Asking:
    """What the options say; each may be unset."""

    system: str
    prompt_file: Path | None
    line: int
    tools: Path | None
    json_schema: Path | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: Sequence[str]
    graders: Sequence[Path]
    reference: str

    def read(self, text: str) -> tuple[pb.Prompt, pb.Grading | None]:
        """Return what is asked, and what scores the answers.

        Args:
            text: What the person asks, `-` for what stands on standard input; ignored where a
                file says what is asked.

        Raises:
            InvalidArgument: If a file cannot be read, or holds something else.
        """
        chat = self._chat(text)
        prompt = pb.Prompt(
            messages=chat.messages,
            tools=read_tools(self.tools) if self.tools else chat.tools,
            json_schema=read_schema(self.json_schema) if self.json_schema else "",
            sampling=pb.Sampling(
                temperature=self.temperature,
                top_p=self.top_p,
                max_tokens=self.max_tokens,
                seed=self.seed,
                stop=self.stop,
            ),
        )
        graders = [grader for path in self.graders for grader in read_graders(path)]
        if not graders:
            return prompt, None
        return prompt, pb.Grading(graders=graders, reference=self.reference or chat.reference)

    def _chat(self, text: str) -> Chat:
        if self.prompt_file is not None:
            chat = read_chat(self.prompt_file, self.line)
        else:
            asked = sys.stdin.read() if text == STDIN else text
            chat = Chat([pb.ChatMessage(role="user", content=asked)])
        if not self.system:
            return chat
        if chat.messages and chat.messages[0].role == "system":
            raise _two_systems(self.prompt_file)
        chat.messages.insert(0, pb.ChatMessage(role="system", content=self.system))
        return chat


def asking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and hand them to it as `asking`."""

    @functools.wraps(command)
    def with_asking(**values: Any) -> None:
        asking = Asking(**{name: values.pop(name) for name in Asking.__dataclass_fields__})
        if asking.reference and not asking.graders:
            raise click.UsageError("--reference is what graders compare with. Give --grader, too.")
        command(asking=asking, **values)

    wrapped = with_asking
    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _two_systems(path: Path | None) -> InvalidArgument:
    text = f"{path} begins with a system message. Leave out --system, or change the file."
    return invalid([Violation("--system", "ONE_SYSTEM_MESSAGE", text)])


OPTIONS: tuple[Callable[..., Any], ...] = (
    system_option,
    click.option(
        "--prompt-file",
        type=file_type,
        help="Ask what this file holds instead of PROMPT: a text, a chat (.json), or a row of a "
        "dataset (.jsonl). An answer at its end becomes the reference.",
    ),
    click.option("--line", type=click.IntRange(1), default=1, help="Row of a dataset; default 1."),
    click.option("--tools", type=file_type, help="JSON file of OpenAI's tools that may be called."),
    click.option("--json-schema", type=file_type, help="File of the schema that answers must fit."),
    sampling_options,
    click.option(
        "--grader",
        "graders",
        type=file_type,
        multiple=True,
        help="File of a grader, or of a plan with some, that scores the answers; may be repeated.",
    ),
    click.option("--reference", default="", help="The right answer, for graders that compare."),
)
