"""What the phases of one run share: spec, rows as tokens, and the way to tell and to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from attune.spec.v1.compute_pb2 import StageCompute
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method, Stage, Technique
from google.protobuf.json_format import ParseDict

from services.common.artefacts import Artefacts
from services.common.errors import ServiceError
from services.trainer.attempt import Attempt
from services.trainer.data.pairs import make_pair
from services.trainer.data.render import Renderer, renderer
from services.trainer.data.row_shape import ShapedRow
from services.trainer.data.rows import Row, Split, read_split
from services.trainer.gang import Gang
from services.trainer.recipes import REINFORCED
from services.trainer.recipes.generation import Loading
from services.trainer.recipes.processor import begin_peak, peak_bytes
from services.trainer.recipes.training import IGNORED, Example, Prompt
from services.trainer.run import (
    Estimate,
    Manifest,
    Phase,
    Progress,
    RunCancelled,
    RunFailed,
    RunPaused,
)
from services.trainer.runtime.checkpoint import Origin
from services.trainer.runtime.stopping import Signals

Result = TypeVar("Result")

REPORT_INTERVAL_S = 0.25
"""Least time between two reports of progress within a phase."""


class RunContext:
    """One attempt at a run, from the inside."""

    def __init__(
        self,
        attempt: Attempt,
        manifest: Manifest,
        signals: Signals,
        wake: Callable[[], None],
        gang: Gang | None = None,
    ) -> None:
        """Read the spec.

        Args:
            attempt: Where everything is written.
            manifest: What is to be done.
            signals: Set when the run is to stop or to halt.
            wake: Tells the supervisor that a phase has begun.
            gang: The processes that train together; None for one alone.
        """
        self.attempt = attempt
        self.manifest = manifest
        self.gang = gang
        self.spec = ParseDict(dict(manifest.spec), Spec(), ignore_unknown_fields=True)
        placement = ParseDict(dict(manifest.placement), StageCompute(), ignore_unknown_fields=True)
        self.plan = placement.parallel_plan
        self.memory = placement.memory
        self.device_count = max(1, placement.device_count)
        self.cost_micro_usd = placement.cost_micro_usd
        """Expected cost of the stage in millionths of a US dollar; 0 when unknown."""
        self.artefacts = Artefacts(Path(manifest.artefacts))
        train_s = placement.step_count * placement.step_duration.ToTimedelta().total_seconds()
        self.estimate = Estimate(train_s)
        self._signals = signals
        self._wake = wake
        self._phase = Phase.VALIDATE
        self._begin_s = self._report_s = time.monotonic()
        self._first_done: int | None = None
        self.done = 0
        """Units of the present phase that are done."""
        self.longest_count = 0
        """Tokens of the longest row that is trained; 0 while that is unknown."""

    @property
    def stage(self) -> Stage:
        """The stage that this run executes."""
        return self.spec.stages[self.manifest.stage_index]

    @property
    def model_folder(self) -> Path:
        """Folder of the base model's revision."""
        base = self.spec.base_model
        return self.artefacts.model(base.id) / base.revision

    @property
    def base_adapter(self) -> Path | None:
        """Folder of the adapter of the stage before; None in the first stage."""
        digest = self.manifest.base_adapter_sha256
        return self.artefacts.adapter(digest) if digest else None

    @property
    def origin(self) -> Origin:
        """What checkpoints of this run belong to."""
        manifest = self.manifest
        return Origin(manifest.spec_hash, self.spec.base_model.revision, manifest.stage_index)

    @property
    def use_cuda(self) -> bool:
        """Whether to compute on the GPU."""
        return self.manifest.accelerator == "cuda"

    @property
    def loading(self) -> Loading:
        """How a model is loaded to answer where it is trained."""
        is_quantised = self.stage.method == Method.METHOD_QLORA
        return Loading(self.use_cuda, self.plan.precision, is_quantised)

    @property
    def peak_bytes(self) -> int:
        """The highest use of memory in the present phase."""
        return peak_bytes(cuda=self.use_cuda)

    @cached_property
    def split(self) -> Split:
        """The rows, checked and split."""
        return read_split(self.artefacts, self.spec.data, self.stage.technique)

    @cached_property
    def renderer(self) -> Renderer:
        """The base model's tokenizer and template."""
        return refused(lambda: renderer(self.model_folder))

    @cached_property
    def train_examples(self) -> list[Example | None]:
        """The rows that are learnt; None for one that would train nothing."""
        return self._examples(self.split.train)

    @cached_property
    def validation_examples(self) -> list[Example | None]:
        """The rows that choose the checkpoint; None for one that would measure nothing."""
        return self._examples(self.split.validation)

    def prompt_ids(self, row: Row) -> list[int]:
        """Return what a model answers in place of a row's own answer, as tokens.

        Raises:
            RunFailed: If the template refuses it.
        """
        if row.text:
            return self.renderer.opening(row.opening)
        return refused(lambda: self.renderer.prompt(row.prompt, row.tools), f"line {row.line}")

    def begin(self, phase: Phase) -> None:
        """Write that a phase begins, and tell the supervisor."""
        self._phase = phase
        self._signals.step_s = 0.0
        self._begin_s, self._report_s = time.monotonic(), 0.0
        self._first_done, self.done = None, 0
        begin_peak(cuda=self.use_cuda)
        self.attempt.begin_phase(phase)
        self.report(0, 0)
        self._wake()

    def report(self, done: int, total: int, loss: float | None = None) -> None:
        """Write how far the present phase is, at most four times a second.

        Raises:
            RunCancelled: If the run is to stop.
        """
        self.check()
        self.done = done
        now_s = time.monotonic()
        if now_s - self._report_s < REPORT_INTERVAL_S and done < total:
            return
        self._report_s = now_s
        if self._first_done is None and total > 0:
            self._first_done = done
        fresh = done - (self._first_done or 0)
        remaining_s = self.estimate.remaining_s(
            self._phase, fresh, total - done, now_s - self._begin_s
        )
        self.attempt.report(Progress(self._phase, done, total, loss, remaining_s, self.peak_bytes))

    def check(self) -> None:
        """Stop here if the run is to stop.

        Raises:
            RunCancelled: If so.
            RunPaused: If it is to halt and does not train: the other phases have no checkpoints;
                what they have finished is kept, what they are at is done again.
        """
        if self._signals.cancel.is_set():
            raise RunCancelled
        if self.is_pausing and self._phase is not Phase.TRAIN:
            raise RunPaused

    @property
    def is_pausing(self) -> bool:
        """Whether the run is to halt at its next checkpoint."""
        return self._signals.is_pausing

    def expect_step(self, step_s: float) -> None:
        """Say how long a step takes, for a pause to wait for its end."""
        self._signals.step_s = step_s

    def begin_saving(self) -> None:
        """Say that the checkpoint of a halt is being written: that may take longer than a halt."""
        self._signals.saving.set()

    def end_saving(self) -> None:
        """Say that it is written."""
        self._signals.saved.set()

    def _examples(self, rows: Sequence[Row]) -> list[Example | None]:
        made = self._prompt if self.stage.technique in REINFORCED else self._example
        examples = []
        for row in rows:
            self.check()
            examples.append(made(row))
        return examples

    def _prompt(self, row: Row) -> Prompt | None:
        token_ids = self.prompt_ids(row)
        if len(token_ids) > self.stage.hyperparameters.rl.max_prompt_length:
            return None
        return Prompt(token_ids, (), row.line)

    def _example(self, row: Row) -> Example | None:
        settings = self.stage.hyperparameters
        if self.stage.technique == Technique.TECHNIQUE_DPO:
            pair = partial(make_pair, self.renderer, row, settings.max_length)
            return refused(pair, f"line {row.line}")
        shaped = ShapedRow(row.messages, tools=row.tools, text=row.text)
        rendered = refused(lambda: self.renderer.learnt(shaped), f"line {row.line}")
        token_ids = rendered.token_ids[: settings.max_length]
        mask = rendered.assistant_mask[: settings.max_length]
        if not settings.assistant_only_loss:
            mask = [1] * len(token_ids)
        # The first token is foretold by nothing, so a label on it alone trains nothing.
        if not any(mask[1:]):
            return None
        labels = [
            token_id if learnt else IGNORED
            for token_id, learnt in zip(token_ids, mask, strict=True)
        ]
        return Example(token_ids, labels)


def refused(act: Callable[[], Result], where: str = "") -> Result:
    """Return what `act` returns; a refusal of ours ends the run with its reason.

    Raises:
        RunFailed: If it refuses.
    """
    try:
        return act()
    except ServiceError as error:
        prefix = f"{where}: " if where else ""
        raise RunFailed(error.reason, prefix + error.message) from None
