"""What a conversation has established so far, and what one message adds to it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace

from services.planner.vocabulary import Command, Shape, Signal, Task

TARGET_PATH = "objective.success_criteria.0.target"
PROBLEM_PATH = "objective.problem"
DATASET_PATH = "data.dataset"
ORIGIN_CHARACTERS_MAX = 200
QUESTIONS_MAX = 3
"""Questions in one conversation, whatever they ask."""

Value = float | int | str


@dataclass(frozen=True)
class Criterion:
    """One criterion of a rubric, or one part of a reward."""

    name: str
    """`[a-z][a-z0-9_]{0,62}`, such as `accuracy`."""
    weight: float | None = None
    """In (0, 1]; None while all weigh alike."""
    text: str = ""
    """What it asks for, in the person's words."""


PLAIN_FIELDS = (
    "problem",
    "users",
    "task",
    "target",
    "output_kind",
    "technique",
    "method",
    "base_model",
    "parameters_max_b",
    "alias",
    "deadline_s",
    "cost_cap_micro_usd",
    "data_shape",
    "data_row_count",
    "text_megabytes",
    "base_success",
    "label_error_share",
    "holdout_rows",
    "judge_model",
    "conflict",
    "language",
)
"""Fields that a patch replaces when it sets them."""

PLAIN_PATHS = {
    PROBLEM_PATH: "problem",
    "objective.users": "users",
    TARGET_PATH: "target",
    "base_model.id": "base_model",
    "data.holdout_rows": "holdout_rows",
    "serving.alias": "alias",
    "limits.deadline": "deadline_s",
    "limits.cost_cap_micro_usd": "cost_cap_micro_usd",
}
"""Fields of the spec that have a field of their own in the brief."""


@dataclass(frozen=True)
class BriefPatch:
    """What one message says; a field that it does not touch is None or empty."""

    problem: str | None = None
    """The problem in plain words."""
    users: str | None = None
    """Who uses the answers."""
    task: Task | None = None
    """The kind of task."""
    languages: tuple[str, ...] = ()
    """Languages that the model must read or write, ISO 639-1; added to those known."""
    target: float | None = None
    """Share of right answers, or of comparisons won, to reach, in (0, 1]."""
    target_delegated: bool = False
    """Whether the person leaves the target to the planner."""
    output_kind: str | None = None
    """`json` when the message asks for JSON."""
    technique: str | None = None
    """`SFT`, `DPO`, `RLVR`, `RLAIF`, or another that was named, such as `pretraining`."""
    method: str | None = None
    """`LoRA`, `QLoRA`, `DoRA` or `full`, when one was named."""
    base_model: str | None = None
    """Base model that was named, as it was written."""
    parameters_max_b: float | None = None
    """Largest base model in billions of parameters, by a stated size or device (rule B1, B2)."""
    alias: str | None = None
    """Alias to serve under."""
    deadline_s: int | None = None
    """Longest time to the result, in seconds."""
    cost_cap_micro_usd: int | None = None
    """Highest cost in millionths of a US dollar."""
    data_shape: Shape | None = None
    """What examples are said to exist."""
    data_row_count: int | None = None
    """How many, in rows."""
    text_megabytes: float | None = None
    """Size of a body of text that was described."""
    base_success: float | None = None
    """Share that the base model, or prompting, gets right today, in [0, 1]."""
    label_error_share: float | None = None
    """Share of labels or references said to be wrong, in [0, 1]."""
    holdout_rows: int | None = None
    """Rows to hold out."""
    judge_model: str | None = None
    """Model that is to judge."""
    conflict: str | None = None
    """Two wishes that exclude each other, in one sentence."""
    language: str | None = None
    """Language of the message, ISO 639-1."""
    grader_kinds: tuple[str, ...] = ()
    """Kinds of check that were asked for, such as `exact_match`, `macro_f1`, `unit_tests`."""
    criteria: tuple[Criterion, ...] = ()
    """Criteria of a rubric or parts of a reward; those of a known name are replaced."""
    criteria_removed: tuple[str, ...] = ()
    """Names of criteria that no longer count."""
    overrides: dict[str, Value] = field(default_factory=dict)
    """Values by field path, such as `stages.0.hyperparameters.lora.rank`."""
    released: frozenset[str] = frozenset()
    """Field paths whose earlier values no longer count: the planner decides them again."""
    factors: dict[str, float] = field(default_factory=dict)
    """By field path: what the plan's present value is to be multiplied by."""
    signals: frozenset[Signal] = frozenset()
    """What was noticed."""
    signals_withdrawn: frozenset[Signal] = frozenset()
    """What no longer holds."""
    command: Command | None = None
    """What is to be done with the plan."""
    explain_paths: tuple[str, ...] = ()
    """Fields of the spec that are asked about."""
    restore_revision: int | None = None
    """Revision to bring back; -1 for the one before the newest."""
    only: bool = False
    """Whether nothing else may change."""
    agreement: bool | None = None
    """A bare yes or no."""
    notes: tuple[str, ...] = ()
    """What the planner has to say about the message; sentences."""

    @property
    def paths(self) -> set[str]:
        """Paths of the spec that this message decides."""
        decided = {path: getattr(self, name) for path, name in PLAIN_PATHS.items()}
        named = {path for path, value in decided.items() if value is not None}
        return named | set(self.overrides) | self.released


