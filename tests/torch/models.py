"""What tools are given: models around each recurrent core, of each class, and their calls."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import covertable
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.kernels.paths import Wrapped
from tests.modules.cells_of_users import LayerNormLSTMCell, ZoneoutGRUCell

#: Sizes unlike each other and unlike the steps and samples of tests.
WIDTH = 3
HIDDEN = 7
PROJECTED = 2

#: A class, with its options.
CLASSES = {
    "RNN": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": PROJECTED}),
    "GRU": ("GRU", {}),
}


class Logarithm(Wrapped):
    """A user's cell over one of rnnkit's, undefined at zero."""

    def forward(self, input: Tensor, hx):
        """Read the logarithm."""
        return self.cell(input.abs().log(), hx)


class Unrolled(Wrapped):
    """A cell over the steps, with the options of ``unroll``."""

    def __init__(self, cell, **options):
        super().__init__(cell)
        self.options = options

    def forward(self, x: Tensor, hx=None, **options):
        """Run over a sequence."""
        return rnnkit.unroll(self.cell, x, hx, **self.options, **options)


class Loops(nn.Module):
    """Cells, each over the output of the one before, with the options of ``unroll``."""

    def __init__(self, *cells, **options):
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.options = options

    def forward(self, x: Tensor, _=None, **given):
        """Run one after the other."""
        states = []
        for cell in self.cells:
            x, state = rnnkit.unroll(cell, x, **self.options, **given)  # type: ignore[type-var]
            states.append(state)
        return x, states


def layer_of(name: str, width: int = WIDTH, **options):
    """Make a layer of a class."""
    kind, own = CLASSES[name]
    return getattr(rnnkit, kind)(width, HIDDEN, **own, **options)


def cell_of(name: str):
    """Make a cell of a class."""
    return layer_of(name).cells()[0]


def cell_of_user(name: str):
    """Make a user's cell that carries what the class does."""
    users = {"LSTM": LayerNormLSTMCell, "GRU": ZoneoutGRUCell}
    return users[name](WIDTH, HIDDEN) if name in users else Logarithm(cell_of(name))


CORES = {
    "layer": lambda name, **options: layer_of(name, bias=False, **options),
    "stack": lambda name, **options: layer_of(name, num_layers=2, bidirectional=True, **options),
    "Recurrent": lambda name, **options: rnnkit.Recurrent(cell_of(name), **options),
    "unroll": lambda name, **options: Unrolled(cell_of(name), reverse=True, **options),
    "user's": lambda name, **options: rnnkit.Recurrent(cell_of_user(name), **options),
    "step": cell_of,
}

#: What is given beside the input, and how everything is laid out.
CALLS = {
    "plain": set(),
    "state": {"hx"},
    "lengths": {"hx", "lengths"},
    "reset": {"reset"},
    "batch first": {"hx", "lengths", "reset", "batch_first"},
    "unbatched": {"hx", "unbatched"},
}

#: The arguments by position, and those by name.
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Model(nn.Module):
    """A recurrent core behind a linear layer."""

    def __init__(self, core: nn.Module):
        super().__init__()
        self.before = nn.Linear(WIDTH, WIDTH)
        self.core = core

    def forward(
        self, x: Tensor, hx=None, lengths: Tensor | None = None, reset: Tensor | None = None
    ):
        """Hand on what is given."""
        options = {"lengths": lengths, "reset": reset}
        given = {name: value for name, value in options.items() if value is not None}
        return self.core(self.before(x), hx, **given)


def call_of(model: Model, core: str, call: str, steps: int, batch: int) -> Call:
    """Make the arguments of a call: one sample has no step, and another starts again at once."""
    given = CALLS[call]
    options = {}
    unbatched = "unbatched" in given
    batch_first = "batch_first" in given
    x = torch.randn(steps, batch, WIDTH)
    hx = None
    if "lengths" in given:
        options["lengths"] = torch.randint(1, steps + 1, (batch,))
        options["lengths"][0] = 0
        options["lengths"][-1] = steps
    if "reset" in given:
        reset = torch.rand(steps, batch) < 0.3
        reset[0, 1] = reset[2, -1] = True
        # Booleans there, and 0 and 1 here.
        options["reset"] = reset.T if batch_first else reset.long()
    x = x[0] if core == "step" else x
    if unbatched:
        x = x.select(-2, 0)
    if "hx" in given:
        first = model.core.initial_state(1 if unbatched else batch)
        hx = pytree.tree_map(lambda t: torch.randn_like(t.select(-2, 0) if unbatched else t), first)
    return (x.transpose(0, 1) if batch_first else x, hx), options


def model_of(core: str, name: str, call: str) -> Model:
    """Make a model that is called so."""
    options = {}
    if "batch_first" in CALLS[call]:
        options = {"batch_first": True}
        if core in {"layer", "stack"}:
            options["state_batch_first"] = True
    return Model(CORES[core](name, **options)).eval()


def rows_of(
    strength: int, is_possible: Callable[..., bool] = lambda *_: True, **more: Iterable[str]
) -> list[tuple[str, ...]]:
    """Return rows of core, class and call in which so many values meet; a step has no sequence."""
    named = {**more, "core": CORES, "name": CLASSES, "call": CALLS}
    axes = {name: [*values] for name, values in named.items()}

    def fits(row: Mapping[str, str]) -> bool:
        has_call = row["core"] != "step" or row["call"] in {"plain", "state", "unbatched"}
        return has_call and is_possible(*map(row.get, axes))

    rule = {"operator": "fn", "requires": [*axes], "evaluate": fits}
    rows = covertable.make(axes, strength=strength, constraints=[rule])
    return [tuple(row[name] for name in axes) for row in rows]
