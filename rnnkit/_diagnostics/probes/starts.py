"""From which state the calls of a run start: swapped, in another order, or the same each time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from rnnkit._diagnostics.explain.causes import REMEMBER
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.module_calls import (
    Call,
    arguments_by_name,
    changing,
    hooks_on,
    with_state,
)
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    Watch,
    are_bit_equal,
    same,
    shapes_of,
    tensors_of,
)
from rnnkit._diagnostics.tell.outcome import Finding

#: Fewer calls may be anything, as two tries from one state; the order of more rows is not known.
LOOP = 3
ROWS = 256

#: Makes the right state of the given one and the one returned last; None keeps the given one.
Right = Callable[[Any, Any], Any]


class Suspect(NamedTuple):
    """A module whose calls may start from a wrong state.

    Attributes:
        call: one of its calls.
        what: what is wrong with them, in words.
        fix: what to type.
        right: makes the right state of the given one and the one that the module returned last;
            None from it keeps the given one.
    """

    call: Call
    what: str
    fix: str
    right: Right

    def confirmed(self, baseline: Baseline) -> Iterator[Finding]:
        """Yield a finding if the output changes when the calls get the right state instead.

        ``self.right(given, last)`` makes that of the state that a call is given and the one
        returned last.
        """
        call = self.call
        returned: list[Any] = [None]

        def start(_: int, args: Any, kwargs: Any) -> Any:
            state = self.right(arguments_by_name(args, kwargs).get("hx"), returned[-1])
            return None if state is None else with_state(args, kwargs, state)

        def keep(_: int, result: Any) -> None:
            returned.append(result if call.is_cell else result[1])

        watch = hooks_on(call.name, start, keep)
        output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
        if output is not None and not are_bit_equal(baseline.normal, output):
            yield Finding(self.what, [("fix", self.fix)], call.name)


def wrong_starts(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding | str]:
    """Yield findings of calls that start from a wrong state, and notes of those maybe meant so.

    ``calls`` are the recurrent calls of a run of ``baseline``: a model, a batch, and its output.
    """
    for suspect in _suspected(baseline, calls):
        if isinstance(suspect, str):
            yield suspect
        else:
            yield from suspect.confirmed(baseline)


def _suspected(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Suspect | str]:
    """Yield the calls that may start from a wrong state, to be tried, and notes (as text).

    They may take h for c, an input for a state, or rows in different orders; a loop may start each
    call from one state. A family are the calls of one module, in order.
    """
    families = defaultdict[str, list[Call]](list)
    for call in calls:
        for family in families.values():
            yield from _exchanged_names(baseline, family[-1], call)
            yield from _input_as_state(family, call)
        if call.name in families:
            yield from _orders_of_rows(families[call.name][-1], call)
        families[call.name].append(call)
    for family in families.values():
        if len(family) >= LOOP:
            yield from _loop(baseline, family)


def _last(_: Any, before: Any) -> Any:
    """Return the state that was returned last."""
    return before


def _exchanged(state: Any, _: Any) -> Any:
    """Return a state with h and c in each other's place."""
    return None if state is None else tuple(state)[::-1]


def _with_rows_of_h(state: Any, before: Any) -> Any:
    """Return the given h with the last c, its rows put in the order of h's; None to keep both.

    ``state`` and ``before`` are pairs (h, c): the one given, and the one returned last or None.
    """
    order = _order(state[0], before[0]) if before else None
    return None if order is None else (state[0], before[1][..., order, :])


def _exchanged_names(baseline: Baseline, source: Call, call: Call) -> Iterator[Suspect]:
    """Yield a suspect if a call takes another one's c for its h, and the h for its c.

    ``source`` is the earlier call: the last one of a module.
    """
    state = [*call.state.values()]
    made = [*source.returned.values()]
    if len(made) != 2:
        return
    is_swapped = are_bit_equal(state, made[::-1]) and not are_bit_equal(state, made)
    # Of one module, the first call is the source.
    number = 1 if source.name == call.name else 0
    is_first = call.number == number
    if is_swapped or (is_first and _crosses(baseline, source, call)):
        what = f"{call.label} gets the c of {source.label} as its h, and the h as its c"
        names = "h, c = cell(x_t, (h, c))" if call.is_cell else "y, (h, c) = layer(x)"
        yield Suspect(call, what, f"{names}: h comes first", _exchanged)


