"""What looks like a mistake in the calls of one run: a fact about a row, worth a look, no proof.

A mark rests on which tensor is which. What correct programs do as well is not marked: a state that
starts two passes, windows that are not joined, candidates that are scored from one state.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.module_calls import Call
from rnnkit._diagnostics.outputs import tensors_of

#: Which output of an operation in an autograd graph.
Edge = tuple[Any, int]


class Origin(NamedTuple):
    """Where a state came from: h or c of a row of the trace, or elsewhere.

    ``how`` is empty if it is the same, else "a slice of" or "computed from"; ``start`` is a slice's
    first index among the layers and directions.
    """

    row: int | None = None
    member: str = ""
    how: str = ""
    start: int | None = None

    def __str__(self) -> str:
        """Write it for the table."""
        if self.row is None:
            return "from elsewhere"
        return f"{self.how} {self.member} of row {self.row}".strip()


@dataclass(eq=False)
class TracedCall(Call):
    """A call, and what is known of its state when it runs.

    ``attached`` and ``freed`` are the members on the graph of an earlier run, and on one that
    backward has freed. A call ``is_fresh`` if it starts from zeros, given or not, and ``loses_c``
    if something depends on the h that it returned, and nothing on the c.
    """

    origins: dict[str, Origin] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)
    is_fresh: bool = False
    loses_c: bool = False
    error: BaseException | None = None


def judged(
    calls: Sequence[TracedCall],
    learned: Collection[int],
    result: Any,
    error: BaseException | None,
) -> Iterator[tuple[bool | None, list[str]]]:
    """Yield of each call whether its state was used, None if unknown, and what looks wrong in it.

    ``learned`` are the ids of the states that backward went through.
    """
    results = tensors_of(result)
    given = [x for call in calls for x in (*call.state.values(), *tensors_of(call.input))]
    # A cell computes its h from its c: that is not a use of c.
    ends = {edge(t) for call in calls for t in call.returned.values()}
    reached = set(nodes(map(edge, [*results, *given]), ends))
    places = {*map(storage, [*results, *given]), *learned}
    ends |= {edge(call.output) for call in calls if isinstance(call.output, Tensor)}
    slices = {(one.row, one.member, one.start) for call in calls for one in call.origins.values()}
    used: list[bool | None] = []
    for call in calls:
        idle = {
            member: t
            for member, t in call.returned.items()
            if edge(t) not in reached and not {storage(t), id(t)} & places
        }
        is_known = error is None and any(t.grad_fn is not None for t in idle.values())
        used.append(len(idle) < len(call.returned) or (False if is_known else None))
        call.loses_c = is_known and idle.keys() == {"c"}

    def are_joined(last: Call, call: Call) -> bool:
        """Return whether a result as long as the sequence of two windows has their outputs."""
        steps = call.input._base.shape[_axis(call)]  # noqa: SLF001
        # Not by way of another call, which may mind where windows are joined.
        found = set(nodes([edge(leaf) for leaf in results if steps in leaf.shape], ends))
        return all(isinstance(c.output, Tensor) and edge(c.output) in found for c in (last, call))

    for call in calls:
        marks, state = [], call.state
        family = [c for c in calls if c.module is call.module]
        origins = [one for c in family for one in c.origins.values()]
        last = next((c for c in reversed(family) if c.number < call.number), None)
        if last is not None:
            row, is_unused = f"row {last.number}", used[last.number] is False
            fresh = f"starts from zeros, and the state of {row} is unused"
            # Two sequences may begin alike, and candidates from the state of another module.
            own = {m for m in state if any((o.row, o.member) == (last.number, m) for o in origins)}
            same = [
                m
                for m in state
                if same_place(state[m], last.state.get(m))
                and call.origins[m].row is None
                and m not in own
            ]
            advanced = f"the same {'state' if same == [*state] else ''.join(same[:1])}"
            if call.is_step and last.is_step:
                # A layer may run over samples, one after the other.
                is_part = _are_parts(last, call)
                is_loop = call.is_cell or call.sizes.get("batch", 1) > 1 or _goes_on(last, call)
                is_loop = is_loop or not (is_part or any(not c.is_step for c in family))
                if same:
                    marks.append(f"{advanced} as in {row}: it is never advanced")
                elif call.is_fresh and last.is_fresh and is_loop and is_unused:
                    marks.append(fresh)
                elif call.is_fresh and last.is_fresh and is_part and call.is_cell and last.loses_c:
                    # A cell's h is its output, too, so that c has to tell.
                    marks.append(f"starts from zeros, and c of {row} is unused")
            elif is_unused and _goes_on(last, call) and are_joined(last, call):
                onward = f"its input goes on where that of {row} ended, but it"
                if call.is_fresh:
                    marks.append(f"{onward} {fresh}")
                elif same == [*state]:
                    marks.append(f"{onward} starts from {advanced}: it is never advanced")
        graphs = dict.fromkeys(call.attached, "an earlier run")
        graphs |= {m: f"row {call.origins[m].row}, which backward has freed" for m in call.freed}
        marks += [f"its {m} belongs to the graph of {one}: detach it" for m, one in graphs.items()]
        taken = {m: one for m, one in call.origins.items() if one.how != "computed from"}
        rows = {m: calls[one.row] for m, one in taken.items() if one.row is not None}
        if len({source.module for source in rows.values()}) == 2:
            h, c = (f"{rows[m].name}, row {rows[m].number}" for m in "hc")
            marks.append(f"its h is of {h}, its c of {c}")
        for member, source in rows.items():
            origin, row = taken[member], f"row {source.number}"
            # Of a GRU there is nothing else to start a c from.
            if origin.member != member and len(state) > 1 and "c" in source.returned:
                marks.append(f"its {member} is {origin.member} of {row}")
            layer, taker = source.module, call.module
            # Several layers may correctly begin with the first: state[::2].
            several = getattr(taker, "num_layers", 1) > 1 or getattr(taker, "bidirectional", False)
            if origin.start is not None and isinstance(layer, RNNBase) and not several:
                directions = 2 if layer.bidirectional else 1
                wanted = (layer.num_layers - 1) * directions
                where = f"layer {origin.start // directions}"
                if layer.bidirectional:
                    way = "backward" if origin.start % 2 else "forward"
                    where = f"the {way} direction of {where}"
                if origin.start != wanted and (*origin[:2], wanted) not in slices:
                    marks.append(f"its {member} begins with {where} of {row}")
            if same_place(source.output, call.input) and not call.is_step:
                text = "from its end state: step 0 has seen it all"
                marks.append(f"reads the output of {row} {text}")
            elif same_place(source.output, call.input) and len(family) > 2:
                # The first step of a decoder reads its encoder's state, too, and starts from it.
                steady = {one.row for one in origins if one.how != "computed from"}
                if steady.isdisjoint(c.number for c in family):
                    name = f"{source.name}, {row}"
                    marks.append(f"its {member} is {origin.member} of {name}, as its input is")
        if error is not None and call.error is error:
            marks.append(f"it raised {type(error).__name__}")
        yield used[call.number], list(dict.fromkeys(marks))


def _axis(call: Call) -> int:
    """Return the seq axis of a layer's input."""
    return 1 if call.module.batch_first and call.input.dim() == 3 else 0


def _are_parts(last: Call, call: Call) -> bool:
    """Return whether the inputs of two calls are parts of one tensor."""
    wholes = [getattr(one.input, "_base", None) for one in (last, call)]
    return wholes[0] is not None and wholes[0] is wholes[1]


def _goes_on(last: Call, call: Call) -> bool:
    """Return whether a layer's input begins where the one before ends.

    Not if they are parts of one that has a further axis: these may be samples in their own right,
    as the sentences of a document are.
    """
    one, other = last.input, call.input
    if call.is_cell or not _are_parts(last, call) or one._base.dim() != one.dim():  # noqa: SLF001
        return False
    end = one.storage_offset() + one.shape[_axis(last)] * one.stride(_axis(last))
    return bool(one.stride() == other.stride() and other.storage_offset() == end)


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


def same_place(one: Any, other: Any) -> bool:
    """Return whether two objects are tensors of the same numbers in the same memory."""
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and storage(one) == storage(other)
        and one.storage_offset() == other.storage_offset()
        and one.shape == other.shape
    )
