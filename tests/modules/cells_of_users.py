"""Cells that people ask for and torch lacks, each ready for ``unroll`` and ``Recurrent``."""

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

    This applies in training. In evaluation, ``k`` is replaced by its mean, ``zoneout``. The shapes
    are checked as in any :class:`rnnkit.GRUCell`.
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


class PeepholeLSTMCell(nn.Module):
    """One step of an LSTM whose gates also read the cell state (Gers and Schmidhuber, 2000).

    ::

        i, f, g, o = split(W [x, h] + b)
        c' = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
        h' = sigmoid(o + p_o * c') * tanh(c')

    Each peephole ``p`` has one weight for each unit. The output gate reads the new cell state,
    the other two gates read the old one. With peepholes of zero it is the usual LSTM.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Make the weights."""
        super().__init__()
        self.gates = nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.to_input_gate = nn.Parameter(torch.zeros(hidden_size))
        self.to_forget_gate = nn.Parameter(torch.zeros(hidden_size))
        self.to_output_gate = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor]) -> rnnkit.LSTMState:
        """Run one step: input is ``(batch, input_size)``, h and c ``(batch, hidden_size)``."""
        h, c = hx
        i, f, g, o = self.gates(torch.cat([input, h], dim=1)).chunk(4, dim=1)
        i = torch.sigmoid(i + self.to_input_gate * c)
        f = torch.sigmoid(f + self.to_forget_gate * c)
        c = f * c + i * g.tanh()
        o = torch.sigmoid(o + self.to_output_gate * c)
        return rnnkit.LSTMState(o * c.tanh(), c)

    def initial_state(self, batch_size: int) -> rnnkit.LSTMState:
        """Return zeros."""
        zeros = self.to_input_gate.new_zeros(batch_size, len(self.to_input_gate))
        return rnnkit.LSTMState(zeros, zeros)


class AttentionGRUCell(nn.Module):
    """One step of a decoder's GRU that reads an encoder's outputs by attention.

    ::

        scores = memory W h, one for each step of the memory
        context = sum of softmax(scores) * memory, over a sample's valid steps
        h' = GRU([x, context], h)

    The state is ``(h, memory, lengths)``: ``(batch, hidden_size)``, the encoder's outputs
    ``(batch, source steps, memory_size)``, and their lengths ``(batch,)``.
    """

    def __init__(self, input_size: int, hidden_size: int, memory_size: int) -> None:
        """Make the weights."""
        super().__init__()
        self.query = nn.Linear(hidden_size, memory_size, bias=False)
        self.cell = rnnkit.GRUCell(input_size + memory_size, hidden_size)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one step: input is ``(batch, input_size)``."""
        h, memory, lengths = hx
        scores = (memory @ self.query(h).unsqueeze(2)).squeeze(2)  # (batch, source steps)
        weights = rnnkit.masked.softmax(scores, lengths, dim=1)  # zero on padding
        context = (weights.unsqueeze(1) @ memory).squeeze(1)  # (batch, memory_size)
        h = self.cell(torch.cat([input, context], dim=1), h)
        return h, memory, lengths
