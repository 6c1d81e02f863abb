"""Base models that a message names, and sizes that bound them."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from services.planner.reading.message import Message, Sentence

FAMILIES = (
    "qwen|llama|meta-llama|mistral|mixtral|ministral|magistral|devstral|codestral|gemma|phi|"
    "gpt-oss|smollm|"
    "deepseek|olmo|falcon|granite|yi|glm|chatglm|kimi|nemotron|command-r|starcoder|codellama|"
    "hermes|zephyr|tinyllama|eurollm|teuken|apertus|internlm|baichuan|aya|bloomz?|pythia|stablelm|"
    "minicpm|lfm|exaone|solar|salamandra|viking|poro|occiglot|sauerkraut\\w*|leolm|t5|flan-t5|bert|"
    "modernbert|calm|swallow|elyza|rinna|gpt-neox?|gpt-j|opt|xglm|vicuna|openchat|wizard\\w*|"
    "dolphin"
)
NAMED = re.compile(
    rf"(?<![\w/.-])(?:[a-z0-9][\w.-]{{0,38}}/)?(?:{FAMILIES})"
    r"(?:(?=[\d.-])[\w.-]*\d[\w.-]*\w|(?=\d)\d[\w.-]*|(?:[ -](?:v?\d[\d.]*(?:b(?!\w))?|instruct|"
    r"base|chat|"
    r"it|coder|math|nemo|small|medium|large|mini|next|scout|maverick|thinking)(?![\w]))+)(?![\w/])",
    re.I,
)
"""A model of a known family with a version, a size or a suffix: `Qwen3-8B`, `Llama 3.1 8B`."""
HUB_ID = re.compile(
    r"(?<![\w/.:-])(?!r\d+/)[A-Za-z][\w.-]{1,38}/[A-Za-z][\w.-]*\d[\w.-]*[\w](?![\w/])"
)
"""`org/name` with a digit in the name."""
NOT_THE_BASE = re.compile(
    r"(?:written|generated|produced|made|created|answered|labell?ed|distill?ed|outputs?|answers|"
    r"replies|"
    r"completions|texts|judge[ds]?|judging|graded?|scored?|teacher|as good as|better than|beats?|"
    r"like|"
    r"than|against|instead of|not|from|compared? (?:to|with)|versus|vs\.?|our (?:current|old|big))"
    r"[\w :()]{0,16}$"
)
BASE_WORDS = re.compile(
    r"\b(?:base|start(?:ing)? from|fine-?tune|train|use|take|on|with|basis|modell)\b[^.]{0,24}$"
)

SIZE = (
    r"(?P<low>\d{1,3}(?:[.,]\d)?)\s?(?:b|billion|mrd\.?|milliarden|milliards|mil millones|"
    r"bilhoes|miliardi|miljard)?"
    r"\s?(?:-|to|and|bis|und|a|or|oder|ou|et|y|e|o|à)\s?(?P<high>\d{1,3}(?:[.,]\d)?)\s?(?:b\b|"
    r"billion\b|mrd\b|"
    r"milliarden\b)"
    r"|(?P<one>\d{1,3}(?:[.,]\d)?)\s?(?:b\b|b(?=パラ|モデル|クラス|以下|程度|级|模型|参数)"
    r"|billion (?:parameter|"
    r"param|model)|"
    r"mrd\.? parameter|milliarden parameter|milliards de parametres|mil millones de parametros|"
    r"bilhoes de parametros|miliardi di parametri|miljard parameters|十亿参数)"
)
SIZES = re.compile(rf"(?<![\w.,/-])(?:{SIZE})")
BELOW = re.compile(
    r"(?:smaller than|less than|below|under|fewer than|kleiner als|unter|weniger als|moins de|"
    r"inferieur a|"
    r"menos de|menor (?:de|que)|inferiore a|meno di|kleiner dan|minder dan|"
    r"onder)(?: (?P<about>about|around|"
    r"roughly|ca\.?|etwa|rund|environ|unos|cerca de|circa|ongeveer))?\s*$"
)
AT_MOST = re.compile(
    r"(?:at most|no (?:more|bigger|larger) than|up to|max(?:imum|imal)?\.?(?: of)?|<=|≤|"
    r"hochstens|maximal|bis zu|"
    r"au plus|au maximum|maximum|como maximo|maximo|no maximo|ate|al massimo|hooguit|maximaal|"
    r"not more than|"
    r"limit(?: of| is)?|stay (?:at|below|under))\s*$"
)
AT_MOST_AFTER = re.compile(
    r"\s*(?:or (?:less|smaller|below|fewer|under)|max\b|maximum|at most|oder (?:kleiner|weniger)|"
    r"hochstens|"
    r"ou moins|o menos|ou menos|o meno|of minder|以下|まで|tops)"
)
OTHER_MODEL_AFTER = re.compile(
    r"[ -](?:teacher|judge)|(?:[ -]\w+){0,2} (?:\([^)]{0,80}\) )?(?:writes?|wrote|generated|"
    r"does it|already|is too|costs?|judges?|does (?:well|fine))"
)
DEVICE_PARAMETERS_MAX_B = 4.0
"""Largest base for a phone, or a fast answer without a graphics card (rule B2)."""


MERGED_ID = re.compile(r"(?<![\w/-])merged/[0-9a-f]{12}(?![\w-])")
"""A version whose adapter was merged, as the trainer names it."""


def named_base_model(message: Message, known: Collection[str]) -> tuple[str, Sentence] | None:
    """Return the base model that a message names, and where.

    A model of the catalogue is returned by its id, another as it was written. A model that wrote
    the examples, or that judges, is none.
    """
    for sentence in message.sentences:
        for model in sorted(known, key=len, reverse=True):
            for name in (model, model.rsplit("/", 1)[-1]):
                if (match := _exactly(name).search(sentence.text)) and not _is_other(
                    sentence.text, match
                ):
                    return model, sentence
        for pattern in (NAMED, HUB_ID, MERGED_ID):
            for match in pattern.finditer(sentence.text):
                if not _is_other(sentence.text, match):
                    return match[0].strip(" .-"), sentence
    return None


def judge_model(message: Message) -> str | None:
    """Return the model that a message names as judge, or None."""
    for sentence in message.sentences:
        for match in JUDGE.finditer(sentence.text):
            name = match["before"] or match["after"]
            if name:
                return str(name).strip(" .,-")
    return None


MODEL_NAME = (
    r"(?:gpt|claude|gemini|o\d|qwen|llama|mistral|gemma|phi|deepseek|glm|command|"
    r"prometheus)[\w./:-]*\d[\w./:-]*"
)
JUDGE = re.compile(
    rf"\b(?P<before>{MODEL_NAME})(?: \d+b)? (?:is|as|als|comme|como|come|will be) (?:the |our |"
    rf"a |an )?(?:judge|grader|richter|juge|juez|juiz)"
    rf"|\bjudge(?:d by| model| is| with|:| =)*\s(?:is )?(?P<after>{MODEL_NAME})",
    re.I,
)


def size_bound(message: Message) -> float | None:
    """Return the largest base in billions of parameters, by a stated size (rule B1), or None."""
    bound: float | None = None
    for sentence in message.sentences:
        for match in SIZES.finditer(sentence.folded):
            before = sentence.folded[max(0, match.start() - 40) : match.start()]
            value = _bound(match, before, sentence.folded)
            if value is not None:
                bound = value
    return bound


def _bound(match: re.Match[str], before: str, folded: str) -> float | None:
    """Return what one stated size allows, in billions; None when it is another model's."""
    if match["high"]:
        return _number(match["high"])
    size = _number(match["one"])
    if below := BELOW.search(before):
        return size - 1 if below["about"] else size
    if AT_MOST.search(before) or AT_MOST_AFTER.match(folded, match.end()):
        return size
    if OTHER_MODEL_AFTER.match(folded, match.end()) or re.search(
        r"(?:teacher|judge|outputs? of|generated (?:by|with)|written by)[\w ]{0,16}$", before
    ):
        return None
    # A model of "8B" has up to half a billion more; a person who says 70B means the class.
    return size + (1 if size <= 20 else 2)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _is_other(text: str, match: re.Match[str]) -> bool:
    """Return whether a model is named for something else than to be trained."""
    before = text[max(0, match.start() - 48) : match.start()].lower()
    if JUDGE.search(text) and any(match[0] in judge[0] for judge in JUDGE.finditer(text)):
        return True
    after = text[match.end() : match.end() + 24].lower()
    if re.match(
        r"(?:'s)? (?:wrote|generated|outputs|answers|as (?:a |the )?(?:judge|teacher))", after
    ):
        return True
    return NOT_THE_BASE.search(before) is not None and BASE_WORDS.search(before) is None


@cache
def _exactly(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/.-]){re.escape(name)}(?![\w/]|-\w|\.\w)", re.I)
