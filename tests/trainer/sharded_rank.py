"""One process of a gang that trains by a recipe alone, for the tests.

accelerate shards over GPUs only; where weights are to be sharded its notion of what this machine
has is corrected here, and all else is the recipe's own: its settings, TRL, FSDP2 of torch over
gloo.
"""

import importlib
import json
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from accelerate import state as accelerate_state
from accelerate.utils import DistributedType
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Method, Technique

from services.trainer.data.pairs import make_pair
from services.trainer.data.render import renderer
from services.trainer.data.row_shape import shape_row
from services.trainer.data.rows import Row
from services.trainer.gang import Gang, Meeting
from services.trainer.recipes import RECIPES
from services.trainer.recipes.together import joined
from services.trainer.recipes.training import Example, Prompt, Training
from services.trainer.run import RunCancelled, RunFailed
from tests.trainer import tiny, tiny_rl

ROWS = 37
LEARNT = 33
STEPS = 10


@dataclass
class Task:
    """What one process is to do."""

    rank: int
    size: int
    folder: str
    """Has the model in `model`; notes and checkpoints are written there."""
    port: int
    name: str = ""
    """Of what is written."""
    technique: int = Technique.TECHNIQUE_SFT
    method: int = Method.METHOD_LORA
    is_sharded: bool = False
    resume_from: str = ""
    failing_rank: int = -1
    """Of the process whose grader breaks in the third step; none if negative."""


make_state = accelerate_state.AcceleratorState.__init__


