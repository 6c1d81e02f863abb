"""Criteria of a rubric, weights of a reward, and kinds of check that a message asks for."""

from __future__ import annotations

import re

from services.planner.brief import Brief, Criterion
from services.planner.reading.lexicon import fold, lexicon
from services.planner.reading.message import Message

WEIGHT = r"(?P<weight>0?[.,]\d{1,3}|1(?:[.,]0)?(?![.,\d])|\d{1,3}(?:[.,]\d)?\s?%)"
TERM = re.compile(
    rf"{WEIGHT}\s?(?:[*x\u00d7·]|times|for|fur|pour|para|per|voor|"
    rf"の)?\s?(?P<name>[a-z][^+;.\n]{{2,60}}?(?:within 0?\.\d+|within \d+)?)(?=\s*(?:\+|;|"
    rf"\.(?!\d)|,? (?:and|und|et|y|e|en) 0?[.,]\d|,\s*0?\.\d|$|\n))"
)
NAMED_WEIGHT = re.compile(
    r"(?P<name>[a-z][a-z_ -]{2,39}?)[ :=(]{1,3}(?P<weight>0?[.,]\d{1,3})(?![\d.,]*\d)"
)
"""A term such as `plain_language 0.5`, where those of a sentence add up to 1."""
WEIGHED = re.compile(
    rf"(?P<name>[a-z][\w' -]{{1,40}}?)\s(?:(?:must|should|shall|has to|soll|muss|doit|debe|deve|"
    rf"moet)\s)?"
    r"(?:weigh[st]?|counts?|gets?|at|to|with|is|be|=|:|zahlt|wiegt|wiegen|bekommt|pese[r]?|"
    r"compte[r]?|pesa[r]?|"
    rf"cuenta|conta[r]?|telt|weegt)?\s*(?:for |mit |pour |con |com |voor )?{WEIGHT}"
)
OTHERS = re.compile(
    r"(?:the )?(?:other|remaining|rest|ubrigen|anderen|autres|otros|otras|demas|outros|outras|"
    r"altri|altre|andere)"
    rf"(?: \w+){{0,2}}? (?:at |to |with |get |je |jeweils |each )?{WEIGHT}(?: each| jeweils|"
    rf" chacun[e]?| cada un[oa]| ciascun[oa]| elk)?"
)
EQUAL = re.compile(
    r"\b(?:all )?(?:equal(?:ly)?(?: weight\w*)?|same weight|gleich gewichtet|meme poids|"
    r"mismo peso|mesmo peso|stesso peso|even zwaar)\b"
)
LISTED = re.compile(
    r"\b(?:rubric|criteria|criterion|score ?sheet|scoring sheet|checklist|check list|kriterien|"
    r"bewertungsbogen|"
    r"grille|criteres|criterios|rubrica|criteri|criteria|beoordelingscriteria|judged (?:by|"
    r"on))\b[^:.\n]{0,40}:\s*(?P<list>(?:[^.;\n]|\.(?=\d)){3,400})"
    r"|(?:基準|ルーブリック|评分标准)[^:。]{0,10}[:は](?P<listja>[^。]{2,200})"
)
NEW_RULE = re.compile(
    r"\b(?:in (?:its|their|that|the) (?:place|stead)|instead(?: of (?:it|that|this))?|"
    r"replace (?:it|that|this)(?: rule| point)? (?:by|with)|"
    r"(?:put|add)(?: in)?(?: this| the following| one)?"
    r"(?: instead| too)?)\s?:\s*(?P<place>[^.\n!]{3,200})|"
    r"(?:new|another|additional|extra|add(?: a| the| another)?|plus a?|neue[rs]?|weitere[rs]?|"
    r"zusatzliche[rs]?|"
    r"fuge|nouvelle|nouveau|ajoute[rz]?|nueva|nuevo|anade|agrega|nova|novo|adiciona|acrescenta|"
    r"nuova|nuovo|aggiungi|nieuwe?|voeg)"
    r"[\w ]{0,16}(?:rule|criterion|criteria|point|regel|kriterium|regle|critere|regla|criterio|"
    r"regra|regola|punt|punkt)"
    r"[\w ,]{0,24}?\s?[:=-]\s*(?P<text>[^.\n!]{3,200})"
    r"|(?:add|fuge)(?: a| an| the)? (?P<name>[\w -]{3,40}?)(?: criterion| as a (?:criterion|"
    r"rule)| to the (?:rubric|criteria|score sheet)| als kriterium)"
    r"|(?:新しい(?:ルール|基準)|追加)[はを:]?\s*(?P<textja>[^。]{2,100})"
)
REMOVED = re.compile(
    r"(?:^|[,;.] ?|and |but )(?P<before>[a-z][\w' -]{1,40}?) (?:is out|are out|goes|is gone|"
    r"must go|has to go|no longer (?:counts?|matters?)|fallt weg|"
    r"fliegt raus|kommt raus|ist raus|est supprimee?|disparait|fuera|sai|cai|vervalt|eruit|"
    r"gaat eruit)"
    r"|(?:drop|remove|delete|kick out|take out|leave out|scrap|forget|cut|lose|without|streiche?|"
    r"entferne?|supprime[rz]?|enleve[rz]?|retire[rz]?|"
    r"quita[r]?|elimina[r]?|remove[r]?|tira[r]?|togli|rimuovi|verwijder|schrap)(?: the| la| le|"
    r" el| o| a| il| das| den| die| de| het|)"
    r" (?P<after>[\w' -]{3,40}?)(?: criterion| rule| point| kriterium| aus der rubrik|"
    r" from the (?:rubric|criteria|score sheet))?(?=[,.;!]|$| and | und | et | y | e | en |"
    r" from )"
    r"|(?P<ja>[^、。]{1,12})(?:を外し|を削除|は不要|をやめ)"
)
FILLING = re.compile(
    r"\b(?:a|an|the|of|bit|some|very|quite|little|always|and|all|our|it|is|to|be|should|must|"
    r"that|etwas|ein|eine|der|die|das|"
    r"un|une|peu|de|d|la|le|les|el|los|las|um|uma|o|os|poco|di|il|lo|een|wenig|sehr|muy|tres)\b"
)
GRADERS_AS_TERMS = (
    "json_schema",
    "numeric",
    "unit_tests",
    "exact_match",
    "math",
    "tool_call",
    "regex",
    "length",
    "string_check",
)
NAME_WORDS_MAX = 4


