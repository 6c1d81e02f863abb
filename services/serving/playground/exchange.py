"""What was asked once, with all answers and what a person thinks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.common.clock import new_id
from services.common.names import last_part, project_of
from services.serving.playground.answer import Answer, End, Failure, versions_of
from services.serving.playground.preference import Preference
from services.serving.playground.prompt import Prompt

PATTERN = "projects/{project}/exchanges/{exchange}"


@dataclass(frozen=True)
class Exchange:
    """One question to one model or several."""

    name: str
    prompt: Prompt
    answers: tuple[Answer, ...]
    """One for each model, in the order in which they were named."""
    create_time: datetime
    preference: Preference | None = field(default=None)
    """None when nobody said anything."""

    @property
    def id(self) -> str:
        """Its own part of the name."""
        return last_part(self.name)

    @property
    def project(self) -> str:
        """Id of its project."""
        return project_of(self.name)

    @property
    def versions(self) -> set[str]:
        """Names of the versions that answered."""
        return versions_of(self.answers)

    def with_text(self, index: int, text: str) -> Exchange:
        """Return it with what came of one answer."""
        return self._with(index, replace(self.answers[index], text=text))

    def with_outcome(self, index: int, outcome: End | Failure) -> Exchange:
        """Return it with the outcome of one answer."""
        if isinstance(outcome, End):
            return self._with(index, replace(self.answers[index], end=outcome))
        return self._with(index, replace(self.answers[index], failure=outcome))

    def _with(self, index: int, answer: Answer) -> Exchange:
        answers = (*self.answers[:index], answer, *self.answers[index + 1 :])
        return replace(self, answers=answers)


def new_exchange(project: str, models: Sequence[str], prompt: Prompt, now: datetime) -> Exchange:
    """Return an exchange without answers yet."""
    name = f"projects/{project}/exchanges/{new_id(now)}"
    return Exchange(name, prompt, tuple(Answer(model) for model in models), now)
