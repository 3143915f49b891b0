"""Each function of ``rnnkit.states`` is exported with a free batch, and makes the same of any."""

from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnkit import LSTMState, states
from tests.torch.interop import same

pytestmark = [pytest.mark.slow, pytest.mark.unhooked("Dynamo cannot trace what the hook adds")]


#: By the function's name, and what more there is to say: a call with two states (4, batch, 3), and an
#: input (batch, 2).
CASES = {
    "batch_first": lambda h, *_: states.batch_first(h),
    "from_batch_first": lambda h, *_: states.from_batch_first(h.transpose(0, 1)),
    "bridge": lambda h, *_: states.bridge(h),
    "cat": lambda h, g, _: states.cat([h, g]),
    "cat, pairs": lambda h, g, _: states.cat([LSTMState(h, g), LSTMState(g, h)]),
    "detach": lambda h, *_: states.detach(h),
    "expand": lambda h, _, x: states.expand(h[:, :1], x.shape[0]),
    "from_layers": lambda h, g, _: states.from_layers([h[0], g[:2]]),
    "repeat": lambda h, *_: states.repeat(h, 3),
    "reset": lambda h, _, x: states.reset(h, x[:, 0] > 0),
    "reset, to a state": lambda h, g, x: states.reset(
        LSTMState(h, g), x[:, 0] > 0, LSTMState(g, h)
    ),
    "reset, None": lambda h, _, x: states.reset(None, x[:, 0] > 0, h),
    "select": lambda h, _, x: states.select(h, x[:, 0].argsort()),
    "select, a list": lambda h, *_: states.select(h, [3, 0, -1]),
    "select, a mask": lambda h, _, x: states.select(h, x[:, 0] > 0),
    "to": lambda h, *_: states.to(h, torch.float64),
    "to_layers": lambda h, g, _: states.to_layers(LSTMState(h, g)),
}


class Calls(nn.Module):
    """A model that calls a function of states."""

    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, h: Tensor, g: Tensor, x: Tensor) -> Any:
        """Call it."""
        return self.function(h, g, x)


def given(batch: int) -> tuple[Tensor, ...]:
    """Return two states and an input."""
    return torch.randn(4, batch, 3), torch.randn(4, batch, 3), torch.randn(batch, 2)


def test_each_function_is_exported():
    """A new function of states needs a line above."""
    assert {name.partition(",")[0] for name in CASES} == {*states.__all__} - {"LSTMState"}


@pytest.mark.parametrize(("name", "strict"), [*zip(CASES, cycle([False, True]), strict=False)])
@pytest.mark.needs_torch("2.13", "strict export follows no method of a subclass")
def test_free_batch(name, strict):
    """The program computes for other batches what the function does, in the same tuples."""
    model = Calls(CASES[name])
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
