"""Addresses and numbers of people in texts: their kind and place, never the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from services.planner.dataset import secrets
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView
from services.planner.dataset.secrets import Span

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@-]|:[\w~/])"
)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){2,8}(?:[ -]?[A-Z0-9]{1,3})?")
_COUNTRIES_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "PT ST",
    26: "IS TR",
    27: "FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
}
"""Countries by the characters of their account numbers; source: the IBAN registry of ISO 13616."""
_IBAN_LENGTHS = {
    country: length
    for length, countries in _COUNTRIES_BY_LENGTH.items()
    for country in countries.split()
}
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-]|\.\d)")
_CARD_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|62\d{14,17}"
)
"""Ranges of Visa, Mastercard, American Express, Diners, Discover, JCB and UnionPay (ISO 7812)."""
_PHONE = re.compile(
    r"(?:(?<![\w+])\+\d{1,15}+(?:(?:[ ./-]{1,2}\(?|\()\d{1,5}+\)?\d{0,14}+){0,6}"
    r"|(?<![\w.,:/=#+-])(?<!\d )(?:"
    r"00\d{1,3}(?:[ ./-]\(?\d{1,5}\)?){2,6}"
    r"|(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}"
    r"|555-01\d\d"
    r"|\(0\d{1,5}\) ?\d{2,5}(?:[ -]?\d{2,5}){1,3}"
    r"|0\d{1,4}[ /-]\d{2,8}(?:[ -]\d{2,5}){0,4}"
    r"))(?![\w/-]|\.\d|,\d)"
)
_CALLED = re.compile(
    r"(?:phone|mobile|cell|call(?: me| us)?|tel|ring|fax|whats ?app|telefon|handy|t[e\u00e9]l"
    r"[e\u00e9]fono|telefone|t[e\u00e9]l[e\u00e9]phone|rufnummer|\u7535\u8bdd|\u96fb\u8a71)\D{0,25}?"
    r"(?<![\w.])(\d[\d ()/-]{5,18}\d)(?![\w-]|\.\d)",
    re.IGNORECASE,
)
DIGITS_LEAST = 7
"""Of a number that is called one in the text."""
_DIGITS_LEAST, _DIGITS_MOST = 8, 15
"""Digits of a number with its country's code; source: ITU-T E.164, at most 15."""
_DATE = re.compile(
    r"(?:19|20)\d\d[ ./-]\d{1,2}[ ./-]\d{1,2}|\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d"
)
_CODES = {
    "pii_email": ("e-mail address", "e-mail addresses"),
    "pii_phone": ("phone number", "phone numbers"),
    "pii_card": ("card number", "card numbers"),
    "pii_iban": ("account number", "account numbers"),
}


def spans(text: str) -> list[Span]:
    """Return where a text holds personal data, in order; kinds are codes such as `pii_email`."""
    searches: list[tuple[str, Callable[[str], Iterator[tuple[int, int]]]]] = []
    taken: list[Span] = []
    if "@" in text:
        searches.append(("pii_email", _emails))
        taken = [span for span in secrets.spans(text) if span.kind.endswith("in an address")]
    if sum(map(str.isdigit, text)) >= DIGITS_LEAST:
        # An account number holds what looks like a card's, and that what looks like a phone's.
        searches += [("pii_iban", _ibans), ("pii_card", _cards), ("pii_phone", _phones)]
    if not searches:
        return []
    cover = _Cover(len(text), taken)
    result = [
        Span(start, end, kind)
        for kind, search in searches
        for start, end in search(text)
        if cover.take(start, end)
    ]
    return sorted(result, key=lambda span: span.start)


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each text and kind of personal data in it."""
    findings = []
    for row in rows:
        for field, text in row.texts:
            kinds = [span.kind for span in spans(text)]
            for code in dict.fromkeys(kinds):
                one, several = _CODES[code]
                count = kinds.count(code)
                message = f"Holds {count} {one if count == 1 else several}."
                findings.append(found(code, row.line, message, field))
    return findings


def mask(text: str) -> str:
    """Return a text with secrets and personal data replaced by their kind in brackets."""
    hidden = [Span(each.start, each.end, "secret") for each in secrets.spans(text)]
    cover = _Cover(len(text), hidden)
    hidden += [
        Span(each.start, each.end, _CODES[each.kind][0])
        for each in spans(text)
        if cover.take(each.start, each.end)
    ]
    parts, at = [], 0
    for span in sorted(hidden, key=lambda each: each.start):
        parts += [text[at : span.start], f"[{span.kind}]"]
        at = span.end
    return "".join([*parts, text[at:]])


class _Cover:
    """The parts of a text that are taken."""

    def __init__(self, length: int, taken: Sequence[Span]) -> None:
        self._marks = bytearray(length)
        for span in taken:
            self.take(span.start, span.end)

    def take(self, start: int, end: int) -> bool:
        """Take a part that is free; return whether it was."""
        if any(self._marks[start:end]):
            return False
        self._marks[start:end] = b"\1" * (end - start)
        return True


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for match in _EMAIL.finditer(text):
        # The address of a repository, not of a person.
        if not match[0].startswith("git@"):
            yield match.span()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        compact = re.sub(r"[ -]", "", match[0])
        length = _IBAN_LENGTHS.get(compact[:2], 99)
        if len(compact) < length:
            continue
        number = compact[4:length] + compact[:4]
        if int("".join(str(int(character, 36)) for character in number)) % 97 == 1:
            kept = [at for at, character in enumerate(match[0]) if character not in " -"]
            yield match.start(), match.start() + kept[length - 1] + 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _CARD_ISSUERS.fullmatch(digits) and len(set(digits)) > 1 and _luhn(digits):
            yield match.start(), match.end()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        found = match[0]
        # Another number may follow after a blank.
        while sum(map(str.isdigit, found)) > _DIGITS_MOST and " " in found:
            found = found.rpartition(" ")[0]
        digits = sum(map(str.isdigit, found))
        short = found.startswith("555-01")
        if (short or _DIGITS_LEAST <= digits <= _DIGITS_MOST) and not _DATE.fullmatch(found):
            yield match.start(), match.start() + len(found)
    for match in _CALLED.finditer(text):
        digits = sum(map(str.isdigit, match[1]))
        if DIGITS_LEAST <= digits <= _DIGITS_MOST and not _DATE.fullmatch(match[1]):
            yield match.span(1)


def _luhn(digits: str) -> bool:
    """Return whether the check digit is right (ISO 7812-1, annex B)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
