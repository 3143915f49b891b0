"""Guards of arguments that a call does not have, by name and by position."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNCellBase

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import BRIEF_LENGTH, bounded, refusal
from rnnkit._checks.arrays import is_whole, tensor_or_none
from rnnkit._checks.call_spec import described
from rnnkit._checks.causes.inputs import rows_of
from rnnkit._checks.names import RESET, hint, reset_hint


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Refuse unknown names, and what follows ``input`` and ``hx`` by position unless all are None.

    torch's older exporter to ONNX passes every parameter of a ``forward`` by its position.
    """
    given = [value for value in surplus if value is not None]
    if not unknown and not given:
        return
    taken = inspect.signature(module.forward).parameters
    known = ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]
    if unknown:
        argument, value = next(iter(unknown.items()))
        shown = bounded(argument, BRIEF_LENGTH)
        sentence = f"got an unexpected keyword argument {shown!r}"
        fixes = [hint(type(module).__name__, argument, value, known)]
        if "mask" in argument and value is not None and not RESET.search(argument):
            fixes = _fixes_of_mask(module, known, shown, value)
    else:
        shown, fixes = "hx", _fixes_of_place(module, given, known)
        sentence = f"takes from 2 to 3 positional arguments but {3 + len(surplus)} were given"
    refusal(
        ArgumentError, shown, f"{type(module).__name__}.forward() {sentence}",
        f"{described(module)} takes {', '.join(known)}", *rows_of("", fixes),
        code="arguments-of-a-call",
    )  # fmt: skip


def _fixes_of_mask(module: Any, known: list[str], name: str, mask: Any) -> list[str]:
    flags = tensor_or_none(mask)
    if "lengths" not in known:
        return ["leave the mask out: a cell takes one step", reset_hint(name, known)]
    if flags is not None and flags.dim() == 1:
        each = f"rnnkit.states.reset(hx, {name}) as hx, if there is a flag for each sample"
        return [each, f"reset={name}, if there is a flag for each step"]
    typed = name if isinstance(mask, Tensor) else f"torch.as_tensor({name})"
    whole = ".long()" if flags is not None and flags.is_floating_point() else ""
    lengths = f"lengths={typed}.sum({1 if module.batch_first else 0}){whole}"
    return [f"{lengths}, if the mask is true on valid steps", reset_hint(name, known)]


def _fixes_of_place(module: Any, given: list[Any], known: list[str]) -> list[str]:
    """Write what is meant by a third argument: lengths, a mask, c, or nothing."""
    first = tensor_or_none(given[0])
    is_lstm = isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell)
    if "lengths" in known and first is not None and first.dim() < 2 and is_whole(first):
        reset = ", reset=reset" if len(given) > 1 else ""
        return [f"layer(input, hx, lengths=lengths{reset}): lengths are given by name"]
    if first is not None and 0 < first.dim() < 3:
        numbers = first.dim() == 2 and not (is_lstm and first.is_floating_point())
        if first.dtype is torch.bool or numbers:
            return _fixes_of_mask(module, known, "mask", given[0])[::-1]
    state = "hx), and nothing after it"
    if is_lstm:
        state = "(h, c)), the pair as one argument"
    elif not isinstance(module, RNNCellBase | torch.nn.RNNBase):
        state = "hx), a tuple of one state for each cell, and nothing after it"
    return [f"{'cell' if isinstance(module, RNNCellBase) else 'layer'}(input, {state}"]
