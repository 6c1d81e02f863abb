"""What the deterministic reader finds in sentences, and what it must leave alone."""

import pytest

from services.planner.brief import DATASET_PATH, PROBLEM_PATH, TARGET_PATH, Brief
from services.planner.reading.interpreter import PROBLEM_CHARACTERS_MAX, DeterministicReader
from services.planner.vocabulary import Command, Signal
from tests.planner.plans import SENTENCE

READER = DeterministicReader(["attune/starter", "Qwen/Qwen3-4B", "Qwen/Qwen3-14B"])
KNOWN = Brief(problem=SENTENCE, dataset="projects/default/datasets/a1")
ASKED = KNOWN.asked(TARGET_PATH)
H = "stages.0.hyperparameters."


def read(message: str, brief: Brief = KNOWN):
    return READER.read(message, brief)


@pytest.mark.parametrize(
    ("message", "target"),
    [
        ("at least 85 % would do", 0.85),
        ("target 90%", 0.9),
        ("accuracy of 0.9 please", 0.9),
        ("it should be right in nine out of ten cases", 0.9),
        ("eighty-five percent correct", 0.85),
        ("92.5 per cent exactly right", 0.925),
        ("aim for 100 %", 1.0),
    ],
)
def test_a_success_target_is_read(message, target):
    assert read(message).target == pytest.approx(target)


@pytest.mark.parametrize(
    "message",
    [
        "I'd feel better with a learning rate of 5e-5. Otherwise as is.",
        "Full tuning is more than we can maintain. Use one of the adapter methods instead, I leave "
        "it to you which.",
    ],
)
def test_a_figure_that_answers_something_else_is_no_target(message):
    assert read(message, ASKED).target is None


def test_a_rare_case_that_must_be_found_is_no_target():
    assert read("The rare class is 1 % and must be found.", KNOWN).target is None


@pytest.mark.parametrize(
    ("message", "success"),
    [
        ("We ran 1,500 theses past the model: 1,461 were right.", 0.974),
        ("It solves 1,485 of those 1,500.", 0.99),
        ("The model lands within two per cent for 38 out of 100 exercises.", 0.38),
    ],
)
def test_counts_of_right_answers_are_a_share(message, success):
    assert read(message).base_success == pytest.approx(success)


def test_a_choice_of_one_among_many_is_no_share():
    assert read("Put each of the 900 notes under one of 24 subject groups.").base_success is None


def test_a_time_of_day_counts_no_rows():
    patch = read("The board meets tomorrow at 8, it's 8 in the evening now. Be done by then.")
    assert patch.data_row_count is None


def test_weights_that_add_up_to_one_are_criteria_and_no_target():
    patch = read("Rubric reward: correctness 0.4, empathy 0.3, clarity 0.3. I need 0.75 then.")
    assert [(each.name, each.weight) for each in patch.criteria] == [
        ("correctness", 0.4),
        ("empathy", 0.3),
        ("clarity", 0.3),
    ]
    named = read("An LLM judge with our rubric (plain_language 0.5, correctness 0.5).")
    assert [each.name for each in named.criteria] == ["plain_language", "correctness"]


def test_a_value_that_is_refused_is_not_set():
    patch = read("IPO rather than the sigmoid loss, DPO with beta 0.05.")
    assert patch.overrides[H + "dpo.loss_type"] == "ipo"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Every answer must name the by-law and the paragraph it took it from.", True),
        ("Giving the page of criteria to a chat model in the prompt satisfies four.", False),
        ("We have 140 drilling logs with the page that was sent.", False),
    ],
)
def test_a_page_that_is_written_is_not_cited(message, kept):
    assert (Signal.CITATIONS in read(message).signals) is kept


@pytest.mark.parametrize(
    ("message", "target"),
    [("85", 0.85), ("0.85", 0.85), ("80 %", 0.8), ("I would say 70%", 0.7), ("1", 1.0)],
)
def test_a_bare_number_answers_the_open_question(message, target):
    assert read(message, ASKED).target == pytest.approx(target)


