"""What a message says is to come out: the noun that names it tells the task."""

from __future__ import annotations

import re

from services.planner.reading.message import Message, Sentence
from services.planner.vocabulary import Task

ARTICLE = (
    r"(?:a|an|the|our|its|their|your|one|two|three|four|five|some|short|new|finished|final|"
    r"proper|suitable)"
)
THING = r"(?P<thing>[^,.;:()\n?!]{2,64}?)"
STOP = (
    r"(?=[,.;:()\n?!]|$| (?:for|from|of|that|which|so|when|who|with|and|in|by|as|like|to|than|out|"
    r"because|if|while|where)\b)"
)
OUTPUTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:(?:hi|hello|please|maybe|perhaps|just|only|simply|we (?:need|want)|i (?:need|"
        r"want))\b,? )*"
        r"(?:(?:a|an|some|short) )?(?P<thing>[\w'-]+(?: [\w'-]+){0,2}?) "
        r"(?=(?:for|from|about|out of|per|to each)\b)",
        r"\bin,? (?:and )?(?P<thing>[^,.;:()\n?!]{2,48}?) out\b(?! of)",
        r"(?:^|[,.;:] ?|\band |\bgoes in |\bin )(?P<thing>[^,.;:()\n?!]{2,48}?) "
        r"(?:(?:must|should|shall|has to|have to|is to|are to|needs? to|will) )?"
        r"(?:comes?|go|goes|falls?|drops?) out\b",
        rf"\b(?:out(?:put)?s?|result|target|completion|answer)(?: is| are| should be)?\s?[:=] ?"
        rf"{THING}{STOP}",
        rf"\b(?:turn|turns|turned|turning|convert\w*|transform\w*|make|makes|making|made|"
        rf"chang(?:e|es|ing)|map|maps|mapped|boil\w*)\b[^.;:\n]{{2,60}}? (?:into|to) {THING}{STOP}",
        rf"\bfrom [^.;:\n]{{2,50}}? to {THING}{STOP}",
        rf"(?:->|=>|→|⇒)\s*{THING}{STOP}",
        rf"\b(?:write|writes|writing|written|draft|drafts|drafting|produc(?:e|es|ing)|compos(?:e|"
        rf"es|"
        rf"ing)|generat(?:e|es|ing)|creat(?:e|es|ing)|formulat(?:e|es|ing)|invent|invents|make|"
        rf"makes|"
        rf"suggest|suggests|propose|proposes|return|returns|give|gives|get|gets|send|sends|predict|"
        rf"predicts|output|outputs|deliver|delivers|need|needs|want)"
        rf"(?: (?:us|me|them|back))? (?:{ARTICLE}\b )?{THING}{STOP}",
        rf"\b(?:with|and) (?:the|its|their|our|a|an|one) {THING} (?:(?:that|"
        rf"which) )?(?:\w+ ){{0,3}}?"
        r"(?:signed|wrote|written|sent|typed|kept|recorded|filled|noted|took|prepared|compiled|"
        r"drew|posted|used|picked|made|drafted|produced|gave|approved|published|chose|"
        r"assigned)"
        r"\b",
        rf"\b(?:the|a) {THING} (?:that (?:was |we )?)?(?:made|written|drafted|produced|built|"
        rf"derived) "
        r"(?:from|out of|for) (?:it|each|them|every)\b",
    )
)
"""Ways to say what comes out of what goes in."""
TEXT_NOUNS = (
    r"texts?|tweets?|toasts?|anecdotes?|fairy tales?|sermons?|ballads?|stor(?:y|ies)|"
    r"back ?stor(?:y|ies)|poems?|verses?|haikus?|limericks?|songs?|"
    r"lyrics|"
    r"letters?|offers?|speech(?:es)?|toasts?|columns?|articles?|posts?|messages?|notices?|"
    r"captions?|"
    r"headlines?|titles?|descriptions?|entr(?:y|ies)|reports?|statements?|sentences?|"
    r"paragraphs?|"
    r"obituar(?:y|ies)|eulog(?:y|ies)|hints?|tips?|jokes?|riddles?|scenes?|dialogs?|plots?|"
    r"chapters?|"
    r"teasers?|blurbs?|slogans?|ads?|adverts?|emails?|mails?|newsletters?|essays?|reviews?|"
    r"proposals?|"
    r"instructions|guides?|announcements?|invitations?|congratulations|recipes?|explanations?|"
    r"alt[ -]texts?|audio guides?|greetings?|horoscopes?|feedback|comments?|certificates?|"
    r"references|"
    r"briefs?|briefings?|drafts?|quizzes|lesson plans?|profiles?|bios?|biograph(?:y|ies)|"
    r"postcards?"
)
"""Texts that a model may be asked to write."""
NOUNS = (
    (
        Task.CLASSIFICATION,
        r"labels?|categor(?:y|ies)|class(?:es)?|verdicts?|decisions?|departments?|teams?|priorit"
        r"(?:y|ies)|grades?|topics?|tags?|(?:\w+ )?codes?|yes or no|true or false|'[^']{1,24}'|"
        r"\"[^\"]{1,24}\"|severit(?:y|ies)|genres?|intents?|sentiment|queues?|levels?",
    ),
    (
        Task.EXTRACTION,
        r"json(?: \w+)?|fields?|csv|xml|yaml|tables?|table rows?|database rows?|records?|key[ -]"
        r"values?|(?:to-?do |check ?)lists?|columns? of values|till lines?|"
        r"structured \w+|spreadsheets?|form fields?",
    ),
    (
        Task.SUMMARIZATION,
        r"summar(?:y|ies)|abstracts?|digests?|minutes|show notes|key points|highlights|overviews?|"
        r"recaps?|synops[ei]s|gist|bullet points|tl;?dr|precis",
    ),
    (
        Task.CODE,
        r"programs?|source code|code|functions?|quer(?:y|ies)|scripts?|patch(?:es)?|sql|"
        r"regex(?:es)?|"
        r"regular expressions?|netlists?|predicates?|"
        r"macros?|formulas?|implementations?|commands?|configs?|configurations?|routines?|"
        r"snippets?",
    ),
    (
        Task.TOOL_CALLING,
        r"(?:function|tool|api|device|hub) ?calls?|calls? (?:to|of) .{2,20}|device states?|"
        r"tool use",
    ),
    (
        Task.MATH_REASONING,
        r"numbers?|figures?|numeric\w* (?:results?|values?|answers?)|integers?|fractions?|"
        r"decimals?|"
        r"sums?|totals?|proofs?|calculations?|derivations?",
    ),
    (Task.GENERATION, TEXT_NOUNS),
)
"""Nouns by task; the last word of what comes out decides."""
NAMED = tuple(
    (task, re.compile(rf"(?:^|(?<=[\s/-]))(?:{words})(?=$|[\s/])")) for task, words in NOUNS
)
CHECKER = re.compile(
    r"\b(?:gave|give|giving|asked|asking|told|tried|pasted|with|in|into|using|from|through) "
    r"(?:it |them |this |these )?(?:into |to |in )?(?:a |an |the |some )?(?:ordinary |normal |"
    r"plain |free |standard |usual |\d |two |different )*(?:chat ?bots?|"
    r"chat (?:thing|tool|app|window)|assistant|bots?)\b|"
    r"\bfree chat (?:thing|tool|app|bot)\b|"
    r"\b(?:com|mit|avec|con|met|z) (?:um|einem|un|uno|een|jednym)? ?chat ?bot\w*|"
    r"\btranslators?\b|\b(?:simulat\w+|scripts?|programs?|compiler|checker|tests?|server|that) "
    r"(?:\w+ )?(?:says?|tells?|returns?|gives?|replies) (?:pass or fail|yes or no|right or wrong|"
    r"true or false|0 or 1|1 or 0)\b|"
    r"\b(?:little |small |lil |existing |our |a |the |no |some )*(?:scripts?|programs?|code|"
    r"simulators?|"
    r"parser|compiler|checker|function)\b (?:\w+ ){0,3}?(?:tells?|checks?|checking|decides?|says?|"
    r"knows?|"
    r"accepts?|verif\w+|validates?|looks?|counts?|tests?|judges?|confirms?|can|could|run|"
    r"returns?)\b"
    r"|\b(?:by|via|with|through|in) (?:a |the |our )?(?:script|program|code|simulator)\b"
    r"|\bchat (?:model|completion|format|template|gpt)s?\b|\bchatgpt\b"
    r"|\b(?!source )[a-z]+ code(?=[,)])|\b(?:building|penal|civil|tax|criminal|zip|post|postal|bar|"
    r"qr|dress|discount|"
    r"booking) codes?\b"
)
"""What checks, and what only sounds like a task: `a script tells`, `a chat model`, `zip code`."""


def output_task(message: Message) -> Task | None:
    """Return the task that what is to come out tells, or None."""
    for sentence in message.sentences:
        for pattern in OUTPUTS:
            for match in pattern.finditer(sentence.folded):
                if task := _named(match["thing"].strip(" -")):
                    return task
    return None


def masked(sentence: Sentence) -> list[tuple[int, int]]:
    """Return the places of a sentence whose words tell no task."""
    return [match.span() for match in CHECKER.finditer(sentence.folded)]


def _named(thing: str) -> Task | None:
    """Return the task of the noun that ends last in some words, or None."""
    best: tuple[int, int, Task] | None = None
    for task, pattern in NAMED:
        for match in pattern.finditer(thing):
            if best is None or (match.end(), -match.start()) > best[:2]:
                best = (match.end(), -match.start(), task)
    return best[2] if best else None
