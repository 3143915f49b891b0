"""Loops inside of one call of the model, in which a state starts afresh, or stays the first one."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import LSTM, LSTMCell, RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import steps_from
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.experiment import run_perturbed
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.module_calls import KINDS, each_call, from_state, named_arguments
from rnnkit._diagnostics.reach import block_size, reach_of
from rnnkit._diagnostics.report import Line, fail

#: Fewer calls may be anything, as two tries from one state.
CALLS = 3

#: So many calls are tried: a token may stay, whatever the numbers behind it are.
TRIED = 8

FIX = "y, state = layer(x, state), or state = cell(x, state), in the loop"

#: Calls of one module, in the order of time.
Calls = dict[str, list[Event]]


def calls_of(events: Sequence[Event], kind: str = "input") -> Calls:
    """Return what went into the recurrent modules, or came out, by their names."""
    found: Calls = defaultdict(list)
    for event in events:
        if event.kind == kind and isinstance(event.module, KINDS):
            found[event.name].append(event)
    return found


def find_single_steps(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a module that is called for one step after the other, and each time without a state.

    The calls must follow the steps of an input: it is then a loop over time.
    """
    if _may_be_single(baseline.batch) or baseline.report.found("memory"):
        return
    for name, calls in calls_of(events).items():
        if len(calls) < 3 or not all(map(_is_first_step, calls)):
            continue
        without_c = any(_has_h(call) for call in calls)
        if not _follows_steps(baseline, name, len(calls)) or not would_matter(baseline, name):
            continue
        if _is_kept_by_index(baseline, name):
            continue
        start = "with zeros for c" if without_c else "afresh"
        given = "a c of zeros" if without_c else "no state or zeros"
        steps = f"{len(calls)} steps, and starts each of them {start}"
        what = f"{name} ({calls[0].class_name}) is called for {steps}"
        text = f"each call is given {given}: what one step returned is not passed on"
        rows: list[Line] = [("evidence", text), ("fix", FIX)]
        fail("use", what, rows, name)


def _may_be_single(batch: Batch) -> bool:
    """Say whether an axis of an input is one long, or flags may say that every step is a first."""
    tensors = [leaf for leaf in batch.leaves if isinstance(leaf, Tensor)]
    return any(1 in leaf.shape or is_binary(leaf) for leaf in tensors if leaf.dim())


def _is_first_step(event: Event) -> bool:
    """Say whether one step goes in, and no state beside it but zeros; of an LSTM, c of zeros."""
    if not event.tensors or not isinstance(event.tensors[0], Tensor) or event.is_packed:
        return False
    input, *rest = event.tensors
    if isinstance(event.module, RNNBase):
        seq = 1 if event.module.batch_first else 0
        if input.dim() != 3 or input.shape[seq] != 1:
            return False
    if isinstance(event.module, LSTM | LSTMCell) and len(rest) > 1:
        rest = rest[1:]
    return all(leaf is None or (is_number(leaf) and not leaf.any()) for leaf in rest)


def _has_h(event: Event) -> bool:
    """Say whether a call is given a state that is not zero, which is then h."""
    return any(is_number(leaf) and bool(leaf.any()) for leaf in event.tensors[1:])


def _follows_steps(baseline: Baseline, name: str, count: int) -> bool:
    """Say whether there is one call less when an input has one step less."""
    batch = baseline.batch
    long = [
        index
        for index, axis in enumerate(batch.axes)
        if axis not in (None, batch.seq_dim)
        and batch.leaves[index].dim() > batch.seq_dim
        and batch.leaves[index].shape[batch.seq_dim] == count
    ]
    followers = [
        k for k in range(len(batch.leaves)) if batch.has_steps(k) and (batch.steps or 0) >= count
    ]
    for cut in (long, *([index] for index in long), followers):
        shorter = batch.cut_each(dict.fromkeys(cut, count - 1), count - 1, front=baseline.post)
        if len(_calls_with(baseline, shorter.tree(), name)) == count - 1:
            return True
    return False


def _is_kept_by_index(baseline: Baseline, name: str) -> bool:
    """Say whether a call goes on from another one if integers among the inputs are all alike.

    A memory with a place for each of many holds what was returned for one of them.
    """
    batch = baseline.batch
    alike = [
        leaf.select(batch.seq_dim, 0).unsqueeze(batch.seq_dim).expand_as(leaf).clone()
        if batch.may_have_steps(index) and leaf.dtype in (torch.int64, torch.int32)
        else leaf
        for index, leaf in enumerate(batch.leaves)
    ]
    if all(one is leaf for one, leaf in zip(alike, batch.leaves, strict=True)):
        return False
    return not all(map(_is_first_step, _calls_with(baseline, batch.tree(alike), name)))


