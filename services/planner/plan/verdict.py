"""Whether fine-tuning is the right answer: rules V1 to V9, first match wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2

from services.planner.plan.evidence import SUCCESS_LOW, Evidence
from services.planner.plan.share import reaches
from services.planner.plan.technique import LEAST, SFT, UNITS, TechniqueChoice
from services.planner.vocabulary import Shape, Signal, Task

FINE_TUNE = spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE
PROMPT_FIRST = spec_pb2.Verdict.RECOMMENDATION_PROMPT_FIRST
RETRIEVE = spec_pb2.Verdict.RECOMMENDATION_RETRIEVE
COLLECT_DATA = spec_pb2.Verdict.RECOMMENDATION_COLLECT_DATA

ROWS_HARD_LEAST = 10
"""Fewer rows than any service takes (field research 6.2)."""
TEXT_MEGABYTES_LEAST = 10
"""Below it a body of text is looked up, not trained in (D12)."""
CONTRADICTORY_SHARE_MAX = 0.5
"""Share of labelled rows that contradict another row at which labels are chance."""
OVERLAP_SHARE_MAX = 0.05
"""Share of rows that also stand in the hold-out at which its score means nothing."""
SUCCESS_FULL = 0.95
"""`Near 1`: from here on there is nothing left to learn where no target was said (D8)."""
LOOKED_UP_TASKS = frozenset({"", None, Task.QUESTION_ANSWERING, Task.DIALOGUE})
"""What a body of text is wanted for, unless something is to be written like it."""
TARGET_LEAST = 0.5
"""A lower target is no bar that somebody sets below what there is, but a share of mistakes."""


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""

    recommendation: spec_pb2.Verdict.Recommendation.ValueType | None
    """None when no plan may exist."""
    reason: str
    """One sentence."""
    instead: tuple[str, ...] = ()
    """What to do instead of training; sentences in order."""
    would_change: tuple[str, ...] = ()
    """What would change it; sentences."""


@dataclass(frozen=True)
class VerdictRule:
    """One row of the table."""

    id: str
    statement: str
    sources: tuple[str, ...]
    """Rules of the field research that it rests on; empty for a rule of this product's own."""
    judge: Callable[[Evidence, TechniqueChoice], Advice | None]
    """Returns None when the rule does not apply."""


def judge(evidence: Evidence, choice: TechniqueChoice) -> tuple[VerdictRule, Advice]:
    """Return the first rule that applies, and its advice."""
    for rule in VERDICT_RULES:
        if advice := rule.judge(evidence, choice):
            return rule, advice
    raise AssertionError("the last rule always applies")


