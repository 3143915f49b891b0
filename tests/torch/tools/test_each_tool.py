"""Each tool by recurrent core by class by call: what it makes of a model computes what eager mode does.

The loss reads each number of output and state, so that a gradient that is lost shows.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

from tests.compiles import WHOLE, trained
from tests.torch.models import CALLS, CORES, WIDTH, Call, Model, call_of, model_of, rows_of

pytestmark = [
    *WHOLE,
    pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside:UserWarning"),
]

#: No two axes have one size, also in none of two calls: a compiler takes equal sizes for one.
STEPS, BATCH = (5, 6), (8, 9)


class Compiled:
    """A model that is compiled for all sizes, as a whole where Dynamo may."""

    def __init__(self, model: Model, _: Sequence[Call], backend: str = "aot_eager") -> None:
        """Compile it: without its switch Dynamo looks into no layer."""
        self.is_whole = torch._dynamo.config.allow_rnn or not isinstance(model.core, nn.RNNBase)
        self.run = torch.compile(model, fullgraph=self.is_whole, dynamic=True, backend=backend)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run it."""
        return self.run(*args, **options)


def exported(
    model: Model, calls: Sequence[Call], *, strict: bool = False, saved: bool = True
) -> Any:
    """Export with all axes open whose sizes differ between the calls; write and read the program."""
    args, options = calls[0]
    program = torch.export.export(
        model, args, options, dynamic_shapes=shapes_of(calls), strict=strict
    )
    if saved:
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        program = torch.export.load(file)
    return program.module()


def shapes_of(calls: Sequence[Call]) -> Any:
    """Return the open axes of each argument, by its name."""
    one, other = ({"x": args[0], "hx": args[1], **options} for args, options in calls)
    return pytree.tree_map(open_axes, one, other)


def open_axes(one: Any, other: Any) -> Any:
    """Return the axes whose sizes differ between an argument of two calls."""
    if one is None:
        return None
    pairs = enumerate(zip(one.shape, other.shape, strict=True))
    return {axis: torch.export.Dim.DYNAMIC for axis, (a, b) in pairs if a != b}


class Onnx:
    """A model in onnxruntime, which computes no gradients, and knows nothing of structures."""

    def __init__(self, model: nn.Module, calls: Sequence[Call], *, dynamo: bool) -> None:
        """Export it with the newer or the older exporter, the same axes open."""
        onnxruntime: Any = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        (args, options), file = calls[0], io.BytesIO()
        if dynamo:
            program: Any = torch.onnx.export(
                model, args, kwargs=options, dynamic_shapes=shapes_of(calls), verbose=False
            )
            file.write(program.model_proto.SerializeToString())
        else:
            pairs = enumerate(zip(*map(tensors_of, calls), strict=True))
            axes = {f"given{place}": [*open_axes(*pair)] for place, pair in pairs}
            torch.onnx.export(
                model, args, file, kwargs=options, input_names=[*axes], dynamic_axes=axes,
                dynamo=False,
            )  # fmt: skip
        self.session = onnxruntime.InferenceSession(file.getvalue())

    def __call__(self, *args: Any, **options: Any) -> list[Tensor]:
        """Run it."""
        given = zip(self.session.get_inputs(), tensors_of((args, options)), strict=True)
        outputs = self.session.run(None, {each.name: tensor.numpy() for each, tensor in given})
        return [torch.from_numpy(output) for output in outputs]


def tensors_of(call: Call) -> list[Tensor]:
    """Return the tensors of a call in order."""
    return [leaf for leaf in pytree.tree_leaves(call) if leaf is not None]


@pytest.fixture(autouse=True)
def _loops_are_forgotten() -> Iterator[None]:
    """Torch 2.15 puts a loop in its kernels' place while it exports; what has cached it keeps it."""
    yield
    for kernel in (torch.ops.aten.gru.input, torch.ops.aten.lstm.input):
        kernel._dispatch_cache.clear()


TOOLS: dict[str, Callable[[Model, Sequence[Call]], Any]] = {
    "compile": Compiled,
    "compile, as it is": Compiled,
    "inductor": partial(Compiled, backend="inductor"),
    "export": exported,
    "export, strict": partial(exported, strict=True),
    "export, fixed steps": partial(exported, saved=False),
    "ONNX": partial(Onnx, dynamo=True),
    "ONNX, older": partial(Onnx, dynamo=False),
}


