"""Suspects among the functions of a run: a wrong axis, a wrong index, another order of rows.

Each is tried: a copy of the model runs with the right call in its place.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.explain.causes import Cause
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.run.events import Event
from rnnkit._diagnostics.run.outputs import Watch, all_of
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch, user_place
from rnnkit._diagnostics.tell.outcome import Line

#: Functions that keep a shape and normalize numbers along one axis, ``dim``.
ALONG_ONE_AXIS = ("softmax", "log_softmax")

#: Runs a call of a function, or something in its place.
Run = Callable[[FunctionCall], Any]


def suspects_in(event: Event) -> Iterator[Cause]:
    """Yield what may be wrong with a function, and the right call in its place.

    ``event`` is a call of a function in a run of the model.
    """
    if event.is_call_of("__getitem__", "__setitem__"):
        yield from _flags_as_index(event)
    elif event.is_call_of("repeat_interleave", "repeat"):
        yield from _other_order(event)
    elif event.is_call_of("masked_fill", "masked_fill_"):
        yield from _mask_of_keys(event)


def suspects_that_mix(
    event: Event, along: str, samples: int, later: Sequence[Event]
) -> Iterator[Cause]:
    """Yield what may be wrong with a call that mixes samples, or steps: its axis, or a view.

    ``event`` is the call in a run of the model, and ``later`` are the calls after it; ``along`` is
    what it mixes in words, samples or steps. ``samples`` is how many samples the run has.
    """
    if event.is_call_of(*ALONG_ONE_AXIS):
        yield from _other_axes(event, along, samples)
    elif _is_view(event):
        yield from _other_views(event, along)
        yield from _pairs_of_views(event, later)


def joins_one_tensor(event: Event) -> list[Line]:
    """Return the cause and the fix if a call of ``stack`` or ``cat`` joins one tensor with itself.

    In a loop that writes its state in place, every member of the list is the last state. Other
    events give no rows.
    """
    if not event.is_call_of("stack", "cat") or len(event.consumed) > 1:
        return []
    members = event.function.argument(0, "tensors")
    if len(members) < 2:
        return []
    what = f"all {len(members)} members are one tensor, with the numbers it was given last"
    return [("cause", what), ("fix", "outputs.append(h.clone()), if h is written in place")]


def _instead(event: Event, run: Run, *, anyhow: bool = False) -> Watch:
    """Return a watch, which puts hooks on a copy, that runs something else in place of a call.

    That is a call of the event's function at the event's place, with the same sizes; with
    ``anyhow``, of any sizes.
    """

    class Replacing(FunctionWatch):
        """Runs each call that is the event's in the other way."""

        def on_call(self, call: FunctionCall) -> Any:
            """Return what a call returns, or what runs in its place."""
            is_there = call.name == event.name and user_place() == event.place
            if is_there and (anyhow or call.in_words() == event.text):
                return run(call)
            return call.run()

    return Replacing().watch


def is_over_one_number(event: Event) -> bool:
    """Return whether a call in a run is a softmax over an axis of size 1, which returns ones."""
    if not event.is_call_of(*ALONG_ONE_AXIS):
        return False
    result: Tensor = event.tensors[0]
    return result.numel() > 1 and result.shape[_axis_of(event)] == 1


def _axis_of(event: Event) -> int:
    """Return the axis that the softmax of an event is over."""
    dim: Any = event.function.argument(1, "dim")
    rank: int = event.tensors[0].dim()
    if dim is None:  # then torch takes axis 0 of one or three axes, and axis 1 of two or four
        return 0 if rank in (1, 3) else 1
    return int(dim % rank)


def _other_axes(event: Event, along: str, samples: int) -> Iterator[Cause]:
    """Yield, as causes to try, a softmax over each other axis, the last one first.

    ``event`` is the call of the softmax in a run, and ``along`` says what is along the axis that it
    is over: samples or steps. The last axis usually has the features. A softmax over the steps is
    never moved to the axis of the samples, which has the size ``samples``.
    """
    sizes = event.tensors[0].shape
    dim = _axis_of(event)
    for axis in reversed(range(len(sizes))):
        is_last = axis == len(sizes) - 1
        if along == "steps" and sizes[axis] == samples and not is_last:
            continue
        if axis == dim or sizes[axis] == 1:
            continue
        where = "the last axis" if is_last else f"axis {axis}"
        yield Cause(
            f"this {event.name} is over axis {dim}, where the {along} are",
            f"{event.name}(dim={axis}), over {where}",
            _instead(event, partial(FunctionCall.run_with, place=1, name="dim", other=axis)),
        )


def _other_views(event: Event, along: str) -> Iterator[Cause]:
    """Yield, as causes to try, a transpose before a view, or after a view with two sizes exchanged.

    ``event`` is the call of the view in a run of the model; ``along`` says of what its rows have
    numbers of several: samples or steps. Each cause has a watch that runs a copy of the model so.
    """
    given, *_ = event.function.args
    result, *_ = event.tensors
    what = f"this {event.name} swaps no axes: its rows mix numbers of several {along}"
    for axis in range(given.dim() - 1):
        fix = f"x.transpose({axis}, {axis + 1}).reshape(...) instead of this {event.name}"
        yield Cause(what, f"{fix}, with its sizes", _instead(event, _transposed_before(axis)))
    for axis in range(result.dim() - 1):
        sizes = [*map(str, result.shape[: axis + 2])]
        sizes[axis:] = reversed(sizes[axis:])
        exchanged = f"x.reshape({', '.join(sizes)}, ...)"
        moved = f".transpose({axis}, {axis + 1})"
        fix = f"{exchanged}{moved} instead of this {event.name}"
        undo = _instead(event, _transposed_after(axis))
        yield Cause(what, f"{fix}; if a {moved} follows it, {exchanged} instead of both", undo)


