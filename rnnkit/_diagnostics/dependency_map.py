"""``dependency_map``: which output depends on which input, along one axis, as a picture."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.axes import infer_batch_axes
from rnnkit._diagnostics.baseline import is_output
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import replaced, sample_at
from rnnkit._diagnostics.isolation import Given, Session, session
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.picture import draw

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
Rule = Literal["independent", "causal"]


@dataclass(frozen=True)
class DependencyMap:
    """Which output depends on which input along one axis: print it, or :meth:`plot` it.

    "Depends" means that some number of the output changed. A recurrent net forgets: over hundreds
    of steps the effect of an early input can become smaller than rounding, and its cell is empty.

    Attributes:
        matrix: boolean, ``(outputs, inputs)``: output i depends on input j.
        outputs: indices of the outputs, on the axis of the output.
        inputs: indices of the inputs, on the axis of the input.
        dim: the axis of the input.
        out_dim: the axis of the output.
    """

    __module__ = "rnnkit"

    matrix: Tensor
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    dim: int
    out_dim: int

    def forbidden(self, rule: Rule) -> Tensor:
        """Return the dependencies that a rule forbids.

        Args:
            rule: ``"independent"``: each output depends on its own input alone, as samples do;
                ``"causal"``: on no later one, as steps of a language model do.

        Raises:
            ArgumentError: if there is no such rule.
        """
        if rule not in get_args(Rule):
            message = f"rule must be one of {', '.join(get_args(Rule))}, got {brief(rule)}"
            refusal(ArgumentError, "rule", message, code="map-rule")
        output = torch.tensor(self.outputs, device="cpu").unsqueeze(1)
        input = torch.tensor(self.inputs, device="cpu")
        return self.matrix & (input != output if rule == "independent" else input > output)

    @property
    def finding(self) -> str:
        """What the map looks like, in a few words."""
        if not self.matrix.any():
            return "nothing depends on this axis"
        if not self.forbidden("independent").any():
            return "each depends on its own input alone"
        if not self.forbidden("causal").any():
            return "each depends on its own and earlier inputs"
        if not self.matrix.all():
            return "some depend on later inputs"
        return "each depends on all inputs"

    def __str__(self) -> str:
        """Draw the map as a grid, a row for each output."""
        width = len(str(max(self.outputs, default=0)))
        rows = [
            f"{index:>{width}} " + " ".join("■" if cell else "·" for cell in row)
            for index, row in zip(self.outputs, self.matrix.tolist(), strict=True)
        ]
        head = f"output on axis {self.out_dim} (down), input on axis {self.dim} (across)"
        return "\n".join([f"{head}: {self.finding}", *rows])

    __repr__ = __str__

    def plot(self, rule: Rule | None = None, title: str | None = None, ax: Any = None) -> Any:
        """Draw the map with matplotlib: a row for each output, a column for each input.

        Args:
            rule: its forbidden dependencies are red, see :meth:`forbidden`.
            title: what to write above, broken into lines that fit; None for the finding.
            ax: the matplotlib axes to draw on; None for new ones.

        Returns:
            The axes.

        Raises:
            ArgumentError: if there is no such rule.
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

    The model runs once for each index of the axis (at most 32, evenly spaced), on inputs that are
    replaced there; it is left as it was. Another input that has the axis is replaced with the
    first one. Whether it has shows if the model runs on fewer indices of both; a model that does
    not is mapped by the first input, and by integers whose first axes are as long.

    Args:
        model: any module.
        *inputs: what it is called with.
        dim: the axis of the inputs; it may be negative, counted from the end of the first one.
        out_dim: the axis of the first output; None for the same.

    Raises:
        ArgumentError: if ``model`` is no module, or inputs or output have no such axis.

    >>> print(rnnkit.dependency_map(torch.nn.GRU(3, 4), torch.randn(4, 2, 3)))
    output on axis 0 (down), input on axis 0 (across): each depends on its own and earlier inputs
    0 ■ · · ·
    1 ■ ■ · ·
    2 ■ ■ ■ ·
    3 ■ ■ ■ ■
    """
    check_model("dependency_map", model)
    batch = Batch(Given(inputs, {}), dim, None, argument="dim")
    dim %= batch.leaves[batch.first].dim()
    out_dim = dim if out_dim is None else out_dim
    with session(model) as opened:
        _infer_axes(batch, dim, opened)
        normal = opened.run(batch.tree())
        first = next((k for k, leaf in enumerate(normal) if is_output(leaf)), None)
        shape = () if first is None else tuple(normal[first].shape)
        if first is None or not -len(shape) <= out_dim < len(shape):
            message = f"the first output has no axis {out_dim}: its shape is {shape}"
            refusal(ArgumentError, "out_dim", message, code="verify-axis")
        before, out_dim = normal[first], out_dim % len(shape)
        columns = _spaced(batch.size)
        rows = _spaced(before.shape[out_dim])
        matrix = torch.zeros(len(rows), len(columns), dtype=torch.bool, device="cpu")
        for column, index in enumerate(columns):
            after = opened.run(replaced(batch, sample_at(index)))[first]
            for row, output in enumerate(rows):
                one, other = (_at(leaf, out_dim, output) for leaf in (before, after))
                matrix[row, column] = not same(one, other)
    return DependencyMap(matrix, rows, columns, dim, out_dim)


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
    """Say whether a tensor surely shares an axis: integers or flags, as long on the first axes.

    Numbers with fractions may be a state.
    """
    if not isinstance(leaf, Tensor) or leaf.is_floating_point() or leaf.dim() <= dim:
        return False
    near = min(leaf.dim(), max(dim + 1, 2))
    return leaf.shape[:near] == shape[:near]


def _at(leaf: Tensor, axis: int, index: int) -> Tensor:
    """Return what is at an index; nothing, which is not the same as something, beyond the end."""
    return leaf.narrow(axis, index, 1) if index < leaf.shape[axis] else leaf.narrow(axis, 0, 0)


def _spaced(size: int) -> tuple[int, ...]:
    if size <= WIDEST:
        return tuple(range(size))
    return tuple(torch.linspace(0, size - 1, WIDEST, device="cpu").round().long().tolist())
