"""Chooses the base model by what the objective needs, the smallest that is within reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from attune.spec.v1 import spec_pb2

from services.planner.brief import Brief
from services.planner.plan.base_named import find_named, named_size
from services.planner.plan.base_needs import (
    Needs,
    Pool,
    needs_of,
    pool_of,
    size_class,
)
from services.planner.plan.catalogue import CatalogueModel, CommercialUse
from services.planner.plan.choice import OPERATOR, RULE, USER
from services.planner.plan.notices import Note, note

PATH = "base_model.id"
SHORT_CONTEXT = 8192
"""Tokens; models with less leave no room for long rows or many examples in a prompt."""
WISHED_SHARE_MIN = 0.5
"""Of a wished size: a model of half of it that is good at the task beats one that is not."""
STEP_RATIOS = (1.4, 3.4)
"""How much larger or smaller the next model is, so that the step is worth it and still one step."""
WEIGHT_BYTES = 2
"""Per parameter in bfloat16."""
Direction = Literal["smaller", "larger"]


@dataclass(frozen=True)
class BaseChoice:
    """The base model of a plan, and why."""

    model: CatalogueModel
    """What was chosen; figures that nobody knows are 0."""
    source: spec_pb2.Choice.Source.ValueType
    """USER when it was named, OPERATOR when the settings narrow it, RULE otherwise."""
    origin: str
    """The sentence, the setting or the rule."""
    reason: str
    """One sentence with its figures."""
    alternatives: tuple[tuple[str, str], ...]
    """Id and trade-off of up to two others: a smaller one, a larger one."""
    notes: tuple[Note, ...]
    """What the person should know."""


def choose_base(
    brief: Brief,
    task: str,
    models: Sequence[CatalogueModel],
    *,
    narrowed: bool,
    longest_row_tokens: int,
) -> BaseChoice:
    """Return the base model for a brief.

    A named model is kept, by its catalogue id where it is known. Otherwise the licence, the size,
    the languages and the context bound the choice, and the smallest size within reach of the task
    is taken; among models of one size those good at the task, permissive and new come first.

    Args:
        brief: What is known.
        task: A value of `Task`, or empty.
        models: What a plan may name, at least one.
        narrowed: Whether the operator narrowed them; then what is at hand wins.
        longest_row_tokens: Longest row of the data, in tokens; 0 when unknown.
    """
    needs = needs_of(brief, task, longest_row_tokens)
    named = find_named(brief.base_model, models) if brief.base_model else ()
    if brief.base_model and not named and not narrowed:
        return _unknown(brief, models, needs)
    at_hand = [model for model in models if model.is_at_hand]
    pool = pool_of(named or (narrowed and at_hand) or models, needs)
    chosen = best(pool.models, needs)
    if named:
        # A family's name leaves the size open; one model's name leaves nothing open.
        source, origin = USER, _said(brief)
        reason = f"You named it: {described(chosen)}."
    elif narrowed:
        source, origin = OPERATOR, "ATTUNE_PLANNER_BASE_MODELS"
        reason = f"The operator allows {len(models)}; this fits best: {described(chosen)}."
    else:
        source, origin = RULE, f"rule {needs.reach.rule}: smallest within reach"
        reason = _reason(chosen, needs, task)
    return BaseChoice(
        chosen,
        source,
        origin,
        reason,
        _alternatives(chosen, models, needs),
        (*_missed(chosen, pool, brief, needs), *_refused(brief, named, models)),
    )


def best(models: Sequence[CatalogueModel], needs: Needs) -> CatalogueModel:
    """Return the best of models that all meet the wishes, at least one.

    The smallest size class within reach; the largest one when a size was wished for, or when all
    are below reach. In it the best by `_preference`.
    """
    within = [model for model in models if model.billions >= needs.floor_b]
    if needs.size_is_wished and needs.parameters_max_b:
        least = needs.parameters_max_b * WISHED_SHARE_MIN
        near = [model for model in models if model.billions >= least]
        alike = [model for model in near if needs.reach.strength in model.strengths]
        within = alike or near or list(models)
        place = max(size_class(model.billions) for model in within)
    elif within:
        place = min(size_class(model.billions) for model in within)
    else:
        within = list(models)
        place = max(size_class(model.billions) for model in within)
    sized = [model for model in within if size_class(model.billions) == place]
    return min(sized, key=lambda model: _preference(model, needs))


def _preference(model: CatalogueModel, needs: Needs) -> tuple[object, ...]:
    """Return the sort key of models of one size, best first."""
    strength = needs.reach.strength
    return (
        strength not in model.strengths,
        model.strengths[:1] != (strength,),
        not model.instruction_tuned,
        not model.is_at_hand,
        model.context_length < SHORT_CONTEXT,
        not model.is_permissive,
        model.commercial_use is not CommercialUse.YES,
        -int(model.released.replace("-", "") or 0),
        model.gated,
        -len(model.languages),
        model.id,
    )


def step(
    model: CatalogueModel, models: Sequence[CatalogueModel], direction: Direction, needs: Needs
) -> CatalogueModel | None:
    """Return the next smaller or larger model: of the same family where it has one.

    Args:
        model: The present one.
        models: What a plan may name.
        direction: `smaller` ignores what the task would need, for the person asks for it; `larger`
            stays within a size bound.
        needs: Licence, languages and context hold as before.

    Returns:
        None when there is none that meets the wishes.
    """
    if not model.parameter_count:
        return None
    bound = needs.parameters_max_b if direction == "larger" else None
    pool = pool_of(models, replace(needs, parameters_max_b=bound)).models
    low, high = STEP_RATIOS
    ratios: dict[str, float] = {}
    for each in pool:
        ratio = each.billions / model.billions
        ratio = 1 / ratio if direction == "smaller" else ratio
        if ratio >= low and (bound is None or each.billions <= bound):
            ratios[each.id] = ratio
    farther = [each for each in pool if each.id in ratios]
    if not farther:
        return None
    near = [each for each in farther if ratios[each.id] <= high]
    if not near:
        least = min(ratios.values())
        near = [each for each in farther if ratios[each.id] <= least * low]
    return min(near, key=lambda each: (_family(each) != _family(model), _preference(each, needs)))


def _family(model: CatalogueModel) -> str:
    """Return what a model's kin share: its maker and the word its name starts with."""
    maker, _, name = model.id.partition("/")
    return f"{maker}/{name.split('-')[0]}".lower()