def _pairs_of_views(event: Event, later: Sequence[Event]) -> Iterator[Cause]:
    """Yield, as causes to try, two views exchanged: one joins axes, and a later one splits them.

    ``event`` is the call of a view, and ``later`` are the calls after it in a run. The first two
    axes have to change places before the one, and after the other.
    """
    for other in filter(_is_view, later):
        for joins, splits in ((event, other), (other, event)):
            undo = all_of(
                _instead(joins, _transposed_before(0)),
                _instead(splits, _transposed_after(0)),
            )
            yield Cause(
                f"{joins.text} at {joins.place} and {splits.text} at {splits.place} "
                "only regroup the values: they do not swap axes",
                f"at {joins.place}: x.transpose(0, 1).reshape(...); at {splits.place}: "
                "swap sizes 0 and 1, then add .transpose(0, 1).contiguous()",
                undo,
            )


def _is_view(event: Event) -> bool:
    """Return whether an event is a function that splits or joins axes."""
    return event.is_call_of("view", "reshape", "flatten")


def _transposed_before(axis: int) -> Run:
    """Return what runs in place of a view: the same, two neighbouring axes exchanged before."""
    return lambda call: call.args[0].transpose(axis, axis + 1).reshape(call.run().shape)


def _transposed_after(axis: int) -> Run:
    """Return what runs in place of a view.

    It exchanges two sizes of the result, that of an axis and the next one, and then the two axes.
    """

    def run(call: FunctionCall) -> Any:
        """Return a view of the exchanged sizes whose two axes then change places."""
        shape = call.run().transpose(axis, axis + 1).shape
        return call.args[0].reshape(shape).transpose(axis, axis + 1).contiguous()

    return run


def _flags_as_index(event: Event) -> Iterator[Cause]:
    """Yield, as a cause to try, an index by booleans for one by integers that are all 0 or 1.

    ``event`` is a call ``x[index]`` in a run: such integers were meant for a mask, and pick rows 0
    and 1. The cause has a watch that runs a copy of the model with booleans there.
    """
    if not any(map(_is_flags, pytree.tree_leaves(event.function.args[1:]))):
        return

    def run(call: FunctionCall) -> Any:
        """Index with booleans in place of such integers."""
        masked = pytree.tree_map(lambda x: x.bool() if _is_flags(x) else x, call.args[1])
        return call.run_with(1, "indices", masked)

    what = f"the index at {event.place} is a mask of integers: it picks rows 0 and 1"
    yield Cause(what, "x[flags.bool()], which picks the flagged rows", _instead(event, run))


def _is_flags(part: Any) -> bool:
    """Return whether a part of an index is a tensor of integers that are all 0 or 1."""
    is_integer = isinstance(part, Tensor) and part.dtype in (torch.int64, torch.int32)
    return is_integer and part.dim() > 0 and is_binary(part)


def _other_order(event: Event) -> Iterator[Cause]:
    """Yield, as a cause to try, repeated rows in the other order.

    ``event`` is a call in a run: ``repeat_interleave`` has the copies of a row side by side,
    ``repeat`` all rows one copy after another.
    """
    given = event.function.args[0]
    repeated = _repeated(given, event.tensors[0])
    if repeated is None:
        return
    axis, times = repeated
    is_whole = event.name == "repeat"  # all rows, one copy after another
    fix = f"repeat_interleave({times}, {axis})"
    orders = "0 1 2 0 1 2, the other input as 0 0 1 1 2 2"
    if not is_whole:
        orders = "0 0 1 1 2 2, the other input as 0 1 2 0 1 2"
        fix = f"repeat({', '.join(str(times if k == axis else 1) for k in range(given.dim()))})"

    def run(call: FunctionCall) -> Any:
        """Repeat the rows in the other order."""
        rows = call.args[0]
        result = call.run()
        here = _repeated(rows, result)
        if here is None:
            return result
        axis, times = here
        return rows.repeat_interleave(times, axis) if is_whole else torch.cat([rows] * times, axis)

    what = f"{event.text} at {event.place} orders the rows as {orders}"
    yield Cause(what, f"{fix} there", _instead(event, run, anyhow=True))


def _repeated(rows: Tensor, result: Tensor) -> tuple[int, int] | None:
    """Return the axis along which each row of a tensor is there several times, and how often.

    None if that is not one axis, or not the same for each row. ``result`` has the repeated rows.
    """
    if rows.dim() != result.dim():
        return None
    axes = [axis for axis, size in enumerate(rows.shape) if result.shape[axis] != size]
    if len(axes) != 1:
        return None
    [axis] = axes
    times, rest = divmod(result.shape[axis], rows.shape[axis])
    return None if rest else (axis, times)


def _mask_of_keys(event: Event) -> Iterator[Cause]:
    """Yield, as a cause to try, the mask of an attention with its last two axes exchanged.

    ``event`` is a call of ``masked_fill`` in a run. Scores have the queries on the last axis but
    one, and the keys, which a mask hides, on the last. Nothing is yielded of a mask that hides
    later keys, as a causal one should.
    """
    mask = event.function.argument(1, "mask")
    if not isinstance(mask, Tensor) or mask.dim() < 2:
        return
    rows, columns = mask.shape[-2:]
    # The mask is (..., queries, keys): above the diagonal are later keys, which it may hide.
    if columns != 1 and (rows != columns or mask.triu(1).any()):
        return

    def run(call: FunctionCall) -> Any:
        """Mask with the last two axes of the mask exchanged."""
        return call.run_with(1, "mask", call.argument(1, "mask").mT)

    what = f"the mask at {event.place} is over the queries of the scores, not over the keys"
    yield Cause(what, "mask.mT, with the keys on the last axis", _instead(event, run))
