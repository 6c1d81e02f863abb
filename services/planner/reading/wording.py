"""The words by which people name settings, techniques and hardware."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from services.planner.brief import Value
from services.planner.reading.quantities import NUMBER, number, share

HYPERPARAMETERS = "stages.0.hyperparameters."
IS = r"\s*(?:is|of|to|at|=|:)?\s*(?:be\s+)?"
ENDS = r"(?=\s*(?:[,.;!?)]|$|\b(?:and|with|please|instead|but|for|on)\b))"
"""What may follow `rank 8`: so that `rank 8 results` stays a sentence about results."""


@dataclass(frozen=True)
class Override:
    """A setting that a message may change."""

    field_path: str
    """Of the spec."""
    pattern: re.Pattern[str]
    """One of its groups is the value."""
    read: Callable[[str], Value | None]
    """Turns the group into the value, or None when it cannot."""
    wanted: str
    """What it must look like, for the note."""


def _whole(text: str) -> int | None:
    value = number(text)
    return int(value) if value is not None and value.is_integer() else None


def _share_or_number(text: str) -> float | None:
    return share(text) if "%" in text else number(text)


def _schedule(text: str) -> int:
    return {"cosine": 1, "linear": 2, "constant": 3}[text.lower()]


def _override(
    field_path: str, pattern: str, read: Callable[[str], Value | None], wanted: str
) -> Override:
    return Override(field_path, re.compile(pattern, re.I), read, wanted)


WHOLE = "write a whole number"
PLAIN = "write a number"
AMOUNT = rf"({NUMBER}(?:\s*%)?)"

OVERRIDES = (
    _override(
        HYPERPARAMETERS + "lora.rank",
        rf"\b(?:lora )?rank{IS}({NUMBER}){ENDS}|\br\s*=\s*(\d{{1,9}})",
        _whole,
        WHOLE,
    ),
    _override(HYPERPARAMETERS + "lora.alpha", rf"\b(?:lora )?alpha{IS}({NUMBER})", _whole, WHOLE),
    _override(HYPERPARAMETERS + "lora.dropout", rf"\bdropout{IS}{AMOUNT}", _share_or_number, PLAIN),
    _override(
        HYPERPARAMETERS + "learning_rate",
        rf"\b(?:learning[ -]?rate|lr){IS}({NUMBER})",
        number,
        PLAIN,
    ),
    _override(
        HYPERPARAMETERS + "epoch_count",
        rf"\b({NUMBER}) epochs?\b|\bepochs?{IS}({NUMBER})",
        number,
        PLAIN,
    ),
    _override(
        HYPERPARAMETERS + "effective_batch_size",
        rf"\bbatch(?:es)?(?: size)?{IS}({NUMBER})",
        _whole,
        WHOLE,
    ),
    _override(
        HYPERPARAMETERS + "warmup_ratio",
        rf"\bwarm-?up(?: ratio| share)?{IS}{AMOUNT}",
        _share_or_number,
        PLAIN,
    ),
    _override(
        HYPERPARAMETERS + "weight_decay", rf"\bweight[ -]decay{IS}{AMOUNT}", _share_or_number, PLAIN
    ),
    _override(
        HYPERPARAMETERS + "max_gradient_norm",
        rf"\b(?:max )?grad(?:ient)?(?: norm| clip(?:ping)?)+{IS}({NUMBER})",
        number,
        PLAIN,
    ),
    _override(
        HYPERPARAMETERS + "max_length",
        rf"\b(?:max(?:imum)? (?:row |sequence )?length|sequence length){IS}({NUMBER})",
        _whole,
        WHOLE,
    ),
    _override(HYPERPARAMETERS + "seed", rf"\bseed{IS}({NUMBER})", _whole, WHOLE),
    _override(
        HYPERPARAMETERS + "early_stopping_patience", rf"\bpatience{IS}({NUMBER})", _whole, WHOLE
    ),
    _override(
        HYPERPARAMETERS + "evaluations_per_epoch",
        rf"\b({NUMBER}) evaluations? (?:per|an|each) epoch",
        _whole,
        WHOLE,
    ),
    _override(
        HYPERPARAMETERS + "schedule",
        r"\b(cosine|linear|constant)\s+(?:schedule|decay|learning rate)",
        _schedule,
        "write cosine, linear or constant",
    ),
    _override(
        "evaluation.few_shot_example_count",
        rf"\b({NUMBER}) few-?shot examples|\bfew-?shot(?: examples)?{IS}({NUMBER})",
        _whole,
        WHOLE,
    ),
    _override(
        "data.validation_fraction",
        rf"\bvalidation(?: share| fraction| split)?{IS}{AMOUNT}",
        _share_or_number,
        PLAIN,
    ),
)

TECHNIQUES = (
    (re.compile(r"\b(?:dpo|preference (?:optimi[sz]ation|tuning))\b", re.I), "DPO"),
    (re.compile(r"\b(?:rlaif|ai feedback)\b", re.I), "RLAIF"),
    (re.compile(r"\b(?:rlvr|grpo|reinforcement learning)\b", re.I), "RLVR"),
    (re.compile(r"\bqlora\b", re.I), "QLoRA"),
    (re.compile(r"\bdora\b", re.I), "DoRA"),
    (re.compile(r"\bfull(?:[ -]parameter)? fine-?tun\w+\b", re.I), "full fine-tuning"),
    (re.compile(r"\b(?:sft|supervised(?: fine-?tuning)?)\b", re.I), "SFT"),
    (re.compile(r"\blora\b", re.I), "LoRA"),
)

HARDWARE = re.compile(
    r"\b(?:[ABHLTV]\d{1,3}0{1,2}s?|H\d00s?|L40s?|L4|T4|A10G?|RTX ?\d{4}|[GT]PUs?"
    r"|ml\.[a-z]\w+\.\w+|[gp]\d\w{0,3}\.\w*xlarge)\b"
)

FILLERS = frozenset(
    re.findall(
        r"\w+",
        "i we you it this that must should would could can need want like be is are use make with "
        "a an the and or of to at for in on by please let have has set take keep least most "
        "right correct exactly answers about",
    )
)
"""Words that tell nothing about a problem."""

MODELS_NAMED = r"(?<![\w/.-]){name}(?![\w/-])"
