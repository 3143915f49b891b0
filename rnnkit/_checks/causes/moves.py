"""What is typed to make a module's state of what came, beside its function on shapes."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import StateError
from rnnkit._base.message import bounded, brief, count
from rnnkit._base.state import PAIR
from rnnkit._checks.arrays import tensor_or_none
from rnnkit._checks.call_spec import CallSpec, sizes, spell

Shape = tuple[int, ...]


class Sizes(NamedTuple):
    """A shape by meaning: a cell has one row, an unbatched state a batch of 0."""

    rows: int
    batch: int
    width: int


def by_meaning(spec: CallSpec, shape: Shape) -> Sizes:
    """Return what the sizes of a state of the right rank mean."""
    *front, width = shape if spec.has_rows else (1, *shape)
    rows, batch = front if len(front) > 1 else (front[0], 0)
    if spec.state_batch_first and len(front) > 1:
        rows, batch = batch, rows
    return Sizes(rows, batch, width)


def output_shape(spec: CallSpec) -> Shape | None:
    """Return the shape of a layer's output over a padded batch."""
    if spec.kind != "layer" or spec.batch is None:
        return None
    width = spec.state_axes[0][-1].size or 0
    return (*spec.actual[:-1], 2 * width if spec.module.bidirectional else width)


def _wider(spec: CallSpec) -> str:
    """Write the layer that is as wide as both directions side by side."""
    widths = [f"{axes[-1].name}={2 * (axes[-1].size or 0)}" for axes in spec.state_axes[::-1]]
    return spec.with_option(", ".join(dict.fromkeys(widths)))


OUTPUT_FIX = "output, hx = ...: a layer returns its output first, its state second"
Move = tuple[Callable[[Sizes, Sizes, Any], Any], Callable[[Sizes, Sizes, Any], tuple[str, ...]]]

# fmt: off
#: What makes the wanted sizes of those that came, and code, headline, evidence and fixes.
MOVES: tuple[Move, ...] = (
    (lambda g, _, f: f.spec.has_rows and (g.batch, g.rows, g.width),
     lambda _, __, f: (
         "state-transposed",
         f"{f.name} has the {f.came} on axis 0, a state has the {f.carried} on axis 0", "",
         f"rnnkit.states.{'' if f.first else 'from_'}batch_first({{}})",
         f.spec.with_option(f"state_batch_first={not f.first}"))),
    (lambda g, w, f: g.batch == f.seq and (g.rows, w.batch, g.width),
     lambda g, w, f: (*f.spec.other_layout(f"{f.name} has batch {g.batch}"),
                      f.new if g.batch > w.batch else "")),
    (lambda g, w, f: f.directions == 1 and w.batch and (g.rows / 2, g.batch, g.width * 2),
     lambda g, _, f: (
         "state-bidirectional", f"{f.name} is in two rows for each layer, each half as wide",
         f"{f.width} is twice {g.width}: both directions side by side",
         f"rnnkit.states.bridge({{}}{f.option})")),
    (lambda g, w, f: f.directions == 1 and w.batch and (g.rows / 2, g.batch, g.width),
     lambda _, w, f: (
         "state-bidirectional",
         f"{f.name} has two rows for each layer, as the state of a bidirectional layer", "",
         f'rnnkit.states.bridge({{}}, "sum"{f.option}) adds the directions',
         f"{{}}[{':, ' * f.first}-{w.rows}:], if it is from one direction of twice as many layers",
         f'{_wider(f.spec)} and rnnkit.states.bridge(hx, "concat"{f.option})')),
    (lambda g, w, f: g == f.output and w,
     lambda _, __, f: ("state-is-output", f"{f.name} looks like an output, not like a state",
                       f"{f.name} has seq {f.spec.seq} and batch {f.spec.batch}, as the input",
                       OUTPUT_FIX)),
    (lambda g, w, _: g.batch == 1 and (g.rows, w.batch, g.width),
     lambda _, w, f: (
         "state-one-sample", f"{f.name} is for one sample, the input has {w.batch}", "",
         f"rnnkit.states.expand({{}}, {w.batch}{f.option}), if all samples start from it", f.new)),
    (lambda g, _, f: (g.rows, f.times * g.batch, g.width),
     lambda g, w, f: (
         "beams-forgotten", f"{f.name} is for a batch of {g.batch}, the input has {w.batch}",
         f"{w.batch} = {f.times} * {g.batch}: {f.times} beams for each of {g.batch} samples?",
         f"rnnkit.states.repeat({{}}, {f.times}{f.option}), if so", f.new)),
    (lambda g, w, _: g.batch > w.batch and (g.rows, w.batch, g.width),
     lambda g, w, f: (
         "state-batch", f"{f.name} is for a batch of {g.batch}, the input has {w.batch}",
         (f"{g.batch} > {w.batch}: probably left from a larger batch, as when the last of an epoch "
          "is smaller"), f.new,
         f"rnnkit.states.select({{}}, slice({w.batch}){f.option}), if the first samples went on")),
)
#: Of the first tensor that does not fit, where one move does not mend all; the last always does.
INEXACT: tuple[Move, ...] = (
    (lambda g, w, f: f.directions == 2 and g.rows * 2 == w.rows and w,
     lambda _, __, f: (
         "state-directions", f"{f.name} has no rows for the backward direction", "", f.zeros)),
    (lambda g, w, _: (g.rows, w.batch, g.width),
     lambda g, w, f: (
         "state-batch", f"{f.name} is for a batch of {g.batch}, the input has {w.batch}", "",
         f.zeros)),
    (lambda g, w, _: g.rows != w.rows and (g.batch == w.batch or g.width == w.width) and w,
     lambda g, w, f: (
         "state-layers",
         f"{f.name} has {count(g.rows, 'row', 'rows')}, this layer carries {w.rows}", "", f.zeros,
         f"if {f.name} is an output: {OUTPUT_FIX}" if f.is_layer and g.batch == w.batch else "")),
    (lambda g, w, _: g[:2] != w[:2] and w,
     lambda _, __, f: ("state-sizes", f"{f.name} fits on no axis", "", f.zeros)),
    (lambda g, w, f: f.width.name == "hidden_size" and g.width == 2 * w.width and w,
     lambda g, w, f: (
         "state-width", f"{f.name} is {g.width} wide, {f.width} is wanted",
         f"{g.width} is twice {w.width}: both directions side by side",
         f"torch.nn.Linear({g.width}, {w.width}) between the two", _wider(f.spec))),
    (lambda _, w, __: w,
     lambda g, w, f: (
         "state-width", f"{f.name} is {g.width} wide, {f.width} is wanted", "", f.zeros,
         f"torch.nn.Linear({g.width}, {w.width}) between the two")),
)

