"""From which state the calls of a run start: swapped, in another order, or the same each time.

What no correct model does is a finding. What some models intend is a note, which is a text.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import Module, RNNBase, RNNCellBase

from rnnkit._diagnostics.explain.causes import REMEMBER
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_of
from rnnkit._diagnostics.probes.calls import events_with
from rnnkit._diagnostics.probes.joined import places_in
from rnnkit._diagnostics.run.module_calls import Call, calls_in, changing
from rnnkit._diagnostics.run.outputs import equal, gradient_arrives, tensors_of
from rnnkit._diagnostics.tell.outcome import Finding

#: Fewer calls may be anything, as two tries from one state.
LOOP = 3
#: The order of more rows is not known.
ROWS = 256


def wrong_starts(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding | str]:
    """Yield findings of calls that start from a wrong state, and notes of those maybe meant so.

    ``calls`` are the recurrent calls of a run of ``baseline``: a model, a batch, and its output. A
    family are the calls of one module, in order.
    """
    families = defaultdict[str, list[Call]](list)
    for call in calls:
        for family in families.values():
            yield from _exchanged_names(baseline, family[-1], call)
            yield from _input_as_state(family, call)
            yield from _states_of_other_layers(family[-1], call)
        if call.name in families:
            yield from _orders_of_rows(families[call.name][-1], call)
        families[call.name].append(call)
    for family in families.values():
        yield from _cell_state_of_the_last_step(baseline, family[-1])
        if len(family) >= LOOP:
            yield from _loop(baseline, family)


def _exchanged_names(baseline: Baseline, source: Call, call: Call) -> Iterator[Finding | str]:
    """Yield a finding if a call takes another one's c for its h, and the h for its c.

    A note if it takes the h for both. ``source`` is the earlier call: the last one of a module.
    """
    given = [*call.state.values()]
    made = [*source.returned.values()]
    if len(made) != 2:
        return
    if equal(given, [made[0], made[0]]):
        yield f"{call.label} gets the h of {source.label} as its h and as its c: intended?"
    is_swapped = equal(given, made[::-1]) and not equal(given, made)
    # Of one module, the first call is the source.
    number = 1 if source.name == call.name else 0
    if is_swapped or (call.number == number and _crosses(baseline, source, call)):
        what = f"{call.label} gets the c of {source.label} as its h, and the h as its c"
        names = "h, c = cell(x_t, (h, c))" if call.is_cell else "y, (h, c) = layer(x)"
        yield Finding(what, fix=f"{names}: h comes first", module=call.name)


def _crosses(baseline: Baseline, source: Call, call: Call) -> bool:
    """Return whether a given h was computed from c alone, and c from h alone, of a layer's call.

    ``source`` is that call, and ``call`` the one that is given the state.
    """
    run = gradients_of(baseline)
    made = run.parts_of(source)
    given = tensors_of(run.states.get((call.name, call.number)))
    if "h" not in made or "c" not in made:
        return False
    read = [[_depends(run, [x], [made[part]]) for part in "hc"] for x in given]
    return read == [[False, True], [True, False]]


def _depends(run: Gradients, outputs: Sequence[Tensor], sources: Sequence[Tensor]) -> bool:
    """Return whether a gradient of some tensors of a run arrives in others that they may read."""
    slopes = run.slopes(sources, outputs)
    return any(slope is not None and gradient_arrives(slope).any() for slope in slopes)


def _input_as_state(family: Sequence[Call], call: Call) -> Iterator[Finding]:
    """Yield a finding if a cell takes another cell's output both as its input and as its state.

    ``family`` are the calls of the other cell until then, and ``call`` is the cell's.
    """
    source = family[-1]
    # A cell may take its first state from another one.
    if not call.is_cell or call.number == 0 or source.name == call.name:
        return
    # What the other cell returned at this step, or at the one before.
    made = [one.returned["h"] for one in family[-2:] if "h" in one.returned]
    if made and equal(call.input, made[-1]) and any(equal(call.state.get("h"), h) for h in made):
        taken = f"gets the output of {source.label} both as its input and as its state"
        fix = "keep a state for each cell, h[0] and h[1], and return both"
        yield Finding(f"{call.label} {taken}", fix=fix, module=call.name)


def _states_of_other_layers(source: Call, call: Call) -> Iterator[str]:
    """Yield a note if a layer starts from the state of another layer of an encoder's.

    ``source`` is a call of the encoder and ``call`` a later one, of the decoder. The encoder's last
    layers have the states for as many layers of a decoder.
    """
    encoder = source.module
    decoder = call.module
    if not _has_layers_first(encoder) or not _has_layers_first(decoder):
        return
    surplus = encoder.num_layers - decoder.num_layers
    if source.name == call.name or encoder.num_layers < 2 or surplus < 0:
        return
    rows = _order(call.state.get("h"), source.returned.get("h"))
    for place, row in enumerate(rows or []):
        layer = place // (1 + decoder.bidirectional)
        source_layer = row // (1 + encoder.bidirectional)
        if source_layer != layer + surplus:
            start = f"{call.label} starts its layer {layer} from h_n[{row}] of {source.label}"
            of = f"a state of layer {source_layer}"
            yield f"{start}, {of}: rnnkit.states.bridge makes one state for each layer"
            return


def _has_layers_first(module: Module) -> TypeGuard[RNNBase]:
    """Return whether a module is a layer whose states are ``(layers * directions, batch, ...)``."""
    return isinstance(module, RNNBase) and not getattr(module, "state_batch_first", False)


def _orders_of_rows(source: Call, call: Call) -> Iterator[Finding]:
    """Yield a finding if a call takes rows of the last h and of the last c in different orders.

    ``source`` is the call of the same module before. Rows are on the last axis but one, as samples
    are.
    """
    orders = [
        _order(x.movedim(-2, 0), source.returned[part].movedim(-2, 0))
        for part, x in call.state.items()
        if part in source.returned and x.dim() > 1
    ]
    if len(orders) == 2 and None not in orders and orders[0] != orders[1]:
        what = f"{call.label} gets h and c with their rows in different orders"
        fix = "reorder both: h, c = h[rows], c[rows]; or rnnkit.states.select(state, rows)"
        yield Finding(what, fix=fix, module=call.name)


def _order(given: Tensor | None, made: Tensor | None) -> list[int] | None:
    """Return which row of a returned state each given row is; None if that is not known.

    Both are ``(rows, ...)``, or None.
    """
    if given is None or made is None or given.shape[1:] != made.shape[1:] or len(made) > ROWS:
        return None
    places = places_in(made, given).tolist()
    return None if -1 in places else places


def _cell_state_of_the_last_step(baseline: Baseline, call: Call) -> Iterator[str]:
    """Yield a note if the outputs read only c of what an LSTM cell returned in its last ``call``.

    The gradients of the outputs of ``baseline`` (a model, a batch, its output) show that.
    """
    if not isinstance(call.module, RNNCellBase):
        return
    run = gradients_of(baseline)
    read = [part for part, x in run.parts_of(call).items() if _depends(run, run.output, [x])]
    if read == ["c"]:
        kind = type(call.module).__name__
        yield f"{call.label} ({kind}) returns (h, c), but only c of its last call is used"


def _loop(baseline: Baseline, family: Sequence[Call]) -> Iterator[Finding | str]:
    """Yield a finding, or a note, if a module's calls do not pass their state on, or only a part.

    ``family`` are all its calls.
    """
    first, *later = family
    label = f"{first.label} ({type(first.module).__name__})"
    what = f"{label} is called {len(family)} times, each time"
    are_steps = all(call.is_step for call in family)
    if all(map(passes_on, family, later)):
        if are_steps and getattr(first.module, "bidirectional", False):
            does = "is called step by step: its backward direction reads one step at a time"
            yield f"{label} has two directions, but {does}"
    elif all(map(_reads_its_state, family, later)):
        given = "with the h that it returned as its input, and not as its state: intended?"
        yield f"{what} {given} cell(x_t, state) takes the input first"
    elif all(map(_passes_on_h, family, later)):
        fix = "y, (h, c) = layer(x, (h, c)): both are the state"
        yield Finding(f"{what} with its own h, but without its own c", fix=fix, module=first.name)
    elif not any(part.any() for call in family for part in call.state.values()):
        yield from _loop_from_zeros(baseline, family, label)
    elif all(equal(call.state, first.state) for call in later):
        if _make_the_steps(baseline, family):
            yield Finding(f"{what} from the same state", fix=REMEMBER, module=first.name)
        elif are_steps:
            yield f"{what} from the same state"
    elif len(family) > LOOP and all(passes_on(first, call) for call in later):
        times = f"is called {len(later)} times from the state that its first call returned"
        yield f"{label} {times}: no later call passes its state on"


def _loop_from_zeros(
    baseline: Baseline, family: Sequence[Call], label: str
) -> Iterator[Finding | str]:
    """Yield a finding if calls that each start from zeros belong together; a note of windows.

    ``family`` are all calls of a module, which a message calls ``label``. They are windows if their
    steps are together as many as the batch of ``baseline`` has.
    """
    sizes = [call.sizes.get("seq", 1) for call in family]
    if _belong_together(baseline, family):
        what = f"{label} is called {len(family)} times, each time from zeros"
        yield Finding(what, fix=REMEMBER, module=family[0].name)
    elif max(sizes) > 1 and sum(sizes) == baseline.batch.steps:
        windows = f"reads {len(family)} windows of the {sum(sizes)} steps, each from zeros"
        yield f"{label} {windows}: no window passes its state to the next"


def passes_on(before: Call, after: Call) -> bool:
    """Return whether a call starts from the state that another one returned."""
    return equal(after.state, before.returned)


def _reads_its_state(before: Call, after: Call) -> bool:
    """Return whether a call takes the h that the one before returned, and as its input only."""
    h = before.returned.get("h")
    given = after.state.get("h")
    if not after.is_cell or given is None or not given.any():
        return False
    return equal(after.input, h) and not equal(given, h)


def _passes_on_h(before: Call, after: Call) -> bool:
    """Return whether a call starts from the h that the one before returned, but not from its c.

    Its c is zeros, or the one that the call before was given.
    """
    c = after.state.get("c")
    if c is None or not equal(after.state.get("h"), before.returned.get("h")):
        return False
    return not c.any() or equal(c, before.state.get("c"))


def _belong_together(baseline: Baseline, family: Sequence[Call]) -> bool:
    """Return whether calls that each start from zeros are steps, or parts, of one sequence.

    They are if there is one for each step of an input, or one less: a target may begin with a step
    that is given. The model has to run on fewer steps too.
    """
    lengths = set(map(baseline.batch.length, baseline.batch.indices))
    are_as_many = not lengths.isdisjoint((len(family), len(family) + 1))
    if all(call.is_step for call in family):
        follow = are_as_many and baseline.axes.runs_on_less
        if follow or _read_results(baseline, family):
            return True
    return _make_the_steps(baseline, family)


def _read_results(baseline: Baseline, family: Sequence[Call]) -> bool:
    """Return whether later calls of a module are given what was made of its earlier results.

    An output of the model has to be as long as the calls are many: it may be made of them. The run
    is repeated with what the middle calls return negated.
    """
    times = len(family)
    first = baseline.first or 0
    if {times, times + 1}.isdisjoint(baseline.normal[first].shape[1:]):
        return False
    name = family[0].name
    negated: dict[str, Any] = {"output": torch.neg, "h": torch.neg, "c": torch.neg}
    events = events_with(baseline, changing(name, range(1, times - 1), negated))
    inputs = [call.input for call in calls_in(events) if call.name == name]
    return bool(inputs) and not equal(inputs[2:], [call.input for call in family[2:]])


def _make_the_steps(baseline: Baseline, family: Sequence[Call]) -> bool:
    """Return whether calls make the steps of a causal output, and its last step reads one only.

    ``family`` are all calls of a module, each of one step or several.
    """
    axis = baseline.out_seq_dim
    if baseline.rules.causal is not True or axis is None:
        return False
    if len(family) == baseline.batch.size and all(call.sizes.get("batch") == 1 for call in family):
        return False  # each call runs one sample
    steps = sum(call.sizes.get("seq", 1) for call in family)
    first = baseline.first or 0
    run = gradients_of(baseline)
    outputs = run.output[first : first + 1]
    if baseline.normal[first].shape[axis] - steps not in (0, 1):
        return False
    middle = [x for call in family[1:-1] for x in run.parts_of(call).values()]
    ends = [x.select(axis, -1) for x in outputs]
    return _depends(run, outputs, middle) and not _depends(run, ends, middle)
