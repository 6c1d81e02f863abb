"""Keys, tokens and passwords in texts: their kind and place, never the value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

ENTROPY_CLASSES_LEAST = 2
"""Kinds of characters (small, capital, digit, sign) in a value that is no word."""


@dataclass(frozen=True)
class Span:
    """A part of a text that nobody should see."""

    start: int
    end: int
    kind: str
    """What it is, in words, such as `a GitHub token`."""


# Prefixes are those that the issuers publish, so that scanners can find them.
_ISSUED = {
    "an AWS access key": r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{22,})",
    "a GitLab token": r"\bgl(?:pat|dt|rt|ptt|cbt)-[\w-]{20,}",
    "a Slack token": r"\bxox[abcdeoprs]-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}",
    "a Slack hook": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{12,}",
    "a Stripe key": r"\b(?:[sr]k|pk)_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9]{16,}",
    "an API key": (
        r"\bsk-(?=[A-Za-z_-]{0,60}\d)[A-Za-z0-9_-]{16,}"
        r"|\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bhf_[A-Za-z0-9]{20,}|\bnpm_[A-Za-z0-9]{36}"
        r"|\bpypi-[\w-]{30,}|\bSG\.[\w-]{16,64}\.[\w-]{16,}|\bdop_v1_[0-9a-f]{64}"
        r"|\bglsa_\w{32,}|\bgsk_[A-Za-z0-9]{20,}|\bxai-[A-Za-z0-9]{20,}|\bkey-[0-9a-f]{32}\b"
        r"|\b\d{8,10}:AA[\w-]{33}"
    ),
    "a JSON web token": r"\beyJ[\w-]{6,1000}\.eyJ[\w-]{6,4000}\.[\w-]{4,}",
    "a private key": (
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]{0,4000}?-----END [A-Z0-9 ]*-----|[A-Za-z0-9+/=\s]*)"
    ),
    "a PuTTY key": r"\bPuTTY-User-Key-File-\d",
    "an age key": r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}",
    "an account key": r"\bAccountKey=[A-Za-z0-9+/]{40,}={0,2}",
}
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://([^\s/:@?#\"'<>]{0,100}):([^\s/@\"'<>]{1,200})@", re.I
)
_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase|code|wort)?|pwd|secret|token|credential|api[ _-]?key|access[ _-]?key"
    r"|auth[ _-]?key|private[ _-]?key|secret[ _-]?key|account[ _-]?key|kennwort|contrase\u00f1a"
    r"|mot de passe|senha)s?"
    r"[\"'`\])]{0,2}\s{0,3}(?:[:=]{1,2}>?|\bis\b|\bist\b|\bes\b|\best\b)\s{0,3}[\"'`]?"
    r"([^\s\"'`,;<>]{6,200})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?:bearer|basic)\s+([A-Za-z0-9._~+/-]{20,}=*)", re.IGNORECASE)
_ISSUED_RE = re.compile("|".join(f"({pattern})" for pattern in _ISSUED.values()))
_KINDS = tuple(_ISSUED)
_MARKS = (
    *("AKIA", "ASIA", "AROA", "AIDA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "xox", "xapp-"),
    *("hooks.slack", "k_live_", "k_test_", "whsec_", "sk-", "AIza", "ya29.", "hf_", "npm_"),
    *("pypi-", "SG.", "dop_v1_", "glsa_", "gsk_", "xai-", "key-", ":AA", "eyJ", "-----BEGIN"),
    *("PuTTY-", "AGE-SECRET-KEY", "AccountKey="),
)
"""A text without any of these holds none of the issued kinds: looking for them is cheap."""
_HINTS = (
    *("pass", "pwd", "secret", "token", "credential", "key", "kennwort", "contrase", "senha"),
    *("bearer", "basic"),
)
_PLACEHOLDER = re.compile(
    r"[<{$%*\[(]|x{4}|\.{3}|\u2026|^(?:user(?:name)?|pass(?:word|wd)?|pwd|secret|token|changeme|"
    r"your[\w-]*|my[_-][\w-]*|placeholder|redacted|hidden|null|none|true|false)$|^env[.:]|\benviron",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|^[A-Za-z_]\w*\(|^[a-z]+(?:[_-][a-z]+)*[.!?]*$"
)


def spans(text: str) -> list[Span]:
    """Return where a text holds a secret, in order, without overlap."""
    result: list[Span] = []
    for span in sorted(_all(text), key=lambda each: (each.start, -each.end)):
        if not result or span.start >= result[-1].end:
            result.append(span)
    return result


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each text that holds a secret."""
    findings = []
    for row in rows:
        for field, text in row.texts:
            kinds = list(dict.fromkeys(span.kind for span in spans(text)))
            if kinds:
                message = f"Holds {' and '.join(kinds)}."
                findings.append(found("secret_found", row.line, message, field))
    return findings


def _all(text: str) -> Iterator[Span]:
    if any(mark in text for mark in _MARKS):
        for match in _ISSUED_RE.finditer(text):
            yield Span(match.start(), match.end(), _KINDS[(match.lastindex or 1) - 1])
    if "://" in text:
        for match in _ADDRESS.finditer(text):
            if not _PLACEHOLDER.search(match[2]):
                yield Span(match.start(1), match.end(), "a password in an address")
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return
    for match in _NAMED.finditer(text):
        if _is_value(match[1]):
            yield Span(match.start(1), match.end(1), "a password or key")
    for match in _BEARER.finditer(text):
        if _is_value(match[1]):
            yield Span(match.start(1), match.end(1), "a bearer token")


def _is_value(value: str) -> bool:
    """Return whether a value looks like a secret rather than a word, a name or a stand-in."""
    if _PLACEHOLDER.search(value) or _CODE.search(value) or "://" in value:
        return False
    kinds = (
        any(map(str.islower, value)),
        any(map(str.isupper, value)),
        any(map(str.isdigit, value)),
        any(not character.isalnum() for character in value.rstrip(".,;:!?)")),
    )
    return any(map(str.isdigit, value)) and sum(kinds) >= ENTROPY_CLASSES_LEAST
