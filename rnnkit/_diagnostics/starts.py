"""What each recurrent call starts from, by value, and what is wrong if undoing it shows."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import LSTM, LSTMCell, RNNBase, RNNCellBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import length
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.lengths import is_binary
from rnnkit._diagnostics.module_calls import KINDS, each_call, from_state, named_arguments
from rnnkit._diagnostics.report import Line, fail

#: Fewer calls may be anything, as two tries from one state.
CALLS = 3

#: So many calls are turned: a token may stay, whatever the numbers behind it are.
TRIED = 8

FIX = ("fix", "y, state = layer(x, state), or state = cell(x, state), in the loop")


class Call(NamedTuple):
    """A call of a layer or cell: the events, the tensors of its input and state, and its result."""

    event: Event
    after: list[Event]
    input: Any
    state: list[Any]

    @property
    def returned(self) -> list[Any]:
        """The tensors that it returned, the state last."""
        return self.after[0].tensors if self.after else []


def calls_in(events: Sequence[Event]) -> list[Call]:
    """Return the calls of layers and cells, in the order of time."""
    calls: list[Call] = []
    last: dict[str, Call] = {}
    for event in events:
        if isinstance(event.module, KINDS):
            if event.kind == "output":
                last[event.name].after.append(event)
                continue
            input, *state = event.tensors or [None]
            last[event.name] = Call(event, [], input, state)
            calls.append(last[event.name])
    return calls


def by_name(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """Return the calls of each module."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.event.name].append(call)
    return found


