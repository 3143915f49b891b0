"""What is compared: torch's six classes, rnnkit's, and what a careful user writes by hand.

The hand-written ones are the obvious way to check shapes with jaxtyping: a subclass whose
``forward`` is annotated and decorated.
"""

from typing import NamedTuple, TypeAlias

import beartype
import torch
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn

import rnnkit

checked = jaxtyped(typechecker=beartype.beartype)

Inputs: TypeAlias = Float[Tensor, "seq batch {self.input_size}"]
Outputs: TypeAlias = Float[Tensor, "seq batch {self.hidden_size}"]
Hidden: TypeAlias = Float[Tensor, "{self.num_layers} batch {self.hidden_size}"]
Step: TypeAlias = Float[Tensor, "batch {self.input_size}"]
StepHidden: TypeAlias = Float[Tensor, "batch {self.hidden_size}"]


class RNN(nn.RNN):
    """An RNN whose ``forward`` says what it takes and gives."""

    @checked
    def forward(  # type: ignore[override]
        self, input: Inputs, hx: Hidden | None = None
    ) -> tuple[Outputs, Hidden]:
        """Check, then do what torch does."""
        return super().forward(input, hx)


class GRU(nn.GRU):
    """A GRU whose ``forward`` says what it takes and gives."""

    @checked
    def forward(  # type: ignore[override]
        self, input: Inputs, hx: Hidden | None = None
    ) -> tuple[Outputs, Hidden]:
        """Check, then do what torch does."""
        return super().forward(input, hx)


class LSTM(nn.LSTM):
    """An LSTM whose ``forward`` says what it takes and gives."""

    @checked
    def forward(  # type: ignore[override]
        self, input: Inputs, hx: tuple[Hidden, Hidden] | None = None
    ) -> tuple[Outputs, tuple[Hidden, Hidden]]:
        """Check, then do what torch does."""
        return super().forward(input, hx)


class RNNCell(nn.RNNCell):
    """An RNN cell whose ``forward`` says what it takes and gives."""

    @checked
    def forward(self, input: Step, hx: StepHidden | None = None) -> StepHidden:
        """Check, then do what torch does."""
        return super().forward(input, hx)


class GRUCell(nn.GRUCell):
    """A GRU cell whose ``forward`` says what it takes and gives."""

    @checked
    def forward(self, input: Step, hx: StepHidden | None = None) -> StepHidden:
        """Check, then do what torch does."""
        return super().forward(input, hx)


class LSTMCell(nn.LSTMCell):
    """An LSTM cell whose ``forward`` says what it takes and gives."""

    @checked
    def forward(
        self, input: Step, hx: tuple[StepHidden, StepHidden] | None = None
    ) -> tuple[StepHidden, StepHidden]:
        """Check, then do what torch does."""
        return super().forward(input, hx)


NAIVE: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}


class Trio(NamedTuple):
    """One module of each make."""

    torch: nn.Module
    rnnkit: nn.Module
    naive: nn.Module


def trio(kind: str, *sizes: int) -> Trio:
    """Modules of one kind in the three makes, over the same weights in the same memory.

    Weights of their own would lie differently in the processor's caches, which can weigh more
    than what is measured.
    """
    modules = Trio(getattr(nn, kind)(*sizes), getattr(rnnkit, kind)(*sizes), NAIVE[kind](*sizes))
    weights = modules.torch.state_dict()
    for module in modules:
        module.load_state_dict(weights, assign=True)
    return modules


def state(kind: str, *shape: int) -> Tensor | tuple[Tensor, Tensor]:
    """A random state such as torch's modules of this kind take."""
    hidden = torch.randn(shape)
    return (hidden, torch.randn(shape)) if kind.startswith("LSTM") else hidden
