"""Trains one stage on a tiny model in this process, and keeps all that the recipe says."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attune.spec.v1.stage_pb2 import Method

from services.trainer.data.render import renderer
from services.trainer.recipes.training import IGNORED, Example, Training
from tests.trainer import tiny


class Listener:
    """Keeps numbers and checkpoints."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self.resolved = None
        self.started = None
        self.metrics: dict[int, dict[str, float]] = {}

    def on_resolved(self, resolved):
        self.resolved = resolved

    def on_start(self, step, eval_losses):
        self.started = step

    def on_step(self, step):
        pass

    def on_metrics(self, step, values):
        self.metrics.setdefault(step, {}).update(values)

    def on_checkpoint(self, step, folder):
        shutil.move(folder, self.kept / f"step-{step}")

    def wants_checkpoint(self):
        return False

    def is_enough(self):
        return False

    @property
    def eval_losses(self) -> list[float]:
        found = [values for _, values in sorted(self.metrics.items())]
        return [values["eval_loss"] for values in found if "eval_loss" in values]

    @property
    def losses(self) -> list[float]:
        found = [values for _, values in sorted(self.metrics.items())]
        return [values["loss"] for values in found if "loss" in values]

    def checkpoint(self, step: int) -> Path:
        return self.kept / f"step-{step}"

    @property
    def newest(self) -> Path:
        return max(self.kept.iterdir(), key=lambda path: int(path.name.split("-")[1]))


def unseen_rows(count: int) -> list[dict[str, object]]:
    """Return rows whose kinds and values are never together in `tiny.rows`."""
    kinds, values = ["animal", "number", "colour"], tiny.WORDS.split()[:9]
    return [tiny.row(kinds[index % 3], values[index % 9]) for index in range(count)]


def examples(folder: Path, rows: Sequence[dict[str, object]]) -> list[Example]:
    made = []
    for row in rows:
        rendered = renderer(folder).row(row["messages"])
        pairs = zip(rendered.token_ids, rendered.assistant_mask, strict=True)
        labels = [token if learnt else IGNORED for token, learnt in pairs]
        made.append(Example(rendered.token_ids, labels))
    return made


def a_training(model: Path, folder: Path, method: int = Method.METHOD_LORA, **changes) -> Training:
    """Return 12 steps over 48 rows; `changes` are hyperparameters."""
    values = (
        tiny.a_spec("r", "t", "h", **{"learning_rate": 1e-2, **changes}).stages[0].hyperparameters
    )
    return Training(
        model_folder=model,
        method=method,
        hyperparameters=values,
        plan=tiny.a_placement().parallel_plan,
        train=examples(model, tiny.rows(48)),
        validation=examples(model, unseen_rows(9)),
        output_folder=folder / "scratch",
        resume_from=None,
        use_cuda=False,
        steps_total=12,
        evaluation_steps=4,
        logging_steps=1,
        warmup_steps=1,
    )


def train(training: Training, kept: Path) -> Listener:
    """Train it and return what was heard; checkpoints lie in `kept`."""
    from services.trainer.recipes import sft

    kept.mkdir(parents=True, exist_ok=True)
    listener = Listener(kept)
    sft.train(training, listener)
    return listener


def with_lora(training: Training, **changes) -> Training:
    """Return the stage with other settings of its adapter."""
    values = type(training.hyperparameters)()
    values.CopyFrom(training.hyperparameters)
    for name, value in changes.items():
        setattr(values.lora, name, value)
    return replace(training, hyperparameters=values)


def tensors(folder: Path) -> dict:
    """Return all weights in a folder by name."""
    from safetensors.torch import load_file

    found: dict = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def same(one: dict, other: dict, names: Sequence[str] | None = None) -> bool:
    """Return whether weights are equal, bit by bit."""
    import torch

    return all(torch.equal(one[name], other[name]) for name in names or one)
