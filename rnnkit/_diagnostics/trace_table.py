"""The rows of a trace, and how they print."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from rnnkit._diagnostics.tell.picture import as_html, noted


@dataclass
class Row:
    """One call of a recurrent module, as ``rnnkit.trace`` recorded it.

    Attributes:
        number: the number of the call in this run, from 0.
        module: the name of the module, as in ``named_modules()``.
        kind: the name of the module's class, such as ``"GRU"``.
        spec: the axes and sizes of the input as the module read them.
        state: the origin of the hidden state that the module started from, such as ``"zeros"``.
        used: True if the state that the call returned was used later; None if that is not known.
        marks: what looks like a mistake in this call, one sentence each.

    >>> model = torch.nn.Sequential(torch.nn.GRU(3, 4))
    >>> (row,) = rnnkit.trace(model, torch.ones(7, 5, 3)).rows
    >>> row.number, row.module, row.kind, row.spec
    (0, '0', 'GRU', 'seq=7 batch=5 feature=3')
    >>> row.state, row.used, row.marks
    ('zeros', True, [])
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
    """The result of ``rnnkit.trace``: a table with a row for each call of a recurrent module.

    Attributes:
        rows: the calls, in order.
        notes: objects of your model that could not be copied, so the run may have changed them.

    >>> cell = torch.nn.GRUCell(3, 4)
    >>> def loop(x, h):
    ...     return [cell(x_t, h) for x_t in x]  # h is never advanced
    >>> rnnkit.trace(loop, torch.ones(2, 5, 3), torch.zeros(5, 4))
    row  module               input as read      state given  state returned
    0    GRUCell-0 (GRUCell)  batch=5 feature=3  zeros        used
    1    GRUCell-0 (GRUCell)  batch=5 feature=3  zeros        used
         ^ the same state as in row 0: it is never advanced
    """

    __module__ = "rnnkit"

    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def marked(self) -> list[Row]:
        """The rows that have marks, which are the calls that look like a mistake."""
        return [row for row in self.rows if row.marks]

    def __str__(self) -> str:
        """Write the table: call, input as read, origin of the state, use of the next; notes."""
        table = [("row", "module", "input as read", "state given", "state returned")]
        for row in self.rows:
            used = {True: "used", False: "not used", None: "?"}[row.used]
            module = f"{row.module} ({row.kind})".strip()
            table.append((str(row.number), module, row.spec, row.state, used))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        for row in self.rows:
            lines[row.number + 1] += "".join(f"\n     ^ {mark}" for mark in row.marks)
        return "\n".join([*lines, *noted(self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return as_html(self, lambda line: line.startswith("     ^"))


class Origin(NamedTuple):
    """Where a tensor came from.

    Attributes:
        row: the number of the row whose call returned it; -1 if none did.
        part: what of that call's result it is: ``h``, ``c`` or ``output``.
        text: both in words.
    """

    row: int
    part: str
    text: str


def state_in_words(state: Mapping[str, Tensor], origins: Mapping[str, Origin]) -> str:
    """Return where a hidden state comes from, as the column of a trace has it.

    ``state`` has its tensors by name, ``origins`` where each came from. Zeros that are learned are
    a state like any other.
    """
    is_given = any(x.requires_grad or x.is_meta or x.any() for x in state.values())
    if not is_given and all(origin.row < 0 for origin in origins.values()):
        return "zeros"
    return ", ".join(dict.fromkeys(origin.text for origin in origins.values()))


def from_zeros(at: int) -> str:
    """Return a mark: a call starts from zeros, while the state of row ``at`` is unused."""
    return f"starts from zeros, and the state of row {at} is unused"
