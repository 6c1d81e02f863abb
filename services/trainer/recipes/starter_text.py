"""Write the seeded text on which `attune/starter` is pre-trained.

The text teaches general habits only: English word order, the shape of a dialogue, copying words
and codes out of a message, sorting words into everyday kinds, filling a small JSON object. It
holds no task of any example data set: what an example teaches has to come from fine-tuning.
Standard library only, and equal for equal seeds.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from services.trainer.recipes.starter_words import (
    ACTIONS,
    CODE_NOUNS,
    EVERYDAY,
    FORMS,
    INSTRUCTIONS,
    KINDS,
    LETTERS,
    OPENINGS,
    PEOPLE,
    PLACES,
    QUALITIES,
    SCENE_MENTIONS,
    SENTENCES,
    THINGS,
    TIMES,
    VALUE_MENTIONS,
)


class Turn(NamedTuple):
    """One message of a dialogue, as chat templates expect it."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """The text of the message; never empty."""


Dialogue = list[Turn]
Task = Callable[[random.Random], tuple[str, str]]
"""Makes one question and its answer."""

MAX_TURN_PAIRS = 2
"""Questions in one dialogue at most; several share the cost of the template's tokens."""


def passages(seed: int) -> Iterator[str]:
    """Yield without end short passages of plain everyday sentences."""
    rng = random.Random(f"passages-{seed}")
    while True:
        yield " ".join(sentence(rng) for _ in range(rng.randint(2, 5)))


def dialogues(seed: int) -> Iterator[Dialogue]:
    """Yield without end dialogues that end with an answer of the assistant."""
    rng = random.Random(f"dialogues-{seed}")
    tasks, weights = zip(*_TASKS, strict=True)
    while True:
        dialogue: Dialogue = []
        if rng.random() < 0.5:
            dialogue.append(Turn("system", rng.choice(INSTRUCTIONS)))
        for task in rng.choices(tasks, weights, k=rng.randint(1, MAX_TURN_PAIRS)):
            question, answer = task(rng)
            dialogue += [Turn("user", question), Turn("assistant", answer)]
        yield dialogue


def sentence(rng: random.Random) -> str:
    """Make one everyday sentence that states nothing in particular."""
    text = rng.choice(SENTENCES).format(
        person=rng.choice(PEOPLE),
        thing=rng.choice(THINGS),
        other=rng.choice(THINGS),
        quality=rng.choice(QUALITIES),
        action=rng.choice(ACTIONS),
        place=rng.choice(PLACES),
        time=rng.choice(TIMES),
        opening=rng.choice(OPENINGS),
        **{f"word{index}": rng.choice(EVERYDAY) for index in range(1, 5)},
    )
    return text[0].upper() + text[1:]


def code(rng: random.Random) -> str:
    """Make a reference such as `K-3920`: a letter, a hyphen and four digits."""
    return f"{rng.choice(LETTERS)}-{rng.randrange(10_000):04d}"


def _repeat(rng: random.Random) -> tuple[str, str]:
    items = _mixed_items(rng, rng.randint(1, 4))
    return f"{rng.choice(('Repeat', 'Copy', 'Say again'))}: {' '.join(items)}", " ".join(items)


def _list(rng: random.Random) -> tuple[str, str]:
    items = _mixed_items(rng, rng.randint(2, 3))
    verb = rng.choice(("bring", "need", "want", "packed", "saw"))
    return f"List what they {verb}: {', '.join(items[:-1])} and {items[-1]}.", "\n".join(items)


def _lookup(rng: random.Random) -> tuple[str, str]:
    people = rng.sample(PEOPLE, 2)
    values = _mixed_items(rng, len(people))
    facts = ", ".join(f"{p} has {v}" for p, v in zip(people, values, strict=True))
    asked = rng.randrange(len(people))
    return f"{facts}. What has {people[asked]}?", values[asked]


def _find_code(rng: random.Random) -> tuple[str, str]:
    reference = code(rng) if rng.random() < 0.75 else None
    noun = rng.choice(CODE_NOUNS + THINGS)
    text = _around(rng, _mention(rng, noun, reference))
    return f"{text}\nWhich {noun}?", reference or "none"