#: What brings a tensor to another rank.
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


def outlined(hx: object) -> str:
    """Name a state, and the parts that it has."""
    if not isinstance(hx, tuple | list) or not hx:
        return brief(hx)
    kinds = [bounded(type(part).__name__, 20) for part in hx[:4]]
    parts = [str(tuple(t.shape)) if isinstance(t, Tensor) else k for t, k in zip(hx, kinds)]  # noqa: B905
    return f"a {type(hx).__name__} of {len(hx)}: {', '.join(parts)}{', ...' * (len(hx) > 4)}"


def refuse_structure(spec: CallSpec, hx: Any, *, counts: bool = False) -> NoReturn:
    """Explain that a state is not made of the tensors that the module carries."""
    h, c = spell(spec.state_axes[0]), spell(spec.state_axes[-1])
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    one, sentence, headline, expected = True, "hx must be one tensor", "the state is one tensor", h
    if len(wants) > 1:
        one, sentence = False, "lstm expects two hidden states: hx is (h, c)"
        headline = "the state is the pair (h, c)"
        expected = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    axis = int(spec.state_batch_first and spec.batch is not None)
    words = "layer by layer" if spec.has_rows else "sample by sample"
    words = f"(hx{', 1' * axis}), if these are the states {words}"
    is_other = issubclass(type(hx), Tensor) and hx.dim() != len(wants[0])
    rank = of_rank(spec, [(tuple(hx.shape), wants[0])]) if is_other else None
    rank = (rank or "").partition(", if")[0].format("hx")
    run = f"{spec.name}(cell, input" if spec.kind == "unrolled" else "layer(input"
    data = ".data" if spec.kind == "packed" else ""
    # What may be typed to make the state of a value, and what it makes.
    ways: tuple[tuple[str, Callable[[], Any]], ...] = (
        (f"{run}, lengths=hx): lengths are given by name", lambda: counts and wants),
        ("(hx, None), which starts c from zeros", lambda: [hx, wants[1]]),
        ("hx[0], if this is an LSTM's (h, c)", lambda: one and len(hx) == PAIR and hx[0]),
        ("hx[1], if this is a layer's result (output, state)", lambda: len(hx) == PAIR and hx[1]),
        ("hx[0]", lambda: one and hx[0]),
        (f"torch.stack{words}", lambda: one and torch.stack(hx, axis)),
        (f"torch.cat{words}", lambda: one and torch.cat(hx, axis)),
        (f"torch.as_tensor(hx).to(input{data})", lambda: one and tensor_or_none(hx)),
        ("tuple(hx), if h and c are stacked on axis 0", lambda: tuple(hx)),
        (OUTPUT_FIX, lambda: hx.shape == output_shape(spec) and wants),
        (f"({rank}, None), which starts c from zeros", lambda: rank and wants),
        ("hx[:2], if the first two are h and c", lambda: hx[:2]),
        ("(hx[0], hx[1][0])", lambda: [hx[0], hx[1][0]]),
        ("(hx[0], None), which starts c from zeros", lambda: [hx[0], wants[1]]),
        ("(None, hx[1]), which starts h from zeros", lambda: [wants[0], hx[1]]),
    )
    fix = next((typed for typed, make in ways if _fits(make, wants)), "")
    if spec.state != "hx":
        fix = re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}" if fix else ""
        fix = fix or f"None as {spec.state} for zeros"
    spec.refuse(
        "state-structure", StateError, "hx", f"{sentence}, got {outlined(hx)}", headline,
        ("hx", f"expected {expected}"), ("fix", fix or "hx=None for zeros"),
        facts=(wants[0], tuple(hx.shape) if isinstance(hx, Tensor) else ()),
    )  # fmt: skip


def _fits(make: Callable[[], Any], wants: list[Any]) -> bool:
    """Return whether what is typed makes tensors of the wanted shapes."""
    try:
        made = make()
        parts = made if isinstance(made, tuple | list) else [made]
        return [tuple(t.shape) if isinstance(t, Tensor) else t for t in parts] == wants
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError):
        return False
