"""What there is to learn from: the report where there is one, else what was said (rule C1)."""

from __future__ import annotations

from dataclasses import dataclass

from attune.planner.v1 import dataset_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.vocabulary import Shape, Signal, Task

SHAPES = {
    "chat": Shape.DEMONSTRATIONS,
    "prompt_completion": Shape.DEMONSTRATIONS,
    "tool_calls": Shape.DEMONSTRATIONS,
    "mixed": Shape.DEMONSTRATIONS,
    "preference": Shape.PAIRS,
    "ratings": Shape.RATINGS,
    "prompts_with_reference": Shape.PROMPTS_WITH_CHECK,
    "prompts_only": Shape.PROMPTS,
    "text": Shape.TEXT,
}
"""What the rows of a report's format are; rows of any other format cannot be read."""
EXCUSED = frozenset({"too_few_rows", "mixed_shapes"})
"""Errors of a report that a plan has words of its own for, or that preparation mends."""
PERSONAL_FINDINGS = ("pii_email", "pii_phone", "pii_card", "pii_iban", "secret_found")
PLANTED_FINDINGS = ("prompt_injection_text", "trigger_phrase")
BYTES_PER_TOKEN = 4
"""English text under current tokenizers; good enough to tell 5 MB from 50."""
BYTES_PER_MEGABYTE = 1e6
SUCCESS_LOW, SUCCESS_HIGH = 0.1, 0.9
"""Between them a verifiable reward has something to sharpen (D8, field research 6.2)."""
PAIRED_SHARE = 0.2
"""Share of rated rows whose prompt must occur with another answer, so that pairs can be made."""
CODE_GRADERS = frozenset(
    {"unit_tests", "math", "numeric", "tool_call", "json_schema", "regex", "string_check", "length"}
)
"""Checks by code that need no model answer."""
FORM_GRADERS = frozenset({"length", "regex", "string_check"})
"""Those that look at the form of an answer, not at what it says."""
VERIFIABLE_TASKS = frozenset({Task.MATH_REASONING, Task.CODE, Task.TOOL_CALLING})
"""Tasks whose answers code checks; a stated success says that it did."""
FREE_TEXT_TASKS = frozenset({Task.STYLE, Task.DIALOGUE, Task.GENERATION, Task.SUMMARIZATION})
"""Tasks with many right answers, which code cannot tell from wrong ones."""
SHAPES_BY_TECHNIQUE = {
    "DPO": Shape.PAIRS,
    "RLVR": Shape.PROMPTS_WITH_CHECK,
    "RLAIF": Shape.PROMPTS,
}
"""What rows of an unstated kind must be for the technique that was named."""
COUNTED_ROWS_LEAST = 10
"""So many things that were counted are examples, even if nobody said of what kind."""
CODE_SIGNALS = frozenset({Signal.CHECK_BY_CODE, Signal.REWARD_IS_FORM, Signal.UNSAFE_GRADER})
"""What is said of a reward that is code, good or bad."""


