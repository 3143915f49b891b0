"""The recurrent calls of one run, by value: what each starts from, and which module is called."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, ModuleDict, RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.module_calls import (
    KINDS,
    Call,
    each_call,
    from_state,
    members_of,
    named_arguments,
    trained,
)
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import Line, fail
from rnnkit._diagnostics.slopes import gradients_of

#: The right state, from the given one and, in a list, the one that the call before returned.
PASSED: Callable[..., Any] = lambda _, before: before[0] if before else None  # noqa: E731
EXCHANGED: Callable[..., Any] = lambda state, _: state and tuple(state)[::-1]  # noqa: E731


#: Fewer calls may be anything, as two tries from one state; the order of more rows is not known.
LOOP, ROWS = 3, 256

FIX = ("fix", "y, state = layer(x, state), or state = cell(x, state), in the loop")


def calls_in(events: Sequence[Event]) -> list[Call]:
    """Return the calls of layers and cells in one run, in the order of time."""
    calls: list[Call] = []
    last: dict[str, Call] = {}
    for event in events:
        if isinstance(event.module, KINDS) and event.kind == "input":
            input, *state = event.tensors or [None]
            input = None if event.is_packed else input
            call = Call(len(calls), event.name, event.module, input, members_of(state))
            last[event.name] = call
            calls.append(call)
        elif isinstance(event.module, KINDS):
            returned = event.tensors[isinstance(event.module, RNNBase) :]
            last[event.name].returned = members_of(returned)
    return calls


def find_wrong_starts(baseline: Baseline, calls: Sequence[Call]) -> None:
    """Fail if calls start from what they should not, and a different output comes if undone."""
    tried: set[str] = set()
    for call, what, rows, right in _suspects(baseline, calls):
        if what not in tried and _shows(baseline, call, right):
            fail("use", what, rows, call.name)
        tried.add(what)


def _shows(baseline: Baseline, call: Call, right: Callable[..., Any]) -> bool:
    """Return whether a different output comes if the calls of a module get the right states."""
    returned: list[Any] = []

    def start(at: int, args: Any, kwargs: Any) -> Any:
        state = right(named_arguments(args, kwargs).get("hx"), returned[at - 1 : at])
        return None if state is None else from_state(args, kwargs, state)

    def keep(_: int, output: Any) -> None:
        returned.append(output if call.is_cell else output[1])

    watch = each_call(call.name, start, keep)
    output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
    return output is not None and not alike(baseline.normal, output)


def _suspects(
    baseline: Baseline, calls: Sequence[Call]
) -> Iterator[tuple[Call, str, list[Line], Callable[..., Any]]]:
    """Yield what looks wrong: a call, a message, and from which state it would be right."""
    last: dict[str, Call] = {}
    families: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        label, state = call.label, list(call.state.values())
        for source in last.values():
            made, its = list(source.returned.values()), source.label
            if len(made) == 2 and _are_equal(state, made[::-1]) and not _are_equal(state, made):
                what = f"{label} takes the c of {its} as its h, and the h as its c"
                text = "output, (h, c) = layer(input): h comes first, as in hx=(h, c)"
                yield call, what, [("fix", text)], EXCHANGED
            are_cells = call.is_cell and source.is_cell and its != label
            if are_cells and _is_given(call) and _are_equal([call.input, state[0]], made[:1] * 2):
                what = f"{label} takes the output of {its} as its input, and as its state, too"
                yield call, what, [("fix", "a state for each cell: h[0], h[1]")], PASSED
        before = list(last[call.name].returned.values()) if call.name in last else []
        if len(before) == len(state) == 2:
            orders = [_order(one, two) for one, two in zip(state, before, strict=True)]
            if None not in orders and orders[0] != orders[1]:
                what = f"{label} takes the rows of h and those of c in different orders"
                fix = ("fix", "h, c = h[rows], c[rows]; or rnnkit.states.select(state, rows)")
                yield call, what, [fix], _matched
        last[call.name] = call
        families[call.name].append(call)
    for name, family in families.items():
        kind, count = type(family[0].module).__name__, len(family)
        if count < LOOP or not all(is_number(call.input) for call in family):
            continue
        if _are_from_zeros(baseline, family):
            text = "each call is given no state or zeros: what one step returned is not passed on"
            what = f"{name} ({kind}) is called for {count} steps, and starts each of them afresh"
            yield family[0], what, [("evidence", text), FIX], PASSED
        elif _are_from_the_first(baseline, family):
            text = "its next input depends on what it returned, and its next state does not"
            what = f"{name} ({kind}) is called {count} times, each time with the state of call 0"
            yield family[0], what, [("evidence", text), FIX], PASSED
        elif all(map(_loses_c, family, family[1:])):
            what = f"{name} ({kind}) is given the h that it returned, and zeros for c, each time"
            text = "y, (h, c) = layer(x, (h, c)): both are the state"
            yield family[0], what, [("fix", text)], PASSED


def _matched(state: Any, before: list[Any]) -> Any:
    """Return h as it is given, and c in the same order."""
    order = _order(state[0], before[0][0]) if state and before else None
    return None if order is None else (state[0], before[0][1][..., order, :])


def _order(given: Tensor, made: Tensor) -> list[int] | None:
    """Return which row of a returned state each given row is; None if that is not known."""
    if not 1 < given.dim() == made.dim():
        return None
    ones, others = (x.movedim(-2, 0).flatten(1) for x in (given, made))
    if len(others) > ROWS or ones.shape[1] != others.shape[1] or ones.device != others.device:
        return None
    alike = (ones.unsqueeze(1) == others).all(2)
    return alike.int().argmax(1).tolist() if bool((alike.sum(1) == 1).all()) else None


def _is_given(call: Call) -> bool:
    """Return whether a call is given a state that is not zero."""
    return any(bool(part.any()) for part in call.state.values())


def _are_equal(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    pairs = list(zip(ones, others, strict=False))
    alike = len(ones) == len(others) and all(is_number(one) for one in ones)
    return alike and all(one.device == two.device and same(one, two) for one, two in pairs)


def _are_from_zeros(baseline: Baseline, calls: Sequence[Call]) -> bool:
    """Return whether calls are one step of an input each, and all start from zeros."""
    batch = baseline.batch
    if (
        not all(call.is_step and not _is_given(call) for call in calls)
        or baseline.report.found("memory")
        or not baseline.runs_on_less
        or len(calls) not in {batch.length(index) for index in range(len(batch.leaves))}
    ):
        return False
    # Flags may reset each step, and a memory with a place for each of many has not seen this one.
    leaves = [
        (leaf == 0).to(leaf.dtype)
        if is_binary(leaf)
        else torch.full_like(leaf, int(leaf.flatten()[0]))
        if isinstance(leaf, Tensor) and leaf.dtype in (torch.int64, torch.int32) and leaf.numel()
        else leaf
        for leaf in batch.leaves
    ]
    again = list[Event]()
    with suppress(Exception):  # it may refuse that as it likes
        again = record(baseline.session, batch.tree(leaves))
    return not any(_is_given(call) for call in calls_in(again) if call.name == calls[0].name)


def _are_from_the_first(baseline: Baseline, calls: Sequence[Call]) -> bool:
    """Return whether calls are steps of one sequence, and all start from one state.

    Calls from one state are right where they are alternatives, or refine one result. Here a later
    input depends on what the calls before returned, and an output has a step for each call, or one
    more, with which it began.
    """
    states = [[*call.state.values()] for call in calls]
    if not _is_given(calls[0]) or not all(_are_equal(state, states[0]) for state in states):
        return False
    shapes = ((baseline.normal[k].shape, batch_axis) for k, batch_axis in baseline.judged())
    sizes = {size for shape, at in shapes for axis, size in enumerate(shape) if axis != at}
    if not sizes & {len(calls), len(calls) + 1}:
        return False
    seen: list[Tensor] = []

    def keep(_: int, args: Any, kwargs: Any) -> None:
        seen.append(named_arguments(args, kwargs)["input"].clone())

    def turn(at: int, output: Any) -> Any:
        return pytree.tree_map_only(Tensor, torch.neg, output) if at else output

    watch = each_call(calls[0].name, keep, turn)
    baseline.session.attempt(baseline.batch.tree(), watch=watch)
    pairs = zip(seen[2:], calls[2:], strict=False)
    return any(not torch.equal(x, call.input) for x, call in pairs)


def _loses_c(before: Call, after: Call) -> bool:
    """Return whether a call takes h of the one before, and zeros for c."""
    (h, c), state = map(before.returned.get, "hc"), [*after.state.values()]
    is_lost = c is not None and bool(c.any()) and not any(bool(x.any()) for x in state[1:])
    return is_lost and _is_given(after) and _are_equal([h], state[:1])


def find_steps_as_channels(baseline: Baseline) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    steps_first = batch.seq_dim == 1 and batch.may_have_steps(batch.paced)
    sequences: list[Tensor] = [batch.leaves[batch.paced]] if steps_first else []
    for event in baseline.events:
        given: Any = next(iter(event.tensors), None)
        if not isinstance(given, Tensor) or given.dim() != 3 or event.is_packed:
            continue
        if event.kind == "output" and getattr(event.module, "batch_first", False):
            sequences.append(given)
        elif event.kind == "input" and isinstance(event.module, BatchNorm1d):
            casts = [one.to(given.dtype) for one in sequences if one.shape == given.shape]
            if any(torch.equal(one, given) for one in casts) and not torch.equal(given, given.mT):
                takes = "takes axis 1 of its input for channels, which is seq"
                fix = ("fix", "x.transpose(1, 2) before, and after")
                fail("use", f"{event.label} ({event.class_name}) {takes}", [fix], event.name)


def find_shared_direction(baseline: Baseline, calls: Sequence[Call]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called."""
    modules, given = dict(baseline.session.model.named_modules()), defaultdict[str, list[Any]](list)
    for call in calls:
        given[call.name].append(call.input)
    for name, steps in given.items():
        one, half, parent = modules[name], len(steps) // 2, name.rpartition(".")[0]
        # Of what is chosen by a key, others are for other inputs.
        if not all(map(is_number, steps)) or isinstance(modules[parent], ModuleDict):
            continue
        pairs = [(steps[:half], steps[half:]), (steps[::2], steps[1::2])] if half > 2 else []
        if isinstance(one, RNNBase):
            seq = 1 if one.batch_first else 0
            several = len(steps) == 2 and steps[0].dim() == 3
            pairs = [(steps[0].unbind(seq), steps[1].unbind(seq))] if several else []
        if any(_are_equal(a[::-1], b) and not _are_equal(a, b) for a, b in pairs):
            for other, module in modules.items():
                beside = other not in given and other.rpartition(".")[0] == parent
                sizes = [[tuple(w.shape) for w in each.parameters()] for each in (one, module)]
                twin = beside and type(module) is type(one) and sizes[0] == sizes[1]
                if twin and (trained(module) or not trained(one)):
                    what = f"{name} reads the steps in both directions, and {other} is never called"
                    text = f"both are a {type(module).__name__} with weights of the same sizes"
                    fix = ("fix", f"call {other} for one of the directions")
                    fail("use", what, [("evidence", text), fix], other)