@pytest.mark.parametrize("message", ["150 %", "0 %", "a lot"])
def test_what_is_no_share_is_no_target(message):
    assert read(message, ASKED).target is None


@pytest.mark.parametrize("message", ["You decide", "I don't know", "not sure, what is usual?"])
def test_the_target_may_be_left_to_the_planner(message):
    assert read(message, ASKED).target_delegated


def test_leaving_things_open_only_counts_when_the_target_was_asked():
    assert not read("you decide").target_delegated


@pytest.mark.parametrize(
    ("message", "path", "value"),
    [
        ("rank 8", H + "lora.rank", 8),
        ("set the rank to 32, please", H + "lora.rank", 32),
        ("r=4", H + "lora.rank", 4),
        ("alpha 64", H + "lora.alpha", 64),
        ("dropout 5 %", H + "lora.dropout", 0.05),
        ("dropout of 0.1", H + "lora.dropout", 0.1),
        ("use learning rate 1e-3", H + "learning_rate", 1e-3),
        ("lr = 0.0005", H + "learning_rate", 5e-4),
        ("3 epochs", H + "epoch_count", 3),
        ("epochs: 2.5", H + "epoch_count", 2.5),
        ("batch size 32", H + "effective_batch_size", 32),
        ("warm-up 10 %", H + "warmup_ratio", 0.1),
        ("weight decay 0.01", H + "weight_decay", 0.01),
        ("gradient clipping 0.5", H + "max_gradient_norm", 0.5),
        ("max length 512", H + "max_length", 512),
        ("seed 7", H + "seed", 7),
        ("patience 5", H + "early_stopping_patience", 5),
        ("2 evaluations per epoch", H + "evaluations_per_epoch", 2),
        ("a linear schedule", H + "schedule", 2),
        ("use rsLoRA", H + "lora.rank_stabilized", True),
        ("8 few-shot examples", "evaluation.few_shot_example_count", 8),
        ("validation 20 %", "data.validation_fraction", 0.2),
    ],
)
def test_a_setting_is_read_by_its_field_path(message, path, value):
    patch = read(message)
    assert patch.overrides == {path: pytest.approx(value)}
    assert patch.target is None


def test_several_settings_in_one_sentence_are_all_read():
    patch = read("use rank 8 and learning rate 1e-3 for 5 epochs, target 90 %")
    assert patch.overrides == {H + "lora.rank": 8, H + "learning_rate": 1e-3, H + "epoch_count": 5}
    assert patch.target == 0.9


def test_a_fraction_where_a_whole_number_is_due_becomes_a_note():
    patch = read("rank 8.5")
    assert patch.overrides == {}
    assert "rank 8.5" in patch.notes[0]


@pytest.mark.parametrize("message", ["Rank 10 results by relevance", "tickets of rank A"])
def test_words_that_only_look_like_settings_are_left_alone(message):
    assert read(message, Brief()).overrides == {}


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("it must be ready in two hours", 7200),
        ("deadline: 90 minutes", 5400),
        ("two hours", 7200),
        ("I want it within a day", 86400),
        ("time limit 1.5 h", 5400),
    ],
)
def test_a_deadline_is_read(message, seconds):
    assert read(message).deadline_s == seconds


def test_a_duration_inside_the_problem_is_no_deadline():
    patch = read("Sort messages that need an answer within two hours from the others.", Brief())
    assert patch.deadline_s is None
    assert "two hours" in patch.problem


@pytest.mark.parametrize(
    ("message", "micro_usd"),
    [("budget $20", 20_000_000), ("spend at most 5 dollars", 5_000_000), ("$2.50", 2_500_000)],
)
def test_a_budget_is_read(message, micro_usd):
    assert read(message).cost_cap_micro_usd == micro_usd


def test_a_price_inside_the_problem_is_no_budget():
    patch = read("Extract prices such as $20 from offers into a table.", Brief())
    assert patch.cost_cap_micro_usd is None
    assert patch.problem.startswith("Extract prices")


