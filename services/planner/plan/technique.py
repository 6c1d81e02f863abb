"""How to train: rules T1 to T9 over the shape of the data and what was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from attune.spec.v1 import stage_pb2

from services.planner.plan.evidence import SUCCESS_HIGH, SUCCESS_LOW, Evidence
from services.planner.vocabulary import Shape, Signal

SFT = stage_pb2.TECHNIQUE_SFT
DPO = stage_pb2.TECHNIQUE_DPO
RLVR = stage_pb2.TECHNIQUE_RLVR
RLAIF = stage_pb2.TECHNIQUE_RLAIF
NAMES = {SFT: "SFT", DPO: "DPO", RLVR: "RLVR", RLAIF: "RLAIF"}
LEAST = {SFT: 50, DPO: 200, RLVR: 100, RLAIF: 200}
"""Rows from which a technique is worth a run (field research 6.2, recommended start)."""
UNITS = {
    SFT: "demonstrations",
    DPO: "pairs",
    RLVR: "prompts that code can check",
    RLAIF: "prompts with a rubric",
}
METHODS = {
    "lora": stage_pb2.METHOD_LORA,
    "qlora": stage_pb2.METHOD_QLORA,
    "dora": stage_pb2.METHOD_DORA,
    "full": stage_pb2.METHOD_FULL,
}
REJECTED_METHODS = {
    stage_pb2.METHOD_LORA: ("LoRA", "Another method was asked for."),
    stage_pb2.METHOD_FULL: (
        "full fine-tuning",
        "It costs far more memory and forgets more, for no gain at this size.",
    ),
    stage_pb2.METHOD_QLORA: (
        "QLoRA",
        "Four-bit weights save memory at some cost in speed; it is for bases that do not fit.",
    ),
    stage_pb2.METHOD_DORA: ("DoRA", "It trains more slowly than LoRA and seldom scores higher."),
}


@dataclass(frozen=True)
class TechniqueChoice:
    """What to train with, stage by stage."""

    techniques: tuple[stage_pb2.Technique.ValueType, ...] = ()
    """In order; empty when nothing can be trained on."""
    rule: str = ""
    """The rule that decided, such as `T2`."""
    sources: tuple[str, ...] = ()
    """Rules of the field research behind it, such as `D6`."""
    reason: str = ""
    """One sentence."""
    origin: str = ""
    """The rule in words, such as `rule T2: pairs`."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """What else was considered, each with the reason."""
    conflict: str = ""
    """A technique that was asked for and cannot be had, in one sentence; empty otherwise."""

    @property
    def least(self) -> int:
        """Rows from which the first stage is worth a run; 0 when there is none."""
        return LEAST[self.techniques[0]] if self.techniques else 0


Chosen = tuple[tuple[stage_pb2.Technique.ValueType, ...], str]
"""Techniques in order, and the reason in one sentence."""


@dataclass(frozen=True)
class TechniqueRule:
    """One row of the table."""

    id: str
    statement: str
    sources: tuple[str, ...]
    choose: Callable[[Evidence], Chosen | None]
    """Returns None when the rule does not apply."""


def choose_technique(evidence: Evidence) -> TechniqueChoice:
    """Return how to train on what there is; the data decide, then what was asked for (T8)."""
    choice = TechniqueChoice()
    for rule in TECHNIQUE_RULES:
        if chosen := rule.choose(evidence):
            techniques, reason = chosen
            origin = f"rule {rule.id}: {rule.statement}"
            choice = TechniqueChoice(techniques, rule.id, rule.sources, reason, origin)
            break
    wished = evidence.brief.technique
    if wished and choice.techniques and wished != NAMES[choice.techniques[0]]:
        choice = _wished(evidence, choice, wished)
    elif wished and wished not in NAMES.values():
        choice = TechniqueChoice(conflict=f"{wished} is not offered here.")
    return replace(choice, rejected=_rejected(evidence, choice.techniques))


def choose_method(evidence: Evidence) -> stage_pb2.Method.ValueType:
    """Return the method that was asked for, else LoRA (D9, D10)."""
    wished = evidence.brief.method.lower().split()
    return METHODS.get(wished[0] if wished else "", stage_pb2.METHOD_LORA)


def _wished(evidence: Evidence, choice: TechniqueChoice, wished: str) -> TechniqueChoice:
    """Return what was asked for where the data allow it (T8), else the choice with the conflict."""
    by_name = {name: technique for technique, name in NAMES.items()}
    if wished not in by_name:
        instead = NAMES[choice.techniques[0]]
        return replace(choice, conflict=f"{wished} is not offered here; the data fit {instead}.")
    technique = by_name[wished]
    if technique in choice.techniques:
        return choice
    lack = lacking(evidence, technique)
    if not lack:
        return TechniqueChoice(
            (technique,),
            "T8",
            ("D6",),
            f"{wished} was asked for, and the data allow it.",
            "rule T8: a technique that is named is kept when the data allow it",
        )
    text = f"{wished} was asked for, but {lack[0].lower()}{lack[1:]}"
    kept = NAMES[choice.techniques[0]]
    return replace(choice, conflict=f"{text} The plan follows the data with {kept}.")


def lacking(evidence: Evidence, technique: stage_pb2.Technique.ValueType) -> str:
    """Return what a technique lacks, one sentence; empty when the data allow it."""
    shape = evidence.shape
    if technique == SFT:
        shows = evidence.has_demonstrations or shape in (Shape.TEXT, Shape.PAIRS, Shape.RATINGS)
        return "" if shows else "There are no model answers to learn from."
    if technique == DPO:
        paired = shape == Shape.PAIRS or evidence.has_paired_ratings
        text = "There are no pairs of a better and a worse answer to the same prompt."
        return "" if paired else text
    if technique == RLVR:
        if not evidence.has_check:
            return "No code can tell a right answer from a wrong one here."
        base = evidence.brief.base_success
        if base is not None and base < SUCCESS_LOW and not evidence.has_demonstrations:
            return f"The base model succeeds in {base:.0%} of the cases, too few to learn from."
        return ""
    text = "There is no rubric that people agree on for a judge to follow."
    return "" if evidence.has_rubric else text


def _pairs(evidence: Evidence) -> Chosen | None:
    if evidence.shape != Shape.PAIRS:
        return None
    reason = "Each row says which of two answers to the same prompt is better."
    if evidence.has(Signal.EDITED_DRAFTS):
        reason += " The edited answers alone would do for SFT too."
    return (DPO,), reason


def _ratings(evidence: Evidence) -> Chosen | None:
    if evidence.shape != Shape.RATINGS:
        return None
    if evidence.has_paired_ratings:
        return (DPO,), "The same prompts have liked and disliked answers, which make pairs."
    return (SFT,), "No prompt has a liked and a disliked answer, so the liked ones are learnt from."


def _check_without_success(evidence: Evidence) -> Chosen | None:
    base = evidence.brief.base_success
    if not evidence.has_check or base is None or base >= SUCCESS_LOW:
        return None
    if not evidence.has_demonstrations:
        return None
    return (SFT, RLVR), (
        f"The base model succeeds in {base:.0%} of the cases: demonstrations come first, then the "
        "check sharpens what was learnt."
    )


def _check_and_demonstrations(evidence: Evidence) -> Chosen | None:
    if not (evidence.has_check and evidence.has_demonstrations):
        return None
    if evidence.shape == Shape.PROMPTS_WITH_CHECK:
        return None
    reason = "Demonstrations teach first; the check judges the result and can sharpen it later."
    return (SFT,), reason


def _check(evidence: Evidence) -> Chosen | None:
    if not evidence.has_check or evidence.shape not in (Shape.PROMPTS_WITH_CHECK, Shape.PROMPTS):
        return None
    base = evidence.brief.base_success
    if base is not None and base < SUCCESS_LOW:
        return None
    share = "an unknown share" if base is None else f"{base:.0%}"
    return (RLVR,), (
        f"Code can check the answers, nobody wrote them down, and the base model gets {share} "
        f"right; between {SUCCESS_LOW:.0%} and {SUCCESS_HIGH:.0%} there is something to sharpen."
    )


def _rubric(evidence: Evidence) -> Chosen | None:
    if evidence.shape != Shape.PROMPTS or lacking(evidence, RLAIF):
        return None
    return (RLAIF,), "There are prompts and an agreed rubric, and no answers to imitate."


def _demonstrations(evidence: Evidence) -> Chosen | None:
    if evidence.shape == Shape.TEXT:
        return (SFT,), "The texts themselves show what is wanted; whole rows are learnt."
    if evidence.shape != Shape.DEMONSTRATIONS:
        return None
    reason = "Each row shows one right answer, which is what supervised fine-tuning learns from."
    return (SFT,), reason


TECHNIQUE_RULES = (
    TechniqueRule("T2", "answers to one prompt in an order: DPO", ("D6", "D7"), _pairs),
    TechniqueRule(
        "T3", "thumbs: DPO where they pair up, else SFT on the liked answers", ("D6",), _ratings
    ),
    TechniqueRule(
        "T5",
        "a check by code and base success about 0: SFT first",
        ("D8",),
        _check_without_success,
    ),
    TechniqueRule(
        "T6",
        "a check by code and demonstrations: SFT first",
        ("D6", "D8"),
        _check_and_demonstrations,
    ),
    TechniqueRule(
        "T4",
        "prompts, a check by code, some base success, no demonstrations: RLVR",
        ("D6", "D7", "D8"),
        _check,
    ),
    TechniqueRule(
        "T7", "prompts and an agreed rubric, no references: RLAIF", ("D2", "D6"), _rubric
    ),
    TechniqueRule("T1", "demonstrations: SFT", ("D6", "D7"), _demonstrations),
)
"""First match wins. T8, what was asked for, is applied to what they give."""


def preferred_answers_first(
    techniques: tuple[stage_pb2.Technique.ValueType, ...],
    method: stage_pb2.Method.ValueType,
    wished: str,
    *,
    continues_text: bool,
) -> bool:
    """Return whether a plan of pairs first learns the preferred answers (rule T9).

    DPO begins with a model that can give such answers; where there is none, it is made by learning
    the preferred ones (Rafailov et al. 2023, section 4).

    Args:
        techniques: That the data led to.
        method: Of all stages; where all weights learn there is one stage.
        wished: Technique that was named, which is kept as it is.
        continues_text: Whether the base model only continues text.
    """
    adapts = method != stage_pb2.METHOD_FULL
    return techniques == (DPO,) and adapts and not wished and continues_text


def _rejected(
    evidence: Evidence, techniques: tuple[stage_pb2.Technique.ValueType, ...]
) -> dict[str, str]:
    """Return everything that is not proposed, each with the reason."""
    weaker = {
        SFT: "Imitating the better answers alone would leave out what the worse ones tell.",
        DPO: "The order of answers says less here than the signal that was chosen.",
        RLVR: "Reinforcement sharpens what a model can do already; demonstrations teach it.",
        RLAIF: "A judge's opinion is weaker than what the rows themselves show.",
    }
    reasons = {
        NAMES[technique]: lacking(evidence, technique) or weaker[technique]
        for technique in LEAST
        if technique not in techniques
    }
    if evidence.shape == Shape.RATINGS:
        reasons["KTO"] = "It learns from single thumbs, but it is not offered here."
    method = choose_method(evidence)
    reasons |= {title: why for each, (title, why) in REJECTED_METHODS.items() if each != method}
    return reasons
