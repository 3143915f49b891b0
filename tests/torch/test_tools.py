"""Each tool by recurrent core by class by call: what it makes of a model computes what eager mode does.

The loss reads each number of output and state, so that a gradient that is lost shows.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils import _pytree as pytree

import rnnkit
from tests.compiles import WHOLE, trained
from tests.covering import covering
from tests.modules.cells_of_users import LayerNormLSTMCell, ZoneoutGRUCell

pytestmark = [
    *WHOLE,
    pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside:UserWarning"),
]

#: No two axes are of one size, also in none of two calls: a compiler takes equal sizes for one.
WIDTH, HIDDEN, PROJECTED = 3, 7, 2
STEPS, BATCH = (5, 6), (8, 9)

#: A class, with its options.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": PROJECTED}),
    "GRU": ("GRU", {}),
}


class Logarithm(nn.Module):
    """A user's cell over one of rnnkit's, undefined at zero."""

    def __init__(self, cell: Any) -> None:
        """Hold the cell."""
        super().__init__()
        self.cell = cell
        self.initial_state = cell.initial_state

    def forward(self, input: Tensor, hx: Any) -> Any:
        """Read the logarithm."""
        return self.cell(input.abs().log(), hx)


class Unrolled(nn.Module):
    """A cell over the steps, with the options of ``unroll``."""

    def __init__(self, cell: Any, **options: Any) -> None:
        """Hold the cell."""
        super().__init__()
        self.cell, self.options = cell, options
        self.initial_state = cell.initial_state

    def forward(self, x: Tensor, hx: Any = None, **options: Any) -> Any:
        """Run over a sequence."""
        cell: Any = self.cell
        return rnnkit.unroll(cell, x, hx, **self.options, **options)


def layer_of(name: str, width: int = WIDTH, **options: Any) -> Any:
    """Make a layer of a class."""
    kind, own = CLASSES[name]
    return getattr(rnnkit, kind)(width, HIDDEN, **own, **options)


def cell_of(name: str) -> Any:
    """Make a cell of a class."""
    return layer_of(name).cells()[0]


def cell_of_user(name: str) -> Any:
    """Make a user's cell that carries what the class does."""
    users: dict[str, Any] = {"LSTM": LayerNormLSTMCell, "GRU": ZoneoutGRUCell}
    return users[name](WIDTH, HIDDEN) if name in users else Logarithm(cell_of(name))


CORES: dict[str, Callable[..., Any]] = {
    "layer": lambda name, **options: layer_of(name, bias=False, **options),
    "stack": lambda name, **options: layer_of(name, num_layers=2, bidirectional=True, **options),
    "Recurrent": lambda name, **options: rnnkit.Recurrent(
        cell_of(name), reverse_cells=rnnkit.LSTMCell(WIDTH, PROJECTED), **options
    ),
    "unroll": lambda name, **options: Unrolled(cell_of(name), reverse=True, **options),
    "user's": lambda name, **options: rnnkit.Recurrent(cell_of_user(name), **options),
    "step": cell_of,
}

#: What is given beside the input, and how everything is laid out.
CALLS: dict[str, set[str]] = {
    "plain": set(),
    "state": {"hx"},
    "lengths": {"hx", "lengths"},
    "reset": {"reset"},
    "batch first": {"hx", "lengths", "reset", "batch_first"},
    "unbatched": {"hx", "unbatched"},
}

Call = tuple[tuple[Any, ...], dict[str, Any]]


