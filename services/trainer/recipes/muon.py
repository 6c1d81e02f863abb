"""Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) in float32.

`torch.optim.Muon` orthogonalises in bfloat16, which a CPU without bfloat16 instructions does many
times slower than the training step itself.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""From the post above: the quintic that lifts small singular values fastest."""


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum of each matrix."""

    def __init__(self, matrices: Iterable[Tensor], lr: float) -> None:
        """Optimise `matrices`, each with two dimensions; the update's spectral norm is `lr`."""
        groups: dict[tuple[int, ...], list[Tensor]] = {}
        for matrix in matrices:
            groups.setdefault(tuple(matrix.shape), []).append(matrix)
        super().__init__([{"params": group} for group in groups.values()], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix; those of one shape are orthogonalised together."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            matrices = group["params"]
            gradients = torch.stack([matrix.grad for matrix in matrices])  # [N, rows, columns]
            state = self.state[matrices[0]]
            momentum = state.setdefault("momentum", torch.zeros_like(gradients))
            momentum.lerp_(gradients, 1 - MOMENTUM)
            updates = orthogonalised(gradients.lerp(momentum, MOMENTUM))
            tallness = max(1.0, gradients.shape[1] / gradients.shape[2])
            torch._foreach_add_(matrices, updates.unbind(), alpha=-group["lr"] * tallness**0.5)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices [N, rows, columns] with singular values brought near 1 (0.7 to 1.2)."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x
