"""What is compared: torch's six classes, rnnkit's, and what a careful user writes by hand.

The hand-written ones are the obvious way to check shapes with jaxtyping: a subclass whose calls
are annotated and decorated. They take batches, in both layouts, and let packed sequences through,
which have no axes to annotate.
"""

from typing import Any, NamedTuple, TypeAlias

import beartype
import torch
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import rnnkit

checked = jaxtyped(typechecker=beartype.beartype)

SeqFirst: TypeAlias = Float[Tensor, "seq batch {self.input_size}"]
SeqFirstOut: TypeAlias = Float[Tensor, "seq batch {self.width}"]
BatchFirst: TypeAlias = Float[Tensor, "batch seq {self.input_size}"]
BatchFirstOut: TypeAlias = Float[Tensor, "batch seq {self.width}"]
Hidden: TypeAlias = Float[Tensor, "{self.rows} batch {self.size}"]
Memory: TypeAlias = Float[Tensor, "{self.rows} batch {self.hidden_size}"]
Step: TypeAlias = Float[Tensor, "batch {self.input_size}"]
StepHidden: TypeAlias = Float[Tensor, "batch {self.hidden_size}"]


class Layer(nn.RNNBase):
    """Has the sizes that annotations speak of, and the ways to and from annotated calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make torch's layer, and work out the sizes once."""
        super().__init__(*args, **kwargs)
        directions = 2 if self.bidirectional else 1
        self.rows = self.num_layers * directions
        self.size = self.proj_size or self.hidden_size
        self.width = self.size * directions

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Check anything but a packed sequence, by the layout that the layer has."""
        if isinstance(input, PackedSequence):
            return super().forward(input, hx)
        return self.batch_major(input, hx) if self.batch_first else self.seq_major(input, hx)

    def compute(self, input: Any, hx: Any) -> Any:
        """Do what torch does."""
        return super().forward(input, hx)


class OneState(Layer):
    """A layer that carries one tensor."""

    @checked
    def seq_major(self, input: SeqFirst, hx: Hidden | None) -> tuple[SeqFirstOut, Hidden]:
        """Take and give time on the first axis."""
        return self.compute(input, hx)

    @checked
    def batch_major(self, input: BatchFirst, hx: Hidden | None) -> tuple[BatchFirstOut, Hidden]:
        """Take and give the batch on the first axis."""
        return self.compute(input, hx)


class RNN(OneState, nn.RNN):
    """An RNN that says what it takes and gives."""


class GRU(OneState, nn.GRU):
    """A GRU that says what it takes and gives."""


class LSTM(Layer, nn.LSTM):
    """An LSTM that says what it takes and gives."""

    @checked
    def seq_major(
        self, input: SeqFirst, hx: tuple[Hidden, Memory] | None
    ) -> tuple[SeqFirstOut, tuple[Hidden, Memory]]:
        """Take and give time on the first axis."""
        return self.compute(input, hx)

    @checked
    def batch_major(
        self, input: BatchFirst, hx: tuple[Hidden, Memory] | None
    ) -> tuple[BatchFirstOut, tuple[Hidden, Memory]]:
        """Take and give the batch on the first axis."""
        return self.compute(input, hx)


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

    Weights of their own would be placed differently in the processor's caches, which can weigh more
    than what is measured.
    """
    return Trio(*sharing(*pair(kind, *sizes), NAIVE[kind](*sizes)))


def pair(kind: str, *sizes: int, **options: Any) -> list[nn.Module]:
    """Torch's module of a kind and rnnkit's, over the same weights."""
    return sharing(*(getattr(package, kind)(*sizes, **options) for package in (nn, rnnkit)))


def sharing(first: nn.Module, *others: nn.Module) -> list[nn.Module]:
    """Give modules the weights of the first; cells, those of a layer."""
    for module in others:
        weights = zip(module.state_dict(), first.state_dict().values(), strict=True)
        module.load_state_dict(dict(weights), assign=True)
    return [first, *others]


def state(kind: str, *shape: int) -> Tensor | tuple[Tensor, Tensor]:
    """A random state such as torch's modules of this kind take."""
    hidden = torch.randn(shape)
    return (hidden, torch.randn(shape)) if kind.startswith("LSTM") else hidden