class Model(nn.Module):
    """A recurrent core behind a linear layer."""

    def __init__(self, core: nn.Module) -> None:
        """Hold the parts."""
        super().__init__()
        self.before, self.core = nn.Linear(WIDTH, WIDTH), core

    def forward(
        self, x: Tensor, hx: Any = None, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> Any:
        """Hand on what is given."""
        options = {"lengths": lengths, "reset": reset}
        given = {name: value for name, value in options.items() if value is not None}
        return self.core(self.before(x), hx, **given)


def call_of(model: Model, core: str, call: str, steps: int, batch: int) -> Call:
    """Make the arguments of a call: one sample has no step, and another starts again at once."""
    given, options = CALLS[call], {}
    unbatched, batch_first = "unbatched" in given, "batch_first" in given
    x, hx = torch.randn(steps, batch, WIDTH), None
    if "lengths" in given:
        options["lengths"] = torch.randint(1, steps + 1, (batch,))
        options["lengths"][0], options["lengths"][-1] = 0, steps
    if "reset" in given:
        reset = torch.rand(steps, batch) < 0.3
        reset[0, 1] = reset[2, -1] = True
        options["reset"] = reset.T if batch_first else reset
    x = x[0] if core == "step" else x
    if unbatched:
        x = x.select(-2, 0)
    if "hx" in given:
        recurrent: Any = model.core
        first = recurrent.initial_state(1 if unbatched else batch)
        hx = pytree.tree_map(lambda t: torch.randn_like(t.select(-2, 0) if unbatched else t), first)
    return (x.transpose(0, 1) if batch_first else x, hx), options


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
        model, args, options, dynamic_shapes=open_axes(calls), strict=strict
    )
    if saved:
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        program = torch.export.load(file)
    return program.module()


def open_axes(calls: Sequence[Call]) -> Any:
    """Return the axes whose sizes differ between two calls."""

    def axes(one: Any, other: Any) -> Any:
        if one is None:
            return None
        pairs = enumerate(zip(one.shape, other.shape, strict=True))
        return {axis: torch.export.Dim.DYNAMIC for axis, (a, b) in pairs if a != b}

    one, other = ({"x": args[0], "hx": args[1], **options} for args, options in calls)
    return pytree.tree_map(axes, one, other)


TOOLS: dict[str, Callable[[Model, Sequence[Call]], Any]] = {
    "compile": Compiled,
    "compile, as it is": Compiled,
    "inductor": partial(Compiled, backend="inductor"),
    "export": exported,
    "export, strict": partial(exported, strict=True),
    "export, fixed steps": partial(exported, saved=False),
}


def is_possible(tool: str, core: str, name: str, call: str) -> bool:
    """Return whether a row is there: a step has no sequence, and inductor takes its time."""
    if tool == "inductor":
        return (core, name, call) == ("stack", "LSTM", "batch first")
    return core != "step" or call in {"plain", "state", "unbatched"}


#: Dynamo unrolls what a user's cell does.
FIXED = {(tool, "user's") for tool in ("compile", "compile, as it is", "export, strict")}


def rows_of(place: int, tool: str) -> list[tuple[str, ...]]:
    """Return rows of a tool: Dynamo meets each pair of other values, another tool each value."""
    names, calls = ([*each][place:] + [*each][:place] for each in (CLASSES, CALLS))
    rows = [
        (("core", core), ("name", name), ("call", call))
        for core, name, call in product(CORES, names, calls)
        if is_possible(tool, core, name, call)
    ]
    chosen = covering(rows, 2 if tool == "compile" else 1)
    return [(tool, *dict(row).values()) for row in chosen]


#: The tools begin with different values, so that their rows differ.
ROWS = [row for place, tool in enumerate(TOOLS) for row in rows_of(place, tool)]


@pytest.mark.needs_torch("2.13", "older ones fix the number of steps, or unroll them")
@pytest.mark.parametrize(("tool", "core", "name", "call"), ROWS)
def test_a_tool(tool: str, core: str, name: str, call: str) -> None:
    """Results, their types, and gradients are those of eager mode, at sizes that change."""
    options: dict[str, Any] = {}
    if "batch_first" in CALLS[call]:
        options = {"batch_first": True}
        if core in {"layer", "stack"}:
            options["state_batch_first"] = True
    model = Model(CORES[core](name, **options)).eval()
    steps = (3, 3) if (tool, core) in FIXED or tool == "export, fixed steps" else STEPS
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


def compare(model: Model, run: Any, *args: Any, **given: Any) -> None:
    """Compare what a tool has made to the model."""
    structures = []

    def noted(run: Any, *args: Any, **given: Any) -> Any:
        structures.append(pytree.tree_structure(result := run(*args, **given)))
        return result

    owner = run if isinstance(run, nn.Module) else model
    found = trained(owner, partial(noted, run), *args, **given)
    torch.testing.assert_close(found, trained(model, partial(noted, model), *args, **given))
    assert structures[0] == structures[1]