def _kind(rng: random.Random) -> tuple[str, str]:
    kind = rng.choice(tuple(KINDS))
    word = rng.choice(KINDS[kind])
    if rng.random() < 0.5:
        return f"What kind of word is {word}?", kind
    return f"{_around(rng, f'Look at the {word}.')}\nWhich kind?", kind


def _topic(rng: random.Random) -> tuple[str, str]:
    """Ask which kind of words a heap of words is about: what words mean, without any grammar."""
    kind = rng.choice(tuple(KINDS))
    return f"{_heap(rng, kind, rng.randint(1, 3), 9)}\nWhat kind?", kind


def _topics(rng: random.Random) -> tuple[str, str]:
    """Ask the same of a few heaps one after another."""
    kinds = rng.sample(tuple(KINDS), rng.randint(2, 3))
    text = " ".join(_heap(rng, kind, 2, 6) for kind in kinds)
    return f"{text}\nWhat kinds?", json.dumps(kinds, separators=(",", ":"))


def _heap(rng: random.Random, kind: str, count: int, filler_max: int) -> str:
    chosen = rng.sample(KINDS[kind], count)
    words = [rng.choice(EVERYDAY) for _ in range(rng.randint(filler_max // 3, filler_max))]
    for word in chosen:
        words.insert(rng.randrange(len(words) + 1), word)
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."


def _scene(rng: random.Random) -> tuple[str, str]:
    """Ask for the members of some kinds and for what is said of some things."""
    record: dict[str, str | None] = {}
    mentions = []
    for kind in rng.sample(tuple(KINDS), rng.randint(1, 3)):
        record[kind] = rng.choice(KINDS[kind])
        mentions.append(rng.choice(SCENE_MENTIONS).format(word=record[kind]))
    for thing in rng.sample(THINGS, rng.randint(1, 2)):
        value = rng.choices((code(rng), rng.choice(QUALITIES), None), (0.5, 0.25, 0.25))[0]
        record[thing] = value
        mentions.append(_mention(rng, thing, value))
    rng.shuffle(mentions)
    asked = rng.sample(list(record.items()), rng.randint(1, len(record)))
    return _filled(_around(rng, " ".join(mention for mention in mentions if mention)), asked)


def _record(rng: random.Random) -> tuple[str, str]:
    form = rng.choice(FORMS)
    noun = form.code_field
    reference = code(rng) if rng.random() < 0.75 else None
    record: dict[str, str | None] = {noun: reference}
    parts = [_mention(rng, noun, reference)]
    for field, cues in form.fields.items():
        value = rng.choice(tuple(cues))
        record[field] = value
        parts.append(rng.choice(cues[value]))
    rng.shuffle(parts)
    text = _around(rng, " ".join(part for part in parts if part))
    fields = rng.sample(list(record.items()), len(record))
    opening = f"{form.title}: " if rng.random() < 0.5 else ""
    return _filled(opening + text, fields)


def _filled(text: str, fields: list[tuple[str, str | None]]) -> tuple[str, str]:
    """Name the fields in the question, for their order is nothing that one could know."""
    names = ", ".join(name for name, _ in fields)
    return f"{text}\nFields: {names}", json.dumps(dict(fields), separators=(",", ":"))


def _mixed_items(rng: random.Random, count: int) -> list[str]:
    makers: tuple[Callable[[], str], ...] = (
        lambda: code(rng),
        lambda: rng.choice(THINGS),
        lambda: str(rng.randrange(100)),
    )
    maker = rng.choice(makers)
    return [maker() for _ in range(count)]


def _mention(rng: random.Random, noun: str, value: str | None) -> str:
    if value is None:
        return ""
    return rng.choice(VALUE_MENTIONS).format(noun=noun, value=value)


def _around(rng: random.Random, text: str) -> str:
    """Hide `text` between sentences that do not matter."""
    before = [sentence(rng) for _ in range(rng.randint(0, 1))]
    after = [sentence(rng) for _ in range(rng.randint(0, 1))]
    return " ".join(part for part in (*before, text, *after) if part)


_TASKS: tuple[tuple[Task, float], ...] = (
    (_repeat, 1.0),
    (_list, 0.3),
    (_lookup, 0.3),
    (_find_code, 2.0),
    (_kind, 2.0),
    (_scene, 5.0),
    (_record, 2.0),
    (_topic, 6.0),
    (_topics, 4.0),
)
