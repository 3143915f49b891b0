"""``Recurrent``: a layer over any cells."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from rnnkit._base.errors import ArgumentError, StateError
from rnnkit._base.message import brief, compose, wanted
from rnnkit._base.torch_tools import is_fx_call, leaf_node
from rnnkit._checks.call_spec import sizes_of_sequence
from rnnkit._checks.constructors import check_option
from rnnkit._checks.scope import LAYER_AXES, Axes, check_axes, check_scope
from rnnkit._modules.unroll import initial_state, run
from rnnkit.typing import Cell


class Recurrent(torch.nn.Module):
    """A layer made of cells: stacked, in one direction or two.

    ``layer(input, hx=None, *, lengths=None, reset=None)`` returns ``(output, state)``, as
    :class:`rnnkit.LSTM` does, but for the state: it is the tuple of the cells' states, layer by
    layer, the forward direction first. A layer reads the output of the one below it, both
    directions side by side.

    Args:
        cells: the cell of each layer, from the input up; one cell for one layer. Any module as
            :class:`rnnkit.typing.Cell` describes it; widths may differ.
        reverse_cells: as many cells that run from the last valid step to the first; None for one
            direction.
        batch_first: whether input and output have the batch on axis 0.
        dropout: probability of dropping a feature between two layers, in training.
        axes: the names that the caller's jaxtyping scope has for seq and batch; None: no check.

    Raises:
        ArgumentError: if there is no cell, or not one in each direction for every layer.
        RnnkitError: when called, the child that fits, if input, state or lengths are wrong.
        CellError: when called, if a cell returns no state; what a cell raises itself goes on as
            it is, with a note that names step, layer and direction.

    >>> layer = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)], batch_first=True)
    >>> output, (gru_state, lstm_state) = layer(torch.ones(2, 7, 3), lengths=[7, 5])
    >>> output.shape, lstm_state.c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    batch_first: bool
    dropout: float
    axes: dict[str, str] | None
    cells: torch.nn.ModuleList
    reverse_cells: torch.nn.ModuleList | None

    def __init__(
        self,
        cells: Cell | Iterable[Cell],
        reverse_cells: Cell | Iterable[Cell] | None = None,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        axes: Axes | None = None,
    ) -> None:
        """Take the cells as they are."""
        super().__init__()
        self.batch_first = check_option("Recurrent", "batch_first", batch_first)
        self.dropout = float(check_option("Recurrent", "dropout", dropout))
        self.axes = None if axes is None else check_axes("Recurrent", axes, LAYER_AXES[:2])
        self.cells = _module_list(cells, "cells")
        self.reverse_cells = None
        if reverse_cells is not None:
            self.reverse_cells = _module_list(reverse_cells, "reverse_cells")
            if len(self.reverse_cells) != len(self.cells):
                message = (
                    f"Recurrent: {len(self.cells)} cells, but {len(self.reverse_cells)} "
                    f"reverse_cells: one of each for every layer"
                )
                raise ArgumentError(message, "reverse_cells")

    @property
    def bidirectional(self) -> bool:
        """Whether the layer runs from both ends."""
        return self.reverse_cells is not None

    if TYPE_CHECKING:

        def __call__(
            self,
            input: Tensor,
            hx: tuple[Any, ...] | None = None,
            *,
            lengths: Any = None,
            reset: Any = None,
        ) -> tuple[Tensor, tuple[Any, ...]]: ...

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None, reset: Any = None) -> Any:
        """Run over a sequence; arguments and results are told where the class is."""
        if is_fx_call(input, hx):
            return leaf_node(self, input, hx, lengths=lengths, reset=reset)
        if self.axes is not None and isinstance(input, Tensor):
            sizes = sizes_of_sequence(input, batch_first=self.batch_first)
            check_scope(self, self.axes, sizes, "input")
        state = self._split(hx)
        ends: list[Any] = []
        for place, directions in enumerate(self._layers()):
            if place and self.dropout:
                input = functional.dropout(input, self.dropout, self.training)
            outputs = []
            for reverse, cell in enumerate(directions):
                options = {"lengths": lengths, "reset": reset, "reverse": bool(reverse)}
                output, end = self._run(cell, input, state[len(ends)], place, options)
                outputs.append(output)
                ends.append(end)
            input = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return input, tuple(ends)

    def _run(
        self, cell: Any, input: Any, hx: Any, place: int, options: dict[str, Any]
    ) -> tuple[Tensor, Any]:
        options["batch_first"] = self.batch_first
        if is_compiling():
            return run(cell, input, hx, "Recurrent", **options)
        try:
            return run(cell, input, hx, "Recurrent", **options)
        except Exception as error:
            direction = "backward" if options["reverse"] else "forward"
            error.add_note(f"in layer {place}, {direction} direction, of Recurrent")
            raise

    def _layers(self) -> Iterable[tuple[Any, ...]]:
        both = [part for part in (self.cells, self.reverse_cells) if part is not None]
        return zip(*both, strict=True)

    def _in_order(self) -> list[Any]:
        return [cell for directions in self._layers() for cell in directions]

    def _split(self, hx: Any) -> Any:
        cells = self._in_order()
        if hx is None:
            return [None] * len(cells)
        if not isinstance(hx, tuple | list) or len(hx) != len(cells):
            came = f"{len(hx)} of them" if isinstance(hx, tuple | list) else brief(hx)
            text = compose(
                f"hx must be a tuple of {len(cells)} states, got {came}",
                "Recurrent carries one state for each cell",
                [
                    ("hx", wanted("layer by layer, the forward direction first", came)),
                    ("fix", "hx=None, or the state that this layer returned"),
                ],
            )
            raise StateError(text, "hx")
        return hx

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """Return the cells' first states, layer by layer, the forward direction first.

        >>> cells = [rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)]
        >>> h, (h_2, c_2) = rnnkit.Recurrent(cells).initial_state(2)
        >>> h.shape, c_2.shape
        (torch.Size([2, 4]), torch.Size([2, 5]))
        """
        return tuple(initial_state(cell, batch_size) for cell in self._in_order())

    def extra_repr(self) -> str:
        """Return the options that are not the default."""
        options = []
        if self.batch_first:
            options.append("batch_first=True")
        if self.dropout:
            options.append(f"dropout={self.dropout}")
        if self.axes is not None:
            options.append(f"axes={self.axes}")
        return ", ".join(options)


Recurrent.__module__ = "rnnkit"


def _module_list(cells: Any, argument: str) -> torch.nn.ModuleList:
    listed = [cells] if isinstance(cells, torch.nn.Module) else cells
    if isinstance(cells, torch.nn.ModuleList):
        listed = list(cells)
    if not isinstance(listed, Iterable):
        message = f"Recurrent: {argument} must be a cell or a list of cells, got {brief(cells)}"
        raise ArgumentError(message, argument)
    listed = list(listed)
    wrong = [cell for cell in listed if not isinstance(cell, torch.nn.Module)]
    if wrong or not listed:
        came = brief(wrong[0]) if wrong else "an empty list"
        message = f"Recurrent: {argument} must be a cell or a list of cells, got {came}"
        raise ArgumentError(message, argument)
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if layers:
        name = type(layers[0]).__name__
        message = (
            f"Recurrent: {argument} holds {name}, a layer over whole sequences\n"
            f"  fix       {name}(...).cells(), or {name}Cell(...)"
        )
        raise ArgumentError(message, argument)
    return torch.nn.ModuleList(listed)
