"""What torch's scan is told of the steps of a cell, where their number is open: the loop's law."""

import importlib
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

import rnnkit
from rnnkit._modules import loop
from tests.covering import covers
from tests.kernels.paths import BATCH, KINDS, LENGTHS, SEQ, case_of, close, mask

Step = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def scan(
    step: Step, init: list[Tensor], xs: list[Tensor], *, dim: int, reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Do what torch's scan does, without a compiler."""
    assert dim == 0
    order = range(len(xs[0]))[:: -1 if reverse else 1]
    carry, results = init, []
    for place in order:
        carry, result = step(carry, [x[place] for x in xs])
        results.append(result)
    results = results[::-1] if reverse else results
    return carry, [torch.stack(tensors) for tensors in zip(*results, strict=True)]


@pytest.fixture
def scanned() -> Callable[..., Any]:
    """Run ``unroll`` as while a graph is made for any number of steps: by scan, once."""
    # By its name: in its package a function of the same name stands before the module.
    torchs = importlib.import_module("torch._higher_order_ops.scan")
    watched = Mock(side_effect=scan)

    def run(*args: Any, **options: Any) -> Any:
        watched.reset_mock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torchs, "scan", watched)
            patch.setattr(loop, "is_compiling", lambda: True)
            patch.setattr(loop, "is_exporting", lambda: True)
            patch.setattr(loop, "is_dynamic_size", lambda _: True)
            results = rnnkit.unroll(*args, **options)
        watched.assert_called_once()
        return results

    return run


@covers(
    3,
    return_states=[False, True],
    reverse=[False, True],
    reset=[None, mask()],
    lengths=[None, LENGTHS],
    kind=KINDS,
)
def test_it_is_the_loop(
    kind: str,
    lengths: Any,
    reset: Tensor | None,
    reverse: bool,
    return_states: bool,
    scanned: Callable[..., Any],
) -> None:
    """Output and states are those of the loop over steps."""
    case = case_of(kind)
    (cell,) = case.module(rnnkit).cells()
    x, given = case.numbers(), torch.tensor(lengths) if lengths else None
    options: Any = {"reset": reset, "reverse": reverse, "return_states": return_states}
    expected = rnnkit.unroll(cell, x, lengths=given, fused=False, **options)

    close(scanned(cell, x, lengths=given, fused=False, **options), expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_users_cell(reverse: bool, scanned: Callable[..., Any]) -> None:
    """A cell with a state of its own making is run as a whole at each step."""

    class Counts(rnnkit.GRUCell):
        def forward(self, input: Tensor, hx: Any) -> Any:
            return super().forward(input, hx[0]), hx[1] + 1

        def initial_state(self, batch_size: int | None) -> Any:
            return torch.ones(batch_size or 1, 4), torch.zeros(batch_size or 1, 1)

    cell, x = Counts(3, 4), torch.randn(SEQ, BATCH, 3)
    expected = rnnkit.unroll(cell, x, reset=mask(), lengths=LENGTHS, reverse=reverse)

    found = scanned(cell, x, reset=mask(), lengths=LENGTHS, reverse=reverse)
    close(found, expected, tolerance=1e-6)
