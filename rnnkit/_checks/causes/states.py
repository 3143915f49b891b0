"""What is wrong with a hidden state: the first change that makes it fit is the fix, and the cause.

Each change is what can be typed, beside its function on shapes or on sizes by meaning.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, cast

import torch
from torch import Tensor

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, StateError
from rnnkit._base.message import count, wanted
from rnnkit._base.state import BATCHED, PAIR, filled, map_state, zeros
from rnnkit._checks.arrays import is_whole
from rnnkit._checks.call_spec import CallSpec, agree, is_odd, parts_of, refuse_odd, sizes, spell
from rnnkit._checks.causes.inputs import rows_of
from rnnkit._checks.causes.structures import (
    OUTPUT_FIX,
    Shape,
    of_rank,
    outlined,
    output_shape,
    refuse_structure,
)
from rnnkit._checks.cell_guards import has_batch
from rnnkit._checks.guards import has_own_dtype

#: Where the words after an expression begin.
WORDS = re.compile(r"(?:, if|, which| adds) ")


class Sizes(NamedTuple):
    """A shape by meaning: a cell has one row, an unbatched state a batch of 0."""

    rows: int
    batch: int
    width: int


def by_meaning(spec: CallSpec, shape: Shape) -> Sizes:
    """Return what the sizes of a state of the right rank mean."""
    *front, width = shape
    if not spec.has_rows:
        return Sizes(1, front[0] if front else 0, width)
    if spec.batch is None:
        return Sizes(front[0], 0, width)
    rows, batch = front[::-1] if spec.state_batch_first else front
    return Sizes(rows, batch, width)


def check_state(spec: CallSpec, hx: Any, input: Tensor, *, only_sizes: bool = False) -> None:
    """Refuse a state of the wrong sizes, else layout, dtype or device; None for zeros is right."""
    if hx is None:
        return
    whole = hx
    if isinstance(hx, (tuple, list)) and len(hx) == len(spec.state_axes) == PAIR:
        front = [axis.size or 0 for axis in spec.state_axes[0][:-1]]
        whole = filled(tuple(hx), zeros(spec.module, torch.empty(0, device="cpu"), *front))
    _check_sizes(spec, whole)
    state = () if only_sizes else parts_of(hx)
    for name, tensor in zip(spec.state_names, state, strict=False):
        if tensor is None:
            continue
        if is_odd(tensor):
            refuse_odd(spec.module, tensor, "hx")
        own = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=spec.kind == "cell")
        if not (own or agree(tensor.dtype, input.dtype)):
            spec.refuse(
                "state-dtype", DtypeError, "hx",
                f"hx dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
                "state and input differ in dtype",
                (name, wanted(f"{input.dtype}", f"{tensor.dtype}")),
                ("fix", f"rnnkit.states.to(hx, {input.dtype})"),
            )  # fmt: skip
        if tensor.device != input.device:
            data = "input.data" if spec.kind == "packed" else "input"
            spec.refuse(
                "state-device", DeviceError, "hx",
                "Input and hidden tensors are not at the same device, found input tensor at "
                f"{input.device} and hidden tensor at {tensor.device}",
                "state and input are on different devices",
                (name, wanted(f"on {input.device}", f"{tensor.device}")),
                ("fix", f"rnnkit.states.to(hx, {data}.device)"),
            )  # fmt: skip


def _check_sizes(spec: CallSpec, hx: Any) -> None:
    """Refuse a state that is not made of the module's tensors, or whose shapes are wrong."""
    counts = isinstance(hx, (tuple, list)) and {type(part) for part in hx} == {int}
    if isinstance(hx, Tensor):
        counts = hx.dim() == 1 and len(hx) > 0 and hx.dtype is not torch.bool and is_whole(hx)
    if counts and spec.kind not in ("cell", "step"):
        run = f"{spec.name}(cell, input" if spec.kind == "unrolled" else "layer(input"
        spec.refuse(
            "lengths-as-state", StateError, "hx", f"hx must be a state, got {outlined(hx)}",
            "the second argument is the state, and it holds integers, as lengths are",
            spec.input_row, ("fix", f"{run}, lengths=hx): lengths are given by name"),
            facts=(sizes(spec.state_axes[0]), tuple(hx.shape) if isinstance(hx, Tensor) else ()),
        )  # fmt: skip
    state: Any = (hx,) if len(spec.state_axes) == 1 else hx
    if not (
        isinstance(state, tuple)
        and len(state) == len(spec.state_axes)
        and all(isinstance(tensor, Tensor) for tensor in state)
    ):
        refuse_structure(spec, hx)
    shapes = [tuple(tensor.shape) for tensor in state]
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    if shapes != wants:
        _explain(spec, shapes, wants)


