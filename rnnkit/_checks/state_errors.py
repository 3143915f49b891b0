"""What is wrong with a hidden state, on what evidence, and what to type."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import LayoutError, ShapeError, StateError
from rnnkit._base.message import Cause, Row, count, raise_for, reshaped, wanted
from rnnkit._base.state import BATCHED, map_state
from rnnkit._checks.call_spec import CallSpec, sizes, spell
from rnnkit._checks.dtype_errors import state_dtype_or_device
from rnnkit._checks.input_errors import input_row
from rnnkit._checks.odd_tensors import is_odd, not_dense, parts_of
from rnnkit._checks.state_fixes import fits, from_zeros, on_state
from rnnkit._checks.state_size_errors import explain_size, torch_sentence
from rnnkit._checks.state_structure_errors import diagnose_structure, outlined


def diagnose_state(spec: CallSpec, hx: Any, input: Tensor) -> Cause | None:
    """Find what is wrong with a state: its sizes, else its layout, its dtype or its device."""
    cause = diagnose_sizes(spec, hx)
    state = parts_of(hx)
    for place in range(0 if cause else len(state)):
        if is_odd(state[place]):
            return not_dense(spec.module, state[place], "hx")
        cause = cause or state_dtype_or_device(spec, state, place, input)
    return cause


def diagnose_sizes(spec: CallSpec, hx: Any) -> Cause | None:
    """Find what is wrong with the tensors of a state, but for their numbers.

    Returns:
        A StateError if it is not the tensors that the module carries, or one has another rank or
        size; a LayoutError if its batch is another axis of the input.
    """
    if spec.kind not in ("cell", "step") and _are_counts(hx):
        return _lengths_as_state(spec, hx)
    state: Any = (hx,) if len(spec.state_axes) == 1 else hx
    if not (
        isinstance(state, tuple)
        and len(state) == len(spec.state_axes)
        and all(isinstance(tensor, Tensor) for tensor in state)
    ):
        return diagnose_structure(spec, hx)
    for place, tensor in enumerate(state):
        if tensor.dim() != len(spec.state_axes[place]):
            return _other_rank(spec, state, place)
    for place, tensor in enumerate(state):
        if tuple(tensor.shape) != sizes(spec.state_axes[place]):
            return _other_size(spec, state, place)
    return None


def _are_counts(hx: Any) -> bool:
    """Say whether a state is integers, of which none is made."""
    if isinstance(hx, Tensor):
        return hx.dim() == 1 and not (hx.is_floating_point() or hx.is_complex())
    return isinstance(hx, (tuple, list)) and len(hx) > 0 and all(type(part) is int for part in hx)


def _lengths_as_state(spec: CallSpec, hx: Any) -> Cause:
    of_mask = isinstance(hx, Tensor) and hx.dtype is torch.bool
    what = "booleans" if of_mask else "integers, as lengths are"
    run = f"{spec.name}(cell, input" if spec.kind == "unrolled" else "layer(input"
    fix = f"{run}, lengths=hx): lengths are given by name"
    if of_mask:
        fix = "hx=None for zeros"
        if spec.batch is None and len(hx) == spec.seq:
            fix = f"{run}, reset=hx): resets are given by name"
        elif len(hx) == spec.batch:
            fix = "rnnkit.states.reset(state, hx), if these samples start again from zeros"
    return Cause(
        "lengths-as-state",
        StateError,
        "hx",
        f"hx must be a state, got {outlined(hx)}",
        f"{spec.described}: the second argument is the state, and it holds {what}",
        (input_row(spec), ("fix", fix)),
        (sizes(spec.state_axes[0]), tuple(hx.shape) if isinstance(hx, Tensor) else ()),
    )


def check_batch(spec: CallSpec, hx: Any) -> None:
    """Hold each tensor of a third-party cell's state to the batch of the input."""

    def compare(tensor: Tensor) -> Tensor:
        if not _has_batch(spec, tensor):
            raise_for(_other_batch(spec, hx, tuple(tensor.shape)))
        return tensor

    map_state(compare, hx)


def _has_batch(spec: CallSpec, tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and tuple(tensor.shape)[:1] == (spec.batch,)


def _first_of(spec: CallSpec, hx: Any) -> str:
    """Write a third-party cell's first state, in place of what has another batch."""
    words = "" if spec.state == "hx" else f" as {spec.state}"
    if not hasattr(spec.module, "initial_state"):
        return f"None{words}" if words else "hx=None"
    first = f"{'layer' if words else 'cell'}.initial_state({spec.batch}){spec.state[2:]}"
    fitting = [_has_batch(spec, part) for part in hx] if isinstance(hx, tuple) else []
    if any(fitting):
        each = [f"{spec.state if fits else first}[{k}]" for k, fits in enumerate(fitting)]
        return f"({', '.join(each)}){words}"
    return f"None{words}, or {first}" if words else f"hx=None or {first}"


def _other_batch(spec: CallSpec, hx: Any, shape: tuple[int, ...]) -> Cause:
    code = "state-cell-batch"
    error: type[ShapeError] = StateError
    headline = "a cell's state has the batch on axis 0"
    rows = [("fix", f"{_first_of(spec, hx)}, if the sequences are new")]
    if shape[:1] == (1,):
        expand = f"rnnkit.states.expand(hx, {spec.batch}), if all samples start from it"
        rows = [("fix", expand), ("", rows[0][1])]
    if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
        headline = f"{headline}, a layer's on axis 1"
        rows = [("fix", "rnnkit.states.to_layers(hx)[0], if it is the state of a layer")]
    elif shape[:1] == (spec.seq,) != (1,):
        code, error = spec.layout_code, LayoutError
        evidence = f"hx has batch {shape[0]}, which is axis {{axis}} of the input"
        headline, rows = spec.other_layout(evidence)
    return Cause(
        code,
        error,
        "hx",
        f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}",
        f"{spec.described}: {headline}",
        (input_row(spec), ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}")), *rows),
        ((spec.batch,), shape),
    )


