"""What ``unroll`` takes, and that it calls a cell to which somebody listens at each step."""

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

import rnnkit
from tests.strategies import assert_same


@pytest.mark.unhooked("the annotation asks for a bool")
@pytest.mark.parametrize("yes", [1, np.True_], ids=["int", "NumPy"])
def test_truth_values_of_other_types(yes):
    """A flag may be 1, or a boolean of NumPy's, and 0 or NumPy's False if it is off."""
    cell = rnnkit.GRUCell(3, 4)
    x = torch.randn(2, 7, 3)
    no = type(yes)(0)

    expected = rnnkit.unroll(cell, x, batch_first=True, reverse=True, fused=False)

    assert_same(expected, rnnkit.unroll(cell, x, batch_first=yes, reverse=yes, fused=no))


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
