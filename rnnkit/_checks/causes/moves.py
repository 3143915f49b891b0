"""What can be typed to change a state, and what it makes of a shape.

The cause of a wrong state is the first Move that makes it fit, from the most to the least telling.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from rnnkit._base.errors import LayoutError, ShapeError, StateError
from rnnkit._base.message import count
from rnnkit._checks.call_spec import Axis, CallSpec

Shape = tuple[int, ...]
Makes = Callable[[CallSpec, Shape, Shape], Shape | None]

#: Where the words after an expression begin.
WORDS = re.compile(r"(?:, if|, which| adds) ")

OUTPUT_FIX = "output, hx = ...: a layer returns its output first, its state second"


class Sizes(NamedTuple):
    """A shape by meaning: a cell has one row, an unbatched state a batch of 0."""

    rows: float
    batch: int
    width: float


def by_meaning(spec: CallSpec, shape: Shape) -> Sizes:
    """Return what the sizes of a state of the right rank mean."""
    *front, width = shape
    if not spec.has_rows:
        return Sizes(1, front[0] if front else 0, width)
    if spec.batch is None:
        return Sizes(front[0], 0, width)
    rows, batch = front[::-1] if spec.state_batch_first else front
    return Sizes(rows, batch, width)


def output_shape(spec: CallSpec) -> Shape | None:
    """Return the shape of a layer's output over a padded batch."""
    if spec.kind != "layer" or spec.batch is None:
        return None
    width = (spec.proj_size or spec.hidden_size) * (2 if spec.module.bidirectional else 1)
    return (*spec.actual[:-1], width)


class Move(NamedTuple):
    """What can be typed, with its function on shapes, and the mistake that it mends.

    ``typed`` changes the state: ``{it}`` is a tensor or, for a function, a state. ``instead``
    changes the layer or the input, which helps only if no tensor of the state is right; in angle
    brackets is an option of the constructor. The other names are those of ``FACTS``.
    """

    code: str
    headline: str
    makes: "Makes | Sized"
    typed: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    evidence: str = ""
    error: type[ShapeError] = StateError


class Sized(NamedTuple):
    """A function on sizes by meaning, where others are on shapes."""

    change: Callable[[CallSpec, Sizes, Sizes], Any]


class Pair(NamedTuple):
    """The shape of a tensor that does not fit, and the one that does; by meaning if of one rank."""

    shape: Shape
    wanted: Shape
    got: Sizes | None
    want: Sizes | None


def pair_of(spec: CallSpec, shape: Shape, wanted: Any) -> Pair:
    """Compare two shapes."""
    if len(shape) != len(wanted):
        return Pair(shape, wanted, None, None)
    return Pair(shape, wanted, by_meaning(spec, shape), by_meaning(spec, wanted))


def mends(move: Move, spec: CallSpec, pair: Pair) -> bool:
    """Return whether a Move makes a tensor fit."""
    if not isinstance(move.makes, Sized):
        return move.makes(spec, pair.shape, pair.wanted) == pair.wanted
    if pair.got is None or pair.want is None:
        return False
    return bool(move.makes.change(spec, pair.got, pair.want) == pair.want)


def _lacks_seq(spec: CallSpec, got: Shape, want: Shape) -> Shape | None:
    """Take one step of a batch for a sequence without a batch."""
    if spec.kind != "layer" or spec.batch is not None or spec.actual[0] == 1:
        return None
    front = (spec.actual[0], want[0]) if spec.state_batch_first else (want[0], spec.actual[0])
    return want if got == (*front, want[-1]) else None


def _one_way(spec: CallSpec) -> bool:
    return spec.has_rows and spec.batch is not None and not spec.module.bidirectional


ZEROS = ("{zeros}",)
NEW = "{zeros}, if the sequences are new"