def _cause(
    code: str,
    error: type[ShapeError],
    spec: CallSpec,
    hx: Sequence[Tensor],
    place: int,
    sentence: str,
    headline: str,
    *rows: Row,
) -> Cause:
    members = [
        (spec.state_names[place], wanted(spell(axes), f"{tuple(hx[place].shape)}"))
        for place, axes in enumerate(spec.state_axes)
    ]
    headline = f"{spec.described}: {headline}"
    facts = (sizes(spec.state_axes[place]), tuple(hx[place].shape))
    return Cause(code, error, "hx", sentence, headline, (input_row(spec), *members, *rows), facts)


def _other_size(spec: CallSpec, hx: Sequence[Tensor], place: int) -> Cause:
    code, error, headline, rows = explain_size(spec, hx, place)
    return _cause(code, error, spec, hx, place, torch_sentence(spec, hx, place), headline, *rows)


def _rank_sentence(spec: CallSpec, hx: Sequence[Tensor], place: int) -> str:
    """Return what torch says of this rank."""
    ranks = [tensor.dim() for tensor in hx]
    if not spec.has_rows and ranks[place] in (1, 2):
        return torch_sentence(spec, hx, place)
    if not spec.has_rows:
        member = "hidden" if len(hx) == 1 else f"hx[{place}]"
        return f"{spec.name}: Expected {member} to be 1D or 2D, got {ranks[place]}D instead"
    if spec.kind == "step":
        wants = len(spec.state_axes[place])
        return f"{spec.name}.step: Expected hx to be {wants}D, got {ranks[place]}D instead"
    wants, batched = (2, "unbatched 2-D") if spec.batch is None else (3, "batched 3-D")
    came = f"{ranks[0]}-D tensor" if len(hx) == 1 else f"({ranks[0]}-D, {ranks[1]}-D) tensors"
    both = "hx" if len(hx) == 1 else "hx and cx"
    return f"For {batched} input, {both} should also be {wants}-D but got {came}"


def _other_rank(spec: CallSpec, hx: Sequence[Tensor], place: int) -> Cause:
    name, tensor = spec.state_names[place], hx[place]
    sentence = _rank_sentence(spec, hx, place)
    if _lacks_seq(spec, tensor) and not fits(spec, hx, 1 - place):
        evidence = f"{name} has batch {spec.actual[0]}, which is axis 0 of the input"
        rows = [
            ("evidence", evidence),
            ("fix", f"input.unsqueeze({1 if spec.batch_first else 0})"),
        ]
        headline = "the input is read as one unbatched sequence, but it looks like a batch"
        return _cause("layout-unbatched", LayoutError, spec, hx, place, sentence, headline, *rows)
    axes = spec.state_axes[place]
    headline = f"{name} has {count(tensor.dim(), 'axis', 'axes')} in place of {len(axes)}"
    change = reshaped("{}", tensor.shape, sizes(axes))
    if spec.has_rows and spec.batch is None and not spec.state_batch_first and _is_last(change):
        change = None  # the last of the layers, of each of as many samples
    fix = f"{from_zeros(spec, hx, place)}, or {name} as {spell(axes)}"
    if not spec.has_rows and tensor.dim() == BATCHED:
        directions, batch, width = tensor.shape
        if directions == 2 and (batch, 2 * width) == sizes(axes):
            change = "{}.transpose(0, 1).flatten(1), if these are the two directions of a layer"
    if change is not None:
        fix = on_state(spec, hx, place, change)
    return _cause("state-rank", StateError, spec, hx, place, sentence, headline, ("fix", fix))


def _is_last(change: str | None) -> bool:
    return change is not None and change.startswith("{}[-1]")


def _lacks_seq(spec: CallSpec, tensor: Tensor) -> bool:
    """Say whether an unbatched input comes with the state of a batch as long as its axis 0."""
    # A layer that reads a batch refuses no rank of 3.
    if spec.kind != "layer" or tensor.dim() != 3:
        return False
    batch_axis = 0 if spec.state_batch_first else 1
    return tensor.shape[batch_axis] == spec.actual[0] != 1
