"""How a layer runs once its call is checked: as one or, with lengths or resets, in pieces."""

from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.state import State, StateT, map_state, tensors_of, zeros
from rnnkit._base.torch_tools import lacks_kernel, uses_custom_op
from rnnkit._checks.call_spec import SEQUENCE
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.reset_operator import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.recurrences import Recurrence, recurrence_of
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.loop import loop_stack
from rnnkit._modules.sequence import Boundaries, with_batch
from rnnkit._modules.tracing import needs_steps, records_torchs_layer


def first_weight(layer: RNNBase) -> Tensor:
    """Return a layer's first weight as the call will read it."""
    if not is_compiling():
        layer._update_flat_weights()  # noqa: SLF001
    else:  # what torch's forward does first is not recorded twice
        weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
        if weight is not None:
            return weight
    first: Any = layer._flat_weights[0]  # noqa: SLF001
    return first  # type: ignore[no-any-return]


def state_rows(layer: RNNBase) -> int:
    """Return how many states a layer has, one for each direction of each of its layers."""
    return layer.num_layers * 2 if layer.bidirectional else layer.num_layers


def run_layer(
    layer: RNNBase,
    input: Tensor | PackedSequence,
    hx: State | None,
    boundaries: Boundaries | None,
    *,
    overrides_checks: bool,
) -> tuple[Any, State]:
    """Run a layer on a checked call, its weights up to date, and return what torch's returns.

    Without lengths or resets torch's kernel takes the layer as a whole, or torch's own forward if
    that does more. With them, or where a compiler needs rnnkit's operators, it runs in pieces.
    """
    recurrence = None if overrides_checks else recurrence_of(layer)
    facts: Any = layer.__rnnkit__
    if recurrence is None:
        return facts.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    if not isinstance(input, Tensor):
        return _run_packed(layer, recurrence, input, hx)
    compiling = is_compiling()
    if compiling and boundaries is None and records_torchs_layer(layer, input):
        return facts.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    is_unbatched = input.dim() == SEQUENCE
    batch_first = layer.batch_first and not is_unbatched
    if is_unbatched:
        input = input.unsqueeze(1)
        hx = with_batch(hx, 1)
    batch = input.shape[0 if batch_first else 1]
    state = zeros(layer, input, state_rows(layer), batch) if hx is None else hx
    state = _as_device_takes(state, input)
    if boundaries is not None or compiling:
        padded = input.transpose(0, 1) if batch_first else input
        stack = stack_of(layer, recurrence, padded)
        output, ends = run_stack(stack, padded, tensors_of(state), boundaries or Boundaries())
        output = output.transpose(0, 1) if batch_first else output
    else:
        output, *ends = recurrence.kernel(input, state, *_options(layer), batch_first)
    if is_unbatched:
        return output.squeeze(1), [end.squeeze(1) for end in ends]
    return output, ends


def _run_packed(
    layer: RNNBase, recurrence: Recurrence, input: PackedSequence, hx: State | None
) -> tuple[PackedSequence, State]:
    data, sizes, order, back = input
    if hx is None:
        hx = zeros(layer, data, state_rows(layer), sizes[0])  # a tensor, which a tracer can follow
    elif order is not None:
        hx = map_state(lambda tensor: tensor.index_select(1, order), hx)
    hx = _as_device_takes(hx, data)
    output, *ends = recurrence.kernel(data, sizes, hx, *_options(layer))
    if back is not None:
        ends = [end.index_select(1, back) for end in ends]
    return PackedSequence(output, sizes, order, back), ends


def _as_device_takes(state: StateT, input: Tensor) -> StateT:
    """Return a state without strides where cuDNN refuses them; a CPU takes any."""
    return state if input.is_cpu else map_state(Tensor.contiguous, state)


def _options(layer: RNNBase) -> tuple[Any, ...]:
    """Return what torch's kernels take after input and state."""
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    return layer._flat_weights, *options  # noqa: SLF001


def stack_of(layer: RNNBase, recurrence: Recurrence, input: Tensor) -> Stack:
    """Return a layer's directions, layer by layer, for ``(seq, batch, feature)``."""
    by_operator = uses_custom_op(input.shape[0])
    each = [
        Direction(
            recurrence,
            # By their names: a graph then holds no list that has to be kept up to date.
            [getattr(layer, name) for name in names],
            layer.bias,
            layer.training,
            reverse=names[0].endswith("_reverse"),
            by_operator=by_operator,
        )
        for names in layer._all_weights  # noqa: SLF001
    ]
    directions = 2 if layer.bidirectional else 1
    layers = [each[row : row + directions] for row in range(0, len(each), directions)]
    lacks = not is_compiling() and lacks_kernel(recurrence.name, layer.proj_size, input)
    return Stack(layers, layer.dropout, lacks)


def run_stack(stack: Stack, input: Tensor, state: States, boundaries: Boundaries) -> Run:
    """Run a stack over ``(seq, batch, feature)`` by a path that works for whoever traces."""
    lengths, reset, initial = boundaries
    if reset is None and stack.layers[0][0].by_operator:  # torch 2.8 traces no property
        return run_padded(stack, input, state, lengths)
    if reset is not None and takes_reset_operator(stack, input):
        return run_reset_operators(stack, input, state, lengths, reset, initial)
    if needs_steps(input, boundaries):
        return loop_stack(stack, input, state, boundaries)
    return paths.run(stack, input, state, lengths, reset, initial)
