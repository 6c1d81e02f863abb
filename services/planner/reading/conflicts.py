"""Wishes of a message that exclude each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.planner.brief import Brief
from services.planner.reading.base_models import DEVICE_PARAMETERS_MAX_B, size_bound
from services.planner.reading.message import Message
from services.planner.reading.said import Said
from services.planner.vocabulary import Shape, Signal

CERTAIN_TARGET = 0.8
"""Share that labels which agree by chance cannot bear out."""
JUDGES = re.compile(
    r"\b(?:judges?|judged|judging|scores?|scored|scoring|grad\w+|rat(?:es?|ed|ing))\b"
)
OUTSIDE = re.compile(
    r"\b(?:hosted|over the internet|cloud|openai|gpt\S*|claude|gemini|"
    r"(?:external|commercial) (?:models?|services?|apis?|judges?|providers?))\b"
)
PROOF = re.compile(
    r"\b(?:prov(?:e|es|en|ing)|proof|evidence|demonstrat\w+|beweis\w*|nachweis\w*|belegt?|preuve|"
    r"prouve[rz]?|demostr\w*|prueba|acierto|demonstr\w*|dimostr\w*|bewij\w*|aantonen)\b"
)
UNSEEN = re.compile(
    r"\b(?:never|not(?: yet)?) (?:been )?(?:seen|trained|met|read|shown)\b|\bunseen\b|"
    r"\b(?:neue[nr]?|ungesehen\w*|nouve(?:aux|lles)|jamais vue?s?|nuev[oa]s|nunca vist\w+|"
    r"nov[oa]s|nuov[ie]|mai vist\w+|nieuwe|ongezien\w*)\b"
)


@dataclass(frozen=True)
class _Wishes:
    """A message, and what it and those before it hold."""

    message: Message
    said: Said
    shape: Shape | None
    technique: str | None
    new: set[Signal]
    """Noticed in this message."""
    held: set[Signal]
    """Noticed in this message or before."""
    target: float
    """Share to reach; 0 while nobody named one."""


def find_conflict(
    message: Message, brief: Brief, said: Said, technique: str | None, signals: set[Signal]
) -> str | None:
    """Return two wishes that exclude each other in one sentence, or None.

    Args:
        message: What was said.
        brief: What was known before.
        said: What it says about data and success.
        technique: The one that it names.
        signals: What was noticed in it.
    """
    shape = said.shape or (Shape(brief.data_shape) if brief.data_shape else None)
    target = said.target if said.target is not None else brief.target
    held = signals | brief.signals
    wishes = _Wishes(message, said, shape, technique, signals, held, target or 0)
    for find in (_of_facts, _of_change, _of_size, _of_technique, _of_proof, _of_place):
        if text := find(wishes):
            return text
    if message.says("conflicts", "opposed"):
        return "The message asks for two things that work against each other."
    return None


def _of_facts(wishes: _Wishes) -> str | None:
    if Signal.NO_ACCESS not in wishes.new:
        return None
    if Signal.VOLATILE_FACTS in wishes.held:
        return (
            "The answers depend on facts that change, and the model may not reach the system that "
            "holds them: training cannot bring in what was not known at the time."
        )
    if Signal.CITATIONS in wishes.held:
        return (
            "Sources are to be quoted exactly, and nothing may be looked up: a trained model "
            "recites from memory and makes sources up."
        )
    return None


def _of_change(wishes: _Wishes) -> str | None:
    if Signal.UNSETTLED in wishes.held and wishes.message.says("conflicts", "frozen"):
        return (
            "What is wanted still changes, and the model is not to be trained again: it would keep "
            "to what was wanted on the day."
        )
    return None


def _of_size(wishes: _Wishes) -> str | None:
    on_device, no_rows = Signal.DEVICE_SMALL in wishes.held, wishes.shape is Shape.NONE
    if Signal.CAPABILITY_NEEDS_SIZE in wishes.new and (on_device or no_rows):
        limits = [
            *(["a base model that fits the device"] if on_device else []),
            *(["no examples to learn from"] if no_rows else []),
        ]
        return (
            f"The quality and breadth of a large model is wished for, with {' and '.join(limits)}."
        )
    stated = size_bound(wishes.message) or 0
    if on_device and stated > DEVICE_PARAMETERS_MAX_B + 1:
        return (
            f"A model of {stated:g}B does not run on the device that was named, which holds at "
            f"most {DEVICE_PARAMETERS_MAX_B:g}B."
        )
    return None


def _of_technique(wishes: _Wishes) -> str | None:
    technique, shape = wishes.technique, wishes.shape
    if technique == "SFT" and shape in (Shape.PROMPTS, Shape.PROMPTS_WITH_CHECK, Shape.NONE):
        return (
            "Supervised fine-tuning learns from finished answers, and there are none to learn from."
        )
    if technique == "DPO" and shape in (Shape.PROMPTS, Shape.PROMPTS_WITH_CHECK, Shape.TEXT):
        return "Preference optimisation learns from two answers to one input, and there are none."
    if technique in ("RLVR", "RLAIF") and shape is Shape.TEXT:
        return "Reinforcement learning needs tasks with a check, and there is only running text."
    shown = technique == "DPO" and shape is Shape.DEMONSTRATIONS and wishes.said.row_count
    if shown and _one_answer(wishes.message):
        return (
            "Preference optimisation needs a worse answer beside the better one, and each input "
            "has one answer."
        )
    return None


def _of_proof(wishes: _Wishes) -> str | None:
    if Signal.AGREEMENT_BY_CHANCE in wishes.held and wishes.target >= CERTAIN_TARGET:
        return (
            f"The labels agree about as often as chance, and {wishes.target:.0%} right answers are "
            "wanted: nothing would tell right from wrong."
        )
    if Signal.DROP_HOLDOUT in wishes.held and _wants_proof(wishes.message):
        return (
            "The gain is to be shown on rows that were not trained on, and no rows are to be held "
            "out."
        )
    return None


def _of_place(wishes: _Wishes) -> str | None:
    outside = wishes.message.says("conflicts", "external") or any(
        JUDGES.search(sentence.folded) and OUTSIDE.search(sentence.folded)
        for sentence in wishes.message.sentences
    )
    if Signal.DATA_STAYS_LOCAL in wishes.new and outside:
        return "Nothing may leave the network, and an outside service is to be used."
    return None


def _wants_proof(message: Message) -> bool:
    """Return whether a gain is to be shown on rows that were not trained on."""
    return message.says("conflicts", "proof") or any(
        PROOF.search(sentence.folded) and UNSEEN.search(sentence.folded)
        for sentence in message.sentences
    )


def _one_answer(message: Message) -> bool:
    return message.says("signals", "thumbs_unpaired") or message.says("conflicts", "one_answer")
