"""A model that holds and does what a test says, for the tests of copies."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.utils.prune
from torch import Tensor, nn

from rnnkit._diagnostics import isolation
from rnnkit._diagnostics.isolation import Given, session

X = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(1))


class Frozen(dict[str, int]):
    """A mapping that refuses to be written, and so to be copied."""

    def __setitem__(self, key: str, value: int) -> None:
        """Refuse."""
        raise TypeError(key, value)


class Holder(nn.Module):
    """A layer, and whatever a test lets it hold and do."""

    def __init__(self, act: Callable[[Any], Any] = lambda m: None, **held: Any) -> None:  # noqa: ARG005
        """Keep it."""
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.act = act
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Act, then run; what acting gives is added."""
        acted = self.act(self)
        y: Tensor = self.gru(x)[0]
        return y + acted if isinstance(acted, Tensor) else y


def twice(model: nn.Module, *inputs: Any) -> isolation.Session:
    """Run a model twice, which gives the same."""
    with session(model) as opened:
        first, again = (opened.run(Given(inputs or (X,), {})) for _ in range(2))
    assert all(map(torch.equal, first, again))
    return opened
