"""How a plan's result is judged: graders, success criteria, baselines, intervals."""

from __future__ import annotations

import math

from attune.spec.v1 import grader_pb2, spec_pb2

from services.planner.brief import TARGET_PATH, Brief
from services.planner.plan.choice import AGENT, DATA, REINFORCED, RULE, USER, Ledger
from services.planner.plan.decision import Decision
from services.planner.plan.graders import (
    JUDGED,
    PAIRED,
    evaluation_kinds,
    grader,
    judge_of,
    kind_name,
)
from services.planner.plan.stages import Sources
from services.planner.plan.technique import DPO
from services.planner.spec.rules import context_of

DEFAULT_TARGET = 0.8
"""Four right answers in five: where help usually outweighs correcting it."""
WIN_RATE_TARGET = 0.6
"""Three comparisons won of five: a plain majority beyond chance at 100 rows or more."""
PREFERENCE_TARGET = 0.6
"""Published models tuned on preferences seldom hold the preferred answer of more than three pairs
in five for the likelier one (Chen et al. 2024, "Preference learning algorithms do not learn
preference rankings")."""
SIMILARITY_TARGET = 0.6
"""More than half of the wording; to be set anew once the baseline is known."""
GAIN_WANTED = 0.1
"""Added to what the base reaches today when that is above what would be the target."""
TARGET_MAX = 0.98
FEW_SHOT_EXAMPLES = 4
BOOTSTRAP_RESAMPLES = 10_000
ANSWER_MARGIN = 1.25
ANSWER_EXTRA_TOKENS = 8
ANSWER_TOKENS_UNKNOWN = 512
"""Longest answer in tokens while no rows are there to count."""
CRITERIA_MAX = 5
GENERAL_TEXT = (
    "The harbour lay quiet after the storm. Two men mended a net on the quay, and a girl counted "
    "the boats that had come home: seven of nine. By noon the baker had sold out of bread, the "
    "bells rang for the market, and somebody asked what the weather would be like tomorrow."
)
"""Plain prose that no task is about; a model that forgets finds it less likely than before."""
TITLES = {
    "exact_match": "Share of exactly right answers on unseen rows",
    "exact_json": "Share of exactly right answers on unseen rows",
    "macro_f1": "F1 over the labels, each counting the same",
    "json_schema": "Share of answers that are valid JSON",
    "score_model": "Mean score that the judge gives unseen answers",
    "label_model": "Share of unseen answers that the judge passes",
    "win_rate": "Share of comparisons with the base that it wins",
    PAIRED: "Share of unseen pairs whose preferred answer it holds for the likelier one",
    "text_similarity": "Likeness to the reference answers on unseen rows",
    "rouge_l": "ROUGE-L against the reference answers on unseen rows",
    "tool_call": "Share of unseen rows with the right calls",
    "math": "Share of right results on unseen problems",
    "numeric": "Share of right numbers on unseen rows",
    "unit_tests": "Share of unseen tasks whose tests pass",
    "regex": "Share of answers in the wanted form",
    "length": "Share of answers within the length",
    "string_check": "Share of answers that pass the check",
}
"""Of success criteria, by kind of check."""
REASONS = {
    "exact_match": "Every row has one right answer, so an answer is right or it is not.",
    "exact_json": "The whole answer must be right, whatever the order of its keys.",
    "macro_f1": "Small classes count as much as large ones, which a share of right ones hides.",
    "win_rate": "Many answers are good; a judge compares each with the base's, in both orders.",
    PAIRED: "The trainer has no judge, and the pairs that are held out say themselves which answer "
    "is better.",
    "score_model": "Many answers are good; a judge compares each with the criteria.",
    "label_model": "Many answers are good; a judge says of each whether it passes.",
    "tool_call": "What counts is which calls are made, with which arguments.",
    "unit_tests": "Code is right when its tests pass, however it is written.",
    "math": "What counts is the result, however it is written.",
    "numeric": "What counts is the number, within its tolerance.",
}
"""Why a kind of check fits, one sentence; the rule's own words for the others."""


