"""A wrong call, made with rnnkit and with torch: what one and the other say to it."""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import rnnkit

#: A number that no message has a reason to print.
CONTENT = 7.8125
TORCHS_INSIDES = ("mat1", "mkldnn", "primitive", "tensor([", "7.81")

#: What torch.nn does with a call that rnnkit refuses. It says what is wrong, in a sentence that
#: ours begins with; mumbles something else; accepts it in silence. It is not asked where it may
#: end the process, and lacks the options that are our own.
Torch = Literal["says", "mumbles", "accepts", "unsafe", "lacks"]
CATCHABLE = (RuntimeError, ValueError, TypeError)


def filled(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor of one number, never zeros."""
    return torch.full(shape, CONTENT).to(dtype)


def packed(*lengths: int, width: int = 3) -> PackedSequence:
    """Return sequences of these lengths, packed in the order in which they come."""
    padded = filled(max(lengths), len(lengths), width)
    return pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=False)


def refusal(
    expected: type[rnnkit.RnnkitError], torchs: Torch, act: Callable[[ModuleType], object]
) -> Any:
    """Make a wrong call with ``rnnkit.nn``, and with ``torch.nn`` where that is safe.

    Returns:
        rnnkit's error, of exactly the expected class, which code written for torch catches too.
    """
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act(rnnkit.nn)
    ours = caught.value
    assert type(ours) is expected
    assert not any(inside in str(ours) for inside in TORCHS_INSIDES)
    if torchs not in ("unsafe", "lacks"):
        _compare(ours, torchs, act)
    return ours


def _compare(ours: rnnkit.RnnkitError, torchs: Torch, act: Callable[[ModuleType], object]) -> None:
    found: Torch = "accepts"
    try:
        act(torch.nn)
    except Exception as theirs:  # noqa: BLE001 - whatever torch raises is compared
        kinds = [kind for kind in CATCHABLE if isinstance(theirs, kind)]
        assert all(isinstance(ours, kind) for kind in kinds)
        same = bool(kinds) and _first_line(ours).startswith(_first_line(theirs))
        found = "says" if same else "mumbles"
    if torch.__version__ >= "2.13":  # an older torch says less, and other things
        assert torchs == found


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def sizes(error: rnnkit.ShapeError) -> tuple[str, tuple[int | None, ...], tuple[int, ...]]:
    """Return what an error knows beside its text."""
    return error.argument, error.expected, error.actual


def fixed(error: rnnkit.RnnkitError, fix: str, dots: str = "", **names: object) -> Any:
    """Type what a message says to type, with ``dots`` for its three dots; return what comes."""
    advice = re.split(r"^  fix +", str(error), flags=re.MULTILINE)[1]
    assert fix in advice
    known = (
        {"rnnkit": rnnkit}
        | {name: getattr(rnnkit, name) for name in rnnkit.__all__}
        | {
            "torch": torch,
            "pack_padded_sequence": pack_padded_sequence,
        }
    )
    return eval(fix.replace("...", dots), known | names)  # noqa: S307 - the text is our own
