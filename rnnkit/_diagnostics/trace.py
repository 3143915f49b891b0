"""``trace``: which state went where, call by call."""

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as modules
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.model import check_model
from rnnkit._diagnostics.isolation import eagerly, private, session
from rnnkit._diagnostics.marks import Edge, Origin, TracedCall, edge, is_same, judge, nodes, storage
from rnnkit._diagnostics.module_calls import (
    KINDS,
    members_of,
    named_arguments,
    sizes_of,
    split_result,
)
from rnnkit._diagnostics.outputs import Given
from rnnkit._diagnostics.picture import as_html


@dataclass
class Row:
    """One call of a recurrent module.

    Attributes:
        number: its position in the run, from 0.
        module: the module's qualified name.
        kind: its class.
        spec: the sizes of its input, as the module reads the axes.
        state: where the given state came from.
        used: whether a later call or the result depends on the state that the call returned; None
            where that is unknown, without gradients.
        marks: what looks like a mistake in it.
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
        for row in self.rows:
            used = {True: "used", False: "not used", None: "?"}[row.used]
            module = f"{row.module} ({row.kind})".strip()
            table.append((str(row.number), module, row.spec, row.state, used))
        widths = [max(len(line[k]) for line in table) for k in range(5)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        for row in reversed(self.rows):
            lines[row.number + 2 : row.number + 2] = [f"     ^ {mark}" for mark in row.marks]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return as_html(str(self), lambda line: line.startswith("     ^"))


def trace(run: torch.nn.Module | Callable[..., Any], /, *inputs: Any) -> Trace:
    """Record which state went where while a model runs once.

    Args:
        run: any module, whose copy runs in eval mode; or any function that calls modules,
            a loop over cells, say. A bound method of a model knows its modules by their names.
        *inputs: what it is called with.

    Raises:
        ArgumentError: if ``run`` cannot be called, or is a class.
        Exception: what the run raises; the rows until then are its ``trace``.

    Returns:
        A row for each call of a recurrent module. Its marks are worth a look, and no proof. They
        mark a state that is never advanced, dropped, or on an earlier graph, swapped members, and
        windows of one sequence that start afresh.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> len(rnnkit.trace(loop, torch.ones(3, 2, 3), torch.zeros(2, 4)).marked)
    2
    """
    if isinstance(run, type) or not callable(run):
        check_model("trace", run)
    if not isinstance(run, torch.nn.Module):
        model, given = getattr(run, "__self__", None), private(Given(inputs, {}))
        named = model if isinstance(model, torch.nn.Module) else None
        return Recorder(named).traced(run, given.args)
    with session(run, None, Given(inputs, {}), "trace") as opened:
        copy, given = opened.pristine.copy(), private(Given(inputs, {}))
        with opened.watched():
            return Recorder(copy).traced(copy, given.args)


trace.__module__ = "rnnkit"


class Recorder:
    """Writes down the calls of recurrent modules in one thread while a model or function runs.

    The tensors of calls are kept alive, so that no other tensor gets their memory or id.
    """

    def __init__(self, model: torch.nn.Module | None) -> None:
        """Take a model for the names."""
        named = () if model is None else model.named_modules()
        self._names = {id(module): name for name, module in named}
        self._calls: list[TracedCall] = []
        self._learned: set[int] = set()  # the returned tensors that backward has gone through
        self._known: dict[int, tuple[Tensor, Origin]] = {}
        self._made: dict[Edge, Origin] = {}
        with torch.enable_grad():
            # What has a smaller number was made before.
            self._first = _age(torch.ones((), requires_grad=True, device="cpu").clone())

    def traced(self, run: Callable[..., Any], inputs: tuple[Any, ...]) -> Trace:
        """Run with gradients, and make the rows; of a run that fails they are left on the error."""
        thread = threading.get_ident()

        def hook(module: torch.nn.Module, args: Any, first: Any, *rest: Any) -> None:
            if isinstance(module, KINDS) and threading.get_ident() == thread:
                # Of a call that raised, torch passes no arguments by name.
                self._write_down(module, args, *((first, *rest) if rest else ({}, first)))

        handle = modules.register_module_forward_hook(hook, with_kwargs=True, always_call=True)
        try:
            with torch.enable_grad(), eagerly():
                result = run(*inputs)
        except BaseException as error:
            found = vars(error)["trace"] = self._rows(None, error)
            text = f"rnnkit.trace: {len(found.rows)} rows until then, in this error's .trace"
            error.add_note(text)
            raise
        finally:
            handle.remove()
            # torch would leave a mark, by which it calls all modules the slow way.
            modules._global_forward_hooks_with_kwargs.pop(handle.id, None)  # noqa: SLF001
        return self._rows(result)

    def _rows(self, result: Any, error: BaseException | None = None) -> Trace:
        """Make the rows, once it is known what became of each state."""
        judge(self._calls, self._learned, result, error)
        rows = []
        for call in self._calls:
            sizes = sizes_of(call.module, call.input).items()
            spec = " ".join(f"{axis}={size}" for axis, size in sizes) or "?"
            packed = "packed " * isinstance(call.input, PackedSequence)
            state, kind = _describe([*call.origins.values()]), type(call.module).__name__
            row = call.number, call.name, kind, packed + spec, state, call.used, call.marks
            rows.append(Row(*row))
        return Trace(rows)

    def _write_down(self, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        named, number = named_arguments(args, kwargs), len(self._calls)
        state = members_of(named.get("hx"))
        origins = {member: self._origin(tensor) for member, tensor in state.items()}
        name = self._names.setdefault(id(module), f"{type(module).__name__}-{len(self._names)}")
        call = TracedCall(number, name, module, named.get("input"), state, origins=origins)
        call.output, call.returned = split_result(module, result)
        call.output = call.returned.get("h") if call.is_cell else call.output
        # Zeros that are learned are a first state like any other.
        zeros = [not (x.requires_grad or x.is_meta or bool(x.any())) for x in state.values()]
        call.is_fresh = all(zeros) and all(origin.row is None for origin in origins.values())
        call.error = sys.exc_info()[1] if result is None else None
        for member, tensor in state.items() if torch.is_grad_enabled() else ():
            base: Any = tensor._base  # noqa: SLF001
            whole = tensor if base is None else base
            if _age(whole) < self._first and origins[member].row is None:
                text = f"its {member} belongs to the graph of an earlier run: detach it"
                call.marks.append(text)
        for member, tensor in call.returned.items():
            origin = self._made[edge(tensor)] = Origin(number, member)
            self._known[storage(tensor)] = tensor, origin
            if tensor.requires_grad:
                # The hook outlives the run, and must not hold the recorder, nor return anything.
                key, learned = id(tensor), self._learned
                note: Any = lambda _, key=key, learned=learned: learned.add(key)  # noqa: E731
                tensor.register_hook(note)  # type: ignore[no-untyped-call]
        self._calls.append(call)

    def _origin(self, tensor: Tensor) -> Origin:
        """Return where a tensor came from: what it is, shares memory with, or was computed from."""
        if (place := storage(tensor)) in self._known:
            known, origin = self._known[place]
            return origin if is_same(known, tensor) else origin._replace(how="a slice of")
        # What a call returned ends the search: its c is computed from what its h is, too.
        near = nodes([edge(tensor)], self._made.keys())
        found = [self._made[one] for one in near if one in self._made]
        row = max((origin.row or 0 for origin in found), default=None)
        members = sorted({origin.member for origin in found if origin.row == row}, reverse=True)
        return Origin(row, " and ".join(members), "computed from" if found else "")


def _describe(origins: list[Origin]) -> str:
    """Write where a state came from."""
    whole = [(one.row, one.member) for one in origins if not one.how]
    if len(whole) == len(origins) > 0 and whole == [(whole[0][0], m) for m in "hc"[: len(whole)]]:
        return f"row {whole[0][0]}"
    return ", ".join(dict.fromkeys(map(str, origins))) or "zeros"


def _age(tensor: Tensor) -> float:
    """Return when a tensor was computed, as a number that grows within a thread."""
    node: Any = tensor.grad_fn
    return math.inf if node is None else int(node._sequence_nr())  # noqa: SLF001
