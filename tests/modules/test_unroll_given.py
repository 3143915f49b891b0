"""What ``unroll`` takes, and how often it calls a cell, from which state."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import rnnkit
from tests.strategies import assert_same


@pytest.mark.unhooked("the annotation asks for an initial_state")
def test_a_vector_is_the_state_of_one_sequence():
    """Without a batch, a user's state is handed to the cell with a batch of one."""
    output, end = rnnkit.unroll(
        lambda x, hx: hx + x, torch.ones(7, 3), torch.tensor([1.0, 2.0, 3.0])
    )

    assert output.shape == (7, 3)
    assert end.tolist() == [8.0, 9.0, 10.0]


@pytest.mark.unhooked("the annotation asks for a bool")
@pytest.mark.parametrize("yes", [1, np.True_], ids=["int", "NumPy"])
def test_truth_values_of_other_types(yes):
    """A flag may be 1, or a boolean of NumPy's, and 0 or NumPy's False if it is off."""
    cell = rnnkit.GRUCell(3, 4)
    x = torch.randn(2, 7, 3)
    no = type(yes)(0)

    expected = rnnkit.unroll(cell, x, batch_first=True, reverse=True, fused=False)

    assert_same(expected, rnnkit.unroll(cell, x, batch_first=yes, reverse=yes, fused=no))


class Counter(nn.Module):
    """A cell without a network: it counts its steps."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's
        """Count one step more."""
        return hx + 1

    def initial_state(self, batch_size: int) -> Tensor:
        """Start to count at zero."""
        return torch.zeros(batch_size, 1)


RESET = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]])
#: How two samples of four steps are run; what is counted of each at each step, and at the end.
COUNTS = [
    ({}, [[1, 2, 3, 4], [1, 2, 3, 4]], [4, 4]),
    ({"hx": torch.tensor([[10.0], [20.0]])}, [[11, 12, 13, 14], [21, 22, 23, 24]], [14, 24]),
    # Beyond a length the output is zero and the state stays; backward, each begins at its last.
    ({"lengths": [3, 0]}, [[1, 2, 3, 0], [0, 0, 0, 0]], [3, 0]),
    ({"lengths": [3, 4], "reverse": True}, [[3, 2, 1, 0], [4, 3, 2, 1]], [3, 4]),
    # A reset cuts between its step and the one before, and beyond a length there is none.
    ({"reset": RESET, "lengths": [3, 4]}, [[1, 1, 2, 0], [1, 2, 1, 2]], [2, 2]),
    ({"reset": RESET, "reverse": True}, [[1, 2, 1, 1], [2, 1, 2, 1]], [1, 2]),
]


def test_counts():
    """A cell is called once a valid step, with the state of the step before, or an initial one."""
    for options, counts, last in COUNTS:
        x = torch.randn(2, 4, 3)
        output, state = rnnkit.unroll(Counter(), x, batch_first=True, **options)
        assert (output.squeeze(2).tolist(), state.squeeze(1).tolist()) == (counts, last)


def test_hooks_are_called_at_each_step():
    """A cell that somebody listens to, or all modules, is called step by step, whatever is faster."""
    cell = rnnkit.GRUCell(3, 4)
    for register in (
        cell.register_forward_hook,
        cell.register_forward_pre_hook,
        cell.register_full_backward_hook,
        register_module_forward_hook,
    ):
        called = []
        with register(lambda module, *_, called=called: called.append(module)):
            output, _ = rnnkit.unroll(cell, torch.randn(7, 2, 3, requires_grad=True))
            output.sum().backward()

        assert called == [cell] * 7
