"""Guards of arguments that a call does not have, by name and by position."""

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNCellBase

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import described

#: Names that people give to the arguments of a call, by the name that it has.
OTHER_NAMES = {
    "input": {"x", "inputs", "input_", "inp", "data", "sequence", "x_t"},
    "hx": {
        *("state", "states", "hidden", "hiddens", "initial_state", "init_state", "hidden_state"),
        *("h", "h0", "h_0", "h_n", "h_c", "hc", "hx0", "carry", "prev_state", "initial_hidden"),
    },
    "lengths": {"lens", "length", "seq_lens", "seq_lengths", "sequence_length", "input_lengths"},
    "reset": {"resets", "is_first", "is_init"},
}
#: Words in the names that people give to a mask of resets.
RESET_WORDS = re.compile("reset|done|start|begin|boundar|terminat|truncated|truncation|episode")
STATE_WORDS = re.compile("state|hidden|cell")
CELL_STATES = {"c", "c0", "c_0", "cx", "cell", "cell_state"}


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Hold a call to the arguments that it has; surplus ones pass if all are None.

    Those by position come after ``input`` and ``hx``. torch's older exporter to ONNX passes every
    parameter of a ``forward`` by its position.
    """
    if unknown:
        _refuse_name(module, *next(iter(unknown.items())))
    given = [value for value in surplus if value is not None]
    if given:
        _refuse_place(module, given, 3 + len(surplus))


def _known_names(module: Any) -> list[str]:
    taken = inspect.signature(module.forward).parameters
    return ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]


def _refuse_name(module: Any, name: str, value: Any) -> NoReturn:
    known = _known_names(module)
    shown = bounded(name, BRIEF_LENGTH)
    meant = next((own for own, others in OTHER_NAMES.items() if name in others), None)
    if meant is None and RESET_WORDS.search(name) and not STATE_WORDS.search(name):
        meant = "reset"
    similar = difflib.get_close_matches(shown, known)
    fixes: tuple[str, ...] = (f"leave {shown} out",)
    if name in CELL_STATES:
        fixes = (f"hx=(h, {shown}), the pair as one argument",)
    elif meant == "reset":
        fixes = (_fix_reset(known, shown),)
    elif "mask" in name and value is not None:
        fixes = _fix_mask(module, known, shown, value)
    elif meant in known:
        fixes = (f"{meant}={shown}",)
    elif similar:
        given = brief(value) if isinstance(value, int | None) else shown
        fixes = (f"{similar[0]}={given}",)
    sentence = f"got an unexpected keyword argument {shown!r}"
    _refuse_call(module, name, sentence, fixes, known)


def _fix_reset(known: list[str], name: str) -> str:
    if "reset" in known:
        return f"reset={name}, if it is true where a sample starts again"
    return f"rnnkit.states.reset(hx, {name}) as hx, if it is true for samples that start again"


def _fix_mask(module: Any, known: list[str], name: str, mask: Any) -> tuple[str, str]:
    flags = tensor_or_none(mask)
    if "lengths" not in known:
        return "leave the mask out: a cell takes one step", _fix_reset(known, name)
    if flags is not None and flags.dim() == 1:
        each = f"rnnkit.states.reset(hx, {name}) as hx, if there is a flag for each sample"
        return each, f"reset={name}, if there is a flag for each step"
    typed = name if isinstance(mask, Tensor) else f"torch.as_tensor({name})"
    axis = 1 if module.batch_first else 0
    whole = ".long()" if flags is not None and flags.is_floating_point() else ""
    lengths = f"lengths={typed}.sum({axis}){whole}, if the mask is true on valid steps"
    return lengths, _fix_reset(known, name)


def _refuse_place(module: Any, given: list[Any], count: int) -> NoReturn:
    known = _known_names(module)
    first = given[0]
    is_lstm = isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell)
    fixes: tuple[str, ...]
    if "lengths" in known and _are_counts(first):
        reset = ", reset=reset" if len(given) > 1 else ""
        fixes = (f"layer(input, hx, lengths=lengths{reset}): lengths are given by name",)
    elif _is_mask(first, of_floats=not is_lstm):
        fixes = _fix_mask(module, known, "mask", first)[::-1]
    else:
        name = "cell" if isinstance(module, RNNCellBase) else "layer"
        state = "hx), and nothing after it"
        if is_lstm:
            state = "(h, c)), the pair as one argument"
        elif not isinstance(module, RNNCellBase | torch.nn.RNNBase):
            state = "hx), a tuple of one state for each cell, and nothing after it"
        fixes = (f"{name}(input, {state}",)
    sentence = f"takes from 2 to 3 positional arguments but {count} were given"
    _refuse_call(module, "hx", sentence, fixes, known)


def _are_counts(value: Any) -> bool:
    if isinstance(value, Tensor):
        whole = value.dtype is torch.bool or value.is_floating_point() or value.is_complex()
        return value.dim() < 2 and not whole
    return isinstance(value, list | tuple) and all(type(one) is int for one in value)


def _is_mask(value: Any, *, of_floats: bool) -> bool:
    """Return whether a value may be flags: booleans, or numbers of samples and steps."""
    flags = tensor_or_none(value)
    if flags is None or not 0 < flags.dim() < 3:
        return False
    floats = flags.is_floating_point() or flags.is_complex()
    return flags.dtype is torch.bool or (flags.dim() == 2 and (of_floats or not floats))


def _refuse_call(
    module: Any, argument: str, sentence: str, fixes: tuple[str, ...], known: list[str]
) -> NoReturn:
    refusal(
        ArgumentError,
        bounded(argument, BRIEF_LENGTH),
        f"{type(module).__name__}.forward() {sentence}",
        f"{described(module)} takes {', '.join(known)}",
        *zip(("fix", ""), fixes, strict=False),
        code="arguments-of-a-call",
    )