def propose_evaluation(ledger: Ledger, brief: Brief, sources: Sources, decision: Decision) -> None:
    """Decide graders, success criteria and how the comparison is made.

    Args:
        ledger: Has the base model and the data already.
        brief: What was said.
        sources: Lengths and shape of the rows.
        decision: Names the kinds of check.
    """
    kinds = evaluation_kinds(
        _without_judge(brief, decision) if sources.has_judge is False else decision.grader_kinds,
        answers_are_json=sources.answers_are_json,
        reinforced=any(each in REINFORCED for each in decision.techniques),
    )
    judge = judge_of(brief, decision.task)
    by_name = {each.name: each for each in brief.criteria}
    tokens = sources.longest("max_answer_token_count")
    made = [
        grader(kind, judge, criterion=by_name.get(kind), answer_tokens=tokens)
        for kind in kinds
        if kind != "macro_f1"
    ]
    _graders(ledger, brief, made, kinds[0], sources)
    _criteria(ledger, brief, kinds, made)
    _settings(ledger, sources, tokens)


def _without_judge(brief: Brief, decision: Decision) -> tuple[str, ...]:
    """Return the kinds of check where there is no judge: those that were asked for, and others.

    Where only a judge could tell, its kinds stay, and the plan says what is missing.
    """
    kept = [
        kind for kind in decision.grader_kinds if kind not in JUDGED or kind in brief.grader_kinds
    ]
    if DPO in decision.techniques:
        asked = [kind for kind in kept if kind in brief.grader_kinds]
        kept = [*asked, PAIRED, *kept, "text_similarity"]
    return tuple(dict.fromkeys(kept)) or decision.grader_kinds


def _graders(
    ledger: Ledger,
    brief: Brief,
    made: list[grader_pb2.Grader],
    deciding: str,
    sources: Sources,
) -> None:
    asked = set(brief.grader_kinds) & {each.name for each in made}
    shown = {"exact_json": "all answers are JSON objects", "exact_match": "answers are plain text"}
    known = sources.dataset is not None and deciding in shown
    ledger.decide(
        "evaluation.graders",
        made,
        source=DATA if known else RULE,
        origin=shown[deciding]
        if known
        else "rules G1 to G11: graders follow the task"
        + (f"; you asked for {', '.join(sorted(asked))}" if asked else ""),
        reason=REASONS.get(deciding, "It measures what the task is about.")
        if deciding != "exact_match"
        else "The whole answer must be right.",
        basic=True,
    )
    for index, each in enumerate(made):
        kind = kind_name(each)
        if kind in JUDGED:
            judge_choice(ledger, f"evaluation.graders.{index}.{kind}.model", brief, each)


def judge_choice(ledger: Ledger, path: str, brief: Brief, made: grader_pb2.Grader) -> None:
    """Say who chose the judge at a path of the spec that holds it already."""
    ledger.decide(
        path,
        getattr(made, kind_name(made)).model,
        source=USER if brief.judge_model else RULE,
        origin=f"You named {brief.judge_model}" if brief.judge_model else "recommended open judge",
        reason="An open model at temperature 0 gives the same score twice and costs little; "
        "compare it with 50 scores by people before you trust it.",
    )


