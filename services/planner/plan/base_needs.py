"""What a base model must be able to do: size, licence, languages, context and strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.planner.brief import Brief
from services.planner.plan.catalogue import CatalogueModel, CommercialUse
from services.planner.vocabulary import Shape, Signal, Task

SIZE_CLASSES_B = (0.0, 0.45, 0.9, 2.2, 3.5, 6.0, 10.0, 17.0, 40.0, 90.0)
"""Lower bounds of the sizes that open models come in, in billions of parameters: makers release at
about 0.3, 0.5, 1.5, 3, 4, 8, 14, 30, 70 and 120."""
DEVICE_MAX_B = 4.0
"""Rule B2: a phone, or a computer without a graphics card."""
DEVICE_FLOOR_B = 0.9
"""A device gets a model of 1 to 2 billions where one will do: half of B2's bound answers twice as
fast."""
WISHED_SIZE_MAX_B = 16.0
"""A stated size up to here says what is wanted (`about 8B`); a larger one is only a ceiling."""
REASONING_TOKENS = 8192
"""Room for written-out reasoning beside the row; a convention, enough for school mathematics."""
REINFORCED = frozenset({"RLVR", "RLAIF"})


@dataclass(frozen=True)
class Reach:
    """How large a base model has to be for a kind of task."""

    rule: str
    """Its name."""
    floor_b: float
    """Smallest size class, in billions of parameters."""
    strength: str
    """What the model should be known to be good at."""
    reason: str
    """Half a sentence why."""


SMALL = Reach("B3", 0.45, "chat", "one of a few labels is within reach of half a billion")
COPYING = Reach("B4", 0.9, "chat", "copying the right words needs little more than reading them")
WRITING = Reach("B5", 3.5, "chat", "fluent text that keeps to its facts starts at about 4 billion")
CALLING = Reach("B6", 3.5, "tool_calling", "well-formed calls are within reach of about 4 billion")
CODING = Reach("B7", 6.0, "code", "programs that pass tests start at about 7 billion")
REASONING = Reach("B8", 6.0, "math", "several right steps in a row start at about 7 billion")

REACHES: dict[str, Reach] = {
    Task.CLASSIFICATION: SMALL,
    Task.EXTRACTION: COPYING,
    Task.SUMMARIZATION: WRITING,
    Task.TRANSLATION: WRITING,
    Task.STYLE: WRITING,
    Task.GENERATION: WRITING,
    Task.DIALOGUE: WRITING,
    Task.QUESTION_ANSWERING: WRITING,
    Task.TOOL_CALLING: CALLING,
    Task.CODE: CODING,
    Task.MATH_REASONING: REASONING,
}
"""By task; anything else counts as writing. The sizes are this product's conventions, set low on
purpose: the evaluation against the base says when a larger one is needed."""


@dataclass(frozen=True)
class Needs:
    """What is wanted of a base model."""

    reach: Reach
    """By the task."""
    floor_b: float = 0.0
    """Smallest size that is within reach, in billions of parameters."""
    moved: tuple[str, ...] = ()
    """What moved it away from what the task alone wants; half sentences."""
    parameters_max_b: float | None = None
    """Largest size, in billions of parameters; None for no bound."""
    size_is_wished: bool = False
    """Whether the bound says what is wanted, so that the largest within it is taken."""
    languages: tuple[str, ...] = ()
    """ISO 639-1."""
    permissive: bool = False
    """Whether only Apache-2.0, MIT or BSD will do (rule L2)."""
    commercial: bool = False
    """Whether the licence must permit commercial use (rule L1)."""
    context_tokens: int = 0
    """Longest row, with room for reasoning."""


def needs_of(brief: Brief, task: str, longest_row_tokens: int) -> Needs:
    """Return what a brief and its data want of a base model.

    Args:
        brief: What is known.
        task: A value of `Task`, or empty.
        longest_row_tokens: Longest row of the data, in tokens; 0 when unknown.
    """
    reach = REACHES.get(task, WRITING)
    device = Signal.DEVICE_SMALL in brief.signals
    bound = brief.parameters_max_b
    if device:
        bound = min(DEVICE_MAX_B, bound or DEVICE_MAX_B)
    languages = brief.languages or ((brief.language,) if brief.language != "en" else ())
    floor_b, moved = _floor(brief, reach, device, set(languages) - {"en"} != set())
    reasoning = REASONING_TOKENS if task == Task.MATH_REASONING else 0
    return Needs(
        reach=reach,
        floor_b=floor_b,
        moved=moved,
        parameters_max_b=bound,
        size_is_wished=bound is not None and not device and bound <= WISHED_SIZE_MAX_B,
        languages=languages,
        permissive=Signal.PERMISSIVE_LICENCE in brief.signals,
        commercial=Signal.COMMERCIAL_USE in brief.signals,
        context_tokens=longest_row_tokens + reasoning,
    )


def _floor(
    brief: Brief, reach: Reach, device: bool, other_languages: bool
) -> tuple[float, tuple[str, ...]]:
    """Return the smallest size within reach, and what moved it by a class."""
    place = size_class(reach.floor_b)
    moved = []
    reinforced = brief.technique in REINFORCED or brief.data_shape == Shape.PROMPTS_WITH_CHECK
    if reach is CALLING and reinforced:
        place += 1
        moved.append("reinforcement needs a base that succeeds now and then (rule D8)")
    if reach in (SMALL, COPYING) and other_languages:
        place += 1
        moved.append("the smallest models hold little besides English")
    if Signal.CAPABILITY_NEEDS_SIZE in brief.signals:
        place += 1
        moved.append("it is to be good at much")
    if Signal.HIGH_VOLUME in brief.signals and place > 1:
        place -= 1
        moved.append("the volume pays for a smaller model (rule D11)")
    floor = SIZE_CLASSES_B[place]
    if device and floor > DEVICE_FLOOR_B:
        return DEVICE_FLOOR_B, (*moved, "it has to answer fast on a small device (rule B2)")
    return floor, tuple(moved)


def size_class(billions: float) -> int:
    """Return the place of a size in SIZE_CLASSES_B."""
    return max(place for place, low in enumerate(SIZE_CLASSES_B) if billions >= low)


@dataclass(frozen=True)
class Pool:
    """The models that meet what is wanted, as far as any does."""

    models: tuple[CatalogueModel, ...]
    """At least one when there was one to choose from."""
    missed: tuple[str, ...]
    """Which wishes none of them meets: `licence`, `size`, `language`, `context`."""


def pool_of(models: Sequence[CatalogueModel], needs: Needs) -> Pool:
    """Return the models that meet the wishes, the weightiest wish first.

    A wish that no model meets is set aside and named: the licence first, for it is law, then the
    size, the languages and the context.
    """
    kept = list(models)
    missed: list[str] = []
    for fits in _licence_wishes(needs):
        if found := [model for model in kept if fits(model)]:
            kept = found
        elif "licence" not in missed:
            missed.append("licence")
    if needs.parameters_max_b is not None:
        small = [model for model in kept if model.billions <= needs.parameters_max_b]
        if not small and kept:
            missed.append("size")
            least = min(model.parameter_count for model in kept)
            small = [model for model in kept if model.parameter_count == least]
        kept = small
    if needs.languages and kept:
        most = max(_spoken(model, needs) for model in kept)
        kept = [model for model in kept if _spoken(model, needs) == most]
        if most < len(set(needs.languages)):
            missed.append("language")
    if long := [model for model in kept if model.context_length >= needs.context_tokens]:
        kept = long
    elif kept:
        missed.append("context")
        most = max(model.context_length for model in kept)
        kept = [model for model in kept if model.context_length == most]
    return Pool(tuple(kept), tuple(missed))


def _spoken(model: CatalogueModel, needs: Needs) -> int:
    return len(set(needs.languages) & set(model.languages))


def _licence_wishes(needs: Needs) -> list[Callable[[CatalogueModel], bool]]:
    """Return the wishes about licences, the weightiest first.

    A licence that forbids any commercial use is avoided even where nobody asked: plans outlive
    what was said about them.
    """
    wishes: list[Callable[[CatalogueModel], bool]] = [
        lambda model: model.commercial_use is not CommercialUse.NO
    ]
    if needs.permissive:
        wishes.append(lambda model: model.is_permissive)
    if needs.commercial:
        allowed = (CommercialUse.YES, CommercialUse.CONDITIONS)
        wishes.append(lambda model: model.commercial_use in allowed)
        wishes.append(lambda model: model.commercial_use is CommercialUse.YES)
    return wishes
