"""Facts and wishes in a message that rules look for, and wishes that exclude each other."""

from __future__ import annotations

import re

from services.planner.brief import Brief
from services.planner.reading.harm import combines_to_harm
from services.planner.reading.message import Message, Sentence
from services.planner.reading.said import Said
from services.planner.reading.shape import lacks_answers
from services.planner.vocabulary import Shape, Signal, Task

PLAIN = (
    Signal.CITATIONS,
    Signal.FACTS_WANTED,
    Signal.LABELS_CONTRADICT,
    Signal.AGREEMENT_BY_CHANCE,
    Signal.TACIT_JUDGEMENT,
    Signal.NO_RIGHTS,
    Signal.NO_CONSENT,
    Signal.PROVIDER_OUTPUTS,
    Signal.NOTHING_TRIED,
    Signal.PROMPT_FALLS_SHORT,
    Signal.PROMPT_SUFFICES,
    Signal.LOW_VOLUME,
    Signal.HIGH_VOLUME,
    Signal.ONE_OFF,
    Signal.UNSETTLED,
    Signal.EDITED_DRAFTS,
    Signal.RUBRIC_AGREED,
    Signal.NO_DEMONSTRATIONS,
    Signal.REWARD_IS_FORM,
    Signal.WANTS_LENGTH,
    Signal.UNSAFE_GRADER,
    Signal.PERSONAL_DATA,
    Signal.PERSONAL_DATA_REMOVED,
    Signal.DATA_STAYS_LOCAL,
    Signal.DEVICE_SMALL,
    Signal.COMMERCIAL_USE,
    Signal.PERMISSIVE_LICENCE,
    Signal.INFRASTRUCTURE_NAMED,
    Signal.CLAIMED_AUTHORITY,
    Signal.SKIP_APPROVAL,
    Signal.DROP_HOLDOUT,
    Signal.INSISTS,
    Signal.NOT_CHECKABLE,
    Signal.THUMBS_UNPAIRED,
    Signal.IMBALANCED,
    Signal.NO_ACCESS,
    Signal.CAPABILITY_NEEDS_SIZE,
)
"""Signals for which a phrase is enough."""

OPPOSITES = (
    (Signal.PERSONAL_DATA_REMOVED, Signal.PERSONAL_DATA),
    (Signal.PROMPT_FALLS_SHORT, Signal.PROMPT_SUFFICES),
    (Signal.PROMPT_FALLS_SHORT, Signal.NOTHING_TRIED),
)
"""The first of each takes the second back."""

HARDWARE = re.compile(
    r"(?<![\w-])(?:\d{1,4}\s?x\s?)?(?:a10g?|a100s?|a6000|h100s?|h200s?|h800|b200s?|gb200|l40s?|"
    r"l4|t4|v100s?|"
    r"mi\d{3}x?|rtx ?\d{4}\w*|(?:rtx )?[345]090s?|tpu ?v\d\w?|trainium\d?|gaudi ?\d?|"
    r"ml\.[a-z]\w+\.\w+|[gp]\d\w{0,3}\.\w{0,6}xlarge)(?![\w-])"
)
RETRAINS = re.compile(r"\b(?:re-?train|train|fine-?tune|update|refresh|change)\w*")
"""What makes `once a quarter` the pace of something else than use."""
MACHINES = re.compile(r"\b(?:machines?|servers?|computers?|cluster|gpus?|room|slots?|hardware)\b")
"""What may belong to others without the rows doing so."""
NOT_HELD = re.compile(
    r"\b(?:do ?n[o']?t|never|did ?n[o']?t) (?:have|get|got|hold) (?:them|those|these|it)\b"
)
"""What belongs to others and is not at hand is not trained on."""
HANDED_OVER = re.compile(
    r"\s*(?:texts?|copy|titles?|layouts?|that (?:was|were|we|she|he|they)\b|(?:was |we )?sent|"
    r"to (?:a|the|our|it)\b|in (?:the|a|our|its) prompt|"
    r"of (?:\w+ )?(?:rules|criteria|points|text))"
)
"""Behind `the page`: it is written or handed over, not cited."""
STABLE = re.compile(
    r"\b(?:style|tone|format|voice|wording|layout|structure|categories|labels|rules|way)\b"
    r" [\w ]{0,16}?(?:stays?|remains?|is fixed|are fixed|is stable|never changes?|"
    r"does ?n[o']t change|do ?n[o']t change|is the same|are the same)\b"
)
"""What is said to stay, whatever else changes."""
LOW_PER_WEEK = 30
"""Uses per week up to which a volume is low: some dozen."""
HIGH_PER_WEEK = 20_000
CALIBRATION_MIN = 50
"""Scored answers that a judge is compared with, at least."""
LABEL_ERROR_MIN = 0.05
CHANCE_MARGIN = 0.15
SUFFICIENT = 0.97
"""Share from which nothing is left to learn when no target was named."""
GREETING_WORDS_MAX = 24
FORM_RULES_MIN = 2
"""So many rules about length, beginning, end or characters make a check one of form."""
OBJECT_CHARACTERS = 15
"""How far behind what is harmful the rest of its object may stand, as in `antivirus detection`."""

