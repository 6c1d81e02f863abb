"""A checkpoint that was written with weights whole, read by a run that shards them, or the reverse.

Both hold everything, for a sharded run gathers its weights and states to save them: what differs is
the files' names, and whether the optimizer's states go by the names of parameters or by their
positions. Random numbers are not taken over: each process of another number of them draws anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

SHARDED = "pytorch_model_fsdp.bin"
"""Weights where they are sharded; the trainer library writes that file nowhere else."""
WHOLE_STATES, SHARDED_STATES = "optimizer.pt", "optimizer.bin"
ADAPTER, WEIGHTS = "adapter_model.safetensors", "model.safetensors"
TAKEN_OVER = "taken-over"


def is_sharded(folder: Path) -> bool:
    """Return whether a checkpoint was written by a run that shards its weights."""
    return (folder / SHARDED).exists()


def fitted(trainer: Any, folder: Path, scratch: Path) -> Path:
    """Return a checkpoint as a trainer reads it: the folder itself, or a copy laid out for it.

    Every process of a gang calls it; the first one writes.

    Args:
        trainer: Of TRL, before it has wrapped its model.
        folder: Of the checkpoint.
        scratch: Where the copy may be, for all processes to read.
    """
    if is_sharded(folder) == trainer.is_fsdp_enabled:
        return folder
    copy = scratch / TAKEN_OVER
    if trainer.args.process_index == 0:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for path in folder.iterdir():
            if path.name not in (SHARDED, WHOLE_STATES, SHARDED_STATES):
                os.symlink(path, copy / path.name)
        groups = learnt_groups(trainer)
        if trainer.is_fsdp_enabled:
            torch.save(_weights(trainer.model, folder), copy / SHARDED)
            states = torch.load(folder / WHOLE_STATES, map_location="cpu", weights_only=True)
            torch.save(by_name(states, groups), copy / SHARDED_STATES)
        else:
            states = torch.load(folder / SHARDED_STATES, map_location="cpu", weights_only=True)
            torch.save(by_position(states, groups), copy / WHOLE_STATES)
    trainer.accelerator.wait_for_everyone()
    return copy


def learnt_groups(trainer: Any) -> list[list[str]]:
    """Return the names of the parameters that learn, in the order of the optimizer's groups."""
    decaying = set(trainer.get_decay_parameter_names(trainer.model))
    learnt = [name for name, one in trainer.model.named_parameters() if one.requires_grad]
    return [
        [name for name in learnt if name in decaying],
        [name for name in learnt if name not in decaying],
    ]


def by_position(states: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the states of an optimizer by the positions of parameters in place of their names."""
    names = [name for group in groups for name in group]
    positions = {name: index for index, name in enumerate(names)}
    return {
        "state": {positions[name]: state for name, state in states["state"].items()},
        "param_groups": [
            {**group, "params": [positions[name] for name in group["params"]]}
            for group in states["param_groups"]
        ],
    }


def by_name(states: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the states of an optimizer by the names of parameters in place of their positions."""
    names = [name for group in groups for name in group]
    return {
        "state": {names[index]: state for index, state in states["state"].items()},
        "param_groups": [
            {**group, "params": [names[index] for index in group["params"]]}
            for group in states["param_groups"]
        ],
    }


def _weights(model: Any, folder: Path) -> dict[str, Any]:
    """Return what a whole checkpoint has learnt, by the names that parameters have in the model.

    It is loaded into the model for that: names in the files of adapters lack the adapter's own, and
    weights that two layers share stand in a file once.
    """
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(folder / ADAPTER))
        names = {name for name, one in model.named_parameters() if one.requires_grad}
    else:
        model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        names = set(model.state_dict())
    return {name: one.cpu() for name, one in model.state_dict().items() if name in names}
