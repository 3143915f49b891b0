"""Models that TorchScript can compile, around a recurrent module."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

LENGTHS = [3, 6, 2, 1, 5]


class Parent(nn.Module):
    """A model with a recurrent module behind a linear one, of three features."""

    def __init__(self, core: nn.Module, before: nn.Module | None = None):
        super().__init__()
        self.before = before or nn.Linear(3, 3)
        self.core = core

    def forward(self, x: Tensor) -> Any:
        """Run the recurrent module on the transformed input."""
        return self.core(self.before(x))


class OneTensor(Parent):
    """A model that carries the state of an RNN or a GRU."""

    def forward(self, x: Tensor, hx: Tensor):
        """Run the recurrent module from a state."""
        return self.core(self.before(x), hx)


class TwoTensors(Parent):
    """A model that carries the state of an LSTM."""

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor]):
        """Run the recurrent module from a state."""
        return self.core(self.before(x), hx)


class Packs(Parent):
    """A model that packs its input and pads its output."""

    def forward(self, x: Tensor, sizes: Tensor):
        """Run the layer on packed input."""
        packed = pack_padded_sequence(self.before(x), sizes, enforce_sorted=False)
        output, state = self.core(packed)
        return pad_packed_sequence(output)[0], state


class TakesPacked(Parent):
    """A model that is given packed input."""

    def forward(self, packed: PackedSequence):
        """Run the layer on packed input."""
        output, state = self.core(packed)
        return output.data, state


def scriptable(model: Any, _: Tensor, hx: Any) -> Parent:
    """Return a model with the same parts that is called with such a state."""
    kind = OneTensor if isinstance(hx, Tensor) else TwoTensors
    if hx is None:
        kind = Parent
    return kind(model.core, model.before).train(model.training)
