"""A dependency map as a grid of text and as a picture; any text in a notebook."""

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, count, refuse

if TYPE_CHECKING:
    import matplotlib.axes

Rule = Literal["independent", "causal"]

#: How many indices are written along an axis at most: more would collide.
LABELS = 8
#: The colors of a cell by its kind: what is independent has the color of the paper. Blue and red
#: are almost equally dark, so the red cells are hatched and can be told apart without color.
DEPENDS = "#33658a"
FORBIDDEN = "#d1495b"
HATCH = "//"
PAPER = "#ffffff"
#: Lines are seen on white paper and on a dark page.
LINES = "#8c8c8c"
#: The ground of a wrong line in a notebook. No red text is read well on white and on black: the
#: text keeps the page's color, and a thin red lies below it.
RED_GROUND = "#e0485c40"


def as_html(shown: Any, is_wrong: Callable[[str], bool]) -> str:
    """Return the text of a result as it is, in the colors of the page; wrong lines stand on red."""
    red = f'<b style="background:{RED_GROUND}">%s</b>'
    lines = ((red if is_wrong(line) else "%s") % escape(line) for line in str(shown).splitlines())
    return '<pre style="white-space:pre;overflow-x:auto">' + "\n".join(lines) + "</pre>"


def noted(notes: Iterable[str]) -> list[str]:
    """Return the line of a report, or of a table, for each note."""
    return [f"note  {note}" for note in notes]