def make_sharding_state(self: Any, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
    make_state(self, *args, fsdp_plugin=fsdp_plugin, **options)
    plugin = fsdp_plugin or self.__dict__.get("fsdp_plugin")
    if plugin is not None:
        self.fsdp_plugin = plugin
        accelerate_state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.distributed_type = DistributedType.FSDP


class Notes:
    """Keeps what an observer hears."""

    def __init__(self, kept: Path) -> None:
        self.begin = 0
        self.losses: dict[int, float] = {}
        self.numbers: dict[int, dict[str, float]] = {}
        self.checkpoints: dict[int, list[str]] = {}
        self._kept = kept

    def on_resolved(self, resolved: Any) -> None:
        pass

    def on_samples(self, step: int, answers: Any) -> None:
        pass

    def on_start(self, step: int, eval_losses: Any) -> None:
        self.begin = step

    def on_step(self, step: int) -> None:
        pass

    def on_metrics(self, step: int, values: Any) -> None:
        if "loss" in values:
            self.losses[step] = values["loss"]
        self.numbers.setdefault(step, {}).update(values)

    def on_checkpoint(self, step: int, folder: Path) -> None:
        self.checkpoints[step] = sorted(path.name for path in folder.iterdir())
        folder.rename(self._kept / f"checkpoint-{step}")

    def wants_checkpoint(self) -> bool:
        return False

    def is_enough(self) -> bool:
        return False


class Grader:
    """Rewards what equals the reference, and keeps what it was asked."""

    def __init__(self, task: Task, rows: Sequence[dict[str, Any]]) -> None:
        self.asked: list[list[list[Any]]] = []
        """By call: line and token ids of each answer."""
        self._task, self._rows = task, rows
        self._renderer = renderer(Path(task.folder) / "model")

    def __call__(self, lines: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        if self._task.rank == self._task.failing_rank and len(self.asked) == 2:
            raise RunFailed("GRADER_BROKEN", f"broken in process {self._task.rank}")
        self.asked.append([[line, list(one)] for line, one in zip(lines, answers, strict=True)])
        return [
            float(self._renderer.text(list(one)) == self._rows[line]["reference"])
            for line, one in zip(lines, answers, strict=True)
        ]


def examples(model: Path) -> list[Example]:
    found = []
    for row in tiny.rows(ROWS):
        rendered = renderer(model).row(row["messages"], None)
        pairs = zip(rendered.token_ids, rendered.assistant_mask, strict=True)
        found.append(
            Example(rendered.token_ids, [one if learnt else -100 for one, learnt in pairs])
        )
    return found


def pairs(model: Path) -> list[Example]:
    found = []
    for content in tiny.pairs(ROWS):
        shaped = shape_row(content)
        row = Row(1, [*shaped.messages, *shaped.chosen], (), shaped.rejected, None, content)
        found.append(make_pair(renderer(model), row, 64))
    return found


def prompts(model: Path) -> list[Example]:
    rows = tiny_rl.prompts(held_out=False) + tiny_rl.prompts(held_out=True)
    asked = partial(renderer(model).prompt, tools=None)
    return [Prompt(asked(row["messages"]), (), line) for line, row in enumerate(rows)]


def training_of(task: Task) -> tuple[Training, Grader | None]:
    """Return what the task trains, and its grader where answers are rewarded."""
    folder, grader, learnt = Path(task.folder), None, LEARNT
    spec = tiny.a_spec("", "", "")
    micro, rows = 2, examples
    if task.technique == Technique.TECHNIQUE_DPO:
        spec, rows = tiny.a_preference_spec("", "", ""), pairs
    elif task.technique == Technique.TECHNIQUE_RLVR:
        spec, rows = tiny_rl.a_spec("", "", ""), prompts
        micro, learnt = 4, len(tiny_rl.prompts(held_out=False))
        grader = Grader(task, tiny_rl.prompts(held_out=False) + tiny_rl.prompts(held_out=True))
    stage = spec.stages[0]
    answers = stage.hyperparameters.effective_batch_size
    if grader is not None:
        answers *= stage.hyperparameters.rl.group_size
    found = rows(folder / "model")
    return Training(
        model_folder=folder / "model",
        method=task.method,
        hyperparameters=stage.hyperparameters,
        plan=ParallelPlan(
            micro_batch_size=micro,
            gradient_accumulation_steps=answers // (micro * task.size),
            sharding=ParallelPlan.SHARDING_FSDP if task.is_sharded else 0,
            precision=ParallelPlan.PRECISION_FLOAT32,
        ),
        train=found[:learnt],
        validation=found[learnt:],
        output_folder=folder / f"scratch-{task.name}",
        resume_from=Path(task.resume_from) if task.resume_from else None,
        use_cuda=False,
        steps_total=STEPS,
        evaluation_steps=4,
        logging_steps=1,
        warmup_steps=1,
        reward=grader,
        device_count=task.size,
    ), grader


def main(task: Task) -> None:
    kept = Path(task.folder) / task.name
    training, grader = training_of(task)
    recipe, trainers = importlib.import_module(RECIPES[task.technique]), []
    execute_trainer = recipe.execute

    def execute_and_keep(trainer: Any, training: Training) -> None:
        trainers.append(trainer)
        execute_trainer(trainer, training)

    recipe.execute = execute_and_keep
    notes, ended = Notes(kept), "well"
    try:
        if task.size == 1:
            recipe.train(training, notes)
        else:
            gang = Gang(task.rank, task.size, 0, "127.0.0.1")
            own = notes if gang.leads else None
            meeting = Meeting("127.0.0.1", task.port, "")
            with joined(gang, meeting, own, cuda=False) as observer:
                recipe.train(training, observer)
    except (RunFailed, RunCancelled) as error:
        ended = f"{type(error).__name__} {error}".strip()
    said = {name: value for name, value in vars(notes).items() if name != "_kept"}
    said |= {"ended": ended, "asked": grader.asked if grader is not None else []}
    said["weights_sha256"] = "" if task.is_sharded else _hash_of(trainers[0].model)
    (kept / f"notes-{task.rank}.json").write_text(json.dumps(said))


def _hash_of(model: Any) -> str:
    learnt = [one for one in model.parameters() if one.requires_grad]
    return sha256(b"".join(one.detach().numpy().tobytes() for one in learnt)).hexdigest()


def execute(task: Task) -> None:
    """Do what a forked process of a gang is for, and end it."""
    kept = Path(task.folder) / task.name
    kept.mkdir(exist_ok=True)
    handle = os.open(kept / f"log-{task.rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(handle, standard)
    if task.is_sharded:
        accelerate_state.AcceleratorState.__init__ = make_sharding_state
    code = 1
    try:
        main(task)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not a normal exit, as in a run.
        os._exit(code)