def find_reversed_outputs(baseline: Baseline) -> None:
    """Find outputs of a backward layer that were not flipped back.

    Then the first output reads the first and the last step, and none between; the second one the
    two at each end. Of a padded batch, samples without padding count.
    """
    first, batch, gradients = baseline.first, baseline.batch, gradients_of(baseline)
    steps, axis = batch.steps or 0, None if first is None else baseline.axes[first]
    whole = [k for k, n in enumerate(baseline.counts or [steps] * batch.size) if n == steps]
    if first is None or axis is None or steps < 5 or not whole or not gradients.output:
        return
    is_known = baseline.has_steps(first) and not baseline.missing(first)
    if not is_known or "causal" in baseline.report.checked:
        return
    output = gradients.output[first].movedim((axis, baseline.out_seq_dim), (0, 1))
    for edge in (1, 2):
        read = gradients.places(batch.paced, batch.seq_dim, [output[whole, edge - 1]])
        ends = [*range(edge), *range(steps - edge, steps)]
        if read is None or read.any(0).nonzero().flatten().tolist() != ends:
            return
    what = f"{baseline.name(first)} of step 0 depends on the first and the last step only"
    cause = ("cause", "outputs of a layer that ran backwards were not flipped back")
    fail("use", what, [cause, ("fix", "output.flip(seq_dim), before the two are joined")])