def _calls_with(baseline: Baseline, inputs: Given, name: str) -> list[Event]:
    """Return the calls of a module on other inputs; none if the model does not take them."""
    try:
        return calls_of(record(baseline.session, inputs))[name]
    except Exception:  # noqa: BLE001 - it may refuse that as it likes
        return []


def would_matter(baseline: Baseline, name: str) -> bool:
    """Say whether another output comes if each call gets the state that the one before returned."""
    output = baseline.session.attempt(baseline.batch.tree(), watch=_pass_on(baseline, name))
    return output is not None and not alike(baseline.normal, output)


def _pass_on(baseline: Baseline, name: str) -> Watch:
    """Return what passes the state of a module on from call to call."""
    is_layer = isinstance(baseline.session.model.get_submodule(name), RNNBase)
    returned: list[Any] = []

    def start(at: int, args: Any, kwargs: Any) -> Any:
        return from_state(args, kwargs, returned[-1]) if at else None

    def keep(_: int, output: Any) -> None:
        returned.append(output[1] if is_layer else output)

    return each_call(name, start, keep)


def find_blocks(baseline: Baseline) -> None:
    """Find that the output reads the input in blocks, since a layer starts each of them afresh.

    It does not, if the state of that layer is passed on.
    """
    steps = baseline.batch.steps or 0
    size = block_size(reach_of(baseline), steps)
    if size is None:
        return
    first, seq = baseline.first or 0, baseline.out_seq_dim or 0
    earlier = run_perturbed(baseline, steps_from(0, size))
    if earlier is None or not earlier.has(first):
        return
    if earlier.moves(first, lambda leaf: leaf.narrow(seq, size, steps - size)):
        return
    for name, calls in calls_of(record(baseline.session, baseline.batch.tree())).items():
        outputs = earlier.both(_pass_on(baseline, name)) if len(calls) > 1 else None
        if outputs is None:
            continue
        before, after = (output[first].select(seq, size) for output in outputs)
        if not torch.equal(before, after):
            what = f"step {size} of the output reads no earlier step, though step {size - 1} does"
            rows = [
                ("first", f"{name} ({calls[0].class_name}), called {len(calls)} times"),
                ("cause", "it starts each block from zeros: the state that it returned is lost"),
                ("fix", "y, state = layer(x, state)"),
            ]
            fail("streaming", what, rows, name)


def find_held_state(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a module that goes on from its own output, and not from its own state.

    Calls from one state are right where they are alternatives, as an action and another one, or
    refine one result. Here each depends on what the one before returned, and the model returns one
    step for each, so that they are steps of one sequence.
    """
    for name, calls in calls_of(events).items():
        if len(calls) < CALLS or not _is_held(calls) or not _collects(baseline, len(calls)):
            continue
        if not _feeds_back(baseline, calls) or not would_matter(baseline, name):
            continue
        times = f"is called {len(calls)} times, each time with the state of call 0"
        what = f"{name} ({calls[0].class_name}) {times}"
        text = "its next input depends on what it returned, and its next state does not"
        rows: list[Line] = [("evidence", text), ("fix", FIX)]
        fail("use", what, rows, name)


def _is_held(calls: Sequence[Event]) -> bool:
    """Say whether all calls are given one state that is not zero, and not one input."""
    if any(call.is_packed or not all(map(is_number, call.tensors)) for call in calls):
        return False
    first, *state = calls[0].tensors
    if not any(bool(tensor.any()) for tensor in state):
        return False
    same = all(_equal(call.tensors[1:], state) for call in calls)
    return same and not all(_equal(call.tensors[:1], [first]) for call in calls)


def _equal(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(ones) == len(others) and all(map(torch.equal, ones, others))


def _collects(baseline: Baseline, count: int) -> bool:
    """Say whether an output has so many steps, or one more, with which it began."""
    return any(
        size in (count, count + 1) and axis != batch_axis
        for index, batch_axis in baseline.judged()
        for axis, size in enumerate(baseline.normal[index].shape)
    )


def _feeds_back(baseline: Baseline, calls: Sequence[Event]) -> bool:
    """Say whether two calls or more return something that the next input depends on."""
    tried = range(min(len(calls) - 1, TRIED))
    hits = (call for call in tried if _changes_next(baseline, calls, call))
    return next(hits, None) is not None and next(hits, None) is not None


def _changes_next(baseline: Baseline, calls: Sequence[Event], number: int) -> bool:
    """Say whether the input after a call changes with what that call returns."""
    seen: dict[int, Tensor] = {}

    def note(at: int, args: Any, kwargs: Any) -> None:
        seen[at] = named_arguments(args, kwargs)["input"].clone()

    def turn(at: int, output: Any) -> Any:
        return pytree.tree_map_only(Tensor, torch.neg, output) if at == number else output

    watch = each_call(calls[0].name, note, turn)
    baseline.session.attempt(baseline.batch.tree(), watch=watch)
    after = seen.get(number + 1)
    return after is not None and not torch.equal(after, calls[number + 1].tensors[0])
