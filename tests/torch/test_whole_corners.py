"""Whole graphs at the corners: no step, no sample, one of each, tied weights, no oneDNN, DDP."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import rnnkit
from rnnkit._base.state import map_state
from tests.strategies import laid_out, tensors_of
from tests.torch.side_by_side import HIDDEN, INPUT, layers
from tests.torch.test_whole_graphs import CELLS, Parent, Unrolled, _switched_on, check, trained
from tests.torch.test_whole_graphs import pytestmark as whole

__all__ = ["_switched_on"]  # a fixture

pytestmark = whole

CORES: dict[str, Any] = {
    "a layer": lambda name: getattr(rnnkit, name)(INPUT, HIDDEN),
    "unroll": lambda name: Unrolled(CELLS[name](INPUT, HIDDEN)),
    "Recurrent": lambda name: rnnkit.Recurrent(CELLS[name](INPUT, HIDDEN)),
}
cores = pytest.mark.parametrize("kind", CORES)
#: Of what no class and no core does in a way of its own.
some = pytest.mark.parametrize(
    ("kind", "name"), [("a layer", "LSTM"), ("unroll", "GRU"), ("Recurrent", "RNN")]
)


@pytest.mark.covering(2)
@layers
@cores
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (4, 1), (4, 0), (1, 0)])
def test_one_step_and_one_sample_or_none(kind: str, name: str, steps: int, batch: int) -> None:
    """A single step, a single sample, and a batch of none train as they do eagerly."""
    model, x = Parent(CORES[kind](name), HIDDEN), torch.randn(steps, batch, INPUT)

    check(model, [(x, None, {})])


@some
def test_no_step_is_refused_as_eagerly(kind: str, name: str) -> None:
    """A sequence without a step has the refusal of an eager call, in a whole graph too."""
    model, x = CORES[kind](name), torch.randn(0, 3, INPUT)
    with pytest.raises(rnnkit.ShapeError) as eager:
        model(x)
    with pytest.raises(rnnkit.ShapeError) as compiled:
        torch.compile(model, backend="aot_eager")(x)

    assert (compiled.value.code, str(compiled.value)) == (eager.value.code, str(eager.value))


@layers
def test_any_memory(name: str) -> None:
    """However input, state, lengths and mask lie in memory, a layer trains as it does eagerly."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, 2, batch_first=True, state_batch_first=True)
    x = laid_out(torch.randn(4, 6, INPUT), "exchanged")
    hx = map_state(lambda t: laid_out(torch.randn_like(t), "overlapping"), layer.initial_state(4))
    lengths = laid_out(torch.tensor([5, 6, 0, 1]), "cut out")
    reset = laid_out(torch.rand(4, 6) < 0.4, "one piece")

    check(layer, [(x, hx, {"lengths": lengths, "reset": reset})])


@pytest.mark.parametrize("name", ["LSTM"])
def test_no_gradients(name: str) -> None:
    """Under no_grad and inference_mode results are the eager ones, and require no gradient."""
    model, x = Parent(CORES["a layer"](name), HIDDEN), torch.randn(6, 4, INPUT)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found, expected = compiled(x), model(x)
            assert not any(tensor.requires_grad for tensor in tensors_of(found))
            torch.testing.assert_close(tensors_of(found), tensors_of(expected))


class Tied(nn.Module):
    """Two layers that share the weights of the hidden side."""

    def __init__(self, name: str) -> None:
        """Tie the second to the first."""
        super().__init__()
        self.first = getattr(rnnkit, name)(INPUT, HIDDEN)
        self.second = getattr(rnnkit, name)(HIDDEN, HIDDEN)
        self.second.weight_hh_l0 = self.first.weight_hh_l0
        self.second.bias_hh_l0 = self.first.bias_ih_l0

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """Run one on the other's output."""
        return self.second(self.first(x, hx)[0], hx)


@pytest.mark.parametrize("name", ["GRU"])
def test_tied_weights(name: str) -> None:
    """A weight that stands in two layers gets the sum of both gradients."""
    model = Tied(name)
    assert len(list(model.parameters())) == 6

    check(model, [(torch.randn(6, 4, INPUT), None, {})])


@some
def test_without_onednn(kind: str, name: str) -> None:
    """With oneDNN switched off the operator takes torch's other kernels."""
    with torch.backends.mkldnn.flags(enabled=False):
        check(Parent(CORES[kind](name), HIDDEN), [(torch.randn(6, 4, INPUT), None, {})])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "lengths", marks=pytest.mark.needs_torch("2.13", "Dynamo knows no array as one")
        ),
        "reset",
    ],
)
def test_arrays(name: str) -> None:
    """Lengths and a mask may be arrays there, too."""
    model, x = Parent(CORES["a layer"]("GRU"), HIDDEN), torch.randn(3, 2, INPUT)
    given = np.array([3, 1]) if name == "lengths" else np.array([[0, 1], [1, 0], [0, 0]])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")

    torch.testing.assert_close(
        trained(model, compiled, x, **{name: given}), trained(model, model, x, **{name: given})
    )


@pytest.fixture
def _one_process(tmp_path: Any) -> Iterator[None]:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize(("name", "wrapped_first"), [("GRU", False), ("LSTM", True)])
def test_data_parallel(name: str, wrapped_first: bool) -> None:
    """DistributedDataParallel of a compiled model, or compiled itself, gives the gradients."""
    model, x = Parent(CORES["a layer"](name), HIDDEN), torch.randn(6, 4, INPUT)
    expected = trained(model, model, x)
    options: dict[str, Any] = {"backend": "aot_eager"}
    run: Any = (
        torch.compile(DistributedDataParallel(model), **options)
        if wrapped_first
        else DistributedDataParallel(torch.compile(model, fullgraph=True, **options))
    )

    torch.testing.assert_close(trained(model, run, x), expected)
