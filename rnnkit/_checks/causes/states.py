"""What is wrong with a hidden state: its tensors, their sizes, their dtypes or devices."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, ShapeError, StateError
from rnnkit._base.message import Cause, raise_for, wanted
from rnnkit._base.state import BATCHED, map_state
from rnnkit._checks.call_spec import CallSpec, agree, sizes, spell
from rnnkit._checks.causes import moves
from rnnkit._checks.causes.inputs import input_row, rows_of
from rnnkit._checks.causes.moves import Fit, Move, Pair, Shape, mends
from rnnkit._checks.causes.structures import diagnose_structure, outlined
from rnnkit._checks.cell_guards import has_batch
from rnnkit._checks.guards import has_own_dtype
from rnnkit._checks.odd_tensors import is_odd, not_dense, parts_of

SWAPPED = Move(
    "state-swapped", "h and c are in the other order", lambda *_: None,
    instead=("{spec.state}[::-1], h first",), evidence="each has the shape of the other",
)  # fmt: skip


def diagnose_state(spec: CallSpec, hx: Any, input: Tensor) -> Cause | None:
    """Find what is wrong with a state: its sizes, else its layout, its dtype or its device."""
    cause = diagnose_sizes(spec, hx)
    state = parts_of(hx)
    for place in range(0 if cause else len(state)):
        if is_odd(state[place]):
            return not_dense(spec.module, state[place], "hx")
        cause = cause or state_numbers(spec, state, place, input)
    return cause


def diagnose_sizes(spec: CallSpec, hx: Any) -> Cause | None:
    """Find what is wrong with the tensors of a state, except for their numbers."""
    if spec.kind not in ("cell", "step") and _are_counts(hx):
        return _lengths_as_state(spec, hx)
    state: Any = (hx,) if len(spec.state_axes) == 1 else hx
    if not (
        isinstance(state, tuple)
        and len(state) == len(spec.state_axes)
        and all(isinstance(tensor, Tensor) for tensor in state)
    ):
        return diagnose_structure(spec, hx)
    shapes = [tuple(tensor.shape) for tensor in state]
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    return None if shapes == wants else _explain(spec, state, shapes, wants)


def _explain(spec: CallSpec, hx: Any, shapes: list[Shape], wants: list[Any]) -> Cause:
    """Find the Move that makes a state fit."""
    fit = fit_of(spec, hx)
    place = fit.kept.index(False)
    wrong = [
        moves.pair_of(spec, shapes[k], wants[k]) for k, kept in enumerate(fit.kept) if not kept
    ]
    move = SWAPPED if shapes[::-1] == wants else _mending(spec, wrong, any(fit.kept))
    facts = moves.Facts(spec, fit, wrong[0], spec.state_axes[place][-1])

    def written(text: str) -> str:
        text = text.format_map(facts) if "{" in text else text
        if text.startswith("<"):  # an option of the constructor
            option, _, rest = text[1:].partition(">")
            return spec.with_option(option) + rest
        return fit.typed(text) if "{}" in text else text

    fixes = [*move.typed, *(() if any(fit.kept) else move.instead)]
    members = [
        (name, wanted(spell(axes), f"{shape}"))
        for name, axes, shape in zip(spec.state_names, spec.state_axes, shapes, strict=True)
    ]
    return spec.cause(
        written(move.code), move.error, "hx", _sentence(spec, shapes, wants, place),
        written(move.headline), input_row(spec), *members,
        *rows_of(written(move.evidence), map(written, fixes)), facts=(wants[place], shapes[place]),
    )  # fmt: skip


def _mending(spec: CallSpec, wrong: list[Pair], kept: bool) -> Move:
    """Return the first Move that mends a state; zeros mend what is wrong in several ways."""
    return next(
        move
        for k, move in enumerate(moves.MOVES)
        # What changes the call makes a tensor that fits wrong.
        if (move.typed or not kept)
        and mends(move, spec, wrong[0])
        and (
            (move.typed and k not in moves.CHANGES)
            or all(mends(move, spec, pair) for pair in wrong[1:])
        )
    )


def fit_of(spec: CallSpec, hx: Sequence[Tensor], *, place: int | None = None) -> Fit:
    """Return which tensors of a state fit, or all but the one at a place; meta has no numbers."""
    kept = tuple(
        k != place and tuple(tensor.shape) == sizes(axes) and not tensor.is_meta
        for k, (tensor, axes) in enumerate(zip(hx, spec.state_axes, strict=True))
    )
    return Fit(kept, spec.state_names, spec.state)


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


def _are_counts(hx: Any) -> bool:
    """Return whether a state is integers, which no state is made of."""
    if isinstance(hx, Tensor):
        return hx.dim() == 1 and not (hx.is_floating_point() or hx.is_complex())
    return isinstance(hx, (tuple, list)) and len(hx) > 0 and all(type(part) is int for part in hx)


def _lengths_as_state(spec: CallSpec, hx: Any) -> Cause:
    run = f"{spec.name}(cell, input" if spec.kind == "unrolled" else "layer(input"
    what, fix = "integers, as lengths are", f"{run}, lengths=hx): lengths are given by name"
    if isinstance(hx, Tensor) and hx.dtype is torch.bool:
        what, fix = "booleans", "hx=None for zeros"
        if spec.batch is None and len(hx) == spec.seq:
            fix = f"{run}, reset=hx): resets are given by name"
        elif len(hx) == spec.batch:
            fix = "rnnkit.states.reset(state, hx), if these samples start again from zeros"
    return spec.cause(
        "lengths-as-state", StateError, "hx", f"hx must be a state, got {outlined(hx)}",
        f"the second argument is the state, and it holds {what}", input_row(spec), ("fix", fix),
        facts=(sizes(spec.state_axes[0]), tuple(hx.shape) if isinstance(hx, Tensor) else ()),
    )  # fmt: skip


def check_batch(spec: CallSpec, hx: Any) -> None:
    """Check that each tensor of a third-party cell's state has the batch of the input."""

    def compare(tensor: Tensor) -> Tensor:
        if not has_batch(tensor, spec.batch):
            raise_for(_other_batch(spec, hx, tuple(tensor.shape)))
        return tensor

    map_state(compare, hx)


