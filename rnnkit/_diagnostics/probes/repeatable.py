"""The probe *repeatable*: the same input twice gives the same output; and if not, why."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.chance import Source, equal, sources
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.judge import agree
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.report import Line, fail
from rnnkit._diagnostics.widened import TORCHS

#: How many of the names that a model keeps a message lists.
NAMES = 3


def probe_repeatable(baseline: Baseline) -> str:
    """The same input twice gives the same output."""
    again = baseline.again
    pair = _twice(baseline) if again is None else (baseline.normal, again)
    if alike(*pair):
        return "twice the same input, twice the same output"
    if all(_agree(baseline, index, *both) for index, both in enumerate(zip(*pair, strict=False))):
        # As kernels on a GPU that add in the order in which threads come.
        return "twice the same input, twice the same up to rounding"
    rows = _causes(baseline) or [
        ("cause", "likely a state that is kept outside of the model's attributes")
    ]
    return fail("repeatable", "the same input gives another output the second time", rows)


def _agree(baseline: Baseline, index: int, before: Any, after: Any) -> bool:
    if not isinstance(before, Tensor):
        return True
    fits = isinstance(after, Tensor) and before.shape == after.shape
    return fits and agree(baseline, index, before, after, lambda leaf: leaf)


def _causes(baseline: Baseline) -> list[Line]:
    drawn = drawn_from(baseline)
    for names in (*([name] for name in drawn), drawn):
        if names and alike(*_twice(baseline, names)):
            return [("cause", f"forward draws random numbers ({', '.join(names)})")]
    kept = kept_names(baseline, baseline.batch.tree())
    if not kept:
        return []
    shown = [f"model.{name}" for name in kept[:NAMES]]
    more = f" and {len(kept) - NAMES} more" if len(kept) > NAMES else ""
    verb = "is" if len(kept) == 1 else "are"
    return [("cause", f"{', '.join(shown)}{more} {verb} kept from call to call")]


def drawn_from(baseline: Baseline) -> list[str]:
    """Return from which sources of random numbers the model draws."""
    copy = baseline.session.fresh()
    found = _sources(baseline, copy)
    before = {name: source.read() for name, source in found.items()}
    baseline.session.run(baseline.batch.tree(), on=copy)
    return [name for name, source in found.items() if not equal(before[name], source.read())]


def _twice(baseline: Baseline, restart: Collection[str] = ()) -> tuple[Leaves, Leaves]:
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
