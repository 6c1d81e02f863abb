"""Turns a message into what it says about the plan. What comes out is data, checked like any."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from services.planner.brief import PROBLEM_PATH, TARGET_PATH, Brief, BriefPatch
from services.planner.reading import wishes
from services.planner.reading.base_models import (
    DEVICE_PARAMETERS_MAX_B,
    judge_model,
    named_base_model,
    size_bound,
)
from services.planner.reading.commands import Wish, read_commands
from services.planner.reading.conflicts import find_conflict
from services.planner.reading.data import read_data
from services.planner.reading.hyperparameters import Settings, read_settings
from services.planner.reading.languages import named_languages
from services.planner.reading.lexicon import LANGUAGES, lexicon
from services.planner.reading.message import Message, Sentence, read_message
from services.planner.reading.quantities import quantities
from services.planner.reading.rubric import read_criteria, read_grader_kinds
from services.planner.reading.said import Said
from services.planner.reading.shape import shape_to_start
from services.planner.reading.signals import read_signals, withdrawn
from services.planner.reading.steps import read_steps
from services.planner.reading.task import read_task
from services.planner.vocabulary import Command, Shape, Signal, Task

PROBLEM_WORDS_MIN = 3
PROBLEM_LETTERS_MIN = 8
"""In scripts that put no spaces between words."""
PROBLEM_CHARACTERS_MAX = 2000
TELLING_WORDS_MIN = 2
"""A sentence that holds a setting belongs to the problem only if it says so much besides."""
STEPS = (Command.SMALLER_MODEL, Command.LARGER_MODEL)
COUNT_MIN = 10
"""Fewer rows than this count only next to words about examples."""
CONTENT_CHECKS = frozenset({"numeric", "unit_tests", "exact_match", "math", "tool_call"})
"""Parts of a reward that the goal itself decides."""
INSTEAD = re.compile(
    r"\b(?:instead|actually|rather|changed? (?:our|my) minds?|from now on|no longer|"
    r"statt(?:dessen)?|doch lieber|"
    r"plutot|en fait|en realidad|mejor|em vez|na verdade|invece|in plaats)\b|代わりに|やっぱり"
)
"""What makes a later message state the task anew."""
VAGUE_TASKS = frozenset({Task.DIALOGUE, Task.GENERATION})
"""What `a bot` and `write` sound like before anybody says what for."""
ANSWER_WORDS_MAX = 14
"""Longer messages do not answer a question for one figure."""
FILLERS = frozenset(
    re.findall(
        r"\w+",
        "i we you it this that must should would could can need want like be is are use make with "
        "a an the and or of to at for in on by please let have has set take keep least most "
        "right correct exactly answers about instead only from",
    )
)
"""Words that tell nothing about a problem."""


class DeterministicReader:
    """Reads by phrases: the same message gives the same patch, with no model at all."""

    def __init__(self, base_models: Collection[str]) -> None:
        """Keep the base models that a message may name, by id, and read all phrases once."""
        self._base_models = tuple(base_models)
        for language in LANGUAGES:
            lexicon(language)

    def read(self, message: str, brief: Brief) -> BriefPatch:
        """Return what a message adds to the brief."""
        read = read_message(message, brief.language)
        technique = wishes.read_technique(read)
        wish = read_commands(read, brief, technique)
        stating = read if not wish.asking else _without(read, wish.asking)
        settings = read_settings(
            read, (technique or brief.technique) in ("RLVR", "RLAIF"), set(wish.asking)
        )
        named = named_base_model(stating, self._base_models)
        spans = _with_model(settings, named)
        said = read_data(
            stating, spans, technique or brief.technique, brief.open_question == TARGET_PATH
        )
        target, notes = _target(stating, brief, said, spans)
        task = _task(stating, brief, wish, said)
        signals = read_signals(stating, brief, said, task)
        conflict = find_conflict(stating, brief, said, technique, signals)
        if conflict:
            signals.add(Signal.CONFLICTING_WISHES)
        criteria, removed = read_criteria(stating, brief)
        if {each.name for each in criteria} & CONTENT_CHECKS:
            signals.discard(Signal.REWARD_IS_FORM)
        base = said.base_success
        if base is None and stating.says("signals", "never_succeeds"):
            base = 0.0
        said = replace(said, shape=shape_to_start(read, said.shape, base))
        bound = _bound(stating, signals, named is not None)
        # A stated size says which model; a step from the present one would miss it.
        command = None if bound is not None and wish.command in STEPS else wish.command
        problem, problem_notes = _problem(stating, brief, wish, settings, said, task)
        return BriefPatch(
            problem=None if Signal.ASKS_CAPABILITY in signals else problem,
            users=wishes.read_users(read),
            task=task,
            languages=_languages(stating, task, said, brief),
            target=target,
            target_delegated=target is None and wishes.is_delegated(read, brief),
            output_kind="json" if wishes.JSON.search(stating.folded) else None,
            technique=None if _is_kept(brief, wish, technique) else technique,
            method=wishes.read_method(stating),
            base_model=named[0] if named else None,
            parameters_max_b=bound,
            alias=wishes.read_alias(stating),
            deadline_s=wishes.read_deadline(stating, brief),
            cost_cap_micro_usd=wishes.read_budget(stating),
            data_shape=said.shape,
            data_row_count=_row_count(said, brief),
            text_megabytes=said.text_megabytes,
            base_success=base,
            label_error_share=said.label_error_share,
            holdout_rows=said.holdout_rows,
            judge_model=judge_model(stating),
            conflict=conflict,
            language=read.language,
            grader_kinds=read_grader_kinds(stating),
            criteria=criteria,
            criteria_removed=removed,
            overrides=settings.overrides,
            released=wish.released,
            factors=read_steps(stating, set(settings.overrides)),
            signals=frozenset(signals),
            signals_withdrawn=frozenset(withdrawn(brief, signals)),
            command=command,
            explain_paths=wish.explain_paths,
            restore_revision=wish.restore_revision,
            only=wish.only,
            agreement=wish.agreement,
            notes=(*settings.notes, *notes, *problem_notes),
        )


def _without(message: Message, asking: Collection[Sentence]) -> Message:
    """Return a message without the sentences that only ask."""
    rest = tuple(sentence for sentence in message.sentences if sentence not in asking)
    return Message("\n".join(each.text for each in rest), rest, message.language)


def _with_model(
    settings: Settings, named: tuple[str, Sentence] | None
) -> dict[Sentence, list[tuple[int, int]]]:
    """Return the places of settings, and that of the base model's name."""
    spans = {sentence: list(places) for sentence, places in settings.spans.items()}
    if named:
        model, sentence = named
        short = model.rsplit("/", 1)[-1].lower()
        start = sentence.folded.find(short)
        if start >= 0:
            spans.setdefault(sentence, []).append((start, start + len(short)))
    return spans


