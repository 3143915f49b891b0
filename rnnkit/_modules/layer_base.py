"""What RNN, LSTM and GRU share: the checked call, lengths, steps, and their states."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar, overload

import torch
from torch import Tensor

from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import LSTMState, layers_first, map_state
from rnnkit._base.torch_tools import (
    is_fx_call,
    is_jit_traced,
    is_transformed,
    lacks_kernel,
    leaf_node,
    torch_twin,
)
from rnnkit._checks.arguments import check_batch_size, check_own_state, check_step
from rnnkit._checks.call_spec import sizes_of_layer, spec_of_layer
from rnnkit._checks.calls import check_layer
from rnnkit._checks.dtype_errors import explain_missing_kernel
from rnnkit._checks.lengths import check_lengths
from rnnkit._checks.resets import check_reset
from rnnkit._checks.scope import LAYER_AXES, check_axes, check_scope
from rnnkit._kernels.paths import run
from rnnkit._kernels.stack import Direction, Stack
from rnnkit._modules.cell_base import GivenT, StateT
from rnnkit._modules.loop import loop_stack

if TYPE_CHECKING:
    from torch.nn.utils.rnn import PackedSequence

CellT = TypeVar("CellT", bound=torch.nn.Module)

#: Valid steps of each sample, as callers give them.
LengthsLike: TypeAlias = Sequence[int] | Tensor

#: Before which steps each sample starts anew, as callers give it.
ResetLike: TypeAlias = Tensor | Sequence[Sequence[bool]] | Sequence[bool]


class Layer(torch.nn.RNNBase, Generic[StateT, GivenT, CellT]):
    """What the three layers share; they differ by the class variables."""

    #: The tensors of the state, in torch's order.
    STATE_NAMES: ClassVar[tuple[str, ...]]
    #: The class of one step in one direction.
    CELL_CLASS: ClassVar[Any]
    #: torch's class, bound at import: somebody may put ours in its place in ``torch.nn``.
    TORCH_CLASS: ClassVar[Any]

    @property
    def _mode(self) -> str:
        return self.mode

    @property
    def _proj_size(self) -> int:
        return self.proj_size

    # On the class, so that a module with the default holds nothing that torch's does not hold.
    state_batch_first: bool = False
    axes: dict[str, str] | None = None

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None, reset: Any = None) -> Any:
        """Run over a sequence; arguments and results are told where the class is."""
        if is_fx_call(input, hx):
            return leaf_node(self, input, hx, lengths=lengths, reset=reset)
        hx = check_layer(self, input, hx)
        if self.axes is not None:
            check_scope(self, self.axes, sizes_of_layer(self, input), "input")
        if lengths is None and reset is None:
            try:
                output, state = self.TORCH_CLASS.forward(self, input, hx)
            except RuntimeError as error:
                explain_missing_kernel(self, error)
                raise
        else:
            output, state = self._with_kernel(input, hx, lengths, reset)
        if len(self.STATE_NAMES) > 1:
            state = LSTMState(*state)
        if self.state_batch_first:
            state = layers_first(state)
        return output, state

    if TYPE_CHECKING:

        @overload
        def __call__(
            self,
            input: Tensor,
            hx: GivenT | None = None,
            *,
            lengths: LengthsLike | None = None,
            reset: ResetLike | None = None,
        ) -> tuple[Tensor, StateT]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: GivenT | None = None
        ) -> tuple[PackedSequence, StateT]: ...
        def __call__(
            self, input: Any, hx: Any = None, *, lengths: Any = None, reset: Any = None
        ) -> Any: ...

    def _set_options(self, *, state_batch_first: bool, axes: Any) -> None:
        if state_batch_first:
            self.state_batch_first = True
        if axes is not None:
            self.axes = check_axes(type(self).__name__, axes, LAYER_AXES)

    def check_forward_args(self, input: Any, hidden: Any, batch_sizes: Any) -> None:
        """Do nothing: ``forward`` has checked the same things, and more of them."""

    def _update_flat_weights(self) -> None:
        # torch seeks each weight twice in three places, a tenth of a small call; most of the time
        # the parameters themselves say that nothing has changed.
        parameters = self._parameters
        for weight, name in zip(self._flat_weight_refs, self._flat_weights_names, strict=True):
            if weight is None or weight() is not parameters.get(name, self):
                super()._update_flat_weights()
                return

    def _with_kernel(self, input: Any, hx: Any, lengths: Any, reset: Any) -> tuple[Tensor, Any]:
        if not lacks_kernel(self.mode, self.proj_size, input):
            return self._forward_pieces(input, hx, lengths, reset)
        weight: Any = self._flat_weights[0]
        hx = None if hx is None else map_state(lambda tensor: tensor.to(weight.dtype), hx)
        with torch.autocast("cpu", enabled=False):
            return self._forward_pieces(input.to(weight.dtype), hx, lengths, reset)

    def _forward_pieces(self, input: Any, hx: Any, lengths: Any, reset: Any) -> tuple[Tensor, Any]:
        spec = spec_of_layer(self, input)
        counts = None if lengths is None else check_lengths(spec, lengths, input)
        mask = None if reset is None else check_reset(spec, reset)
        if counts is not None and counts.is_full:
            counts = None
        if counts is None and mask is None:
            return self.TORCH_CLASS.forward(self, input, hx)  # type: ignore[no-any-return]
        if hx is None:
            hx = self._zeros(input, *(() if spec.batch is None else (spec.batch,)))
        state = hx if isinstance(hx, tuple) else (hx,)
        if spec.batch is None:
            input, state = input.unsqueeze(1), tuple(tensor.unsqueeze(1) for tensor in state)
            mask = None if mask is None else mask.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        stack = self._stack()
        by_steps = mask is not None or self.mode == "RNN_RELU"
        if by_steps and (is_transformed() or is_jit_traced()):
            # Pieces are found by what a mask holds, and a relu may not run over padding.
            output, ends = loop_stack(stack, input, state, counts, mask)
        else:
            output, ends = run(stack, input, state, counts, mask)
        if spec.batch is None:
            output, ends = output.squeeze(1), tuple(tensor.squeeze(1) for tensor in ends)
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, ends if len(ends) > 1 else next(iter(ends))

    def _stack(self) -> Stack:
        self._update_flat_weights()
        weights: Any = self._flat_weights
        directions = 2 if self.bidirectional else 1
        per_direction = len(weights) // len(self._all_weights)
        each = [
            Direction(
                self.mode,
                weights[place * per_direction : (place + 1) * per_direction],
                self.bias,
                self.training,
                bool(place % directions),
            )
            for place in range(len(self._all_weights))
        ]
        layers = [each[place : place + directions] for place in range(0, len(each), directions)]
        return Stack(layers, self.dropout)

    def _zeros(self, like: Tensor, *batch: int) -> Any:
        rows = len(self._all_weights)
        hidden = like.new_zeros(rows, *batch, self.hidden_size)
        if len(self.STATE_NAMES) == 1:
            return hidden
        return LSTMState(like.new_zeros(rows, *batch, self.proj_size or self.hidden_size), hidden)

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this layer's state, on the device and in the dtype of its weights.

        Args:
            batch_size: number of samples; None for the state of an unbatched call.

        Returns:
            A tensor ``(layers * directions, batch, hidden)``, of an LSTM a pair of such; with
            ``state_batch_first`` ``(batch, layers * directions, hidden)``.

        Raises:
            ArgumentError: if ``batch_size`` is no count.

        >>> rnnkit.GRU(3, 4, num_layers=2).initial_state(5).shape
        torch.Size([2, 5, 4])
        """
        check_batch_size(type(self).__name__, batch_size)
        weight: Any = self._parameters.get("weight_ih_l0")
        if weight is None:  # parametrized: computed anew, once, where torch keeps it
            weight = self._flat_weights[0]
        zeros: StateT = self._zeros(weight, *(() if batch_size is None else (batch_size,)))
        if self.state_batch_first:
            zeros = layers_first(zeros)
        return zeros

    def step(self, x_t: Tensor, state: GivenT | None = None) -> tuple[Tensor, StateT]:
        """Run one time step, through all layers.

        Args:
            x_t: ``(batch, input_size)``, or ``(input_size,)`` unbatched.
            state: the state before the step, as a call takes it; None for zeros.

        Returns:
            The output ``(batch, hidden)`` and the state after the step.

        Raises:
            ArgumentError: if the layer is bidirectional: its backward direction would have to
                begin at the end.
            ShapeError: if ``x_t`` has a seq axis.

        >>> lstm, state = rnnkit.LSTM(3, 4), None
        >>> for x_t in torch.ones(7, 5, 3):
        ...     y_t, state = lstm.step(x_t, state)
        >>> y_t.shape, state.c.shape
        (torch.Size([5, 4]), torch.Size([1, 5, 4]))
        """
        check_step(self, x_t)
        seq_axis = 1 if self.batch_first and x_t.dim() > 1 else 0
        output, state_after = self(x_t.unsqueeze(seq_axis), state)
        return output.squeeze(seq_axis), state_after

    def last_hidden(self, state: StateT) -> Tensor:
        """Return the last layer's h with its directions side by side.

        The shape is ``(batch, directions * hidden)``.

        It is what ``h_n.view(batch, -1)`` is meant to be. With ``lengths`` or packed input it is
        right for each sample, since the state is the one after its own last step.

        Args:
            state: the state that this layer returned.

        Raises:
            StateError: if it is no state of this layer.

        >>> lstm = rnnkit.LSTM(3, 4, bidirectional=True)
        >>> _, state = lstm(torch.ones(7, 5, 3), lengths=[7, 2, 5, 1, 4])
        >>> lstm.last_hidden(state).shape
        torch.Size([5, 8])
        """
        split: Any = self.split_state(state)
        h: Tensor = split if len(self.STATE_NAMES) == 1 else split[0]
        return h[-1].movedim(0, -2).flatten(-2)

    def split_state(self, state: StateT) -> StateT:
        """Take layers and directions of a state apart: ``(layers, directions, batch, hidden)``.

        Args:
            state: the state that this layer returned.

        Returns:
            A view, of an LSTM's state an LSTMState of two.

        Raises:
            StateError: if it is no state of this layer.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2, bidirectional=True)
        >>> forward, backward = gru.split_state(gru(torch.ones(7, 5, 3))[1])[-1]
        >>> forward.shape
        torch.Size([5, 4])
        """
        check_own_state(self, state)
        whole: Any = state
        if len(self.STATE_NAMES) > 1:
            whole = LSTMState(whole[0], whole[1])
        if self.state_batch_first:
            whole = layers_first(whole)
        rows = (self.num_layers, 2 if self.bidirectional else 1)
        split: StateT = map_state(lambda tensor: tensor.unflatten(0, rows), whole)
        return split

    def cells(self) -> list[CellT]:
        """Return the cells that the layer is made of, layer by layer, the forward direction first.

        They hold the layer's own parameters: to train one is to train the other. A weight that is
        computed (parametrized, pruned) is shared as it is now.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2)
        >>> first, second = gru.cells()
        >>> second.weight_ih is gru.weight_ih_l1
        True
        """
        cells: list[CellT] = []
        for names in self._all_weights:
            weights = {name.partition("_l")[0]: getattr(self, name) for name in names}
            cell = self._cell(weights["weight_ih"].shape[1])
            for name, weight in weights.items():
                del cell._parameters[name]  # noqa: SLF001
                setattr(cell, name, weight)
            cells.append(cell.train(self.training))
        return cells

    def _cell(self, input_size: int) -> Any:
        return self.CELL_CLASS(input_size, self.hidden_size, self.bias, device="meta")

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        # Without super(), which Dynamo cannot trace where it meets a message.
        text = torch.nn.RNNBase.extra_repr(self)
        if self.state_batch_first:
            text += ", state_batch_first=True"
        return text if self.axes is None else f"{text}, axes={self.axes}"

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class with the same parameters.

        Raises:
            RnnkitError: with ``state_batch_first``, which torch's class does not know.
        """
        if self.state_batch_first:
            message = (
                f"{type(self).__name__}(..., state_batch_first=True) has no TorchScript form\n"
                f"  fix       state_batch_first=False, and state.transpose(0, 1) in the caller"
            )
            raise RnnkitError(message, "state_batch_first")
        return torch_twin(self, self.TORCH_CLASS)
