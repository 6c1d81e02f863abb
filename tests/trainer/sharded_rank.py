"""One process of a training whose weights are sharded over processors, for the tests.

accelerate shards over GPUs only; here its notion of what this machine has is corrected, and all
else is the recipe's own: its settings, TRL, FSDP2 of torch over gloo.
Arguments: rank, processes, folder, port, and the checkpoint to go on from, if any.
"""

import json
import sys
from pathlib import Path
from typing import Any

from accelerate import state as accelerate_state
from accelerate.utils import DistributedType
from attune.spec.v1.compute_pb2 import ParallelPlan

from services.trainer.data.render import renderer
from services.trainer.gang import Gang, Meeting
from services.trainer.recipes import sft
from services.trainer.recipes.together import joined
from services.trainer.recipes.training import Example, Training
from tests.trainer import tiny

ROWS = 37
LEARNT = 33
STEPS = 10

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

    def __init__(self) -> None:
        self.begin = 0
        self.losses: dict[int, float] = {}
        self.checkpoints: dict[int, list[str]] = {}

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

    def on_checkpoint(self, step: int, folder: Path) -> None:
        self.checkpoints[step] = sorted(path.name for path in folder.iterdir())

    def wants_checkpoint(self) -> bool:
        return False

    def is_enough(self) -> bool:
        return False


def examples(model: Path) -> list[Example]:
    found = []
    for row in tiny.rows(ROWS):
        rendered = renderer(model).row(row["messages"], None)
        pairs = zip(rendered.token_ids, rendered.assistant_mask, strict=True)
        found.append(
            Example(rendered.token_ids, [one if learnt else -100 for one, learnt in pairs])
        )
    return found


def main(rank: int, size: int, folder: Path, port: int, resume_from: Path | None) -> None:
    stage = tiny.a_spec("", "", "").stages[0]
    rows = examples(folder / "model")
    training = Training(
        model_folder=folder / "model",
        method=stage.method,
        hyperparameters=stage.hyperparameters,
        plan=ParallelPlan(
            micro_batch_size=2,
            gradient_accumulation_steps=4 // size,
            sharding=ParallelPlan.SHARDING_FSDP,
            precision=ParallelPlan.PRECISION_FLOAT32,
        ),
        train=rows[:LEARNT],
        validation=rows[LEARNT:],
        output_folder=folder / f"scratch-{size}",
        resume_from=resume_from,
        use_cuda=False,
        steps_total=STEPS,
        evaluation_steps=4,
        logging_steps=1,
        warmup_steps=1,
        device_count=size,
    )
    notes = Notes()
    if size == 1:
        sft.train(training, notes)
    else:
        gang = Gang(rank, size, 0, "127.0.0.1")
        own = notes if gang.leads else None
        with joined(gang, Meeting("127.0.0.1", port, ""), own, cuda=False) as observer:
            sft.train(training, observer)
    if rank == 0:
        (folder / f"notes-{size}.json").write_text(json.dumps(vars(notes)))


if __name__ == "__main__":
    accelerate_state.AcceleratorState.__init__ = make_sharding_state
    given = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), given)
