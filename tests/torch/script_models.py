"""Models that TorchScript can compile, around a recurrent module."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.torch.side_by_side import INPUT

LENGTHS = [3, 5]


class Parent(nn.Module):
    """A model with a recurrent module behind a linear one."""

    def __init__(self, core: nn.Module) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core

    def forward(self, x: Tensor) -> Any:
        """Run the recurrent module on the transformed input."""
        return self.core(self.before(x))


class OneTensor(Parent):
    """A model that carries the state of an RNN or a GRU."""

    def forward(self, x: Tensor, hx: Tensor):  # noqa: ANN201 - TorchScript infers it
        """Run the recurrent module from a state."""
        return self.core(self.before(x), hx)


class TwoTensors(Parent):
    """A model that carries the state of an LSTM."""

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor]):  # noqa: ANN201 - TorchScript infers it
        """Run the recurrent module from a state."""
        return self.core(self.before(x), hx)


class Packs(Parent):
    """A model that packs its input and pads its output."""

    def forward(self, x: Tensor, lengths: Tensor):  # noqa: ANN201 - TorchScript infers it
        """Run the layer on packed input."""
        packed = pack_padded_sequence(self.before(x), lengths, enforce_sorted=False)
        output, state = self.core(packed)
        return pad_packed_sequence(output)[0], state
