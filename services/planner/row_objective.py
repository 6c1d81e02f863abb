"""What a dataset is for, read from its report when nobody says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.sample import CODE, samples_of, task_of_references
from services.planner.vocabulary import Task

SYSTEM_CHARACTERS_MAX = 400
LABELS_SHOWN = 8
JSON_SHARE_MIN = 0.9
LANGUAGE_SHARE_MIN = 0.2
SHORTER_BY_MIN = 4
"""A prompt so many times longer than its answer is a text and its summary."""
SUMMARY_TOKENS_MIN = 15
PLANTED = "prompt_injection_text"
"""Finding of text that is addressed to a model; nothing is then quoted from the rows."""
TURNS = re.compile(r"user: .*^assistant: .*^user: ", re.M | re.S)
"""How a report writes a prompt of several messages."""


@dataclass(frozen=True)
class RowObjective:
    """What the rows show."""

    problem: str
    """In plain words, 1 to 500 characters."""
    task: Task
    """The kind of task."""
    languages: tuple[str, ...]
    """ISO 639-1, most frequent first."""
    origin: str
    """What it was read from."""


def read_objective(dataset: DatasetFacts) -> RowObjective:
    """Return what a dataset is for.

    The system message that all sample rows share says it best. It is quoted, and never read for
    settings: what stands in rows decides nothing but the description.
    """
    task, languages = _task(dataset), _languages(dataset)
    system = _system_message(dataset)
    if system:
        return RowObjective(system, task, languages, "the system message of the rows")
    return RowObjective(_described(dataset, task), task, languages, "the shape of the rows")


def from_rows(brief: Brief, dataset: DatasetFacts) -> Brief:
    """Return the brief with what the rows show where nothing was said."""
    read = read_objective(dataset)
    return replace(
        brief,
        problem=brief.problem or read.problem,
        task=brief.task or read.task,
        languages=brief.languages or read.languages,
    )


def _task(dataset: DatasetFacts) -> Task:
    report = dataset.report
    if (shown := task_of_references(report)) is not None:
        return shown
    if report.labels:
        return Task.CLASSIFICATION
    if report.json_answer_share >= JSON_SHARE_MIN:
        return Task.EXTRACTION
    samples = samples_of(report.sample_rows)
    answers = [sample.answer for sample in samples if sample.answer]
    if answers and all(CODE.search(answer) for answer in answers):
        return Task.CODE
    if report.format == "prompts_with_reference":
        return Task.QUESTION_ANSWERING
    mean = report.mean_answer_token_count
    if mean >= SUMMARY_TOKENS_MIN and report.mean_prompt_token_count >= SHORTER_BY_MIN * mean:
        return Task.SUMMARIZATION
    if any(TURNS.match(sample.prompt) for sample in samples):
        return Task.DIALOGUE
    return Task.GENERATION


def _languages(dataset: DatasetFacts) -> tuple[str, ...]:
    return tuple(
        each.language
        for each in dataset.report.languages
        if each.share >= LANGUAGE_SHARE_MIN and each.language != "und"
    )


def _system_message(dataset: DatasetFacts) -> str:
    """Return the system message that all sample rows share; empty when there is none."""
    codes = {count.code for count in dataset.report.finding_counts}
    if PLANTED in codes:
        return ""
    found = {sample.system for sample in samples_of(dataset.report.sample_rows)}
    if len(found) != 1:
        return ""
    text = " ".join(found.pop().split())
    if len(text) <= SYSTEM_CHARACTERS_MAX:
        return text
    return text[:SYSTEM_CHARACTERS_MAX].rsplit(" ", 1)[0]


def _described(dataset: DatasetFacts, task: Task) -> str:
    report, file = dataset.report, dataset.display_name or "the file"
    if task == Task.CLASSIFICATION:
        shown = ", ".join(each.label for each in report.labels[:LABELS_SHOWN])
        more = len(report.labels) - LABELS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        return f"Give each input one of the labels of {file}: {shown}{rest}."
    what = {
        Task.EXTRACTION: "Turn each input into a JSON object with the fields",
        Task.TOOL_CALLING: "Call the tools for each request as",
        Task.CODE: "Write code for each request as",
        Task.MATH_REASONING: "Work out the answer to each problem as",
        Task.QUESTION_ANSWERING: "Answer each question as",
        Task.SUMMARIZATION: "Summarise each text as",
        Task.DIALOGUE: "Answer in conversations as",
    }.get(task, "Answer each input as")
    ending = f"of {file}" if task == Task.EXTRACTION else f"the rows of {file} show"
    return f"{what} {ending}."
