"""Several rows in one sequence, none of which sees another. Shapes: see the package.

The rows of a micro-batch are laid into as few sequences as hold them, so a step still takes the
rows that the spec says, and no more memory than with a sequence for each. Positions begin anew with
every row, and no mask is given: from that transformers makes an attention mask that keeps rows
apart, or the boundaries that a kernel for packed rows wants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from services.trainer.recipes.training import IGNORED
from services.trainer.run import RunFailed

LEAK_MAX = 1e-3
"""Largest change of a row's logits, as a share of their greatest, that is rounding and no leak."""
PROBE_TOKENS = 8
"""Tokens of each of the two rows that look for a leak."""


class Packer:
    """Lays the rows of a micro-batch into sequences."""

    def __init__(self, max_length: int, pad_id: int) -> None:
        """Keep what bounds a sequence.

        Args:
            max_length: Tokens that a sequence may have.
            pad_id: Fills the end of shorter ones.
        """
        self._max_length = max_length
        self._pad_id = pad_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return token ids, labels and positions of a micro-batch, each [B, T].

        Args:
            rows: Each with `input_ids` and `labels`, at most `max_length` of them.
        """
        sequences = bins([len(row["input_ids"]) for row in rows], self._max_length)
        token_ids, labels, positions = [], [], []
        for chosen in sequences:
            parts = [rows[index] for index in chosen]
            token_ids.append([one for part in parts for one in part["input_ids"]])
            # The first token of a row is foretold by nothing, least of all by the row before.
            labels.append([one for part in parts for one in (IGNORED, *part["labels"][1:])])
            positions.append([at for part in parts for at in range(len(part["input_ids"]))])
        width = max(map(len, token_ids))
        return {
            "input_ids": _filled(token_ids, width, self._pad_id),
            "labels": _filled(labels, width, IGNORED),
            # Each token of the filling is a row of its own, which nothing looks at.
            "position_ids": _filled(positions, width, 0),
        }


def bins(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Return positions of rows by the sequence they share, each sequence in order.

    Longest first, each to where the least room is left that holds it: at most 11/9 of the fewest
    sequences, and one more (best-fit decreasing).

    Args:
        lengths: Tokens of each row, at most `room`.
        room: Tokens of a sequence.
    """
    found: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        fitting = [at for at, free in enumerate(left) if free >= lengths[index]]
        if fitting:
            at = min(fitting, key=lambda at: left[at])
        else:
            at = len(found)
            found.append([])
            left.append(room)
        found[at].append(index)
        left[at] -= lengths[index]
    return [sorted(chosen) for chosen in sorted(found, key=min)]


def check_boundaries(model: Any) -> None:
    """Refuse a model whose attention lets rows that share a sequence see each other.

    The second of two rows must be foretold alike whatever the first one says.

    Raises:
        RunFailed: If it is not.
    """
    was_training = model.training
    model.eval()
    try:
        first = _second_row(model, range(PROBE_TOKENS))
        other = _second_row(model, range(PROBE_TOKENS, 2 * PROBE_TOKENS))
    except TypeError:  # It takes no positions.
        first, other = torch.ones(1), torch.zeros(1)
    model.train(was_training)
    if not torch.allclose(first, other, rtol=0.0, atol=LEAK_MAX * float(first.abs().max())):
        raise RunFailed(
            "PACKING_LEAKS",
            "With this base model rows that share a sequence would see each other. Turn packing "
            "off.",
        )


def _second_row(model: Any, before: range) -> Tensor:
    """Return the logits of a row that stands behind another one in two sequences, [B, T, V]."""
    rows = [{"input_ids": one, "labels": one} for one in (list(before), list(range(PROBE_TOKENS)))]
    batch = Packer(2 * PROBE_TOKENS, 0)(rows)
    device = next(model.parameters()).device
    with torch.no_grad():
        logits: Tensor = model(
            input_ids=batch["input_ids"].repeat(2, 1).to(device),
            position_ids=batch["position_ids"].repeat(2, 1).to(device),
            use_cache=False,
        ).logits
    return logits[:, PROBE_TOKENS:].float()


def _filled(rows: Sequence[Sequence[int]], width: int, value: int) -> Tensor:
    return torch.tensor([[*row, *([value] * (width - len(row)))] for row in rows])