def _input_as_state(family: Sequence[Call], call: Call) -> Iterator[Suspect]:
    """Yield a suspect if a cell takes another cell's output both as its input and as its state.

    ``family`` are the calls of the other cell until then, and ``call`` is the cell's.
    """
    source = family[-1]
    if not call.is_cell or source.name == call.name or not _is_h(source, [call.input]):
        return
    state = [*call.state.values()][:1]
    # Of this step, or of the one before.
    if any(_is_h(one, state) for one in family[-2:]):
        taken = f"gets the output of {source.label} both as its input and as its state"
        fix = "keep a state for each cell, h[0] and h[1], and return both"
        yield Suspect(call, f"{call.label} {taken}", fix, _last)


def _is_h(call: Call, given: list[Any]) -> bool:
    """Return whether a tensor, or none, is the h that a call returned."""
    return are_bit_equal(given, [*call.returned.values()][:1])


def _orders_of_rows(source: Call, call: Call) -> Iterator[Suspect]:
    """Yield a suspect if a call takes rows of the last h and of the last c in different orders.

    ``source`` is the call of the same module before.
    """
    pairs = [*zip(call.state.values(), source.returned.values(), strict=False)]
    if len(pairs) != 2:
        return
    h, c = (_order(given, made) for given, made in pairs)
    if h is not None and c is not None and h != c:
        what = f"{call.label} gets h and c with their rows in different orders"
        fix = "reorder both: h, c = h[rows], c[rows]; or rnnkit.states.select(state, rows)"
        yield Suspect(call, what, fix, _with_rows_of_h)


def _loop(baseline: Baseline, family: Sequence[Call]) -> Iterator[Suspect | str]:
    """Yield a suspect, or a note, if a module is called again and again from one state.

    ``family`` are all its calls: each starts from zeros, from the same state, or with its own h
    alone.
    """
    call = family[0]
    times = len(family)
    what = f"{call.label} ({type(call.module).__name__}) is called {times} times, each time"
    if all(map(_keeps_c, family, family[1:])):
        fix = "y, (h, c) = layer(x, (h, c)): both are the state"
        yield Suspect(call, f"{what} with its own h, but without its own c", fix, _last)
        return
    states = [[*one.state.values()] for one in family]
    if not any(bool(part.any()) for state in states for part in state):
        if _belong_together(baseline, family):
            yield Suspect(call, f"{what} from zeros", REMEMBER, _last)
    elif all(are_bit_equal(state, states[0]) for state in states):
        what = f"{what} from the same state"
        if _goes_on(baseline, family, are_fresh=False):
            yield Suspect(call, what, REMEMBER, _last)
        elif all(one.is_step for one in family):
            yield what


def _belong_together(baseline: Baseline, family: Sequence[Call]) -> bool:
    """Return whether calls that each start from zeros are steps, or parts, of one sequence."""
    are_steps = all(one.is_step for one in family)
    if are_steps and _follow_an_input(baseline, len(family)):
        return True
    return _goes_on(baseline, family, are_fresh=are_steps)


def _follow_an_input(baseline: Baseline, times: int) -> bool:
    """Return whether an input of the model has as many steps as a module's calls, or one more.

    A target may begin with one that is given. The model has to run on fewer steps too.
    """
    lengths = set(map(baseline.batch.length, range(len(baseline.batch.leaves))))
    return baseline.axes.runs_on_less and not lengths.isdisjoint((times, times + 1))


