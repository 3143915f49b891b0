"""Paths over a sequence, timed in the forward pass alone and in both passes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

#: ``(batch, seq, input_size, hidden_size)``.
Shape: TypeAlias = tuple[int, int, int, int]

SHAPES: tuple[Shape, ...] = (
    (32, 50, 64, 128),
    (16, 100, 32, 64),
    (8, 200, 32, 64),
    (64, 30, 128, 256),
)

#: By name, whether there is a backward pass.
PASSES = {"forward": False, "forward + backward": True}


class KernelPath(NamedTuple):
    """A way from an input to output and state, and the module whose weights it uses."""

    module: nn.Module
    run: Callable[[], tuple[Tensor, Any]]


def cases(kinds: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Name each kind of module in each of the passes."""
    return {
        f"{kind}, {name}": (kind, backward) for kind in kinds for name, backward in PASSES.items()
    }


def calls(
    paths: Mapping[str, KernelPath], x: Tensor, *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return a call of each path: the forward pass alone, without a graph, or both passes."""
    x.requires_grad_(backward)
    return {name: (_both(path, x) if backward else _forward(path)) for name, path in paths.items()}


def _forward(path: KernelPath) -> Callable[[], object]:
    def forward() -> object:
        with torch.no_grad():
            return path.run()

    return forward


def _both(path: KernelPath, x: Tensor) -> Callable[[], object]:
    leaves = [x, *path.module.parameters()]

    def both() -> object:
        output, state = path.run()
        h = state if isinstance(state, Tensor) else state[0]
        return torch.autograd.grad(output.sum() + h.sum(), leaves)

    return both
