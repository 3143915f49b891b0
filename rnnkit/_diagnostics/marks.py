"""What looks like a mistake in the calls of one run: a fact about a row, worth a look, no proof.

A mark rests on which tensor is which. What correct programs do as well is not marked: a state that
starts two passes, windows that are not joined, candidates that are scored from one state.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.outputs import tensors_of
from rnnkit._diagnostics.recorder import (
    Call,
    Edge,
    Origin,
    Recorder,
    edge,
    nodes,
    same_place,
    storage,
)


class Judge:
    """Knows all calls of a run, and what became of their states."""

    def __init__(self, recorder: Recorder, result: Any, error: BaseException | None) -> None:
        """Find out which states were used in a run that returned a result, or raised an error."""
        self.calls, self.error = recorder.calls, error
        leaves = tensors_of(result)
        given = [tensor for call in self.calls for tensor in call.state.values()]
        read = [*leaves, *given, *(t for call in self.calls for t in tensors_of(call.input))]
        # A cell computes its h from its c: that is not a use of c.
        ends = {edge(t) for call in self.calls for t in call.returned.values()}
        reached, places = set(nodes(map(edge, read), ends)), set(map(storage, read))
        # Of each call, the members that nothing depends on; None where that is unknown.
        self.unused: list[set[str] | None] = []
        for call in self.calls:
            unused = {
                name: t
                for name, t in call.returned.items()
                if (t.grad_fn is None or edge(t) not in reached)
                and storage(t) not in places
                and id(t) not in recorder.learned
            }
            if error is not None or all(t.grad_fn is None for t in unused.values()):
                self.unused.append(set() if len(unused) < len(call.returned) else None)
            else:
                self.unused.append(set(unused))
        # From the result to the next call of a module, which may mind where windows are joined.
        ends |= {edge(call.output) for call in self.calls if isinstance(call.output, Tensor)}
        self._joins = list(_joins(map(edge, leaves), ends))

    def is_used(self, call: Call) -> bool | None:
        """Return whether something depends on some part of the state that a call returned."""
        unused = self.unused[call.number]
        return None if unused is None else len(unused) < len(call.returned)

    def marks(self, call: Call) -> list[str]:
        """Return what looks like a mistake in a call."""
        graphs = dict.fromkeys(call.attached, "an earlier run") | {
            m: f"row {call.origins[m].row}, which backward has freed" for m in call.freed
        }
        marks = [
            *self._after_the_last(call),
            *(f"its {m} belongs to the graph of {one}: detach it" for m, one in graphs.items()),
        ]
        taken = {m: one for m, one in call.origins.items() if one.how != "computed from"}
        rows = {m: self.calls[one.row] for m, one in taken.items() if one.row is not None}
        if len(rows) == 2 and rows["h"].module is not rows["c"].module:
            h, c = (f"{rows[m].name}, row {rows[m].number}" for m in "hc")
            marks.append(f"its h is of {h}, its c of {c}")
        for member, source in rows.items():
            origin, row = taken[member], f"row {source.number}"
            # Of a GRU there is nothing else to start a c from.
            if origin.member != member and len(call.state) > 1 and "c" in source.returned:
                marks.append(f"its {member} is {origin.member} of {row}")
            marks += self._other_part(call, source, origin, member)
            if not same_place(source.output, call.input):
                continue
            if not call.is_step:
                marks.append(
                    f"reads the output of {row} from its end state: step 0 has seen it all"
                )
            elif self._takes_no_state_of_its_own(call):
                name = f"{source.name}, {row}"
                marks.append(f"its {member} is {origin.member} of {name}, as its input is")
        if self.error is not None and call.error is self.error:
            marks.append(f"it raised {type(self.error).__name__}")
        return list(dict.fromkeys(marks))

    def _after_the_last(self, call: Call) -> Iterator[str]:
        """Mark a call that does not go on from the one before of the same module."""
        before = [c for c in self.calls[: call.number] if c.module is call.module]
        if not before:
            return
        last = before[-1]
        row, unused = f"row {last.number}", self.unused[last.number]
        # Two sequences may begin alike, and candidates and horizons from another module's state.
        later = [one for c in self.calls for one in c.origins.values() if c.module is call.module]
        same = [
            m
            for m in call.state
            if same_place(call.state[m], last.state.get(m))
            and call.origins[m].row is None
            and not any((one.row, one.member) == (last.number, m) for one in later)
        ]
        if call.is_step and last.is_step:
            if same:
                member = "state" if same == list(call.state) else same[0]
                yield f"the same {member} as in {row}: it is never advanced"
            elif call.is_fresh and last.is_fresh and not self._are_samples(last, call):
                if self.is_used(last) is False:
                    yield f"starts from zeros, and the state of {row} is unused"
                elif unused == {"c"} and call.is_cell and _are_steps(last, call):
                    # A cell's h is its output, too, so that c has to tell.
                    yield f"starts from zeros, and c of {row} is unused"
        elif self.is_used(last) is False and self._is_next_window(last, call):
            onward = f"its input goes on where that of {row} ended"
            if call.is_fresh:
                yield f"{onward}, but it starts from zeros, and the state of {row} is unused"
            elif same == list(call.state):
                yield f"{onward}, but it starts from the same state: it is never advanced"

    def _are_samples(self, last: Call, call: Call) -> bool:
        """Return whether a layer runs over one sample after the other, two with one step."""
        if call.is_cell or call.sizes.get("batch", 1) > 1:
            return False
        is_part = _whole(last, call) is not None and not _goes_on(last, call)
        return is_part or any(c.module is call.module and not c.is_step for c in self.calls)

    def _is_next_window(self, last: Call, call: Call) -> bool:
        """Return whether two calls run over parts of one sequence, and their outputs are joined."""
        outputs = [one.output for one in (last, call) if isinstance(one.output, Tensor)]
        whole, ends = _whole(last, call), set(map(edge, outputs))
        return (
            whole is not None
            and _goes_on(last, call)
            and any(
                size == whole.shape[_axis(call)] and edges > ends for size, edges in self._joins
            )
        )

    def _takes_no_state_of_its_own(self, call: Call) -> bool:
        """Return whether a module in a loop always starts from states of other modules.

        The first step of a decoder reads its encoder's state, too, and starts from it.
        """
        calls = [c for c in self.calls if c.module is call.module]
        own = {c.number for c in calls}
        origins = [one for c in calls for one in c.origins.values() if one.how != "computed from"]
        return len(calls) > 2 and not any(origin.row in own for origin in origins)

    def _other_part(self, call: Call, source: Call, origin: Origin, member: str) -> Iterator[str]:
        """Mark a slice of a state that is not of the last layer, or is its backward direction."""
        layer = source.module
        if origin.start is None or not isinstance(layer, RNNBase):
            return
        if getattr(call.module, "num_layers", 1) > 1 or getattr(
            call.module, "bidirectional", False
        ):
            return  # several layers may correctly begin with the first: state[::2]
        directions = 2 if layer.bidirectional else 1
        wanted = (layer.num_layers - 1) * directions
        taken = {(o.row, o.member, o.start) for c in self.calls for o in c.origins.values()}
        if origin.start == wanted or (origin.row, origin.member, wanted) in taken:
            return
        number, direction = divmod(origin.start, directions)
        where = f"layer {number}"
        if layer.bidirectional:
            where = f"the {'backward' if direction else 'forward'} direction of {where}"
        yield f"its {member} begins with {where} of row {origin.row}"


def _axis(call: Call) -> int:
    """Return the seq axis of a layer's input."""
    return 1 if call.module.batch_first and call.input.dim() == 3 else 0


