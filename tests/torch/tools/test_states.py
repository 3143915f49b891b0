"""Each function of ``rnnkit.states`` is exported with a free batch, and makes the same of any."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnkit import LSTMState, states
from tests.torch.interop import same

pytestmark = [pytest.mark.slow, pytest.mark.unhooked("Dynamo cannot trace what the hook adds")]


#: By the function's name, and what more there is to say: a call, and the sizes of its tensors, in
#: which ``b`` stands for the batch.
CASES = {
    "batch_first": (states.batch_first, "4 b 3"),
    "from_batch_first": (states.from_batch_first, "b 4 3"),
    "bridge": (states.bridge, "4 b 3"),
    "cat": (lambda *both: states.cat([*both]), "4 b 3, 4 b 3"),
    "cat, pairs": (lambda h, c: states.cat([LSTMState(h, c), LSTMState(c, h)]), "1 b 3, 1 b 3"),
    "detach": (states.detach, "4 b 3"),
    "expand": (lambda h, x: states.expand(h, x.shape[0]), "4 1 3, b 2"),
    "from_layers": (lambda *both: states.from_layers([*both]), "b 3, 2 b 3"),
    "repeat": (lambda h: states.repeat(h, 3), "4 b 3"),
    "reset": (lambda h, x: states.reset(h, x[:, 0] > 0), "4 b 3, b 2"),
    "reset, to a state": (
        lambda h, x, g: states.reset(LSTMState(h, g), x[:, 0] > 0, LSTMState(g, h)),
        "4 b 3, b 2, 4 b 3",
    ),
    "reset, None": (lambda x, g: states.reset(None, x[:, 0] > 0, g), "b 2, 4 b 3"),
    "select": (lambda h, x: states.select(h, x[:, 0].argsort()), "4 b 3, b 2"),
    "select, a list": (lambda h: states.select(h, [3, 0, -1]), "4 b 3"),
    "select, a mask": (lambda h, x: states.select(h, x[:, 0] > 0), "4 b 3, b 2"),
    "to": (lambda h: states.to(h, torch.float64), "4 b 3"),
    "to_layers": (lambda h, c: states.to_layers(LSTMState(h, c)), "4 b 3, 4 b 3"),
}


class Calls(nn.Module):
    """A model that calls a function of states."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:
        """Call it."""
        return self.function(*tensors)


def test_each_function_is_exported():
    """A new function of states needs a line above."""
    assert {name.partition(",")[0] for name in CASES} == {*states.__all__} - {"LSTMState"}


@pytest.mark.parametrize(("name", "strict"), [*zip(CASES, cycle([False, True]), strict=False)])
@pytest.mark.needs_torch("2.13", "strict export follows no method of a subclass")
def test_free_batch(name: str, strict: bool):
    """The program computes for other batches what the function does, in the same tuples."""
    model = Calls(CASES[name][0])
    sizes = [each.split() for each in CASES[name][1].split(", ")]
    batch = torch.export.Dim("batch", min=4, max=64)

    def given(samples: int) -> tuple[Tensor, ...]:
        each = [[samples if axis == "b" else int(axis) for axis in one] for one in sizes]
        return tuple(map(torch.randn, each))

    free = [{axis: batch for axis, size in enumerate(one) if size == "b"} for one in sizes]
    program = torch.export.export(
        model, given(6), dynamic_shapes=(tuple(free),), strict=strict
    ).module()

    for samples in (4, 9):
        tensors = given(samples)
        expected = model(*tensors)
        result = program(*tensors)
        same(expected, result)
        assert type(result) is type(expected)
