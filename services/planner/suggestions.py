"""What a finished job speaks for: changes to its plan, each with the figures behind it.

Pure: the same report and the same curves give the same suggestions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from attune.spec.v1 import evaluation_pb2, spec_pb2, stage_pb2

from services.planner.spec.path import as_text, resolve, text_at, write
from services.planner.spec.rules import range_of

SUGGESTIONS_MAX = 10
RISE_SHARE_MIN = 0.05
"""Validation loss above its lowest value by this share is no noise of one evaluation."""
FALL_SHARE_MIN = 0.01
"""A last evaluation that is better by this share says that more steps would help."""
SATURATED_REWARD = 0.95
SPREAD_MIN = 0.01
"""Standard deviation of rewards in a group, below which no answer is better than another and
nothing is learnt (DAPO, arXiv 2503.14476, section 3.2)."""
CUT_SHARE_MIN = 0.1
CLASS_ROWS_MIN = 3
CLASS_SCORE_MAX = 0.34
CLASS_GAP_MIN = 0.3
Report = evaluation_pb2.EvaluationReport


@dataclass(frozen=True)
class Point:
    """One value of a curve."""

    step: int
    """Optimizer steps done."""
    value: float


Curves = Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Ended:
    """A job that has ended."""

    spec: spec_pb2.Spec
    """The revision that ran."""
    newest: spec_pb2.Spec
    """The newest revision, which a suggestion would change."""
    stage_index: int
    """The stage whose curves these are."""
    report: Report | None
    """Its evaluation; None when it never came to one."""
    curves: Curves
    """By name, such as `loss` and `eval_loss`, in order of the steps."""

    @property
    def stage(self) -> stage_pb2.Stage:
        """The stage whose curves these are."""
        return self.spec.stages[self.stage_index]

    def tuned(self, name: str) -> str:
        """Return the path of a hyperparameter of that stage."""
        return f"stages.{self.stage_index}.hyperparameters.{name}"


@dataclass(frozen=True)
class Move:
    """One field that would change."""

    field_path: str
    value: float | int
    reason: str


@dataclass(frozen=True)
class Found:
    """What was seen, and what it speaks for."""

    code: str
    """As `Suggestion.code` lists them."""
    title: str
    """What to change, one sentence."""
    evidence: tuple[str, ...]
    """One sentence each, with figures."""
    moves: tuple[Move, ...] = ()
    """Fields that would change; empty when it is the data that should."""


@dataclass(frozen=True)
class Suggestion:
    """A change to the newest revision of a plan."""

    found: Found
    changes: tuple[tuple[str, str, str, str], ...] = ()
    """Path, value before, value after, reason."""
    spec: spec_pb2.Spec | None = field(default=None)
    """The changed plan; None when nothing in it would change."""


def suggest(ended: Ended) -> list[Suggestion]:
    """Return what speaks for a change, most promising first, at most 10.

    A change that somebody has made since the job began is not proposed again.
    """
    looks = (
        _worse,
        _forgotten,
        _cut,
        _overfit,
        _saturated,
        _improving,
        _class,
        _few_shot,
        _no_gain,
    )
    found = [each for look in looks for each in look(ended)]
    return [_applied(each, ended) for each in found[:SUGGESTIONS_MAX]]


def _applied(found: Found, ended: Ended) -> Suggestion:
    spec = spec_pb2.Spec()
    spec.CopyFrom(ended.newest)
    changes = []
    for move in found.moves:
        path = move.field_path
        if not _same_here(path, ended):
            continue
        before = text_at(spec, path)
        write(spec, path, move.value)
        if text_at(spec, path) != before:
            changes.append((path, before, text_at(spec, path), move.reason))
    return Suggestion(found, tuple(changes), spec if changes else None)


def _same_here(path: str, ended: Ended) -> bool:
    """Return whether a field still has the value that ran."""
    if len(ended.newest.stages) != len(ended.spec.stages):
        return False
    return text_at(ended.newest, path) == text_at(ended.spec, path)


def _worse(ended: Ended) -> Iterator[Found]:
    report = ended.report
    if report is None or report.verdict != Report.VERDICT_WORSE:
        return
    rate = ended.stage.hyperparameters.learning_rate
    lower = _within(ended, "learning_rate", rate / 3)
    yield Found(
        "worse_than_base",
        "Train more gently: a third of the learning rate.",
        (_difference(report),),
        (Move(ended.tuned("learning_rate"), lower, "Smaller steps forget less."),),
    )


def _forgotten(ended: Ended) -> Iterator[Found]:
    """Yield the remedy for general ability that was lost while the task was learnt."""
    report = ended.report
    if report is None or not report.general_ability.is_lost:
        return
    if report.verdict == Report.VERDICT_WORSE:
        return  # That has the same remedy.
    rate = ended.stage.hyperparameters.learning_rate
    lower = _within(ended, "learning_rate", rate / 3)
    yield Found(
        "ability_lost",
        "Train more gently: a third of the learning rate.",
        (report.general_ability.summary,),
        (Move(ended.tuned("learning_rate"), lower, "Smaller steps forget less."),),
    )


def _cut(ended: Ended) -> Iterator[Found]:
    clipped = _last_quarter(ended.curves.get("completions/clipped_ratio", ()))
    rl = ended.stage.hyperparameters.rl
    if clipped is not None and clipped >= CUT_SHARE_MIN and rl.max_completion_length:
        longer = _within(ended, "rl.max_completion_length", 2 * rl.max_completion_length)
        yield Found(
            "answers_cut",
            "Let sampled answers be twice as long.",
            (
                f"{clipped:.0%} of the answers in the last quarter of the run ended at the limit "
                f"of {rl.max_completion_length:,} tokens.",
            ),
            (Move(ended.tuned("rl.max_completion_length"), int(longer), "Cut answers earn less."),),
        )
    examples = list(ended.report.examples) if ended.report else []
    cut = [each for each in examples if _is_cut(each.tuned_answer, each.reference)]
    if len(cut) < 2 or len(cut) < CUT_SHARE_MIN * len(examples):
        return
    path = "evaluation.max_answer_tokens"
    limit = ended.spec.evaluation.max_answer_tokens
    allowed = range_of(ended.spec, path)
    longer = min(2 * limit, allowed.high if allowed else 2 * limit)
    yield Found(
        "answers_cut",
        "Let generated answers be twice as long.",
        (f"{len(cut)} of {len(examples)} answers stop in the middle; at most {limit:,} tokens.",),
        (Move(path, int(longer), "An answer that is cut cannot be right."),),
    )


def _overfit(ended: Ended) -> Iterator[Found]:
    checks = ended.curves.get("eval_loss", ())
    if len(checks) < 3:
        return
    best, last = min(checks, key=lambda point: point.value), checks[-1]
    rise = last.value / best.value - 1 if best.value > 0 else 0.0
    after = [point for point in ended.curves.get("loss", ()) if point.step >= best.step]
    if rise < RISE_SHARE_MIN or len(after) < 2 or after[-1].value >= after[0].value:
        return
    epochs = ended.stage.hyperparameters.epoch_count
    fewer = _within(ended, "epoch_count", _rounded(epochs * best.step / last.step))
    yield Found(
        "overfit",
        f"Train for {as_text(fewer)} instead of {as_text(epochs)} epochs.",
        (
            f"Validation loss was lowest at step {best.step:,} ({best.value:.4g}) and ended at "
            f"{last.value:.4g}, {rise:.0%} higher.",
            f"Training loss meanwhile fell from {after[0].value:.4g} to {after[-1].value:.4g}.",
        ),
        (Move(ended.tuned("epoch_count"), fewer, "Later steps learn the rows by heart."),),
    )


def _saturated(ended: Ended) -> Iterator[Found]:
    rewards = ended.curves.get("reward", ())
    mean = _last_quarter(rewards)
    spread = _last_quarter(ended.curves.get("reward_std", ()))
    high = mean is not None and mean >= SATURATED_REWARD
    flat = spread is not None and spread < SPREAD_MIN
    if mean is None or not (high or flat):
        return
    evidence = [f"The mean reward in the last quarter of the run is {mean:.3g}."]
    if spread is not None:
        evidence.append(f"Answers to the same prompt differ in reward by {spread:.2g} only.")
    reached = next((p.step for p in rewards if p.value >= SATURATED_REWARD), 0)
    moves: tuple[Move, ...] = ()
    title = "Add harder prompts, or a reward that tells good answers from very good ones."
    if high and 0 < reached < rewards[-1].step:
        epochs = ended.stage.hyperparameters.epoch_count
        fewer = _within(ended, "epoch_count", _rounded(epochs * reached / rewards[-1].step))
        evidence.append(f"It reached {SATURATED_REWARD} at step {reached:,}.")
        moves = (Move(ended.tuned("epoch_count"), fewer, "Nothing is learnt after that."),)
    yield Found("reward_saturated", title, tuple(evidence), moves)


def _improving(ended: Ended) -> Iterator[Found]:
    checks = ended.curves.get("eval_loss", ())
    if len(checks) < 2:
        return
    before, last = checks[-2], checks[-1]
    lowest = min(point.value for point in checks)
    fall = 1 - last.value / before.value if before.value > 0 else 0.0
    if last.value > lowest or fall < FALL_SHARE_MIN:
        return
    tuned = ended.stage.hyperparameters
    bounded = tuned.HasField("max_step_count")
    name = "max_step_count" if bounded else "epoch_count"
    more = _within(ended, name, 2 * (tuned.max_step_count if bounded else tuned.epoch_count))
    more = int(more) if bounded else more
    yield Found(
        "still_improving",
        "Train twice as long.",
        (
            f"The last validation loss is the lowest: {last.value:.4g} at step {last.step:,}, "
            f"{fall:.1%} below the one before.",
        ),
        (Move(ended.tuned(name), more, "The loss was still falling when training ended."),),
    )


def _class(ended: Ended) -> Iterator[Found]:
    examples = ended.report.examples if ended.report else []
    scores: dict[str, list[float]] = defaultdict(list)
    for example in examples:
        scores[example.reference.strip()].append(example.tuned_score)
    if len(scores) < 2:
        return
    for reference, own in scores.items():
        others = [score for name, rest in scores.items() if name != reference for score in rest]
        mean, rest_mean = sum(own) / len(own), sum(others) / len(others)
        failing = mean <= CLASS_SCORE_MAX and rest_mean - mean >= CLASS_GAP_MIN
        if len(own) < CLASS_ROWS_MIN or not failing:
            continue
        yield Found(
            "one_class_failing",
            f"Add rows whose answer is '{reference[:60]}', and look for wrong ones among them.",
            (
                f"Of {len(own)} shown rows with this answer {mean:.0%} are right; of the "
                f"{len(others)} others {rest_mean:.0%}.",
            ),
        )


def _few_shot(ended: Ended) -> Iterator[Found]:
    report = ended.report
    if report is None or report.tuned_score >= report.few_shot_score:
        return
    count = ended.spec.evaluation.few_shot_example_count
    yield Found(
        "below_few_shot",
        f"Put {count} examples into the base model's prompt instead, or add rows.",
        (
            f"The base with {count} examples in its prompt scores {report.few_shot_score:.3g}, "
            f"the tuned model {report.tuned_score:.3g}.",
        ),
    )


def _no_gain(ended: Ended) -> Iterator[Found]:
    report = ended.report
    if report is None or report.verdict != Report.VERDICT_CANNOT_TELL:
        return
    if report.interval_low > 0 or report.interval_high < 0:
        return  # More than chance; something else takes the trust from it, and says so itself.
    half = (report.interval_high - report.interval_low) / 2
    evidence = [_difference(report)]
    title = "Look at the rows: training on them changes nothing that the hold-out could show."
    if report.difference > 0 and report.holdout_row_count > 0:
        # The interval shrinks with the square root of the number of rows.
        needed = report.holdout_row_count * (half / report.difference) ** 2
        wanted = 10 * (int(needed) // 10 + 1)
        evidence.append(
            f"{report.holdout_row_count:,} held-out rows read with \u00b1{half:.2g}; about "
            f"{wanted:,} would tell a difference of {report.difference:.2g} from chance."
        )
        title = f"Hold out about {wanted:,} rows, so that a difference of this size can be seen."
    yield Found("no_gain", title, tuple(evidence))


def _difference(report: Report) -> str:
    return (
        f"On {report.holdout_row_count:,} unseen rows the tuned model scores "
        f"{report.tuned_score:.3g}, the base {report.base_score:.3g}; the difference lies between "
        f"{report.interval_low:+.3g} and {report.interval_high:+.3g}."
    )


def _within(ended: Ended, name: str, value: float) -> float:
    """Return a value inside the field's range."""
    path = ended.tuned(name)
    allowed = range_of(ended.spec, path)
    assert resolve(ended.spec, path).is_set
    return value if allowed is None else min(max(value, allowed.low), allowed.high)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _last_quarter(points: Sequence[Point]) -> float | None:
    """Return the mean over the last quarter of the steps; None without any."""
    if not points:
        return None
    kept = [point.value for point in points if point.step >= 0.75 * points[-1].step]
    return sum(kept) / len(kept)


def _is_cut(answer: str, reference: str) -> bool:
    """Return whether an answer stops in the middle."""
    answer, reference = answer.strip(), reference.strip()
    if not answer or answer == reference:
        return False
    if reference.startswith(answer):
        return True
    opened = answer.count("{") > answer.count("}")
    return reference.endswith("}") and answer.startswith("{") and opened
