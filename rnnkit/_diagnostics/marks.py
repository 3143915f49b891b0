"""What looks like a mistake in the calls of one run: a fact about a row, worth a look, no proof.

A mark rests on which tensor is which. What correct programs do as well is not marked: a state that
starts two passes, windows that are not joined, candidates that are scored from one state.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from rnnkit._diagnostics.module_calls import Call, sizes_of
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
    """A call with where its state came from, and what became of what it returned."""

    origins: dict[str, Origin] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    is_fresh: bool = False  # it starts from zeros
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
        family, marks, last = families[call.module], list[str](), before.get(call.module)
        before[call.module], state = call, call.state
        origins = [one for c in family for one in c.origins.values()]
        if last is not None:
            # Two sequences may begin alike, and candidates from the state of another module.
            own = {one.member for one in origins if one.row == last.number}
            same = [m for m in state if is_same(state[m], last.state.get(m)) and m not in own]
            same = [m for m in same if call.origins[m].row is None]
            fresh = f"starts from zeros, and the state of row {last.number} is unused"
            is_dropped = call.is_fresh and last.used is False
            if call.is_step and last.is_step:
                # A layer may run over samples, one after the other.
                is_loop = call.is_cell or sizes_of(call.module, call.input).get("batch", 1) > 1
                if same:
                    part = "state" if same == [*state] else same[0]
                    marks.append(f"the same {part} as in row {last.number}: it is never advanced")
                elif is_dropped and last.is_fresh and is_loop:
                    marks.append(fresh)
            elif is_dropped and (steps := _sequence(last, call)):
                # A result as long as the sequence reads both, and not by way of another call.
                joined = set(nodes([edge(x) for x in results if steps in x.shape], ends))
                if {edge(last.output), edge(call.output)} <= joined:
                    onward = f"its input goes on where that of row {last.number} ended, but it"
                    marks.append(f"{onward} {fresh}")
        is_freed = error is not None and "second time" in str(error)  # as torch says it
        is_crossed = [one.member for one in call.origins.values()] == ["c", "h"]
        for member, origin in call.origins.items():
            if origin.row is None:
                continue
            source, row = calls[origin.row], f"row {origin.row}"
            if is_freed and any(id(t) in learned for t in source.returned.values()):
                graph = f"the graph of {row}, which backward has freed"
                marks.append(f"its {member} belongs to {graph}: detach it")
            if origin.how == "computed from" and not is_crossed:
                continue
            # Of a GRU there is nothing else to start a c from.
            if origin.member != member and len(state) > 1 and "c" in source.returned:
                marks.append(f"its {member} is {origin}")
            if not call.is_step and is_same(source.output, call.input):
                text = "from its end state: step 0 has seen it all"
                marks.append(f"reads the output of {row} {text}")
        raised = [f"it raised {type(error).__name__}"] * (error is not None and call.error is error)
        call.marks = list(dict.fromkeys([*marks, *call.marks, *raised]))


def _sequence(last: Call, call: Call) -> int:
    """Return the steps of a sequence, if a layer's input begins where the one before ends; or 0.

    With a further axis they may be samples in their own right, as the sentences of a document are.
    """
    one, other = last.input, call.input
    bases: list[Any] = [getattr(input, "_base", None) for input in (one, other)]
    if bases[0] is None or bases[0] is not bases[1] or bases[0].dim() != one.dim():
        return 0
    axis = 1 if call.module.batch_first and one.dim() == 3 else 0
    end = one.storage_offset() + one.shape[axis] * one.stride(axis)
    goes_on = one.stride() == other.stride() and other.storage_offset() == end
    return bases[0].shape[axis] if goes_on and isinstance(call.output, Tensor) else 0


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