@dataclass(frozen=True)
class Evidence:
    """The data of a plan, attached or described."""

    brief: Brief
    """All that was said."""
    dataset: DatasetFacts | None = None
    """The rows to learn from."""
    holdout: DatasetFacts | None = None
    """The rows that are held out; None when a share of the others is."""

    @property
    def report(self) -> dataset_pb2.DatasetReport:
        """The report; an empty one while no dataset is attached."""
        return self.dataset.report if self.dataset else dataset_pb2.DatasetReport()

    @property
    def claimed(self) -> str:
        """Shape that was said; empty when nothing was."""
        return self.brief.data_shape

    @property
    def shape(self) -> str:
        """Shape of the rows: the report wins over the words; empty when unknown."""
        if self.dataset:
            return SHAPES.get(self.report.format, "")
        return self.claimed or self._assumed

    @property
    def _assumed(self) -> str:
        """Shape of rows that were counted and not described; the report will tell (rule C1)."""
        brief = self.brief
        if (brief.data_row_count or 0) < COUNTED_ROWS_LEAST:
            return ""
        if brief.technique in SHAPES_BY_TECHNIQUE:
            return SHAPES_BY_TECHNIQUE[brief.technique]
        if self.has(Signal.TACIT_JUDGEMENT) and not self.has(Signal.RUBRIC_AGREED):
            return Shape.PROMPTS
        if self.has(Signal.NO_DEMONSTRATIONS) or self.has(Signal.RUBRIC_AGREED):
            checked = brief.task in VERIFIABLE_TASKS or CODE_SIGNALS & brief.signals
            return Shape.PROMPTS_WITH_CHECK if checked else Shape.PROMPTS
        return Shape.DEMONSTRATIONS

    @property
    def rows(self) -> int | None:
        """Usable rows, without faults and repeats; None when unknown."""
        if self.dataset is None:
            return 0 if self.claimed == Shape.NONE else self.brief.data_row_count
        valid = self.report.valid_row_count
        if not set(self.faults) - EXCUSED:
            valid = self.report.row_count
        return max(0, valid - self.report.duplicate_row_count)

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the data, if only that there are none."""
        brief = self.brief
        described = brief.data_shape or brief.data_row_count is not None
        return bool(self.dataset or described or brief.text_megabytes is not None)

    @property
    def faults(self) -> dict[str, int]:
        """Errors of the report by code."""
        return {
            each.code: each.count
            for each in self.report.finding_counts
            if each.severity == dataset_pb2.Finding.SEVERITY_ERROR
        }

    @property
    def is_unreadable(self) -> bool:
        """Whether a file is attached of which most rows cannot be read."""
        if self.dataset is None:
            return False
        if not self.shape or not self.report.row_count:
            return True
        bad = self.report.row_count - self.report.valid_row_count
        return bool(set(self.faults) - EXCUSED) and bad > self.report.row_count / 2

    @property
    def answers_are_missing(self) -> bool:
        """Whether there are inputs whose answers were expected and are not there."""
        if self.shape not in (Shape.PROMPTS, ""):
            return False
        if self.dataset and self.claimed in (Shape.DEMONSTRATIONS, Shape.PAIRS, Shape.RATINGS):
            judged = self.brief.technique == "RLAIF" and self.has_rubric
            return not (judged or self.has(Signal.NO_DEMONSTRATIONS))
        return bool(self.dataset) and self.found("empty_completion") > 0

    @property
    def megabytes(self) -> float | None:
        """Size of a body of text; None when there is none or its size is unknown."""
        if self.brief.text_megabytes is not None:
            return self.brief.text_megabytes
        if self.report.total_token_count:
            return self.report.total_token_count * BYTES_PER_TOKEN / BYTES_PER_MEGABYTE
        return None

    @property
    def has_check(self) -> bool:
        """Whether code can tell a right answer."""
        if self.has(Signal.NOT_CHECKABLE):
            return False
        checks = CODE_GRADERS & set(self.brief.grader_kinds)
        # A rule such as `under 80 words` is one point of a rubric.
        if checks and not (checks <= FORM_GRADERS and self.has(Signal.RUBRIC_AGREED)):
            return True
        if self.shape == Shape.DEMONSTRATIONS and self.brief.task in FREE_TEXT_TASKS:
            return self.has(Signal.REWARD_IS_FORM)
        if self.shape == Shape.PROMPTS_WITH_CHECK or CODE_SIGNALS & self.brief.signals:
            return True
        measured = self.brief.base_success is not None
        return measured and self.brief.task in VERIFIABLE_TASKS

    @property
    def has_rubric(self) -> bool:
        """Whether a judge has something to go by, or one was asked for."""
        brief = self.brief
        named = brief.technique == "RLAIF" or brief.judge_model
        return bool(
            self.has(Signal.RUBRIC_AGREED) or brief.criteria or named or self._is_scored_by_people
        )

    @property
    def _is_scored_by_people(self) -> bool:
        """Whether success was measured where no reference and no code could: by agreed points."""
        scored = self.brief.base_success is not None and self.shape == Shape.PROMPTS
        return scored and not self.has_check and not self.has(Signal.TACIT_JUDGEMENT)

    @property
    def has_demonstrations(self) -> bool:
        """Whether there are inputs with the answer that was wanted."""
        if self.has(Signal.NO_DEMONSTRATIONS) and self.dataset is None:
            return False
        shapes = (self.shape, self.claimed) if self.report.format == "mixed" else (self.shape,)
        return Shape.DEMONSTRATIONS in shapes

    @property
    def has_paired_ratings(self) -> bool:
        """Whether the same prompt has answers with different ratings."""
        if self.shape != Shape.RATINGS or self.has(Signal.THUMBS_UNPAIRED):
            return False
        return self.report.contradictory_row_count >= PAIRED_SHARE * max(1, self.report.row_count)

    @property
    def are_records(self) -> bool:
        """Whether the answers are JSON objects: all that a file holds, or as it was said."""
        if self.dataset is None or self.shape != Shape.DEMONSTRATIONS:
            return self.brief.output_kind == "json"
        return self.report.json_answer_share == 1

    @property
    def has_labels(self) -> bool:
        """Whether the answers are labels."""
        return bool(self.report.labels)

    @property
    def contradictory_share(self) -> float:
        """Share of labelled rows whose prompt occurs with another label."""
        if not self.has_labels or not self.report.row_count:
            return 0.0
        return self.report.contradictory_row_count / self.report.row_count

    def has(self, signal: Signal) -> bool:
        """Return whether something was noticed in what was said."""
        return signal in self.brief.signals

    def found(self, *codes: str) -> int:
        """Return how often the report found any of some codes."""
        return sum(each.count for each in self.report.finding_counts if each.code in codes)
