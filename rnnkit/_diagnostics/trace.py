"""``trace``: which state went where, call by call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._base.model import check_model
from rnnkit._diagnostics.isolation import private, session
from rnnkit._diagnostics.outputs import leaves
from rnnkit._diagnostics.recorder import Call, Flow, Origin, Recorder


@dataclass
class Row:
    """One call of a recurrent module.

    Attributes:
        number: counted from 0.
        module: the module's qualified name.
        kind: its class.
        spec: the sizes of its input, as the module reads the axes.
        state: where the state that it was given came from.
        used: whether a later call or the result depends on the state that the call returned; None
            where that cannot be told, without gradients.
        marks: what looks like a mistake.
    """

    __module__ = "rnnkit"

    number: int
    module: str
    kind: str
    spec: str
    state: str
    used: bool | None = True
    marks: list[str] = field(default_factory=list)


@dataclass
class Trace:
    """The calls of recurrent modules in one run, in order; prints as a table.

    Attributes:
        rows: one for each call.
    """

    __module__ = "rnnkit"

    rows: list[Row]

    @property
    def marked(self) -> list[Row]:
        """The rows that look like a mistake."""
        return [row for row in self.rows if row.marks]

    def __str__(self) -> str:
        """Write the table: call, input as read, origin of the state, use of the next, marks."""
        table = [("row", "module", "input as read", "state given", "state returned")]
        table += [
            (
                str(row.number),
                f"{row.module} ({row.kind})".strip(),
                row.spec,
                row.state,
                {True: "used", False: "not used", None: "?"}[row.used],
            )
            for row in self.rows
        ]
        widths = [max(len(line[k]) for line in table) for k in range(5)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        for row in reversed(self.rows):
            lines[row.number + 2 : row.number + 2] = [f"     ^ {mark}" for mark in row.marks]
        return "\n".join(lines)

    __repr__ = __str__


def trace(model: torch.nn.Module | Callable[..., Any], *inputs: Any) -> Trace:
    """Record which state went where while a model runs once.

    Args:
        model: any module, of which a copy is run in eval mode; or any function that calls modules,
            a loop over cells, say.
        *inputs: what it is called with.

    Raises:
        ArgumentError: if ``model`` cannot be called, or is a class.

    Returns:
        A row for each call of a recurrent module. Its marks are worth a look, and no proof. They
        mark the same state given to calls in a row, a returned state that nothing uses while the
        next call starts from zeros, a state from an earlier graph, h for c, and a state of another
        layer.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> len(rnnkit.trace(loop, torch.ones(3, 2, 3), torch.zeros(2, 4)).marked)
    2
    """
    if isinstance(model, type) or not callable(model):
        check_model("trace", model)
    if not isinstance(model, torch.nn.Module):
        given, attached = private(inputs)
        recorder = Recorder(model, given, attached)
        return _judged(recorder, recorder.run(model, given))
    with session(model) as opened:
        copy, held = opened.pristine.copy()
        given, attached = private(inputs)
        recorder = Recorder(copy, given, [*held, *attached])
        with opened.watched():
            return _judged(recorder, recorder.run(copy, given))


trace.__module__ = "rnnkit"


def _judged(recorder: Recorder, output: Any) -> Trace:
    """Make the rows, once it is known what became of each state."""
    calls, flow = recorder.calls, recorder.flow
    reached = flow.reached(leaf for leaf in leaves(output) if isinstance(leaf, Tensor))
    given = [tensor for call in calls for tensor in call.given]
    rows = []
    for call in calls:
        used = any(
            flow.is_reached(tensor, reached) or flow.shares(tensor, given)
            for tensor in call.returned
        )
        told = used or any(tensor.grad_fn is not None for tensor in call.returned)
        kind, state = type(call.module).__name__, _describe(call.origins)
        rows.append(Row(call.number, call.name, kind, call.spec, state, used if told else None))
    judge = _Judge(calls, flow, [row.used for row in rows])
    for call, row in zip(calls, rows, strict=True):
        row.marks += judge.marks(call)
    return Trace(rows)


class _Judge:
    def __init__(self, calls: list[Call], flow: Flow, used: list[bool | None]) -> None:
        self.calls, self.flow, self.used = calls, flow, used

    def marks(self, call: Call) -> list[str]:
        marks = self._in_the_loop(call) if call.is_step else []
        names = ("h", "c") if len(call.given) > 1 else ("h",)
        for member, origin, tensor in zip(names, call.origins, call.given, strict=False):
            if origin.row is None and self.flow.is_attached(tensor):
                marks.append(f"its {member} belongs to the graph of an earlier run: detach it")
            if origin.row is None or origin.how == "computed from":
                continue
            source = self.calls[origin.row]
            if len(names) > 1 and origin.member != member:
                marks.append(f"its {member} is {origin.member} of row {origin.row}")
            marks += self._other_samples(call, source, origin, member)
            if not call.is_step and self._continues(call, source):
                row = f"row {origin.row}"
                marks.append(
                    f"reads the output of {row} from its end state: step 0 has seen it all"
                )
        return list(dict.fromkeys(marks))

    def _in_the_loop(self, call: Call) -> list[str]:
        earlier = [c for c in self.calls[: call.number] if c.module is call.module]
        if not earlier:
            return []
        last = earlier[-1]
        pairs = zip(call.given, last.given, strict=False)
        same = [self.flow.same_place(one, other) for one, other in pairs]
        if same and all(same):
            return [f"the same state as in row {last.number}: it is never advanced"]
        if not call.given and self.used[last.number] is False:
            return [f"starts from zeros, and the state of row {last.number} is unused"]
        return []

    def _continues(self, call: Call, source: Call) -> bool:
        both = isinstance(source.output, Tensor) and isinstance(call.input, Tensor)
        return both and self.flow.same_place(source.output, call.input)

    def _other_samples(self, call: Call, source: Call, origin: Origin, member: str) -> list[str]:
        if not isinstance(source.module, RNNBase) or not isinstance(call.module, RNNBase):
            return []
        if origin.start is None or not source.module.bidirectional or call.module.bidirectional:
            return []
        if call.module.num_layers > 1:
            # Several layers may be right to begin with the first: state[::2].
            return []
        layer, direction = divmod(origin.start, 2)
        if source.module.num_layers - 1 == layer and direction == 0:
            return []
        way = "backward" if direction else "forward"
        where = f"the {way} direction of layer {layer}"
        return [f"its {member} begins with {where} of row {origin.row}"]


def _describe(origins: list[Origin]) -> str:
    if not origins:
        return "zeros"
    texts = [str(origin) for origin in origins]
    rows = {origin.row for origin in origins}
    whole = all(origin.row is not None and origin.is_whole for origin in origins)
    if len(rows) == 1 and whole and [o.member for o in origins] in (["h"], ["h", "c"]):
        return f"row {origins[0].row}"
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