def described(model: CatalogueModel) -> str:
    """Return a model's figures in a few words."""
    count = model.parameter_count
    known = f"{size_text(count)} parameters" if count else "size unknown"
    if model.active_parameter_count:
        known += f" ({size_text(model.active_parameter_count)} of them active)"
    licence = model.licence or "licence unknown"
    context = f"{model.context_length:,} tokens of context" if model.context_length else ""
    return ", ".join(part for part in (known, licence, context) if part)


def size_text(parameter_count: int) -> str:
    """Return a number of parameters as people write it: `135M`, `4.0B`, `120B`."""
    if parameter_count >= 99.5e9:
        return f"{parameter_count / 1e9:.0f}B"
    if parameter_count >= 0.95e9:
        return f"{parameter_count / 1e9:.1f}B"
    return f"{parameter_count / 1e6:.3g}M"


def _said(brief: Brief) -> str:
    return f"You said: {brief.sentences.get(PATH, brief.base_model)}"


def _reason(chosen: CatalogueModel, needs: Needs, task: str) -> str:
    words = task.replace("_", " ") or "the task"
    if needs.size_is_wished and needs.parameters_max_b is not None:
        why = f"It is the best fit of the size you named, at most {needs.parameters_max_b:g}B"
    elif chosen.billions < needs.floor_b:
        why = (
            f"The bounds leave nothing of the {needs.floor_b:g}B that "
            f"{words} would want, so it is the largest that they allow"
        )
    else:
        because = ", and ".join((needs.reach.reason, *needs.moved))
        why = f"It is the smallest that is within reach of {words}: {because}"
    spoken = [code for code in needs.languages if code in chosen.languages]
    languages = f"; its maker declares {', '.join(spoken)}" if spoken else ""
    access = "; its owner must grant access first" if chosen.gated else ""
    return f"{why}. {described(chosen)}{languages}{access}."


def _alternatives(
    chosen: CatalogueModel, models: Sequence[CatalogueModel], needs: Needs
) -> tuple[tuple[str, str], ...]:
    found = []
    if smaller := step(chosen, models, "smaller", needs):
        found.append(
            (smaller.id, f"{_compared(smaller, chosen)}; smaller, and weaker on hard rows.")
        )
    if larger := step(chosen, models, "larger", needs):
        found.append(
            (larger.id, f"{_compared(larger, chosen)}; larger, and stronger on hard rows.")
        )
    return tuple(found)


def _compared(other: CatalogueModel, chosen: CatalogueModel) -> str:
    """Return what another model costs beside the chosen one, with figures."""
    share = other.active_count / chosen.active_count
    compute = f"{share:.2g} times the compute per token"
    return (
        f"{described(other)}: {_gigabytes(other)} of weights in bfloat16 instead of "
        f"{_gigabytes(chosen)}, and {compute}"
    )


def _gigabytes(model: CatalogueModel) -> str:
    return f"{model.parameter_count * WEIGHT_BYTES / 1e9:.3g} GB"


def _missed(chosen: CatalogueModel, pool: Pool, brief: Brief, needs: Needs) -> list[Note]:
    """Return a note for each wish that the chosen model does not meet."""
    found = []
    if "licence" in pool.missed and (needs.commercial or needs.permissive):
        found.append(
            note("licence_unclear", field_path=PATH, licence=chosen.licence, model=chosen.id)
        )
    if "size" in pool.missed:
        limit = f"{needs.parameters_max_b:g}B"
        found.append(
            note("size_bound_missed", field_path=PATH, rule="B1", model=chosen.id, limit=limit)
        )
    if "language" in pool.missed and brief.languages:
        lacking = ", ".join(code for code in needs.languages if code not in chosen.languages)
        found.append(
            note("language_not_covered", field_path=PATH, language=lacking, model=chosen.id)
        )
    return found


def _refused(
    brief: Brief, named: Sequence[CatalogueModel], models: Sequence[CatalogueModel]
) -> list[Note]:
    """Return a note when a named model is not among those that the operator allows."""
    if not brief.base_model or named:
        return []
    allowed = ", ".join(model.id for model in models[:5])
    conflict = f"'{brief.base_model}' is not among the base models allowed here: {allowed}"
    return [note("conflict_named", field_path=PATH, conflict=conflict)]


def _unknown(brief: Brief, models: Sequence[CatalogueModel], needs: Needs) -> BaseChoice:
    """Return the choice of a name that nothing is known of: kept, with no figure but its own."""
    name = brief.base_model.strip()
    size = named_size(name)
    source = "named in the conversation; not in the catalogue"
    if size:
        source += "; the number of parameters is a guess from the name"
    model = CatalogueModel(name, "", 0, size, source)
    guess = f" Its name says {size_text(size)} parameters; the rest is unknown." if size else ""
    return BaseChoice(
        model,
        USER,
        _said(brief),
        f"You named it, and it is not in the catalogue.{guess}",
        _alternatives(model, models, needs),
        (note("base_model_unknown", field_path=PATH, rule="U1", model=name),),
    )