def _is_kept(brief: Brief, wish: Wish, technique: str | None) -> bool:
    """Return whether a technique was only asked about, not wished for."""
    return wish.command is Command.EXPLAIN or technique is None


def _task(message: Message, brief: Brief, wish: Wish, said: Said) -> Task | None:
    """Return the task; a plan that has one keeps it unless a message restates it."""
    if wish.command in (Command.RESTORE, Command.PROPOSE_NOW, Command.EXPERT_REVIEW):
        return None
    task = read_task(message, said.shape)
    restated = INSTEAD.search(message.folded) and _says_much(message)
    answered = brief.open_question == PROBLEM_PATH or brief.task in VAGUE_TASKS
    if brief.task and not (task and (restated or (answered and not brief.data_shape))):
        return None
    return task


def _says_much(message: Message) -> bool:
    return len(message.text) >= 50 and not message.says("commands", "only")


def _target(
    message: Message, brief: Brief, said: Said, taken: Mapping[Sentence, list[tuple[int, int]]]
) -> tuple[float | None, tuple[str, ...]]:
    """Return the share to reach, and what has to be said when an answer is none."""
    if said.target is not None or brief.open_question != TARGET_PATH:
        return said.target, ()
    found = [
        quantity
        for sentence in message.sentences
        for quantity in quantities(sentence.folded, message.language)
        if not any(
            quantity.start < end and start < quantity.end for start, end in taken.get(sentence, [])
        )
    ]
    # A long message, or one with a setting, speaks of something else than what was asked.
    if len(found) != 1 or any(taken.values()) or len(message.text.split()) > ANSWER_WORDS_MAX:
        return None, ()
    # Asked for a share, people answer `85` and mean percent.
    value = found[0].value
    if not found[0].is_share and 1 < value <= 100:
        value /= 100
    if 0 < value <= 1:
        return value, ()
    text = message.text[:40]
    return None, (f"'{text}' is not a share between 0 and 100 %, so it was left aside.",)


