"""``Recurrent``: a layer over any cells."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from rnnkit._base.class_facts import finish, overrides_initial_state
from rnnkit._base.errors import ShapeError
from rnnkit._base.state import StateT, has_missing_part, tensors_of
from rnnkit._base.torch_tools import is_fx_call, leaf_node
from rnnkit._checks.arguments import (
    check_batch_size,
    check_surplus,
    known_options,
)
from rnnkit._checks.call_spec import sizes_of_sequence
from rnnkit._checks.constructors import checked_arguments
from rnnkit._checks.guards import MISFIT, fitting_states
from rnnkit._checks.objects import (
    cells_of,
    check_directions,
    check_layer_of_cells,
    check_widths,
    refuse_states,
)
from rnnkit._checks.scope import LAYER_AXES, Axes, check_axes, check_scope
from rnnkit._kernels.stack import side_by_side
from rnnkit._modules.cell_base import GivenT
from rnnkit._modules.initial_states import initial_state
from rnnkit._modules.layer_base import Layer, run_layer_step
from rnnkit._modules.unroll import Steps
from rnnkit._modules.unroll_run import UnrollCall, run
from rnnkit.typing import LengthsLike, ResetLike, StepResetLike

#: One cell, or the cell of each layer.
Cells: TypeAlias = Steps[StateT, GivenT] | Iterable[Steps[StateT, GivenT]]
#: Cells of several kinds, or one of torch's.
MixedCells: TypeAlias = torch.nn.RNNCellBase | Iterable[Steps[Any, Any] | torch.nn.RNNCellBase]
#: What a layer of rnnkit's carries: a tensor, or a pair.
LayerStateT = TypeVar("LayerStateT")
#: A state for each cell.
CellStates: TypeAlias = tuple[Any, ...] | list[Any]


class CellList(torch.nn.ModuleList):
    """The cells of one direction; called, it returns them as a list, as ``LSTM.cells()`` does."""

    def forward(self) -> list[Any]:
        """Return the cells."""
        return list(self)


class Recurrent(torch.nn.Module, Generic[StateT]):
    """A layer made of cells: stacked, in one direction or two.

    ``layer(input, hx=None, *, lengths=None, reset=None)`` returns ``(output, state)``, as
    :class:`rnnkit.RNN` does, except that the state is the tuple of the cells' states, layer by
    layer, starting with the forward direction.

    ``cells`` holds the cell of each layer, from the input up, or is one cell: any module that
    :class:`rnnkit.typing.Cell` describes; widths may differ. ``reverse_cells``, as many, run from
    the last valid step to the first. ``axes`` names seq and batch.

    Raises:
        ArgumentError: if there is no cell, or the two directions differ in number.
        RnnkitError: when called, the matching subclass, if input, state or lengths are wrong.
        CellError: when called, if a cell returns no state; what a cell raises itself is
            not changed, but gets a note that names step, layer and direction.

    >>> layer = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)], batch_first=True)
    >>> output, (gru_state, lstm_state) = layer(torch.ones(2, 7, 3), lengths=[7, 5])
    >>> output.shape, lstm_state.c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    @overload
    def __init__(
        self,
        cells: Cells[StateT, GivenT],
        *,
        reverse_cells: Cells[StateT, GivenT] | None = None,
        batch_first: bool = False,
        dropout: float = 0.0,
        axes: Axes | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: "Recurrent[Any]",
        cells: MixedCells,
        *,
        reverse_cells: MixedCells | None = None,
        batch_first: bool = False,
        dropout: float = 0.0,
        axes: Axes | None = None,
    ) -> None: ...
    @checked_arguments
    def __init__(
        self,
        cells: Any,
        *,
        reverse_cells: Any = None,
        batch_first: bool = False,
        dropout: float = 0.0,
        axes: Axes | None = None,
    ) -> None:
        """Take the cells as they are."""
        super().__init__()
        self.batch_first: bool = batch_first
        self.dropout: float = float(dropout)
        self.axes: dict[str, str] | None = None
        if axes is not None:
            self.axes = check_axes("Recurrent", axes, LAYER_AXES[:2])
        self.cells: CellList = CellList(cells_of(cells, "cells"))
        self.reverse_cells: CellList | None = None
        if reverse_cells is not None:
            backward = cells_of(reverse_cells, "reverse_cells", len(self.cells))
            self.reverse_cells = CellList(backward)
        check_directions([*self.cells])

    @classmethod
    def of(cls, layer: Layer[LayerStateT, Any, Any]) -> "Recurrent[LayerStateT]":
        """Return what a layer computes, over the layer's own cells and parameters.

        It has the layer's directions, ``batch_first``, dropout and axes; training one trains the
        other. Its state is the tuple of its cells' states:
        :func:`rnnkit.states.to_layers` makes one of the layer's state.

        Raises:
            ArgumentError: if it is no layer of rnnkit's, or one whose ``initial_state`` is
                overridden, which its cells do not know.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2, bidirectional=True)
        >>> x = torch.ones(7, 5, 3)
        >>> torch.allclose(rnnkit.Recurrent.of(gru)(x)[0], gru(x)[0], atol=1e-6)
        True
        """
        check_layer_of_cells(layer)
        cells: list[Any] = layer.cells()
        backward = None
        if layer.bidirectional:
            backward = cells[1::2]
            cells = cells[::2]
        # A layer's state has a hidden axis of its own; that of each cell may have another size.
        names: Any = layer.axes or {}
        names = {axis: name for axis, name in names.items() if axis in LAYER_AXES[:2]}
        made: Any = cls(
            cells,
            reverse_cells=backward,
            batch_first=layer.batch_first,
            dropout=layer.dropout,
            axes=names or None,
        )
        return made.train(layer.training)  # type: ignore[no-any-return]

    @property
    def bidirectional(self) -> bool:
        """Whether the layer runs from both ends."""
        return self.reverse_cells is not None

    if TYPE_CHECKING:

        def __call__(
            self,
            input: Tensor,
            hx: CellStates | None = None,
            *,
            lengths: LengthsLike | None = None,
            reset: ResetLike | None = None,
        ) -> tuple[Tensor, tuple[StateT, ...]]: ...

    def forward(
        self,
        input: Any = None,  # a caller may give anything, and the cells' guards say what is right
        hx: Any = None,
        *surplus: object,
        lengths: object = None,
        reset: object = None,
        **unknown: object,
    ) -> Any:
        """Run over a sequence; the class describes arguments and results."""
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        if is_fx_call(input, hx):
            return leaf_node(self, input, hx, lengths=lengths, reset=reset)
        initial = None
        if isinstance(input, Tensor):  # a cell's guard refuses all else
            sizes = sizes_of_sequence(input, batch_first=self.batch_first)
            if self.axes is not None and sizes:
                check_scope(self, self.axes, sizes)
            needs_initial = has_missing_part(hx) or reset is not None
            if sizes and needs_initial and overrides_initial_state(self):
                initial = self.initial_state(sizes.get("batch"))
        return _run_layers(self, input, hx, initial, lengths, reset)

    def initial_state(self, batch_size: int | None) -> tuple[StateT, ...]:
        """Return the cells' initial states, layer by layer, starting with the forward direction.

        ``batch_size`` is None for an unbatched call. A subclass may override this method: a call
        without a state calls it, and so does one with ``reset``.

        Raises:
            CellError: if a cell has no initial state.

        >>> cells = [rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)]
        >>> h, (h_2, c_2) = rnnkit.Recurrent(cells).initial_state(2)
        >>> h.shape, c_2.shape
        (torch.Size([2, 4]), torch.Size([2, 5]))
        """
        check_batch_size("Recurrent", batch_size)
        return tuple(initial_state(cell, batch_size) for cell in _in_order(self))

    @known_options
    def step(
        self,
        x_t: Tensor,
        hx: CellStates | None = None,
        *,
        reset: StepResetLike | None = None,
        state: CellStates | None = None,
    ) -> tuple[Tensor, tuple[StateT, ...]]:
        """Run one time step, through all layers.

        ``x_t`` is ``(batch, feature)``, or ``(feature,)`` unbatched; ``hx`` is the state before the
        step, and ``state`` another name for it. ``reset`` ``(batch,)``, booleans or 0 and 1, is
        true for samples that start again from ``initial_state`` before the step. Returns the last
        layer's output ``(batch, hidden)`` and the state after the step.

        Raises:
            ArgumentError: if the layer has reverse cells, which start at the end; if ``reset`` is
                no mask of the samples; if both ``hx`` and ``state`` are given.
            ShapeError: if ``x_t`` has a seq axis.

        >>> layer, hx = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)), None
        >>> for x_t in torch.ones(7, 5, 3):
        ...     y_t, hx = layer.step(x_t, hx)
        >>> y_t.shape
        torch.Size([5, 4])
        """
        states = (hx, state)
        return run_layer_step(self, x_t, states, reset, _explain_states)

    def last_hidden(self, state: CellStates) -> Tensor:
        """Return the last layer's h, its directions side by side: ``(batch, hidden)``.

        Raises:
            StateError: if it is not one state for each cell.

        >>> layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4), reverse_cells=rnnkit.LSTMCell(3, 4))
        >>> _, state = layer(torch.ones(7, 5, 3))
        >>> layer.last_hidden(state).shape
        torch.Size([5, 8])
        """
        each = _checked_states(self, () if state is None else state)
        ends = [tensors_of(one)[0] for one in each]
        return torch.cat(ends[-2:], dim=-1) if self.bidirectional else ends[-1]

    def extra_repr(self) -> str:
        """Return the options that are not the default."""
        options = {"batch_first": self.batch_first, "dropout": self.dropout, "axes": self.axes}
        return ", ".join(f"{name}={value}" for name, value in options.items() if value)