def slug(text: str) -> str:
    """Return a name, `[a-z][a-z0-9_]{0,62}`, for a criterion in words; empty when there is none."""
    folded = FILLING.sub(" ", fold(text).replace("'", " "))
    words = re.findall(r"[a-z][a-z0-9]*", folded)
    name = "_".join(words[:NAME_WORDS_MAX])
    if name:
        return name[:63]
    codes = "".join(f"{ord(character):x}" for character in text.strip()[:6])
    return f"criterion_{codes}" if codes else ""


def read_criteria(message: Message, brief: Brief) -> tuple[tuple[Criterion, ...], tuple[str, ...]]:
    """Return the criteria that a message adds or weighs, and the names of those it removes."""
    found: dict[str, Criterion] = {}
    removed: list[str] = []
    for sentence in message.sentences:
        for each in _listed(sentence.folded, sentence.text):
            found[each.name] = each
        if terms := _terms(sentence.folded):
            found |= {each.name: each for each in terms}
            continue
        known = {criterion.name: criterion for criterion in brief.criteria} | found
        for each in _weighed(sentence.folded, known):
            text = found[each.name].text if each.name in found else ""
            found[each.name] = Criterion(each.name, each.weight, text)
        if brief.criteria or message.says("signals", "rubric_agreed"):
            removed += _removed(sentence.folded, brief)
        if rule := _new_rule(sentence.folded, sentence.text):
            found[rule.name] = rule
    return tuple(each for each in found.values() if each.name not in removed), tuple(removed)


def read_grader_kinds(message: Message) -> tuple[str, ...]:
    """Return the kinds of check that a message asks for by name."""
    return tuple(kind for kind in lexicon("en").names("graders") if message.says("graders", kind))