def _criteria(
    ledger: Ledger, brief: Brief, kinds: tuple[str, ...], made: list[grader_pb2.Grader]
) -> None:
    criteria = ledger.spec.objective.success_criteria
    for index, kind in enumerate(kinds[:CRITERIA_MAX]):
        over = kind if kind != "macro_f1" else made[0].name
        criterion = criteria.add(
            title=TITLES.get(kind, kind),
            direction=spec_pb2.SuccessCriterion.DIRECTION_HIGHER_IS_BETTER,
        )
        if kind == "macro_f1":
            criterion.aggregate = spec_pb2.SuccessCriterion.AGGREGATE_MACRO_F1
        ledger.decide(
            f"objective.success_criteria.{index}.metric",
            over,
            source=DATA if index == 0 and kind in ("exact_match", "exact_json") else RULE,
            origin="the kind of the answers" if index == 0 else "rules G1 to G11",
            reason=REASONS.get(kind, "It measures what the task is about."),
            basic=index == 0,
        )
    target, reason = default_target(kinds[0], brief.base_success)
    ledger.decide(
        TARGET_PATH,
        target,
        source=AGENT,
        origin="left to the planner",
        reason=reason,
        basic=True,
    )


def default_target(kind: str, base_success: float | None) -> tuple[float, str]:
    """Return a target when nobody named one, and why.

    Args:
        kind: Of the deciding check.
        base_success: Share that the base gets right today, in [0, 1]; None while unknown.
    """
    if kind == "win_rate":
        return WIN_RATE_TARGET, "Three comparisons won of five is more than chance or taste."
    if kind == PAIRED:
        return (
            PREFERENCE_TARGET,
            "A coin gets half of the pairs right, and few models three in five.",
        )
    if kind in ("text_similarity", "rouge_l"):
        text = "More than half of the wording; set it anew once the baseline is known."
        return SIMILARITY_TARGET, text
    if base_success is not None and base_success + GAIN_WANTED > DEFAULT_TARGET:
        target = round(min(TARGET_MAX, base_success + GAIN_WANTED), 2)
        text = f"The base reaches {base_success:.0%} today; less of a gain would not pay."
        return target, text
    return DEFAULT_TARGET, "Four right answers in five is where help usually outweighs correcting."


def _settings(ledger: Ledger, sources: Sources, tokens: int) -> None:
    spec = ledger.spec
    context_length = context_of(spec)
    wanted = math.ceil(tokens * ANSWER_MARGIN) + ANSWER_EXTRA_TOKENS
    ledger.decide(
        "evaluation.max_answer_tokens",
        min(wanted if tokens else ANSWER_TOKENS_UNKNOWN, context_length),
        source=DATA if tokens else RULE,
        origin=f"the longest answer has {tokens:,} tokens"
        if tokens
        else "no answers are known yet",
        reason="A quarter more than the longest answer, so that a wrong one may ramble a little."
        if tokens
        else "Room for a page; the rows will say how much is needed.",
    )
    row = max(1, sources.longest("max_token_count"))
    room = (context_length - spec.evaluation.max_answer_tokens - row) // row
    ledger.decide(
        "evaluation.few_shot_example_count",
        max(0, min(FEW_SHOT_EXAMPLES, room)),
        source=RULE,
        origin="as many as fit into the context, at most 4",
        reason="A fair rival: the tuned model must beat the base with examples in its prompt.",
    )
    held, step = spec.data.holdout_row_count, spec.data.minimum_detectable_difference
    told = (
        f" With {held:,} unseen rows, differences below {step:.1%} may be chance." if step else ""
    )
    for name, value, reason in (
        ("bootstrap_resample_count", BOOTSTRAP_RESAMPLES, "Enough for a steady 95 % interval."),
        (
            "confidence",
            0.95,
            "It is better when the whole interval of the difference lies above zero, worse when "
            f"below, and cannot be told otherwise.{told}",
        ),
        ("seed", 0, "A fixed seed gives the same interval for the same answers."),
    ):
        ledger.decide(
            f"evaluation.{name}",
            value,
            source=RULE,
            origin="paired bootstrap over the hold-out",
            reason=reason,
        )
    ledger.decide(
        "evaluation.general_ability_check",
        GENERAL_TEXT,
        source=RULE,
        origin="plain prose that the task is not about",
        reason="Its loss before and after shows what general ability the training cost.",
    )
