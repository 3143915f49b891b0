"""What cuDNN wants of one layer in one direction: its weights in one block of memory, in order.

It copies them at each call otherwise, and torch warns.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import Parameter

from rnnkit._kernels.recurrences import Recurrence


def lay_in_one_block(weights: Sequence[Tensor], recurrence: Recurrence) -> None:
    """Move a cell's weights into one block of memory, in place, once, as a layer lays out its own.

    ``weights`` are in the order of torch's kernel, and ``recurrence`` is the record of what the
    cell computes. Nothing moves while a compiler traces, nor if cuDNN does not run these weights,
    nor if one of them is computed, tied, or a layer's, which has a block of its own.
    """
    if is_compiling() or not all(map(_stands_alone, weights)):
        return
    # The parameters stay the tensors that an optimizer knows, and get other memory.
    if len({weight.data_ptr() for weight in weights}) == len(weights):
        _move_to_one_block(weights, recurrence)


def in_one_block(weights: Sequence[Tensor], recurrence: Recurrence) -> Sequence[Tensor]:
    """Return the weights of one layer in one direction as they are, or copies in one block.

    cuDNN wants one block of memory: from scattered weights it makes one in each call, and torch
    warns. They are returned as they are if they lie in one block, if cuDNN does not run them (it is
    switched off, or the device or dtype is not cuDNN's), or while a compiler traces.
    ``recurrence`` is the record of what is computed: its name and number of gates are read.
    """
    if is_compiling() or not _cudnn_takes(weights[0]) or _lie_in_one_block(weights):
        return weights
    copies = [weight.clone() for weight in weights]
    _move_to_one_block(copies, recurrence)
    return copies


def _cudnn_takes(weight: Tensor) -> bool:
    """Return whether cuDNN takes a weight: its device, its dtype, and no one switched it off."""
    return torch.backends.cudnn.is_acceptable(weight)  # type: ignore[no-any-return, no-untyped-call]


def _stands_alone(weight: Tensor) -> bool:
    """Return whether a weight is a parameter that has its memory for itself, and cuDNN takes it."""
    if type(weight) is not Parameter or not _cudnn_takes(weight):
        return False
    return weight.untyped_storage().nbytes() == weight.nbytes


def _lie_in_one_block(weights: Sequence[Tensor]) -> bool:
    """Return whether weights lie one after another in one memory, from its beginning.

    cuDNN's order is all matrices first, then all biases, which have one axis.
    """
    place = weights[0].untyped_storage().data_ptr()
    for weight in sorted(weights, key=lambda weight: weight.dim() == 1):
        if weight.data_ptr() != place or not weight.is_contiguous():
            return False
        place += weight.nbytes
    return True


def _move_to_one_block(weights: Sequence[Tensor], recurrence: Recurrence) -> None:
    """Move weights of one layer in one direction, in place, into one block as cuDNN orders it.

    They are in the order of torch's kernel, ``weight_ih`` ``(gates * hidden, feature)`` first and a
    projection last, which alone makes their number odd.
    """
    # Detached, so that what a graph has saved of them does not count as written.
    laid = [weight.detach() for weight in weights]
    is_projected = len(weights) % 2 == 1
    flatten: Any = vars(torch)["_cudnn_rnn_flatten_weight"]  # as torch's own layers do
    mode = torch.backends.cudnn.rnn.get_cudnn_mode(recurrence.name)  # type: ignore[no-untyped-call]
    rows, width = weights[0].shape
    with torch.cuda.device_of(weights[0]), torch.no_grad():  # type: ignore[no-untyped-call]
        flatten(
            laid,
            len(weights),
            width,
            mode,
            rows // recurrence.gates,
            weights[-1].shape[0] if is_projected else 0,
            1,
            batch_first=False,
            bidirectional=False,
        )
    for weight, block in zip(weights, laid, strict=True):
        weight.data = block
