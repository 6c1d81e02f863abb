"""What a conversation has established so far, and what one message adds to it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace

TARGET_PATH = "objective.success_criteria.0.target"
PROBLEM_PATH = "objective.problem"
DATASET_PATH = "data.dataset"
QUESTIONS_MAX = 3
"""Questions in one conversation, whatever they ask."""

PLAIN_FIELDS = (
    "problem",
    "users",
    "target",
    "output_kind",
    "technique",
    "base_model",
    "alias",
    "deadline_s",
    "cost_cap_micro_usd",
)
"""Fields that a patch replaces when it sets them."""

PLAIN_PATHS = {
    PROBLEM_PATH: "problem",
    "objective.users": "users",
    TARGET_PATH: "target",
    "base_model.id": "base_model",
    "serving.alias": "alias",
    "limits.deadline": "deadline_s",
    "limits.cost_cap_micro_usd": "cost_cap_micro_usd",
}
"""Fields of the spec that have a field of their own in the brief."""

Value = float | int | str


@dataclass(frozen=True)
class BriefPatch:
    """What one message says; a field that it does not touch is None or empty."""

    problem: str | None = None
    """The problem in plain words."""
    users: str | None = None
    """Who uses the answers."""
    target: float | None = None
    """Share of right answers to reach, in (0, 1]."""
    target_delegated: bool = False
    """Whether the person leaves the target to the planner."""
    output_kind: str | None = None
    """`json` when the message asks for JSON."""
    technique: str | None = None
    """A technique or method that was named, such as `DPO`."""
    base_model: str | None = None
    """Id of a base model that was named."""
    alias: str | None = None
    """Alias to serve under."""
    deadline_s: int | None = None
    """Longest time to the result, in seconds."""
    cost_cap_micro_usd: int | None = None
    """Highest cost in millionths of a US dollar."""
    overrides: dict[str, Value] = field(default_factory=dict)
    """Values by field path, such as `stages.0.hyperparameters.lora.rank`."""
    agreement: bool | None = None
    """A bare yes or no."""
    notes: tuple[str, ...] = ()
    """What the planner has to say about the message; sentences."""

    @property
    def paths(self) -> set[str]:
        """Paths of the spec that this message decides."""
        decided = {path: getattr(self, name) for path, name in PLAIN_PATHS.items()}
        return {path for path, value in decided.items() if value is not None} | set(self.overrides)


@dataclass(frozen=True)
class Brief:
    """What is known."""

    problem: str = ""
    """The problem in plain words; empty while unknown."""
    users: str = ""
    """Who uses the answers."""
    target: float | None = None
    """Share of right answers to reach, in (0, 1]."""
    target_delegated: bool = False
    """Whether the person leaves the target to the planner."""
    output_kind: str = ""
    """`json` when JSON was asked for."""
    technique: str = ""
    """A technique or method that was wished for."""
    base_model: str = ""
    """Id of the base model that was named."""
    alias: str = ""
    """Alias to serve under."""
    deadline_s: int | None = None
    """Longest time to the result, in seconds."""
    cost_cap_micro_usd: int | None = None
    """Highest cost in millionths of a US dollar."""
    dataset: str = ""
    """Name of the dataset to learn from."""
    holdout_dataset: str = ""
    """Name of the dataset that is held out; empty when the rows are split."""
    overrides: dict[str, Value] = field(default_factory=dict)
    """Values by field path."""
    sentences: dict[str, str] = field(default_factory=dict)
    """By field path: the message that decided it."""
    answers: dict[str, str] = field(default_factory=dict)
    """By field path of a question: what was answered."""
    questions: tuple[str, ...] = ()
    """Field paths that were asked about, in order, at most 3."""

    @property
    def open_question(self) -> str:
        """Field path of the last question while it is unanswered; empty otherwise."""
        last = self.questions[-1] if self.questions else ""
        return "" if last in self.answers else last

    @property
    def said(self) -> dict[str, Value]:
        """Values that a person decided, by field path of the spec."""
        named = {path: getattr(self, name) for path, name in PLAIN_PATHS.items()}
        plain = {path: value for path, value in named.items() if value not in (None, "")}
        return plain | self.overrides

    def apply(self, patch: BriefPatch, message: str) -> Brief:
        """Return the brief after a message.

        Args:
            patch: What the interpreter read in it.
            message: The message itself, kept as the origin of what it decides.
        """
        said = " ".join(message.split())[:200]
        read = {name: getattr(patch, name) for name in PLAIN_FIELDS}
        changes = {name: value for name, value in read.items() if value is not None}
        answers = dict(self.answers)
        if self.open_question in patch.paths or (
            self.open_question == TARGET_PATH and patch.target_delegated
        ):
            answers[self.open_question] = said
        delegated = (self.target_delegated or patch.target_delegated) and patch.target is None
        return replace(
            self,
            **changes,
            target_delegated=delegated,
            overrides={**self.overrides, **patch.overrides},
            sentences={**self.sentences, **dict.fromkeys(patch.paths, said)},
            answers=answers,
        )

    def with_data(self, dataset: str, holdout_dataset: str) -> Brief:
        """Return the brief after datasets were attached."""
        answers = self.answers
        if self.open_question == DATASET_PATH:
            answers = {**answers, DATASET_PATH: dataset}
        return replace(self, dataset=dataset, holdout_dataset=holdout_dataset, answers=answers)

    def without(self, paths: Collection[str], earlier: Brief) -> Brief:
        """Return the brief with what an earlier one said about some fields.

        Args:
            paths: Of the spec, such as `base_model.id`.
            earlier: An empty one takes everything about these fields back.
        """
        kept = {path: value for path, value in self.overrides.items() if path not in paths}
        before = {path: value for path, value in earlier.overrides.items() if path in paths}
        plain = {
            name: getattr(earlier, name) for path, name in PLAIN_PATHS.items() if path in paths
        }
        return replace(self, overrides={**kept, **before}, **plain)

    def asked(self, field_path: str) -> Brief:
        """Return the brief after one more question."""
        return replace(self, questions=(*self.questions, field_path))

    def to_json(self) -> str:
        """Return it as text for a database."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Brief:
        """Return the brief that `to_json` wrote."""
        values = json.loads(text)
        values["questions"] = tuple(values["questions"])
        return cls(**values)
