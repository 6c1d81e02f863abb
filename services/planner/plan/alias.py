"""A short name for a model, from the words of its problem."""

from __future__ import annotations

import re

WORDS_MAX = 3
LENGTH_MAX = 40
FALLBACK = "tuned-model"
WORD = re.compile(r"\S+")
STOP = frozenset(
    WORD.findall(
        "a an the our your my their its this that these those we i you it is are be want need "
        "please would like should can could help model answer answers reply respond read each "
        "every all any new and or of on at as so into to with by from for in about using customer "
        "customers user "
        "users message messages text texts one json record records"
    )
)
VERBS = frozenset(
    WORD.findall(
        "route classify sort label extract turn convert write draft summarize summarise translate "
        "answer detect find tag predict generate rewrite make build train tune fine-tune teach"
    )
)
BREAKS = frozenset(WORD.findall("into to with by from for in of and as so that which using"))
GENERIC = frozenset(
    WORD.findall("train training data dataset rows examples holdout test upload file")
)


def derive_alias(problem: str, display_name: str) -> str:
    """Return an alias such as `support-tickets`.

    Args:
        problem: In plain words.
        display_name: Of the dataset, such as `tickets.jsonl`; used when the problem yields none.
    """
    head = re.split(r"[:;,.!?\n]", problem, maxsplit=1)[0]
    words: list[str] = []
    for word in head.lower().split():
        plain = re.sub(r"[^a-z0-9-]", "", word)
        if words and plain in BREAKS:
            break
        if word.endswith(("'", "'s", "\u2019", "\u2019s")) or plain in STOP | VERBS:
            continue
        if plain:
            words.append(plain)
    stem = re.sub(r"[^a-z0-9]+", "-", display_name.lower().rsplit(".", 1)[0]).strip("-")
    candidates = ["-".join(words[-WORDS_MAX:]), "" if stem in GENERIC else stem]
    for candidate in candidates:
        alias = re.sub(r"-+", "-", candidate)[:LENGTH_MAX].strip("-")
        if re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", alias):
            return alias
    return FALLBACK
