"""A loop that feeds an output back, and gives each step the state of the first one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.module_calls import each_call, named_arguments
from rnnkit._diagnostics.probes.afresh import calls_of, would_matter
from rnnkit._diagnostics.report import Line, fail

#: Fewer calls may be anything, as two tries from one state.
CALLS = 3

#: So many calls are tried: a token may stay, whatever the numbers behind it are.
TRIED = 8


def find_held_state(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a module that goes on from its own output, and not from its own state.

    Calls from one state are right where they are alternatives, as an action and another one, or
    refine one result. Here each depends on what the one before returned, and the model returns one
    step for each, so that they are steps of one sequence.

    Raises:
        LeakError: if there is one.
    """
    for name, calls in calls_of(events).items():
        if len(calls) < CALLS or not _is_held(calls) or not _collects(baseline, len(calls)):
            continue
        if not _feeds_back(baseline, calls) or not would_matter(baseline, name):
            continue
        kind = type(calls[0].module).__name__
        what = f"{name} ({kind}) is called {len(calls)} times, each time with the state of call 0"
        text = "its next input depends on what it returned, and its next state does not"
        fix = "y, state = layer(x, state), or state = cell(x, state), in the loop"
        rows: list[Line] = [("evidence", text), ("fix", fix)]
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
