"""What each technique is measured on: rows and a plan as an expert would set it.

The rows are the bundled support tickets, turned into what the technique learns from. Early stopping
never ends a run, so that job and bare script do the same steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.system import ROOT

EXAMPLE = ROOT / "examples" / "support-tickets"
HOLDOUT_ROWS = 60
"""Held-out rows that are judged; they only lengthen what is not measured."""
PATIENCE = 1000
"""More evaluations than any run has."""
JUDGE = "judge"
"""Model name of the judge; any will do at `bench.judge`."""
CRITERIA = "Give a number from 0 to 1 for the share of the reference that the answer holds."

Messages = Sequence[Mapping[str, Any]]


def demonstration(rows: Sequence[Messages], index: int) -> dict[str, Any]:
    """Return a row to imitate."""
    return {"messages": rows[index]}


def pair(rows: Sequence[Messages], index: int) -> dict[str, Any]:
    """Return a row whose own answer is preferred to that of the next row."""
    *asked, right = rows[index]
    other = rows[(index + 1) % len(rows)][-1]
    return {"prompt": asked, "chosen": [right], "rejected": [other]}


def prompt(rows: Sequence[Messages], index: int) -> dict[str, Any]:
    """Return a row whose answers are rewarded by what they share with its own answer."""
    *asked, right = rows[index]
    return {"messages": asked, "reference": right["content"]}


@dataclass(frozen=True)
class Case:
    """One technique as it is measured."""

    technique: str
    """As `--technique` names it."""
    script: str
    """Module of the bare script."""
    row: Callable[[Sequence[Messages], int], dict[str, Any]]
    """Makes a row of its data from those of the example."""
    epochs: float
    """Passes over the rows; each side takes 40 to 100 s on a quiet core."""
    changes: Mapping[str, Any]
    """Field path in the proposed spec to its value, as JSON has it."""

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Write rows to learn and rows to judge on, and return both files."""
        return self._file(folder, "train", None), self._file(folder, "holdout", HOLDOUT_ROWS)

    def _file(self, folder: Path, part: str, count: int | None) -> Path:
        lines = (EXAMPLE / f"{part}.jsonl").read_text().splitlines()[:count]
        rows = [json.loads(line)["messages"] for line in lines]
        path = folder / f"{self.technique}-{part}.jsonl"
        made = (json.dumps(self.row(rows, index)) for index in range(len(rows)))
        path.write_text("".join(f"{one}\n" for one in made))
        return path


RIGHT = [{"name": "right", "json_schema": {"reference": "{{item.reference}}"}}]
DECISION = {
    "evaluation.graders": RIGHT,
    "objective.success_criteria": [{"title": "Exactly right", "metric": "right", "target": 0.8}],
    "stages.0.hyperparameters.early_stopping_patience": PATIENCE,
}
"""What is judged at the end: without a judge, whatever the technique."""
SHORT_ANSWERS = {
    "evaluation.max_answer_tokens": 48,
    "stages.0.hyperparameters.effective_batch_size": 8,
    "stages.0.hyperparameters.rl.group_size": 8,
    "stages.0.hyperparameters.rl.max_prompt_length": 96,
    "stages.0.hyperparameters.rl.max_completion_length": 32,
}
"""Steps of 64 answers, as long as the right ones. A batch takes as long as its longest answer,
so the time hardly depends on what is drawn."""
SHARED_WORDS = {
    "name": "shared_words",
    "text_similarity": {
        "input": "{{sample.output_text}}",
        "reference": "{{item.reference}}",
        "evaluation_metric": "rouge_1",
    },
}
"""Gives the starter's first answers more than nothing, so that there is something to learn from."""
JUDGED = {
    "name": "judged",
    "score_model": {
        "model": JUDGE,
        "input": [
            {"role": "system", "content": CRITERIA},
            {"role": "user", "content": "{{item.reference}}"},
            {"role": "user", "content": "{{sample.output_text}}"},
        ],
    },
}


def _rewarded(grader: Mapping[str, Any]) -> dict[str, Any]:
    return {"stages.0.reward.graders": [{"grader": grader, "weight": 1.0}]}


CASES = {
    case.technique: case
    for case in (
        Case("sft", "bench.bare_sft", demonstration, 6, DECISION),
        Case("dpo", "bench.bare_dpo", pair, 2, DECISION),
        Case(
            "rlvr",
            "bench.bare_grpo",
            prompt,
            0.5,
            DECISION | SHORT_ANSWERS | _rewarded(SHARED_WORDS),
        ),
        Case(
            "rlaif",
            "bench.bare_grpo",
            prompt,
            0.5,
            DECISION
            | SHORT_ANSWERS
            | {"stages.0.technique": "TECHNIQUE_RLAIF"}
            | _rewarded(JUDGED),
        ),
    )
}
"""By name, in the order in which they are measured."""
