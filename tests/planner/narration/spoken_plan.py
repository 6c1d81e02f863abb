"""A small plan made by hand, so that what is said of it depends on nothing else."""

from attune.spec.v1 import compute_pb2, evaluation_pb2, grader_pb2, spec_pb2, stage_pb2
from google.protobuf import duration_pb2

Choice = spec_pb2.Choice
RATE = "stages.0.hyperparameters.learning_rate"
RANK = "stages.0.hyperparameters.lora.rank"
ALPHA = "stages.0.hyperparameters.lora.alpha"
EPOCHS = "stages.0.hyperparameters.epoch_count"
BETA = "stages.0.hyperparameters.dpo.beta"
TARGET = "objective.success_criteria.0.target"


def choice(path: str, recommended: str, source: int, origin: str, reason: str, **more) -> Choice:
    """Return where a value came from."""
    return Choice(
        field_path=path,
        recommended=recommended,
        source=source,
        origin=origin,
        reason=reason,
        tier=Choice.TIER_BASIC,
        **more,
    )


def a_stage() -> stage_pb2.Stage:
    """Return supervised fine-tuning with LoRA."""
    tuned = stage_pb2.Hyperparameters(
        learning_rate=2e-4,
        schedule=stage_pb2.Hyperparameters.SCHEDULE_COSINE,
        epoch_count=3,
        effective_batch_size=16,
        max_length=1024,
        seed=1234,
        assistant_only_loss=True,
        lora=stage_pb2.LoraParameters(rank=16, alpha=32, dropout=0.05),
    )
    return stage_pb2.Stage(
        technique=stage_pb2.TECHNIQUE_SFT,
        method=stage_pb2.METHOD_LORA,
        hyperparameters=tuned,
    )


def some_choices() -> list[Choice]:
    """Return where the leading values of the plan came from."""
    return [
        choice(
            "base_model.id",
            "Qwen/Qwen3-8B",
            Choice.SOURCE_RULE,
            "rule B1",
            "It fits the size that was asked for.",
        ),
        choice(
            RATE,
            "0.0002",
            Choice.SOURCE_RECIPE,
            "sft-lora/9b: AWS SageMaker recipes 2.0",
            "Small adapters bear higher rates than all weights, and larger models lower ones.",
            minimum=0,
            maximum=0.1,
        ),
        choice(
            EPOCHS,
            "3",
            Choice.SOURCE_RECIPE,
            "sft-lora/9b: OpenAI cookbook",
            "Few rows need more passes.",
            minimum=0.1,
            maximum=100,
        ),
        choice(
            RANK,
            "16",
            Choice.SOURCE_RECIPE,
            "sft-lora/9b: TRL",
            "Enough capacity.",
            minimum=1,
            maximum=512,
        ),
    ]


def a_plan(**changes) -> spec_pb2.Spec:
    """Return a plan that trains on 1,300 rows; fields of the spec may be replaced."""
    check = grader_pb2.StringCheckGrader(
        input="{{sample.output_text}}",
        reference="{{item.reference}}",
        operation=grader_pb2.StringCheckGrader.OPERATION_EQ,
    )
    grader = grader_pb2.Grader(name="exact_match", string_check=check)
    criterion = spec_pb2.SuccessCriterion(
        title="Share of exactly right answers", metric="exact_match", target=0.85
    )
    fields: dict = {
        "revision": 1,
        "hash": "ab" * 32,
        "state": spec_pb2.Spec.STATE_DRAFT,
        "objective": spec_pb2.Objective(problem="Route tickets", success_criteria=[criterion]),
        "verdict": spec_pb2.Verdict(
            recommendation=spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE,
            reason="1,300 demonstrations show a stable behaviour, which training teaches; the "
            "baseline will show whether prompting alone is enough.",
            rules=["V7", "D5"],
        ),
        "base_model": spec_pb2.BaseModel(
            id="Qwen/Qwen3-8B", context_length=40960, parameter_count=8_200_000_000
        ),
        "data": spec_pb2.Data(
            dataset="projects/default/datasets/tickets",
            train_row_count=1300,
            holdout_row_count=150,
            minimum_detectable_difference=0.08,
        ),
        "stages": [a_stage()],
        "evaluation": evaluation_pb2.Evaluation(graders=[grader]),
        "compute": compute_pb2.ComputePlan(
            available=True,
            expected_duration=duration_pb2.Duration(seconds=9000),
            cost_micro_usd=12_500_000,
        ),
        "choices": some_choices(),
        **changes,
    }
    return spec_pb2.Spec(**fields)


def set_by_user(spec: spec_pb2.Spec, path: str, words: str) -> spec_pb2.Spec:
    """Return the plan with the choice of a field made by the person."""
    for each in spec.choices:
        if each.field_path == path:
            each.source = Choice.SOURCE_USER
            each.origin = f"You said: {words}"
            return spec
    spec.choices.append(
        choice(path, "", Choice.SOURCE_USER, f"You said: {words}", "You decided it.")
    )
    return spec


def advised_against(rule: str = "V2", **changes) -> spec_pb2.Spec:
    """Return a plan that trains nothing."""
    verdict = spec_pb2.Verdict(
        recommendation=spec_pb2.Verdict.RECOMMENDATION_RETRIEVE,
        reason="The answers depend on facts that change faster than a model is trained again; "
        "retrieve the facts at the time of the question.",
        rules=[rule, "D3"],
        instead=[
            "Keep the facts in a store that is updated when they change, and put what a question "
            "needs into the prompt."
        ],
        would_change=[
            "If tone or format of the answers is still wrong with the facts in the prompt, that "
            "behaviour can be trained from 50 or more good answers."
        ],
    )
    return a_plan(verdict=verdict, stages=[], compute=compute_pb2.ComputePlan(), **changes)
