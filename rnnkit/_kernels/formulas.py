"""One step of rnnkit's own cells by their formulas, the input's part computed beforehand.

torch's fused kernels for a step have no rules for ``torch.func`` and forward-mode derivatives; the
operations in the formulas do. And the products of all steps with the input are one product.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._base.state import LSTMState
from rnnkit._kernels.stack import Direction


class ByParts:
    """A cell whose step takes the input's part instead of the input."""

    def __init__(self, direction: Direction) -> None:
        """Take the weights of a layer's direction."""
        self.mode = direction.mode
        self.weights = direction.weights
        weight_ih, weight_hh, *others = self.weights
        self.input_weights = (weight_ih, others[0] if direction.bias else None)
        self.hidden_weights = (weight_hh, others[1] if direction.bias else None)
        self.projection = others[-1] if direction.is_projected else None

    def project(self, input: Tensor) -> Tensor:
        """Compute the input's part for all steps: ``(seq, batch, gates * hidden)``."""
        return functional.linear(input, *self.input_weights)

    def __call__(self, given: Tensor, hx: Any) -> Any:
        """Run one step from the input's part ``(batch, gates * hidden)`` and a state."""
        h = hx if isinstance(hx, Tensor) else hx[0]
        hidden = functional.linear(h, *self.hidden_weights)
        if self.mode == "RNN_TANH":
            return torch.tanh(given + hidden)
        if self.mode == "RNN_RELU":
            return torch.relu(given + hidden)
        if self.mode == "GRU":
            given_r, given_z, given_n = given.chunk(3, -1)
            hidden_r, hidden_z, hidden_n = hidden.chunk(3, -1)
            r = torch.sigmoid(given_r + hidden_r)
            z = torch.sigmoid(given_z + hidden_z)
            n = torch.tanh(given_n + r * hidden_n)
            return n + z * (h - n)
        i, f, g, o = (given + hidden).chunk(4, -1)
        c = torch.sigmoid(f) * hx[1] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        if self.projection is not None:
            h = functional.linear(h, self.projection)
        return LSTMState(h, c)
