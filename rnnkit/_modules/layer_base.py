"""What RNN, LSTM and GRU share: the checked call, steps, and their states."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import ClassFacts, note_subclass, overrides_torch_checks
from rnnkit._base.dynamo import leaves_graph, only_in_graphs, outside_of_graphs
from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import refusal
from rnnkit._base.state import LSTMState, layers_first, map_state, zeros
from rnnkit._base.torch_tools import is_fx_call, leaf_node
from rnnkit._checks.arguments import (
    check_batch_size,
    check_own_state,
    check_surplus,
    known_options,
)
from rnnkit._checks.call_spec import sizes_of_layer
from rnnkit._checks.diagnosis import ModuleCall, explain_layer_step, explain_torchs_error
from rnnkit._checks.guards import MISFIT, fitting_layer
from rnnkit._checks.scope import check_scope
from rnnkit._modules import calls
from rnnkit._modules.cell_base import GivenT, StateT
from rnnkit._modules.cells import empty_cell
from rnnkit._modules.layer_run import boundaries_of_call, first_weight, run_layer, state_rows
from rnnkit.typing import LengthsLike, ResetLike

CellT = TypeVar("CellT", bound=torch.nn.Module)


class Layer(torch.nn.RNNBase, Generic[StateT, GivenT, CellT]):
    """What the three layers share; they differ by their constructors and by ``__rnnkit__``."""

    #: All that is ours and not public. This base computes nothing by itself, as torch's does not.
    __rnnkit__: ClassVar[ClassFacts] = ClassFacts(torch.nn.RNNBase, ("hx",), is_user_subclass=True)
    # On the class, so that a module with the default holds nothing that torch's does not hold.
    state_batch_first: bool = False
    axes: dict[str, str] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Note what a subclass overrides."""
        super().__init_subclass__(**options)
        note_subclass(cls)

    @overload
    def forward(
        self,
        input: Tensor,
        hx: GivenT | None = None,
        *,
        lengths: LengthsLike | None = None,
        reset: ResetLike | None = None,
    ) -> tuple[Tensor, StateT]: ...
    @overload
    def forward(
        self, input: PackedSequence, hx: GivenT | None = None
    ) -> tuple[PackedSequence, StateT]: ...
    def forward(
        self,
        input: Any = None,
        hx: Any = None,
        *surplus: Any,
        lengths: Any = None,
        reset: Any = None,
        **unknown: Any,
    ) -> Any:
        """Run over a sequence; the class describes arguments and results."""
        if leaves_graph():
            options = {"lengths": lengths, "reset": reset, **unknown}
            return _run_eagerly(self, input, hx, *surplus, **options)
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        all_valid = lengths is None and reset is None
        overrides = all_valid and overrides_torch_checks(self)
        weight = None if overrides else first_weight(self)
        state = fitting_layer(self, input, hx, weight)
        if state is not MISFIT and calls.needs_initial_state(self, hx):
            hx = calls.with_initial_state(self, input, hx)
            state = fitting_layer(self, input, hx, weight)
        if state is MISFIT:
            return _run_odd_call(self, input, hx, weight, lengths, reset)
        if self.axes is not None:
            check_scope(self, self.axes, sizes_of_layer(self, input))
        boundaries = None if all_valid else boundaries_of_call(self, input, weight, lengths, reset)
        try:
            output, end = run_layer(self, input, state, boundaries, overrides_checks=overrides)
        except RuntimeError as error:
            explain_torchs_error(ModuleCall(self, input, hx, weight), error)
            raise
        return output, calls.returned(self, end)

    if TYPE_CHECKING:  # torch's own is Any

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

    def _update_flat_weights(self) -> None:
        # torch seeks each weight twice in three places, a tenth of a small call; most of the time
        # the parameters themselves say that nothing has changed.
        parameters = self._parameters
        own = self.__dict__
        if not self.__rnnkit__.is_user_subclass:
            for weight, name in zip(self._flat_weight_refs, self._flat_weights_names, strict=True):
                if weight is None or name in own or weight() is not parameters.get(name, self):
                    break
            else:
                return
        super()._update_flat_weights()

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this layer's state, on the device and in the dtype of its weights.

        It is a tensor ``(layers * directions, batch, hidden)``, an LSTM's a pair of such; with
        ``state_batch_first`` ``(batch, layers * directions, hidden)``; without the batch axis if
        ``batch_size`` is None.

        Raises:
            ArgumentError: if ``batch_size`` is not a non-negative integer.

        >>> rnnkit.GRU(3, 4, num_layers=2).initial_state(5).shape
        torch.Size([2, 5, 4])
        """
        check_batch_size(type(self).__name__, batch_size)
        front = (state_rows(self),) if batch_size is None else (state_rows(self), batch_size)
        state = map_state(lambda t: t.clone(), zeros(self, first_weight(self), *front))
        return layers_first(state) if self.state_batch_first else state  # type: ignore[no-any-return]

    @known_options
    @only_in_graphs
    def step(self, x_t: Tensor, state: GivenT | None = None) -> tuple[Tensor, StateT]:
        """Run one time step, through all layers.

        ``x_t`` is ``(batch, input_size)``, or ``(input_size,)`` unbatched; ``state`` is the state
        before the step, as a call takes it. Returns the output ``(batch, hidden)`` and the state
        after the step.

        Raises:
            ArgumentError: if the layer is bidirectional, since backward it starts at the end.
            ShapeError: if ``x_t`` has a seq axis.

        >>> lstm, state = rnnkit.LSTM(3, 4), None
        >>> for x_t in torch.ones(7, 5, 3):
        ...     y_t, state = lstm.step(x_t, state)
        >>> y_t.shape, state.c.shape
        (torch.Size([5, 4]), torch.Size([1, 5, 4]))
        """
        if leaves_graph():
            return _step_eagerly(self, x_t, state)  # type: ignore[no-any-return]
        return calls.run_layer_step(self, x_t, state, explain_layer_step)

    def last_hidden(self, state: StateT) -> Tensor:
        """Return the last layer's h, its directions side by side: ``(batch, directions * hidden)``.

        Use it instead of ``h_n.view(batch, -1)``, which mixes samples. With ``lengths`` or packed
        input it is that of each sample's own last step.

        Raises:
            StateError: if it is not a state of this layer.

        >>> lstm = rnnkit.LSTM(3, 4, bidirectional=True)
        >>> _, state = lstm(torch.ones(7, 5, 3), lengths=[7, 2, 5, 1, 4])
        >>> lstm.last_hidden(state).shape
        torch.Size([5, 8])
        """
        split: Any = self.split_state(state)
        h: Tensor = split if len(self.__rnnkit__.state_names) == 1 else split[0]
        return h[-1].movedim(0, -2).flatten(-2)

    def split_state(self, state: StateT) -> StateT:
        """Split a state into a view ``(layers, directions, batch, hidden)``, an LSTM's into two.

        Raises:
            StateError: if it is not a state of this layer.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2, bidirectional=True)
        >>> forward, backward = gru.split_state(gru(torch.ones(7, 5, 3))[1])[-1]
        >>> forward.shape
        torch.Size([5, 4])
        """
        check_own_state(self, state)
        whole: Any = state
        if len(self.__rnnkit__.state_names) > 1:
            whole = LSTMState(whole[0], whole[1])  # by index, which a proxy has
        if self.state_batch_first:
            whole = layers_first(whole)
        rows = (self.num_layers, 2 if self.bidirectional else 1)
        return map_state(lambda tensor: tensor.unflatten(0, rows), whole)  # type: ignore[no-any-return]

    def cells(self) -> list[CellT]:
        """Return the layer's cells, layer by layer, starting with the forward direction.

        They share the layer's parameters: training one trains the other. A computed weight
        (parametrized, pruned) is shared as it is now.

        >>> gru = rnnkit.GRU(3, 4, num_layers=2)
        >>> first, second = gru.cells()
        >>> second.weight_ih is gru.weight_ih_l1
        True
        """
        cells: list[CellT] = []
        for names in self._all_weights:
            weights = {name.partition("_l")[0]: getattr(self, name) for name in names}
            cell = empty_cell(self, weights["weight_ih"].shape[1])
            for name, weight in weights.items():
                delattr(cell, name)
                setattr(cell, name, weight)
            cells.append(cell.train(self.training))
        return cells

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        # Without super(), which Dynamo cannot trace where it meets a message.
        text = torch.nn.RNNBase.extra_repr(self)
        if self.state_batch_first:
            text += ", state_batch_first=True"
        return text if self.axes is None else f"{text}, axes={self.axes}"

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class, and warn of what it does not ask for."""
        if self.state_batch_first:
            sentence = f"{type(self).__name__}(..., state_batch_first=True) has no TorchScript form"
            fix = ("fix", "state_batch_first=False, and state.transpose(0, 1) in the caller")
            refusal(RnnkitError, "state_batch_first", sentence, "", fix, code="script-state")
        return calls.scripted(self)


def _run_odd_call(
    layer: Layer[Any, Any, Any], input: Any, hx: Any, weight: Any, lengths: Any, reset: Any
) -> Any:
    """Run what a guard does not take but something else does: a tracer, or torch's class."""
    if is_fx_call(input, hx):
        return leaf_node(layer, input, hx, lengths=lengths, reset=reset)
    whole = calls.in_one_piece(input)
    if whole is not None:
        return Layer.forward(layer, whole, hx, lengths=lengths, reset=reset)
    has_pieces = lengths is not None or reset is not None
    return calls.delegated(ModuleCall(layer, input, hx, weight), has_pieces=has_pieces)


@outside_of_graphs
def _run_eagerly(layer: Layer[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
    """Run a layer that its caller's compiler leaves out of the graph."""
    return Layer.forward(layer, *args, **kwargs)


@outside_of_graphs
def _step_eagerly(layer: Layer[Any, Any, Any], x_t: Tensor, state: Any) -> Any:
    """Run one step of a layer that its caller's compiler leaves out of the graph."""
    return calls.run_layer_step(layer, x_t, state, explain_layer_step)


calls.finish(Layer)
