"""Each function of ``rnnkit.states`` is exported with a free batch, and makes the same of any."""

from collections.abc import Callable
from itertools import cycle
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnnkit import LSTMState, states
from tests.torch.interop import same

pytestmark = [pytest.mark.slow, pytest.mark.unhooked("Dynamo cannot trace what the hook adds")]


class Case(NamedTuple):
    """What is called, and with which tensors: ``b`` stands for the batch in their sizes."""

    function: Callable[..., Any]
    sizes: tuple[str, ...] = ("4 b 3",)


#: By the function's name, and what more there is to say.
CASES = {
    "batch_first": Case(states.batch_first),
    "from_batch_first": Case(states.from_batch_first, ("b 4 3",)),
    "bridge": Case(states.bridge),
    "cat": Case(lambda h, g: states.cat([h, g]), ("4 b 3", "4 b 3")),
    "cat, pairs": Case(
        lambda h, c: states.cat([LSTMState(h, c), LSTMState(c, h)]), ("1 b 3", "1 b 3")
    ),
    "detach": Case(states.detach),
    "expand": Case(lambda h, x: states.expand(h, x.shape[0]), ("4 1 3", "b 2")),
    "from_layers": Case(lambda h, g: states.from_layers([h, g]), ("b 3", "2 b 3")),
    "repeat": Case(lambda h: states.repeat(h, 3)),
    "reset": Case(lambda h, x: states.reset(h, x[:, 0] > 0), ("4 b 3", "b 2")),
    "reset, to a state": Case(
        lambda h, x, g: states.reset(LSTMState(h, g), x[:, 0] > 0, LSTMState(g, h)),
        ("4 b 3", "b 2", "4 b 3"),
    ),
    "reset, None": Case(lambda x, g: states.reset(None, x[:, 0] > 0, g), ("b 2", "4 b 3")),
    "select": Case(lambda h, x: states.select(h, x[:, 0].argsort()), ("4 b 3", "b 2")),
    "select, a list": Case(lambda h: states.select(h, [3, 0, -1])),
    "select, a mask": Case(lambda h, x: states.select(h, x[:, 0] > 0), ("4 b 3", "b 2")),
    "to": Case(lambda h: states.to(h, torch.float64)),
    "to_layers": Case(lambda h, c: states.to_layers(LSTMState(h, c)), ("4 b 3", "4 b 3")),
}


class Calls(nn.Module):
    """A model that calls a function of states."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Keep it."""
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:
        """Call it."""
        return self.function(*tensors)


def test_each_function_is_exported() -> None:
    """A new function of states needs a line above."""
    assert {name.partition(",")[0] for name in CASES} == {*states.__all__} - {"LSTMState"}


@pytest.mark.parametrize(("name", "strict"), [*zip(CASES, cycle([False, True]), strict=False)])
@pytest.mark.needs_torch("2.13", "strict export follows no method of a subclass")
def test_free_batch(name: str, strict: bool) -> None:
    """The program computes for other batches what the function does, in the same tuples."""
    model, sizes = Calls(CASES[name].function), CASES[name].sizes
    batch = torch.export.Dim("batch", min=4, max=64)

    def given(samples: int) -> tuple[Tensor, ...]:
        each = [[samples if axis == "b" else int(axis) for axis in one.split()] for one in sizes]
        return tuple(torch.randn(one) for one in each)

    free = [{axis: batch for axis, size in enumerate(one.split()) if size == "b"} for one in sizes]
    program = torch.export.export(
        model, given(6), dynamic_shapes=(tuple(free),), strict=strict
    ).module()

    for samples in (4, 9):
        tensors = given(samples)
        expected, result = model(*tensors), program(*tensors)
        same(expected, result)
        assert type(result) is type(expected)
