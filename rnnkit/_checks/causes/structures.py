"""A state that is not the tensors that a module carries: what is typed to make them of it."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import StateError
from rnnkit._base.message import bounded, brief
from rnnkit._base.state import PAIR
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, sizes, spell

Shape = tuple[int, ...]

OUTPUT_FIX = "output, hx = ...: a layer returns its output first, its state second"

# fmt: off
#: What brings a tensor to another rank, with its function on the shape and the wanted one.
RANKS: tuple[tuple[str, Callable[[Shape, Shape], Shape | None]], ...] = (
    ("{}.squeeze(0)", lambda g, _: g[1:] if g[:1] == (1,) else None),
    ("{}.squeeze(1)", lambda g, _: (*g[:1], *g[2:]) if g[1:2] == (1,) else None),
    ("{}.unsqueeze(0)", lambda g, _: (1, *g)),
    ("{}.unsqueeze(1)", lambda g, _: (*g[:1], 1, *g[1:])),
    ("{}.flatten(0, 1)", lambda g, _: (g[0] * g[1], *g[2:]) if len(g) == 4 else None),
    ("{}[-1], if the last layer is meant", lambda g, _: g[1:]),
    ("{}.expand({front}, -1).contiguous(), if all start from it",
     lambda g, w: w if g and g == w[1:] else None),
    ("{}.unsqueeze(1).expand({front}, -1).contiguous(), if all start from it",
     lambda g, w: w if len(w) == 3 and g == (w[0], w[2]) else None),
)
# fmt: on


def of_rank(spec: CallSpec, shapes: list[tuple[Shape, Any]]) -> str | None:
    """Return what brings shapes to the wanted ones beside them, with ``{}`` for the tensor."""
    for text, change in RANKS:
        # A cell is given a layer's state, and never the other way round.
        if not (spec.has_rows and "layer" in text) and all(change(g, w) == w for g, w in shapes):
            return text.replace("{front}", ", ".join(map(str, shapes[0][1][:-1])))
    return None


def output_shape(spec: CallSpec) -> Shape | None:
    """Return the shape of a layer's output over a padded batch."""
    if spec.kind != "layer" or spec.batch is None:
        return None
    width = spec.state_axes[0][-1].size or 0
    return (*spec.actual[:-1], 2 * width if spec.module.bidirectional else width)


def outlined(hx: object) -> str:
    """Name a state, and the parts that it has."""
    if not isinstance(hx, tuple | list) or not hx:
        return brief(hx)
    parts = [
        str(tuple(part.shape)) if isinstance(part, Tensor) else bounded(type(part).__name__, 20)
        for part in hx[:4]
    ]
    return f"a {type(hx).__name__} of {len(hx)}: {', '.join(parts)}{', ...' * (len(hx) > 4)}"


def refuse_structure(spec: CallSpec, hx: Any) -> NoReturn:
    """Explain that a state is not made of the tensors that the module carries."""
    h, c = spell(spec.state_axes[0]), spell(spec.state_axes[-1])
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    sentence, headline, expected = "hx must be one tensor", "the state is one tensor", h
    if len(wants) > 1:
        sentence = "lstm expects two hidden states: hx is (h, c)"
        headline = "the state is the pair (h, c)"
        expected = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    fix = next((typed for typed, made in _ways(spec, hx, wants) if _fits(made, hx, wants)), "")
    if spec.state != "hx":
        fix = re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}" if fix else ""
        fix = fix or f"None as {spec.state} for zeros"
    shape = tuple(hx.shape) if isinstance(hx, Tensor) else ()
    spec.refuse(
        "state-structure", StateError, "hx", f"{sentence}, got {outlined(hx)}", headline,
        ("hx", f"expected {expected}"), ("fix", fix or "hx=None for zeros"),
        facts=(wants[0], shape),
    )  # fmt: skip


def _ways(spec: CallSpec, hx: Any, wants: list[Any]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Yield what may be typed to make the state of a value, and its tensors or their shapes."""
    result = "hx[1], if this is a layer's result (output, state)"
    if len(wants) == 1:
        axis = 1 if spec.state_batch_first and spec.batch is not None else 0
        each = "layer by layer" if spec.has_rows else "sample by sample"
        words = f"(hx{', 1' * axis}), if these are the states {each}"
        yield "hx[0], if this is an LSTM's (h, c)", lambda hx: len(hx) == PAIR and hx[0]
        yield result, lambda hx: len(hx) == PAIR and hx[1]
        yield "hx[0]", lambda hx: hx[0]
        yield f"torch.stack{words}", lambda hx: torch.stack(hx, axis)
        yield f"torch.cat{words}", lambda hx: torch.cat(hx, axis)
        like = "input.data" if spec.kind == "packed" else "input"
        yield f"torch.as_tensor(hx).to({like})", tensor_or_none
        return
    h, c = wants
    if isinstance(hx, Tensor):
        yield "tuple(hx), if h and c are stacked on axis 0", tuple
        yield OUTPUT_FIX, lambda hx: tuple(hx.shape) == output_shape(spec) and [h, c]
        yield "(hx, None), which starts c from zeros", lambda hx: [hx, c]
        text = (of_rank(spec, [(tuple(hx.shape), wants[0])]) or "").partition(", if")[0]
        yield f"({text.format('hx')}, None), which starts c from zeros", lambda _: text and [h, c]
        return
    yield result, lambda hx: hx[1]
    yield "hx[:2], if the first two are h and c", lambda hx: hx[:2]
    yield "(hx[0], hx[1][0])", lambda hx: [hx[0], hx[1][0]]
    yield "(hx[0], None), which starts c from zeros", lambda hx: [hx[0], c]
    yield "(None, hx[1]), which starts h from zeros", lambda hx: [h, hx[1]]


def _fits(make: Callable[[Any], Any], hx: Any, wants: list[Any]) -> bool:
    """Return whether what is typed makes tensors of the wanted shapes."""
    try:
        made = make(hx)
        parts = made if len(wants) > 1 and isinstance(made, tuple | list) else [made]
        return [tuple(t.shape) if isinstance(t, Tensor) else t for t in parts] == wants
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError):
        return False
