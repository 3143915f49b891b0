"""A model that holds and does what a test says, for the tests of copies."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnkit._diagnostics.isolation import Given, Session, session

X = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(1))


class Holder(nn.Module):
    """A layer, and whatever a test lets it hold and do; a tensor from acting is added."""

    def __init__(self, act: Callable[[Any], Any] = lambda m: None, **held: Any) -> None:  # noqa: ARG005
        """Keep it."""
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.act = act
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Act, then run."""
        acted = self.act(self)
        y: Tensor = self.gru(x)[0]
        return y + acted if isinstance(acted, Tensor) else y


def twice(model: nn.Module) -> Session:
    """Check that two runs return the same."""
    with session(model) as opened:
        first, again = (opened.run(Given((X,), {})) for _ in range(2))
    assert all(map(torch.equal, first, again))
    return opened