def _crosses(baseline: Baseline, source: Call, call: Call) -> bool:
    """Return whether a given h was computed from c, and c from h, of a layer's call.

    ``source`` is that call, and ``call`` the one that is given the state. Each part of the source
    is negated in a run of its own, to see which part of the given state moves.
    """
    given = [*call.state.values()]
    made = [*source.returned.values()]
    are_new = not any(are_bit_equal([one], [two]) for one in given for two in made)
    if len(given) < 2 or source.is_cell or not (are_new and all(bool(x.any()) for x in given)):
        return False
    moved: list[list[bool]] = []
    for part in "ch":
        change = changing(source.name, [source.number], {part: torch.neg})
        _, taken = _run_with(baseline, change, call.name)  # input and state of each call
        state = taken[call.number][1:] if len(taken) > call.number else []
        moved.append([not are_bit_equal([x], [y]) for x, y in zip(given, state, strict=False)])
    return moved == [[True, False], [False, True]]


def _run_with(baseline: Baseline, change: Watch, name: str) -> tuple[Leaves, list[Leaves]]:
    """Run with hooks of ``change``; return the output, and the tensors given to a module's calls.

    ``name`` is the module; of each call, its input and then its state. The output is empty if the
    model fails under the change.
    """
    taken: list[Leaves] = []

    def keep(_: int, args: Any, kwargs: Any) -> None:
        named = arguments_by_name(args, kwargs)
        given = tensors_of([named.get("input"), named.get("hx")])
        taken.append([x.clone() for x in given])

    def watch(model: Module) -> list[Any]:
        return [*change(model), *hooks_on(name, keep)(model)]

    output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
    return output or [], taken


def _order(given: Tensor, made: Tensor) -> list[int] | None:
    """Return which row of a returned state each given row is; None if that is not known.

    Rows are on the last axis but one, as samples are, of ``(..., rows, hidden)``.
    """
    if not 1 < given.dim() == made.dim() or made.shape[-2] > ROWS:
        return None
    ones, others = (x.movedim(-2, 0).flatten(1) for x in (given, made))
    equal = (ones.unsqueeze(1) == others).all(2)
    return equal.int().argmax(1).tolist() if bool((equal.sum(1) == 1).all()) else None


def _keeps_c(before: Call, after: Call) -> bool:
    """Return whether a call takes the h that the one before returned, but not its c.

    It has zeros for c, or the c that the call before was given.
    """
    given = [*after.state.values()]  # h, and c if it has one
    made = [*before.returned.values()]
    if len(given) < 2 or not are_bit_equal(given[:1], made[:1]) or are_bit_equal(given, made):
        return False
    return not given[1].any() or are_bit_equal(given[1:], [*before.state.values()][1:])


def _goes_on(baseline: Baseline, calls: Sequence[Call], *, are_fresh: bool) -> bool:
    """Return whether calls belong to one sequence, though each starts from the same state.

    The run is repeated with what the middle calls return negated: it is one sequence if later calls
    are given something else then, or if just the middle steps of the output change. ``are_fresh``
    says that the calls are single steps, each from zeros.
    """
    first = baseline.first or 0
    axis = baseline.out_seq_dim
    times = len(calls)
    whole = baseline.normal[first]
    steps = sum(call.sizes.get("seq", 1) for call in calls)
    # An output with no axis as long as the calls are many cannot be made of their steps.
    is_long = {times, times + 1}.isdisjoint(whole.shape[1:])
    is_told = (
        baseline.rules.causal is True and axis is not None and whole.shape[axis] - steps in (0, 1)
    )
    if not is_told and (is_long or not are_fresh):
        return False
    name = calls[0].name
    negative: dict[str, Any] = {"output": torch.neg, "h": torch.neg, "c": torch.neg}
    change = changing(name, range(1, times - 1), negative)
    output, taken = _run_with(baseline, change, name)
    inputs = [given[0] for given in taken[2:]]
    if are_fresh and not is_long and not are_bit_equal(inputs, [call.input for call in calls[2:]]):
        return True
    return is_told and _miss_in_the_middle(baseline, output)


def _miss_in_the_middle(baseline: Baseline, output: Leaves) -> bool:
    """Return whether the first output of a changed run has other steps, and the same ends.

    What the first call of a loop returned, and the last, stays then.
    """
    if shapes_of(output) != shapes_of(baseline.normal):
        return False
    first = baseline.first or 0
    axis = baseline.out_seq_dim or 0
    equal = [*map(same, baseline.normal[first].unbind(axis), output[first].unbind(axis))]
    return equal[0] and equal[-1] and not all(equal)
