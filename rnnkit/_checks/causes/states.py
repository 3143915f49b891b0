"""What is wrong with a hidden state: its structure, its sizes, its dtype or device."""

from typing import Any, NoReturn

from torch import Tensor

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, StateError
from rnnkit._base.message import wanted
from rnnkit._base.state import BATCHED, PAIR, map_state
from rnnkit._checks.arrays import holds_integers
from rnnkit._checks.call_spec import (
    CallSpec,
    RefusalCause,
    check_dense,
    dtypes_agree,
    parts_of,
    sizes,
    spell,
)
from rnnkit._checks.causes import moves, structure
from rnnkit._checks.causes.wrong_state import Shape, WrongState
from rnnkit._checks.guards import has_own_dtype
from rnnkit._checks.objects import has_batch


def check_state(spec: CallSpec, hx: Any, input: Tensor, *, only_sizes: bool = False) -> None:
    """Refuse a state of the wrong sizes, else layout, dtype or device; None for zeros is right."""
    if hx is None:
        return
    _check_sizes(spec, hx)
    if only_sizes:
        return
    for name, tensor in zip(spec.state_names, parts_of(hx), strict=True):
        if tensor is not None:
            check_dense(spec.module, tensor, "hx")
            _check_dtype(spec, name, tensor, input)


def _check_dtype(spec: CallSpec, name: str, tensor: Tensor, input: Tensor) -> None:
    """Refuse a tensor of a state for its dtype or device."""
    has_own = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=spec.kind == "cell")
    if not has_own and not dtypes_agree(tensor, input.dtype):
        fix = f"rnnkit.states.to(hx, {input.dtype})"
        spec.refuse(
            DtypeError,
            "hx",
            f"hx dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
            RefusalCause("state-dtype", "state and input have different dtypes", fix),
            (name, wanted(f"{input.dtype}", f"{tensor.dtype}")),
        )
    if tensor.device != input.device:
        data = "input.data" if spec.kind == "packed" else "input"
        fix = f"rnnkit.states.to(hx, {data}.device)"
        spec.refuse(
            DeviceError,
            "hx",
            "Input and hidden tensors are not at the same device, "
            f"found input tensor at {input.device} and hidden tensor at {tensor.device}",
            RefusalCause("state-device", "state and input have different devices", fix),
            (name, wanted(f"{input.device}", f"{tensor.device}")),
        )


def _check_sizes(spec: CallSpec, hx: Any) -> None:
    """Refuse a state that is not made of the module's tensors, or whose shapes are wrong."""
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    state: tuple[Any, ...] = (hx,)
    if len(wants) == PAIR:
        state = tuple(hx) if isinstance(hx, (tuple, list)) else ()
    # Asked first: torch has its own error for a parameter that has no shape yet.
    are_lengths = _are_lengths(hx) and spec.kind not in ("cell", "step")
    if are_lengths or len(state) != len(wants) or not _are_tensors(state):
        structure.refuse_structure(spec, hx, lengths=are_lengths)
    # None stands for zeros of the right shape.
    shapes = [tuple(w if t is None else t.shape) for t, w in zip(state, wants, strict=True)]
    if shapes != wants:
        _refuse_sizes(WrongState(spec, shapes, wants))


def _are_tensors(state: tuple[Any, ...]) -> bool:
    """Return whether a state is made of tensors; of a pair, None stands for zeros."""
    is_pair = len(state) == PAIR
    return all(isinstance(part, Tensor) or (is_pair and part is None) for part in state)


def _are_lengths(hx: Any) -> bool:
    """Return whether this is no state, but lengths: integers in a list or in a row."""
    if isinstance(hx, Tensor):
        return hx.dim() == 1 and len(hx) > 0 and holds_integers(hx)
    return isinstance(hx, (tuple, list)) and {type(part) for part in hx} == {int}


