"""Complete plans, each value with its reason."""

from dataclasses import replace

import pytest
from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.approval import bars
from services.planner.brief import Brief
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.decision import decide
from services.planner.plan.propose import propose
from services.planner.spec.hash import DECISION_BLOCKS, spec_hash
from services.planner.spec.path import is_required, resolve, text_at
from services.planner.spec.rules import violations
from tests.planner.plans import STARTER, a_brief, a_spec, choice_of, facts, plan, sources

H = "stages.0.hyperparameters."
Choice = spec_pb2.Choice
SFT, DPO, RLVR, RLAIF = (
    stage_pb2.TECHNIQUE_SFT,
    stage_pb2.TECHNIQUE_DPO,
    stage_pb2.TECHNIQUE_RLVR,
    stage_pb2.TECHNIQUE_RLAIF,
)
CHAINS = [(SFT,), (DPO,), (RLVR,), (RLAIF,), (SFT, RLVR), (SFT, DPO), (SFT, DPO, RLVR, RLAIF), ()]
METHODS = [1, 2, 3, 4]
OTHERS_ALLOWED = {"allowed": (), "local": ()}


@pytest.fixture(params=CHAINS, ids=lambda chain: "-".join(map(str, chain)) or "none")
def chain(request):
    return request.param


def test_every_block_is_filled_and_keeps_every_rule(chain):
    spec = plan(a_brief(), techniques=chain)
    for block in DECISION_BLOCKS:
        assert resolve(spec, block).is_set or (block == "stages" and not chain), block
    assert violations(spec) == []
    assert [stage.technique for stage in spec.stages] == list(chain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("described", [False, True])
def test_every_technique_goes_with_every_method_on_rows_and_on_words(chain, method, described):
    if method == stage_pb2.METHOD_FULL:
        chain = chain[:1]  # A chain trains one adapter.
    from_ = sources(described=described, **OTHERS_ALLOWED)
    spec = plan(a_brief(data_row_count=900), from_, techniques=chain, method=method)
    assert violations(spec) == []
    assert all(stage.method == method for stage in spec.stages)
    assert spec.data.provisional == described
    assert spec.data.train_row_count + spec.data.holdout_row_count == (900 if described else 600)


def test_every_choice_leads_to_a_field_and_is_complete(chain):
    spec = plan(a_brief(holdout_rows=70), sources(), techniques=chain)
    paths = [choice.field_path for choice in spec.choices]
    assert len(paths) == len(set(paths))
    for choice in spec.choices:
        resolve(spec, choice.field_path)
        assert choice.source, choice.field_path
        assert choice.tier, choice.field_path
        assert choice.origin, choice.field_path
        assert choice.reason.endswith("."), choice.field_path


def required(message, path):
    """Yield the paths of all required fields of a message that are no messages themselves."""
    for field, value in message.ListFields():
        inner = f"{path}{field.name}"
        if field.message_type is not None and not field.is_repeated:
            yield from required(value, f"{inner}.")
        elif is_required(field) and field.message_type is None:
            yield inner


def test_no_required_hyperparameter_lacks_a_recommended_value(chain):
    spec = plan(a_brief(), techniques=chain)
    recommended = {choice.field_path: choice.recommended for choice in spec.choices}
    for index, stage in enumerate(spec.stages):
        paths = list(required(stage.hyperparameters, f"stages.{index}.hyperparameters."))
        assert len(paths) > 10
        for path in [*paths, f"stages.{index}.technique", f"stages.{index}.method"]:
            assert recommended[path], path


def test_every_field_of_stages_and_evaluation_that_is_set_has_a_choice(chain):
    spec = plan(a_brief(), techniques=chain)
    paths = {choice.field_path for choice in spec.choices}
    for index, stage in enumerate(spec.stages):
        for part in ("", "lora.", "dpo.", "rl."):
            inside = f"hyperparameters.{part}"
            held = stage.hyperparameters
            held = getattr(held, part.rstrip(".")) if part else held
            names = [field.name for field, _ in held.ListFields() if field.message_type is None]
            assert {f"stages.{index}.{inside}{name}" for name in names} <= paths
    assert {f"evaluation.{field.name}" for field, _ in spec.evaluation.ListFields()} <= paths


def test_what_is_recommended_is_what_stands_there_unless_a_person_decided(chain):
    spec = plan(a_brief(), techniques=chain)
    for choice in spec.choices:
        if choice.source != Choice.SOURCE_USER:
            assert choice.recommended == text_at(spec, choice.field_path), choice.field_path


def test_numbers_have_ranges_that_hold_them(chain):
    spec = plan(a_brief(), techniques=chain)
    ranged = [choice for choice in spec.choices if choice.HasField("minimum")]
    assert len(ranged) > (15 if chain else 5)
    for choice in ranged:
        place = resolve(spec, choice.field_path)
        assert not place.is_set or choice.minimum <= place.value <= choice.maximum


def test_only_what_was_said_is_the_persons():
    told = {"objective.problem", "objective.success_criteria.0.target", "data.dataset"}
    spec = plan(a_brief(overrides={H + "lora.rank": 8}), sources())
    theirs = {each.field_path for each in spec.choices if each.source == Choice.SOURCE_USER}
    assert theirs == {*told, H + "lora.rank"}


def test_a_wish_wins_over_the_recipe_and_both_are_told():
    spec = a_spec(overrides={H + "lora.rank": 8})
    choice = choice_of(spec, H + "lora.rank")
    assert spec.stages[0].hyperparameters.lora.rank == 8
    assert (choice.recommended, choice.source) == ("16", Choice.SOURCE_USER)
    assert "as I said" in choice.origin


def test_alpha_follows_a_rank_and_the_rate_a_batch_unless_they_were_said_too():
    spec = a_spec(overrides={H + "lora.rank": 8, H + "effective_batch_size": 64})
    tuned = spec.stages[0].hyperparameters
    assert (tuned.lora.alpha, tuned.learning_rate) == (32, 0.008)
    assert choice_of(spec, H + "learning_rate").source == Choice.SOURCE_RULE
    both = {H + "lora.rank": 8, H + "lora.alpha": 10}
    assert a_spec(overrides=both).stages[0].hyperparameters.lora.alpha == 10


@pytest.mark.parametrize(
    ("path", "value", "written"),
    [
        ("schedule", "constant", stage_pb2.Hyperparameters.SCHEDULE_CONSTANT),
        ("schedule", "constant with warmup", stage_pb2.Hyperparameters.SCHEDULE_CONSTANT),
        ("schedule", 2, stage_pb2.Hyperparameters.SCHEDULE_LINEAR),
        ("lora.target_modules", "q_proj, v_proj", ["q_proj", "v_proj"]),
        ("lora.rank", 32.0, 32),
        ("assistant_only_loss", "false", False),
        ("max_step_count", 200, 200),
        ("lora.rank_stabilized", True, True),
        ("packing", True, True),
        ("seed", 0, 0),
    ],
)
def test_what_was_said_takes_the_type_of_its_field(path, value, written):
    spec = a_spec(overrides={H + path: value})
    assert resolve(spec, H + path).value == written
    assert choice_of(spec, H + path).source == Choice.SOURCE_USER


@pytest.mark.parametrize(
    ("path", "value"),
    [("lora.rank", 5000), ("learning_rate", 7.0), ("lora.rank", 1.5), ("schedule", "zigzag")],
)
def test_what_cannot_stand_there_is_left_out(path, value):
    spec = a_spec(overrides={H + path: value, H + "seed": 7})
    assert text_at(spec, H + path) == text_at(a_spec(), H + path)
    assert choice_of(spec, H + path).source == Choice.SOURCE_RECIPE
    assert spec.stages[0].hyperparameters.seed == 7


def test_in_a_chain_a_value_goes_to_the_stage_that_has_its_field():
    said = {H + "rl.group_size": 16, H + "learning_rate": 0.001, H + "dpo.beta": 0.2}
    spec = plan(a_brief(overrides=said), techniques=(SFT, RLVR))
    first, second = spec.stages
    assert second.hyperparameters.rl.group_size == 16
    assert first.hyperparameters.learning_rate == 0.001
    assert second.hyperparameters.learning_rate == 0.00027
    assert not first.hyperparameters.HasField("dpo")
    assert choice_of(spec, "stages.1.hyperparameters.rl.group_size").source == Choice.SOURCE_USER


@pytest.mark.parametrize("techniques", [(SFT, DPO), (SFT, RLVR), (SFT, DPO, RLVR, RLAIF)])
def test_all_stages_of_a_chain_train_one_adapter(techniques):
    said = {H + "lora.rank": 48, "stages.1.hyperparameters.lora.alpha": 7}
    spec = plan(a_brief(overrides=said), techniques=techniques)
    shapes = [stage.hyperparameters.lora for stage in spec.stages]
    assert {one.rank for one in shapes} == {48}
    assert all(one.alpha == shapes[0].alpha for one in shapes)
    assert all(one.target_modules == shapes[0].target_modules for one in shapes)
    assert choice_of(spec, "stages.1.hyperparameters.lora.rank").source == Choice.SOURCE_RULE


def test_technique_and_method_are_the_persons_when_they_named_them():
    spec = plan(a_brief(technique="DPO", method="QLoRA"), techniques=(DPO,), method=2)
    for name in ("technique", "method"):
        assert choice_of(spec, f"stages.0.{name}").source == Choice.SOURCE_USER
    assert choice_of(spec, "stages.0.method").recommended == "METHOD_LORA"
    other = plan(a_brief(technique="SFT"), techniques=(DPO,))
    assert choice_of(other, "stages.0.technique").source == Choice.SOURCE_DATA


def test_target_deadline_budget_and_alias_come_from_what_was_said():
    spec = a_spec(target=0.9, deadline_s=7200, cost_cap_micro_usd=5_000_000, alias="router")
    assert spec.objective.success_criteria[0].target == 0.9
    assert spec.limits.deadline.seconds == 7200
    assert spec.limits.cost_cap_micro_usd == 5_000_000
    assert spec.serving.alias == "router"
    for path in ("serving.alias", "limits.deadline", "objective.success_criteria.0.target"):
        assert choice_of(spec, path).source == Choice.SOURCE_USER


def test_lengths_come_from_the_longest_row_of_both_datasets():
    held = facts("b2", max_token_count=300, max_answer_token_count=90)
    spec = plan(a_brief(), sources(holdout=held))
    assert spec.stages[0].hyperparameters.max_length == 320
    assert spec.evaluation.max_answer_tokens == 121
    assert spec.evaluation.few_shot_example_count == 2  # A third row of 300 would not fit.


def test_prompt_and_completion_of_reinforcement_fit_into_the_context():
    tuned = plan(a_brief(), techniques=(RLVR,)).stages[0].hyperparameters
    assert tuned.rl.max_completion_length == 512  # Half of the starter's 1,024 tokens.
    assert tuned.rl.max_prompt_length + tuned.rl.max_completion_length == tuned.max_length == 1024
    wide = plan(a_brief(), sources(**OTHERS_ALLOWED), techniques=(RLVR,)).stages[0].hyperparameters
    assert (wide.rl.max_prompt_length, wide.rl.max_completion_length) == (512, 1024)
    reasoned = plan(a_brief(task="math_reasoning"), sources(**OTHERS_ALLOWED), techniques=(RLVR,))
    assert reasoned.stages[0].hyperparameters.rl.max_completion_length == 2048


def test_a_hold_out_that_was_named_is_used_as_it_is():
    data = a_spec().data
    assert data.split_method == spec_pb2.Data.SPLIT_METHOD_GIVEN
    assert (data.train_row_count, data.holdout_row_count) == (600, 150)
    assert not data.HasField("holdout_fraction")
    assert data.minimum_detectable_difference == 0.08


def test_without_a_hold_out_a_seeded_share_is_held_out():
    data = plan(a_brief(), sources(facts(row_count=200))).data
    assert data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM
    assert data.holdout_fraction == 0.25
    assert (data.train_row_count, data.holdout_row_count) == (150, 50)


def test_a_stated_hold_out_is_the_persons_unless_it_leaves_nothing():
    spec = plan(a_brief(holdout_rows=120), sources())
    choice = choice_of(spec, "data.holdout_rows")
    assert (spec.data.holdout_row_count, spec.data.train_row_count) == (120, 480)
    assert (choice.source, choice.recommended) == (Choice.SOURCE_USER, "60")
    too_many = plan(a_brief(holdout_rows=600), sources())
    assert too_many.data.holdout_row_count == 60


def test_a_plan_from_words_says_that_it_is_provisional():
    spec = plan(a_brief(data_row_count=2000, data_shape="demonstrations"), sources(described=True))
    assert (spec.data.dataset, spec.data.provisional) == ("", True)
    assert (spec.data.train_row_count, spec.data.holdout_row_count) == (1800, 200)
    assert spec.data.preparation_steps[0].startswith("You: upload the rows")
    assert spec.stages[0].hyperparameters.max_length == 1024


def test_steps_are_the_trainers_own_or_asked_of_the_person():
    flawed = facts(format="mixed", contradictory_row_count=1, near_duplicate_row_count=2)
    steps = list(plan(a_brief(), sources(flawed), techniques=(SFT,)).data.preparation_steps)
    assert steps[:2] == [
        "You: look at 2 rows nearly equal to an earlier one.",
        "You: settle 1 row whose prompt has another answer elsewhere.",
    ]
    assert any("Make chats" in step for step in steps)
    rated = plan(a_brief(), sources(facts(format="ratings")), techniques=(SFT,))
    assert rated.data.preparation_steps[0].startswith("You: write each row as a chat")
    clean = list(a_spec().data.preparation_steps)
    assert not any(step.startswith("You: ") for step in [*clean, *steps[2:]])
    assert any("Mask" in step for step in clean)
    pairs = plan(a_brief(), techniques=(DPO,)).data.preparation_steps
    assert not any("Mask" in step for step in pairs)
    assert list(plan(a_brief(), techniques=()).data.preparation_steps) == []


def test_repeated_rows_are_left_out_unless_a_person_wants_them():
    doubled = sources(facts(row_count=620, valid_row_count=620, duplicate_row_count=20))
    spec = plan(a_brief(), doubled)
    assert spec.data.drop_repeated_rows
    assert spec.data.train_row_count + spec.data.holdout_row_count == 600
    assert "Leave out 20 rows equal to an earlier one." in spec.data.preparation_steps
    kept = plan(a_brief(overrides={"data.drop_repeated_rows": "false"}), doubled)
    assert kept.data.train_row_count + kept.data.holdout_row_count == 620
    assert "You: remove 20 rows equal to an earlier one." in kept.data.preparation_steps
    assert not a_spec().data.HasField("drop_repeated_rows")


def test_the_operator_may_narrow_the_base_models():
    larger = CatalogueModel("org/larger", "MIT", 2048, 9_000_000, "test", "cd" * 32)
    spec = plan(a_brief(), sources(local=(STARTER, larger), allowed=("attune/starter",)))
    choice = choice_of(spec, "base_model.id")
    assert spec.base_model.id == "attune/starter"
    assert (choice.source, list(choice.allowed_values)) == (
        Choice.SOURCE_OPERATOR,
        ["attune/starter"],
    )


def test_a_plan_may_name_a_model_that_is_not_at_hand_and_one_that_nobody_knows():
    spec = plan(a_brief(base_model="Qwen/Qwen3-4B"), sources(**OTHERS_ALLOWED))
    assert (spec.base_model.id, spec.base_model.revision) == ("Qwen/Qwen3-4B", "")
    assert spec.stages[0].hyperparameters.learning_rate == 2e-4
    unknown = plan(a_brief(base_model="Nobody-Knows-7B-v0.9"), sources(**OTHERS_ALLOWED))
    assert unknown.base_model.id == "Nobody-Knows-7B-v0.9"
    assert violations(unknown) == []
    assert choice_of(unknown, "base_model.id").source == Choice.SOURCE_USER


def test_what_was_rejected_is_told_with_reasons_and_is_not_what_was_chosen(chain):
    spec = plan(a_brief(), techniques=chain)
    names = {SFT: "SFT", DPO: "DPO", RLVR: "RLVR", RLAIF: "RLAIF"}
    for stage in spec.stages:
        titles = {each.title for each in stage.rejected_alternatives}
        assert {"full fine-tuning", "QLoRA"} <= titles
        assert not titles & {"LoRA", *(names[technique] for technique in chain)}
        assert all(each.reason for each in stage.rejected_alternatives)


def test_advice_and_its_rules_come_from_the_decision():
    spec = plan(a_brief(), instead=("Write a prompt.",), would_change=("More rows.",))
    assert spec.verdict.rules[0] == "V7"
    assert list(spec.verdict.instead) == ["Write a prompt."]
    assert list(spec.verdict.would_change) == ["More rows."]


def test_task_and_languages_come_from_words_or_rows():
    said = a_spec(task="style", languages=("de", "fr"))
    assert (said.objective.task, list(said.objective.languages)) == ("style", ["de", "fr"])
    shares = [
        dataset_pb2.LanguageShare(language="da", share=0.7),
        dataset_pb2.LanguageShare(language="und", share=0.25),
        dataset_pb2.LanguageShare(language="en", share=0.05),
    ]
    shown = plan(a_brief(), sources(facts(languages=shares)))
    assert list(shown.objective.languages) == ["da"]


@pytest.mark.parametrize("length", [119, 120, 121, 500])
def test_the_title_is_the_problem_cut_to_what_is_allowed(length):
    title = a_spec(problem="x" * length).display_name
    assert len(title) == min(length, 120)
    assert title.endswith("...") == (length > 120)


def test_the_same_brief_and_data_give_the_same_spec(chain):
    brief = Brief.from_json(a_brief(overrides={H + "seed": 3}).to_json())
    used = sources(holdout=facts("b2", row_count=150))
    decision = replace(decide(brief, used.dataset, used.holdout), techniques=chain)
    assert propose(brief, used, decision) == propose(brief, used, decision)
    assert spec_hash(a_spec()) != spec_hash(plan(a_brief(), sources(facts("c3"))))


def named_base(model_id: str, **said) -> spec_pb2.Spec:
    """Return a plan for pairs with a base model that was named."""
    used = sources(facts(format="preference", json_answer_share=0.0), local=(), allowed=(model_id,))
    return plan(a_brief(task="dialogue", base_model=model_id, **said), used)


def test_a_base_that_only_continues_text_learns_the_preferred_answers_before_the_pairs():
    spec = named_base("HuggingFaceTB/SmolLM2-135M")
    assert [stage.technique for stage in spec.stages] == [SFT, DPO]
    assert "T9" in spec.verdict.rules
    choice = choice_of(spec, "stages.0.technique")
    assert "only continues text" in choice.reason
    assert "Rafailov et al. 2023" in choice.origin
    assert violations(spec) == []
    assert bars(spec, facts(format="preference"), None) == []


@pytest.mark.parametrize(
    ("model_id", "said"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", {}),
        ("HuggingFaceTB/SmolLM2-135M", {"technique": "DPO"}),
        ("HuggingFaceTB/SmolLM2-135M", {"method": "full"}),
    ],
)
def test_pairs_are_learnt_at_once_where_the_base_answers_already_or_dpo_was_asked_for(
    model_id, said
):
    assert [stage.technique for stage in named_base(model_id, **said).stages] == [DPO]


def test_sft_alone_is_not_approved_for_pairs():
    spec = named_base("HuggingFaceTB/SmolLM2-135M")
    del spec.stages[1]
    (bar,) = bars(spec, facts(format="preference"), None)
    assert bar.reason == "DATA_UNFIT"
