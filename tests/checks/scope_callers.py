"""Callers that bind axis names, as users write them, and the layers that they call."""

from typing import Any

import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn

import rnnkit

BATCH, SEQ, WIDTH, HIDDEN = 2, 5, 3, 4
AXES = {"seq": "time", "batch": "b"}


def layer(name: str, axes: dict[str, str] | None, *, batch_first: bool) -> Any:
    """A layer of a class of rnnkit's, or a Recurrent."""
    if name == "Recurrent":
        cell = rnnkit.GRUCell(WIDTH, HIDDEN)
        return rnnkit.Recurrent(cell, batch_first=batch_first, axes=axes)
    return getattr(rnnkit, name)(WIDTH, HIDDEN, batch_first=batch_first, axes=axes)


def batch_first_input() -> Tensor:
    """An input whose axes differ in size, the batch in front."""
    return torch.randn(BATCH, SEQ, WIDTH)


class BatchFirstModel(nn.Module):
    """A forward whose annotation says that the batch comes first."""

    def __init__(self, inner: nn.Module) -> None:
        """Take the layer or cell that it runs."""
        super().__init__()
        self.inner = inner

    @jaxtyped(typechecker=beartype)
    def forward(self, x: Float[Tensor, "b time feat"]) -> Any:
        """Hand the input on."""
        return self.inner(x)


@jaxtyped(typechecker=beartype)
def step(cell: nn.Module, x: Float[Tensor, "b feat"], state: Any = None) -> Any:
    """Hand one step on."""
    return cell(x, state)


@jaxtyped(typechecker=beartype)
def translate(
    encoder: nn.Module,
    decoder: nn.Module,
    source: Float[Tensor, "b source 3"],
    target: Float[Tensor, "b target 3"],
) -> Any:
    """Run two layers over sequences of different lengths."""
    encoder(source)
    return decoder(target)
