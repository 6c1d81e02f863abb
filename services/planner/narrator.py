"""Words what the planner says."""

from __future__ import annotations

from collections.abc import Sequence

from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.plan.policy import Question
from services.planner.spec.edit import Change

PIECE_WORDS = 8
CHANGES_MAX = 20
FOLLOWING = ("_sha256", "verdict.reason", "base_model.revision", "base_model.licence")
"""Ends of paths that only follow from another change."""
TECHNIQUES = {
    stage_pb2.TECHNIQUE_SFT: "supervised fine-tuning",
    stage_pb2.TECHNIQUE_DPO: "preference optimisation",
    stage_pb2.TECHNIQUE_RLVR: "reinforcement learning",
    stage_pb2.TECHNIQUE_RLAIF: "reinforcement learning with a judge",
}
METHODS = {
    stage_pb2.METHOD_LORA: "LoRA",
    stage_pb2.METHOD_QLORA: "QLoRA",
    stage_pb2.METHOD_DORA: "DoRA",
    stage_pb2.METHOD_FULL: "all weights",
}


def ask(question: Question, notes: Sequence[str]) -> str:
    """Word a question."""
    return _join(*notes, question.text, question.reason)


def lacking(has_problem: bool, notes: Sequence[str]) -> str:
    """Word what is missing when no more questions may be asked."""
    wanted = "a dataset to learn from" if has_problem else "one sentence on what it should do"
    return _join(*notes, f"I cannot propose a plan without {wanted}. Send it whenever you like.")


def present(spec: spec_pb2.Spec, notes: Sequence[str]) -> str:
    """Word a new plan in a few sentences."""
    return _join(*notes, _advice(spec), _plan(spec), _compute(spec), _consent(spec))


def refine(spec: spec_pb2.Spec, changes: Sequence[Change], notes: Sequence[str]) -> str:
    """Word what a message changed, field by field."""
    telling = [change for change in changes if not change.field_path.endswith(FOLLOWING)]
    shown = "\n".join(f"  {change}" for change in telling[:CHANGES_MAX])
    more = len(telling) - CHANGES_MAX
    rest = f"\n  and {more} more" if more > 0 else ""
    head = _join(*notes, f"Revision {spec.revision} changes:")
    return f"{head}\n{shown}{rest}\n{_join(_compute(spec), _consent(spec))}"


def agree(spec: spec_pb2.Spec) -> str:
    """Word how to approve, for a yes in a conversation is not yet a consent to exact bytes."""
    if spec.state == spec_pb2.Spec.STATE_APPROVED:
        return f"Revision {spec.revision} is approved already."
    return (
        f"Good. Approve revision {spec.revision} by its hash, {spec.hash}, and it runs exactly "
        "as it stands."
    )


def wait() -> str:
    """Word that nothing happens without consent."""
    return "Nothing runs. Tell me what you would like to change."


def unchanged(notes: Sequence[str]) -> str:
    """Word that a message changed nothing in the plan."""
    hint = (
        "The plan stays as it is. You can change any of its fields, for example: rank 8, "
        "learning rate 1e-3, 5 epochs, target 90 %, deadline two hours."
    )
    return _join(*notes, hint)


def pieces(reply: str) -> list[str]:
    """Split a reply into pieces to stream; joined they are the reply."""
    words = reply.split(" ")
    starts = range(0, len(words), PIECE_WORDS)
    cut = [" ".join(words[start : start + PIECE_WORDS]) for start in starts]
    return [piece + " " for piece in cut[:-1]] + cut[-1:]


def duration_words(seconds: float) -> str:
    """Return a duration as people say it: `40 seconds`, `3 minutes`, `2.5 hours`."""
    if seconds < 90:
        return "a second" if seconds < 1.5 else f"{round(seconds)} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


def _advice(spec: spec_pb2.Spec) -> str:
    if spec.verdict.recommendation == spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE:
        return ""
    return f"My advice is to wait: {spec.verdict.reason} If you want to go on all the same:"


def _plan(spec: spec_pb2.Spec) -> str:
    stage, criterion = spec.stages[0], spec.objective.success_criteria[0]
    how = f"{TECHNIQUES[stage.technique]} with {METHODS[stage.method]}"
    return (
        f"I propose to customise {spec.base_model.id} by {how} on "
        f"{spec.data.train_row_count:,} of your rows and to judge it on "
        f"{spec.data.holdout_row_count:,} unseen ones; it counts as a success when at least "
        f"{criterion.target:.0%} of its answers are exactly right."
    )


def _compute(spec: spec_pb2.Spec) -> str:
    compute = spec.compute
    if not compute.available:
        return _join("It cannot run right now:", *compute.missing)
    time = duration_words(compute.expected_duration.ToTimedelta().total_seconds())
    cost = compute.cost_micro_usd / 1_000_000
    price = f"and cost about ${cost:,.2f}" if cost else "at no cost"
    return f"It should take about {time} {price}."


def _consent(spec: spec_pb2.Spec) -> str:
    return f"Nothing runs before you approve revision {spec.revision}."


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
