"""How a layer runs once its call is checked: as one or, with lengths or resets, in pieces."""

from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import overrides_initial_state
from rnnkit._base.state import map_state, tensors_of, zeros
from rnnkit._base.torch_tools import (
    hard_codes_steps,
    is_batched,
    is_jit_traced,
    is_meta_or_fake,
    is_transformed,
    lacks_kernel,
    uses_custom_op,
)
from rnnkit._checks.call_spec import SEQUENCE, spec_of
from rnnkit._checks.diagnosis import diagnose_initial_state
from rnnkit._checks.guards import MISFIT, fitting_layer
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.reset_operator import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.recurrences import recurrence_of
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.loop import loop_stack
from rnnkit._modules.sequence import Boundaries, as_given, checked_boundaries, seq_first, with_batch


def first_weight(layer: Any) -> Tensor:
    """Return a layer's first weight as the call will read it."""
    weight: Any = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
    if not is_compiling():  # what torch's forward does first is not recorded twice
        layer._update_flat_weights()  # noqa: SLF001
        weight = None
    return layer._flat_weights[0] if weight is None else weight  # type: ignore[no-any-return]  # noqa: SLF001


def state_rows(layer: Any) -> int:
    """Return how many states a layer has, one for each direction of each of its layers."""
    return layer.num_layers * 2 if layer.bidirectional else layer.num_layers  # type: ignore[no-any-return]


def boundaries_of_call(layer: Any, input: Any, weight: Any, lengths: Any, reset: Any) -> Boundaries:
    """Check lengths and resets, and ask a layer that overrides it for the state after a reset."""
    spec = spec_of(layer, input, "layer")
    boundaries = checked_boundaries(spec, input, lengths, reset)
    if reset is None or not overrides_initial_state(layer):
        return boundaries
    returned = layer.initial_state(spec.batch)
    initial = fitting_layer(layer, input, returned, weight)
    if initial is MISFIT:
        diagnose_initial_state(spec, returned, input)
    return Boundaries(boundaries.lengths, boundaries.reset, initial)


def run_layer(
    layer: Any, input: Any, hx: Any, boundaries: Boundaries | None, *, overrides_checks: bool
) -> tuple[Any, Any]:
    """Run a layer on a checked call, its weights up to date, and return what torch's returns.

    Without lengths or resets torch's kernel takes the layer as a whole, or torch's own forward if
    that does more. With them, or where a compiler needs rnnkit's operators, it runs in pieces.
    """
    if boundaries is None and _is_run_by_torch(layer, input, overrides_checks):
        return layer.__rnnkit__.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    if boundaries is not None or is_compiling():
        return _run_divided(layer, input, hx, boundaries or Boundaries())
    if isinstance(input, Tensor):
        return _run_padded(layer, input, hx)
    return _run_packed(layer, input, hx)


def _is_run_by_torch(layer: Any, input: Any, overrides_checks: bool) -> bool:
    """Return whether torch's own forward runs a call, which has no lengths and no resets."""
    if overrides_checks or recurrence_of(layer) is None:
        return True
    if not is_compiling():
        return False
    if not isinstance(input, Tensor):
        return True
    has_batch_axis = input.dim() != SEQUENCE
    seq_axis = 1 if layer.batch_first and has_batch_axis else 0
    steps = input.shape[seq_axis]
    return not uses_custom_op(steps) and not hard_codes_steps(steps)


