"""Tensors that are not dense: torch's class takes them as they are, no kernel of rnnkit's does."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import Cause, raise_for
from rnnkit._checks.call_spec import described


def is_odd(value: Any) -> bool:
    """Return whether a tensor does not store its numbers in strides."""
    return isinstance(value, Tensor) and (value.is_nested or value.layout is not torch.strided)


def parts_of(hx: Any) -> tuple[Any, ...]:
    """Return the members of a state, or the state as the only one."""
    return tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)


def goes_to_torch(module: Any, input: Any, hx: Any) -> bool:
    """Return whether torch's class takes a call as it is, since a tensor is not dense or not real.

    Nested tensors are refused. torch has no projected cell, and a compiler traces no such call.
    """
    data = input.data if isinstance(input, PackedSequence) else input
    tensors = [part for part in (data, *parts_of(hx)) if isinstance(part, Tensor)]
    for tensor in tensors:
        if tensor.is_nested:
            raise_for(not_dense(module, tensor, "input" if tensor is data else "hx"))
    if is_compiling() or (isinstance(module, torch.nn.RNNCellBase) and proj_size_of(module)):
        return False
    return any(is_odd(part) or part.is_complex() or part.is_quantized for part in tensors)


def not_dense(module: Any, tensor: Tensor, argument: str = "input") -> Cause:
    """Return why a tensor is refused that torch's class does not take either."""
    kind, fix = f"{tensor.layout}", f"{argument}.to_dense()"
    if tensor.is_nested:
        kind, fix = "a nested one", f"{argument}.to_padded_tensor(0.0)"
        if isinstance(module, torch.nn.RNNBase) and argument == "input":
            fix += " and lengths=[len(one) for one in input.unbind()]"
    sentence = f"{argument} must be a dense tensor, got {kind}"
    headline = f"{described(module)}: torch has no recurrent kernels for other tensors"
    return Cause("input-layout", ArgumentError, argument, sentence, headline, (("fix", fix),))
