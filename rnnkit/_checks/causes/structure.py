"""What is typed to make a module's state of something that is not made of its tensors."""

import re
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import StateError
from rnnkit._base.message import bounded, brief
from rnnkit._base.state import PAIR
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, RefusalCause, sizes, spell
from rnnkit._checks.causes.moves import OUTPUT_FIX, output_shape

#: How many members of a state a message names, and how long a name may be.
NAMED = 4
NAME_LENGTH = 20


def outlined(hx: object) -> str:
    """Name a state, and the parts that it has."""
    if not isinstance(hx, tuple | list) or not hx:
        return brief(hx)
    parts = [_outlined_part(part) for part in hx[:NAMED]]
    if len(hx) > NAMED:
        parts.append("...")
    return f"a {type(hx).__name__} of {len(hx)}: {', '.join(parts)}"


def _outlined_part(part: object) -> str:
    if isinstance(part, Tensor):
        return str(tuple(part.shape))
    return bounded(type(part).__name__, NAME_LENGTH)


def refuse_structure(spec: CallSpec, hx: Any, *, lengths: bool = False) -> NoReturn:
    """Explain that a state is not made of the tensors that the module carries."""
    h = spell(spec.state_axes[0])
    c = spell(spec.state_axes[-1])
    sentence = "hx must be one tensor"
    headline = "the state is one tensor"
    wants = h
    if len(spec.state_axes) == PAIR:
        sentence = "lstm expects two hidden states: hx is (h, c)"
        headline = "the state is the pair (h, c)"
        wants = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    spec.refuse(
        StateError,
        "hx",
        f"{sentence}, got {outlined(hx)}",
        RefusalCause("state-structure", headline, _fix(spec, hx, lengths=lengths)),
        ("hx", f"expected {wants}"),
        expected=sizes(spec.state_axes[0]),
        actual=tuple(hx.shape) if isinstance(hx, Tensor) else (),
    )


def _fix(spec: CallSpec, hx: Any, *, lengths: bool) -> str:
    """Write what is typed for the state; ``lengths`` says that lengths came in its place."""
    if lengths:
        called = f"{spec.name}(cell, input" if spec.kind == "unrolled" else "layer(input"
        fix = f"{called}, lengths=hx): lengths are given by name"
    else:
        fix = _what_makes(spec, hx)
    if spec.state == "hx":
        return fix or "hx=None for zeros"
    if not fix:
        return f"None as {spec.state} for zeros"
    return re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}"


def _what_makes(spec: CallSpec, hx: Any) -> str:
    """Return the first of the things that people mean which makes a state that fits, or nothing."""
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    ways = _ways_to_one(spec, hx) if len(wants) == 1 else _ways_to_pair(hx, wants)
    for typed, make in ways:
        if _fits(make, wants):
            return typed
    if isinstance(hx, Tensor) and tuple(hx.shape) == output_shape(spec):
        return OUTPUT_FIX
    return ""


Ways = list[tuple[str, Callable[[], Any]]]


def _ways_to_one(spec: CallSpec, hx: Any) -> Ways:
    """Return what may be typed to make one tensor of a value, and what it makes."""
    axis = int(spec.state_batch_first and spec.batch is not None)
    arguments = "hx, 1" if axis else "hx"
    words = "layer by layer" if spec.has_rows else "sample by sample"
    joined = f"({arguments}), if these are the states {words}"
    data = "input.data" if spec.kind == "packed" else "input"
    ways: Ways = []
    if isinstance(hx, tuple | list) and len(hx) == PAIR:
        ways += [
            ("hx[0], if this is an LSTM's (h, c)", lambda: hx[0]),
            ("hx[1], if this is a layer's result (output, state)", lambda: hx[1]),
        ]
    return [
        *ways,
        ("hx[0]", lambda: hx[0]),
        (f"torch.stack{joined}", lambda: torch.stack(hx, axis)),
        (f"torch.cat{joined}", lambda: torch.cat(hx, axis)),
        (f"torch.as_tensor(hx).to({data})", lambda: tensor_or_none(hx)),
    ]


def _ways_to_pair(hx: Any, wants: list[Any]) -> Ways:
    """Return what may be typed to make ``(h, c)`` of a value, and what it makes."""
    return [
        ("(hx, None), which starts c from zeros", lambda: [hx, wants[1]]),
        ("hx[1], if this is a layer's result (output, state)", lambda: len(hx) == PAIR and hx[1]),
        ("tuple(hx), if h and c are stacked on axis 0", lambda: tuple(hx)),
        ("hx[:2], if the first two are h and c", lambda: hx[:2]),
        ("(hx[0], None), which starts c from zeros", lambda: [hx[0], wants[1]]),
    ]


def _fits(make: Callable[[], Any], wants: list[Any]) -> bool:
    """Return whether what is typed makes tensors of the wanted shapes; a shape stands for zeros."""
    try:
        made = make()
        parts = made if isinstance(made, tuple | list) else [made]
        both = [*zip(parts, wants, strict=True)]
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError):
        return False
    for part, want in both:
        has_shape = isinstance(part, Tensor) and tuple(part.shape) == want
        if part is not want and not has_shape:
            return False
    return True
