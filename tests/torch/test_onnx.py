"""What goes to ONNX: both exporters, and onnxruntime computes what torch does."""

import pathlib
from collections.abc import Iterator, Sequence
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


class Given(nn.Module):
    """A model that is given lengths or resets, too."""

    def __init__(self, core: nn.Module, option: str) -> None:
        """Hold the recurrent module, and the option's name."""
        super().__init__()
        self.core, self.option = core, option

    def forward(self, x: Tensor, given: Tensor) -> Any:
        """Hand both on."""
        return self.core(x, **{self.option: given})


def compare(module: nn.Module, path: pathlib.Path, inputs: Sequence[tuple[Tensor, ...]]) -> None:
    """What onnxruntime computes for each input is what the module does."""
    session = onnxruntime.InferenceSession(str(path))
    for given in inputs:
        names = [one.name for one in session.get_inputs()]
        outputs = session.run(None, {n: x.numpy() for n, x in zip(names, given, strict=True)})
        leaves = torch.utils._pytree.tree_leaves(module(*given))
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

    compare(module, path, [(x,) for x in inputs])


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

    compare(module, path, [(x,) for x in inputs])


OLDER = [(name, False) for name in MODULES if name not in CELLS]


@quiet
@pytest.mark.usefixtures("_loops_are_forgotten")
@pytest.mark.unhooked("a tracer's sizes are tensors")
@pytest.mark.parametrize(
    ("name", "dynamo"),
    [
        *OLDER,
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("LSTM", "Recurrent")),
    ],
)
def test_lengths(name: str, dynamo: bool, tmp_path: pathlib.Path) -> None:
    """Lengths go into a program with a free batch; the older exporter leaves time free, too."""
    module = Given(MODULES[name](), "lengths").eval()
    steps = 5 if dynamo else 7
    inputs = [
        (torch.randn(5, 2, 3), torch.tensor([5, 3])),
        (torch.randn(steps, 4, 3), torch.tensor([steps, 1, 0, 2])),
    ]
    free: Any = {"dynamic_axes": {"x": {0: "seq", 1: "batch"}, "given": {0: "batch"}}}
    if dynamo:
        batch = torch.export.Dim.DYNAMIC
        free = {"dynamic_shapes": ({1: batch}, {0: batch}), "verbose": False}
    path = tmp_path / "module.onnx"

    torch.onnx.export(module, inputs[0], path, dynamo=dynamo, input_names=["x", "given"], **free)

    compare(module, path, inputs)


@quiet
@pytest.mark.unhooked("a tracer's sizes are tensors")
@pytest.mark.parametrize("name", [name for name, _ in OLDER])
def test_resets(name: str, tmp_path: pathlib.Path) -> None:
    """So do resets by the older exporter, for as many steps as it was given."""
    module = Given(MODULES[name](), "reset").eval()
    inputs = [(torch.randn(5, batch, 3), torch.rand(5, batch) < 0.4) for batch in (2, 4)]
    path = tmp_path / "module.onnx"

    torch.onnx.export(
        module, inputs[0], path, dynamo=False, input_names=["x", "given"],
        dynamic_axes={"x": {1: "batch"}, "given": {1: "batch"}},
    )  # fmt: skip

    compare(module, path, inputs)
