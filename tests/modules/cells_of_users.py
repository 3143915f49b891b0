"""Two cells that people ask for and torch lacks, each ready for ``unroll`` and ``Recurrent``."""

import torch
from torch import Tensor, nn

import rnnkit


class LayerNormLSTMCell(nn.Module):
    """One step of an LSTM whose gates and cell state are layer-normalised (Ba et al., 2016).

    ::

        i, f, g, o = split(LN(W_ih x) + LN(W_hh h))
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(LN(c'))

    ``LN`` brings a sample's features to mean 0 and variance 1, then scales and shifts them by
    weights of its own, which is why the products have no biases.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Make the weights."""
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.read = nn.Sequential(
            nn.Linear(input_size, 4 * hidden_size, bias=False), nn.LayerNorm(4 * hidden_size)
        )
        self.keep = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size, bias=False), nn.LayerNorm(4 * hidden_size)
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor]) -> rnnkit.LSTMState:
        """Run one step: input is ``(batch, input_size)``, h and c ``(batch, hidden_size)``."""
        h, c = hx
        i, f, g, o = (self.read(input) + self.keep(h)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return rnnkit.LSTMState(o.sigmoid() * self.norm(c).tanh(), c)

    def initial_state(self, batch_size: int) -> rnnkit.LSTMState:
        """Return zeros."""
        zeros = self.norm.weight.new_zeros(batch_size, self.hidden_size)
        return rnnkit.LSTMState(zeros, zeros)


class ZoneoutGRUCell(rnnkit.GRUCell):
    """One step of a GRU in which some units stay as they were (Krueger et al., 2017).

    ::

        k ~ Bernoulli(zoneout), for each unit of each sample
        h' = k * h + (1 - k) * GRU(x, h)

    So in training; in evaluation ``k`` is what it is on average, ``zoneout``. The shapes are
    checked as in any :class:`rnnkit.GRUCell`.
    """

    def __init__(self, input_size: int, hidden_size: int, zoneout: float = 0.1) -> None:
        """Make the weights."""
        super().__init__(input_size, hidden_size)
        self.zoneout = zoneout

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Run one step: input is ``(batch, input_size)``, the state ``(batch, hidden_size)``."""
        h = self.initial_state(len(input)) if hx is None else hx
        new: Tensor = super().forward(input, h)
        if self.training:
            return torch.where(torch.rand_like(new) < self.zoneout, h, new)
        return torch.lerp(new, h, self.zoneout)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{super().extra_repr()}, zoneout={self.zoneout}"
