"""What RNN, LSTM and GRU share: the checked call, steps, and their states."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import ClassFacts, finish, state_rows
from rnnkit._base.errors import RnnkitError
from rnnkit._base.message import refuse
from rnnkit._base.state import (
    LSTMState,
    State,
    StateT,
    layers_first,
    map_state,
    state_of,
    tensors_of,
)
from rnnkit._base.torch_tools import is_proxy, leaf_node
from rnnkit._checks.arguments import (
    check_own_state,
    check_step,
    check_surplus,
    known_options,
    one_state,
)
from rnnkit._checks.call_spec import sizes_of_layer, spec_of
from rnnkit._checks.diagnosis import ModuleCall, explain_layer_step, explain_torchs_error
from rnnkit._checks.guards import MISFIT, fitting_layer
from rnnkit._checks.mask_checks import as_mask
from rnnkit._checks.objects import RUNS_BACKWARD
from rnnkit._checks.scope import check_scope
from rnnkit._modules.cell_base import GivenT
from rnnkit._modules.cells import empty_cell
from rnnkit._modules.common import (
    Checked,
    needs_initial_state,
    own_initial_state,
    state_for_torch,
    zero_state,
)
from rnnkit._modules.dynamo import is_left_out_of_graph, only_in_graphs, outside_of_graphs
from rnnkit._modules.layer_run import first_weight, run_layer
from rnnkit._modules.sequence import checked_boundaries
from rnnkit.typing import LengthsLike, ResetLike, StepResetLike

CellT = TypeVar("CellT", bound=torch.nn.Module)


if TYPE_CHECKING:
    from rnnkit._base.keywords import FunctionT

    def typed_as(function: FunctionT) -> Callable[[Callable[..., Any]], FunctionT]:
        """Return a decorator: what it stands above has the types of ``function``."""
        ...


class Layer(Checked, torch.nn.RNNBase, Generic[StateT, GivenT, CellT]):
    """What the three layers share; they differ by their constructors and by ``__rnnkit__``."""

    #: This base computes nothing by itself, as torch's does not.
    __rnnkit__: ClassFacts = ClassFacts(torch.nn.RNNBase, is_user_subclass=True)
    state_batch_first: bool = False

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
        input: Any = None,  # a caller may give anything, and the guard says what is right
        hx: Any = None,
        *surplus: object,
        lengths: object = None,
        reset: object = None,
        **unknown: object,
    ) -> Any:
        """Run over a sequence; the docstring of the class describes arguments and results."""
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        if is_left_out_of_graph():
            return _run_eagerly(Layer.forward, self, input, hx, lengths=lengths, reset=reset)
        all_valid = lengths is None and reset is None
        is_checked_by_torch = all_valid and self.__rnnkit__.overrides_checks
        weight = None if is_checked_by_torch else first_weight(self)
        # The guard, a quick check: it returns the state as kernels take it, or MISFIT, and then
        # _run_odd_call raises what is wrong, or finds who can run it.
        state = fitting_layer(self, input, hx, weight)
        initial = None
        if state is not MISFIT and needs_initial_state(self, hx, reset):
            state, initial = own_initial_state(fitting_layer, self, input, hx, weight)
        if state is MISFIT:
            return _run_odd_call(ModuleCall(self, input, hx, weight), lengths=lengths, reset=reset)
        if self.axes is not None:
            check_scope(self, self.axes, sizes_of_layer(self, input))
        boundaries = None
        if not all_valid:
            spec = spec_of(self, input, "layer")
            boundaries = checked_boundaries(spec, input, lengths, reset, initial)
        try:
            output, end = run_layer(self, input, state, boundaries)
        except RuntimeError as error:
            explain_torchs_error(self, error)
            raise
        return output, _returned(self, end)

    if TYPE_CHECKING:  # torch's own is Any

        @typed_as(forward)
        def __call__(self) -> Any: ...

    def _update_flat_weights(self) -> None:
        """Do what torch's method does: collect the weights for the kernel, if any was replaced."""
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

        The state is a tensor ``(num_layers * directions, batch, hidden)``, or the pair ``(h, c)``
        for an LSTM. With ``state_batch_first`` the batch axis comes first; with ``batch_size`` None
        there is none. A subclass may override this method, for example with a learned state.

        Raises:
            ArgumentError: if ``batch_size`` is neither None nor an integer of at least 0.

        >>> rnnkit.GRU(3, 4, num_layers=2).initial_state(5).shape
        torch.Size([2, 5, 4])
        """
        state = zero_state(self, first_weight(self), batch_size, state_rows(self))
        return _returned(self, state)  # type: ignore[no-any-return]

    @known_options
    @only_in_graphs
    def step(
        self,
        x_t: Tensor,
        hx: GivenT | None = None,
        *,
        reset: StepResetLike | None = None,
        state: GivenT | None = None,
    ) -> tuple[Tensor, StateT]:
        """Run one time step, through all layers.

        ``x_t`` is ``(batch, input_size)``, or ``(input_size,)`` without a batch. ``hx`` is the
        state before the step, as in a call; ``state`` is another name for it. ``reset``, booleans
        or 0 and 1, is ``(batch,)``: true for samples that restart from ``initial_state``.
        Returns the output ``(batch, hidden)`` and the state after the step.

        Raises:
            ArgumentError: if the layer is bidirectional (its backward direction starts at the end
                of a sequence); if ``reset`` is not one flag per sample; if both ``hx`` and
                ``state`` are given.
            ShapeError: if ``x_t`` has a seq axis.

        >>> lstm, hx = rnnkit.LSTM(3, 4), None
        >>> done = torch.tensor([False, True])
        >>> for x_t in torch.ones(7, 2, 3):
        ...     y_t, hx = lstm.step(x_t, hx, reset=done)
        >>> y_t.shape, hx.c.shape
        (torch.Size([2, 4]), torch.Size([1, 2, 4]))
        """
        hx = one_state(hx, state)
        if is_left_out_of_graph():
            return _run_eagerly(Layer.step, self, x_t, hx, reset=reset)  # type: ignore[no-any-return]
        return run_layer_step(self, x_t, hx, reset, explain_layer_step)

    def last_hidden(self, state: StateT) -> Tensor:
        """Return the last layer's h, its directions side by side: ``(batch, directions * hidden)``.

        ``state`` is the second result of a call. The forward h comes after each sample's last valid
        step, also with ``lengths`` or packed input, and the backward h after its first step.
        ``h_n.view(batch, -1)`` would mix the samples.

        Raises:
            StateError: if ``state`` does not have the shape of a state of this layer.

        >>> lstm = rnnkit.LSTM(3, 4, bidirectional=True)
        >>> _, state = lstm(torch.ones(7, 5, 3), lengths=[7, 2, 5, 1, 4])
        >>> lstm.last_hidden(state).shape
        torch.Size([5, 8])
        """
        h: Tensor = tensors_of(self.split_state(state))[0]
        return h[-1].movedim(0, -2).flatten(-2)

    def split_state(self, state: StateT) -> StateT:
        """Return a state as a view ``(layers, directions, batch, hidden)``; an LSTM's h and c each.

        Raises:
            StateError: if ``state`` does not have the shape of a state of this layer.

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
        # The rest of the first axis is the directions.
        return map_state(lambda tensor: tensor.unflatten(0, (self.num_layers, -1)), whole)  # type: ignore[no-any-return]

    def cells(self) -> list[CellT]:
        """Return the layer's cells, layer by layer, starting with the forward direction.

        A cell runs one layer in one direction, one step per call. The cells share the layer's
        parameters, so training the cells trains the layer. If a weight is computed (parametrized or
        pruned), the cells share its present value.

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
            setattr(cell, RUNS_BACKWARD, names[0].endswith("_reverse"))
            cells.append(cell.train(self.training))
        return cells

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class, and warn of what it does not ask for."""
        if self.state_batch_first:
            sentence = f"TorchScript cannot run {type(self).__name__}(..., state_batch_first=True)"
            fix = "state_batch_first=False, and state.transpose(0, 1) in the caller"
            refuse(RnnkitError, "state_batch_first", sentence, fix=fix, code="script-state")
        return super().__prepare_scriptable__()


