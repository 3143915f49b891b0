"""How a layer runs once its call is checked: as one or, with lengths or resets, in pieces."""

from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import state_rows
from rnnkit._base.state import State, map_state, state_of, tensors_of, zeros
from rnnkit._base.torch_tools import lacks_kernel
from rnnkit._checks.call_spec import SEQUENCE
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.reset_operator import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.recurrences import Recurrence, recurrence_of
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.loop import loop_stack
from rnnkit._modules.sequence import Boundaries, with_batch, without_batch
from rnnkit._modules.tracing import needs_steps, records_torchs_layer, uses_custom_op


def first_weight(layer: RNNBase) -> Tensor:
    """Return a layer's ``weight_ih_l0`` as the call will read it.

    The list of weights that kernels take is brought up to date before, since a parameter may have
    been replaced; but not where a compiler records torch's own forward, which does so first.
    """
    if is_compiling():
        weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
        if weight is not None:
            return weight
    else:
        layer._update_flat_weights()  # noqa: SLF001
    first: Any = layer._flat_weights[0]  # noqa: SLF001
    return first  # type: ignore[no-any-return]


def run_layer(
    layer: RNNBase,
    input: Tensor | PackedSequence,
    hx: State | None,
    boundaries: Boundaries | None,
) -> tuple[Any, State]:
    """Run a layer on a checked call, its weights up to date; return output and state as torch does.

    ``boundaries`` is the lengths and resets of the call, None if it has neither. Then torch's
    kernel takes the layer as a whole, or torch's own forward if that does more: it runs a
    subclass's own checks (``overrides_checks``), or is what a compiler records. With them, or where
    a compiler needs rnnkit's operators, the layer runs in pieces, each as if it were alone: all
    valid steps of a sample, or a stretch of them between two resets.
    """
    recurrence = recurrence_of(layer)
    facts: Any = layer.__rnnkit__
    if recurrence is None or (
        boundaries is None and (facts.overrides_checks or records_torchs_layer(layer, input))
    ):
        return facts.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    if isinstance(input, PackedSequence):
        return _run_packed(layer, recurrence, input, hx)
    is_unbatched = input.dim() == SEQUENCE
    seq_axis = int(layer.batch_first)
    batch_axis = 1 - seq_axis
    if is_unbatched:
        input = input.unsqueeze(batch_axis)
        hx = with_batch(hx, 1)
    if hx is None:
        hx = zeros(layer, input, state_rows(layer), input.shape[batch_axis])
    else:
        hx = _laid_out(input, hx)
    if boundaries is None and not is_compiling():
        output, *ends = recurrence.kernel(input, hx, *_options(layer), layer.batch_first)
    else:
        steps = input.transpose(0, seq_axis)
        stack = stack_of(layer, recurrence, steps)
        output, ends = run_stack(stack, steps, tensors_of(hx), boundaries or Boundaries())
        output = output.transpose(0, seq_axis)
    if is_unbatched:
        return output.squeeze(batch_axis), without_batch(ends, 1)
    return output, ends


def _run_packed(
    layer: RNNBase, recurrence: Recurrence, input: PackedSequence, hx: Any
) -> tuple[PackedSequence, State]:
    """Run a layer over a PackedSequence by torch's kernel; return output and state.

    The samples of ``hx``, the state, are in the caller's order. The packed ones are in ``order``,
    and ``back`` undoes that; both are None if the caller had sorted the samples.
    """
    data, sizes, order, back = input
    if hx is None:  # sizes[0] is the batch: a tensor, which a tracer can follow
        hx = zeros(layer, data, state_rows(layer), sizes[0])
    else:
        hx = _laid_out(data, layer.permute_hidden(hx, order))
    output, *ends = recurrence.kernel(data, sizes, hx, *_options(layer))
    return PackedSequence(output, sizes, order, back), layer.permute_hidden(state_of(ends), back)


def _laid_out(input: Tensor, hx: Any) -> Any:
    """Return a state with the strides that kernels take: cuDNN refuses others."""
    return hx if input.is_cpu else map_state(Tensor.contiguous, hx)


def _options(layer: RNNBase) -> tuple[Any, ...]:
    """Return what torch's kernels take after input and state: the weights, then five options."""
    return (
        layer._flat_weights,  # noqa: SLF001
        layer.bias,
        layer.num_layers,
        layer.dropout,
        layer.training,
        layer.bidirectional,
    )


def stack_of(layer: RNNBase, recurrence: Recurrence, input: Tensor) -> Stack:
    """Return a layer as a stack: its directions, layer by layer, each with its weights.

    ``input`` ``(seq, batch, feature)`` decides whether rnnkit's operators replace torch's kernel,
    and whether this CPU lacks the kernel that autocast asks for.
    """
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
    """Run a stack over ``(seq, batch, feature)``, in a way that works for whoever traces the call.

    A stack is a layer's directions, layer by layer; ``boundaries`` is lengths, resets and what a
    sample is reset to, each None if there is none. Without a tracer the fastest path is taken.
    ``state`` is h and an LSTM's c, ``(layers * directions, batch, hidden)``. Returns the output,
    zero on padding, and the last states.
    """
    lengths, reset, initial = boundaries
    if reset is None and stack.layers[0][0].by_operator:  # torch 2.8 traces no property
        return run_padded(stack, input, state, lengths)
    if reset is not None and takes_reset_operator(stack, input):
        return run_reset_operators(stack, input, state, lengths, reset, initial)
    if needs_steps(input, boundaries):
        return loop_stack(stack, input, state, boundaries)
    return paths.run(stack, input, state, lengths, reset, initial)
