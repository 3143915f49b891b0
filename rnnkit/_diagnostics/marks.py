"""What looks like a mistake in the calls of one run: a fact about a row, worth a look, no proof.

A mark rests on which tensor is which. What right programs do as well is not marked: a state
that starts two passes, windows that are joined to nothing, cells that take turns.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.nn import RNNBase, RNNCellBase

from rnnkit._diagnostics.flow import Flow, Origin
from rnnkit._diagnostics.outputs import tensors_of
from rnnkit._diagnostics.recorder import Call


class Judge:
    """Knows all calls of a run, and what became of their states.

    Attributes:
        unused: of each call, the members of its state that nothing depends on; None where that
            cannot be told, without gradients or without a result.
    """

    def __init__(self, calls: list[Call], flow: Flow, result: Any, error: Any = None) -> None:
        """Find out which states were used in a run that gave a result, or raised an error."""
        self.calls, self.flow, self.error = calls, flow, error
        self.leaves = tensors_of(result)
        self.reached = flow.reached(self.leaves)
        self._given = [tensor for call in calls for tensor in call.state.values()]
        read = [tensor for call in calls for tensor in tensors_of(call.input)]
        returned = [tensor for call in calls for tensor in call.returned.values()]
        # A cell computes its h from its c: that alone is no use of c.
        self._read = flow.reached([*self.leaves, *self._given, *read], returned)
        self.unused = [self._unused(call) for call in calls]

    def _unused(self, call: Call) -> set[str] | None:
        rest = {name: part for name, part in call.returned.items() if not self._is_used(part)}
        if self.error is None and any(part.grad_fn is not None for part in rest.values()):
            return set(rest)
        return set() if len(rest) < len(call.returned) else None

    def _is_used(self, tensor: Tensor) -> bool:
        reached = self.flow.is_reached(tensor, self._read) or self.flow.is_learned_from(tensor)
        return reached or self.flow.shares(tensor, self._given)

    def is_used(self, call: Call) -> bool | None:
        """Return whether something depends on some part of the state that a call returned."""
        unused = self.unused[call.number]
        return None if unused is None else len(unused) < len(call.returned)

    def marks(self, call: Call) -> list[str]:
        """Say what looks like a mistake in one call."""
        marks = [*self._in_the_loop(call), *self._graphs(call), *self._two_sources(call)]
        for member, origin in call.origins.items():
            if origin.row is None or origin.how == "computed from":
                continue
            if len(call.state) > 1 and origin.member != member:
                marks.append(f"its {member} is {origin.member} of row {origin.row}")
            marks += self._other_part(call, origin, member)
            marks += self._other_module(call, self.calls[origin.row], origin, member)
        if self.error is not None and call.error is self.error:
            marks.append(f"it raised {type(call.error).__name__}")
        return list(dict.fromkeys(marks))

    def _in_the_loop(self, call: Call) -> Iterator[str]:
        last = self._last(call)
        if last is None:
            return
        row = f"row {last.number}"
        if not (call.is_step and last.is_step):
            if not self._is_next_window(last, call):
                return
            onward = f"its input goes on where that of {row} ended"
            if call.is_fresh:
                yield f"{onward}, but it starts from zeros, and the state of {row} is unused"
            elif self._same(call, last) == list(call.state):
                yield f"{onward}, but it starts from the same state: it is never advanced"
            return
        same = self._same(call, last)
        if same and same == list(call.state):
            yield f"the same state as in {row}: it is never advanced"
        elif same:
            yield f"the same {same[0]} as in {row}: it is never advanced"
        elif call.is_fresh and last.is_fresh:
            # Else the one before was the last step of another sequence.
            yield from self._starts_afresh(call, last)

    def _starts_afresh(self, call: Call, last: Call) -> Iterator[str]:
        """Mark a step from zeros; a cell's h is its output, too, so that there c has to tell."""
        unused, row = self.unused[last.number], f"row {last.number}"
        if self._are_samples(last, call):
            return
        if self.is_used(last) is False:
            yield f"starts from zeros, and the state of {row} is unused"
        elif (
            unused == {"c"} and isinstance(call.module, RNNCellBase) and self._are_steps(last, call)
        ):
            yield f"starts from zeros, and c of {row} is unused"

    def _are_samples(self, last: Call, call: Call) -> bool:
        """Return whether a layer runs over one sample after the other, two of one step."""
        if isinstance(call.module, RNNCellBase) or call.sizes.get("batch", 1) > 1:
            return False
        is_part = self._have_one_base(last, call) and not self._goes_on(last, call)
        return is_part or any(c.module is call.module and not c.is_step for c in self.calls)

    def _have_one_base(self, last: Call, call: Call) -> bool:
        both = isinstance(last.input, Tensor) and isinstance(call.input, Tensor)
        return both and self.flow.shares(last.input, [call.input])

    def _are_steps(self, last: Call, call: Call) -> bool:
        both = isinstance(last.input, Tensor) and isinstance(call.input, Tensor)
        return both and self.flow.are_parts(last.input, call.input)

    def _last(self, call: Call) -> Call | None:
        earlier = (c for c in reversed(self.calls[: call.number]) if c.module is call.module)
        return next(earlier, None)

    def _same(self, call: Call, last: Call) -> list[str]:
        both = [m for m in call.state if m in last.state]
        same = [m for m in both if self.flow.same_place(call.state[m], last.state[m])]
        return [m for m in same if not self._goes_into(last, m)]

    def _goes_into(self, last: Call, member: str) -> bool:
        """Return whether a later call of a module takes what one returned: two may begin alike."""
        return any(
            later.module is last.module
            and member in later.origins
            and later.origins[member].row == last.number
            for later in self.calls[last.number + 1 :]
        )

    def _graphs(self, call: Call) -> Iterator[str]:
        for member in call.attached:
            yield f"its {member} belongs to the graph of an earlier run: detach it"
        for member in call.freed:
            graph = f"the graph of row {call.origins[member].row}, which backward has freed"
            yield f"its {member} belongs to {graph}: detach it"

    def _is_next_window(self, last: Call, call: Call) -> bool:
        """Return whether two calls run over parts of one sequence, and their outputs are joined."""
        if not self._goes_on(last, call) or self.is_used(last) is not False:
            return False
        outputs = [last.output, call.output]
        if not all(isinstance(output, Tensor) for output in outputs):
            return False
        inputs = (self.flow.reached(tensors_of(one.input)) for one in self.calls)
        if any(all(self.flow.is_reached(out, edges) for out in outputs) for edges in inputs):
            return False  # a further module reads all of them, and may see to what is between
        joins = self.flow.joins(self.reached, self.flow.length(call.input, self._axis(call)))
        return any(all(self.flow.is_reached(out, join) for out in outputs) for join in joins)

    def _goes_on(self, last: Call, call: Call) -> bool:
        both = isinstance(last.input, Tensor) and isinstance(call.input, Tensor)
        if not both or not isinstance(call.module, RNNBase):
            return False
        return self.flow.goes_on(last.input, call.input, self._axis(call))

    def _axis(self, call: Call) -> int:
        return 1 if call.module.batch_first and call.input.dim() == 3 else 0

    def _two_sources(self, call: Call) -> Iterator[str]:
        """Mark an h and a c that two modules returned."""
        whole = [origin.row for origin in call.origins.values() if origin.how != "computed from"]
        rows = [row for row in whole if row is not None]
        if len(rows) == 2:
            one, other = (self.calls[row] for row in rows)
            if one.module is not other.module:
                yield f"its h is of {one.name}, row {rows[0]}, its c of {other.name}, row {rows[1]}"

    def _other_module(self, call: Call, source: Call, origin: Origin, member: str) -> Iterator[str]:
        """Mark a state of the module whose output the call reads, too."""
        if not self._continues(call, source):
            return
        if not call.is_step:
            row = f"row {origin.row}"
            yield f"reads the output of {row} from its end state: step 0 has seen it all"
        elif self._takes_no_state_of_its_own(call):
            row = f"{source.name}, row {origin.row}"
            yield f"its {member} is {origin.member} of {row}, as its input is"

    def _continues(self, call: Call, source: Call) -> bool:
        result = source.returned["h"] if isinstance(source.module, RNNCellBase) else source.output
        both = isinstance(result, Tensor) and isinstance(call.input, Tensor)
        return both and self.flow.same_place(result, call.input)

    def _takes_no_state_of_its_own(self, call: Call) -> bool:
        """Return whether a module is in a loop, and runs from states of other modules in all of it.

        The first step of a decoder is one that reads its encoder's state, and starts from it.
        """
        calls = [c for c in self.calls if c.module is call.module]
        own = {c.number for c in calls}
        return len(calls) > 2 and not any(
            origin.row in own and origin.how != "computed from"
            for c in calls
            for origin in c.origins.values()
        )

    def _other_part(self, call: Call, origin: Origin, member: str) -> Iterator[str]:
        """Mark a slice of a state that is not of the last layer, or of the backward direction."""
        source = self.calls[origin.row or 0].module
        if origin.start is None or not isinstance(source, RNNBase):
            return
        if getattr(call.module, "num_layers", 1) > 1 or getattr(
            call.module, "bidirectional", False
        ):
            # Several layers may be right to begin with the first: state[::2].
            return
        layer, direction = divmod(origin.start, 2 if source.bidirectional else 1)
        wanted = (source.num_layers - 1) * (2 if source.bidirectional else 1)
        if origin.start == wanted or self._is_taken(origin, wanted):
            return
        where = f"layer {layer}"
        if source.bidirectional:
            where = f"the {'backward' if direction else 'forward'} direction of {where}"
        yield f"its {member} begins with {where} of row {origin.row}"

    def _is_taken(self, origin: Origin, start: int) -> bool:
        """Return whether another call takes the part that would be right: each has its own."""
        return any(
            (other.row, other.member, other.start) == (origin.row, origin.member, start)
            for call in self.calls
            for other in call.origins.values()
        )
