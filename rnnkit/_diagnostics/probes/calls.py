"""The recurrent calls of one run: what each is given, and whether what it returns is read."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
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


def events_with(baseline: Baseline, *watches: Watch, functions: bool = False) -> list[Event]:
    """Return what happens in a run under further hooks, in order; nothing if the model fails then.

    With ``functions``, what functions make is written down as well.
    """
    recorder = Recorder(functions=functions)
    watch = all_of(*watches, recorder.watch)
    output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
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
            yield Finding(what, [("fix", fix)], event.name)


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
                yield Finding(f"{what}, and {other} is never called", [("fix", fix)], other)


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
    """Yield a finding if a backward layer's outputs were not flipped back, before they were joined.

    Step 0 of the output then reads the first and the last step of the input, and step 1 two of
    each.
    """
    steps = baseline.batch.steps or 0
    read = steps_read(baseline)
    rows = [read[k].nonzero().flatten().tolist() for k in (0, 1) if k in read]
    if steps > 4 and rows == [[0, steps - 1], [0, 1, steps - 2, steps - 1]]:
        name = baseline.name(baseline.first or 0)
        what = f"{name} of step 0 depends only on the first and the last step"
        cause = ("cause", "a layer ran backwards, and its outputs were not flipped back")
        fix = ("fix", "output.flip(seq_dim), before the two are joined")
        yield Finding(what, [cause, fix])


def filled(
    baseline: Baseline, places: Tensor, factor: float, watch: Watch = lambda _: []
) -> Leaves | None:
    """Run with a number at some steps; return the leaves of the output, or None.

    ``places`` is a mask ``(batch, seq)`` of those steps. The number is the largest of the tensor
    that it goes into, times a factor, which may be a NaN; of tokens, that tensor is their
    embedding. None if the number goes nowhere, or if the model refuses it. ``watch`` puts further
    hooks on the model.
    """
    batch = baseline.batch
    leaf = batch.leaves[batch.sequence]
    mask: Any = steps_at(places)(batch, batch.sequence)
    leaves = list(batch.leaves)
    found = is_number(leaf)
    if found:
        leaves[batch.sequence] = leaf.masked_fill(mask, factor * largest(leaf))

    def embedded(_: Any, args: Any, output: Any) -> Any:
        nonlocal found
        if found or not args or not same(args[0], leaf):
            return output
        found = True
        return output.masked_fill(mask.unsqueeze(-1), factor * largest(output))

    def on_tables(model: Module) -> list[Any]:
        tables = [module for module in model.modules() if isinstance(module, Embedding)]
        return [table.register_forward_hook(embedded) for table in tables]

    output = baseline.session.attempt(batch.tree(leaves), watch=all_of(on_tables, watch))
    return output if found else None


def other_order(baseline: Baseline) -> Finding | None:
    """Return a finding if steps go into a layer in the order of features, as a view does; or None.

    One step of each sample, another one in each, is made NaN; then a layer whose input has the NaN
    at other steps for each feature reads the numbers in another order: a permute was meant.
    """
    batch = baseline.batch
    steps = batch.steps or 0
    if _takes_what_is_known(baseline):
        return None
    recorder = Recorder()
    at = torch.linspace(0, steps - 2, batch.size, device="cpu").round().unsqueeze(1)
    filled(baseline, torch.arange(steps, device="cpu") == at, torch.nan, recorder.watch)
    for event, x in padded(recorder.events, "input", RNNBase, Conv1d):
        is_batch_first = getattr(event.module, "batch_first", True)
        places = (x if is_batch_first else x.transpose(0, 1)).isnan()
        if _is_turned(places, steps, is_conv=isinstance(event.module, Conv1d)):
            layer = f"{event.label} ({type(event.module).__name__})"
            what = f"{layer} reads the steps out of order, in a different order for each feature"
            likely = ("likely", "the cause is a view or reshape before it: permute the axes first")
            return Finding(what, [likely, ("fix", "x.permute(...), then reshape")], event.name)
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
        if columns.equal(turned.all((1, 3))) and bool(columns.ne(columns[:1]).any()):
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


#: A tensor with more rows than so many times those of a state is none made of it.
MOST = 4

#: Two rows of a state, which stand side by side.
Pair = tuple[int, int]


def joined_layers(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding]:
    """Yield a finding for a state whose rows are all joined in pairs, if a pair is of two layers.

    ``calls`` are the recurrent calls of a run. Rows of a state are its layers and directions; they
    are looked for in all that functions and modules made.
    """
    stacks = [call for call in calls if _is_stack(call.module)]
    events = events_with(baseline, functions=True) if stacks else []
    made = tensors_of([event.tensors for event in events])
    for call in stacks:
        for part, state in call.returned.items():
            pair = _mixed_pair(made, _rows(call, state))
            if pair is not None:
                yield _finding(call, part, state, pair)


def _mixed_pair(made: Sequence[Tensor], rows: Tensor) -> Pair | None:
    """Return two rows of a state, of two layers, that some tensor has side by side; else None.

    ``made`` are the tensors of a run, and ``rows`` is a state ``(layers * directions, batch,
    hidden)``, of two directions. The tensor has to have each row in one pair. If another tensor has
    all rows of a sample side by side, nothing is wrong.
    """
    every = [*range(len(rows))]
    if any(sorted(group) == every for group in chain(*_neighbors(made, rows, len(rows)))):
        return None
    for pairs in _neighbors(made, rows, 2):
        mixed = [(one, other) for one, other in pairs if one // 2 != other // 2]
        if mixed and sorted(chain(*pairs)) == every:
            return min(mixed)
    return None


def _neighbors(made: Sequence[Tensor], rows: Tensor, number: int) -> Iterator[set[tuple[int, ...]]]:
    """Yield, for each tensor as wide as ``number`` rows of a state, which rows it has side by side.

    ``made`` are the tensors of a run, ``rows`` a state ``(layers * directions, batch, hidden)``.
    The rows in a group are of one sample; otherwise the batch is mixed.
    """
    count, batch, hidden = rows.shape
    for tensor in made:
        if tensor.shape[-1:] != (number * hidden,) or tensor.dtype != rows.dtype:
            continue
        pieces = tensor.reshape(-1, hidden)
        if len(pieces) > MOST * number * count * batch:  # a sequence of outputs
            continue
        # A place is row * batch + sample, or -1.
        places = places_in(rows.flatten(0, 1), pieces).view(-1, number)
        samples = places % batch
        is_known = (places >= 0).all(1) & (samples == samples[:, :1]).all(1)
        yield {tuple(group) for group in (places[is_known] // batch).tolist()}


def _finding(call: Call, part: str, state: Tensor, pair: Pair) -> Finding:
    """Return a finding that names the joined rows of two layers, and the way to join directions.

    ``state`` is what a call returned, ``part`` is h or c, and ``pair`` has the numbers of the two
    rows: 0 and 1 are the directions of layer 0, 2 and 3 those of layer 1.
    """
    name = f"{part}_n"
    one, other = pair
    what = f"{name}[{one}] and {name}[{other}] of {call.label} are joined"
    means = f"they are layers {one // 2} and {other // 2}, not two directions of one layer"
    ways = f"torch.cat([{name}[0::2], {name}[1::2]], 2)"
    if has_batch_first(call, state):
        ways = f"torch.cat([{name}[:, 0::2], {name}[:, 1::2]], 2)"
    fix = f"{ways} joins the directions of each layer; so does rnnkit.states.bridge"
    return Finding(f"{what}: {means}", [("fix", fix)], call.name)


def _is_stack(module: Module) -> bool:
    """Return whether a module is a bidirectional layer with further layers."""
    return isinstance(module, RNNBase) and module.bidirectional and module.num_layers > 1


def has_batch_first(call: Call, state: Tensor) -> bool:
    """Return whether a state is laid out ``(batch, layers * directions, hidden)``."""
    return getattr(call.module, "state_batch_first", False) and state.dim() == 3


def _rows(call: Call, state: Tensor) -> Tensor:
    """Return a state as ``(layers * directions, batch, hidden)``, also of an unbatched call."""
    if state.dim() == 2:
        return state.unsqueeze(1)
    return state.transpose(0, 1) if has_batch_first(call, state) else state


def places_in(table: Tensor, rows: Tensor) -> Tensor:
    """Return where in a table each row stands, ``(rows,)``: if not at one place only, -1.

    Both are ``(rows, ...)``.
    """
    equal = (rows.unsqueeze(1) == table).flatten(2).all(2)
    is_known = equal.sum(1) == 1
    return torch.where(is_known, equal.int().argmax(1), -1)
