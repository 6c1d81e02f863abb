"""The sets of real data: their rows as the product takes them, and what an expert sets for each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attune.spec.v1 import spec_pb2

SEED = 1
BANKING_ROW_COUNT = 3000
GSM8K_ROW_COUNT = 1500
GSM8K_HOLDOUT_COUNT = 400
ANSWER_TOKENS = 16
"""Room for `####` and a number, which is all that GSM8K's rows hold here; a model of a million
parameters works nothing out before it."""
PAIR_ANSWER_TOKENS = 64
"""Of the answers that are written to unseen prompts of pairs, so that a run takes minutes."""
SFT_STEPS = 16
"""Few enough that answers to one prompt still differ in form, which is what a reward needs."""
REWARD_STEPS = 24
GROUP_SIZE = 8
FORM = r"\A#### -?\d[\d,]*(\.\d+)?\s*\Z"
"""`####`, a number, and nothing else."""


@dataclass(frozen=True)
class DataSet:
    """One set, and how the product is asked to learn from it."""

    folder: str
    """Name of its folder."""
    train: str
    """File in it with the rows to learn from."""
    holdout: str
    """File in it with the unseen rows."""
    objective: str
    """What is said to the planner."""
    row_count: int = 0
    """Most rows that are learnt from, drawn by SEED; 0 for all."""
    holdout_row_count: int = 0
    """Most unseen rows, the first ones; 0 for all."""
    convert: Callable[[dict[str, Any]], dict[str, Any]] = dict
    """From a row of the file to one that the technique learns from."""
    edit: Callable[[spec_pb2.Spec], list[str]] = lambda _: []
    """Sets in the plan what an expert would, in place, and returns the paths."""

    def lack(self, data: Path) -> str:
        """Return why the set cannot be run from a folder of sets; empty if it can."""
        missing = [
            str(path)
            for path in (data / self.folder / self.train, data / self.folder / self.holdout)
            if not path.is_file()
        ]
        return f"{' and '.join(missing)} not there" if missing else ""

    def lines(self, data: Path, row_count_max: int) -> tuple[list[str], list[str]]:
        """Return the rows to learn from and the unseen ones, as lines of JSON.

        Args:
            data: Folder of sets.
            row_count_max: Most rows of each; 0 for no limit beyond the set's own.
        """
        train = self._read(data / self.folder / self.train)
        holdout = self._read(data / self.folder / self.holdout)
        random.Random(SEED).shuffle(train)
        limits = [
            min(filter(None, (own, row_count_max)), default=None)
            for own in (self.row_count, self.holdout_row_count)
        ]
        return train[: limits[0]], holdout[: limits[1]]

    def _read(self, path: Path) -> list[str]:
        with path.open(encoding="utf-8") as file:  # Texts hold other ends of lines than this one's.
            rows = [self.convert(json.loads(line)) for line in file]
        return [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]


def answered(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of prompt and reference as a talk that ends in the answer's form."""
    answer = f"#### {row['reward_model']['ground_truth']}"
    return {"messages": [*row["prompt"], {"role": "assistant", "content": answer}]}


def judge_form(spec: spec_pb2.Spec) -> list[str]:
    """Teach the form in two short stages and judge by it.

    The right number is told beside it, and is a guess: one frequent number, given to every row, is
    right in 2 or 3 of 100.
    """
    del spec.evaluation.graders[:], spec.objective.success_criteria[:]
    form = spec.evaluation.graders.add(name="form")
    form.regex.pattern = FORM
    spec.evaluation.graders.add(name="right_number").numeric.reference = "{{item.reference}}"
    for title, grader in (("Answers in the form", "form"), ("Right numbers", "right_number")):
        spec.objective.success_criteria.add(
            title=title,
            metric=grader,
            direction=spec_pb2.SuccessCriterion.DIRECTION_HIGHER_IS_BETTER,
        )
    spec.objective.success_criteria[0].target = 0.95
    spec.evaluation.max_answer_tokens = ANSWER_TOKENS
    taught, rewarded = (stage.hyperparameters for stage in spec.stages)
    taught.max_step_count = SFT_STEPS
    del spec.stages[1].reward.graders[:]
    spec.stages[1].reward.graders.add(grader=form, weight=1.0)
    rewarded.max_step_count = REWARD_STEPS
    rewarded.rl.group_size = GROUP_SIZE
    rewarded.rl.max_prompt_length = taught.max_length
    rewarded.rl.max_completion_length = ANSWER_TOKENS
    rewarded.max_length = taught.max_length + ANSWER_TOKENS
    inside = "stages.1.hyperparameters."
    return [
        "evaluation.graders",
        "evaluation.max_answer_tokens",
        "objective.success_criteria",
        "stages.0.hyperparameters.max_step_count",
        "stages.1.reward.graders",
        *(
            inside + name
            for name in (
                "max_step_count",
                "max_length",
                "rl.group_size",
                "rl.max_prompt_length",
                "rl.max_completion_length",
            )
        ),
    ]


def shorten_answers(spec: spec_pb2.Spec) -> list[str]:
    """Write shorter answers; what decides is which answer of a pair the model finds likelier."""
    spec.evaluation.max_answer_tokens = PAIR_ANSWER_TOKENS
    return ["evaluation.max_answer_tokens"]


SETS: Mapping[str, DataSet] = {
    "banking77": DataSet(
        folder="banking77",
        train="train.jsonl",
        holdout="test.jsonl",
        objective="Name the intent of each message that a customer writes to the bank.",
        row_count=BANKING_ROW_COUNT,
    ),
    "gsm8k": DataSet(
        folder="gsm8k",
        train="train_verl.jsonl",
        holdout="test_verl.jsonl",
        objective="Solve grade school word problems. Answer with #### and the number, and nothing "
        "else. The base model gets 0 percent right. Code checks the form of the answer: reward "
        "answers of the form #### and a number.",
        row_count=GSM8K_ROW_COUNT,
        holdout_row_count=GSM8K_HOLDOUT_COUNT,
        convert=answered,
        edit=judge_form,
    ),
    "preferences": DataSet(
        folder="pandalm",
        train="train_hf.jsonl",
        holdout="test_hf.jsonl",
        objective="Answer instructions as people prefer it.",
        edit=shorten_answers,
    ),
}
"""By the name that the command takes."""