def _refuse_sizes(wrong: WrongState) -> NoReturn:
    """Find what makes a state fit, and refuse the state."""
    spec = wrong.spec
    cause = moves.cause_of(wrong)
    # What changes the layer makes a tensor that fits wrong.
    fixes = [fix for fix in cause.fixes if wrong.is_whole or "(..., " not in fix]
    typed = [wrong.typed(fix) if "{}" in fix else fix for fix in fixes]
    each = zip(spec.state_names, spec.state_axes, wrong.shapes, strict=True)
    spec.refuse(
        LayoutError if cause.is_layout else StateError,
        "hx",
        _sentence(wrong),
        RefusalCause(cause.code, cause.headline, *typed, evidence=cause.evidence),
        spec.input_row,
        *[(name, wanted(spell(axes), f"{shape}")) for name, axes, shape in each],
        expected=wrong.want,
        actual=wrong.got,
    )


def _sentence(wrong: WrongState) -> str:
    """Return what torch says of this rank or size."""
    spec = wrong.spec
    if spec.has_rows and len(wrong.got) == len(wrong.want):
        number = [wrong.place] if len(wrong.shapes) == PAIR else ""
        return f"Expected hidden{number} size {wrong.want}, got {list(wrong.got)}"
    if spec.kind == "step":
        expected = f"Expected hx to be {len(wrong.want)}D"
        return f"{spec.name}.step: {expected}, got {len(wrong.got)}D instead"
    if spec.has_rows:
        return _sentence_of_layer(wrong)
    return _sentence_of_cell(wrong)


def _sentence_of_layer(wrong: WrongState) -> str:
    """Return what torch says of a state of the wrong rank for a layer."""
    batched = "batched 3-D" if wrong.spec.batch is not None else "unbatched 2-D"
    expected = batched[-3:]
    came = ", ".join(f"{len(shape)}-D" for shape in wrong.shapes)
    start = f"For {batched} input,"
    if len(wrong.shapes) == PAIR:
        return f"{start} hx and cx should also be {expected} but got ({came}) tensors"
    return f"{start} hx should also be {expected} but got {came} tensor"


def _sentence_of_cell(wrong: WrongState) -> str:
    """Return what torch says of a state of the wrong rank or size for a cell."""
    got = wrong.got
    want = wrong.want
    place = wrong.place
    if len(got) != len(want):
        expected = f"{len(want)}D" if len(got) in (1, 2) else "1D or 2D"
        member = f"hx[{place}]" if len(wrong.shapes) == PAIR else "hidden"
        return f"{wrong.spec.name}: Expected {member} to be {expected}, got {len(got)}D instead"
    if len(got) > 1 and got[0] != want[0]:
        return f"Input batch size {want[0]} doesn't match hidden{place} batch size {got[0]}"
    came = wrong.sizes[0][0].width
    return f"hidden{place} has inconsistent hidden_size: got {came}, expected {wrong.width.size}"


def check_batch(spec: CallSpec, hx: Any) -> None:
    """Check that each tensor of a third-party cell's state has the batch of the input."""

    def compare(tensor: Tensor) -> Tensor:
        if not has_batch(tensor, spec.batch):
            _refuse_batch(spec, tuple(tensor.shape))
        return tensor

    map_state(compare, hx)


def _refuse_batch(spec: CallSpec, shape: Shape) -> NoReturn:
    """Refuse a tensor of a third-party cell's state for its first axis."""
    cause = _cause_of_batch(spec, shape)
    spec.refuse(
        LayoutError if cause.is_layout else StateError,
        "hx",
        f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}",
        cause,
        spec.input_row,
        ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}")),
        expected=(spec.batch,),
        actual=shape,
    )


def _cause_of_batch(spec: CallSpec, shape: Shape) -> RefusalCause:
    """Return why axis 0 of a state is not the batch."""
    code = "state-cell-batch"
    headline = "a cell's state has the batch on axis 0"
    if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
        return RefusalCause(
            code,
            f"{headline}, a layer's on axis 1",
            "rnnkit.states.to_layers(hx)[0], if it is the state of a layer",
        )
    if shape[:1] == (spec.seq,):
        return spec.other_layout(f"hx has batch {shape[0]}")
    new = f"None as {spec.state}"
    if spec.state == "hx":
        new = "hx=None"
        if hasattr(spec.module, "initial_state"):
            new += f" or cell.initial_state({spec.batch})"
    return RefusalCause(code, headline, f"{new}, if the sequences are new")