def is_possible(tool: str, core: str, name: str, call: str) -> bool:
    """Return whether a row is there: inductor takes its time, and ONNX has no projections."""
    if tool == "inductor":
        return (core, name, call) == ("stack", "LSTM", "batch first")
    return name != "projected" or "ONNX" not in tool


def has_fixed_steps(tool: str, core: str, name: str, call: str) -> bool:
    """Return whether a tool writes down each step."""
    if tool == "ONNX, older":
        has_resets, packs = "reset" in CALLS[call], name == "relu" and "lengths" in CALLS[call]
        return has_resets or packs or core == "user's"
    if tool == "ONNX":  # it takes torch's kernels, which fix the number of steps
        return core in {"layer", "stack"}
    if tool == "export, fixed steps":
        return True
    # Dynamo unrolls what a user's cell does.
    return core == "user's" and tool != "export"


#: Dynamo meets each pair of values, as does the older exporter, which is quick.
STRENGTHS = {"compile": 2, "ONNX, older": 2}


def all_rows() -> Iterator[Any]:
    """Return rows of each tool; the tools begin with different values, so that their rows differ."""
    young = pytest.mark.needs_torch("2.13", "older ones fix the number of steps, or unroll them")
    for place, tool in enumerate(TOOLS):
        # Both exporters, and what they call, warn of themselves.
        marks = [pytest.mark.filterwarnings("ignore")] if "ONNX" in tool else []
        marks += [] if tool == "ONNX, older" else [young]
        for row in rows_of(STRENGTHS.get(tool, 1), place, partial(is_possible, tool)):
            yield pytest.param(tool, *row, marks=marks)


@pytest.mark.parametrize(("tool", "core", "name", "call"), [*all_rows()])
def test_a_tool(tool: str, core: str, name: str, call: str) -> None:
    """Results, their types, and gradients are those of eager mode, at sizes that change."""
    model = model_of(core, name, call)
    steps = (3, 3) if has_fixed_steps(tool, core, name, call) else STEPS
    calls = [call_of(model, core, call, *sizes) for sizes in zip(steps, BATCH, strict=True)]
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(allow_rnn=tool != "compile, as it is"):
        run = TOOLS[tool](model, calls)
        # What is exported was run at the first sizes while it was traced.
        for args, given in calls if isinstance(run, Compiled) else calls[1:]:
            compare(model, run, *args, **given)
    if isinstance(run, Compiled) and run.is_whole:
        # A state of one layer in one direction has an axis of 1, whose strides are their own case.
        assert counters["stats"]["unique_graphs"] <= 1 + (core == "layer" and "hx" in CALLS[call])


def compare(model: nn.Module, run: Any, *args: Any, **given: Any) -> None:
    """Compare what a tool has made to the model."""
    if isinstance(run, Onnx):
        expected = [leaf.detach() for leaf in pytree.tree_leaves(model(*args, **given))]
        torch.testing.assert_close(run(*args, **given), expected)
        return
    structures = []

    def noted(run: Any, *args: Any, **given: Any) -> Any:
        structures.append(pytree.tree_structure(result := run(*args, **given)))
        return result

    owner = run if isinstance(run, nn.Module) else model
    found = trained(owner, partial(noted, run), *args, **given)
    torch.testing.assert_close(found, trained(model, partial(noted, model), *args, **given))
    assert structures[0] == structures[1]


@pytest.mark.filterwarnings("ignore")
def test_the_older_exporter_takes_a_bare_module() -> None:
    """It hands over each parameter of ``forward`` by position, those by name alone included."""
    for core, name in product(("layer", "Recurrent", "step"), ("RNN", "LSTM", "GRU")):
        module = CORES[core](name).eval()
        sizes = zip(BATCH) if core == "step" else zip(STEPS, BATCH, strict=True)
        calls = [((torch.randn(*size, WIDTH),), {}) for size in sizes]
        compare(module, Onnx(module, calls, dynamo=False), *calls[1][0])
