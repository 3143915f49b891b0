"""A state that is not the tensors that a module carries: what is typed to make them of it."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import StateError
from rnnkit._base.message import Cause, bounded, brief
from rnnkit._base.state import BATCHED, PAIR
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, sizes, spell
from rnnkit._checks.causes.moves import MOVES, OUTPUT_FIX, Shape, mends, output_shape, pair_of

#: What may be typed, with what it makes of the value.
Made = tuple[str, Callable[[Any], Any]]


def diagnose_structure(spec: CallSpec, hx: object) -> Cause:
    """Explain that a state is not made of the tensors that the module carries."""
    h, c = spell(spec.state_axes[0]), spell(spec.state_axes[-1])
    zeros = "hx=None for zeros" if spec.state == "hx" else f"None as {spec.state} for zeros"
    if len(spec.state_axes) == 1:
        sentence, carried, wants = "hx must be one tensor", "one tensor", h
        fix = _made(_ones(spec), hx, sizes(spec.state_axes[0]))
    else:
        sentence, carried = "lstm expects two hidden states: hx is (h, c)", "the pair (h, c)"
        wants = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
        fix = _pair_of(spec, hx)
    if fix is not None and spec.state != "hx":
        fix = re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}"
    return Cause(
        "state-structure", StateError, "hx", f"{sentence}, got {outlined(hx)}",
        f"{spec.described} carries {carried}", (("hx", f"expected {wants}"), ("fix", fix or zeros)),
        (sizes(spec.state_axes[0]), tuple(hx.shape) if isinstance(hx, Tensor) else ()),
    )  # fmt: skip


def outlined(hx: object) -> str:
    """Name a state, and the parts that it has."""
    if not isinstance(hx, tuple | list) or not hx:
        return brief(hx)
    parts = [
        str(tuple(part.shape)) if isinstance(part, Tensor) else bounded(type(part).__name__, 20)
        for part in hx[:4]
    ]
    return f"a {type(hx).__name__} of {len(hx)}: {', '.join(parts)}{', ...' * (len(hx) > 4)}"


def _made(ways: list[Made], value: Any, want: Any) -> str | None:
    """Return what is typed to make tensors of these shapes of a value; None if nothing does."""
    for typed, function in ways:
        try:
            made = function(value)
        except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError):
            continue
        if _shapes(made) == want:
            return typed
    return None


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return list(map(_shapes, value)) if isinstance(value, tuple | list) else None


def _joined(spec: CallSpec, name: str) -> list[Made]:
    """Return how one tensor is made of numbers or of several tensors."""
    axis = int(spec.state_batch_first and spec.batch is not None)
    place, words = ", 1" * axis, "layer by layer" if spec.has_rows else "sample by sample"
    like = "input.data" if spec.kind == "packed" else "input"
    words = f"({name}{place}), if these are the states {words}"
    return [
        (f"torch.as_tensor({name}).to({like})", _of_numbers),
        (f"torch.stack{words}", lambda part: torch.stack(part, axis)),
        (f"torch.cat{words}", lambda part: torch.cat(part, axis)),
    ]


def _first(part: Any) -> Any:
    return None if isinstance(part, Tensor) else part[0]


def _of_numbers(value: Any) -> Tensor | None:
    leaf = value[0] if isinstance(value, tuple | list) and value else value
    return None if isinstance(leaf, Tensor) else tensor_or_none(value)


def _ones(spec: CallSpec) -> list[Made]:
    """Return how one tensor is made of what a caller may have."""
    return [
        ("hx[0], if this is an LSTM's (h, c)", lambda hx: len(hx) == PAIR and hx[0]),
        (
            "hx[1], if this is a layer's result (output, state)",
            lambda hx: len(hx) == PAIR and hx[1],
        ),
        ("hx[1][0], if this is an LSTM's result (output, (h, c))", lambda hx: hx[1][0]),
        ("hx[0]", lambda hx: hx[0]),
        *_joined(spec, "hx"),
    ]


def _pair_of(spec: CallSpec, hx: Any) -> str | None:
    """Return what is typed to make a pair of this; None if nothing does."""
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    if isinstance(hx, Tensor):
        shape = tuple(hx.shape)
        if all(shape == (PAIR, *want) for want in wants):
            return "tuple(hx), if h and c are stacked on axis 0"
        if shape == output_shape(spec):
            return OUTPUT_FIX
        fix = _changed(spec, shape, wants[0])
        return f"({fix}, None), which starts c from zeros" if fix else None
    whole: list[Made] = [
        ("hx[1], if this is a layer's result (output, state)", lambda hx: hx[1]),
        ("hx[:2], if the first two are h and c", lambda hx: hx[:2]),
    ]
    if not spec.state_batch_first:
        words = "if these are the states layer by layer"
        whole.append((f"rnnkit.states.from_layers(hx), {words}", _of_layers))
    if fix := _made(whole, hx, wants):
        return fix
    if not isinstance(hx, tuple | list) or len(hx) > PAIR:
        return None
    parts = [_made([(f"hx[{k}]", lambda part: part), (f"hx[{k}][0]", _first),
                    *_joined(spec, f"hx[{k}]")], part, wants[k])
             for k, part in enumerate(hx)]  # fmt: skip
    parts += [None] * (PAIR - len(parts))
    if not any(parts):
        return None
    missing = [name for name, part in zip(spec.state_names, parts, strict=True) if part is None]
    typed = ", ".join((part or "None").partition(", if")[0] for part in parts)
    return f"({typed})" + (f", which starts {missing[0]} from zeros" if missing else "")


def _changed(spec: CallSpec, shape: Shape, want: Shape) -> str | None:
    """Return the method that brings one tensor to a shape."""
    front, pair = ", ".join(map(str, want[:-1])), pair_of(spec, shape, want)
    typed = [
        move.typed[0].partition(", if")[0].format(it="hx", front=front)
        for move in MOVES
        if move.typed and move.typed[0].startswith("{it}.") and mends(move, spec, pair)
    ]
    return "hx" if shape == want else next(iter(typed), None)


def _of_layers(states: Any) -> list[Tensor]:
    """Join pairs as ``rnnkit.states.from_layers`` does; a tensor beside them is not one."""
    parts = zip(*[None if isinstance(state, Tensor) else state for state in states], strict=True)
    return [
        torch.cat([t if t.dim() == BATCHED else t.unsqueeze(0) for t in tensors])
        for tensors in parts
    ]
