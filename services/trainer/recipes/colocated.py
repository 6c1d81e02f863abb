"""vLLM in the process of a training: whether it can sample there, its weights, and its end.

No answer of a training may depend on what an earlier one in the same process left behind: the
memory probe of a stage comes before its training, and the evaluation after it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from attune.spec.v1.stage_pb2 import Method
from torch import Tensor, distributed

SET_BY_TRL = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that the next trainer in this process would take for a gang of one."""
OURS = {"VLLM_NO_USAGE_STATS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""No word of a run leaves the machine; and the engine has to be in this process."""
OWN_WEIGHT = ".base_layer."
"""Part of the name of a matrix that an adapter adds to."""


def lack_of_vllm(method: int) -> str:
    """Return why vLLM cannot sample beside a training on a GPU, or an empty text where it can.

    Args:
        method: Which weights learn.
    """
    if find_spec("vllm") is None:
        return "vLLM is not installed here"
    try:
        is_for_processors = "+cpu" in version("vllm")
    except PackageNotFoundError:  # Installed under another name, as the build for processors is.
        is_for_processors = True
    if is_for_processors:
        return "the vLLM installed here computes on the processor only"
    if method == Method.METHOD_QLORA:
        return "vLLM cannot take over a 4-bit base that learns"
    return ""


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Let vLLM have the variables that it needs while the block runs, and nobody after it."""
    before = {name: os.environ.get(name) for name in (*SET_BY_TRL, *OURS)}
    os.environ.update(OURS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def heard(llm: Any, on_step: Callable[[], None]) -> Iterator[None]:
    """Call back before each token of a batch, and give all memory back when the block ends.

    Args:
        llm: vLLM, in this process.
        on_step: May raise to stop the sampling.
    """
    engine = llm.llm_engine
    step = engine.step

    def checked() -> Any:
        on_step()
        return step()

    engine.step = checked
    try:
        yield
    finally:
        # Else it goes when Python collects it, and the process groups with it, at any later time.
        engine.engine_core.shutdown()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        gc.unfreeze()


def load_merged(llm: Any, model: Any) -> None:
    """Let vLLM sample from a model with an adapter as it is now.

    Args:
        llm: vLLM, in this process.
        model: Of peft, its weights whole.
    """
    sampled = llm.llm_engine.model_executor.driver_worker.model_runner.model
    for named in merged_weights(model):
        sampled.load_weights([named])
    llm.reset_prefix_cache()


def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights with the adapter added, by the base's names; each is good until the next.

    The base keeps its bits. To add an adapter and take it away again rounds a base in bfloat16 at
    every step, until it is as far from the saved one as the adapter has come.
    """
    base = model.get_base_model()
    for name, parameter in base.named_parameters():
        if model.prefix in name:
            continue
        path, is_adapted, attribute = name.partition(OWN_WEIGHT)
        if not is_adapted or attribute != "weight":
            yield name.replace(OWN_WEIGHT, "."), parameter.data
            continue
        layer, kept = base.get_submodule(path), parameter.data.clone()
        layer.merge()
        try:
            yield f"{path}.weight", parameter.data
        finally:
            layer.unmerge()
            parameter.data.copy_(kept)
