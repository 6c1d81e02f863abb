"""What finished runs say of estimates to come, and how an estimate takes it in; pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory import Component, MemoryEstimate, Objective, Range
from services.scheduler.observed import (
    NEIGHBOUR_WEIGHT,
    Correction,
    Key,
    Observation,
    corrected,
    correction,
    length_bucket,
)
from services.scheduler.profile import Profile

RUNTIME = "runtime"
"""Title of the component that torch does not count on a GPU."""


class Lessons:
    """Corrects the estimates of one model, technique, method and length."""

    def __init__(self, key: Key, observations: Iterable[Observation]) -> None:
        """Keep what was observed.

        Args:
            key: Of the run that is estimated; its device does not matter.
            observations: Newest first.
        """
        self._key = key
        self._observations = tuple(observations)
        self._corrections: dict[str, Correction] = {}

    def correct(self, estimate: MemoryEstimate, profile: Profile) -> MemoryEstimate:
        """Return an estimate with what was learnt; itself when nothing was."""
        if not self._observations:
            return estimate
        learnt = self._correction(profile.id)
        if not learnt.observation_count and not learnt.neighbour_count:
            return estimate
        before = measured(estimate, profile)
        after = corrected(before, learnt)
        needed = _shifted(estimate.needed, before, after)
        counted = profile.is_gpu
        return replace(
            estimate,
            components=_scaled(estimate.components, needed.expected_bytes, all_=not counted),
            allocated=after if counted else estimate.allocated,
            reserved=_shifted(estimate.reserved, before, after) if counted else estimate.reserved,
            process=_shifted(estimate.process, before, after),
            needed=needed,
            uncorrected_bytes=estimate.formula_bytes,
            note=_words(learnt),
        )

    def _correction(self, device: str) -> Correction:
        if device not in self._corrections:
            key = self._key._replace(device=device)
            own = [one for one in self._observations if one.key == key]
            others = [one for one in self._observations if one.key != key]
            if own:
                # Many neighbours must not outvote the few runs that were just like this one.
                others = others[: math.ceil(len(own) / NEIGHBOUR_WEIGHT) - 1]
            self._corrections[device] = correction(key, own + others)
        return self._corrections[device]


class Book:
    """All observations, as they are at one moment."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        """Sort them by what they may tell of.

        Args:
            observations: Newest first.
        """
        self._families: defaultdict[tuple[str, str, str], list[Observation]] = defaultdict(list)
        self._lessons: dict[Key, Lessons] = {}
        for one in observations:
            self._families[one.key[:3]].append(one)

    def lessons(
        self, model: str, objective: Objective, method: Method.ValueType, token_count: int
    ) -> Lessons:
        """Return what is known of runs like one.

        Args:
            model: Id of the base model.
            objective: What a pass works on.
            method: Which weights are changed.
            token_count: Of its longest row.
        """
        key = key_of(model, objective, method, token_count, "")
        family = self._families.get(key[:3])
        if family is None:
            return NO_LESSONS
        if key not in self._lessons:
            self._lessons[key] = Lessons(key, family)
        return self._lessons[key]


def key_of(
    model: str, objective: Objective, method: Method.ValueType, token_count: int, device: str
) -> Key:
    """Return what runs must share for one to tell of the other."""
    name = Method.Name(method).removeprefix("METHOD_")
    return Key(model, objective, name, length_bucket(token_count), device)


def measured(estimate: MemoryEstimate, profile: Profile) -> Range:
    """Return the part of an estimate that runs report: of tensors on a GPU, else of all."""
    return estimate.allocated if profile.is_gpu else estimate.needed


def _shifted(bounds: Range, before: Range, after: Range) -> Range:
    """Return bounds of a whole whose part was corrected."""
    return Range(
        max(bounds.low_bytes + after.low_bytes - before.low_bytes, 0),
        bounds.expected_bytes + after.expected_bytes - before.expected_bytes,
        bounds.high_bytes + after.high_bytes - before.high_bytes,
    )


def _scaled(
    components: tuple[Component, ...], total_bytes: int, *, all_: bool
) -> tuple[Component, ...]:
    """Return components that add up to a total, each that was measured changed by its share."""
    fixed = 0 if all_ else sum(one.size_bytes for one in components if one.title == RUNTIME)
    share = (total_bytes - fixed) / max(sum(one.size_bytes for one in components) - fixed, 1)
    found = [
        one
        if one.title == RUNTIME and not all_
        else replace(one, size_bytes=round(one.size_bytes * share))
        for one in components
    ]
    found.sort(key=lambda one: -one.size_bytes)
    rest = total_bytes - sum(one.size_bytes for one in found)
    found[0] = replace(found[0], size_bytes=found[0].size_bytes + rest)
    return tuple(found)


def _words(learnt: Correction) -> str:
    count = learnt.observation_count
    if not count:
        return "Memory is corrected by observed runs of other lengths or devices."
    return f"Memory is corrected by {count} observed {'run' if count == 1 else 'runs'}."


NO_LESSONS = Lessons(Key("", "", "", 0, ""), ())
EMPTY = Book()
"""With nothing observed, estimates are the formula's."""