@dataclass(frozen=True)
class Brief:
    """What is known. Fields mean what they mean in a patch; empty while unknown."""

    problem: str = ""
    users: str = ""
    task: str = ""
    languages: tuple[str, ...] = ()
    target: float | None = None
    target_delegated: bool = False
    output_kind: str = ""
    technique: str = ""
    method: str = ""
    base_model: str = ""
    parameters_max_b: float | None = None
    alias: str = ""
    deadline_s: int | None = None
    cost_cap_micro_usd: int | None = None
    data_shape: str = ""
    data_row_count: int | None = None
    text_megabytes: float | None = None
    base_success: float | None = None
    label_error_share: float | None = None
    holdout_rows: int | None = None
    judge_model: str = ""
    conflict: str = ""
    language: str = "en"
    """Language of the last message that was long enough to tell."""
    grader_kinds: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    signals: frozenset[Signal] = frozenset()
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
        said = quoted(message)
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
            languages=tuple(dict.fromkeys((*self.languages, *patch.languages))),
            grader_kinds=tuple(dict.fromkeys((*self.grader_kinds, *patch.grader_kinds))),
            criteria=_merged(self.criteria, patch),
            signals=(self.signals | patch.signals) - patch.signals_withdrawn,
            overrides={
                path: value
                for path, value in {**self.overrides, **patch.overrides}.items()
                if path not in patch.released
            },
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
        return json.dumps(asdict(self) | {"signals": sorted(self.signals)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Brief:
        """Return the brief that `to_json` wrote."""
        values = json.loads(text)
        for each in fields(cls):
            if isinstance(values.get(each.name), list):
                values[each.name] = tuple(values[each.name])
        values["criteria"] = tuple(Criterion(**criterion) for criterion in values["criteria"])
        values["signals"] = frozenset(Signal(name) for name in values["signals"])
        return cls(**values)


def quoted(message: str) -> str:
    """Return a message as it is quoted as the origin of what it decides, at most 200 characters."""
    return " ".join(message.split())[:ORIGIN_CHARACTERS_MAX]


def _merged(known: tuple[Criterion, ...], patch: BriefPatch) -> tuple[Criterion, ...]:
    """Return known criteria with those of a patch in their place, and new ones behind."""
    by_name = {criterion.name: criterion for criterion in known}
    for criterion in patch.criteria:
        before = by_name.get(criterion.name)
        text = criterion.text or (before.text if before else "")
        by_name[criterion.name] = replace(criterion, text=text)
    return tuple(
        criterion for name, criterion in by_name.items() if name not in patch.criteria_removed
    )