@dataclass(frozen=True)
class DependencyMap:
    """The result of ``dependency_map``: which outputs depend on which inputs along one axis.

    Print it, or draw it with :meth:`plot`. Output i depends on input j if the output changes when
    the input changes, or if the gradient of the output with respect to the input is not zero. The
    gradient finds dependencies too weak to change the output, as on a step hundreds of steps ago.
    A gradient that underflows to zero can still hide a dependency.

    Attributes:
        matrix: booleans ``(outputs, inputs)``: True where an output depends on an input.
        outputs: for each row of ``matrix``, the index of the output that it stands for.
        inputs: for each column of ``matrix``, the index of the input that it stands for.
        dim: the axis of the input.
        out_dim: the axis of the output.
        notes: remarks, such as the name of an attribute of your model that the runs may have
            changed.

    >>> found = rnnkit.dependency_map(torch.nn.GRU(3, 4), torch.randn(4, 2, 3))
    >>> found.matrix[1]  # output 1 depends on inputs 0 and 1
    tensor([ True,  True, False, False])
    """

    __module__ = "rnnkit"

    matrix: Tensor
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    dim: int
    out_dim: int
    notes: list[str] = field(default_factory=list)

    @property
    def is_square(self) -> bool:
        """Whether input and output are equally long, so that :meth:`forbidden` can compare them."""
        ends = {*self.outputs[-1:], *self.inputs[-1:]}
        return len(ends) == 1 and {*self.outputs} <= {*self.inputs}

    def forbidden(self, rule: Rule) -> Tensor:
        """Return which dependencies break a rule, as booleans ``(outputs, inputs)``.

        An entry is True where an output depends on an input, and the rule forbids that.

        Args:
            rule: ``"independent"``: output i may depend on input i only, as for samples of a batch.
                ``"causal"``: output i may depend on inputs 0 to i, as for steps of a language
                model.

        Raises:
            ArgumentError: if ``rule`` is neither of these, or if input and output are not equally
                long.

        >>> x = torch.randn(4, 2, 3)  # (seq, batch, feature)
        >>> found = rnnkit.dependency_map(torch.nn.GRU(3, 4, bidirectional=True), x)
        >>> found.forbidden("causal").any()
        tensor(True)
        """
        if rule not in get_args(Rule):
            message = f"rule must be {' or '.join(map(repr, get_args(Rule)))}, got {brief(rule)}"
            refuse(ArgumentError, "rule", message, code="map-rule")
        if not self.is_square:
            sizes = f"{self.outputs[-1] + 1} outputs and {self.inputs[-1] + 1} inputs"
            message = f"a rule needs as many outputs as inputs, but there are {sizes}"
            fix = "pass out_dim=, if you mean another axis of the output; or pass no rule"
            refuse(ArgumentError, "rule", message, fix=fix, code="map-axes")
        later = self._later
        return self.matrix & (later != 0 if rule == "independent" else later > 0)

    @property
    def _later(self) -> Tensor:
        """By how much the index of each input is larger than that of each output."""
        output = torch.tensor(self.outputs, device="cpu").unsqueeze(1)
        return torch.tensor(self.inputs, device="cpu") - output

    @property
    def finding(self) -> str:
        """A short description of the map, such as ``"each depends on all inputs"``."""
        found = self._finding()
        is_spaced = len(self.inputs) <= max(self.inputs, default=0)
        return f"{found}, of those tried" if is_spaced and found.startswith("each") else found

    def _finding(self) -> str:
        """Return what the map looks like, at the indices that were tried."""
        if not self.matrix.any():
            return "nothing depends on this axis"
        if self.matrix.all():
            return "each depends on all inputs"
        if not self.is_square:
            return "some depend on some inputs"
        if self.forbidden("causal").any():
            return "some depend on later inputs"
        if self.matrix.equal(self._later == 0):
            return "each depends on its own input alone"
        if self.matrix.equal(self._later <= 0):
            return "each depends on its own and all earlier inputs"
        return "none depends on a later input"

    def __str__(self) -> str:
        """Draw the map as a grid, a row for each output."""
        width = len(str(max(self.outputs, default=0)))
        rows = [
            f"{index:>{width}} " + " ".join("·■"[cell] for cell in row)
            for index, row in zip(self.outputs, self.matrix.tolist(), strict=True)
        ]
        head = f"output on axis {self.out_dim} (down), input on axis {self.dim} (across)"
        return "\n".join([f"{head}: {self.finding}", *rows, *noted(self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return as_html(self, lambda _: False)

    def plot(
        self,
        rule: Rule | None = None,
        title: str | None = None,
        ax: "matplotlib.axes.Axes | None" = None,
    ) -> "matplotlib.axes.Axes":
        """Draw the map with matplotlib: a row for each output, a column for each input.

        Args:
            rule: ``"independent"`` or ``"causal"``: dependencies that this rule forbids are red and
                hatched, see :meth:`forbidden`. None: there is no rule.
            title: the title of the plot. None: the number of outputs that break the rule or, if
                there are none, :attr:`finding`.
            ax: the matplotlib axes to draw on. None: new axes.

        Returns:
            The matplotlib axes.

        Raises:
            ArgumentError: if ``rule`` is unknown, or if input and output are not equally long.
            ModuleNotFoundError: if matplotlib is not installed (``pip install "rnnkit[plot]"``).
        """
        forbidden = torch.zeros_like(self.matrix) if rule is None else self.forbidden(rule)
        import matplotlib.pyplot as plt  # noqa: PLC0415 - an optional extra
        from matplotlib.colors import ListedColormap  # noqa: PLC0415
        from matplotlib.patches import Patch  # noqa: PLC0415

        axes = plt.subplots(figsize=(4.2, 4.6), layout="constrained")[1] if ax is None else ax
        kinds = (self.matrix.long() + forbidden).tolist()
        colors = ListedColormap(["none", DEPENDS, FORBIDDEN])
        # Wide lines would hide cells as narrow as a pixel.
        width = 12 / max(30, *self.matrix.shape)
        axes.pcolormesh(kinds, cmap=colors, vmin=0, vmax=2, edgecolors=LINES, linewidth=width)
        hatched = torch.where(forbidden, 2.0, torch.nan).tolist()
        axes.pcolor(hatched, cmap=colors, vmin=0, vmax=2, hatch=HATCH, ec=PAPER, linewidth=0)
        axes.set_box_aspect(1)
        axes.invert_yaxis()
        for axis, indices in ((axes.xaxis, self.inputs), (axes.yaxis, self.outputs)):
            every = range(0, len(indices), -(-len(indices) // LABELS))
            axis.set_ticks([at + 0.5 for at in every], [str(indices[at]) for at in every])
        axes.set_xlabel(f"input, index on axis {self.dim}")
        axes.set_ylabel(f"output, index on axis {self.out_dim}")
        patches = [Patch(fc=DEPENDS, ec=PAPER, label="depends")]
        if forbidden.any():
            patches.append(
                Patch(fc=FORBIDDEN, ec=PAPER, hatch=HATCH, label="depends, and must not")
            )
        # Below the axis label: by a length, since a part of the height is nothing for few rows.
        below: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 5}
        axes.legend(handles=patches, fontsize="small", ncols=2, frameon=False, **below)
        lines = (title or verdict(self, rule)).splitlines()
        axes.set_title("\n".join(textwrap.fill(line, 34) for line in lines), fontsize="medium")
        return axes


def verdict(found: DependencyMap, rule: Rule | None) -> str:
    """Return how many outputs break a rule or, if none does, what the map looks like."""
    broken = 0 if rule is None else int(found.forbidden(rule).any(1).sum())
    if not broken:
        return found.finding
    where = "other" if rule == "independent" else "later"
    return f"{count(broken, 'output depends', 'outputs depend')} on {where} inputs"