@pytest.mark.parametrize(
    ("message", "alias"),
    [("call it ticket-router", "ticket-router"), ("deploy it as `router2`.", "router2")],
)
def test_an_alias_is_read(message, alias):
    assert read(message).alias == alias


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("use DPO", "DPO"),
        ("try GRPO", "RLVR"),
        ("supervised fine-tuning", "SFT"),
    ],
)
def test_a_technique_is_read(message, title):
    assert read(message).technique == title


@pytest.mark.parametrize(
    ("message", "method"),
    [
        ("QLoRA please", "QLoRA"),
        ("DoRA with rank 8", "DoRA"),
        ("full fine-tuning", "full"),
        ("plain LoRA", "LoRA"),
    ],
)
def test_a_method_is_read(message, method):
    assert read(message).method == method


def test_a_base_model_is_read_by_its_id_or_its_short_name():
    assert read("use Qwen/Qwen3-14B").base_model == "Qwen/Qwen3-14B"
    assert read("take qwen3-4b instead").base_model == "Qwen/Qwen3-4B"
    assert read("take Qwen3-400B instead").base_model == "Qwen3-400B"
    assert read("Base: acme-lab/Tern-7b-v2").base_model == "acme-lab/Tern-7b-v2"


@pytest.mark.parametrize(
    "message", ["as good as Llama-3-70B", "answers generated by Qwen3-235B", "judged by Qwen3-32B"]
)
def test_a_model_that_is_named_for_something_else_is_no_base(message):
    assert read(message).base_model is None


@pytest.mark.parametrize(
    ("message", "bound"),
    [
        ("a model of about 8B", 9),
        ("a 7 to 9B model", 9),
        ("12 to 14B", 14),
        ("smaller than about 8B", 7),
        ("about 4B", 5),
        ("a 3B base", 4),
        ("at most 3B", 3),
        ("Modell mit höchstens 7 Milliarden Parametern", 7),
        ("it must run on a tablet", 4),
        ("our 70B teacher wrote them", None),
    ],
)
def test_a_size_or_a_device_bounds_the_base_model(message, bound):
    assert read(message).parameters_max_b == bound


@pytest.mark.parametrize("message", ["put it on an H100", "use 4 GPUs", "run on ml.g5.xlarge"])
def test_hardware_is_noticed_and_decides_nothing(message):
    patch = read(message)
    assert Signal.INFRASTRUCTURE_NAMED in patch.signals
    assert not patch.paths


@pytest.mark.parametrize(
    ("message", "agreement"), [("yes", True), ("Looks good!", True), ("no", False)]
)
def test_a_bare_yes_or_no_is_read(message, agreement):
    assert read(message).agreement is agreement


def test_the_demo_sentence_is_the_problem_and_nothing_else():
    patch = read(SENTENCE, Brief())
    assert patch.problem == SENTENCE
    assert patch.output_kind == "json"
    assert patch.paths == {PROBLEM_PATH}
    assert patch.notes == ()


def test_settings_around_a_problem_do_not_become_part_of_it():
    patch = read("Classify reviews by mood. At least 85 % right. Rank 8.", Brief())
    assert patch.problem == "Classify reviews by mood."
    assert (patch.target, patch.overrides) == (0.85, {H + "lora.rank": 8})


def test_a_problem_that_names_a_model_stays_a_problem():
    patch = read("Classify bank questions with Qwen3-4B.", Brief())
    assert patch.problem == "Classify bank questions with Qwen3-4B."
    assert patch.base_model == "Qwen/Qwen3-4B"


def test_a_greeting_is_no_problem():
    assert read("hello there", Brief()).problem is None


def test_a_very_long_problem_is_shortened_and_says_so():
    patch = read("classify " * 800, Brief())
    assert len(patch.problem) <= PROBLEM_CHARACTERS_MAX
    assert "shortened" in patch.notes[0]


def test_a_problem_that_is_known_is_not_overwritten_by_a_remark():
    assert read("I think that looks rather nice overall").problem is None


