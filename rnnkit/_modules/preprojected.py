"""A cell of rnnkit's by its equations, the input's part of all steps computed beforehand.

torch's fused kernels for a step have no rules for ``torch.func`` and forward-mode derivatives; the
operations in the equations do. And the products of all steps with the input are one product.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional

from rnnkit._base.state import LSTMState, State
from rnnkit._kernels.stack import Direction


class PreprojectedCell:
    """A cell whose step takes the input's part instead of the input."""

    def __init__(self, direction: Direction) -> None:
        """Take the weights of a layer's direction."""
        self.recurrence = direction.recurrence
        self.weights = direction.weights
        weight_ih, weight_hh, *others = self.weights
        self.input_weights = (weight_ih, others[0] if direction.bias else None)
        self.hidden_weights = (weight_hh, others[1] if direction.bias else None)
        self.projection = others[-1] if direction.is_projected else None

    def project(self, input: Tensor) -> Tensor:
        """Compute the input's part for all steps: ``(seq, batch, gates * hidden)``."""
        return functional.linear(input, *self.input_weights)

    def __call__(self, given: Tensor, hx: Any) -> State:
        """Run one step from the input's part ``(batch, gates * hidden)`` and a state."""
        h = hx if isinstance(hx, Tensor) else hx[0]
        hidden = functional.linear(h, *self.hidden_weights)
        new: State = self.recurrence.step(given, hidden, hx)
        if self.projection is None:
            return new
        return LSTMState(functional.linear(new[0], self.projection), new[1])
