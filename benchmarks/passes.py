"""Paths over a sequence, timed in the forward pass only and in both passes."""

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
    """A way to an output, or an output and a state, and the module whose weights it uses."""

    module: nn.Module
    run: Callable[[], Any]


def cases(kinds: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Name each kind of module in each of the passes."""
    return {
        f"{kind}, {name}": (kind, backward) for kind in kinds for name, backward in PASSES.items()
    }


def calls(
    paths: Mapping[str, KernelPath], x: Tensor | None = None, *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return a call of each path: the forward pass, without a graph, or both passes.

    Gradients are those of all weights, and of ``x`` if it is given.
    """
    given = [] if x is None else [x.requires_grad_(backward)]

    def call(path: KernelPath) -> Callable[[], object]:
        leaves = [*given, *path.module.parameters()]

        def run() -> object:
            with torch.set_grad_enabled(backward):
                result = path.run()
                if not backward:
                    return result
                output, state = result if isinstance(result, tuple) else (result, None)
                loss = output.sum()
                if state is not None:
                    loss = loss + (state if isinstance(state, Tensor) else state[0]).sum()
                return torch.autograd.grad(loss, leaves)

        return run

    return {name: call(path) for name, path in paths.items()}
