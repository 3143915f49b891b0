"""What goes to ONNX: both exporters, and onnxruntime computes what torch does."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.strategies import CELLS, LAYERS

onnxruntime: Any = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MODULES: dict[str, Any] = {
    **{name: lambda name=name: getattr(rnnkit, name)(3, 4) for name in (*LAYERS, *CELLS)},
    "stacked": lambda: rnnkit.LSTM(3, 4, 2, bidirectional=True),
    "Recurrent": lambda: rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)]),
}
#: torch's older exporter says so of itself, and of a layer whose batch is free.
quiet = pytest.mark.filterwarnings("ignore")


def compare(module: nn.Module, path: pathlib.Path, inputs: list[Tensor]) -> None:
    """What onnxruntime computes for each input is what the module does."""
    session = onnxruntime.InferenceSession(str(path))
    for x in inputs:
        outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        leaves = torch.utils._pytree.tree_leaves(module(x))
        for ours, theirs in zip(leaves, outputs, strict=True):
            torch.testing.assert_close(torch.from_numpy(theirs), ours.detach())


@pytest.mark.unhooked("a tracer's sizes are tensors")
@quiet
@pytest.mark.parametrize("name", MODULES)
def test_older_exporter(name: str, tmp_path: pathlib.Path) -> None:
    """A bare module is exported with free time and batch, and runs at two of each."""
    module = MODULES[name]().eval()
    is_cell = name in CELLS
    inputs = [torch.randn(*([] if is_cell else [seq]), batch, 3) for seq, batch in ((5, 2), (7, 4))]
    free = {0: "batch"} if is_cell else {0: "seq", 1: "batch"}
    path = tmp_path / "module.onnx"

    torch.onnx.export(
        module, (inputs[0],), path, dynamo=False, input_names=["x"], dynamic_axes={"x": free}
    )

    compare(module, path, inputs)


@pytest.fixture
def _loops_are_forgotten() -> Iterator[None]:
    """Torch 2.15 puts a loop in its kernels' place while it exports; what has cached it keeps it."""
    yield
    for kernel in (torch.ops.aten.gru.input, torch.ops.aten.lstm.input):
        kernel._dispatch_cache.clear()


@quiet
@pytest.mark.slow
@pytest.mark.usefixtures("_loops_are_forgotten")
@pytest.mark.needs_torch("2.13", "its exporter was young")
@pytest.mark.parametrize("name", MODULES)
def test_newer_exporter(name: str, tmp_path: pathlib.Path) -> None:
    """With a free batch; of cells, and of layers over them, with free time too."""
    module = MODULES[name]().eval()
    is_cell, is_open = name in CELLS, name == "Recurrent"
    shapes = ((5, 2), (7 if is_open else 5, 4))
    inputs = [torch.randn(*([] if is_cell else [seq]), batch, 3) for seq, batch in shapes]
    batch = torch.export.Dim.DYNAMIC
    free = {0: batch} if is_cell else {1: batch, **({0: batch} if is_open else {})}
    path = tmp_path / "module.onnx"

    torch.onnx.export(
        module, (inputs[0],), path, dynamo=True, dynamic_shapes=(free,), verbose=False
    )

    compare(module, path, inputs)