def _row_count(said: Said, brief: Brief) -> int | None:
    """Return the rows that were described: a number alone, without a shape, describes none."""
    if said.shape in (Shape.NONE, Shape.TEXT):
        return 0 if said.shape is Shape.NONE else None
    known = said.shape or brief.data_shape
    return said.row_count if known or (said.row_count or 0) >= COUNT_MIN else None


def _bound(message: Message, signals: set[Signal], is_named: bool) -> float | None:
    """Return the largest base in billions of parameters (rules B1 and B2), or None."""
    stated = None if is_named else size_bound(message)
    if Signal.DEVICE_SMALL in signals:
        return min(stated or DEVICE_PARAMETERS_MAX_B, DEVICE_PARAMETERS_MAX_B)
    return stated


def _languages(message: Message, task: Task | None, said: Said, brief: Brief) -> tuple[str, ...]:
    """Return the languages that the model must read or write.

    Those that are named count; a first message that names none is in the language of its answers,
    unless that is English, which every base model knows.
    """
    named: list[str] = []
    for sentence in message.sentences:
        named += [code for _, code in named_languages(sentence.folded, message.language)]
    found = tuple(dict.fromkeys(named))
    if brief.languages or brief.problem:
        return found
    if message.language != "en" and message.language not in found:
        found = (*found, message.language)
    return found


def _problem(
    message: Message,
    brief: Brief,
    wish: Wish,
    settings: Settings,
    said: Said,
    task: Task | None,
) -> tuple[str | None, tuple[str, ...]]:
    """Return what the model should do, and a note when it had to be shortened."""
    if wish.agreement is not None or wish.command in (Command.RESTORE, Command.PROPOSE_NOW):
        return None, ()
    adds = bool(brief.problem) and task is not None and (not brief.task or task != brief.task)
    if brief.problem and brief.open_question != PROBLEM_PATH and not adds:
        return None, ()
    dense = message.language in ("ja", "zh", "th")
    text = ("" if dense else " ").join(_telling(message, settings, said))
    if len(text) < PROBLEM_LETTERS_MIN if dense else len(text.split()) < PROBLEM_WORDS_MIN:
        return None, ()
    if adds:
        text = f"{brief.problem} {text}"
    if len(text) <= PROBLEM_CHARACTERS_MAX:
        return text, ()
    cut = text[:PROBLEM_CHARACTERS_MAX].rsplit(" ", 1)[0]
    return cut, (f"The problem was shortened to {PROBLEM_CHARACTERS_MAX:,} characters.",)


def _telling(message: Message, settings: Settings, said: Said) -> list[str]:
    """Return the sentences that say more than the settings in them, and give no orders."""
    found = []
    for sentence in message.sentences:
        taken = [*settings.spans.get(sentence, []), *said.spans.get(sentence, [])]
        left = list(sentence.folded)
        for start, end in taken:
            left[start:end] = " " * (end - start)
        words = re.findall(r"[^\W\d_]{2,}", "".join(left))
        telling = [word for word in words if word not in FILLERS]
        gives_orders = any(
            True
            for words_of in message.lexicons
            for name in ("claimed_authority", "skip_approval")
            for _ in words_of.matches("signals", name, sentence.folded)
        )
        if telling and not gives_orders and (not taken or len(telling) >= TELLING_WORDS_MIN):
            found.append(sentence.text)
    return found
