"""What a model keeps from call to call, and from which random numbers it draws."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.chance import Source, equal, sources
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.widened import TORCHS

#: How many of the names that a model keeps a message lists.
NAMES = 3


def drawn_from(baseline: Baseline) -> list[str]:
    """Return from which sources of random numbers the model draws."""
    copy = baseline.session.fresh()
    found = _sources(baseline, copy)
    before = {name: source.read() for name, source in found.items()}
    baseline.session.run(baseline.batch.tree(), on=copy)
    return [name for name, source in found.items() if not equal(before[name], source.read())]


def run_twice(baseline: Baseline, restart: Collection[str] = ()) -> tuple[Leaves, Leaves]:
    """Run one copy of the model twice in a row."""
    session, inputs = baseline.session, baseline.batch.tree()
    copy = session.fresh()
    start = {name: source.read() for name, source in _sources(baseline, copy).items()}
    once = session.run(inputs, on=copy)
    for name, source in _sources(baseline, copy).items():
        if name in restart:
            source.write(start[name])
    return once, session.run(inputs, on=copy)


def _sources(baseline: Baseline, model: torch.nn.Module) -> dict[str, Source]:
    """Return the sources of the process that the model draws from, and those that it holds."""
    held = {
        f"model.{name}": Source(value.get_state, value.set_state, value.manual_seed)
        for name, value in _attributes(model)
        if isinstance(value, torch.Generator)
    }
    drawn = baseline.session.chance.drawn
    return {**held, **{name: source for name, source in sources().items() if name in drawn}}


def kept_names(baseline: Baseline, inputs: Given) -> list[str]:
    """Return the names of attributes and buffers that a run leaves changed."""
    copy = baseline.session.fresh()
    before = _held(copy)
    baseline.session.run(inputs, on=copy)
    after = _held(copy)
    new = object()
    return [name for name, value in after.items() if not equal(before.get(name, new), value)]


def _held(model: torch.nn.Module) -> dict[str, Any]:
    return {
        name: pytree.tree_map_only(Tensor, torch.clone, value) for name, value in _attributes(model)
    }


def _attributes(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield attributes and buffers of all modules, by qualified name."""
    for prefix, module in model.named_modules():
        for name, value in {**vars(module), **module._buffers}.items():  # noqa: SLF001
            if name not in TORCHS:
                yield f"{prefix}.{name}" if prefix else name, value