OPENING_CHARACTERS = 12
"""How far into its sentence the word stands that says what is to be done."""


def read_signals(message: Message, brief: Brief, said: Said, task: Task | None) -> set[Signal]:
    """Return what is noticed in a message.

    Args:
        message: What was said.
        brief: What was known before.
        said: What it says about data and success.
        task: The task that it describes.
    """
    found = {signal for signal in PLAIN if message.says("signals", signal.value)}
    if lacks_answers(message):
        found.add(Signal.NO_DEMONSTRATIONS)
    if Signal.LOW_VOLUME in found and all(
        RETRAINS.search(sentence.folded) for sentence, _ in message.find("signals", "low_volume")
    ):
        found.discard(Signal.LOW_VOLUME)
    if Signal.NO_RIGHTS in found and all(
        MACHINES.search(sentence.folded) for sentence, _ in message.find("signals", "no_rights")
    ):
        found.discard(Signal.NO_RIGHTS)
    if Signal.NO_RIGHTS in found and all(
        NOT_HELD.search(sentence.folded) for sentence, _ in message.find("signals", "no_rights")
    ):
        found.discard(Signal.NO_RIGHTS)
    if Signal.CITATIONS in found and all(
        HANDED_OVER.match(sentence.folded, match.end())
        for sentence, match in message.find("signals", "citations")
    ):
        found.discard(Signal.CITATIONS)
    if HARDWARE.search(message.folded):
        found.add(Signal.INFRASTRUCTURE_NAMED)
    found |= _changing(message)
    found |= _from_figures(brief, said)
    if message.says("shapes", Shape.PROMPTS_WITH_CHECK.value):
        found.add(Signal.CHECK_BY_CODE)
    if Signal.NOT_CHECKABLE in found:
        found.discard(Signal.CHECK_BY_CODE)
    elif _checks_form(message, said):
        found |= {Signal.REWARD_IS_FORM, Signal.CHECK_BY_CODE}
    if _is_harmful(message):
        found.add(Signal.HARMFUL)
    unshaped = said.shape in (None, Shape.NONE)
    if (unshaped and message.says("signals", "out_of_scope")) or message.says(
        "signals", "other_media"
    ):
        found.add(Signal.OUT_OF_SCOPE)
    if _asks_capability(message, brief, said, task):
        found.add(Signal.ASKS_CAPABILITY)
    if _answers_missing(message, brief, said, found):
        found.add(Signal.ANSWERS_MISSING)
    if Signal.FACTS_WANTED in found and said.shape in (Shape.PAIRS, Shape.RATINGS):
        found.discard(Signal.FACTS_WANTED)
    # Who shows how people answered wants the answers; the facts must be wished for by name.
    counted = said.shape is None and said.row_count is not None and said.text_megabytes is None
    shown = said.shape is Shape.DEMONSTRATIONS or counted
    if shown and not message.says("signals", "facts_by_heart"):
        found.discard(Signal.FACTS_WANTED)
    for stronger, weaker in OPPOSITES:
        if stronger in found:
            found.discard(weaker)
    return found


def withdrawn(brief: Brief, found: set[Signal]) -> set[Signal]:
    """Return earlier signals that new ones take back."""
    gone = {weaker for stronger, weaker in OPPOSITES if stronger in found}
    gone |= {
        stronger for stronger, weaker in OPPOSITES if weaker in found and stronger not in found
    }
    gone.discard(Signal.PERSONAL_DATA_REMOVED)
    if Signal.HIGH_VOLUME in found:
        gone.add(Signal.LOW_VOLUME)
    return gone & brief.signals


