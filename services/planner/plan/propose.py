"""From what is known to a complete plan: the same brief and data give the same spec."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attune.spec.v1 import grader_pb2, spec_pb2
from google.protobuf import duration_pb2

from services.common.errors import Violation, invalid
from services.planner.brief import PROBLEM_PATH, TARGET_PATH, Brief
from services.planner.plan.alias import derive_alias
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.choice import AGENT, DATA, OPERATOR, RULE, USER, Ledger
from services.planner.plan.recipe import recipe_for
from services.planner.plan.stages import Sources, propose_stage
from services.planner.plan.verdict import decide_verdict
from services.planner.spec.facts import set_base_model, set_data
from services.planner.spec.rules import TARGETS, violations

DEFAULT_TARGET = 0.8
SEED = 42
HOLDOUT_ROWS_WANTED = 50
HOLDOUT_FRACTION = 0.1
VALIDATION_FRACTION = 0.1
FEW_SHOT_EXAMPLES = 4
BOOTSTRAP_RESAMPLES = 10_000
ANSWER_MARGIN = 1.25
ANSWER_EXTRA_TOKENS = 8
REEVALUATION_S = 90 * 24 * 3600
GUIDELINES = (
    "Write each question as it will arrive in use, and the answer exactly as it should be given.",
    "Give like cases like answers: contradictions set the upper bound of the score.",
    "Keep the mix of answers close to what use will bring.",
    "Put every fact that an answer needs into its question.",
    "Never let a row, or one almost like it, stand in both training and hold-out.",
)
JSON_GUIDELINE = "Answer with one JSON object that always has the same keys in the same order."


def propose(brief: Brief, sources: Sources) -> spec_pb2.Spec:
    """Return the whole plan, without name, hash and compute.

    Args:
        brief: Has a problem and a dataset.
        sources: Data, models and recipes.

    Raises:
        InvalidArgument: If what was said breaks a rule of the spec; every such field is named.
    """
    ledger = Ledger(brief)
    model = _base_model(ledger, brief, sources)
    grader = _grader(sources)
    _objective(ledger, brief, grader.name)
    _data(ledger, brief, sources)
    spec = ledger.spec
    verdict = decide_verdict(
        brief, sources.dataset, spec.data.train_row_count, spec.data.holdout_row_count
    )
    spec.verdict.CopyFrom(verdict)
    propose_stage(ledger, sources, recipe_for(sources.recipes, model.parameter_count))
    _evaluation(ledger, sources, grader)
    _limits(ledger)
    _serving(ledger, brief, sources)
    if broken := violations(spec):
        raise invalid(broken)
    return spec


def _base_model(ledger: Ledger, brief: Brief, sources: Sources) -> CatalogueModel:
    default = sources.models[0]
    reason = "The largest base model that is at hand learns best from the same rows."
    if not default.is_at_hand:
        reason = "No base model is at hand, so the smallest one would have to be fetched."
    ledger.decide(
        "base_model.id",
        default.id,
        source=OPERATOR if sources.narrowed else RULE,
        origin="ATTUNE_PLANNER_BASE_MODELS" if sources.narrowed else "largest base model at hand",
        reason=reason,
        basic=True,
        allowed=[model.id for model in sources.models],
    )
    chosen = find_model(sources.models, ledger.spec.base_model.id)
    ledger.decide(
        "base_model.revision",
        chosen.revision,
        source=RULE,
        origin="newest revision at hand",
        reason="A pinned revision is the same model tomorrow; empty until it is fetched.",
    )
    set_base_model(ledger.spec, chosen)
    return chosen


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
    raise invalid([Violation("base_model.id", "UNKNOWN_MODEL", text)])


def _grader(sources: Sources) -> grader_pb2.Grader:
    reference = "{{item.reference}}"
    if sources.answers_are_json:
        kind = grader_pb2.JsonSchemaGrader(reference=reference)
        return grader_pb2.Grader(name="exact_json", json_schema=kind)
    check = grader_pb2.StringCheckGrader(
        input="{{sample.output_text}}",
        reference=reference,
        operation=grader_pb2.StringCheckGrader.OPERATION_EQ,
    )
    return grader_pb2.Grader(name="exact_match", string_check=check)


def _objective(ledger: Ledger, brief: Brief, metric: str) -> None:
    ledger.decide(
        PROBLEM_PATH,
        brief.problem,
        source=USER,
        origin="the conversation",
        reason="It is what the model is for.",
        basic=True,
    )
    if brief.users:
        ledger.decide(
            "objective.users",
            brief.users,
            source=USER,
            origin="the conversation",
            reason="They will read the answers.",
        )
    criterion = spec_pb2.SuccessCriterion(
        title="Share of exactly right answers on unseen rows",
        metric=metric,
        direction=spec_pb2.SuccessCriterion.DIRECTION_HIGHER_IS_BETTER,
    )
    ledger.spec.objective.success_criteria.append(criterion)
    ledger.decide(
        "objective.success_criteria.0.metric",
        metric,
        source=DATA,
        origin="the kind of the answers",
        reason="Every row has one right answer, so an answer is right or it is not.",
        basic=True,
    )
    ledger.decide(
        TARGET_PATH,
        DEFAULT_TARGET,
        source=AGENT,
        origin="left to the planner",
        reason="Four right answers in five is where help usually outweighs correcting it.",
        basic=True,
    )


def _data(ledger: Ledger, brief: Brief, sources: Sources) -> None:
    ledger.decide(
        "data.dataset",
        sources.dataset.name,
        source=USER,
        origin=f"attached: {sources.dataset.display_name}",
        reason="It is what the model learns from.",
        basic=True,
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
        row_count = sources.dataset.report.row_count
        share = min(0.5, max(HOLDOUT_FRACTION, HOLDOUT_ROWS_WANTED / row_count))
        ledger.decide(
            "data.holdout_fraction",
            round(share, 4),
            source=RULE,
            origin=f"a tenth, or {HOLDOUT_ROWS_WANTED} rows if that is more",
            reason="Enough unseen rows to tell an improvement from chance.",
            basic=True,
        )
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
    json_guideline = [JSON_GUIDELINE] if sources.answers_are_json else []
    ledger.decide(
        "data.guidelines.dos",
        [*json_guideline, *GUIDELINES],
        source=RULE,
        origin="OpenAI and Meta guides for authors of examples",
        reason="More rows only help when they follow the same rules.",
    )
    set_data(ledger.spec, sources.dataset, sources.holdout)


def _evaluation(ledger: Ledger, sources: Sources, grader: grader_pb2.Grader) -> None:
    spec = ledger.spec
    ledger.decide(
        "evaluation.graders",
        [grader],
        source=DATA,
        origin="all answers are JSON objects"
        if sources.answers_are_json
        else "answers are plain text",
        reason="The whole answer must be right"
        + (", whatever the order of its keys." if sources.answers_are_json else "."),
        basic=True,
    )
    context_length = spec.base_model.context_length
    longest = sources.longest("max_answer_token_count")
    wanted = math.ceil(longest * ANSWER_MARGIN) + ANSWER_EXTRA_TOKENS
    ledger.decide(
        "evaluation.max_answer_tokens",
        min(wanted, context_length),
        source=DATA,
        origin=f"the longest answer has {longest:,} tokens",
        reason="A quarter more than the longest answer, so that a wrong one may ramble a little.",
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
    for name, value, reason in (
        ("bootstrap_resample_count", BOOTSTRAP_RESAMPLES, "Enough for a steady 95 % interval."),
        ("confidence", 0.95, "The usual bar for telling an improvement from chance."),
        ("seed", 0, "A fixed seed gives the same interval for the same answers."),
    ):
        ledger.decide(
            f"evaluation.{name}",
            value,
            source=RULE,
            origin="paired bootstrap over the hold-out",
            reason=reason,
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
    ledger.decide(
        "serving.alias",
        derive_alias(brief.problem, sources.dataset.display_name),
        source=AGENT,
        origin="the words of the problem",
        reason="Applications call the model by this name.",
        basic=True,
    )
    ledger.decide(
        "serving.target",
        TARGETS[0],
        source=RULE,
        origin="adapters share the engine of their base",
        reason="It costs nothing more and can be taken back at once.",
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
    ledger.decide(
        "maintenance.reevaluation_interval",
        duration_pb2.Duration(seconds=REEVALUATION_S),
        source=RULE,
        origin="rule D13: every quarter",
        reason="Questions drift, and a model that is not looked at again goes stale unseen.",
    )
    ledger.decide(
        "maintenance.watch_base_model",
        True,
        source=RULE,
        origin="rule D13: bases are replaced",
        reason="A better base makes the same rows worth more.",
    )
    ledger.spec.display_name = brief.problem[:117] + "..." * (len(brief.problem) > 120)
