"""What looks like a mistake in the calls of one run: a fact about a row, worth a look, no proof.

A mark rests on which tensor is which. What correct programs do as well is not marked: a state that
starts two passes, windows that are not joined, candidates that are scored from one state.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from rnnkit._diagnostics.module_calls import Call
from rnnkit._diagnostics.outputs import tensors_of

#: Which output of an operation in an autograd graph.
Edge = tuple[Any, int]


class Origin(NamedTuple):
    """Where a state came from: h or c of a row of the trace, or elsewhere."""

    row: int | None = None
    member: str = ""
    how: str = ""  # nothing if it is the same, else "a slice of" or "computed from"

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


@dataclass(eq=False)
class TracedCall(Call):
    """A call, and what is known of its state when it runs; ``is_fresh``: it starts from zeros."""

    origins: dict[str, Origin] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    is_fresh: bool = False
    used: bool | None = True
    error: BaseException | None = None


def judge(calls: Sequence[TracedCall], learned: Collection[int], result: Any, error: Any) -> None:
    """Find out of each call whether its state was used, and mark what looks like a mistake.

    ``learned`` are the ids of the states that backward went through; ``error`` is what ended a run.
    """
    results = tensors_of(result)
    read = [x for call in calls for x in (*call.state.values(), *tensors_of(call.input))]
    read += results
    # A cell computes its h from its c: that is not a use of c.
    ends = {edge(t) for call in calls for t in call.returned.values()}
    reached, places = set(nodes(map(edge, read), ends)), {*map(storage, read), *learned}
    ends |= {edge(call.output) for call in calls if isinstance(call.output, Tensor)}
    families: dict[Any, list[TracedCall]] = defaultdict(list)
    for call in calls:
        families[call.module].append(call)
        idle = [
            t
            for t in call.returned.values()
            if edge(t) not in reached and not {storage(t), id(t)} & places
        ]
        is_known = error is None and any(t.grad_fn is not None for t in idle)
        call.used = len(idle) < len(call.returned) or (False if is_known else None)
    before: dict[Any, TracedCall] = {}
    for call in calls:
        state, family, marks = call.state, families[call.module], list[str]()
        origins = [one for c in family for one in c.origins.values()]
        taken = {m: one for m, one in call.origins.items() if one.how != "computed from"}
        last, before[call.module] = before.get(call.module), call
        if last is not None:
            row, (is_part, steps) = f"row {last.number}", _sequence(last, call)
            # Two sequences may begin alike, and candidates from the state of another module.
            own = {one.member for one in origins if one.row == last.number}
            same = [m for m in state if is_same(state[m], last.state.get(m)) and m not in own]
            same = [m for m in same if call.origins[m].row is None]
            advanced = f"the same {'state' if same == [*state] else ''.join(same[:1])}"
            fresh = f"starts from zeros, and the state of {row} is unused"
            if call.is_step and last.is_step:
                # A layer may run over samples, one after the other.
                is_loop = call.is_cell or call.sizes.get("batch", 1) > 1 or steps > 0
                is_loop = is_loop or not (is_part or any(not c.is_step for c in family))
                if same:
                    marks.append(f"{advanced} as in {row}: it is never advanced")
                elif call.is_fresh and last.is_fresh and is_loop and last.used is False:
                    marks.append(fresh)
            elif steps and last.used is False and (call.is_fresh or same == [*state]):
                # A result as long as the sequence reads both, and not by way of another call.
                joined = set(nodes([edge(x) for x in results if steps in x.shape], ends))
                if {edge(last.output), edge(call.output)} <= joined:
                    onward = f"its input goes on where that of {row} ended, but it"
                    again = f"starts from {advanced}: it is never advanced"
                    marks.append(f"{onward} {fresh if call.is_fresh else again}")
        rows = {m: calls[one.row] for m, one in taken.items() if one.row is not None}
        if len({source.module for source in rows.values()}) == 2:
            h, c = (f"{rows[m].name}, row {rows[m].number}" for m in "hc")
            marks.append(f"its h is of {h}, its c of {c}")
        for member, source in rows.items():
            origin, row = taken[member], f"row {source.number}"
            # Of a GRU there is nothing else to start a c from.
            if origin.member != member and len(state) > 1 and "c" in source.returned:
                marks.append(f"its {member} is {origin.member} of {row}")
            if not is_same(source.output, call.input):
                continue
            # The first step of a decoder reads its encoder's state, too, and starts from it.
            steady = {one.row for one in origins if one.how != "computed from"}
            if not call.is_step:
                text = "from its end state: step 0 has seen it all"
                marks.append(f"reads the output of {row} {text}")
            elif len(family) > 2 and steady.isdisjoint(c.number for c in family):
                name = f"{source.name}, {row}"
                marks.append(f"its {member} is {origin.member} of {name}, as its input is")
        raised = [f"it raised {type(error).__name__}"] * (error is not None and call.error is error)
        call.marks = list(dict.fromkeys([*marks, *call.marks, *raised]))


def _sequence(last: Call, call: Call) -> tuple[bool, int]:
    """Return whether the inputs of two calls are parts of one tensor, and its steps.

    The steps are 0 if a layer's input does not begin where the one before ends, or if the tensor
    has a further axis: these may be samples in their own right, as the sentences of a document are.
    """
    one, other = last.input, call.input
    bases = [getattr(input, "_base", None) for input in (one, other)]
    if bases[0] is None or bases[0] is not bases[1]:
        return False, 0
    whole: Any = bases[0]
    if call.is_cell or whole.dim() != one.dim() or not isinstance(call.output, Tensor):
        return True, 0
    axis = 1 if call.module.batch_first and one.dim() == 3 else 0
    end = one.storage_offset() + one.shape[axis] * one.stride(axis)
    goes_on = one.stride() == other.stride() and other.storage_offset() == end
    return True, whole.shape[axis] if goes_on else 0


def edge(tensor: Tensor) -> Edge:
    """Return the output of an operation that a tensor is."""
    return tensor.grad_fn, tensor.output_nr


def nodes(start: Iterable[Edge], ends: Collection[Edge] = frozenset()) -> Iterator[Edge]:
    """Yield what some edges were computed from, near ones first, down to some ends."""
    waiting = deque(one for one in start if one[0] is not None)
    seen = set(waiting)
    while waiting:
        yield (one := waiting.popleft())
        if one not in ends:
            new = [e for e in one[0].next_functions if e[0] is not None and e not in seen]
            seen.update(new)
            waiting += new


def storage(tensor: Tensor) -> int:
    """Return a number for the memory of a tensor."""
    return tensor.untyped_storage().data_ptr() or id(tensor)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two objects are tensors of the same numbers in the same memory."""
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and storage(one) == storage(other)
        and one.storage_offset() == other.storage_offset()
        and one.shape == other.shape
    )