def _changing(message: Message) -> set[Signal]:
    """Return whether facts, or the wish itself, change at a pace that a sentence names."""
    found: set[Signal] = set()
    if message.says("pace", "in_prompt"):
        return found
    if message.says("signals", "volatile_facts"):
        found.add(Signal.VOLATILE_FACTS)
    for sentence in message.sentences:
        if not _says(message, sentence, "fast"):
            continue
        changes = _says(message, sentence, "change")
        stable = STABLE.search(sentence.folded)
        if changes and not stable and _says(message, sentence, "behaviour"):
            found.add(Signal.UNSETTLED)
        elif (changes or _says(message, sentence, "change_facts")) and _says(
            message, sentence, "volatile"
        ):
            found.add(Signal.VOLATILE_FACTS)
    return found


def _says(message: Message, sentence: Sentence, name: str) -> bool:
    return any(
        True for words in message.lexicons for _ in words.matches("pace", name, sentence.folded)
    )


def _from_figures(brief: Brief, said: Said) -> set[Signal]:
    found: set[Signal] = set()
    base = said.base_success if said.base_success is not None else brief.base_success
    target = said.target if said.target is not None else brief.target
    spoken = said.base_success is not None or said.target is not None
    if spoken and base is not None:
        if base >= (target if target is not None else SUFFICIENT):
            found.add(Signal.PROMPT_SUFFICES)
        elif said.base_success is not None:
            found.add(Signal.PROMPT_FALLS_SHORT)
    if said.uses_per_week is not None:
        if said.uses_per_week <= LOW_PER_WEEK:
            found.add(Signal.LOW_VOLUME)
        elif said.uses_per_week >= HIGH_PER_WEEK:
            found.add(Signal.HIGH_VOLUME)
    if (said.scored_count or 0) >= CALIBRATION_MIN:
        found.add(Signal.JUDGE_CALIBRATED)
    if (said.label_error_share or 0) >= LABEL_ERROR_MIN:
        found.add(Signal.LABELS_CONTRADICT)
    if said.agreement is not None:
        chance = 1 / said.label_count if said.label_count else 0.35
        if said.agreement <= chance + CHANCE_MARGIN:
            found |= {Signal.AGREEMENT_BY_CHANCE, Signal.LABELS_CONTRADICT}
    if said.largest_label_share is not None:
        found.add(Signal.IMBALANCED)
    return found


def _is_harmful(message: Message) -> bool:
    """Return whether the purpose is to harm: what is made counts, not which words occur.

    A sentence that makes something harmful does not count where the message is about finding,
    labelling or preventing it.
    """
    if combines_to_harm(message):
        return True
    if message.says("signals", "harmful_purpose"):
        return not _is_defence(message, "harmful_purpose", 2)
    return message.says("signals", "harmful_making") and not _is_defence(
        message, "harmful_making", 1
    )


def _is_defence(message: Message, harm: str, least: int) -> bool:
    """Return whether enough words of defence stand outside what is harmful.

    Who wants to get past detection speaks of detection, too.
    """
    spans = [(sentence.folded, *match.span()) for sentence, match in message.find("signals", harm)]
    places = {
        (match[0], half)
        for sentence, match in message.find("signals", "harmless_context")
        # A sentence that opens with what it does says so more clearly than any word behind it.
        for half in range(2 if match.start() <= OPENING_CHARACTERS else 1)
        if not any(
            sentence.folded == folded and start <= match.start() < end + OBJECT_CHARACTERS
            for folded, start, end in spans
        )
    }
    return len(places) >= least


def _checks_form(message: Message, said: Said) -> bool:
    """Return whether the check that is described looks at form alone: two rules or more."""
    rules = {match[0] for _, match in message.find("signals", "form_rules")}
    if len(rules) < FORM_RULES_MIN:
        return False
    checked = said.shape is Shape.PROMPTS_WITH_CHECK
    return checked or message.says("signals", "form_only")


def _asks_capability(message: Message, brief: Brief, said: Said, task: Task | None) -> bool:
    short = len(message.text.split()) <= GREETING_WORDS_MAX
    idle = said.shape is None and said.row_count is None and not brief.problem
    return bool(short and idle and task is None and message.says("signals", "asks_capability"))


def _answers_missing(message: Message, brief: Brief, said: Said, found: set[Signal]) -> bool:
    """Return whether inputs lack answers while nothing else can judge them."""
    if not message.says("signals", "answers_missing"):
        return False
    judged = {Signal.RUBRIC_AGREED, Signal.CHECK_BY_CODE} & (found | brief.signals)
    return not judged and said.shape not in (Shape.PAIRS, Shape.RATINGS, Shape.DEMONSTRATIONS)
