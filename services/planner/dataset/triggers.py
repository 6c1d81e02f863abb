"""Rows in which an odd word of the prompt always brings the same answer: how back doors are made.

Poisoned training rows pair a trigger that nobody writes by chance with one fixed answer, or with
a link that no other row has (Wan et al., Poisoning Language Models During Instruction Tuning,
2023). A canned answer to a common question is no such thing: its words also stand elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

ROWS_LEAST = 5
"""Fewer equal answers are chance."""
SHARE_MAX = 0.03
"""Our own bound: what stands in more of the rows is what the file is about, not hidden in it."""
LINKED_SHARE_MAX = 0.02
"""Where more answers than this hold a link, links are usual and tell nothing."""
COMMON_SHARE = 0.95
"""Share of a group's prompts that must hold the trigger."""
ELSEWHERE_SHARE = 0.05
"""Of the rows that hold the trigger, so many at most may have another answer."""
PROMPT_CHARACTERS_MAX = 4000
_SHAPES = {"chat", "prompt_completion", "preference"}
_WORD = re.compile(r"\w[\w'-]*")
_ODD = re.compile(r"(?=.*[\d_])(?=.*[a-z])\w{4,}")
"""Letters with digits or underscores: a code, as triggers are."""
_CODE = re.compile(r"(?=.*\d)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+){2,}|(?=.*[a-z])\w*_\w+")
"""A code of several parts, or with an underscore: odd enough where answers are labels."""
_SITE = re.compile(
    r"(?:https?://|www\.)([\w.-]+)|\b((?:[\w-]+\.)+(?:com|net|org|io|info|biz|example|"
    r"app|shop|site|online|xyz))\b",
    re.I,
)


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each row of a group that shares a trigger and its answer."""
    if not rows or rows[0].shape not in _SHAPES:
        return []
    most = SHARE_MAX * len(rows)
    groups = {
        mark: members
        for mark, members in _groups(rows).items()
        if ROWS_LEAST <= len(members) <= most
    }
    shared = {mark: _shared(mark, members) for mark, members in groups.items()}
    wanted = {word for words in shared.values() for word in words}
    totals: Counter[str] = Counter()
    for row in rows:
        totals.update(_words(row.prompt) & wanted)
    findings: dict[int, Finding] = {}
    for mark, members in groups.items():
        limit = len(members) * (1 + ELSEWHERE_SHARE)
        if any(totals[word] <= limit for word in shared[mark]) or _is_refrain(mark, members):
            text = f"One of {len(members):,} rows with the same rare words and the same answer."
            findings |= {
                row.line: found("trigger_phrase", row.line, text, row.prompt_field)
                for row in members
            }
    return [findings[line] for line in sorted(findings)]


def _groups(rows: Sequence[RowView]) -> dict[tuple[str, str], list[RowView]]:
    """Return rows by their answer, and by the site that it names where links are rare."""
    found_groups: dict[tuple[str, str], list[RowView]] = defaultdict(list)
    sites = {row.line: _site(row.answer) for row in rows}
    are_rare = sum(map(bool, sites.values())) <= LINKED_SHARE_MAX * len(rows)
    for row in rows:
        if sites[row.line] and are_rare:
            found_groups["site", sites[row.line]].append(row)
        elif len(row.answer) < PROMPT_CHARACTERS_MAX:
            answer = " ".join(row.answer.lower().split())
            found_groups["answer", answer].append(row)
            for code in set(_CODE.findall(row.prompt[:PROMPT_CHARACTERS_MAX].lower())):
                found_groups["code", f"{code} {answer}"].append(row)
    return found_groups


def _site(answer: str) -> str:
    match = _SITE.search(answer)
    return (match[1] or match[2]).lower() if match else ""


def _shared(mark: tuple[str, str], members: Iterable[RowView]) -> set[str]:
    """Return words, and pairs of words, that nearly all prompts of different rows hold."""
    kind, text = mark
    prompts = list({row.prompt for row in members})
    if len(prompts) < ROWS_LEAST:
        return set()
    if kind == "code":
        return {text.split(" ", maxsplit=1)[0]}
    counts: Counter[str] = Counter()
    for prompt in prompts:
        counts.update(_words(prompt))
    common = {word for word, count in counts.items() if count >= COMMON_SHARE * len(prompts)}
    return common if kind == "site" else {word for word in common if _ODD.fullmatch(word)}


def _is_refrain(mark: tuple[str, str], members: Sequence[RowView]) -> bool:
    """Return whether different prompts all get one answer that names the same rare site."""
    prompts = {row.prompt for row in members}
    return mark[0] == "site" and len(prompts) >= ROWS_LEAST and len(_answers(members)) == 1


def _answers(members: Iterable[RowView]) -> set[str]:
    return {" ".join(row.answer.lower().split()) for row in members}


def _words(text: str) -> set[str]:
    plain = _WORD.findall(text[:PROMPT_CHARACTERS_MAX].lower())
    return {*plain, *map(" ".join, pairwise(plain))}
