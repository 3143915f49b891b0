"""A layer's call while a compiler traces: operators that stay whole, each a layer's direction."""

from typing import Any

from torch import Tensor

from rnnkit._base.class_facts import has_own_checks, mode_of
from rnnkit._base.state import map_state
from rnnkit._base.torch_tools import is_one_graph
from rnnkit._checks.call_spec import SEQUENCE, spec_of_layer
from rnnkit._checks.lengths import check_lengths
from rnnkit._kernels.padded import run_layers, run_stack
from rnnkit._kernels.stack import KERNELS
from rnnkit._modules.lengths import stack_of
from rnnkit._modules.whole import zeros


def takes_operator(layer: Any, input: Any) -> bool:
    """Say whether a compiled call takes rnnkit's operator in the place of torch's forward."""
    if not isinstance(input, Tensor) or has_own_checks(layer) or mode_of(layer) not in KERNELS:
        return False
    return is_one_graph(input.shape[1 if layer.batch_first and input.dim() > SEQUENCE else 0])


def run_traced(layer: Any, input: Tensor, hx: Any, lengths: Any) -> tuple[Tensor, Any]:
    """Run a layer on a checked input by operators.

    Raises:
        LengthsError: if the lengths are no counts of the input's steps.
    """
    counts = None
    if lengths is not None:
        counts = check_lengths(spec_of_layer(layer, input), lengths, input)
    unbatched = input.dim() == SEQUENCE
    if unbatched:
        input = input.unsqueeze(1)
        hx = None if hx is None else map_state(lambda tensor: tensor.unsqueeze(1), hx)
    elif layer.batch_first:
        input = input.transpose(0, 1)
    if hx is None:
        hx = zeros(layer, input, input.shape[1])
    state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    if counts is None:
        output, ends = run_layers(stack_of(layer), input, state)
    else:
        output, ends = run_stack(stack_of(layer), input, state, counts)
    if unbatched:
        output, ends = output.squeeze(1), tuple(tensor.squeeze(1) for tensor in ends)
    elif layer.batch_first:
        output = output.transpose(0, 1)
    return output, ends if len(ends) > 1 else next(iter(ends))
