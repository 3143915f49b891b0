"""Suspects among the functions of a run: a wrong axis, a wrong index, another order of rows.

Each is tried: a copy of the model runs with the right call in its place.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnnkit._diagnostics.explain.causes import Cause
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.run.events import Event
from rnnkit._diagnostics.run.outputs import Watch, all_of
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch, user_place
from rnnkit._diagnostics.tell.outcome import Line

#: Functions and modules that keep a shape and work along one axis, ``dim``.
ALONG_ONE_AXIS = ("softmax", "log_softmax")
ONE_AXIS_MODULES = (nn.Softmax, nn.LogSoftmax)


#: Runs a call of a function, or something in its place.
Run = Callable[[FunctionCall], Any]


def suspects_in(event: Event) -> Iterator[Cause]:
    """Yield what may be wrong with a function, and the right call in its place.

    ``event`` is a call of a function in a run of the model.
    """
    if event.kind != "function":
        return
    if event.name in ("__getitem__", "__setitem__"):
        yield from _flags_as_index(event)
    elif event.name in ("repeat_interleave", "repeat"):
        yield from _other_order(event)
    elif event.name in ("masked_fill", "masked_fill_"):
        yield from _mask_of_keys(event)


def is_along_one_axis(event: Event) -> bool:
    """Return whether an event, a call in a run of the model, is a softmax.

    It may be a function or a module: it works along one axis, and keeps the shape.
    """
    is_module = event.kind == "output" and isinstance(event.module, ONE_AXIS_MODULES)
    return is_module or (event.kind == "function" and event.name in ALONG_ONE_AXIS)


def joins_one_tensor(event: Event) -> list[Line]:
    """Return the cause and the fix if a call of ``stack`` or ``cat`` joins one tensor with itself.

    In a loop that writes its state in place, every member of the list is the last state. Other
    events give no rows.
    """
    if event.kind != "function" or event.name not in ("stack", "cat"):
        return []
    members = event.function.argument(0, "tensors")
    if not isinstance(members, list | tuple) or len(members) < 2:
        return []
    if len({id(member) for member in members}) > 1:
        return []
    what = f"all {len(members)} members are one tensor, with the numbers it was given last"
    return [("cause", what), ("fix", "outputs.append(h.clone()), if h is written in place")]


class _Replacing(FunctionWatch):
    """Runs ``run(call)`` wherever the model calls a function at the place of an event."""

    def __init__(self, event: Event, run: Run, *, anyhow: bool) -> None:
        """Take the event, what runs in its place, and whether calls of other sizes count."""
        super().__init__()
        self._event = event
        self._run = run
        self._anyhow = anyhow

    def on_call(self, call: FunctionCall) -> Any:
        """Run what replaces a call, if it is that of the event: by its name, place and sizes."""
        event = self._event
        if call.name != event.name or user_place() != event.place:
            return call.run()
        is_same = self._anyhow or call.in_words() == event.text
        return self._run(call) if is_same else call.run()


def _instead(event: Event, run: Run, *, anyhow: bool = False) -> Watch:
    """Return a watch, which puts hooks on a copy, that runs something else in place of a call.

    With ``anyhow``, the same line may call the function with other sizes.
    """
    return lambda model: _Replacing(event, run, anyhow=anyhow).watch(model)


def is_over_one_number(event: Event) -> bool:
    """Return whether a call in a run is a softmax over an axis of size 1, which returns ones."""
    if not is_along_one_axis(event) or not isinstance(event.tensors[0], Tensor):
        return False
    result = event.tensors[0]
    return result.numel() > 1 and result.shape[_axis_of(event)] == 1


def _axis_of(event: Event) -> int:
    """Return the axis that the softmax of an event is over."""
    dim: Any = event.function.argument(1, "dim") if event.kind == "function" else event.module.dim
    rank: int = event.tensors[0].dim()
    if dim is None:  # then torch takes axis 0 of one or three axes, and axis 1 of two or four
        return 0 if rank in (1, 3) else 1
    return int(dim % rank)


def other_axes(event: Event, along: str) -> Iterator[Cause]:
    """Yield, as causes to try, a softmax over each other axis, the last one first.

    ``event`` is the call of the softmax in a run, and ``along`` says what is along the axis that it
    is over: samples or steps. The last axis usually has the features.
    """
    [result, *_] = event.tensors
    if not isinstance(result, Tensor):
        return
    is_function = event.kind == "function"
    rank = result.dim()
    dim = _axis_of(event)
    for axis in reversed(range(rank)):
        if axis == dim or result.shape[axis] == 1:
            continue
        name = event.name if is_function else event.text
        where = "the last axis" if axis == rank - 1 else f"axis {axis}"
        yield Cause(
            f"this {name} is over axis {dim}, where the {along} are",
            f"{name}(dim={axis}), over {where}",
            _function_along(event, axis) if is_function else _module_along(event, axis),
        )


def other_views(event: Event, along: str) -> Iterator[Cause]:
    """Yield, as causes to try, a transpose before a view, or after a view with two sizes exchanged.

    ``event`` is the call of the view in a run of the model; ``along`` says of what its rows have
    numbers of several: samples or steps. Each cause has a watch that runs a copy of the model so.
    """
    if not _is_view(event):
        return
    [given, *_] = event.function.args
    [result, *_] = event.tensors
    what = f"this {event.name} swaps no axes: its rows mix numbers of several {along}"
    for one, other in combinations(range(given.dim()), 2):
        moved = f"x.transpose({one}, {other})"
        undo = _instead(event, _transposed_before(one, other))
        yield Cause(
            what, f"{moved}.reshape(...) instead of this {event.name}, with its sizes", undo
        )
    for one in range(result.dim() - 1):
        other = one + 1
        sizes = [str(size) for size in result.shape[: other + 1]]
        sizes[one:] = reversed(sizes[one:])
        exchanged = f"x.reshape({', '.join(sizes)}, ...)"
        moved = f".transpose({one}, {other})"
        fix = f"{exchanged}{moved} instead of this {event.name}"
        undo = _instead(event, _transposed_after(one, other))
        yield Cause(what, f"{fix}; if a {moved} follows it, {exchanged} instead of both", undo)


def pairs_of_views(event: Event, later: Sequence[Event]) -> Iterator[Cause]:
    """Yield, as causes to try, two views exchanged: one joins axes, and a later one splits them.

    ``event`` is the call of a view, and ``later`` are the calls after it in a run. The first two
    axes have to change places before the one, and after the other.
    """
    if not _is_view(event):
        return
    for other in later:
        if not _is_view(other) or other.is_in_call:
            continue
        for joins, splits in ((event, other), (other, event)):
            undo = all_of(
                _instead(joins, _transposed_before(0, 1)),
                _instead(splits, _transposed_after(0, 1)),
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
    return event.kind == "function" and event.name in ("view", "reshape", "flatten")


def _transposed_before(one: int, other: int) -> Run:
    """Return what runs in place of a view: the same on the tensor with two axes exchanged."""
    return lambda call: call.args[0].transpose(one, other).reshape(call.run().shape)


def _transposed_after(one: int, other: int) -> Run:
    """Return what runs in place of a view.

    It exchanges two sizes of the result, and then two axes.
    """

    def run(call: FunctionCall) -> Any:
        """Return a view of the exchanged sizes whose two axes then change places."""
        shape = call.run().transpose(one, other).shape
        return call.args[0].reshape(shape).transpose(one, other).contiguous()

    return run


def _function_along(event: Event, axis: int) -> Watch:
    """Return a watch that, on a copy of the model, runs an event's function over another axis."""
    return _instead(event, lambda call: call.run_with(1, "dim", axis))


