"""``Recurrent``: a layer over any cells."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

import torch
from torch import Tensor

from rnnkit._base.class_facts import finish
from rnnkit._base.state import StateT, tensors_of
from rnnkit._base.torch_tools import leaf_node
from rnnkit._checks.arguments import check_batch_size, check_surplus, known_options, one_state
from rnnkit._checks.call_spec import sizes_of_sequence
from rnnkit._checks.constructors import checked_arguments
from rnnkit._checks.objects import cells_of, check_directions, check_layer_of_cells
from rnnkit._checks.scope import LAYER_AXES, Axes, check_scope
from rnnkit._modules.cell_base import GivenT
from rnnkit._modules.common import initial_state, needs_initial_state, set_options
from rnnkit._modules.layer_base import Layer, run_layer_step
from rnnkit._modules.recurrent_run import cells_in_order, checked_states, explain_states, run_layers
from rnnkit._modules.unroll import Steps
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
    """A layer made of your choice of cells: stacked, in one direction or in both.

    A call is ``output, state = layer(input, hx=None, *, lengths=None, reset=None)``.

    - ``input`` is ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with ``batch_first``. It
      may also be one sequence, ``(seq, feature)``. Instead of a PackedSequence, pass ``lengths``.
    - ``output`` is the last layer's h at each step, ``(seq, batch, hidden)``, in the same layout as
      the input. With ``reverse_cells``, the forward direction's features come first, then the
      backward direction's.
    - ``hx`` is a tuple with each cell's state before the first step, layer by layer, the forward
      direction first. A state is a tensor ``(batch, hidden)`` or a tuple of such tensors. None, for
      the tuple or for one state, means what ``initial_state`` returns: zeros for rnnkit's cells.
    - ``state`` is a tuple with each cell's state after the last step that it runs: the first step
      of the sequence, for a cell of ``reverse_cells``.
    - ``lengths``, integers ``(batch,)`` from 0 to seq, counts the valid steps of each sample in a
      padded batch. Each sample gets the same result as if it were run alone, without its padding,
      in both directions. Its output is zero on the padding.
    - ``reset``, booleans or 0 and 1, is ``(seq, batch)``, or ``(batch, seq)`` with ``batch_first``.
      It is true at each step where a sample restarts, such as the first step of an episode. The
      sequence is cut before this step, and the pieces run independently, in both directions. In
      the forward direction, the piece before the first flag starts from ``hx``; in the backward
      direction, the piece from the last flag on does. Every other piece starts as if ``hx`` were
      None. In each direction, ``state`` comes from the piece that runs last.

    Args:
        cells: a list with one cell for each layer, starting with the layer that reads the input; or
            a single cell. A cell is a module with the methods of :class:`rnnkit.typing.Cell`:
            ``forward(input, hx)`` and ``initial_state(batch_size)``. The cells may differ in class
            and hidden size.
        reverse_cells: one cell for each layer's backward direction, which runs from the last valid
            step to the first. The cells of the next layer, in both directions, then read the
            features of both: their input size is the sum of the two hidden sizes.
        batch_first: True if input and output are ``(batch, seq, feature)``.
        dropout: in training, the probability, from 0 to 1, that a feature passed from one layer to
            the next is set to zero.
        axes: for callers typed with jaxtyping: the names that the caller's annotations have for
            ``"seq"`` and ``"batch"``, such as ``{"seq": "time"}``. Each call checks that an axis
            has the size that its name has in the caller.

    Raises:
        ArgumentError: if there is no cell, if ``cells`` and ``reverse_cells`` differ in number, or
            if another argument of the constructor, or of a call, has the wrong type or value.
        ShapeError: if a call's input or ``reset`` has wrong axes or sizes. The next two errors are
            subclasses of it.
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        StateError: if ``hx`` is not one state for each cell, with the right batch size and, for a
            cell of rnnkit's, the right width.
        DtypeError: if the input or state of a cell of rnnkit's has a different dtype from its
            weights. Your own cells check this themselves.
        DeviceError: if the input or state of a cell of rnnkit's is on a different device from its
            weights.
        CellError: if a cell does not return a state of the whole batch, changes its state in place,
            or has no ``initial_state`` and needs one. An exception that a cell raises itself is
            passed through, with a note that names the step, layer and direction.

    torch has no such layer. Its own cells may be used here:
    https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers

    >>> layer = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)], batch_first=True)
    >>> output, (gru_state, lstm_state) = layer(torch.ones(2, 7, 3), lengths=[7, 5])
    >>> output.shape, lstm_state.c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    #: The names of axes in the caller's scope.
    axes: dict[str, str] | None = None

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
        """Make a layer from ``cells``, one for each layer; the first one reads the input.

        ``reverse_cells``, as many, run from the last valid step to the first. Input and output are
        ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with ``batch_first``. ``dropout``
        acts between layers. ``axes`` has the names of seq and batch in the caller's jaxtyping
        scope.

        A call takes ``input``, ``hx``, ``lengths`` and ``reset``, and returns output and state. The
        docstring of the class describes each argument and each error.
        """
        super().__init__()
        self.batch_first: bool = batch_first
        self.dropout: float = float(dropout)
        set_options(self, LAYER_AXES[:2], axes)
        self.cells: CellList = CellList(cells_of(cells, "cells"))
        self.reverse_cells: CellList | None = None
        if reverse_cells is not None:
            backward = cells_of(reverse_cells, "reverse_cells", len(self.cells))
            self.reverse_cells = CellList(backward)
        # The cells of a bidirectional layer, all in one list, would be stacked one on the other.
        check_directions([*self.cells])

    @classmethod
    def of(cls, layer: Layer[LayerStateT, Any, Any]) -> "Recurrent[LayerStateT]":
        """Make a Recurrent that computes the same as ``layer``, an RNN, LSTM or GRU of rnnkit's.

        It has the layer's directions, ``batch_first``, dropout and axes. It shares the layer's
        parameters, so training one trains the other. Its state is a tuple of its cells' states:
        :func:`rnnkit.states.to_layers` converts a state of the layer to that form.

        Raises:
            ArgumentError: if ``layer`` is not a layer of rnnkit's, or overrides ``initial_state``,
                which its cells would not call.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2, bidirectional=True)
        >>> x = torch.ones(7, 5, 3)
        >>> torch.allclose(rnnkit.Recurrent.of(gru)(x)[0], gru(x)[0], atol=1e-6)
        True
        """
        check_layer_of_cells(layer)
        cells = layer.cells()
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
        """Whether the layer also has a backward direction, that is, ``reverse_cells``."""
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
        """Run over a sequence; the docstring of the class describes arguments and results."""
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        node = leaf_node(self, input, hx, lengths=lengths, reset=reset)
        if node is not None:
            return node
        initial = None
        if isinstance(input, Tensor):  # a cell's guard refuses all else
            sizes = sizes_of_sequence(input, batch_first=self.batch_first)
            if self.axes is not None and sizes:
                check_scope(self, self.axes, sizes)
            if sizes and needs_initial_state(self, hx, reset):
                initial = self.initial_state(sizes.get("batch"))
        return run_layers(self, input, hx, initial, lengths, reset)

    def initial_state(self, batch_size: int | None) -> tuple[StateT, ...]:
        """Return a tuple of the cells' initial states, layer by layer, the forward direction first.

        With ``batch_size`` None, the states have no batch axis. A subclass may override this
        method. A call without ``hx`` starts from what it returns, and each flag of
        ``reset`` starts a sample from it again.

        Raises:
            CellError: if a cell has no method ``initial_state``.
            ArgumentError: if ``batch_size`` is neither None nor an integer of at least 0.

        >>> cells = [rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)]
        >>> h, (h_2, c_2) = rnnkit.Recurrent(cells).initial_state(2)
        >>> h.shape, c_2.shape
        (torch.Size([2, 4]), torch.Size([2, 5]))
        """
        check_batch_size("Recurrent", batch_size)
        return tuple(initial_state(cell, batch_size) for cell in cells_in_order(self))

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

        ``x_t`` is ``(batch, feature)``, or ``(feature,)`` without a batch. ``hx`` is the state
        before the step, as in a call; ``state`` is another name for it. ``reset``, booleans or 0
        and 1, is ``(batch,)``: true for samples that restart from ``initial_state``. Returns the
        last layer's output ``(batch, hidden)`` and the state after the step.

        Raises:
            ArgumentError: if the layer has reverse cells, which start at the end of a sequence; if
                ``reset`` is not one flag per sample; if both ``hx`` and ``state`` are given.
            ShapeError: if ``x_t`` has a seq axis.

        >>> layer, hx = rnnkit.Recurrent(rnnkit.GRUCell(3, 4)), None
        >>> for x_t in torch.ones(7, 5, 3):
        ...     y_t, hx = layer.step(x_t, hx)
        >>> y_t.shape
        torch.Size([5, 4])
        """
        return run_layer_step(self, x_t, one_state(hx, state), reset, explain_states)

    def last_hidden(self, state: CellStates) -> Tensor:
        """Return the last layer's h, its directions side by side: ``(batch, hidden)``.

        ``state`` is the second result of a call. The forward h comes after each sample's last valid
        step, and the backward h after its first step.

        Raises:
            StateError: if ``state`` is not a tuple of one state for each cell.

        >>> layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4), reverse_cells=rnnkit.LSTMCell(3, 4))
        >>> _, state = layer(torch.ones(7, 5, 3))
        >>> layer.last_hidden(state).shape
        torch.Size([5, 8])
        """
        each = checked_states(self, () if state is None else state)
        ends = [tensors_of(one)[0] for one in each]
        return torch.cat(ends[-2:], dim=-1) if self.bidirectional else ends[-1]

    def extra_repr(self) -> str:
        """Return the options that differ from the default, as ``print(layer)`` shows them."""
        options = {"batch_first": self.batch_first, "dropout": self.dropout, "axes": self.axes}
        return ", ".join(f"{name}={value}" for name, value in options.items() if value)


Recurrent.__module__ = "rnnkit"
finish(Recurrent)
