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

    ``typed`` changes the state: ``{}`` is a tensor or, for a function, a state. ``instead`` changes
    the layer or the input, which helps only if no tensor of the state is right; in angle brackets
    is an option of the constructor. The other names are those of ``facts_of``.
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
    Move("state-transposed", "{name} has the {second} on axis 0, a state has the {first} on axis 0",
         lambda _, g, w: (g[1], g[0], g[2]) if len(g) == 3 else None,
         ("rnnkit.states.{exchange}({})",), ("<state_batch_first={other_states}>",),
         "{name} with axes 0 and 1 exchanged fits"),
    Move("state-transposed", "{name} has its axes swapped",
         lambda _, g, w: g[::-1] if len(g) == 2 else None, ("{}.t().contiguous()",)),
    Move("layout-packed", "the sequences look packed in the other layout",
         Sized(lambda s, g, w: s.kind == "packed" and g.batch == s.seq
               and g._replace(batch=w.batch)),
         (), ("pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input",),
         "{name} has batch {got.batch}, which is the number of steps packed", LayoutError),
    Move("{layout}", "the input looks {looks}, but batch_first={batch_first}",
         Sized(lambda s, g, w: g.batch == s.seq and g._replace(batch=w.batch)),
         (), ("<batch_first={other}>, or input.transpose(0, 1)", "{if_larger}"),
         "{name} has batch {got.batch}, which is axis {axis} of the input", LayoutError),
    Move("layout-unbatched",
         "the input is read as one unbatched sequence, but it looks like a batch",
         _lacks_seq, (), ("input.unsqueeze({axis})",),
         "{name} has batch {actual[0]}, which is axis 0 of the input", LayoutError),
    Move("state-directions", "{name} has no rows for the backward direction",
         Sized(lambda s, g, w: s.has_rows and s.module.bidirectional
               and g.rows * 2 == w.rows and w),
         ZEROS, (), "{rows_axis}"),
    Move("state-bidirectional", "{name} is in two rows for each layer, each half as wide",
         Sized(lambda s, g, w: _one_way(s) and Sizes(g.rows / 2, g.batch, g.width * 2)),
         ("rnnkit.states.bridge({}{option})",), (),
         "{width} is twice {got.width}: both directions side by side"),
    Move("state-bidirectional",
         "{name} has two rows for each layer, as the state of a bidirectional layer",
         Sized(lambda s, g, w: _one_way(s) and g._replace(rows=g.rows / 2)),
         ('rnnkit.states.bridge({}, "sum"{option}) adds the directions',
          "{}[{all}-{want.rows}:], if it is from one direction of twice as many layers"),
         ('<{twice}> and rnnkit.states.bridge(hx, "concat"{option})',)),
    Move("state-is-output", "{name} looks like an output, not like a state",
         lambda s, g, w: w if g == output_shape(s) else None, (), (OUTPUT_FIX,),
         "{name} has seq {seq} and batch {batch}, as the input"),
    Move("state-one-sample", "{name} is for one sample, the input has {want.batch}",
         Sized(lambda _, g, w: g.batch == 1 and g._replace(batch=w.batch)),
         ("rnnkit.states.expand({}, {want.batch}{option}), if all samples start from it", NEW)),
    Move("beams-forgotten", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: g.batch and w.batch > g.batch and w.batch % g.batch == 0
               and g._replace(batch=w.batch)),
         ("rnnkit.states.repeat({}, {times}{option}), if so", NEW), (),
         "{want.batch} = {times} * {got.batch}: {times} beams for each of {got.batch} samples?"),
    Move("state-batch", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: g._replace(batch=min(g.batch, w.batch))),
         (NEW,
          "rnnkit.states.select({}, slice({want.batch}){option}), if the first samples went on"),
         (), "{got.batch} > {want.batch}: probably left from a larger batch, "
         "as when the last of an epoch is smaller"),
    Move("state-batch", "{name} is for a batch of {got.batch}, the input has {want.batch}",
         Sized(lambda _, g, w: g._replace(batch=w.batch)), ZEROS),
    Move("state-layers", "{name} has {rows}, this layer carries {want.rows}",
         Sized(lambda _, g, w: g.rows != w.rows and w in (w._replace(batch=g.batch),
                                                          w._replace(width=g.width)) and w),
         ZEROS, ("{if_output}",)),
    Move("state-projection", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda s, g, w: w.width == s.proj_size and g.width == s.hidden_size
               and g._replace(width=w.width)),
         ZEROS, (), "proj_size={proj_size} is the width of h, hidden_size={hidden_size} that of c"),
    Move("state-twice-as-wide", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda _, g, w: g._replace(width=g.width / 2)),
         ("torch.nn.Linear({got.width}, {want.width}) between the two",), ("{as_wide}",),
         "{got.width} is twice {want.width}: both directions side by side"),
    Move("state-width", "{name} is {got.width} wide, {width} is wanted",
         Sized(lambda _, g, w: g._replace(width=w.width)),
         (*ZEROS, "torch.nn.Linear({got.width}, {want.width}) between the two")),
    Move("state-sizes", "{name} fits on no axis", Sized(lambda _, g, w: w), ZEROS),
    *(Move("state-rank", "{name} has {rank} in place of {axes}", makes, (typed,))
      for typed, makes in (
          ("{}.squeeze(0)", lambda _, g, w: g[1:] if g[:1] == (1,) else None),
          ("{}.squeeze(1)", lambda _, g, w: (*g[:1], *g[2:]) if g[1:2] == (1,) else None),
          ("{}.unsqueeze(0)", lambda _, g, w: (1, *g)),
          ("{}.unsqueeze(1)", lambda _, g, w: (*g[:1], 1, *g[1:])),
          ("{}.flatten(0, 1)", lambda _, g, w: (g[0] * g[1], *g[2:]) if len(g) == 4 else None),
          ("{}.transpose(0, 1).flatten(1), if these are the two directions of a layer",
           lambda s, g, w: (g[1], 2 * g[2]) if len(g) == 3 and g[0] == 2 and len(w) == 2
           and not s.has_rows else None),
          ("{}[-1], if the last layer is meant", lambda s, g, w: None if s.has_rows else g[1:]),
          ("{}.expand({front}, -1).contiguous(), if all start from it",
           lambda _, g, w: w if g and g == w[1:] else None),
          ("{}.unsqueeze(1).expand({front}, -1).contiguous(), if all start from it",
           lambda _, g, w: w if len(w) == 3 and g == (w[0], w[2]) else None))),
    Move("state-rank", "{name} has {rank} in place of {axes}",
         lambda _, g, w: w if len(g) != len(w) else None, ZEROS),
)
# fmt: on


