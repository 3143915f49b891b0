"""``trace``: which state went where, call by call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.isolation import Given, private, session
from rnnkit._diagnostics.marks import Judge
from rnnkit._diagnostics.recorder import Origin, Recorder


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


def trace(
    run: torch.nn.Module | Callable[..., Any],
    /,
    *inputs: Any,
    model: torch.nn.Module | None = None,
) -> Trace:
    """Record which state went where while a model runs once.

    Args:
        run: any module, whose copy runs in eval mode; or any function that calls modules,
            a loop over cells, say.
        *inputs: what it is called with.
        model: beside a function, the module by which the modules that it calls are named. That of
            a bound method is known.

    Raises:
        ArgumentError: if ``run`` cannot be called, or is a class, or if ``model`` is no module, or
            stands beside one.
        Exception: what the run raises; the rows until then are its ``trace``.

    Returns:
        A row for each call of a recurrent module. Its marks are worth a look, and no proof. They
        mark the same state given to calls in a row, a returned state that nothing uses while the
        next call starts from zeros, both of single steps and of the windows of one sequence; a
        state from an earlier graph, or from one that backward has freed; h for c; and a state of
        another layer or cell.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> len(rnnkit.trace(loop, torch.ones(3, 2, 3), torch.zeros(2, 4)).marked)
    2
    """
    if isinstance(run, type) or not callable(run):
        check_model("trace", run)
    if not isinstance(run, torch.nn.Module):
        names = getattr(run, "__self__", None) if model is None else model
        if model is not None:
            check_model("trace", model)
        given, attached = private(Given(inputs, {}))
        names = names if isinstance(names, torch.nn.Module) else None
        return _traced(Recorder(names, attached), run, given.args)
    if model is not None:
        message = "model= names the modules that a function calls, and a module was given"
        fix = ("fix", "rnnkit.trace(model, ...), without model=")
        refusal(ArgumentError, "model", message, "", fix, code="trace-model")
    with session(run, None, Given(inputs, {}), "trace") as opened:
        copy, held = opened.pristine.copy()
        given, attached = private(Given(inputs, {}))
        with opened.watched():
            return _traced(Recorder(copy, [*held, *attached]), copy, given.args)


trace.__module__ = "rnnkit"


def _traced(recorder: Recorder, run: Callable[..., Any], inputs: tuple[Any, ...]) -> Trace:
    """Run, and make the rows; of a run that fails they are left on what it raises."""
    try:
        result = recorder.run(run, inputs)
    except BaseException as error:
        found = _judged(recorder, None, error)
        vars(error)["trace"] = found
        error.add_note(f"rnnkit.trace: {len(found.rows)} rows until then, in this error's .trace")
        raise
    return _judged(recorder, result)


def _judged(recorder: Recorder, result: Any, error: BaseException | None = None) -> Trace:
    """Make the rows, once it is known what became of each state."""
    judge = Judge(recorder, result, error)
    return Trace(
        [
            Row(
                number=call.number,
                module=call.name,
                kind=type(call.module).__name__,
                spec=call.spec,
                state=_describe([*call.origins.values()]),
                used=judge.is_used(call),
                marks=judge.marks(call),
            )
            for call in recorder.calls
        ]
    )


def _describe(origins: list[Origin]) -> str:
    if not origins:
        return "zeros"
    texts = [str(origin) for origin in origins]
    rows = {origin.row for origin in origins}
    whole = all(origin.row is not None and not origin.how for origin in origins)
    if len(rows) == 1 and whole and [o.member for o in origins] in (["h"], ["h", "c"]):
        return f"row {origins[0].row}"
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
