"""From what is known to a complete plan: the same brief and data give the same spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attune.spec.v1 import spec_pb2

from services.common.errors import Violation, invalid
from services.planner.brief import PROBLEM_PATH, Brief
from services.planner.plan.alias import derive_alias
from services.planner.plan.base_choice import BaseChoice, choose_base
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.choice import AGENT, DATA, REINFORCED, RULE, USER, Ledger
from services.planner.plan.decision import Decision
from services.planner.plan.evaluation import propose_evaluation
from services.planner.plan.guidelines import propose_guidelines
from services.planner.plan.maintenance import propose_maintenance
from services.planner.plan.reward import propose_reward
from services.planner.plan.stages import Sources, propose_stage
from services.planner.plan.technique import DPO, SFT, preferred_answers_first
from services.planner.plan.user_values import MERGED_ONLY
from services.planner.spec.facts import set_base_model, set_data
from services.planner.spec.rules import DEDICATED, SHARED, TARGETS, TEXT_LENGTHS, violations

SEED = 42
HOLDOUT_ROWS_WANTED = 50
HOLDOUT_FRACTION = 0.1
VALIDATION_FRACTION = 0.1
LANGUAGE_SHARE_MIN = 0.2
"""Share of the rows from which on a language belongs to the task when nobody named any."""
DISPLAY_CHARACTERS_MAX = 120


def propose(brief: Brief, sources: Sources, decision: Decision) -> spec_pb2.Spec:
    """Return the whole plan, without name, hash, compute and notices.

    A value that was said and cannot work is left out; `check_user_values` tells why.

    Args:
        brief: Has a problem.
        sources: Data, models and recipes.
        decision: Verdict, techniques and kinds of check; a decision without techniques gives a
            plan without stages.

    Raises:
        InvalidArgument: If what was said breaks a rule between fields; every such field is named.
    """
    base = choose_base(
        brief,
        decision.task,
        sources.models,
        narrowed=sources.narrowed,
        longest_row_tokens=sources.longest("max_token_count"),
    )
    decision = _fitted(decision, brief, base.model)
    ledger = Ledger(brief, decision.techniques)
    spec = ledger.spec
    unknown = spec_pb2.Verdict.RECOMMENDATION_UNSPECIFIED
    spec.verdict.recommendation = decision.recommendation or unknown
    spec.verdict.reason = decision.reason
    spec.verdict.rules.extend(decision.rules)
    spec.verdict.instead.extend(decision.instead[:6])
    spec.verdict.would_change.extend(decision.would_change[:6])
    _objective(ledger, brief, sources, decision)
    _base_model(ledger, base, sources)
    _data(ledger, brief, sources)
    for index, technique in enumerate(decision.techniques):
        propose_stage(ledger, index, brief, sources, decision)
        if technique in REINFORCED:
            propose_reward(ledger, index, brief, sources, decision)
    # Steps of preparation and advice to authors follow what is trained.
    set_data(spec, sources.dataset, sources.holdout, brief.data_row_count or 0)
    propose_guidelines(ledger, sources, decision)
    propose_evaluation(ledger, brief, sources, decision)
    _limits(ledger)
    _serving(ledger, brief, sources)
    propose_maintenance(ledger)
    spec.display_name = _title(brief.problem)
    if broken := violations(spec):
        raise invalid(broken)
    return spec


def _title(problem: str) -> str:
    if len(problem) <= DISPLAY_CHARACTERS_MAX:
        return problem
    return problem[: DISPLAY_CHARACTERS_MAX - 3] + "..."


def find_model(models: Sequence[CatalogueModel], model_id: str) -> CatalogueModel:
    """Return the model with an id.

    Raises:
        InvalidArgument: If a plan may not name it; the message lists those it may.
    """
    for model in models:
        if model.id == model_id:
            return model
    known = ", ".join(model.id for model in models)
    text = f"'{model_id[:200]}' is not among the base models here. Choose one of: {known}."
    raise invalid([Violation("base_model.id", "UNKNOWN_MODEL", text[:2000])])


def _objective(ledger: Ledger, brief: Brief, sources: Sources, decision: Decision) -> None:
    ledger.decide(
        PROBLEM_PATH,
        brief.problem[: TEXT_LENGTHS[PROBLEM_PATH][1]],
        source=USER,
        origin="the conversation",
        reason="It is what the model is for.",
        basic=True,
    )
    if brief.users:
        ledger.decide(
            "objective.users",
            brief.users[: TEXT_LENGTHS["objective.users"][1]],
            source=USER,
            origin="the conversation",
            reason="They will read the answers.",
        )
    if decision.task:
        ledger.decide(
            "objective.task",
            decision.task,
            source=AGENT if brief.task else DATA,
            origin="the words of the problem" if brief.task else "the shape of the rows",
            reason="Graders, base model and advice to authors follow the kind of task.",
        )
    shown = [
        each.language
        for each in (sources.dataset.report.languages if sources.dataset else ())
        if each.share >= LANGUAGE_SHARE_MIN and each.language != "und"
    ]
    if languages := list(brief.languages) or shown:
        ledger.decide(
            "objective.languages",
            languages[:20],
            source=AGENT if brief.languages else DATA,
            origin="the conversation" if brief.languages else "the languages of the rows",
            reason="The base model must be good at each of them.",
        )


def _fitted(decision: Decision, brief: Brief, base: CatalogueModel) -> Decision:
    """Return the decision with what the base model needs before its first stage."""
    if not preferred_answers_first(
        decision.techniques,
        decision.method,
        brief.technique,
        continues_text=base.continues_text,
    ):
        return decision
    return replace(
        decision,
        techniques=(SFT, DPO),
        rules=(*decision.rules, "T9"),
        technique_reason="The base model only continues text: it learns the preferred answers "
        "first, then what sets them apart from the rejected ones.",
        technique_origin="rule T9: pairs and a base that follows no instructions: SFT on the "
        "preferred answers, then DPO (Rafailov et al. 2023, section 4)",
    )


def _base_model(ledger: Ledger, chosen: BaseChoice, sources: Sources) -> None:
    ledger.decide(
        "base_model.id",
        chosen.model.id,
        value=chosen.model.id,
        source=chosen.source,
        origin=chosen.origin,
        reason=chosen.reason,
        basic=True,
        allowed=[model.id for model in sources.models] if sources.narrowed else (),
    )
    ledger.decide(
        "base_model.revision",
        chosen.model.revision,
        source=RULE,
        origin="newest revision at hand",
        reason="A pinned revision is the same model tomorrow; empty until it is fetched.",
    )
    for model_id, reason in chosen.alternatives:
        ledger.spec.base_model.alternatives.add(title=model_id, reason=reason)
    set_base_model(ledger.spec, chosen.model)


def _data(ledger: Ledger, brief: Brief, sources: Sources) -> None:
    if sources.dataset is not None:
        ledger.decide(
            "data.dataset",
            sources.dataset.name,
            source=USER,
            origin=f"attached: {sources.dataset.display_name}",
            reason="It is what the model learns from.",
            basic=True,
        )
    repeated = sources.dataset.report.duplicate_row_count if sources.dataset else 0
    if repeated:
        ledger.decide(
            "data.drop_repeated_rows",
            True,
            source=DATA,
            origin=f"{repeated:,} rows equal an earlier one",
            reason="A row that stands twice is learnt twice, for nothing new.",
        )
    if sources.holdout is not None:
        ledger.decide(
            "data.holdout_dataset",
            sources.holdout.name,
            source=USER,
            origin=f"named with the dataset: {sources.holdout.display_name}",
            reason="Rows chosen in advance make results comparable between plans.",
            basic=True,
        )
    else:
        _split(ledger, brief, sources)
    ledger.decide(
        "data.validation_fraction",
        VALIDATION_FRACTION,
        source=RULE,
        origin="AWS SageMaker recipes 2.0 split 0.9",
        reason="These rows choose the best checkpoint, so that the hold-out stays unseen.",
    )
    ledger.decide(
        "data.split_seed",
        SEED,
        source=RULE,
        origin="a fixed seed",
        reason="The same split every time makes two plans comparable.",
    )
    set_data(ledger.spec, sources.dataset, sources.holdout, brief.data_row_count or 0)


def _split(ledger: Ledger, brief: Brief, sources: Sources) -> None:
    """Decide how many rows are held out: as many as were said, else a share."""
    report = sources.dataset.report if sources.dataset else None
    known = report.row_count - report.duplicate_row_count if report else brief.data_row_count
    share = min(0.5, max(HOLDOUT_FRACTION, HOLDOUT_ROWS_WANTED / known)) if known else None
    origin = f"a tenth, or {HOLDOUT_ROWS_WANTED} rows if that is more"
    reason = "Enough unseen rows to tell an improvement from chance."
    if brief.holdout_rows and (known is None or brief.holdout_rows < known):
        ledger.decide(
            "data.holdout_rows",
            round((known or 0) * (share or 0)) or HOLDOUT_ROWS_WANTED,
            source=RULE,
            origin=origin,
            reason=reason,
            basic=True,
        )
        return
    ledger.decide(
        "data.holdout_fraction",
        round(share or HOLDOUT_FRACTION, 4),
        source=RULE,
        origin=origin,
        reason=reason,
        basic=True,
    )


def _limits(ledger: Ledger) -> None:
    ledger.decide(
        "limits.permitted_fallbacks",
        ["smaller_micro_batch", "gradient_checkpointing"],
        source=RULE,
        origin="replacements that change no result",
        reason="They only trade time for memory, so they need no new approval.",
    )
    for name, text in (("deadline", "time"), ("cost_cap_micro_usd", "money")):
        ledger.decide(
            f"limits.{name}",
            None,
            source=RULE,
            origin="no limit was named",
            reason=f"Without a limit the plan may take the {text} that its estimate shows.",
        )


def _serving(ledger: Ledger, brief: Brief, sources: Sources) -> None:
    shown = sources.dataset.display_name if sources.dataset else ""
    ledger.decide(
        "serving.alias",
        derive_alias(brief.problem, shown),
        source=AGENT,
        origin="the words of the problem",
        reason="Applications call the model by this name.",
        basic=True,
    )
    whole = any(stage.method in MERGED_ONLY for stage in ledger.spec.stages)
    ledger.decide(
        "serving.target",
        DEDICATED if whole else SHARED,
        source=RULE,
        origin="a whole model has no base to share an engine with"
        if whole
        else "adapters share the engine of their base",
        reason="The method makes a whole model, which needs an engine of its own."
        if whole
        else "It costs nothing more and can be taken back at once.",
        basic=True,
        allowed=TARGETS,
    )
    ledger.decide(
        "serving.parity_tolerance",
        1e-3,
        source=RULE,
        origin="measured differences stay below 1e-5 in 32-bit floats",
        reason="Larger differences mean another template, another adapter or a broken engine.",
    )
