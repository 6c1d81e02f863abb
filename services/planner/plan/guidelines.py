"""Advice to whoever writes more rows: what to do, what not, and examples from the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.plan.choice import DATA, REINFORCED, RULE, Ledger
from services.planner.plan.decision import Decision
from services.planner.plan.sample import Sample, samples_of
from services.planner.plan.stages import Sources
from services.planner.vocabulary import Task

TEXT_CHARACTERS_MAX = 1000
EXAMPLES_MAX = 3
DOS = (
    "Write each question as it will arrive in use, and the answer exactly as it should be given.",
    "Give like cases like answers: contradictions set the upper bound of the score.",
    "Keep the mix of answers close to what use will bring.",
    "Put every fact that an answer needs into its question.",
    "Never let a row, or one almost like it, stand in both training and hold-out.",
)
JSON_DO = "Answer with one JSON object that always has the same keys in the same order."
DONTS = (
    "Do not copy a machine's answer without reading it: its mistakes become the model's.",
    "Do not fill up with variations of the same row; each new row should show a new case.",
    "Do not leave names, numbers or addresses of real people in a row.",
)
BY_TASK: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Task.CLASSIFICATION: (
        ("Use every label, rare ones included, and write down what sets close ones apart.",),
        ("Do not guess a label: leave out what two people would label differently.",),
    ),
    Task.EXTRACTION: (
        ("Copy values as they stand in the text, and mark what is missing the same way always.",),
        ("Do not fill in a value that the text does not state.",),
    ),
    Task.SUMMARIZATION: (
        ("Keep to one length and one order of points.",),
        ("Do not put anything into a summary that its text does not hold.",),
    ),
    Task.TRANSLATION: (
        ("Use the same word for the same term throughout.",),
        ("Do not shorten, explain or polish what the original says.",),
    ),
    Task.STYLE: (
        ("Let one person, or one written guide, decide what the wanted style is.",),
        ("Do not change facts while changing the words.",),
    ),
    Task.GENERATION: (
        ("Show the tone, the length and the layout that every text should have.",),
        ("Do not put facts into an answer that its question does not hold.",),
    ),
    Task.DIALOGUE: (
        ("Show how to end, how to ask back and how to refuse, in the share that use will bring.",),
        ("Do not promise in an answer what only a person may promise.",),
    ),
    Task.QUESTION_ANSWERING: (
        ("Show what to say when the answer is not known.",),
        ("Do not answer from memory what the question does not hold.",),
    ),
    Task.CODE: (
        ("Run every answer before it becomes a row.",),
        ("Do not mix styles, libraries or versions.",),
    ),
    Task.MATH_REASONING: (
        ("Write the result on a line of its own, always in the same form.",),
        ("Do not skip a step that the result depends on.",),
    ),
    Task.TOOL_CALLING: (
        ("Show calls with all their arguments, and cases in which no call is right.",),
        ("Do not call a function that the row does not describe.",),
    ),
}
"""Dos and don'ts by task."""
PAIR_DO = "Let the two answers of a pair differ in what matters, not in length or luck."
RUBRIC_DO = (
    "Choose prompts that the model gets right now and then: always or never teaches nothing."
)
CUT = 0.5
"""Share of a good answer that is left of it in a bad example."""


def propose_guidelines(ledger: Ledger, sources: Sources, decision: Decision) -> None:
    """Decide the advice to authors.

    Args:
        ledger: Has the stages already.
        sources: Sample rows, secrets and personal data masked.
        decision: Names the task.
    """
    dos, donts = BY_TASK.get(decision.task, ((), ()))
    extra = [JSON_DO] if sources.answers_are_json else []
    techniques = {stage.technique for stage in ledger.spec.stages}
    extra += [PAIR_DO] if stage_pb2.TECHNIQUE_DPO in techniques else []
    extra += [RUBRIC_DO] if techniques & set(REINFORCED) else []
    for name, value in (("dos", [*extra, *dos, *DOS]), ("donts", [*donts, *DONTS])):
        ledger.decide(
            f"data.guidelines.{name}",
            value,
            source=RULE,
            origin="OpenAI and Meta guides for authors of examples",
            reason="More rows only help when they follow the same rules.",
        )
    rows = sources.dataset.report.sample_rows if sources.dataset else ()
    good, bad = examples(samples_of(rows), decision.task)
    for name, found in (("good_examples", good), ("bad_examples", bad)):
        if found:
            ledger.decide(
                f"data.guidelines.{name}",
                found,
                source=DATA,
                origin="rows of the dataset",
                reason="An example says more than a rule.",
            )


def examples(
    samples: Sequence[Sample], task: str
) -> tuple[list[spec_pb2.GuidelineExample], list[spec_pb2.GuidelineExample]]:
    """Return up to three good examples, and a bad one made from the first of them.

    Args:
        samples: Rows of the dataset; they are shown and never followed.
        task: A value of Task; empty while unknown.
    """
    whole = [each for each in samples if each.answer][:EXAMPLES_MAX]
    good = [
        spec_pb2.GuidelineExample(
            prompt=each.prompt[:TEXT_CHARACTERS_MAX] or "(no question)",
            answer=each.answer[:TEXT_CHARACTERS_MAX],
            reason="A row of the dataset, as the others should be.",
        )
        for each in whole
    ]
    if not whole:
        return [], []
    answer, reason = _spoilt(whole[0], whole[1] if len(whole) > 1 else None, task)
    bad = spec_pb2.GuidelineExample(
        prompt=whole[0].prompt[:TEXT_CHARACTERS_MAX] or "(no question)",
        answer=answer[:TEXT_CHARACTERS_MAX],
        reason=reason,
    )
    return good, [bad]


def _spoilt(sample: Sample, other: Sample | None, task: str) -> tuple[str, str]:
    """Return a bad answer to a row, and what is wrong with it."""
    if sample.rejected:
        return sample.rejected, "The dataset prefers another answer to this question."
    keys = _object(sample.answer)
    if keys:
        lost = list(keys)[-1]
        rest = {key: value for key, value in keys.items() if key != lost}
        return json.dumps(rest, ensure_ascii=False), f"The key '{lost}' is missing."
    short = len(sample.answer.split()) < 6
    if other and other.answer != sample.answer and (short or task == Task.CLASSIFICATION):
        return other.answer, "It is the answer to another question."
    if short:
        return f"{sample.answer}, I think, but I am not sure.", "It says more than was asked."
    cut = sample.answer[: max(1, int(len(sample.answer) * CUT))].rsplit(" ", 1)[0]
    return cut, "It ends in the middle, and a model learns to end there too."


def _object(text: str) -> dict[str, object]:
    """Return the JSON object that a text is; empty when it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