def _module_along(event: Event, axis: int) -> Watch:
    """Return a watch that, on a copy of the model, lets a softmax module work over another axis.

    ``event`` is a call of that module in a run.
    """

    def watch(model: nn.Module) -> list[Any]:
        """Set the axis of the module in a copy, and put on no hooks."""
        copied: Any = model.get_submodule(event.owner)  # of a copy, which runs once
        copied.dim = axis
        return []

    return watch


def _flags_as_index(event: Event) -> Iterator[Cause]:
    """Yield, as a cause to try, an index by booleans for one by integers that are all 0 or 1.

    ``event`` is a call ``x[index]`` in a run: such integers were meant for a mask, and pick rows 0
    and 1. The cause has a watch that runs a copy of the model with booleans there.
    """
    index = event.function.argument(1, "indices")
    parts = index if isinstance(index, tuple) else (index,)
    if not any(_is_flags(part) for part in parts):
        return

    def run(call: FunctionCall) -> Any:
        """Index with booleans in place of such integers."""
        index = call.args[1]
        parts = index if isinstance(index, tuple) else (index,)
        masked = tuple(part.bool() if _is_flags(part) else part for part in parts)
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
    repeated = _repeated(event.function)
    if repeated is None:
        return
    times, axis, rank = repeated
    is_whole = event.name == "repeat"  # all rows, one copy after another
    fix = f"repeat_interleave({times}, {axis})"
    orders = "0 1 2 0 1 2, the other input as 0 0 1 1 2 2"
    if not is_whole:
        orders = "0 0 1 1 2 2, the other input as 0 1 2 0 1 2"
        fix = f"repeat({', '.join(str(times if k == axis else 1) for k in range(rank))})"

    def run(call: FunctionCall) -> Any:
        """Repeat the rows in the other order."""
        here = _repeated(call)
        if here is None:
            return call.run()
        rows = call.args[0]
        if is_whole:
            return rows.repeat_interleave(here.times, here.axis)
        return torch.cat([rows] * here.times, here.axis)

    what = f"{event.text} at {event.place} orders the rows as {orders}"
    yield Cause(what, f"{fix} there", _instead(event, run, anyhow=True))