finish(Layer)


def _run_odd_call(call: ModuleCall, **pieces: Any) -> Any:
    """Run a call that the quick check, the guard, does not take, or raise what is wrong with it.

    ``call`` is the layer, its input and state as they came, and its first weight; ``pieces`` are
    the arguments ``lengths`` and ``reset``. ``torch.fx`` records the call as one node; else torch's
    class, which takes neither, runs it, if nothing is found wrong.
    """
    layer, input, hx, _ = call
    node = leaf_node(layer, input, hx, **pieces)
    if node is not None:
        return node
    state = state_for_torch(call, has_pieces=any(piece is not None for piece in pieces.values()))
    if layer.state_batch_first and state is not None:
        state = layers_first(state)
    output, end = layer.__rnnkit__.torch_class.forward(layer, input, state)
    return output, _returned(layer, end)


def _returned(layer: Any, state: State) -> Any:
    """Return a state as the layer returns it: an LSTM's as an LSTMState, the batch first if asked.

    ``state`` is what torch's class or its kernel returned, layers first: a tensor, or h and c.
    """
    state = state_of(tensors_of(state))
    return layers_first(state) if layer.state_batch_first else state


def run_layer_step(
    layer: torch.nn.Module,
    x_t: Tensor,
    hx: object,
    reset: Any,
    explain: Callable[..., object],
) -> tuple[Tensor, Any]:
    """Run one step as a sequence of one; return the output ``(batch, hidden)`` and the next state.

    ``x_t`` is ``(batch, input_size)``, and ``reset`` ``(batch,)`` or None. If the layer refuses,
    ``explain`` may raise what is wrong in a step's words and shapes instead.
    """
    check_step(layer, x_t)
    seq_axis = x_t.dim() - 1 if layer.batch_first else 0  # no question, for torch.fx
    # The forward of a user's subclass may have no such argument.
    options = {}
    if reset is not None:
        if not is_proxy(reset):
            reset = as_mask("reset", reset, tuple(x_t.shape[:-1]), x_t.device)
        options["reset"] = reset.unsqueeze(seq_axis)
    try:
        output, state_after = layer(x_t.unsqueeze(seq_axis), hx, **options)
    except RnnkitError:
        # A subclass that overrides forward may take what ours refuses.
        if not is_compiling() and type(layer).forward.__module__.startswith("rnnkit."):
            explain(layer, x_t, hx)
        raise
    return output.squeeze(seq_axis), state_after


@outside_of_graphs("recurrent layers stay out of graphs unless allow_rnn is set")
def _run_eagerly(run: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Run a layer, or a step, that its caller's compiler leaves out of the graph."""
    return run(*args, **kwargs)
