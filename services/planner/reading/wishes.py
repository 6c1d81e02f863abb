"""Limits and names that a message asks for: deadline, budget, alias, technique, method."""

from __future__ import annotations

import re

from services.planner.brief import TARGET_PATH, Brief
from services.planner.reading.clock import clock_deadline
from services.planner.reading.message import Message
from services.planner.reading.quantities import digits_value, duration_after, quantities

ALIAS = re.compile(
    r"\b(?:call it|name it|alias(?:ed)?(?: is| to|:| as)?|deploy(?:ed)?(?: it)? as|"
    r"under the name|nenne es|"
    r"appelle[- ]le|llamalo|chama-o|chiamalo|"
    r"noem het)\s+[\"'`]?([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?![a-z0-9-])"
)
USERS = re.compile(r"\b(?:used by|users (?:are|will be)|users:)\s+([^.;\n]{2,300})", re.I)
DEADLINE = re.compile(
    r"(?:\b(?:deadline|ready|done|finish(?:ed|es)?|trained|time limit|i (?:only )?have|"
    r"we (?:only )?have|only|launch|demo|go live|due|"
    r"must be|need it|want it|wants it|by then|frist|fertig|bis zur|zeit|habe nur|haben nur|"
    r"nur noch|spatestens|echeance|delai|pret|"
    r"plazo|listo|tengo|tenemos|solo|antes de|prazo|pronto|tenho|temos|so|scadenza|ho solo|"
    r"abbiamo|entro|klaar|"
    r"heb|hebben|binnen)\b|締め切り|期限|までに|以内|あと|只有|截止)[^.;\n]{0,34}$"
)
UNTIL = re.compile(
    r"\s*(?:from now|until|till|before|left|to go|max\b|at most|bis|avant|jusqu|hasta|antes|ate|"
    r"fino|prima|tot|voor|あり|しか|以内|で|内)"
)
WITHIN = re.compile(
    r"\b(?:within|in under|no longer than|at most|in at most|innerhalb von|in hochstens|"
    r"hochstens|en moins de|dans|"
    r"en menos de|dentro de|em menos de|in meno di|binnen)\s*$"
)
NO_DEADLINE = re.compile(
    r"\b(?:last|past|previous|for|over|after|every|per|each|of the last|vergangenen|letzten|seit|"
    r"derniers?|dernieres|ultim[oa]s|ultimi)\s*$"
)
NO_DEADLINE_AFTER = re.compile(
    r"\s*(?:of|worth|ago|old|long|alt|lang|von|de (?:tickets|datos|donnees)|fa|前の?)"
)
BARE = re.compile(r"(?:(?:with)?in|at most|under|no longer than)?\s*$")
MONEY = (
    r"(?:(?P<sign>[$€£]|usd|eur|us\$)\s?(?P<a>\d[\d.,]{0,9}\d|\d)|(?P<b>\d[\d.,]{0,9}\d|"
    r"\d)\s?(?:usd|us dollars|dollars?|us\$|euros?|eur|[$€£]|dolares|ドル))(?P<k>k?)(?!\w)"
)
BUDGET = re.compile(
    r"(?:\b(?:budget|spend|spending|costs?(?: cap| limit)?|pay|at most|no more than|less than|"
    r"up to|cap|limit|"
    r"ausgeben|kosten|hochstens|depenser|couter|gastar|costar|presupuesto|orcamento|custar|"
    r"spendere|uitgeven)\b|予算)"
    rf"[^.;\n]{{0,28}}?{MONEY}"
)
BARE_BUDGET = re.compile(MONEY)
TECHNIQUES = (
    ("RLAIF", r"rlaif|ai feedback|reinforcement learning (?:from|with) (?:ai|a judge)"),
    ("KTO", r"kto"),
    (
        "DPO",
        r"dpo|orpo|simpo|(?:direct )?preference[ -](?:optimi[sz]ation|tuning|learning|"
        r"training)|praferenz\w*|aprendizaje por preferencias",
    ),
    (
        "RLVR",
        r"rlvr|grpo|ppo|rft|reinforcement (?:learning|fine-?tuning)|rl(?= on| with|,| for| run|$|"
        r"\.)|bestarkendes? lernen|apprentissage par renforcement|aprendizaje por refuerzo|"
        r"aprendizado por reforco|強化学習|强化学习",
    ),
    (
        "pretraining",
        r"(?:continued|continual|further|domain)[ -]?(?:adaptive )?pre-?training|"
        r"continued pre-?train\w*|cpt|pre-?train\w* (?:it |the model )?on|weiter\w* vortrain\w*",
    ),
    (
        "SFT",
        r"sft(?! (?:model|checkpoint|baseline|policy|weights|runs?)\b)|"
        r"supervised(?:[ -]fine-?tun\w+| learning| training)?|instruction[ -]tuning|"
        r"uberwacht\w*|supervisado|supervise|教師あり",
    ),
)
METHODS = (
    ("QLoRA", r"q-?lora|4-?bit lora|nf4"),
    ("DoRA", r"dora"),
    (
        "full",
        r"full(?:[ -](?:parameter|weight))?[ -](?:fine-?tun\w+|sft|training|ft|update)|fft|"
        r"all (?:the )?weights|vollstandiges? fine-?tuning|fine-?tuning complet[oa]?|"
        r"ajuste completo|フルファインチューニング",
    ),
    ("LoRA", r"lora|low-rank adapt\w+|adapters?"),
)
NAMED_TECHNIQUES = tuple(
    (title, re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")) for title, words in TECHNIQUES
)
NAMED_METHODS = tuple(
    (title, re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")) for title, words in METHODS
)
REFUSED = re.compile(
    r"\b(?:not|no|never|without|rather than|instead of|kein\w*|nicht|statt|sans|pas de|sin|sem|"
    r"niet|geen)\s(?:\w+\s){0,2}$"
)
JSON = re.compile(r"\bjson\b")


def read_deadline(message: Message, brief: Brief) -> int | None:
    """Return the longest time to the result in seconds, or None.

    A duration counts when the words around it speak of being ready; in a first message `within two
    hours` may be part of the problem itself.
    """
    if message.language == "en" and (clock := clock_deadline(message.folded)):
        return clock
    for sentence in message.sentences:
        folded = sentence.folded
        for quantity in quantities(folded, message.language):
            found = duration_after(folded, quantity)
            if found is None:
                continue
            seconds, end = found
            before, after = folded[max(0, quantity.start - 60) : quantity.start], folded[end:]
            if NO_DEADLINE.search(before) or NO_DEADLINE_AFTER.match(after):
                continue
            alone = BARE.fullmatch(before) and not after.strip(" .!。")
            within = brief.problem and WITHIN.search(before)
            if DEADLINE.search(before) or alone or within or UNTIL.match(after):
                return seconds
        if re.search(
            r"\b(?:an|one|eine|une|una|uma) (?:hour|stunde|heure|hora|ora)\b", folded
        ) and (DEADLINE.search(folded.split("hour")[0]) or UNTIL.search(folded)):
            return 3600
        if re.search(
            r"\b(?:within|in|by) (?:a day|tomorrow)\b|\bbis morgen\b|pour demain|para manana|"
            r"para amanha|entro domani|明日まで",
            folded,
        ):
            return 86400
    return None


def read_budget(message: Message) -> int | None:
    """Return the highest cost in millionths of a US dollar, or None."""
    for sentence in message.sentences:
        whole = BARE_BUDGET.fullmatch(sentence.folded.strip(" .!"))
        match = BUDGET.search(sentence.folded) or whole
        if match:
            value = digits_value(match["a"] or match["b"], message.language)
            return round(value * (1000 if match["k"] else 1) * 1_000_000)
    return None


def read_alias(message: Message) -> str | None:
    """Return the alias to serve under, or None."""
    match = ALIAS.search(message.text)
    return match[1] if match else None


def read_users(message: Message) -> str | None:
    """Return who uses the answers, or None."""
    match = USERS.search(message.text)
    return match[1].strip() if match else None


def read_technique(message: Message) -> str | None:
    """Return the technique that is named and not refused, or None."""
    return _named(message, NAMED_TECHNIQUES)


def read_method(message: Message) -> str | None:
    """Return the method that is named and not refused, or None."""
    return _named(message, NAMED_METHODS)


def is_delegated(message: Message, brief: Brief) -> bool:
    """Return whether an open question about the target is left to the planner."""
    asked = brief.open_question == TARGET_PATH and read_method(message) is None
    return asked and message.says("commands", "delegate")


def _named(message: Message, titles: tuple[tuple[str, re.Pattern[str]], ...]) -> str | None:
    for title, pattern in titles:
        for sentence in message.sentences:
            for match in pattern.finditer(sentence.folded):
                if not REFUSED.search(sentence.folded[: match.start()]):
                    return title
    return None
