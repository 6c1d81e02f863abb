"""Briefs, datasets and plans for tests of the pure parts."""

from dataclasses import replace

from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import spec_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.catalogue import load_catalogue, narrow
from services.planner.plan.decision import decide
from services.planner.plan.propose import propose
from services.planner.plan.recipe import load_recipes
from services.planner.plan.stages import Sources

SENTENCE = (
    "Route our customers' support tickets: read each message and answer with a JSON record of "
    "team, product, priority and order."
)
REPORT = dataset_pb2.DatasetReport(
    format="chat",
    valid_row_count=600,
    row_count=600,
    tokenizer_model="attune/starter",
    total_token_count=60_000,
    median_token_count=100,
    max_token_count=140,
    max_answer_token_count=40,
    json_answer_share=1.0,
    distinct_answer_count=500,
    majority_answer_share=0.01,
    duplicate_row_count=0,
    holdout_overlap_count=0,
)


def facts(name: str = "a1", **changes) -> DatasetFacts:
    """Return a dataset whose report has some other figures."""
    full = f"projects/default/datasets/{name}"
    report = dataset_pb2.DatasetReport()
    report.CopyFrom(REPORT)
    report.MergeFrom(dataset_pb2.DatasetReport(**changes))
    for field, value in changes.items():
        if not value:
            report.ClearField(field)
    return DatasetFacts(full, f"{name}.jsonl", f"{name:0<64}", "", report)


STARTER = next(replace(m, revision="ab" * 32) for m in load_catalogue() if m.id == "attune/starter")


CATALOGUE = load_catalogue()
RECIPES = load_recipes()


def sources(
    dataset: DatasetFacts | None = None,
    holdout: DatasetFacts | None = None,
    *,
    local=(STARTER,),
    allowed=("attune/starter",),
    described: bool = False,
) -> Sources:
    """Return sources with the starter at hand and nothing else allowed.

    Args:
        dataset: The rows; some of REPORT when left out.
        holdout: Rows to hold out.
        local: Models at hand.
        allowed: Ids that a plan may name; empty for all.
        described: Whether there are no rows, only words about them.
    """
    return Sources(
        dataset=None if described else dataset or facts(),
        holdout=holdout,
        models=narrow(CATALOGUE, local, allowed),
        narrowed=bool(allowed),
        recipes=RECIPES,
    )


def a_brief(**changes) -> Brief:
    """Return a brief that is ready."""
    said = changes.get("overrides", {})
    ready = {
        "problem": SENTENCE,
        "target": 0.85,
        "dataset": "projects/default/datasets/a1",
        "sentences": dict.fromkeys(
            [
                "objective.problem",
                "objective.success_criteria.0.target",
                "base_model.id",
                "serving.alias",
                "limits.deadline",
                "limits.cost_cap_micro_usd",
                "objective.users",
                *said,
            ],
            "as I said",
        ),
    }
    return Brief(**{**ready, **changes})


def plan(brief: Brief, from_: Sources | None = None, **decided) -> spec_pb2.Spec:
    """Return the plan for a brief.

    Args:
        brief: What was said.
        from_: Data and models; the starter and 600 rows when left out.
        **decided: Parts of the decision to replace, such as `techniques`.
    """
    used = from_ or sources(holdout=facts("b2", row_count=150))
    decision = replace(decide(brief, used.dataset, used.holdout), **decided)
    return propose(brief, used, decision)


def a_spec(**changes) -> spec_pb2.Spec:
    """Return a proposed spec with a given hold-out."""
    return plan(a_brief(**changes))


def choice_of(spec: spec_pb2.Spec, path: str) -> spec_pb2.Choice:
    """Return the choice of a field."""
    (found,) = [choice for choice in spec.choices if choice.field_path == path]
    return found