def _explain(spec: CallSpec, shapes: list[Shape], wants: list[Shape]) -> NoReturn:
    """Find what makes a state fit, from the most to the least telling, and refuse the state."""
    kept = [shape == want for shape, want in zip(shapes, wants, strict=True)]
    pairs = [(shapes[k], wants[k]) for k, right in enumerate(kept) if not right]
    place, (got, want) = kept.index(False), pairs[0]
    name, width = spec.state_names[place], spec.state_axes[place][-1]
    module, state, first = spec.module, spec.state, spec.state_batch_first
    read = [(by_meaning(spec, g), by_meaning(spec, w)) for g, w in pairs if len(g) == len(w)]
    option = ", state_batch_first=True" if first else ""

    def typed(text: str) -> str:
        """Write what changes the tensors that do not fit, and gives the whole state."""
        words = WORDS.search(text)
        expression = text[: words.start()] if words else text
        rest = ("" if state == "hx" else f" as {state}") + text[len(expression) :]
        if len(kept) == 1 or (not any(kept) and not expression.startswith("{}")):
            return expression.format(state) + rest
        if not any(kept):
            return f"tuple({expression.format('t')} for t in {state}){rest}"
        names = spec.state_names if state == "hx" else (f"{state}[0]", f"{state}[1]")
        each = [n if right else expression.format(n) for n, right in zip(names, kept, strict=True)]
        return f"({', '.join(each)}){rest}"

    def found(
        code: str, headline: str, *fixes: str, instead: str = "", evidence: str = "",
    ) -> NoReturn:  # fmt: skip
        error = LayoutError if code.startswith("layout") else StateError
        texts = [typed(text) if "{}" in text else text for text in fixes]
        members = [
            (one, wanted(spell(axes), f"{shape}"))
            for one, axes, shape in zip(spec.state_names, spec.state_axes, shapes, strict=True)
        ]
        # What changes the layer or the input instead makes a tensor that fits wrong.
        rows = rows_of(evidence, [*texts, "" if any(kept) else instead])
        sentence = _sentence(spec, shapes, wants, place)
        spec.refuse(
            code, error, "hx", sentence, headline, spec.input_row, *members, *rows,
            facts=(want, got),
        )  # fmt: skip

    def fits(change: Callable[[Shape, Shape], Any]) -> bool:
        return False not in [change(g, w) == w for g, w in pairs]

    def resized(change: Callable[[Sizes, Sizes], Any]) -> bool:
        return len(read) == len(pairs) and False not in [change(g, w) == w for g, w in read]

    zeros = f"hx=None or {'layer' if spec.has_rows else 'cell'}.initial_state({spec.batch}): zeros"
    if any(kept):
        zeros = typed(f"None, which starts {name} from zeros")
    elif state != "hx":
        zeros = f"None as {state}, or hx=layer.initial_state({spec.batch}) of all cells: zeros"
    new = f"{zeros}, if the sequences are new"
    # fmt: off
    if len(got) != len(want):
        steps, unbatched = spec.actual[0], spec.kind == "layer" and spec.batch is None
        if (unbatched and steps != 1 and not any(kept)
                and fits(lambda g, w: g == ((steps, *w) if first else (w[0], steps, w[1])) and w)):
            found("layout-unbatched",
                  "the input is read as one unbatched sequence, but it looks like a batch",
                  f"input.unsqueeze({int(spec.batch_first)})",
                  evidence=f"{name} has batch {steps}, which is axis 0 of the input")
        headline = f"{name} has {count(len(got), 'axis', 'axes')} instead of {len(want)}"
        found("state-rank", headline, of_rank(spec, pairs) or zeros)
    if fits(lambda g, _: (g[1], g[0], g[2]) if len(g) == BATCHED else None):
        came, carried = ("layers", "batch") if first else ("batch", "layers")
        found("state-transposed",
              f"{name} has the {came} on axis 0, a state has the {carried} on axis 0",
              f"rnnkit.states.{'' if first else 'from_'}batch_first({{}})",
              instead=spec.with_option(f"state_batch_first={not first}"),
              evidence=f"{name} with axes 0 and 1 exchanged fits")
    if fits(lambda g, _: g[::-1] if len(g) == 2 else None):
        found("state-transposed", f"{name} has its axes swapped", "{}.t().contiguous()")
    g, w = read[0]
    padded = spec.kind != "packed" and not any(kept)
    if padded and g.batch == spec.seq and resized(lambda g, w: (g.rows, w.batch, g.width)):
        evidence = f"{name} has batch {g.batch}, which is axis {{axis}} of the input"
        headline, ((_, evidence), (_, fix)) = spec.other_layout(evidence)
        found(spec.layout_code, headline, fix, new if g.batch > w.batch else "", evidence=evidence)
    if spec.has_rows and module.bidirectional and g.rows * 2 == w.rows:
        rows_axis = 1 if first and len(want) == BATCHED else 0
        found("state-directions", f"{name} has no rows for the backward direction", zeros,
              evidence=f"{spec.state_axes[0][rows_axis]}")
    one_way = g.rows == 2 * w.rows and spec.batch is not None and not module.bidirectional
    if one_way and resized(lambda g, _: (g.rows / 2, g.batch, g.width * 2)):
        found("state-bidirectional", f"{name} is in two rows for each layer, each half as wide",
              f"rnnkit.states.bridge({{}}{option})",
              evidence=f"{width} is twice {g.width}: both directions side by side")
    if one_way and resized(lambda g, _: (g.rows / 2, g.batch, g.width)):
        widths = [f"{axes[-1].name}={2 * (axes[-1].size or 0)}" for axes in spec.state_axes]
        wider = spec.with_option(", ".join(dict.fromkeys(widths[::-1])))
        found("state-bidirectional",
              f"{name} has two rows for each layer, as the state of a bidirectional layer",
              f'rnnkit.states.bridge({{}}, "sum"{option}) adds the directions',
              f"{{}}[{':, ' if first else ''}-{w.rows}:], if it is from one direction of twice as "
              "many layers", instead=f'{wider} and rnnkit.states.bridge(hx, "concat"{option})')
    if got[:-1] == spec.actual[:-1] and fits(lambda g, w: g == output_shape(spec) and w):
        found("state-is-output", f"{name} looks like an output, not like a state", OUTPUT_FIX,
              evidence=f"{name} has seq {spec.seq} and batch {spec.batch}, as the input")
    if g.batch == 1 and resized(lambda g, w: (g.rows, w.batch, g.width)):
        found("state-one-sample", f"{name} is for one sample, the input has {w.batch}",
              f"rnnkit.states.expand({{}}, {w.batch}{option}), if all samples start from it", new)
    headline = f"{name} is for a batch of {g.batch}, the input has {w.batch}"
    times = w.batch // g.batch if g.batch else 0
    if times > 1 and resized(lambda g, _: (g.rows, g.batch * times, g.width)):
        found("beams-forgotten", headline, f"rnnkit.states.repeat({{}}, {times}{option}), if so",
              new, evidence=f"{w.batch} = {times} * {g.batch}: "
                            f"{times} beams for each of {g.batch} samples?")
    if g.batch > w.batch and resized(lambda g, w: (g.rows, w.batch, g.width)):
        select = f"rnnkit.states.select({{}}, slice({w.batch}){option})"
        found("state-batch", headline, new, f"{select}, if the first samples went on",
              evidence=f"{g.batch} > {w.batch}: probably left from a larger batch, as when the "
                       "last of an epoch is smaller")
    if (g.rows, g.width) == (w.rows, w.width):
        found("state-batch", headline, zeros)
    if g.rows != w.rows and (g.batch == w.batch or g.width == w.width):
        maybe = len(kept) == 1 and spec.kind == "layer" and g.batch == w.batch
        found("state-layers", f"{name} has {count(g.rows, 'row', 'rows')}, this layer carries "
              f"{w.rows}", zeros, f"if {name} is an output: {OUTPUT_FIX}" if maybe else "")
    if (g.rows, g.batch) != (w.rows, w.batch):
        found("state-sizes", f"{name} fits on no axis", zeros)
    headline = f"{name} is {g.width} wide, {width} is wanted"
    linear = f"torch.nn.Linear({g.width}, {w.width}) between the two"
    # A projection is narrower than what it projects.
    narrower = width.name == "hidden_size" or g.width < module.hidden_size
    if g.width == 2 * w.width and narrower:
        found("state-width", headline, linear, instead=spec.with_option(f"{width.name}={g.width}"),
              evidence=f"{g.width} is twice {w.width}: both directions side by side")
    found("state-width", headline, zeros, linear, evidence="" if narrower else
          f"{width} is the width of h, hidden_size that of c")
    # fmt: on


