"""The recurrent calls of one run, by value: what each starts from, and which module is called."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.module_calls import (
    KINDS,
    Call,
    each_call,
    from_state,
    mapped,
    members_of,
    named_arguments,
    sizes_of,
    split_result,
)
from rnnkit._diagnostics.outputs import alike, is_number, same, shape_of
from rnnkit._diagnostics.report import Line, fail, note

#: The right state, from the given one and, in a list, the one that the call before returned.
PASSED: Callable[..., Any] = lambda _, before: before[0] if before else None  # noqa: E731
EXCHANGED: Callable[..., Any] = lambda state, _: state and tuple(state)[::-1]  # noqa: E731


#: Fewer calls may be anything, as two tries from one state; the order of more rows is not known.
LOOP, ROWS = 3, 256

FIX = ("fix", "y, state = layer(x, state), or state = cell(x, state), in the loop")


def calls_in(events: Sequence[Event]) -> list[Call]:
    """Return the calls of layers and cells in one run, each with its number among its module's."""
    calls: list[Call] = []
    made: dict[str, list[Call]] = defaultdict(list)
    for event in events:
        name, module = event.name, event.module
        if isinstance(module, KINDS) and event.kind == "input":
            input, *state = event.tensors or [None]
            input = None if event.is_packed else input
            calls.append(Call(len(made[name]), name, module, input, members_of(state)))
            made[name].append(calls[-1])
        elif isinstance(module, KINDS):
            output, returned = split_result(module, event.tree)
            made[name][-1].output = output if returned else None
            made[name][-1].returned = members_of(event.tensors[isinstance(module, RNNBase) :])
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
    families: dict[str, list[Call]] = defaultdict(list)
    h_first = ("fix", "output, (h, c) = layer(input): h comes first, as in hx=(h, c)")
    for call in calls:
        label, state = call.label, list(call.state.values())
        for source in [family[-1] for family in families.values()]:
            made, its = list(source.returned.values()), source.label
            if len(made) == 2 and are_equal(state, made[::-1]) and not are_equal(state, made):
                what = f"{label} takes the c of {its} as its h, and the h as its c"
                yield call, what, [h_first], EXCHANGED
            elif call.number == (source.name == call.name) and _crosses(baseline, source, call):
                what = f"{label} takes an h computed from the c of {its}, and a c from its h"
                yield call, what, [h_first], EXCHANGED
            are_cells = call.is_cell and source.is_cell and its != label
            if are_cells and _is_given(call) and are_equal([call.input], made[:1]):
                # Of this step, or of the one before.
                below = [[*one.returned.values()][:1] for one in families[source.name][-2:]]
                what = f"{label} takes the output of {its} as its input, and its state, too"
                if any(are_equal(state[:1], one) for one in below):
                    yield call, what, [("fix", "a state for each cell: h[0], h[1]")], PASSED
        before = [*families[call.name][-1].returned.values()] if families[call.name] else []
        if len(before) == len(state) == 2:
            orders = [_order(one, two) for one, two in zip(state, before, strict=True)]
            if None not in orders and orders[0] != orders[1]:
                what = f"{label} takes the rows of h and those of c in different orders"
                fix = ("fix", "h, c = h[rows], c[rows]; or rnnkit.states.select(state, rows)")
                yield call, what, [fix], _matched
        families[call.name].append(call)
    for family in families.values():
        states = [[*call.state.values()] for call in family]
        if len(family) < LOOP or not all(is_number(call.input) for call in family):
            continue
        label, kind = family[0].label, type(family[0].module).__name__
        what = f"{label} ({kind}) is called {len(family)} times, each time"
        if all(map(_keeps_c, family, family[1:])):
            text = "y, (h, c) = layer(x, (h, c)): both are the state"
            c = "the same c" if _is_given(family[0]) else "a c of zeros"
            yield family[0], f"{what} with its own h and {c}", [("fix", text)], PASSED
        elif not any(map(_is_given, family)):
            if _follows_steps(baseline, family) or _goes_on(baseline, family):
                yield family[0], f"{what} from zeros", [FIX], PASSED
        elif all(are_equal(state, states[0]) for state in states):
            what = f"{what} from the same state"
            if _goes_on(baseline, family):
                yield family[0], what, [FIX], PASSED
            elif all(call.is_step for call in family):
                note(baseline.report, what)


