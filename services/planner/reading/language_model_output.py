"""What a language model may say about a message, and how much of it is believed.

Its output is data. It can fill the brief and no more: what it says of safety only adds to what the
deterministic reader found, what it says of limits can only tighten them, and figures and names that
a person dictates count only where the message holds them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.planner.brief import Brief, BriefPatch, Criterion, Value
from services.planner.spec.rules import HYPERPARAMETER_RANGES
from services.planner.vocabulary import Command, Shape, Signal, Task

PROTECTIVE = frozenset(
    {
        Signal.HARMFUL,
        Signal.OUT_OF_SCOPE,
        Signal.INFRASTRUCTURE_NAMED,
        Signal.CLAIMED_AUTHORITY,
        Signal.SKIP_APPROVAL,
        Signal.DROP_HOLDOUT,
        Signal.UNSAFE_GRADER,
        Signal.REWARD_IS_FORM,
        Signal.NO_RIGHTS,
        Signal.NO_CONSENT,
        Signal.PROVIDER_OUTPUTS,
        Signal.PERSONAL_DATA,
        Signal.DATA_STAYS_LOCAL,
        Signal.COMMERCIAL_USE,
        Signal.PERMISSIVE_LICENCE,
    }
)
"""Signals that guard somebody: a model may add them and never withdraw them."""
RELEASING = frozenset(
    {Signal.INSISTS, Signal.PERSONAL_DATA_REMOVED, Signal.JUDGE_CALIBRATED, Signal.WANTS_LENGTH}
)
"""Signals that set a guard aside: only the deterministic reader finds them."""
GRADERS = (
    "exact_match", "macro_f1", "json_schema", "score_model", "label_model", "win_rate",
    "text_similarity", "rouge_l", "tool_call", "math", "numeric", "unit_tests", "regex",
    "string_check", "length", "exact_json",
)  # fmt: skip
OWN_WORDS_MIN = 0.6
"""Share of a text's words that must be the person's: a model copies, it does not compose."""
PLAIN = (1.0,)
PERCENT = (1.0, 0.01)
SECONDS = (1.0, 60.0, 3600.0, 86_400.0, 604_800.0)
MICRO_USD = (1e6,)
SCALES = {"target": PERCENT, "deadline_s": SECONDS, "cost_cap_micro_usd": MICRO_USD}
"""What a figure of the message may be multiplied with to be a field's value."""
WORDS = re.compile(r"[a-z0-9]+|\w")
"""Words of plain letters; any other letter for itself, for many scripts put no spaces."""
DIGITS = re.compile(r"(?:\d{1,15}(?:\.\d{1,12})?|\.\d{1,12})(?:e[-+]?\d{1,2})?")
THOUSANDS = re.compile(r"(?<=\d)[,' ](?=\d{3}(?!\d))")
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")