class _Repeated(NamedTuple):
    """What a call of ``repeat`` or ``repeat_interleave`` does.

    Attributes:
        times: how often each row is there afterwards.
        axis: the axis that has the rows.
        rank: how many axes the tensor has.
    """

    times: int
    axis: int
    rank: int


def _repeated(call: FunctionCall) -> _Repeated | None:
    """Return what a call of ``repeat`` or ``repeat_interleave`` repeats.

    None if that is not one axis, each of whose rows is there as often afterwards.
    """
    rank = call.args[0].dim()
    if call.name == "repeat_interleave":
        times = call.argument(1, "repeats")
        axis = call.argument(2, "dim")
        if not isinstance(times, int) or not isinstance(axis, int):
            return None
        return _Repeated(times, axis % rank, rank)
    sizes = call.args[1:]
    axes = [axis for axis, times in enumerate(sizes) if times != 1]
    if len(sizes) != rank or len(axes) != 1:
        return None
    return _Repeated(sizes[axes[0]], axes[0], rank)


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
    is_square = rows == columns > 1
    if is_square:
        # The mask is (..., queries, keys): below the diagonal are the keys before a query.
        hides_earlier = bool(mask.tril(-1).any())
        hides_later = bool(mask.triu(1).any())
        if hides_later or not hides_earlier:
            return  # a causal mask as it should be, or one of something else
    elif columns != 1:  # a mask over keys has them on its last axis; of one, it is over queries
        return

    def run(call: FunctionCall) -> Any:
        """Mask with the last two axes of the mask exchanged."""
        return call.run_with(1, "mask", call.argument(1, "mask").mT)

    what = f"the mask at {event.place} is over the queries of the scores, not over the keys"
    fix = "mask.unsqueeze(1), over the last axis of the scores"
    if is_square:
        what = f"the mask at {event.place} is transposed: it hides the earlier keys of each query"
        fix = "mask.mT, with the keys on the last axis"
    yield Cause(what, fix, _instead(event, run))
