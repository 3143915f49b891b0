"""``dependency_map``: which output depends on which input, along one axis, as a picture."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.axes import check_dims, infer_batch_axes
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.isolation import Given, Session, session
from rnnkit._diagnostics.map_search import Search
from rnnkit._diagnostics.outputs import is_output
from rnnkit._diagnostics.picture import draw
from rnnkit._diagnostics.reach import blocks_of

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
Rule = Literal["independent", "causal"]


@dataclass(frozen=True)
class DependencyMap:
    """Which output depends on which input along one axis: print it, or plot it.

    An output depends on an input if it changes with it, or if its gradient is not zero: a recurrent
    net forgets, and over hundreds of steps the effect of an early input is smaller than rounding.

    Attributes:
        matrix: boolean, ``(outputs, inputs)``: output i depends on input j.
        outputs: indices of the outputs, on the axis of the output.
        inputs: indices of the inputs, on the axis of the input.
        dim: the axis of the input.
        out_dim: the axis of the output.
        faint: boolean, as the matrix: only the gradient shows this dependency; None if none does.
        is_certain: whether an empty cell proves that there is no dependency; without gradients, it
            may also be one that is smaller than rounding.
    """

    __module__ = "rnnkit"

    matrix: Tensor
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    dim: int
    out_dim: int
    faint: Tensor | None = None
    is_certain: bool = True

    @property
    def is_square(self) -> bool:
        """Whether input and output have the same indices, so that a rule can compare them."""
        return self.outputs == self.inputs

    def forbidden(self, rule: Rule) -> Tensor:
        """Return the dependencies that a rule forbids.

        Args:
            rule: ``"independent"``, each output may depend on its own input alone (samples);
                ``"causal"``, it may also depend on earlier inputs (steps of a language model).

        Raises:
            ArgumentError: if there is no such rule, or input and output differ in length.
        """
        if rule not in get_args(Rule):
            message = f"rule must be one of {', '.join(get_args(Rule))}, got {brief(rule)}"
            refusal(ArgumentError, "rule", message, code="map-rule")
        if not self.is_square:
            sizes = f"{self.outputs[-1] + 1} outputs and {self.inputs[-1] + 1} inputs"
            message = f"rule compares indices, and {sizes} have none in common"
            fix = ("fix", "out_dim=, if another axis of the output is intended; or no rule")
            refusal(ArgumentError, "rule", message, "", fix, code="map-axes")
        return self._against(rule)

    def _against(self, rule: Rule) -> Tensor:
        output = torch.tensor(self.outputs, device="cpu").unsqueeze(1)
        input = torch.tensor(self.inputs, device="cpu")
        return self.matrix & (input != output if rule == "independent" else input > output)

    @property
    def finding(self) -> str:
        """What the map looks like, in a few words."""
        if not self.matrix.any():
            return "nothing depends on this axis"
        if self.matrix.all():
            return "each depends on all inputs"
        if not self.is_square:
            sizes = f"{self.outputs[-1] + 1} and {self.inputs[-1] + 1}"
            return f"some depend on some inputs; axes of {sizes} are not compared"
        if not self._against("independent").any():
            return "each depends on its own input alone"
        known = self.matrix if self.faint is None else self.matrix | self.faint
        if self.is_certain and (size := blocks_of(known)) is not None:
            return f"each depends on its own block of {size} alone: a state starts afresh"
        if not self._against("causal").any():
            return "each depends on its own and earlier inputs"
        return "some depend on later inputs"

    @property
    def notes(self) -> dict[str, str]:
        """What each sign of this map other than ``■`` means."""
        notes = {}
        if self.faint is not None:
            notes["□"] = "depends, by less than rounding shows"
        if not self.is_certain and not self.matrix.all():
            notes["·"] = "no change seen: independent, or forgotten"
        return notes

    def __str__(self) -> str:
        """Draw the map as a grid, a row for each output."""
        width = len(str(max(self.outputs, default=0)))
        signs = self.matrix.long() + (0 if self.faint is None else self.faint.long())
        rows = [
            f"{index:>{width}} " + " ".join("·■□"[sign] for sign in row)
            for index, row in zip(self.outputs, signs.tolist(), strict=True)
        ]
        head = f"output on axis {self.out_dim} (down), input on axis {self.dim} (across)"
        notes = [f"{sign} {note}" for sign, note in self.notes.items()]
        return "\n".join([f"{head}: {self.finding}", *rows, *notes])

    __repr__ = __str__

    def plot(self, rule: Rule | None = None, title: str | None = None, ax: Any = None) -> Any:
        """Draw the map with matplotlib: a row for each output, a column for each input.

        Args:
            rule: draw the dependencies that this rule forbids in red, see :meth:`forbidden`.
            title: the title, wrapped to fit; None for the finding.
            ax: the matplotlib axes to draw on; None for new ones.

        Returns:
            The axes.

        Raises:
            ArgumentError: if there is no such rule, or input and output differ in length.
            ModuleNotFoundError: if matplotlib is not installed (``pip install "rnnkit[plot]"``).
        """
        forbidden = None if rule is None else self.forbidden(rule)
        bad = 0 if forbidden is None else int(forbidden.sum())
        heading = f"{self.finding}\n{bad} forbidden" if bad else self.finding
        return draw(self, forbidden, title or heading, ax)


def dependency_map(
    model: torch.nn.Module, *inputs: Any, dim: int = 0, out_dim: int | None = None
) -> DependencyMap:
    """Find which output depends on which input along one axis.

    A copy of the model runs once for each index of the axis (at most 33, evenly spaced), on inputs
    that are changed there, in float64. Where the output stays the same, it runs with a larger
    change, and then gradients are computed: so an input that was forgotten is distinguished from
    one that was not read.

    An input that shares the axis is changed together with the first one. Whether it shares it is
    found by running the model on fewer indices of both. A model that cannot run so is mapped by
    the first input, and by integers whose first axes have the same length.

    Args:
        model: any module.
        *inputs: what it is called with.
        dim: the axis of the inputs; it may be negative, counted from the end of the first one.
        out_dim: the axis of the first output; None for the same.

    Raises:
        ArgumentError: if ``model`` is not a module, or inputs or output have no such axis.

    >>> print(rnnkit.dependency_map(torch.nn.GRU(3, 4), torch.randn(4, 2, 3)))
    output on axis 0 (down), input on axis 0 (across): each depends on its own and earlier inputs
    0 ■ · · ·
    1 ■ ■ · ·
    2 ■ ■ ■ ·
    3 ■ ■ ■ ■
    """
    check_model("dependency_map", model)
    check_dims("dim", dim=dim, out_dim=out_dim)
    given = Given(inputs, {})
    batch = Batch(given, dim, None, argument="dim")
    dim %= batch.leaves[batch.first].dim()
    out_dim = dim if out_dim is None else out_dim
    with session(model, None, given, "dependency_map") as opened:
        _infer_axes(batch, dim, opened)
        normal = opened.run(batch.tree())
        first = next((k for k, leaf in enumerate(normal) if is_output(leaf)), None)
        shape = () if first is None else tuple(normal[first].shape)
        if first is None or not -len(shape) <= out_dim < len(shape):
            message = f"the first output has no axis {out_dim}: its shape is {shape}"
            refusal(ArgumentError, "out_dim", message, code="verify-axis")
        out_dim %= len(shape)
        columns, rows = _spaced(batch.size), _spaced(shape[out_dim])
        search = Search(opened, batch, normal, first, out_dim)
        found = search.found(rows, columns)
    return DependencyMap(found[0], rows, columns, dim, out_dim, *found[1:])


dependency_map.__module__ = "rnnkit"


def _infer_axes(batch: Batch, dim: int, opened: Session) -> None:
    """Settle which inputs have the axis: one that is as long by chance must not be replaced.

    A mask ``(batch, seq)`` has the steps of the input, a state ``(layers, batch, hidden)`` has not,
    though hidden may be as many. Which it is shows where the model runs on fewer.
    """
    if not infer_batch_axes(batch, opened.attempt):
        shape = batch.leaves[batch.first].shape
        for place, leaf in enumerate(batch.leaves):
            if place != batch.first and not _shares(leaf, shape, dim):
                batch.axes[place] = None


def _shares(leaf: Any, shape: tuple[int, ...], dim: int) -> bool:
    """Return whether a tensor surely shares an axis: integers or flags, as long on the first axes.

    Numbers with fractions may be a state.
    """
    if not isinstance(leaf, Tensor) or leaf.is_floating_point() or leaf.dim() <= dim:
        return False
    near = min(leaf.dim(), max(dim + 1, 2))
    return leaf.shape[:near] == shape[:near]


def _spaced(size: int) -> tuple[int, ...]:
    """Return indices with one distance between them, the first among them, and the last."""
    every = -(-size // WIDEST) if size > WIDEST else 1
    return tuple(sorted({*range(0, size, every), size - 1})) if size else ()