#: Those that change each tensor that is wrong; the others begin from zeros or change the call.
CHANGES = frozenset(k for k, move in enumerate(MOVES) if any("{}" in text for text in move.typed))


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


def facts_of(spec: CallSpec, fit: Fit, pair: Pair, width: Axis) -> dict[str, Any]:
    """Return what the texts of a Move name, of the first tensor that does not fit."""
    states_first, zeros = spec.state_batch_first, fit.zeros(spec)
    none = Sizes(0, 0, 0)
    got, want = pair.got or none, pair.want or none
    name, rank = fit.names[fit.kept.index(False)], len(pair.wanted)
    first, second = ("batch", "layers") if states_first else ("layers", "batch")
    twice = f", proj_size={2 * spec.proj_size}" if spec.proj_size else ""
    may_be_output = len(fit.kept) == 1 and spec.kind == "layer" and spec.batch == got.batch
    # A projection is narrower than what it projects.
    may_be_wide = width.name == "hidden_size" or got.width < spec.hidden_size
    return {
        "got": got, "want": want, "name": name, "zeros": zeros, "width": width, "axes": rank,
        "rank": count(len(pair.shape), "axis", "axes"),
        "rows": count(int(got.rows), "row", "rows"),
        "front": ", ".join(map(str, pair.wanted[:-1])),
        "if_larger": NEW.format(zeros=zeros) if got.batch > want.batch else "",
        "if_output": f"if {name} is an output: {OUTPUT_FIX}" if may_be_output else "",
        "times": want.batch // got.batch if got.batch else 0,
        "as_wide": f"<{width.name}={got.width}>" if may_be_wide else "",
        "twice": f"hidden_size={2 * spec.hidden_size}{twice}",
        "rows_axis": spec.state_axes[0][1 if states_first and rank > 2 else 0],
        "all": ":, " if states_first else "",
        "option": ", state_batch_first=True" if states_first else "",
        "exchange": "batch_first" if states_first else "from_batch_first",
        "first": first, "second": second, "other_states": not states_first,
        "layout": spec.layout_code, "axis": 1 if spec.batch_first else 0,
        "looks": "seq-first" if spec.batch_first else "batch-first",
        "batch_first": spec.batch_first, "other": not spec.batch_first,
        "actual": spec.actual, "batch": spec.batch, "seq": spec.seq, "state": spec.state,
        "proj_size": spec.proj_size, "hidden_size": spec.hidden_size,
    }  # fmt: skip
