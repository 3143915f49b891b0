"""Torch's tools: what each makes of a model, and the law of all: it computes what eager mode does."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils import _pytree as pytree

import rnnkit
from tests.compiles import compiles, count_afresh, graphs_made, layers_in_graphs
from tests.copies import by_file
from tests.torch.models import Call
from tests.torch.script_models import scriptable

#: Of tests that make one whole graph.
marks = [
    compiles,
    pytest.mark.slow,
    pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning"),
    # Inductor imports what is deprecated.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method`"),
    pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning"),
    # torch.jit announces in many places that it is deprecated.
    pytest.mark.filterwarnings("ignore:.torch.jit"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside:UserWarning"),
]


def trained(model: nn.Module, call, *args, **kwargs) -> tuple[Any, list[Any]]:
    """Results and gradients of a training step, dropout drawn alike each time."""
    torch.manual_seed(1)
    model.zero_grad()
    leaves = [x.detach().requires_grad_() for x in pytree.tree_leaves(args) if x is not None]
    given = iter(leaves)
    args = pytree.tree_map(lambda x: None if x is None else next(given), args)
    results = call(*args, **kwargs)
    outputs = pytree.tree_leaves(results)
    weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape) for x in outputs]
    sum((x * w).sum() for x, w in zip(outputs, weights, strict=True)).backward()
    return results, [x.grad for x in (*model.parameters(), *leaves)]


class Compiled:
    """A model that is compiled for all sizes, as a whole where Dynamo may."""

    def __init__(self, model, _: Sequence[Call], backend: str = "aot_eager"):
        core = getattr(model, "core", model)
        may_be = torch._dynamo.config.allow_rnn or not isinstance(core, nn.RNNBase)
        self.is_whole = may_be and not hasattr(model, "is_cut")
        self.run = torch.compile(model, fullgraph=self.is_whole, dynamic=True, backend=backend)

    def __call__(self, *args, **options):
        """Run it."""
        return self.run(*args, **options)


def exported(model: nn.Module, calls: Sequence[Call], *, strict: bool = False):
    """Export with all axes open whose sizes differ between the calls; write and read the program."""
    args, options = calls[0]
    program = torch.export.export(
        model, args, options, dynamic_shapes=shapes_of(calls), strict=strict
    )
    return by_file(program, torch.export.save, torch.export.load).module()


def shapes_of(calls: Sequence[Call]):
    """Return the open axes of each argument, by its name."""
    one, other = ({"x": args[0], "hx": args[1], **options} for args, options in calls)
    return pytree.tree_map(open_axes, one, other)


def open_axes(one, other):
    """Return the axes whose sizes differ between an argument of two calls."""
    if one is None:
        return None
    pairs = enumerate(zip(one.shape, other.shape, strict=True))
    return {axis: torch.export.Dim.DYNAMIC for axis, (a, b) in pairs if a != b}


class Onnx:
    """A model in onnxruntime, which computes no gradients, and knows nothing of structures."""

    def __init__(self, model: nn.Module, calls: Sequence[Call], *, dynamo: bool):
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        (args, options) = calls[0]
        file = io.BytesIO()
        if dynamo:
            program = torch.onnx.export(
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

    def __call__(self, *args, **options) -> list[Tensor]:
        """Run it."""
        given = zip(self.session.get_inputs(), tensors_of((args, options)), strict=True)
        outputs = self.session.run(None, {each.name: tensor.numpy() for each, tensor in given})
        return [torch.from_numpy(output) for output in outputs]


def tensors_of(call: Call) -> list[Tensor]:
    """Return the tensors of a call in order."""
    return [leaf for leaf in pytree.tree_leaves(call) if leaf is not None]


class Jit:
    """A model in TorchScript, which takes tensors and pairs, and returns plain tuples."""

    def __init__(self, made):
        self.owner = made

    def __call__(self, *args, **options):
        """Run it: a trace takes one tensor after the other."""
        is_traced = isinstance(self.owner, torch.jit.TopLevelTracedModule)
        given = tensors_of((args, options)) if is_traced else [x for x in args if x is not None]
        return self.owner(*given)


class Flat(nn.Module):
    """A model that is called with tensors alone."""

    def __init__(self, model: nn.Module, call: Call):
        super().__init__()
        self.model = model
        self.structure = pytree.tree_map(lambda leaf: leaf is None, call)

    def forward(self, *tensors: Tensor):
        """Call it."""
        rest = iter(tensors)
        args, options = pytree.tree_map(lambda none: None if none else next(rest), self.structure)
        return self.model(*args, **options)


def traced(model: nn.Module, calls: Sequence[Call]) -> Jit:
    """Trace a model by ``torch.jit.trace``."""
    return Jit(torch.jit.trace(Flat(model, calls[0]), tuple(tensors_of(calls[0]))))


TOOLS = {
    "compile": Compiled,
    # What is about Dynamo alone needs no graph of the backward pass.
    "compile, as it is": partial(Compiled, backend="eager"),
    "Dynamo": partial(Compiled, backend="eager"),
    "inductor": partial(Compiled, backend="inductor"),
    "export": exported,
    "export, strict": partial(exported, strict=True),
    "export, fixed steps": exported,
    "ONNX": partial(Onnx, dynamo=True),
    "ONNX, older": partial(Onnx, dynamo=False),
    "trace": traced,
    "script": lambda model, calls: Jit(
        by_file(torch.jit.script(scriptable(model, *calls[0][0])), torch.jit.save, torch.jit.load)
    ),
}
#: Those that run the kernels of eager mode: of the first, a layer.
EXACT = {"compile, as it is", "trace", "script"}


def check(tool: str, model: nn.Module, calls: Sequence[Call], *, graphs: int = 1, **tolerance):
    """Results, their types, and gradients are those of eager mode, at sizes that change.

    What eager mode refuses of lengths and flags is refused, too; the call after that is right.
    """
    torch._dynamo.reset()
    count_afresh()
    # What cuts a sequence is traced on a path of its own.
    cut = tool != "script" and bool(calls[0][1])
    is_graph = tool == "compile, as it is" and not isinstance(
        getattr(model, "core", None), nn.RNNBase
    )
    if tool in EXACT and not (cut or is_graph):
        tolerance = {"rtol": 0, "atol": 0}
    with layers_in_graphs(tool != "compile, as it is"):
        run = TOOLS[tool](model, calls)
        # Of the older formats, none keeps a check of values.
        if not isinstance(run, Onnx | Jit):
            refuse(model, run, calls[-1])
        # What is exported was run at the first sizes while it was traced.
        tried = calls if isinstance(run, Compiled) else calls[-1:]
        for call in tried:
            compare(model, run, call, **tolerance)
    if isinstance(run, Compiled) and run.is_whole:
        assert graphs_made() <= graphs


def compare(model: nn.Module, run, call: Call, **tolerance):
    """Compare what a tool has made to the model."""
    args, given = call
    if isinstance(run, Onnx):
        expected = [leaf.detach() for leaf in pytree.tree_leaves(model(*args, **given))]
        assert_close(run(*args, **given), expected)
        return
    owner = run if isinstance(run, nn.Module) else getattr(run, "owner", model)
    results, gradients = trained(owner, run, *args, **given)
    expected, slopes = trained(model, model, *args, **given)
    if not list(owner.parameters()):
        slopes = slopes[-len(gradients) :]
    assert_close((results, gradients), (expected, slopes), **tolerance)
    kinds = [pytree.tree_structure(result) for result in (results, expected)]
    assert isinstance(run, Jit) or kinds[0] == kinds[1]


#: What a graph says of values that it meets only when it runs.
SENTENCES = {
    "lengths": "lengths must be integers from 0 to seq, one for each sample",
    "reset": "reset must be booleans, or 0 and 1",
}


def refuse(model: nn.Module, run, call: Call):
    """Check that lengths out of range and flags that are none are refused."""
    args, options = call
    for name, value in (("lengths", -1), ("lengths", 99), ("reset", 2)):
        right = options.get(name)
        if not isinstance(right, Tensor) or right.dtype is torch.bool:
            continue
        wrong = right.clone()
        wrong[-1] = value
        with pytest.raises((RuntimeError, rnnkit.RnnkitError)) as caught:
            trained(model, run, *args, **(options | {name: wrong}))
        is_ours = isinstance(caught.value, rnnkit.RnnkitError)
        assert is_ours or SENTENCES[name] in str(caught.value), str(caught.value)