def _crosses(baseline: Baseline, source: Call, call: Call) -> bool:
    """Return whether a given h was computed from c, and c from h, of the same earlier call."""
    given, made = [*call.state.values()], [*source.returned.values()]
    if len(given) != 2 or len(made) != 2 or not all(bool(x.any()) for x in given):
        return False
    if any(are_equal([one], [two]) for one in given for two in made):
        return False

    def moved(**parts: Any) -> list[bool]:
        """Return whether h and c are given other values if a part of the source is negated."""
        seen: dict[str, Tensor] = {}

        def keep(at: int, args: Any, kwargs: Any) -> None:
            if at == call.number:
                seen.update(_state(args, kwargs))

        def turn(at: int, result: Any) -> Any:
            if at != source.number:
                return result
            return mapped((None, result), **parts)[1] if source.is_cell else mapped(result, **parts)

        one, two = each_call(source.name, after=turn), each_call(call.name, keep)
        watch: Any = lambda model: [*one(model), *two(model)]  # noqa: E731
        baseline.session.attempt(baseline.batch.tree(), watch=watch)
        return [not are_equal([one], [two]) for one, two in zip(given, seen.values(), strict=False)]

    return moved(c=torch.neg) == [True, False] and moved(h=torch.neg) == [False, True]


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


def are_equal(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    pairs = list(zip(ones, others, strict=False))
    alike = len(ones) == len(others) and all(is_number(one) for one in ones)
    return alike and all(one.device == two.device and same(one, two) for one, two in pairs)


def _follows_steps(baseline: Baseline, calls: Sequence[Call]) -> bool:
    """Return whether calls are one step of an input each."""
    batch = baseline.batch
    steps = {len(calls), len(calls) + 1}  # the first one of a target may begin it
    is_known = baseline.runs_on_less and not baseline.report.found("memory")
    lengths = map(batch.length, range(len(batch.leaves)))
    return is_known and all(call.is_step for call in calls) and not steps.isdisjoint(lengths)


def _state(args: Any, kwargs: Any) -> dict[str, Tensor]:
    """Return the state that a call is given."""
    return members_of(named_arguments(args, kwargs).get("hx"))


def _goes_on(baseline: Baseline, calls: Sequence[Call]) -> bool:
    """Return whether calls from one state are steps, or chunks, of one sequence.

    Such calls are right where they are alternatives, refine one result, or read windows. Of steps,
    an output has one for each call, or one more, with which it began; and a later input depends on
    what earlier calls returned. With ``causal=True`` the last output should depend on that, too.
    """
    normal, last, sizes = baseline.normal, len(calls) - 1, (len(calls), len(calls) + 1)
    steps = sum(sizes_of(call.module, call.input).get("seq", 0) for call in calls)
    is_cut = not calls[0].is_step and steps == baseline.batch.steps
    if not (is_cut or all(call.is_step for call in calls)):
        return False  # windows, channels, or all that was written so far
    places = [
        (index, axis)
        for index, batch_axis in baseline.judged()
        for axis, size in enumerate(normal[index].shape)
        if axis != batch_axis and (axis == baseline.step_axes[index] if is_cut else size in sizes)
    ]
    seen: list[Tensor] = []

    def keep(_: int, args: Any, kwargs: Any) -> None:
        seen.append(named_arguments(args, kwargs)["input"].clone())

    def turn(at: int, output: Any) -> Any:
        return pytree.tree_map_only(Tensor, torch.neg, output) if 0 < at < last else output

    watch = each_call(calls[0].name, keep, turn)
    output = baseline.session.attempt(baseline.batch.tree(), watch=watch) if places else None
    if output is None or list(map(shape_of, output)) != list(map(shape_of, normal)):
        return False
    rows = [(normal[k].unbind(axis), output[k].unbind(axis)) for k, axis in places]
    # What all calls go into is no step of its own, as each feature of one result.
    rows = [(x, y) for x, y in rows if same(x[0], y[0]) and not all(map(same, x, y))]
    pairs = zip(seen[2:], calls[2:], strict=False)
    is_fed = not is_cut and any(not torch.equal(x, call.input) for x, call in pairs)
    is_told = baseline.causal is True and all(same(x[-1], y[-1]) for x, y in rows)
    return bool(rows) and (is_fed or is_told)


def _keeps_c(before: Call, after: Call) -> bool:
    """Return whether a call takes h of the one before, and zeros, or the same c again, for c."""
    h, c, state = before.returned.get("h"), before.returned.get("c"), after.state
    if c is None or not _is_given(after) or not are_equal([h], [state["h"]]):
        return False
    kept = [before.state.get("c", c * 0), c * 0]
    given = state.get("c", c * 0)
    return not are_equal([c], [given]) and any(are_equal([one], [given]) for one in kept)