def _no_request(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    if evidence.has(Signal.HARMFUL):
        return Advice(None, "The purpose of the request is to harm people, so it is declined.")
    if evidence.has(Signal.OUT_OF_SCOPE):
        text = "The request needs something else than a language model, so there is no plan."
        return Advice(None, text)
    if evidence.has(Signal.ASKS_CAPABILITY) and not evidence.brief.problem:
        return Advice(None, "Nothing was asked for yet.")
    return None


def _volatile(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    changing, cited = evidence.has(Signal.VOLATILE_FACTS), evidence.has(Signal.CITATIONS)
    if not (changing or cited):
        return None
    why = "depend on facts that change faster than a model is trained again"
    if not changing:
        why = "must name their sources, which no trained model does dependably"
    return Advice(
        RETRIEVE,
        f"The answers {why}; retrieve the facts at the time of the question.",
        (
            "Keep the facts in a store that is updated when they change, and put what a question "
            "needs into the prompt.",
            "Write 50 questions with today's right answers, and measure retrieval and answer "
            "apart.",
        ),
        (
            "If tone or format of the answers is still wrong with the facts in the prompt, that "
            "behaviour can be trained from 50 or more good answers.",
        ),
    )


def _stable_facts(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    asked = evidence.shape == Shape.TEXT and evidence.brief.task in LOOKED_UP_TASKS
    if not (evidence.has(Signal.FACTS_WANTED) or asked):
        return None
    size = evidence.megabytes
    if size is not None and size >= TEXT_MEGABYTES_LEAST:
        return None
    text = "a body of text" if size is None else f"{size:,.1f} MB of text"
    return Advice(
        RETRIEVE,
        f"What is missing is facts, and {text} is looked up more dependably than trained in.",
        (
            "Index the documents by paragraph and put the best few into the prompt.",
            "Collect 50 real questions with the paragraph that answers each, to measure it.",
        ),
        (
            f"More than {TEXT_MEGABYTES_LEAST} MB of text in a language or field that the base "
            "model hardly knows.",
            "A wish for behaviour, such as a fixed format or tone, with 50 or more examples.",
        ),
    )


def _unusable(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    report = evidence.report
    rows = f"{report.row_count:,} rows"
    if evidence.is_unreadable:
        code = next(iter(evidence.faults), "unknown_shape")
        return _mend(
            f"The file cannot be read as examples ({code}).",
            "Upload one JSON object per line with `messages`, or with `prompt` and `completion`.",
        )
    if evidence.answers_are_missing:
        return _mend(
            f"The file has {rows} and no answers in them, so there is nothing to imitate.",
            "Export the file again with the answers, and check the first ten rows by eye.",
        )
    contradict = evidence.contradictory_share
    if evidence.has(Signal.AGREEMENT_BY_CHANCE) or contradict >= CONTRADICTORY_SHARE_MAX:
        return _mend(
            "The labels contradict each other about as often as chance would.",
            "Write down what each label means, let two people label 100 rows, and go on when they "
            "agree on 80 of them.",
        )
    if evidence.has(Signal.NO_RIGHTS) or evidence.has(Signal.NO_CONSENT):
        return _mend(
            "There is no right to use these rows for training.",
            "Ask those who hold the rights or whom the rows concern, or write examples of your "
            "own: 50 are enough to start.",
        )
    return _uninformative(evidence)


def _uninformative(evidence: Evidence) -> Advice | None:
    report = evidence.report
    if evidence.shape == Shape.DEMONSTRATIONS and report.distinct_answer_count == 1:
        return _mend(
            f"All {report.row_count:,} rows have the same answer, so there is nothing to learn.",
            "Add rows of the other cases, in about the mix that use will bring.",
        )
    if report.holdout_overlap_count > OVERLAP_SHARE_MAX * report.row_count:
        return _mend(
            f"{report.holdout_overlap_count:,} of {report.row_count:,} rows also stand in the "
            "hold-out, so its score would be flattering.",
            "Hold out rows that are never trained on, and upload both files again.",
        )
    return None


def _mend(reason: str, remedy: str) -> Advice:
    change = "Rows that can be read, that hold their answers and that may be used."
    return Advice(COLLECT_DATA, reason, (remedy,), (change,))


def _unrecorded(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    base = evidence.brief.base_success
    rows = evidence.rows or 0
    recorded = choice.techniques and rows >= ROWS_HARD_LEAST
    if evidence.has_check and base is not None and base < SUCCESS_LOW and not choice.techniques:
        return Advice(
            COLLECT_DATA,
            f"The base model succeeds in {base:.0%} of the cases and there are no demonstrations, "
            "so a reward would never be earned.",
            (
                "Write 50 to 200 worked solutions, or keep those of a stronger model that the "
                "check accepts; train on them first, then reinforce.",
                f"Try easier prompts or a larger base until at least {SUCCESS_LOW:.0%} succeed.",
            ),
            (f"A base success of {SUCCESS_LOW:.0%} or more, or 50 demonstrations.",),
        )
    tacit = evidence.has(Signal.TACIT_JUDGEMENT) and not evidence.has_rubric
    unanswered = evidence.shape == Shape.PROMPTS and evidence.has(Signal.PROMPT_FALLS_SHORT)
    if recorded or not (tacit or unanswered):
        return None
    return Advice(
        COLLECT_DATA,
        "The task needs judgements that only your people make, and they are not recorded: "
        f"{rows if evidence.shape != Shape.PROMPTS else 0:,} examples show one.",
        (
            "Let those who judge record 50 to 200 cases with their answer, spread over all kinds "
            "of answer.",
            "Or let them write down and agree on the criteria, which is enough for a judge.",
        ),
        ("50 recorded judgements, or a rubric that people agree on.",),
    )


def _settles_later(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    if not evidence.has(Signal.UNSETTLED):
        return None
    return Advice(
        PROMPT_FIRST,
        "What is wanted still changes from week to week, and a trained model freezes it.",
        (
            "Keep the instructions in a prompt and change them as you learn.",
            "Log inputs, answers and what people did with them: these become the examples.",
        ),
        ("Instructions that stay the same for a month, and 50 logged answers that people liked.",),
    )


def _met_already(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    if evidence.has(Signal.HIGH_VOLUME) or evidence.has(Signal.DEVICE_SMALL):
        return None
    brief = evidence.brief
    base, target = brief.base_success, brief.target
    wanted = SUCCESS_FULL if target is None else target
    measured = base is not None and wanted >= TARGET_LEAST and reaches(base, wanted, evidence.rows)
    if not (measured or evidence.has(Signal.PROMPT_SUFFICES)):
        return None
    reason = "Prompting does the job already."
    if base is not None and measured:
        bar = f"the target is {target:.0%}" if target else "nothing is left to learn"
        reason = f"Prompting reaches {base:.1%} and {bar}."
    return Advice(
        PROMPT_FIRST,
        reason,
        (
            "Use the prompt that does it, and keep the test rows to notice when it stops.",
            "Measure once a quarter, and after every change of the model behind the prompt.",
        ),
        ("A higher target, a cheaper or faster model that does not reach it, or new cases.",),
    )


def _few_uses(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    if not evidence.has(Signal.LOW_VOLUME) or evidence.has(Signal.PROMPT_FALLS_SHORT):
        return None
    return Advice(
        PROMPT_FIRST,
        "There are only a few uses, which seldom pay for training, and a prompt will probably do.",
        (
            "Write the instructions down once, with two or three good examples, as a prompt.",
            "Keep what people correct: it shows whether the prompt is good enough.",
        ),
        ("A hundred uses a day, or a prompt that was tried and falls short of a stated target.",),
    )


def _nothing_tried(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    untried = evidence.has(Signal.NOTHING_TRIED) or not evidence.rows
    untried = untried and not evidence.has(Signal.PROMPT_FALLS_SHORT)
    if evidence.has(Signal.ONE_OFF):
        reason = "The job is done once, so there is nothing to train for."
    elif untried and not _is_trainable(evidence, choice):
        reason = "There is nothing to train on, and the wish can be put into a prompt first."
    else:
        return None
    return Advice(
        PROMPT_FIRST,
        reason,
        (
            "Describe the wish in a prompt, with the examples there are in it.",
            "Judge 50 answers; keep those that are good and correct the others: they are data.",
        ),
        ("A prompt that was tried and falls short, and 50 or more examples.",),
    )


def _is_trainable(evidence: Evidence, choice: TechniqueChoice) -> bool:
    enough = evidence.rows is None or evidence.rows >= ROWS_HARD_LEAST
    return bool(choice.techniques) and enough


def _hardly_any(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    if _is_trainable(evidence, choice):
        return None
    rows = evidence.rows or 0
    fewer = "no examples" if not rows else f"only {rows:,} usable examples"
    if evidence.shape == Shape.PROMPTS:
        fewer = "inputs without answers, and no rubric"
    return Advice(
        COLLECT_DATA,
        f"There are {fewer}; fewer than {ROWS_HARD_LEAST} can neither teach nor test.",
        (
            f"Collect {LEAST[SFT]} examples as they occur in use, each with the answer you want.",
            "Until then put the examples there are into the prompt.",
        ),
        (f"{LEAST[SFT]} examples with answers.",),
    )


def _few_rows(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    rows, least = evidence.rows, choice.least
    if rows is None or rows >= least:
        return None
    unit = UNITS[choice.techniques[0]]
    return Advice(
        COLLECT_DATA,
        f"There are {rows:,} usable {unit}; from about {least} a run shows what it gained.",
        (
            f"Collect {least - rows:,} more {unit}, first of the kinds that are rare so far.",
            "Until then put the best of them into the prompt as examples.",
        ),
        (f"{least} usable {unit}.", "Your word that you want to try with these all the same."),
    )


def _enough(evidence: Evidence, choice: TechniqueChoice) -> Advice | None:
    unit = UNITS[choice.techniques[0]]
    rows = f"{unit.capitalize()}" if evidence.rows is None else f"{evidence.rows:,} {unit}"
    said = "" if evidence.dataset else ", as described,"
    return Advice(
        FINE_TUNE,
        f"{rows}{said} show a stable behaviour, which training teaches; the baseline will show "
        "whether prompting alone is enough.",
        (),
        (
            "A baseline that reaches the target by prompting alone.",
            "A report that shows fewer or other rows than expected.",
        ),
    )


VERDICT_RULES = (
    VerdictRule(
        "V1", "no request, none for a language model, or one that harms: no plan", (), _no_request
    ),
    VerdictRule(
        "V2", "facts that change, or sources to cite: retrieve them", ("D3", "D14"), _volatile
    ),
    VerdictRule(
        "V3",
        "stable facts and less than 10 MB of text: retrieve them",
        ("D3", "D12"),
        _stable_facts,
    ),
    VerdictRule(
        "V9",
        "rows that cannot be used: unreadable, without answers, contradictory, without rights",
        ("D1", "D14"),
        _unusable,
    ),
    VerdictRule(
        "V5",
        "judgements of this organisation that are neither recorded nor written down",
        ("D1", "D6", "D8"),
        _unrecorded,
    ),
    VerdictRule(
        "V6d", "the target is met, or nothing is left to learn", ("D2", "D8"), _met_already
    ),
    VerdictRule("V6c", "the behaviour still changes from week to week", ("D4",), _settles_later),
    VerdictRule("V6b", "a few uses, and a prompt that does or will", ("D11",), _few_uses),
    VerdictRule(
        "V6a", "nothing tried and nothing to train on, or done once", ("D2", "D14"), _nothing_tried
    ),
    VerdictRule("V4", "fewer than 10 examples", ("D14",), _hardly_any),
    VerdictRule("V8", "fewer rows than a run needs to show its gain", ("D1", "D14"), _few_rows),
    VerdictRule(
        "V7", "stable behaviour and enough data of a trainable shape", ("D5", "D6"), _enough
    ),
)
"""In order. The four parts of V6 give the same advice, so those that rest on figures come first."""
