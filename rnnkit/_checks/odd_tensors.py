"""Tensors that are no plain ones: sparse, nested, mkldnn, fake, masked.

torch computes with some of them in some places. What it takes is taken; where it fails, the error
is ours, and says which tensor it was.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, StateError
from rnnkit._base.message import refusal
from rnnkit._base.torch_tools import is_fake, lacks_sizes
from rnnkit._checks.call_spec import described


def is_odd(value: Any) -> bool:
    """Say whether a tensor's numbers are not stored in strides, or there are none yet."""
    return isinstance(value, Tensor) and (
        value.is_nested or lacks_sizes(value) or value.layout is not torch.strided
    )


def refuse_nested(module: Any, argument: str = "input") -> NoReturn:
    """Refuse a nested input, or a nested step of it."""
    is_layer = isinstance(module, torch.nn.RNNBase) and argument == "input"
    fix = f"{argument}.to_padded_tensor(0.0)"
    refusal(
        ArgumentError,
        argument,
        f"{argument} must be a dense tensor, got a nested one",
        f"{described(module)}: torch has no recurrent kernels for nested tensors",
        ("fix", f"{fix} and lengths=[len(one) for one in input.unbind()]" if is_layer else fix),
        code="input-layout",
    )


def refuse_odd_state(module: Any, hx: Any, like: Tensor) -> None:
    """Refuse a state of odd tensors; return if all are plain, or fake as the input is."""
    is_pair = isinstance(hx, (tuple, list))
    for tensor in hx if is_pair else (hx,):
        if is_odd(tensor) or (isinstance(tensor, Tensor) and is_fake(tensor) != is_fake(like)):
            _refuse(module, "hx", tensor, is_pair=is_pair)


def has_odd_state(hx: Any, count: int) -> bool:
    """Say whether a state is made of as many tensors as a module carries, and one is odd."""
    parts = hx if count > 1 and isinstance(hx, (tuple, list)) else (hx,)
    fits = len(parts) == count and all(isinstance(part, Tensor) for part in parts)
    return fits and any(map(is_odd, parts))


def explain_failure(module: Any, input: Any, hx: Any, error: Exception) -> None:
    """Say in our words which tensor torch could not compute with; return if all are plain."""
    data = input.data if isinstance(input, PackedSequence) else input
    parts = hx if isinstance(hx, (tuple, list)) else (hx,)
    fake = is_fake(next(module.parameters(), None))
    for place, tensor in enumerate((data, *parts)):
        if isinstance(tensor, Tensor) and (
            is_odd(tensor) or is_fake(tensor) != fake or hasattr(tensor, "get_mask")
        ):
            is_pair = place > 0 and isinstance(hx, (tuple, list))
            _refuse(module, "hx" if place else "input", tensor, error, is_pair=is_pair)


def _refuse(
    module: Any, name: str, tensor: Tensor, source: Exception | None = None, *, is_pair: bool
) -> NoReturn:
    plain = tensor.layout is torch.strided
    kind = type(tensor).__name__ if plain and not tensor.is_nested else f"{tensor.layout}"
    fix = ".to_dense()"
    if tensor.is_nested:
        kind, fix = "a nested one", ".to_padded_tensor(0.0)"
    fix = f"tuple(tensor{fix} for tensor in hx)" if is_pair else f"{name}{fix}"
    if plain and not tensor.is_nested:
        fix = f"a plain tensor in place of the {kind}"
    refusal(
        StateError if name == "hx" else ArgumentError,
        name,
        f"{name} must be a dense tensor, got {kind}",
        f"{described(module)}: torch computes no step with it here",
        ("fix", fix),
        code="state-layout" if name == "hx" else "input-layout",
        source=source,
    )
