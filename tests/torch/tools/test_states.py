"""Each function of ``rnnkit.states`` is exported with a free batch, and makes the same of any."""

from itertools import cycle

import pytest
import torch
from torch import Tensor, nn

from rnnkit import LSTMState, states
from tests.modules.acts_on_states import ACTS
from tests.torch.interop import same

pytestmark = [pytest.mark.slow, pytest.mark.unhooked("Dynamo cannot trace what the hook adds")]


class Calls(nn.Module):
    """A model that calls a function of states."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h, c, x):
        """Call it; which samples are meant follows from the numbers."""
        return self.function(LSTMState(h, c), x > 0, x.argsort())


def given(batch: int) -> tuple[Tensor, ...]:
    """Return h, c, and a number for each sample."""
    return torch.randn(4, batch, 3), torch.randn(4, batch, 3), torch.randn(batch)


def test_each_function_is_exported():
    """A new function of states needs a line in the table."""
    assert {name.partition(",")[0] for name in ACTS} == {*states.__all__} - {"LSTMState"}


@pytest.mark.parametrize(("name", "strict"), [*zip(ACTS, cycle([False, True]), strict=False)])
@pytest.mark.needs_torch("2.13", "strict export follows no method of a subclass")
def test_free_batch(name, strict):
    """The program computes for other batches what the function does, in the same tuples."""
    model = Calls(ACTS[name])
    batch = torch.export.Dim("batch", min=4, max=64)
    program = torch.export.export(
        model, given(6), dynamic_shapes=({1: batch}, {1: batch}, {0: batch}), strict=strict
    ).module()

    for samples in (4, 9):
        tensors = given(samples)
        expected = model(*tensors)
        result = program(*tensors)
        same(expected, result)
        assert type(result) is type(expected)
