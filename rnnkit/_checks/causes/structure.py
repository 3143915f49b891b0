"""What is typed to make a module's state of something that is not made of its tensors."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from rnnkit._base.errors import StateError
from rnnkit._base.message import bounded, brief
from rnnkit._base.state import PAIR
from rnnkit._checks.call_spec import CallSpec, RefusalCause, sizes, spell
from rnnkit._checks.causes.moves import OUTPUT_FIX, output_shape

#: How many members of a state a message names, and how long a name may be.
NAMED = 4
NAME_LENGTH = 20


def outlined(hx: object) -> str:
    """Name a state for a message: its type, and the shapes or types of its first members."""
    if not isinstance(hx, tuple | list) or not hx:
        return brief(hx)
    parts = [_outlined_part(part) for part in hx]
    start = f"{brief(hx)} of {len(parts)}"
    if len({*parts}) == 1 and len(parts) > 1:
        return f"{start}, each {parts[0]}"
    if len(parts) > NAMED:
        parts[NAMED:] = ["..."]
    return f"{start}: {', '.join(parts)}"


def _outlined_part(part: object) -> str:
    if isinstance(part, Tensor):
        return str(tuple(part.shape))
    return bounded(type(part).__name__, NAME_LENGTH)


def refuse_structure(spec: CallSpec, hx: Any) -> NoReturn:
    """Refuse a state that is not made of the module's tensors: one, or (h, c) of an LSTM.

    ``spec`` is the call as its module reads it. The message says what to type to make one of
    ``hx``.
    """
    h = spell(spec.state_axes[0])
    c = spell(spec.state_axes[-1])
    sentence = "hx must be one tensor"
    wants = h
    if len(spec.state_axes) == PAIR:
        sentence = "lstm expects two hidden states: hx is (h, c)"
        wants = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    fix = _what_makes(spec, hx) if spec.state == "hx" else ""
    fix = fix or f"None as {spec.state}, to start from zeros"
    spec.refuse(
        StateError,
        "hx",
        f"{sentence}, got {outlined(hx)}",
        RefusalCause("state-structure", "hx is a state, as a call returns it", fix),
        ("hx", f"expected {wants}"),
        expected=sizes(spec.state_axes[0]),
        actual=tuple(hx.shape) if isinstance(hx, Tensor) else (),
    )


def _what_makes(spec: CallSpec, hx: Any) -> str:
    """Return the first way to make a state that fits of ``hx``, as what to type; "" if none.

    ``spec`` is the call as its module reads it, with the shapes of its state.
    """
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    ways = WAYS_TO_ONE if len(wants) == 1 else WAYS_TO_PAIR
    for typed, make in ways:
        if _fits(make, hx, wants):
            return typed
    if isinstance(hx, Tensor) and tuple(hx.shape) == output_shape(spec):
        return OUTPUT_FIX
    if isinstance(hx, tuple | list) and {type(part) for part in hx} == {int}:
        return "lengths=hx, if these are lengths, which are passed by name"
    return ""


#: What may be typed to make a state of something, and what it makes; None stands for zeros.
Ways: TypeAlias = tuple[tuple[str, Callable[[Any], Any]], ...]
WAYS_TO_ONE: Ways = (
    ("hx[0], if the first tensor is the state", lambda hx: hx[0]),
    ("hx[1], if this is a layer's result (output, state)", lambda hx: hx[1]),
    ("torch.stack(hx), if these are states of layers or samples", torch.stack),
    ("torch.cat(hx), if these are states of layers or samples", torch.cat),
    ("torch.as_tensor(hx).to(input)", torch.as_tensor),
)
WAYS_TO_PAIR: Ways = (
    ("hx=(hx, None), which starts c from zeros", lambda hx: (hx, None)),
    ("hx[1], if this is a layer's result (output, state)", lambda hx: hx[1]),
    ("tuple(hx), if h and c are stacked on axis 0", tuple),
)


def _fits(make: Callable[[Any], Any], hx: Any, wants: list[Any]) -> bool:
    """Return whether ``make``, a way that people type, makes tensors of the wanted shapes of hx.

    None among them is zeros, which fit; a way that raises does not.
    """
    try:
        made = make(hx)
        parts = made if isinstance(made, tuple | list) else [made]
        both = [*zip(parts, wants, strict=True)]
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError):
        return False
    for part, want in both:
        if part is not None and not (isinstance(part, Tensor) and tuple(part.shape) == want):
            return False
    return True