def _run_padded(layer: Any, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
    """Run a layer by torch's kernel over a padded batch, or over one sequence."""
    batch_axis = 0 if layer.batch_first else 1
    is_unbatched = input.dim() == SEQUENCE
    if is_unbatched:
        input = input.unsqueeze(batch_axis)
        hx = with_batch(hx, 1)
    if hx is None:
        hx = zeros(layer, input, state_rows(layer), input.shape[batch_axis])
    kernel = kernel_of_layer(layer)
    output, *ends = kernel(input, hx, *_options(layer), layer.batch_first)
    if is_unbatched:
        return output.squeeze(batch_axis), [end.squeeze(1) for end in ends]
    return output, ends


def _run_divided(layer: Any, input: Tensor, hx: Any, boundaries: Boundaries) -> tuple[Tensor, Any]:
    """Run a layer over a padded batch, or over one sequence, each piece as if it were alone."""
    lengths, reset, initial = boundaries
    padded = seq_first(input, batch_first=layer.batch_first)
    is_unbatched = input.dim() == SEQUENCE
    if is_unbatched:
        hx = with_batch(hx, 1)
        initial = with_batch(initial, 1)
        reset = None if reset is None else reset.unsqueeze(1)
    if hx is None:
        hx = zeros(layer, padded, state_rows(layer), padded.shape[1])
    recurrence: Any = recurrence_of(layer)
    is_compiled = is_compiling()
    stack = stack_of(
        layer,
        by_operator=is_compiled and uses_custom_op(padded.shape[0]),
        lacks_kernel_here=not is_compiled and lacks_kernel(recurrence.name, layer.proj_size, input),
    )
    restart = None if initial is None else tensors_of(initial)
    output, ends = run_stack(stack, padded, tensors_of(hx), Boundaries(lengths, reset, restart))
    output = as_given(output, input, batch_first=layer.batch_first)
    if is_unbatched:
        return output, [end.squeeze(1) for end in ends]
    return output, ends


def kernel_of_layer(layer: Any) -> Any:
    """Return torch's function that runs a layer over all steps."""
    recurrence: Any = recurrence_of(layer)
    return recurrence.kernel


def _options(layer: Any) -> tuple[Any, ...]:
    """Return what torch's kernels take after input and state."""
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    return layer._flat_weights, *options  # noqa: SLF001


def _run_packed(layer: Any, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
    data, sizes, order, back = input
    if hx is None:
        hx = zeros(layer, data, state_rows(layer), sizes[0])  # a tensor, which a tracer can follow
    elif order is not None:
        hx = map_state(lambda tensor: tensor.index_select(1, order), hx)
    output, *ends = kernel_of_layer(layer)(data, sizes, hx, *_options(layer))
    if back is not None:
        ends = [end.index_select(1, back) for end in ends]
    return PackedSequence(output, sizes, order, back), ends


def run_stack(stack: Stack, input: Tensor, state: States, boundaries: Boundaries) -> Run:
    """Run a stack over ``(seq, batch, feature)`` by a path that works for whoever traces."""
    lengths, reset, initial = boundaries
    if reset is None and stack.layers[0][0].by_operator:  # torch 2.8 traces no property
        return run_padded(stack, input, state, lengths)
    if reset is not None and takes_reset_operator(stack, input):
        return run_reset_operators(stack, input, state, lengths, reset, initial)
    run = loop_stack if _needs_steps(stack, input, boundaries) else paths.run
    return run(stack, input, state, *boundaries)


def _needs_steps(stack: Stack, input: Tensor, boundaries: Boundaries) -> bool:
    """Return whether nothing but a loop over steps works for whoever traces."""
    lengths, reset, _ = boundaries
    if is_compiling():
        if hard_codes_steps(input.shape[0]):
            return True
    elif is_batched(input) or (lengths is not None and is_batched(lengths.each)):
        return True  # torch's kernels have no rule for the examples of a vmap
    # Boundaries are found by the values of a mask, and a relu may not run over padding.
    needs_values = reset is not None or (
        stack.recurrence.name == "RNN_RELU" and lengths is not None
    )
    if not needs_values:
        return False
    return is_transformed() or is_jit_traced() or (reset is not None and is_meta_or_fake(reset))


def stack_of(layer: Any, *, by_operator: bool = False, lacks_kernel_here: bool = False) -> Stack:
    """Return a layer's directions, layer by layer, starting with the forward one."""
    weights = layer._flat_weights  # noqa: SLF001
    if is_compiling():
        # By their names: a graph then holds no list that has to be kept up to date.
        weights = [getattr(layer, name) for name in layer._flat_weights_names]  # noqa: SLF001
    rows = state_rows(layer)
    directions = 2 if layer.bidirectional else 1
    size = len(weights) // rows
    recurrence: Any = recurrence_of(layer)
    options = (layer.bias, layer.training)
    each = [
        Direction(recurrence, part, *options, row % directions > 0, by_operator)
        for row, part in enumerate(weights[k : k + size] for k in range(0, len(weights), size))
    ]
    layers = [each[row : row + directions] for row in range(0, rows, directions)]
    return Stack(layers, layer.dropout, lacks_kernel_here)