Recurrent.__module__ = "rnnkit"
finish(Recurrent)

AnyRecurrent: TypeAlias = Recurrent[Any]


# Functions, not methods: the names of a user's subclass are its own.
def _layers(layer: AnyRecurrent) -> Iterable[tuple[Any, ...]]:
    both = [part for part in (layer.cells, layer.reverse_cells) if part is not None]
    return zip(*both, strict=True)


def _in_order(layer: AnyRecurrent) -> list[Any]:
    return [cell for directions in _layers(layer) for cell in directions]


def _checked_states(layer: AnyRecurrent, hx: object, name: str = "hx") -> Any:
    """Return one state for each cell; of None, None for each."""
    cells = _in_order(layer)
    states = fitting_states(cells, hx)
    if states is MISFIT:
        refuse_states(len(cells), hx, name)
    return states


def _explain_states(layer: AnyRecurrent, _: Tensor, hx: object) -> None:
    """Refuse the states of a step, if they are not one for each cell."""
    _checked_states(layer, hx, "state")


def _run_layers(
    layer: AnyRecurrent, input: Any, hx: object, initial: object, lengths: object, reset: object
) -> tuple[Tensor, tuple[Any, ...]]:
    """Run each direction of each layer, from the state given and that of ``initial_state``."""
    # Each cell reads them, and a GPU is waited for once.
    lengths = _read_once(lengths)
    reset = _read_once(reset)
    states = _checked_states(layer, initial if hx is None else hx)
    restarts = _checked_states(layer, initial)
    ends: list[Any] = []
    for place, directions in enumerate(_layers(layer)):
        if place and layer.dropout:
            input = functional.dropout(input, layer.dropout, layer.training)
        outputs = []
        for number, cell in enumerate(directions):
            at = len(ends)
            call = UnrollCall(
                cell=cell,
                input=input,
                hx=states[at],
                caller="Recurrent",
                batch_first=layer.batch_first,
                lengths=lengths,
                reset=reset,
                reverse=number == 1,
                initial=restarts[at],
                state=f"hx[{at}]",
            )
            output, end = _run_cell(layer, call, place)
            outputs.append(output)
            ends.append(end)
        input = side_by_side(outputs)
    return input, tuple(ends)


def _read_once(boundary: Any) -> Any:
    """Return lengths or a mask where the CPU reads them; a compiler reads none."""
    is_on_gpu = isinstance(boundary, Tensor) and boundary.is_cuda and not is_compiling()
    return boundary.cpu() if is_on_gpu else boundary


def _run_cell(layer: AnyRecurrent, call: UnrollCall, place: int) -> tuple[Tensor, Any]:
    """Run a cell of the layer at a place; an error gets a note that names place and direction."""
    try:
        return run(call)
    except Exception as error:
        if isinstance(error, ShapeError):  # a layer reads another width than the one below returns?
            check_widths(layer.cells, layer.reverse_cells or ())
        direction = "backward" if call.reverse else "forward"
        error.add_note(f"in layer {place}, {direction} direction, of Recurrent")
        raise