Code = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Path = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,199}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A shape that allows nothing besides its fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class CriterionRead(Part):
    """One criterion of a rubric, or one part of a reward."""

    name: Name
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only when the message states it."""
    text: Annotated[str, Field(max_length=300)] = ""
    """What it asks for, copied from the message."""


class SettingRead(Part):
    """A hyperparameter that the message dictates."""

    stage: int = Field(0, ge=0, le=3)
    """Place of the training stage, the first is 0."""
    name: Literal[tuple(HYPERPARAMETER_RANGES)]  # type: ignore[valid-type]
    value: float


class MessageRead(Part):
    """What the message says; leave out everything that it does not say."""

    problem: str | None = Field(None, max_length=2000)
    """What goes in and what comes out, copied from the message."""
    users: str | None = Field(None, max_length=300)
    """Who uses the answers, copied from the message."""
    task: Task | None = None
    languages: list[Code] = Field([], max_length=20)
    """Languages that the model must read or write, ISO 639-1."""
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of right answers, or of comparisons won, to reach."""
    target_delegated: bool = False
    """Whether the person leaves the target to the planner."""
    output_kind: Literal["json"] | None = None
    technique: Literal["SFT", "DPO", "RLVR", "RLAIF", "pretraining"] | None = None
    """Only when the message names it."""
    method: Literal["LoRA", "QLoRA", "DoRA", "full"] | None = None
    """Only when the message names it."""
    base_model: str | None = Field(None, max_length=200)
    """Base model that the message names, as it is written."""
    parameters_max_b: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Largest base model in billions of parameters, by a stated size."""
    alias: str | None = Field(None, pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")
    deadline_s: int | None = Field(None, ge=60, le=31_536_000)
    """Longest time to the result, in seconds."""
    cost_cap_micro_usd: int | None = Field(None, gt=0, le=10**13)
    """Highest cost in millionths of a US dollar."""
    data_shape: Shape | None = None
    data_row_count: int | None = Field(None, ge=0, le=10**10)
    text_megabytes: float | None = Field(None, ge=0, le=10**9)
    base_success: Share | None = None
    """Share that the base model, or prompting, gets right today."""
    label_error_share: Share | None = None
    holdout_rows: int | None = Field(None, ge=1, le=10**7)
    judge_model: str | None = Field(None, max_length=200)
    language: Code | None = None
    """Language of the message."""
    grader_kinds: list[Literal[GRADERS]] = Field([], max_length=16)  # type: ignore[valid-type]
    criteria: list[CriterionRead] = Field([], max_length=20)
    criteria_removed: list[Name] = Field([], max_length=20)
    settings: list[SettingRead] = Field([], max_length=20)
    signals: list[Signal] = Field([], max_length=50)
    signals_withdrawn: list[Signal] = Field([], max_length=50)
    command: Command | None = None
    explain_paths: list[Path] = Field([], max_length=10)
    restore_revision: int | None = Field(None, ge=-1, le=1_000_000)
    only: bool = False
    """Whether nothing besides the named values may change."""


FREELY = ("task", "target_delegated", "data_shape")
"""Fields that are taken as the model read them."""
WHERE_OPEN = (
    "output_kind", "technique", "method", "data_row_count", "text_megabytes", "base_success",
    "label_error_share", "language",
)  # fmt: skip
"""Fields that are taken where the deterministic reader found nothing."""
COMMANDS = ("command", "restore_revision", "only")
"""Fields that are taken where the deterministic reader found no command."""


def merged(read: MessageRead, own: BriefPatch, message: str, brief: Brief) -> BriefPatch:
    """Return what the deterministic reader found, with what a model adds to it.

    Args:
        read: The model's output, of the right shape and within its ranges.
        own: The deterministic reader's patch, which wins where a person dictates.
        message: What was said.
        brief: What was known before.
    """
    ground = Ground(message)
    found: dict[str, Any] = {}
    for name in (*FREELY, *WHERE_OPEN):
        value = getattr(read, name)
        is_open = name in FREELY or getattr(own, name) is None
        if is_open and value is not None and value is not False:
            found[name] = value
    if own.command is None and own.restore_revision is None:
        found |= {name: getattr(read, name) for name in COMMANDS if getattr(read, name)}
    for name in ("problem", "users"):
        text = getattr(read, name)
        if text and text.strip() and ground.is_own(text):
            found[name] = " ".join(text.split())
    for name in ("base_model", "judge_model", "alias"):
        text = getattr(read, name)
        if text and getattr(own, name) is None and ground.holds(text):
            found[name] = text.strip()
    for name in ("target", "holdout_rows"):
        value = getattr(read, name)
        if (
            value is not None
            and getattr(own, name) is None
            and ground.has_figure(value, SCALES.get(name, PLAIN))
        ):
            found[name] = value
    for name in ("parameters_max_b", "deadline_s", "cost_cap_micro_usd"):
        value, known = getattr(read, name), getattr(brief, name)
        if value is None or getattr(own, name) is not None:
            continue
        stated = name == "parameters_max_b" or ground.has_figure(value, SCALES[name])
        if stated and (known is None or value <= known):
            found[name] = value
    return replace(
        own,
        **found,
        languages=_joined(own.languages, read.languages),
        grader_kinds=_joined(own.grader_kinds, read.grader_kinds),
        criteria=_criteria(read, own, ground),
        criteria_removed=_joined(
            own.criteria_removed, [name for name in read.criteria_removed if ground.names(name)]
        ),
        overrides={**_overrides(read, ground), **own.overrides},
        signals=own.signals | (frozenset(read.signals) - RELEASING),
        signals_withdrawn=own.signals_withdrawn
        | (frozenset(read.signals_withdrawn) - PROTECTIVE - own.signals),
        explain_paths=_joined(own.explain_paths, read.explain_paths),
    )


class Ground:
    """A message as the ground that dictated values must stand on."""

    def __init__(self, message: str) -> None:
        """Take the words and the figures of a message."""
        self._folded = " ".join(message.lower().split())
        self._words = set(WORDS.findall(self._folded))
        plain = THOUSANDS.sub("", self._folded)
        texts = DIGITS.findall(plain) + DIGITS.findall(DECIMAL_COMMA.sub(".", plain))
        self._figures = {float(text) for text in texts}

    def holds(self, text: str) -> bool:
        """Return whether a text stands in the message, whatever the case."""
        return " ".join(text.lower().split()) in self._folded

    def is_own(self, text: str) -> bool:
        """Return whether most words of a text are the message's."""
        words = WORDS.findall(text.lower())
        own = sum(word in self._words for word in words)
        return bool(words) and own >= OWN_WORDS_MIN * len(words)

    def names(self, name: str) -> bool:
        """Return whether the words of a name such as `legal_accuracy` are the message's."""
        return self.is_own(name.replace("_", " "))

    def has_figure(self, value: float, scales: Iterable[float] = PLAIN) -> bool:
        """Return whether a number stands in the message, in one of some units."""
        return any(
            math.isclose(figure * scale, value, rel_tol=1e-9)
            for figure in self._figures
            for scale in scales
        )


def _joined(own: Iterable[str], read: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*own, *read)))


def _overrides(read: MessageRead, ground: Ground) -> dict[str, Value]:
    """Return the dictated hyperparameters that the message holds and that can run."""
    found: dict[str, Value] = {}
    for setting in read.settings:
        value: Value = setting.value
        if float(value).is_integer() and setting.name not in ("learning_rate", "epoch_count"):
            value = int(value)
        if HYPERPARAMETER_RANGES[setting.name].holds(setting.value) and ground.has_figure(
            setting.value, PERCENT
        ):
            found[f"stages.{setting.stage}.hyperparameters.{setting.name}"] = value
    return found


def _criteria(read: MessageRead, own: BriefPatch, ground: Ground) -> tuple[Criterion, ...]:
    """Return the reader's criteria and those that only the model found.

    A criterion must be called by the message's words or be described in them.
    """
    known = {criterion.name for criterion in own.criteria}
    found = list(own.criteria)
    for each in read.criteria:
        if each.name in known:
            continue
        known.add(each.name)
        stated = each.weight is not None and ground.has_figure(each.weight, PERCENT)
        text = each.text.strip() if ground.is_own(each.text) else ""
        if not text and not ground.names(each.name):
            continue
        found.append(Criterion(each.name, each.weight if stated else None, text))
    return tuple(found)