def are_equal(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two lists hold equal tensors."""
    return len(ones) == len(others) and all(map(torch.equal, ones, others))


def find_wrong_starts(baseline: Baseline, events: Sequence[Event]) -> None:
    """Fail if calls start from what they should not, and a different output comes if undone."""
    order = calls_in(events)
    _find_mistaken_members(order)
    for name, calls in by_name(order).items():
        kind, count = calls[0].event.class_name, len(calls)
        if count < CALLS or any(call.event.is_packed for call in calls):
            continue
        rows: list[Line] = []
        what = ""
        if _are_from_zeros(baseline, name, calls):
            lost_c = any(map(_has_h, calls))
            start, given = ("with zeros for c", "a c of zeros") if lost_c else ("afresh", "")
            text = f"each call is given {given or 'no state or zeros'}"
            rows = [("evidence", f"{text}: what one step returned is not passed on"), FIX]
            what = f"is called for {count} steps, and starts each of them {start}"
        elif _are_from_the_first(baseline, calls):
            text = "its next input depends on what it returned, and its next state does not"
            rows = [("evidence", text), FIX]
            what = f"is called {count} times, each time with the state of call 0"
        elif all(map(_loses_c, calls, calls[1:])):
            rows = [("fix", "y, (h, c) = layer(x, (h, c)): both are the state")]
            what = "is given the h that it returned, and zeros for c, each time"
        if rows:
            output = baseline.session.attempt(baseline.batch.tree(), watch=pass_on(baseline, name))
            if output is not None and not alike(baseline.normal, output):
                fail("use", f"{name} ({kind}) {what}", rows, name)


def pass_on(baseline: Baseline, name: str) -> Watch:
    """Return what passes the state of a module along from call to call."""
    is_layer = isinstance(baseline.session.model.get_submodule(name), RNNBase)
    returned: list[Any] = []

    def start(at: int, args: Any, kwargs: Any) -> Any:
        return from_state(args, kwargs, returned[-1]) if at else None

    def keep(_: int, output: Any) -> None:
        returned.append(output[1] if is_layer else output)

    return each_call(name, start, keep)


def _find_mistaken_members(order: Sequence[Call]) -> None:
    """Find a state whose h and c are swapped, or which is the output of a different cell."""
    last: dict[str, Call] = {}
    for call in order:
        label, name, state = call.event.label, call.event.name, call.state
        for source in last.values() if all(map(is_number, [call.input, *state])) else ():
            made, from_ = source.returned[-2:], source.event.label
            if not all(map(is_number, made)):
                continue
            is_pair = len(made) == 2 and _has_c(call) and _has_c(source)
            if is_pair and are_equal(state, made[::-1]) and not torch.equal(*made):
                what = f"{label} takes the c of {from_} as its h, and the h as its c"
                text = "output, (h, c) = layer(input): h comes first, as in hx=(h, c)"
                fail("use", what, [("fix", text)], name)
            kinds = call.event.module, source.event.module
            are_cells = all(isinstance(one, RNNCellBase) for one in kinds)
            if are_cells and from_ != label and state and bool(made[0].any()):
                h = source.returned[0]
                if torch.equal(call.input, h) and torch.equal(state[0], h):
                    text = f"takes the output of {from_} as its input, and as its state, too"
                    rows = [("fix", "a state for each cell: h[0], h[1]")]
                    fail("use", f"{label} {text}", rows, name)
        last[name] = call


def _has_c(call: Call) -> bool:
    return isinstance(call.event.module, LSTM | LSTMCell)


def _has_h(call: Call) -> bool:
    """Return whether a call is given a state that is not zero, which is then h."""
    return any(is_number(leaf) and bool(leaf.any()) for leaf in call.state)


def _are_from_zeros(baseline: Baseline, name: str, calls: Sequence[Call]) -> bool:
    """Return whether calls are one step of an input each, and all start from zeros."""
    batch = baseline.batch
    tensors = [leaf for leaf in batch.leaves if isinstance(leaf, Tensor) and leaf.dim()]
    if any(1 in leaf.shape or is_binary(leaf) for leaf in tensors):
        return False
    if baseline.report.found("memory") or not all(map(_is_first, calls)):
        return False
    if not baseline.runs_on_less or len(calls) not in {
        length(leaf, batch.seq_dim) for leaf in tensors
    }:
        return False
    # A memory with a place for each of many continues one if all integers are alike.
    same = [
        leaf.narrow(batch.seq_dim, 0, 1).expand_as(leaf).clone()
        if batch.may_have_steps(index) and leaf.dtype in (torch.int64, torch.int32)
        else leaf
        for index, leaf in enumerate(batch.leaves)
    ]
    if all(one is leaf for one, leaf in zip(same, batch.leaves, strict=True)):
        return True
    try:
        again = by_name(calls_in(record(baseline.session, batch.tree(same))))[name]
    except Exception:  # noqa: BLE001 - it may refuse that as it likes
        return True
    return all(map(_is_first, again))


def _is_first(call: Call) -> bool:
    """Return whether one step goes in, and no state with it but zeros; of an LSTM, c of zeros."""
    input, module = call.input, call.event.module
    if not isinstance(input, Tensor) or call.event.is_packed:
        return False
    if isinstance(module, RNNBase):
        seq = 1 if module.batch_first else 0
        if input.dim() != 3 or input.shape[seq] != 1:
            return False
    rest = call.state[1:] if _has_c(call) and len(call.state) > 1 else call.state
    return all(leaf is None or (is_number(leaf) and not leaf.any()) for leaf in rest)


def _are_from_the_first(baseline: Baseline, calls: Sequence[Call]) -> bool:
    """Return whether calls are steps of one sequence, and all start from one state.

    Calls from one state are right where they are alternatives, or refine one result. Here two
    inputs depend on what the call before returned, and an output has a step for each call, or one
    more, with which it began.
    """
    first = calls[0]
    if not all(is_number(leaf) for call in calls for leaf in (call.input, *call.state)):
        return False
    if not _has_h(first) or not all(are_equal(call.state, first.state) for call in calls):
        return False
    shapes = ((baseline.normal[k].shape, batch_axis) for k, batch_axis in baseline.judged())
    sizes = {size for shape, at in shapes for axis, size in enumerate(shape) if axis != at}
    if not sizes & {len(calls), len(calls) + 1}:
        return False
    hits = (k for k in range(min(len(calls) - 1, TRIED)) if _changes_next(baseline, calls, k))
    return next(hits, None) is not None and next(hits, None) is not None


def _changes_next(baseline: Baseline, calls: Sequence[Call], number: int) -> bool:
    """Return whether the input after a call changes with what that call returns."""
    seen: dict[int, Tensor] = {}

    def keep(at: int, args: Any, kwargs: Any) -> None:
        seen[at] = named_arguments(args, kwargs)["input"].clone()

    def turn(at: int, output: Any) -> Any:
        return pytree.tree_map_only(Tensor, torch.neg, output) if at == number else output

    watch = each_call(calls[0].event.name, keep, turn)
    baseline.session.attempt(baseline.batch.tree(), watch=watch)
    after = seen.get(number + 1)
    return after is not None and not torch.equal(after, calls[number + 1].input)


def _loses_c(before: Call, after: Call) -> bool:
    """Return whether a call takes h of the one before, and zeros for c."""
    made, taken = before.returned[-2:], after.state
    are_pairs = len(made) == len(taken) == 2 and all(map(is_number, [*made, *taken]))
    if not are_pairs or not _has_c(before):
        return False
    lost = bool(made[1].any()) and not bool(taken[1].any())
    return lost and bool(made[0].any()) and torch.equal(made[0], taken[0])