def _whole(last: Call, call: Call) -> Tensor | None:
    """Return the tensor that the inputs of two calls are parts of; None if there is none."""
    if not isinstance(last.input, Tensor) or not isinstance(call.input, Tensor):
        return None
    whole = call.input._base  # noqa: SLF001
    return whole if whole is last.input._base else None  # noqa: SLF001


def _goes_on(last: Call, call: Call) -> bool:
    """Return whether a layer's input begins where the one before ends.

    Not if they are parts of one that has a further axis: these may be samples in their own right,
    as the sentences of a document are.
    """
    whole, one, other = _whole(last, call), last.input, call.input
    if whole is None or call.is_cell or not whole.dim() == one.dim() == other.dim():
        return False
    axis, sizes, others = _axis(call), [*one.shape], [*other.shape]
    end = one.storage_offset() + sizes.pop(axis) * one.stride(axis)
    others.pop(axis)
    same = one.stride() == other.stride() and sizes == others
    return bool(same and other.storage_offset() == end)


def _are_steps(last: Call, call: Call) -> bool:
    """Return whether the inputs of two calls are parts of a tensor that has one axis more."""
    whole = _whole(last, call)
    return whole is not None and whole.dim() == call.input.dim() + 1


def _joins(leaves: Iterable[Edge], ends: set[Edge]) -> Iterator[tuple[int, set[Edge]]]:
    """Yield what each concatenation was computed from, and its size on the axis that it joins."""
    for one in nodes(leaves, ends):
        if type(one[0]).__name__.startswith("CatBackward"):
            shape = one[0]._input_metadata[0].shape  # noqa: SLF001
            yield shape[one[0]._saved_dim % len(shape)], set(nodes([one], ends))  # noqa: SLF001
