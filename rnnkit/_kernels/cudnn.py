"""What cuDNN wants of a cell: its weights in one block of memory, as a layer lays out its own."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._kernels.stack import Direction


def lay_in_one_block(direction: Direction) -> None:
    """Lay the weights of a cell in one block, once: cuDNN copies them at each call otherwise.

    Weights that are computed, tied, or a layer's, which has a block of its own, stay where they
    are.
    """
    weights = direction.weights
    if not all(map(_stands_alone, weights)):
        return
    if len({weight.data_ptr() for weight in weights}) != len(weights):
        return
    # The parameters stay the tensors that an optimizer knows, and get other memory; detached, so
    # that what a graph has saved of them does not count as written.
    laid = [weight.detach() for weight in weights]
    per_layer = 4 if direction.bias else 2
    proj_size = 0
    if direction.is_projected:
        per_layer += 1
        proj_size = weights[-1].shape[0]
    flatten: Any = vars(torch)["_cudnn_rnn_flatten_weight"]  # as torch's own layers do
    mode = torch.backends.cudnn.rnn.get_cudnn_mode(direction.recurrence.name)  # type: ignore[no-untyped-call]
    with torch.cuda.device_of(weights[0]), torch.no_grad():  # type: ignore[no-untyped-call]
        flatten(
            laid,
            per_layer,
            weights[0].shape[1],
            mode,
            direction.hidden_size(),
            proj_size,
            1,
            batch_first=False,
            bidirectional=False,
        )
    for weight, block in zip(weights, laid, strict=True):
        weight.data = block


def _stands_alone(weight: Tensor) -> bool:
    """Return whether a weight is a parameter that has its memory for itself, and cuDNN takes it."""
    if type(weight) is not Parameter or not torch.backends.cudnn.is_acceptable(weight):  # type: ignore[no-untyped-call]
        return False
    return weight.untyped_storage().nbytes() == weight.numel() * weight.element_size()
