"""Arguments that a call does not have: too many of them, or of other names."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNCellBase

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal
from rnnkit._checks.call_spec import described

#: Names that people give to the arguments of a call, by the name that it has.
OTHER_NAMES = {
    "input": {"x", "inputs", "input_", "inp", "data", "sequence", "x_t"},
    "hx": {
        *("state", "states", "hidden", "hiddens", "initial_state", "init_state", "hidden_state"),
        *("h", "h0", "h_0", "h_n", "h_c", "hc", "hx0", "carry", "prev_state", "initial_hidden"),
    },
    "lengths": {"lens", "length", "seq_lens", "seq_lengths", "sequence_length", "input_lengths"},
    "reset": {"resets", "done", "dones", "is_first", "is_init", "episode_start", "episode_starts"},
}
CELL_STATES = {"c", "c0", "c_0", "cx", "cell", "cell_state"}


def check_surplus(module: Any, surplus: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
    """Hold a call to the arguments that it has; surplus ones pass if all are None.

    torch's older exporter to ONNX passes every parameter of a ``forward`` by its position.

    Args:
        module: who was called.
        surplus: what was given by position after ``input`` and ``hx``.
        unknown: what was given by name, and has none.

    Raises:
        ArgumentError: if there is an argument too many, or of another name.
    """
    if unknown:
        _refuse_name(module, *next(iter(unknown.items())))
    given = [value for value in surplus if value is not None]
    if given:
        _refuse_place(module, given, 3 + len(surplus))


def _known(module: Any) -> list[str]:
    taken = inspect.signature(module.forward).parameters
    return ["input", "hx", *(name for name in ("lengths", "reset") if name in taken)]


def _refuse_name(module: Any, name: str, value: Any) -> NoReturn:
    known = _known(module)
    shown = bounded(name, BRIEF_LENGTH)
    meant = next((own for own, others in OTHER_NAMES.items() if name in others), None)
    similar = difflib.get_close_matches(shown, known)
    if name in CELL_STATES:
        fix = f"hx=(h, {shown}), the pair as one argument"
    elif "mask" in name:
        fix = _fix_mask(module, known, shown, value)
    elif meant in known:
        fix = f"{meant}={shown}"
    elif similar:
        fix = f"{similar[0]}={brief(value) if isinstance(value, int | None) else shown}"
    else:
        fix = f"leave {shown} out"
    _refuse(module, name, f"got an unexpected keyword argument {shown!r}", fix, known)


def _fix_mask(module: Any, known: list[str], name: str, mask: Any) -> str:
    if "lengths" not in known:
        return "leave the mask out: a cell takes one step"
    axis = 1 if module.batch_first else 0
    whole = ".long()" if isinstance(mask, Tensor) and mask.is_floating_point() else ""
    return f"lengths={name}.sum({axis}){whole}, if the mask is true on valid steps"


def _refuse_place(module: Any, given: list[Any], count: int) -> NoReturn:
    known = _known(module)
    first = given[0]
    if "lengths" in known and _are_counts(first):
        fix = "layer(input, hx, lengths=lengths): lengths are given by name"
    else:
        name = "cell" if isinstance(module, RNNCellBase) else "layer"
        state = "hx), and nothing after it"
        if isinstance(module, torch.nn.LSTM | torch.nn.LSTMCell):
            state = "(h, c)), the pair as one argument"
        elif not isinstance(module, RNNCellBase | torch.nn.RNNBase):
            state = "hx), a tuple of one state for each cell, and nothing after it"
        fix = f"{name}(input, {state}"
    sentence = f"takes from 2 to 3 positional arguments but {count} were given"
    _refuse(module, "hx", sentence, fix, known)


def _are_counts(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex())
    return isinstance(value, list | tuple) and all(type(one) is int for one in value)


def _refuse(module: Any, argument: str, sentence: str, fix: str, known: list[str]) -> NoReturn:
    refusal(
        ArgumentError,
        bounded(argument, BRIEF_LENGTH),
        f"{type(module).__name__}.forward() {sentence}",
        f"{described(module)} takes {', '.join(known)}",
        ("fix", fix),
        code="arguments-of-a-call",
    )
