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
from rnnkit._checks.call_spec import Axis, CallSpec, sizes, spell

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


def cause_of(spec: CallSpec, name: str, width: Axis, read: Any, zeros: str) -> tuple[str, ...]:
    """Return code, headline, evidence and fixes of what makes the wanted sizes, ``(came, wanted)``.

    Each question is what people type, as a function on sizes; in a fix ``{}`` is the tensor.
    """
    g, w = read[0]
    first = spec.state_batch_first
    batches = {came.batch for came, _ in read}
    option = ", state_batch_first=True" * first
    new = f"{zeros}, if the sequences are new"
    is_one_way = spec.has_rows and w.batch and not spec.module.bidirectional
    other_batch = f"{name} is for a batch of {g.batch}, the input has {w.batch}"

    def makes(change: Callable[[Sizes, Sizes], tuple[float, ...]]) -> bool:
        return all(change(g, w) == w for g, w in read)

    # fmt: off
    if spec.has_rows and makes(lambda g, _: (g.batch, g.rows, g.width)):
        came, carried = ("layers", "batch") if first else ("batch", "layers")
        return ("state-transposed",
                f"{name} has the {came} on axis 0, a state has the {carried} on axis 0", "",
                f"rnnkit.states.{'' if first else 'from_'}batch_first({{}})",
                spec.with_option(f"state_batch_first={not first}"))
    if makes(lambda g, w: (g.rows, w.batch, g.width)):
        times = w.batch // max(g.batch, 1)
        is_all = len(read) == len(spec.state_axes)
        # What changes the input makes a tensor that is right wrong. Zeros would hide the mistake.
        if batches == {spec.seq} and is_all and spec.kind != "packed":
            return spec.other_layout(f"{name} has batch {g.batch}")
        if batches == {1}:
            expanded = f"rnnkit.states.expand({{}}, {w.batch}{option})"
            return ("state-one-sample", f"{name} is for one sample, the input has {w.batch}", "",
                    f"{expanded}, if all samples start from it", new)
        if batches == {g.batch} and times * g.batch == w.batch:
            beams = f"{times} beams for each of {g.batch} samples?"
            return ("beams-forgotten", other_batch, f"{w.batch} = {times} * {g.batch}: {beams}",
                    f"rnnkit.states.repeat({{}}, {times}{option}), if so", new)
        if min(batches) > w.batch:
            why = "probably left from a larger batch, as when the last of an epoch is smaller"
            selected = f"rnnkit.states.select({{}}, slice({w.batch}){option})"
            return ("state-batch", other_batch, f"{g.batch} > {w.batch}: {why}", new,
                    f"{selected}, if the first samples went on")
    if is_one_way and makes(lambda g, _: (g.rows / 2, g.batch, g.width * 2)):
        return ("state-bidirectional", f"{name} is in two rows for each layer, each half as wide",
                f"{width} is twice {g.width}: both directions side by side",
                f"rnnkit.states.bridge({{}}{option})")
    if is_one_way and makes(lambda g, _: (g.rows / 2, g.batch, g.width)):
        rows = f"{{}}[{':, ' * first}-{w.rows}:]"
        return ("state-bidirectional",
                f"{name} has two rows for each layer, as the state of a bidirectional layer", "",
                f'rnnkit.states.bridge({{}}, "sum"{option}) adds the directions',
                f"{rows}, if it is from one direction of twice as many layers",
                f'{_wider(spec)} and rnnkit.states.bridge(hx, "concat"{option})')
    output = output_shape(spec)
    if output and {came for came, _ in read} == {by_meaning(spec, output)}:
        return ("state-is-output", f"{name} looks like an output, not like a state",
                f"{name} has seq {spec.seq} and batch {spec.batch}, as the input", OUTPUT_FIX)
    # One change does not mend all: the rest is about the first tensor.
    if spec.has_rows and spec.module.bidirectional and g.rows * 2 == w.rows:
        return "state-directions", f"{name} has no rows for the backward direction", "", zeros
    if (g.rows, g.width) == (w.rows, w.width):
        return "state-batch", other_batch, "", zeros
    if g.rows != w.rows and (g.batch == w.batch or g.width == w.width):
        may_be_output = spec.kind == "layer" and not spec.state_axes[1:] and g.batch == w.batch
        return ("state-layers",
                f"{name} has {count(g.rows, 'row', 'rows')}, this layer carries {w.rows}", "",
                zeros, f"if {name} is an output: {OUTPUT_FIX}" if may_be_output else "")
    if g[:2] != w[:2]:
        return "state-sizes", f"{name} fits on no axis", "", zeros
    is_twice = width.name == "hidden_size" and g.width == 2 * w.width
    linear = f"torch.nn.Linear({g.width}, {w.width}) between the two"
    return ("state-width", f"{name} is {g.width} wide, {width} is wanted",
            f"{g.width} is twice {w.width}: both directions side by side" if is_twice else "",
            *((linear, _wider(spec)) if is_twice else (zeros, linear)))


#: What brings a tensor to another rank.
RANKS: tuple[tuple[str, Callable[[Shape, Shape], Shape | None]], ...] = (
    ("{}.squeeze(0)", lambda g, _: g[1:] if g[:1] == (1,) else None),
    ("{}.squeeze(1)", lambda g, _: (*g[:1], *g[2:]) if g[1:2] == (1,) else None),
    ("{}.unsqueeze(0)", lambda g, _: (1, *g)),
    ("{}.unsqueeze(1)", lambda g, _: (*g[:1], 1, *g[1:])),
    ("{}.flatten(0, 1)", lambda g, _: (g[0] * g[1], *g[2:]) if len(g) == 4 else None),
    ("{}[-1], if the last layer is meant", lambda g, _: g[1:]),
    (
        "{}.expand({front}, -1).contiguous(), if all start from it",
        lambda g, w: w if g and g == w[1:] else None,
    ),
    (
        "{}.unsqueeze(1).expand({front}, -1).contiguous(), if all start from it",
        lambda g, w: w if len(w) == 3 and g == (w[0], w[2]) else None,
    ),
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
    h = spell(spec.state_axes[0])
    c = spell(spec.state_axes[-1])
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    one = len(wants) == 1
    each = f"each {h}" if h == c else f"h {h} and c {c}"
    sentence = "hx must be one tensor" if one else "lstm expects two hidden states: hx is (h, c)"
    axis = int(spec.state_batch_first and spec.batch is not None)
    words = "layer by layer" if spec.has_rows else "sample by sample"
    words = f"(hx{', 1' * axis}), if these are the states {words}"
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
        ("hx[:2], if the first two are h and c", lambda: hx[:2]),
        ("(hx[0], None), which starts c from zeros", lambda: [hx[0], wants[1]]),
    )
    fix = next((typed for typed, make in ways if _fits(make, wants)), "")
    if spec.state != "hx":
        fix = re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}" if fix else ""
        fix = fix or f"None as {spec.state} for zeros"
    spec.refuse(
        "state-structure", StateError, "hx", f"{sentence}, got {outlined(hx)}",
        f"the state is {'one tensor' if one else 'the pair (h, c)'}",
        ("hx", f"expected {h if one else f'(h, c), {each}'}"), ("fix", fix or "hx=None for zeros"),
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
