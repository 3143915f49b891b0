"""Callers that bind axis names, as users write them."""

from typing import Any

from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn


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
