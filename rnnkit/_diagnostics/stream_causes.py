"""Where chunks part from the whole: the first module, and why, if undoing that is a cure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.judge import near
from rnnkit._diagnostics.locate import Location
from rnnkit._diagnostics.module_calls import KINDS, each_call, from_state
from rnnkit._diagnostics.outputs import leaves
from rnnkit._diagnostics.report import Line
from rnnkit._diagnostics.streams import Stream


class _Call(NamedTuple):
    """A call in the whole run, and what stands for it in the first two chunks.

    Attributes:
        whole: what came out of it, or went in.
        parts: the same of the chunks: of both, where each makes this call with fewer steps; of
            one, where a call is a step.
        number: which of the module's calls it is in the last of these chunks.
        is_second: whether that is the second chunk.
    """

    whole: Event
    parts: tuple[Event, ...]
    number: int
    is_second: bool


def find_break(stream: Stream) -> Location:
    """Find the first module whose output in chunks is another one than in the whole."""
    session = stream.baseline.session
    if isinstance(session.model, torch.jit.ScriptModule) or len(stream.given) < 2:
        return Location("", ())
    try:
        whole = stream.baseline.events
        first, second = (record(session, given) for given in stream.given[:2])
    except Exception:  # noqa: BLE001 - a model may refuse to be watched
        return Location("", ())
    for call in _calls(stream, whole, first, second):
        if _differs(stream, call):
            event = call.whole
            where = f"{event.label} ({event.class_name}), {event.kind}"
            rows: list[Line] = [("first", where)]
            if event.kind == "output" and isinstance(event.module, KINDS):
                rows += _cause(stream, call, first)
            return Location(event.name, tuple(rows))
    return Location("", ())


def _calls(
    stream: Stream, whole: list[Event], first: list[Event], second: list[Event]
) -> Iterator[_Call]:
    """Yield the calls of the whole run for which there are some in the chunks, in order."""
    ones, twos = _by_call(first), _by_call(second)
    all_of, seen = _by_call(whole), Counter[tuple[str, str]]()
    covered, steps = sum(stream.sizes[:2]), sum(stream.sizes)
    for event in whole:
        key = event.kind, event.name
        at = seen[key]
        seen[key] += 1
        one, two = ones[key], twos[key]
        if len(all_of[key]) == len(one) == len(two):
            yield _Call(event, (one[at], two[at]), at, is_second=True)
        elif len(all_of[key]) * covered == (len(one) + len(two)) * steps:
            if at < len(one):
                yield _Call(event, (one[at],), at, is_second=False)
            elif at < len(one) + len(two):
                yield _Call(event, (two[at - len(one)],), at - len(one), is_second=True)


def _by_call(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        found[event.kind, event.name].append(event)
    return found


def _differs(stream: Stream, call: _Call) -> bool:
    """Return whether what came out of a call, joined from the chunks, is another one."""
    parts = [part.tensors[0] if part.tensors else None for part in call.parts]
    pairs = _joined(stream, call.whole, parts)
    return bool(pairs) and not any(near(stream.baseline, *pair) for pair in pairs)


def _joined(stream: Stream, whole: Event, parts: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
    """Return what came out of a call, and the same from the chunks; nothing if they do not fit.

    Where samples and steps are on one axis, it is not known which go first: there is a pair for
    each order.
    """
    one: Any = whole.tensors[0] if whole.tensors else None
    if not is_number(one) or not all(map(is_number, parts)):
        return []
    if len(parts) == 1:
        return [(one, parts[0])] if one.shape == parts[0].shape else []
    if any(part.dim() != one.dim() for part in parts):
        return []
    other = [
        axis
        for axis, size in enumerate(one.shape)
        if any(part.shape[axis] != size for part in parts)
    ]
    if len(other) != 1 or one.shape[other[0]] < sum(part.shape[other[0]] for part in parts):
        return []
    (axis,), steps = other, sum(stream.sizes)
    each = one.shape[axis] // steps
    sizes = [each * size for size in stream.sizes[: len(parts)]]
    if one.shape[axis] != each * steps or [part.shape[axis] for part in parts] != sizes:
        joined = torch.cat(list(parts), axis)
        return [(one.narrow(axis, 0, joined.shape[axis]), joined)]
    pairs = []
    for outer in (rows for rows in range(1, each + 1) if each % rows == 0):
        apart = [tensor.unflatten(axis, (outer, -1, each // outer)) for tensor in (one, *parts)]
        joined = torch.cat(apart[1:], axis + 1)
        pairs.append((apart[0].narrow(axis + 1, 0, joined.shape[axis + 1]), joined))
    return pairs


def _cause(stream: Stream, call: _Call, first: list[Event]) -> list[Line]:
    """Give the module the state that it returned for the first chunk, and look whether it helps."""
    if not call.is_second or (len(call.parts) == 1 and call.number):
        return []
    event, name = call.whole, call.whole.name
    returned = [one for one in first if (one.kind, one.name) == ("output", name)]
    if not returned:
        return []
    is_layer = isinstance(event.module, RNNBase)
    last = returned[call.number if len(call.parts) > 1 else -1]
    state = last.tensors[1:] if is_layer else last.tensors
    # A layer of a subclass may return its output alone.
    cured = _with_state(stream, name, call.number, state) if state else None
    pairs = _joined(stream, event, [*(part.tensors[0] for part in call.parts[:-1]), cured])
    if cured is None or not pairs:
        return []
    if any(near(stream.baseline, *pair) for pair in pairs):
        text = f"{event.label} does not start the second chunk from the state that it returned"
        return [("cause", text), ("fix", "y, state = layer(x, state), and return that state")]
    half = event.tensors[0].shape[-1] // 2
    halves = [[tensor[..., :half] for tensor in pair] for pair in pairs]
    if getattr(event.module, "bidirectional", False) and any(
        near(stream.baseline, *pair) for pair in halves
    ):
        text = f"{event.label} is bidirectional: its backward direction reads the chunks to come"
        return [("cause", text), ("fix", f"{event.class_name}(..., bidirectional=False)")]
    return []


def _with_state(stream: Stream, name: str, number: int, state: list[Any]) -> Tensor | None:
    """Run the second chunk, one call of a module started from a state; return its output."""
    given: Any = tuple(state) if len(state) > 1 else state[0]
    found: list[Any] = []

    def start(at: int, args: Any, kwargs: Any) -> Any:
        return from_state(args, kwargs, given) if at == number else None

    def keep(at: int, output: Any) -> None:
        if at == number:
            found.extend(leaves(output)[:1])

    stream.baseline.session.attempt(stream.given[1], watch=each_call(name, start, keep))
    return found[0] if found else None