def _listed(folded: str, text: str) -> list[Criterion]:
    match = LISTED.search(folded)
    if match is None:
        return []
    words = match["list"] or match["listja"]
    parts = re.split(
        r"\s*[,;、・]\s*(?:and |und |et |y |e |en )?|\s(?:and|und|et|y|e|en|と)\s", words
    )
    parts = [part for part in parts if part and not EQUAL.search(part) and len(part) <= 80]
    if len(parts) < 2:
        return []
    weighed = [_split_weight(part) for part in parts]
    return [Criterion(slug(part), weight, part) for part, weight in weighed if slug(part)]


def _split_weight(part: str) -> tuple[str, float | None]:
    match = re.search(rf"\s*\(?{WEIGHT}\)?$", part)
    if match is None:
        return part, None
    return part[: match.start()], _weight(match["weight"])


def _terms(folded: str) -> list[Criterion]:
    """Return the terms of a sum such as `0.3 * valid + 0.7 * right`."""
    if (
        not re.search(r"\d\s?%?\s?[*x\u00d7·+]\s?[a-z]|[+]\s?0?[.,]\d", folded)
        and "reward" not in folded
        and "rubric" not in folded
    ):
        return []
    found = []
    for match in TERM.finditer(folded):
        weight = _weight(match["weight"])
        words = match["name"].strip(" *x\u00d7·")
        if 0 < weight <= 1 and words:
            found.append(Criterion(_kind(words) or slug(words), weight, words))
    total = sum(each.weight or 0 for each in found)
    if not found:
        return _named_weights(folded)
    return found if len(found) >= 2 and 0.95 <= total <= 1.05 else []


def _named_weights(folded: str) -> list[Criterion]:
    found = [
        Criterion(slug(match["name"].replace("_", " ")), _weight(match["weight"]), match["name"])
        for match in NAMED_WEIGHT.finditer(folded)
    ]
    total = sum(each.weight or 0 for each in found)
    return found if len(found) >= 2 and abs(total - 1) < 1e-6 else []


def _kind(words: str) -> str:
    for kind in GRADERS_AS_TERMS:
        if any(True for _ in lexicon("en").places("graders", kind, words)):
            return kind
    return ""


def _weighed(folded: str, known: dict[str, Criterion]) -> list[Criterion]:
    """Return known criteria with the weights that a sentence gives them."""
    found: dict[str, Criterion] = {}
    others = OTHERS.search(folded)
    for match in WEIGHED.finditer(folded):
        if others and others.start() <= match.start("weight") < others.end():
            continue
        name = _known(match["name"], known)
        if name:
            found[name] = Criterion(name, _weight(match["weight"]))
    if found and others:
        weight = _weight(others["weight"])
        rest = [name for name in known if name not in found]
        found |= {name: Criterion(name, weight) for name in rest}
    return list(found.values())


def _known(words: str, known: dict[str, Criterion]) -> str:
    """Return the name of the known criterion that words speak of; empty when they speak of none."""
    said = set(re.findall(r"[^\W\d_]{3,}", FILLING.sub(" ", words)))
    for name, criterion in known.items():
        terms = set(re.findall(r"[^\W\d_]{3,}", f"{name.replace('_', ' ')} {fold(criterion.text)}"))
        if any(
            a == b or (len(a) > 4 and len(b) > 4 and a[:5] == b[:5]) for a in said for b in terms
        ):
            return name
    return ""


def _removed(folded: str, brief: Brief) -> list[str]:
    known = {criterion.name: criterion for criterion in brief.criteria}
    found = []
    for match in REMOVED.finditer(folded):
        words = match["before"] or match["after"] or match["ja"] or ""
        if name := _known(words, known):
            found.append(name)
    return found


def _new_rule(folded: str, text: str) -> Criterion | None:
    match = NEW_RULE.search(folded)
    if match is None:
        return None
    words = (match["place"] or match["text"] or match["name"] or match["textja"] or "").strip()
    return Criterion(slug(words), None, words) if slug(words) else None


def _weight(text: str) -> float:
    value = float(text.rstrip("% ").replace(",", "."))
    return value / 100 if "%" in text else value