def _other_batch(spec: CallSpec, hx: Any, shape: Shape) -> Cause:
    code, headline = "state-cell-batch", "a cell's state has the batch on axis 0"
    error: type[ShapeError] = StateError
    rows = rows_of("", [f"{_first_of(spec, hx)}, if the sequences are new"])
    if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
        headline += ", a layer's on axis 1"
        rows = [("fix", "rnnkit.states.to_layers(hx)[0], if it is the state of a layer")]
    elif shape[:1] == (1,):
        expand = f"rnnkit.states.expand(hx, {spec.batch}), if all samples start from it"
        rows = rows_of("", [expand, rows[0][1]])
    elif shape[:1] == (spec.seq,):
        code, error = spec.layout_code, LayoutError
        evidence = f"hx has batch {shape[0]}, which is axis {{axis}} of the input"
        headline, rows = spec.other_layout(evidence)
    came = ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}"))
    sentence = f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}"
    facts = ((spec.batch,), shape)
    return spec.cause(
        code, error, "hx", sentence, headline, input_row(spec), came, *rows, facts=facts
    )


def _first_of(spec: CallSpec, hx: Any) -> str:
    """Write a third-party cell's initial state, where a tensor has the wrong batch."""
    words = "" if spec.state == "hx" else f" as {spec.state}"
    none = f"None{words}" if words else "hx=None"
    if not hasattr(spec.module, "initial_state"):
        return none
    first = f"{'layer' if words else 'cell'}.initial_state({spec.batch}){spec.state[2:]}"
    fitting = [has_batch(part, spec.batch) for part in hx] if isinstance(hx, tuple) else []
    if not any(fitting):
        return f"{none}{',' if words else ''} or {first}"
    each = [f"{spec.state if fits else first}[{k}]" for k, fits in enumerate(fitting)]
    return f"({', '.join(each)}){words}"


def state_numbers(spec: CallSpec, hx: Sequence[Tensor], place: int, input: Tensor) -> Cause | None:
    """Find what is wrong with one tensor of a state beside its shape: its dtype or its device."""
    name, tensor = spec.state_names[place], hx[place]
    own = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=spec.kind == "cell")
    if not (own or agree(tensor.dtype, input.dtype)):
        return spec.cause(
            "state-dtype", DtypeError, "hx",
            f"hx dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
            "state and input differ in dtype", (name, wanted(f"{input.dtype}", f"{tensor.dtype}")),
            ("fix", f"rnnkit.states.to(hx, {input.dtype})"),
        )  # fmt: skip
    if tensor.device == input.device:
        return None
    fix = f"rnnkit.states.to(hx, input.{'data.' if spec.kind == 'packed' else ''}device)"
    if tensor.is_meta:
        fix = f"{fit_of(spec, hx, place=place).zeros(spec)}; a tensor on meta has no numbers"
    return spec.cause(
        "state-device", DeviceError, "hx",
        "Input and hidden tensors are not at the same device, found input tensor at "
        f"{input.device} and hidden tensor at {tensor.device}",
        "state and input are on different devices",
        (name, wanted(f"on {input.device}", f"{tensor.device}")), ("fix", fix),
    )  # fmt: skip
