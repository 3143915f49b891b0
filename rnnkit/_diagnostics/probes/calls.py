"""The recurrent calls of one run: what each is given, and whether what it returns is read."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Conv1d, Embedding, Module, ModuleDict, RNNBase

from rnnkit._diagnostics.inputs.changes import steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.module_calls import Call
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    Watch,
    all_of,
    equal,
    is_number,
    largest,
    same,
    tensors_of,
)
from rnnkit._diagnostics.tell.outcome import Finding

#: How many times the largest number of an input is put at a step, so that a maximum picks it.
LARGE = 100


def events_with(baseline: Baseline, *watches: Watch, functions: bool = False) -> list[Event]:
    """Return what happens in a run under further hooks, in order; nothing if the model fails then.

    With ``functions``, what functions make is written down as well.
    """
    recorder = Recorder(functions=functions)
    output = baseline.rerun(all_of(*watches, recorder.watch))
    return [] if output is None else recorder.events


def steps_as_channels(baseline: Baseline) -> Iterator[Finding]:
    """Yield findings of batch norms that take the steps of the input, or of a layer, for channels.

    A batch norm takes axis 1 for channels; a batch-first sequence has its steps there. ``baseline``
    is the model, a batch, and what it returned for that.
    """
    batch = baseline.batch
    known = [
        x
        for event, x in padded(baseline.events, "output", Module)
        if getattr(event.module, "batch_first", False)
    ]
    if batch.seq_dim == 1 and batch.may_have_steps(batch.sequence):
        known.append(batch.leaves[batch.sequence])
    for event, x in padded(baseline.events, "input", BatchNorm1d):
        if _is_any_of(known, x) and not torch.equal(x, x.mT):
            what = f"{event.label} ({event.text}) reads axis 1 as channels, but the steps are there"
            fix = "x.transpose(1, 2) before it, and again after it"
            yield Finding(what, fix=fix, module=event.name)


def _is_any_of(known: list[Tensor], x: Tensor) -> bool:
    """Return whether a tensor is one of those that are known, up to its dtype."""
    return any(same(one.to(x.dtype), x) for one in known)


def shared_directions(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding]:
    """Yield findings of a cell or layer that reads both ways, while its twin is never called.

    A twin is a module beside it, of the same class, and of weights that have the same sizes and are
    trained or frozen alike. ``calls`` are the
    recurrent calls of a run.
    """
    model = baseline.session.model
    read = defaultdict[str, list[Any]](list)  # steps, by the module's name
    for call in calls:
        read[call.name] += _steps_of(call)
    for name, steps in read.items():
        parent = name.rpartition(".")[0]
        beside = model.get_submodule(parent)
        # The modules of a ModuleDict are chosen by a key: those not called may be for other inputs.
        if isinstance(beside, ModuleDict) or not _are_read_both_ways(steps):
            continue
        for child, module in beside.named_children():
            other = f"{parent}.{child}".removeprefix(".")
            if other not in read and _kind(module) == _kind(model.get_submodule(name)):
                what = f"{name} is called in both directions over the steps"
                fix = f"call {other} for one of them: its weights have the same sizes"
                yield Finding(f"{what}, and {other} is never called", fix=fix, module=other)


def _steps_of(call: Call) -> list[Any]:
    """Return the steps that a call reads, one tensor each: one of a cell, none if not known."""
    if call.input is None:
        return []
    return [call.input] if call.is_cell else list(call.input.unbind(call.seq_axis))


def _are_read_both_ways(steps: list[Any]) -> bool:
    """Return whether steps are read forward, then backward: the same list from both ends.

    Steps that are all equal do not count.
    """
    is_turned = equal(steps, steps[::-1]) and not equal(steps[1:], steps[:-1])
    return len(steps) % 2 == 0 and is_turned


def _kind(module: Module) -> tuple[type[Module], list[Any]]:
    """Return the class of a module, and for each weight its sizes and whether it learns."""
    return type(module), [(weight.shape, weight.requires_grad) for weight in module.parameters()]


def reversed_outputs(baseline: Baseline) -> Iterator[Finding]:
    """Yield a finding if a backward layer's outputs are in the wrong order when they are joined.

    Step 0 of the output then reads the first and the last step of the input, and step 1 two of
    each.
    """
    steps = baseline.batch.steps
    read = steps_read(baseline)
    rows = [read[k].nonzero().flatten().tolist() for k in (0, 1) if k in read]
    if steps > 4 and rows == [[0, steps - 1], [0, 1, steps - 2, steps - 1]]:
        name = baseline.name(baseline.first or 0)
        what = f"{name} of step 0 depends only on the first and the last step"
        cause = ("cause", "outputs of a backward direction are joined in the wrong order")
        fix = (
            "output.flip(seq_dim) of a layer that ran over x.flip(seq_dim), before they are "
            "joined; no flip of a bidirectional layer's output: its steps are in order"
        )
        yield Finding(what, [cause], fix=fix)


def filled(
    baseline: Baseline, places: Tensor, factor: float, watch: Watch = lambda _: []
) -> Leaves | None:
    """Run with a number at some steps; return the leaves of the output, or None.

    ``places`` is a mask of those steps, which broadcasts to ``(batch, seq)``. The number is the
    largest of the tensor that it goes into, times a factor, which may be a NaN; of tokens, that
    tensor is their embedding. None if the number goes nowhere, or if the model refuses it.
    ``watch`` puts further hooks on the model.
    """
    batch = baseline.batch
    leaf = batch.leaves[batch.sequence]
    mask: Any = steps_at(places)(batch, batch.sequence)
    found = is_number(leaf)
    if found:
        batch = batch.with_leaf(batch.sequence, leaf.masked_fill(mask, factor * largest(leaf)))

    def embedded(_: Any, args: Any, output: Any) -> Any:
        nonlocal found
        if found or not args or not same(args[0], leaf):
            return output
        found = True
        return output.masked_fill(mask.unsqueeze(-1), factor * largest(output))

    def on_tables(model: Module) -> list[Any]:
        tables = [module for module in Module.modules(model) if isinstance(module, Embedding)]
        return [table.register_forward_hook(embedded) for table in tables]

    output = baseline.session.attempt(batch.tree(), watch=all_of(on_tables, watch))
    return output if found else None


def other_order(baseline: Baseline) -> Finding | None:
    """Return a finding if steps go into a layer in the order of features, as a view does; or None.

    One step of each sample, another one in each, is made NaN; then a layer whose input has the NaN
    at other steps for each feature reads the numbers in another order: a permute was meant.
    """
    batch = baseline.batch
    steps = batch.steps
    leaf = batch.leaves[batch.sequence]
    has_features = leaf.dim() > 2 or not is_number(leaf)
    if not has_features or _takes_what_is_known(baseline):
        return None
    recorder = Recorder()
    at = torch.linspace(0, steps - 2, batch.size, device="cpu").round().unsqueeze(1)
    filled(baseline, batch.step_numbers == at, torch.nan, recorder.watch)
    for event, x in padded(recorder.events, "input", RNNBase, Conv1d):
        is_batch_first = getattr(event.module, "batch_first", True)
        places = (x if is_batch_first else x.transpose(0, 1)).isnan()
        if _is_turned(places, steps, is_conv=isinstance(event.module, Conv1d)):
            layer = f"{event.label} ({type(event.module).__name__})"
            what = f"{layer} reads the steps out of order, in a different order for each feature"
            likely = ("likely", "the cause is a view or reshape before it: permute the axes first")
            return Finding(what, [likely], event.name, fix="x.permute(...), then reshape")
    return None


def _takes_what_is_known(baseline: Baseline) -> bool:
    """Return whether each layer takes the input, or what another layer returned, maybe turned.

    Then no view can have put its numbers into another order.
    """
    known: list[Tensor] = [baseline.batch.leaves[baseline.batch.sequence]]
    for event in baseline.events:
        if event.kind == "output" and isinstance(event.module, RNNBase | Embedding):
            known += tensors_of(event.tensors)
    known += [x.mT for x in known if x.dim() > 1]
    return all(_is_any_of(known, x) for _, x in padded(baseline.events, "input", RNNBase, Conv1d))


def _is_turned(places: Tensor, steps: int, *, is_conv: bool) -> bool:
    """Return whether NaN of one step of a sample are at other steps for each feature.

    ``places`` ``(batch, rows, width)`` has where a layer's input is NaN; rows are the layer's
    steps, and of a convolution the width may be the steps. ``steps`` is how many the model's input
    has.
    """
    rows, width = places.shape[1:]
    hit = places.flatten(1)
    mask = places[hit.any(1) & ~hit.all(1)]  # the samples with some NaN, and not all
    # A convolution takes (batch, feature, seq), or steps for channels.
    axes = (1,) if is_conv and rows != steps else (1, 2)
    if any(mask.any(axis).equal(mask.all(axis)) for axis in axes):
        return False
    # A sample may have lain as (n, steps, features) before a wrong view: then its NaN are whole
    # columns there, at other columns in each sample.
    count = steps if is_conv else rows
    sizes = range(1, 2) if is_conv else range(2, width + 1)
    for n in sizes:
        if rows * width % (n * count):
            continue
        turned = mask.reshape(len(mask), n, count, -1)
        columns = turned.any((1, 3))
        if columns.equal(turned.all((1, 3))) and columns.ne(columns[:1]).any():
            return True
    return False


def padded(
    events: Sequence[Event], kind: str, *modules: type[Module]
) -> Iterator[tuple[Event, Tensor]]:
    """Yield tensors of three axes, none packed, that modules take or return, with their events.

    ``kind`` is ``"input"`` or ``"output"``, and ``modules`` are classes.
    """
    for event in events:
        x = next(iter(event.tensors), None)
        is_meant = event.kind == kind and isinstance(event.module, modules)
        if is_meant and isinstance(x, Tensor) and x.dim() == 3 and not event.is_packed:
            yield event, x
