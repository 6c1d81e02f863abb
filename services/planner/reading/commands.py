"""What a message asks to be done with a plan that exists."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.planner.brief import Brief
from services.planner.reading.hyperparameters import CHANGES
from services.planner.reading.lexicon import lexicon
from services.planner.reading.message import Message, Sentence
from services.planner.reading.quantities import quantities
from services.planner.vocabulary import Command

BARE_WORDS_MAX = 6
"""A message this short is taken as nothing but the answer or the wish it holds."""
FIRST = re.compile(
    r"\b(?:first|original|initial|beginning|start|erste[nrs]?|ursprunglich\w*|anfang|premier\w*|"
    r"origine|initiale?|primer[ao]?|"
    r"primeir[ao]|prim[ao]|originale?|iniziale|eerste|oorspronkelijke)\b|最初|第一|元の"
)
ORDER = (
    (
        2,
        re.compile(r"\b(?:second|zweite[nrs]?|deuxieme|segund[ao]|second[ao]|tweede)\b|2番目|第二"),
    ),
    (
        3,
        re.compile(
            r"\b(?:third|dritte[nrs]?|troisieme|tercer[ao]?|terceir[ao]|terz[ao]|derde)\b|3番目|第三"
        ),
    ),
)
NUMBERED = re.compile(
    r"\b(?:revision|version|rev|plan|spec|v|entwurf|versao|versione|versie)\s?(?:no\.? |number |"
    r"nr\.? |#)?(\d{1,3})\b|(?:版|プラン)(\d{1,3})"
)
REQUEST = re.compile(
    r"\b(?:can|could|would|will) (?:you|we)\b.{0,20}\b(?:set|change|use|make|try|lower|raise|"
    r"switch|drop|add|keep|take|go)\b|"
    r"\b(?:kannst|konnten|konnen) (?:du|sie|wir)\b|peux-tu|pouvez-vous|puedes|podemos|pode|puoi|"
    r"kun je"
)
OPINION = re.compile(
    r"(?:so |and |but )?(?:is|are|isn't|aren't|does|do|did|would|should|how (?:long|much|many|"
    r"big|good)|ist|sind|ware|soll|"
    r"est-ce|est|sera|serait|faut-il|es|seria|conviene|deveria|sarebbe|conviene|zou|is het)\b"
)
HYPOTHETICAL = re.compile(
    r"\bwhat (?:would|will|happens?|if)\b|\bwould (?:it|that|this)\b|\bwas (?:ware|wurde|"
    r"passiert)|que se passe|que pasaria|o que aconteceria|cosa succede|wat gebeurt|どうな"
)


GIVEN_BACK = re.compile(
    r"\b(?:back to (?:what (?:you|it) (?:had|was|proposed|suggested)|(?:your|the) (?:own |old )?"
    r"(?:values?|choice|default|proposal|recommend\w+))|your own (?:value|choice)|"
    r"as you (?:had|proposed|suggested|recommended)(?: it)?|"
    r"(?:zuruck auf|wieder) (?:deinen|ihren|den) (?:wert|vorschlag|vorgeschlagenen)|"
    r"(?:remets|remettez)\b.{0,30}\b(?:ta|votre) (?:valeur|proposition)|"
    r"(?:vuelve|volver) a (?:tu|su) (?:valor|propuesta))\b"
)
"""What gives a value back to the planner."""


@dataclass(frozen=True)
class Wish:
    """What is to be done."""

    command: Command | None = None
    explain_paths: tuple[str, ...] = ()
    restore_revision: int | None = None
    only: bool = False
    agreement: bool | None = None
    asking: frozenset[Sentence] = frozenset()
    """Sentences that only ask, and so change nothing."""
    released: frozenset[str] = frozenset()
    """Fields that the planner shall decide again."""


def read_commands(message: Message, brief: Brief, technique: str | None) -> Wish:
    """Return what a message asks to be done.

    Args:
        message: What was said.
        brief: What is known; while it has no problem there is no plan to act on.
        technique: The one that the message names.
    """
    has_plan = bool(brief.problem or brief.data_shape or brief.dataset)
    asking = frozenset(each for each in message.sentences if _only_asks(message, each, has_plan))
    agreement = _agreement(message)
    command, revision = _command(message, asking, has_plan, technique)
    explains = command is Command.RESTORE and message.says("commands", "explain")
    explains = explains or command is Command.EXPLAIN
    paths = tuple(_paths(message, brief)) if explains else ()
    released = _released(message, brief)
    if released and command is Command.RESTORE:
        command, revision = None, None
    only = message.says("commands", "only") and has_plan
    return Wish(command, paths, revision, only, agreement, asking, released)


def _released(message: Message, brief: Brief) -> frozenset[str]:
    """Return fields whose values a sentence gives back to the planner."""
    found: set[str] = set()
    for sentence in message.sentences:
        if GIVEN_BACK.search(sentence.folded):
            found.update(_paths(Message(sentence.text, (sentence,), message.language), brief))
    return frozenset(found)


def _command(
    message: Message, asking: frozenset[Sentence], has_plan: bool, technique: str | None
) -> tuple[Command | None, int | None]:
    if message.says("commands", "propose_now") and not message.says("commands", "restore"):
        return Command.PROPOSE_NOW, None
    if not has_plan:
        return None, None
    if message.says("commands", "restore"):
        return Command.RESTORE, _revision(message)
    if message.says("commands", "expert_review"):
        return Command.EXPERT_REVIEW, None
    if technique and message.says("commands", "compare_technique"):
        return Command.COMPARE_TECHNIQUE, None
    for sentence in message.sentences:
        if sentence in asking:
            continue
        for command in (Command.SMALLER_MODEL, Command.LARGER_MODEL):
            for words in message.lexicons:
                if any(True for _ in words.matches("commands", command.value, sentence.folded)):
                    return command, None
    if asking or message.says("commands", "explain"):
        return Command.EXPLAIN, None
    return None, None


def _only_asks(message: Message, sentence: Sentence, has_plan: bool) -> bool:
    """Return whether a sentence asks about the plan and dictates nothing."""
    if not has_plan or REQUEST.search(sentence.folded):
        return False
    explains = any(
        True
        for words in message.lexicons
        for _ in words.matches("commands", "explain", sentence.folded)
    )
    if sentence.is_question and (
        HYPOTHETICAL.search(sentence.folded) or OPINION.match(sentence.folded)
    ):
        return True
    return explains and (sentence.is_question or not CHANGES.search(sentence.folded))


def _revision(message: Message) -> int:
    """Return the revision that is to come back; -1 for the one before the newest."""
    folded = message.folded
    if numbered := NUMBERED.search(folded):
        return int(numbered[1] or numbered[2])
    if FIRST.search(folded):
        return 1
    for revision, pattern in ORDER:
        if pattern.search(folded):
            return revision
    return -1


def _paths(message: Message, brief: Brief) -> list[str]:
    """Return the fields of the spec that a message asks about."""
    found: list[str] = []
    for name in lexicon("en").names("paths"):
        if message.says("paths", name):
            path = f"stages.0.{name}" if name.startswith(("hyperparameters", "technique")) else name
            path = f"stages.0.{name}" if name in ("method", "reward.graders") else path
            found.append(path)
    beta = "stages.0.hyperparameters.dpo.beta"
    if beta in found and brief.technique in ("RLVR", "RLAIF"):
        found[found.index(beta)] = "stages.0.hyperparameters.rl.kl_coefficient"
    return found


def _agreement(message: Message) -> bool | None:
    """Return a bare yes or no, or None when the message says more."""
    words = message.folded.split()
    short = len(words) <= BARE_WORDS_MAX and len(message.folded) <= 60
    if not short or "?" in message.text or quantities(message.folded, message.language):
        return None
    opening = message.folded.strip(" !.,")
    for words_of in message.lexicons:
        for name, value in (("agree", True), ("refuse", False)):
            for match in words_of.places("commands", name, opening):
                if match.start() == 0:
                    return value
    return None