# fmt: off
MOVES = (
    Move("state-transposed", "{name} has the {came} on axis 0, a state has the {wanted} on axis 0",
         lambda _, g, w: (g[1], g[0], g[2]) if len(g) == 3 else None,
         ("rnnkit.states.{exchange}({it})",), ("<state_batch_first={other_states}>",),
         "{name} with axes 0 and 1 exchanged fits"),
    Move("state-transposed", "{name} has its axes swapped",
         lambda _, g, w: g[::-1] if len(g) == 2 else None, ("{it}.t().contiguous()",)),
    Move("layout-packed", "the sequences look packed in the other layout",
         Sized(lambda s, g, w: s.kind == "packed" and g.batch == s.seq
               and Sizes(g.rows, w.batch, g.width)),
         (), ("pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input",),
         "{name} has batch {got.batch}, which is the number of steps packed", LayoutError),
    Move("{spec.layout_code}", "the input looks {looks}, but batch_first={spec.batch_first}",
         Sized(lambda s, g, w: g.batch == s.seq and Sizes(g.rows, w.batch, g.width)),
         (), ("<batch_first={other}>, or input.transpose(0, 1)", "{if_larger}"),
         "{name} has batch {got.batch}, which is axis {axis} of the input", LayoutError),
    Move("layout-unbatched",
         "the input is read as one unbatched sequence, but it looks like a batch",
         _lacks_seq, (), ("input.unsqueeze({axis})",),
         "{name} has batch {spec.actual[0]}, which is axis 0 of the input", LayoutError),
    Move("state-directions", "{name} has no rows for the backward direction",
         Sized(lambda s, g, w: s.has_rows and s.module.bidirectional
               and g.rows * 2 == w.rows and w),
         ZEROS, (), "{rows_axis}"),
    Move("state-bidirectional", "{name} is in two rows for each layer, each half as wide",
         Sized(lambda s, g, w: _one_way(s) and Sizes(g.rows / 2, g.batch, g.width * 2)),
         ("rnnkit.states.bridge({it}{option})",), (),
         "{width} is twice {got.width}: both directions side by side"),
    Move("state-bidirectional",
         "{name} has two rows for each layer, as the state of a bidirectional layer",
         Sized(lambda s, g, w: _one_way(s) and Sizes(g.rows / 2, g.batch, g.width)),
         ('rnnkit.states.bridge({it}, "sum"{option}) adds the directions',
          "{it}{top}, if it is from one direction of twice as many layers"),
         ('<{twice}> and rnnkit.states.bridge(hx, "concat"{option})',)),
    Move("state-is-output", "{name} looks like an output, not like a state",
         lambda s, g, w: w if g == output_shape(s) else None, (), (OUTPUT_FIX,),
         "{name} has seq {spec.seq} and batch {spec.batch}, as the input"),
    Move("state-one-sample", "{name} is for one sample, the input has {want.batch}",
         Sized(lambda _, g, w: g.batch == 1 and Sizes(g.rows, w.batch, g.width)),
         ("rnnkit.states.expand({it}, {want.batch}{option}), if all samples start from it", NEW)),
    Move("beams-forgotten", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: g.batch and w.batch > g.batch and w.batch % g.batch == 0
               and Sizes(g.rows, w.batch, g.width)),
         ("rnnkit.states.repeat({it}, {times}{option}), if so", NEW), (),
         "{want.batch} = {times} * {got.batch}: {times} beams for each of {got.batch} samples?"),
    Move("state-batch", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: Sizes(g.rows, min(g.batch, w.batch), g.width)),
         (NEW,
          "rnnkit.states.select({it}, slice({want.batch}){option}), if the first samples went on"),
         (), "{got.batch} > {want.batch}: probably left from a larger batch, "
         "as when the last of an epoch is smaller"),
    Move("state-batch", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: Sizes(g.rows, w.batch, g.width)), ZEROS),
    Move("state-layers", "{name} has {rows}, this layer carries {want.rows}",
         Sized(lambda _, g, w: g.rows != w.rows and w in (Sizes(w.rows, g.batch, w.width),
                                                          Sizes(w.rows, w.batch, g.width)) and w),
         ZEROS, ("{if_output}",)),
    Move("state-projection", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda s, g, w: w.width == s.proj_size and g.width == s.hidden_size
               and Sizes(g.rows, g.batch, w.width)),
         ZEROS, (), "proj_size={spec.proj_size} is the width of h, hidden_size that of c"),
    Move("state-twice-as-wide", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda _, g, w: Sizes(g.rows, g.batch, g.width / 2)),
         ("torch.nn.Linear({got.width}, {want.width}) between the two",), ("{as_wide}",),
         "{got.width} is twice {want.width}: both directions side by side"),
    Move("state-width", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda _, g, w: Sizes(g.rows, g.batch, w.width)),
         (*ZEROS, "torch.nn.Linear({got.width}, {want.width}) between the two")),
    Move("state-sizes", "{name} fits on no axis", Sized(lambda _, g, w: w), ZEROS),
    *(Move("state-rank", "{name} has {rank} instead of {axes}", makes, (typed,))
      for typed, makes in (
          ("{it}.squeeze(0)", lambda _, g, w: g[1:] if g[:1] == (1,) else None),
          ("{it}.squeeze(1)", lambda _, g, w: (*g[:1], *g[2:]) if g[1:2] == (1,) else None),
          ("{it}.unsqueeze(0)", lambda _, g, w: (1, *g)),
          ("{it}.unsqueeze(1)", lambda _, g, w: (*g[:1], 1, *g[1:])),
          ("{it}.flatten(0, 1)", lambda _, g, w: (g[0] * g[1], *g[2:]) if len(g) == 4 else None),
          ("{it}.transpose(0, 1).flatten(1), if these are the two directions of a layer",
           lambda s, g, w: (g[1], 2 * g[2]) if len(g) == 3 and g[0] == 2 and len(w) == 2
           and not s.has_rows else None),
          ("{it}[-1], if the last layer is meant", lambda s, g, w: None if s.has_rows else g[1:]),
          ("{it}.expand({front}, -1).contiguous(), if all start from it",
           lambda _, g, w: w if g and g == w[1:] else None),
          ("{it}.unsqueeze(1).expand({front}, -1).contiguous(), if all start from it",
           lambda _, g, w: w if len(w) == 3 and g == (w[0], w[2]) else None))),
    Move("state-rank", "{name} has {rank} instead of {axes}",
         lambda _, g, w: w if len(g) != len(w) else None, ZEROS),
)
# fmt: on


