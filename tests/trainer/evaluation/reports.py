"""A whole report, a lineage and a course of training, for pages and cards."""

from attune.spec.v1.evaluation_pb2 import EvaluationReport, ScoredExample, ScoreInterval
from attune.spec.v1.spec_pb2 import Spec

from services.trainer.evaluation.page_content import Course


def interval(value, low, high):
    return ScoreInterval(value=value, low=low, high=high)


def an_example(prompt="Where is my card?", answer="card_arrival", **changes):
    values = {
        "prompt": prompt,
        "reference": answer,
        "base_answer": answer,
        "tuned_answer": "lost_card",
        "base_score": 1.0,
        "tuned_score": 0.0,
    }
    return ScoredExample(**{**values, **changes})


def a_report(**changes):
    report = EvaluationReport(
        grader="exact",
        aggregate="mean",
        confidence=0.95,
        holdout_row_count=150,
        base_score=0.31,
        few_shot_score=0.42,
        majority_score=0.12,
        tuned_score=0.83,
        difference=0.52,
        interval_low=0.43,
        interval_high=0.61,
        base_interval=interval(0.31, 0.24, 0.38),
        few_shot_interval=interval(0.42, 0.34, 0.5),
        majority_interval=interval(0.12, 0.07, 0.17),
        tuned_interval=interval(0.83, 0.77, 0.89),
        verdict=EvaluationReport.VERDICT_BETTER,
        verdict_reasons=[
            "On 150 held-out rows the tuned model scores 0.830.",
            "The target of 0.800 is reached.",
        ],
    )
    report.criteria.add(
        title="Right label", metric="exact", aggregate="mean", base_score=0.31, tuned_score=0.83,
        target=0.8, met=True,
    )  # fmt: skip
    report.graders.add(
        grader="exact", base=report.base_interval, few_shot=report.few_shot_interval,
        tuned=report.tuned_interval, difference=interval(0.52, 0.43, 0.61), paired_row_count=150,
        lost_count=6, gained_count=84, p_value=1e-18,
    )  # fmt: skip
    report.graders.add(grader="tone", ungraded_count=3, first_error="The judge gave no number.")
    labels = ("card_arrival", "lost_card", "exchange_rate")
    for index, label in enumerate(labels):
        low = -0.2 + 0.3 * index
        report.slices.add(
            dimension="label", value=label, row_count=50 - 10 * index, base_score=0.3,
            tuned_score=0.4 + 0.2 * index, difference=interval(low + 0.15, low, low + 0.3),
        )  # fmt: skip
    report.slices.add(
        dimension="language", value="de", row_count=12, base_score=0.5, tuned_score=0.25,
        difference=interval(-0.25, -0.4, -0.08),
    )  # fmt: skip
    report.regressions.append(an_example())
    report.gains.append(an_example("What is a euro?", "exchange_rate", tuned_score=1.0))
    report.general_ability.summary = "Of 40 general questions the base answers 90% right."
    report.overfit.summary = "The tuned model scores 0.900 on 50 rows that it was taught."
    report.confusion.labels.extend(labels)
    report.confusion.counts.extend([40, 8, 1, 1, 5, 30, 5, 0, 0, 2, 28, 0])
    report.MergeFrom(EvaluationReport(**changes))
    return report


def a_plan():
    spec = Spec(name="projects/default/specs/s1", revision=2, display_name="Card questions")
    spec.objective.problem = "Tell what a customer asks about a card."
    spec.objective.users = "The support desk"
    spec.objective.out_of_scope.append("Advice on loans")
    spec.objective.languages.extend(["en", "de"])
    spec.base_model.id, spec.base_model.revision = "org/small", "f" * 40
    spec.base_model.licence = "Apache-2.0"
    return spec


def a_lineage(**changes):
    return {
        "run": "projects/default/runs/j1-s0",
        "job": "projects/default/jobs/j1",
        "stage_index": 0,
        "spec": {"name": "projects/default/specs/s1", "revision": 2, "sha256": "a" * 64},
        "base_model": {"id": "org/small", "revision": "f" * 40, "licence": "Apache-2.0"},
        "data": {
            "dataset_sha256": "d" * 64,
            "holdout_sha256": "e" * 64,
            "split_seed": 3,
            "train_row_count": 800,
            "validation_row_count": 80,
            "holdout_row_count": 150,
        },
        "technique": "SFT",
        "method": "LORA",
        "hyperparameters": {"learning_rate": 0.0002, "lora": {"rank": "16"}},
        "parallel_plan": {"micro_batch_size": "4"},
        "seeds": {"training": 5, "split": 3, "evaluation": 0},
        "code": {"version": "0.1.0", "source_sha256": "c" * 64},
        "libraries": {"torch": "2.13.0"},
        "hardware": {
            "node": "n1",
            "accelerator": "cpu",
            "processor": "A processor",
            "device_count": 1,
            "threads": 2,
        },
        "attempts": [{"fence": 1, "node": "n1"}],
        "create_time": "2026-11-21T10:00:00+00:00",
        **changes,
    }


def a_course(**changes):
    values = {
        "curves": {
            "loss": [(float(step), 3.0 / (1 + 0.05 * step)) for step in range(1, 121)],
            "eval_loss": [(30.0, 1.4), (60.0, 0.9), (90.0, 0.8), (120.0, 0.95)],
        },
        "chosen_step": 90,
        "seconds": {"train": 61.2, "evaluate": 12.0},
        "cost_micro_usd": 1_250_000,
    }
    return Course(**{**values, **changes})