@pytest.mark.parametrize("message", ["%" * 8000, "1" * 8000, "a " * 4000, "$ " * 4000, "e-" * 4000])
def test_long_nonsense_is_read_in_no_time_and_decides_no_setting(message):
    patch = read(message, Brief(questions=(DATASET_PATH,)))
    assert patch.overrides == {}


@pytest.mark.parametrize(
    ("message", "command", "revision"),
    [
        ("Why this batch size?", Command.EXPLAIN, None),
        ("Was bewirkt beta?", Command.EXPLAIN, None),
        ("¿Por qué esta tasa de aprendizaje?", Command.EXPLAIN, None),
        ("What would happen if we used rank 8?", Command.EXPLAIN, None),
        ("Go back to the original plan.", Command.RESTORE, 1),
        ("undo the last change", Command.RESTORE, -1),
        ("Zurück zur ersten Version bitte", Command.RESTORE, 1),
        ("元のプランに戻して", Command.RESTORE, 1),
        ("restore revision 3", Command.RESTORE, 3),
        ("How about DPO instead?", Command.COMPARE_TECHNIQUE, None),
        ("take a smaller model", Command.SMALLER_MODEL, None),
        ("un modèle plus grand", Command.LARGER_MODEL, None),
        ("What would a senior engineer change?", Command.EXPERT_REVIEW, None),
        ("Propose the plan with what you have.", Command.PROPOSE_NOW, None),
    ],
)
def test_a_command_is_read(message, command, revision):
    patch = read(message)
    assert (patch.command, patch.restore_revision) == (command, revision)


def test_a_question_changes_nothing_and_a_statement_beside_it_does():
    assert read("What would change with rank 64?").overrides == {}
    patch = read("Set dropout to 0.2, and tell me what it does.")
    assert patch.overrides == {H + "lora.dropout": 0.2}
    assert patch.command is Command.EXPLAIN
    assert patch.explain_paths == (H + "lora.dropout",)


@pytest.mark.parametrize(
    "message",
    ["rank 64, nothing else", "Setze den Rang auf 64, sonst nichts.", "rango 64, nada más"],
)
def test_nothing_else_may_change(message):
    patch = read(message)
    assert patch.only
    assert patch.overrides == {H + "lora.rank": 64}


def test_weights_in_words_reach_the_criteria_of_a_rubric():
    first = read("Judged by our rubric: warmth, brevity, truth, all equally weighted.", Brief())
    brief = Brief().apply(first, "")
    assert [each.name for each in brief.criteria] == ["warmth", "brevity", "truth"]
    patch = read("Truth must weigh 0.5 and the other two 0.25 each.", brief)
    weights = {each.name: each.weight for each in patch.criteria}
    assert weights == {"truth": 0.5, "warmth": 0.25, "brevity": 0.25}
    patch = read("Warmth is out. New rule: always name the opening hours.", brief)
    assert patch.criteria_removed == ("warmth",)
    assert [each.text for each in patch.criteria] == ["always name the opening hours"]


def test_a_reward_as_a_sum_names_its_graders():
    criteria = read("Reward 0.4 * valid JSON + 0.6 * exact match.", Brief()).criteria
    assert {one.name: one.weight for one in criteria} == {"json_schema": 0.4, "exact_match": 0.6}


def test_shorthand_of_experts():
    patch = read("GRPO, LoRA r16 alpha 32, lr 2e-5, n=16, kl 0.01, T=0.9, bs 32, 150 steps, wd 0.1")
    assert patch.overrides == {
        H + "lora.rank": 16,
        H + "lora.alpha": 32,
        H + "learning_rate": 2e-5,
        H + "rl.group_size": 16,
        H + "rl.kl_coefficient": 0.01,
        H + "rl.temperature": 0.9,
        H + "effective_batch_size": 32,
        H + "max_step_count": 150,
        H + "weight_decay": 0.1,
    }
    assert (patch.technique, patch.method) == ("RLVR", "LoRA")