def _sentence(spec: CallSpec, shapes: list[Shape], wants: list[Any], place: int) -> str:
    """Return what torch says of this rank or size."""
    got, want, alone = shapes[place], wants[place], len(shapes) == 1
    rank = len(got)
    if spec.has_rows and rank == len(want):
        return f"Expected hidden{'' if alone else [place]} size {want}, got {list(got)}"
    if spec.kind == "step":
        return f"{spec.name}.step: Expected hx to be {len(want)}D, got {rank}D instead"
    if spec.has_rows:
        batched = "unbatched 2-D" if spec.batch is None else "batched 3-D"
        came = ", ".join(f"{len(shape)}-D" for shape in shapes)
        came, both = (f"{came} tensor", "hx") if alone else (f"({came}) tensors", "hx and cx")
        return f"For {batched} input, {both} should also be {batched[-3:]} but got {came}"
    if rank != len(want):
        expected = f"{len(want)}D" if rank in (1, 2) else "1D or 2D"
        member = "hidden" if alone else f"hx[{place}]"
        return f"{spec.name}: Expected {member} to be {expected}, got {rank}D instead"
    if got[0] != want[0] and rank > 1:
        return f"Input batch size {want[0]} doesn't match hidden{place} batch size {got[0]}"
    return f"hidden{place} has inconsistent hidden_size: got {got[-1]}, expected {want[-1]}"


