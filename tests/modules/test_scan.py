"""What torch's scan is told of the steps of a cell, where their number is open: the loop's law."""

import importlib
from collections.abc import Callable
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

import rnnkit
from rnnkit._base.state import map_state
from rnnkit._modules import loop, tracing
from tests.covering import covers
from tests.kernels.paths import BATCH, KINDS, LENGTHS, SEQ, Begins, Counts, close, made, mask
from tests.strategies import assert_same

Step = Callable[[list[Tensor], dict[str, Tensor]], tuple[list[Tensor], list[Tensor]]]


def scan(
    step: Step, init: list[Tensor], xs: dict[str, Tensor], *, dim: int, reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Do what torch's scan does, without a compiler."""
    assert dim == 0
    order = range(len(xs["input"]))
    if reverse:
        order = order[::-1]
    carry = init
    results = []
    for place in order:
        carry, result = step(carry, {name: x[place] for name, x in xs.items()})
        results.append(result)
    results = results[::-1] if reverse else results
    return carry, [torch.stack(tensors) for tensors in zip(*results, strict=True)]


class Traced:
    """``unroll`` as while a graph is made for any number of steps, and the scans that it has taken."""

    def __init__(self):
        self.scan = Mock(side_effect=scan)

    def __call__(self, *args, exports=True, **options):
        """Run it."""
        # By its name: in its package a function of the same name stands before the module.
        torchs = importlib.import_module("torch._higher_order_ops.scan")
        self.scan.reset_mock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torchs, "scan", self.scan)
            for place in (loop, tracing):
                patch.setattr(place, "is_compiling", lambda: True)
                patch.setattr(place, "is_exporting", lambda: exports)
            patch.setattr(loop, "is_dynamic_size", lambda _: True)
            return rnnkit.unroll(*args, **options)


@pytest.fixture
def traced() -> Traced:
    """Trace a cell over an open number of steps."""
    return Traced()


@covers(
    3,
    return_states=[False, True],
    reverse=[False, True],
    reset=[None, mask()],
    lengths=[None, LENGTHS],
    kind=KINDS,
)
def test_it_is_the_loop(kind, lengths, reset, reverse, return_states, traced):
    """Output and states are those of the loop over steps."""
    _, layer, x = made(kind)
    (cell,) = layer.cells()
    options = {"reset": reset, "reverse": reverse, "return_states": return_states, "fused": False}
    options["lengths"] = torch.tensor(lengths) if lengths else None

    close(traced(cell, x, **options), rnnkit.unroll(cell, x, **options))
    traced.scan.assert_called_once()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_users_cell(reverse, traced):
    """A cell with a state of its own making is run as a whole at each step."""
    cell = Counts(3, 4)
    x = torch.randn(SEQ, BATCH, 3)
    options = {"reset": mask(), "lengths": LENGTHS, "reverse": reverse}

    close(traced(cell, x, **options), rnnkit.unroll(cell, x, **options), 1e-6)
    traced.scan.assert_called_once()


#: What of a call may require a gradient: the input, each weight, what a reset returns to.
READ = ("input", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "begin")


@pytest.mark.parametrize("kind", [Begins, Counts])
def test_a_compiled_loop_stays_a_loop(kind, traced):
    """Torch's compiled gradients of scan may be wrong: only an exporter, which has no other way, scans."""
    traced(kind(3, 4), torch.randn(SEQ, BATCH, 3), fused=False, exports=False)
    traced.scan.assert_not_called()


@pytest.mark.parametrize("wanted", READ)
@pytest.mark.parametrize("kind", [Begins, Counts])
def test_an_exported_first_state(kind, wanted, traced):
    """It requires a gradient wherever one passes, has the values that it had, and passes zeros on.

    torch below 2.13 cuts the gradients of all steps but the last from a state that requires none.
    """
    cell = kind(3, 4).requires_grad_(False)
    x = torch.randn(SEQ, BATCH, 3)
    hx = map_state(torch.randn_like, cell.initial_state(BATCH))
    leaf = {"input": x, **dict(cell.named_parameters())}[wanted].requires_grad_()
    leaf.data[0] = torch.inf
    traced(cell, x, hx, reset=mask(), fused=False)
    _, first, _ = traced.scan.call_args.args

    assert_same(hx, first)
    assert all(tensor.requires_grad for tensor in first)
    (slope,) = torch.autograd.grad([tensor.sum() for tensor in first], leaf)
    assert not slope.any()