#: Those that change each tensor that is wrong; the others begin from zeros or change the call.
CHANGES = frozenset(k for k, move in enumerate(MOVES) if any("{it}" in text for text in move.typed))


class Fit(NamedTuple):
    """Which tensors of a state fit, and how a caller writes the state."""

    kept: tuple[bool, ...]
    names: tuple[str, ...]
    state: str

    def typed(self, text: str) -> str:
        """Write what changes the tensors that do not fit, and gives the whole state."""
        words = WORDS.search(text)
        expression = text[: words.start()] if words else text
        rest = ("" if self.state == "hx" else f" as {self.state}") + text[len(expression) :]
        if len(self.kept) == 1 or (not any(self.kept) and not expression.startswith("{}")):
            return expression.format(self.state) + rest
        if not any(self.kept):
            return f"tuple({expression.format('t')} for t in {self.state}){rest}"
        names = self.names if self.state == "hx" else (f"{self.state}[0]", f"{self.state}[1]")
        pair = [
            n if fits else expression.format(n) for n, fits in zip(names, self.kept, strict=True)
        ]
        return f"({', '.join(pair)}){rest}"

    def zeros(self, spec: CallSpec) -> str:
        """Write what begins from zeros and keeps what fits."""
        if any(self.kept):
            return self.typed(f"None, which starts {self.names[self.kept.index(False)]} from zeros")
        module = "layer" if spec.has_rows else "cell"
        if self.state == "hx":
            return f"hx=None or {module}.initial_state({spec.batch}): zeros"
        return f"None as {self.state}, or hx=layer.initial_state({spec.batch}) of all cells: zeros"


class Facts(dict[str, Any]):
    """What the texts of a Move name, of the first tensor that does not fit; found when needed."""

    def __init__(self, spec: CallSpec, fit: Fit, pair: Pair, width: Axis) -> None:
        """Keep the call, and the sizes by meaning."""
        none = Sizes(0, 0, 0)
        self.spec, self.fit, self.pair, self.width = spec, fit, pair, width
        self.got, self.want = pair.got or none, pair.want or none
        self.first = spec.state_batch_first

    def __missing__(self, name: str) -> Any:
        """Find a fact."""
        return FACTS[name](self) if name in FACTS else getattr(self, name)


# fmt: off
FACTS: dict[str, Callable[[Facts], Any]] = {
    "it": lambda _: "{}",
    "name": lambda f: f.fit.names[f.fit.kept.index(False)],
    "zeros": lambda f: f.fit.zeros(f.spec),
    "if_larger": lambda f: NEW.format_map(f) if f.got.batch > f.want.batch else "",
    "if_output": lambda f: f"if {f['name']} is an output: {OUTPUT_FIX}" * (
        len(f.fit.kept) == 1 and f.spec.kind == "layer" and f.spec.batch == f.got.batch),
    "rank": lambda f: count(len(f.pair.shape), "axis", "axes"),
    "axes": lambda f: len(f.pair.wanted),
    "front": lambda f: ", ".join(map(str, f.pair.wanted[:-1])),
    "rows": lambda f: count(int(f.got.rows), "row", "rows"),
    "rows_axis": lambda f: f.spec.state_axes[0][f.first and len(f.pair.wanted) > 2],
    "times": lambda f: f.want.batch // f.got.batch,
    # A projection is narrower than what it projects.
    "as_wide": lambda f: f"<{f.width.name}={f.got.width}>" * (
        f.width.name == "hidden_size" or f.got.width < f.spec.hidden_size),
    "twice": lambda f: f"hidden_size={2 * f.spec.hidden_size}" + (
        f", proj_size={2 * f.spec.proj_size}" if f.spec.proj_size else ""),
    "top": lambda f: f"[{':, ' * f.first}-{f.want.rows}:]",
    "option": lambda f: ", state_batch_first=True" * f.first,
    "exchange": lambda f: "batch_first" if f.first else "from_batch_first",
    "came": lambda f: "layers" if f.first else "batch",
    "wanted": lambda f: "batch" if f.first else "layers",
    "other_states": lambda f: not f.first,
    "axis": lambda f: int(f.spec.batch_first),
    "looks": lambda f: "seq-first" if f.spec.batch_first else "batch-first",
    "other": lambda f: not f.spec.batch_first,
}
# fmt: on