def check_batch(spec: CallSpec, hx: Any) -> None:
    """Check that each tensor of a third-party cell's state has the batch of the input."""

    def compare(tensor: Tensor) -> Tensor:
        shape, code, fix = tuple(tensor.shape), "state-cell-batch", "hx=None"
        if has_batch(tensor, spec.batch):
            return tensor
        if spec.state != "hx":
            fix = f"None as {spec.state}"
        elif hasattr(spec.module, "initial_state"):
            fix = f"hx=None or cell.initial_state({spec.batch})"
        headline, error = "a cell's state has the batch on axis 0", cast("Any", StateError)
        rows = [("fix", f"{fix}, if the sequences are new")]
        if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
            headline += ", a layer's on axis 1"
            rows = [("fix", "rnnkit.states.to_layers(hx)[0], if it is the state of a layer")]
        elif shape[:1] == (spec.seq,):
            code, error = spec.layout_code, LayoutError
            evidence = f"hx has batch {shape[0]}, which is axis {{axis}} of the input"
            headline, rows = spec.other_layout(evidence)
        came = ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}"))
        sentence = f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}"
        facts = ((spec.batch,), shape)
        rows = [spec.input_row, came, *rows]
        return spec.refuse(code, error, "hx", sentence, headline, *rows, facts=facts)

    map_state(compare, hx)
