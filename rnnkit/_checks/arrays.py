"""How lengths, masks, resets and positions are read: of a list, an array or a tensor."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._checks.odd_tensors import is_odd


def tensor_or_none(value: Any) -> Tensor | None:
    """Return a tensor where it is; of a list or an array on the CPU: no device is waited for.

    An array is read by position, whatever its strides and the order of its bytes, and a table's
    column whatever its labels. None of what is neither, or not dense.
    """
    if isinstance(value, Tensor):
        return None if is_odd(value) else value
    is_array = not isinstance(value, Sequence) and hasattr(value, "__array__")
    try:
        if is_array and not is_compiling():  # to a compiler an array is a tensor
            given: Any = value
            array = given.__array__()
            native = array.dtype.newbyteorder("=")
            value = array.tolist() if array.dtype.hasobject else array.astype(native)
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return None
