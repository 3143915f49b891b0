"""What is wrong with a hidden state: its structure, its sizes, its dtype or device."""

from typing import Any, NoReturn

from torch import Tensor

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, StateError
from rnnkit._base.message import wanted
from rnnkit._base.state import BATCHED, PAIR, map_state, tensors_of
from rnnkit._checks.call_spec import CallSpec, RefusalCause, check_dense, dtypes_agree, sizes, spell
from rnnkit._checks.causes import moves, structure
from rnnkit._checks.causes.wrong_state import Shape, WrongState
from rnnkit._checks.guards import has_own_dtype
from rnnkit._checks.objects import tensors_in


def check_state_tensors(spec: CallSpec, hx: Any, input: Tensor) -> None:
    """Refuse a state of the right sizes unless it is dense, of the input's dtype and device."""
    for name, tensor in zip(spec.state_names, tensors_of(hx), strict=True):
        if tensor is not None:
            check_dense(spec.module, tensor, "hx")
            _check_dtype(spec, name, tensor, input)


def _check_dtype(spec: CallSpec, name: str, tensor: Tensor, input: Tensor) -> None:
    """Refuse the tensor ``name``, h or c, of a state for its dtype or device.

    c may have a dtype of its own where torch's kernel takes it.
    """
    is_cell = spec.kind == "cell"
    is_own = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=is_cell)
    if not is_own and not dtypes_agree(tensor, input.dtype):
        fix = f"rnnkit.states.to(hx, {input.dtype})"
        spec.refuse(
            DtypeError,
            "hx",
            f"{name} dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
            RefusalCause("state-dtype", "the state and the input have different dtypes", fix),
        )
    if tensor.device != input.device:
        data = "input.data" if spec.kind == "packed" else "input"
        fix = f"rnnkit.states.to(hx, {data}.device)"
        spec.refuse(
            DeviceError,
            "hx",
            "Input and hidden tensors are not at the same device, "
            f"found input tensor at {input.device} and hidden tensor at {tensor.device}",
            RefusalCause(
                "state-device",
                f"the state is on {tensor.device}, but the input is on {input.device}",
                fix,
            ),
        )


def check_sizes(spec: CallSpec, hx: Any) -> None:
    """Refuse a state that is not made of the module's tensors, or whose shapes are wrong.

    It is a tensor or, of an LSTM, the pair (h, c), where each may be None; None alone is zeros.
    """
    if hx is None:  # zeros
        return
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    state: tuple[Any, ...] = (hx,)
    if len(wants) == PAIR:
        state = tuple(hx) if isinstance(hx, (tuple, list)) else ()
    # A None in the pair stands for zeros of the right shape.
    kinds = (Tensor, type(None)) if len(wants) == PAIR else Tensor  # of an LSTM, and of others
    if len(state) != len(wants) or not all(isinstance(part, kinds) for part in state):
        structure.refuse_structure(spec, hx)
    shapes = [tuple(w if t is None else t.shape) for t, w in zip(state, wants, strict=True)]
    if shapes != wants:
        _refuse_sizes(WrongState(spec, shapes, wants))


def _refuse_sizes(wrong: WrongState) -> NoReturn:
    """Find what makes a state fit, and raise an error that says it.

    ``wrong`` has the shapes of the state's tensors, the wanted ones, and the call they came in.
    """
    spec = wrong.spec
    cause = moves.cause_of(wrong)
    # If one tensor of a pair fits, another layer, written Name(..., option), would make it wrong.
    fixes = [fix for fix in cause.fixes if wrong.is_whole or "(..., " not in fix]
    typed = [wrong.typed(fix) if "{}" in fix else fix for fix in fixes]
    if spec.state != "hx":  # of one cell of several
        typed = [f"None as {spec.state}, to start from zeros"]
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
    """Return what torch says of a state of this wrong rank or size, for a layer, step or cell.

    ``wrong`` has the shapes that came and those that are wanted.
    """
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
    """Return what torch says of a state of the wrong rank for a layer; ``wrong`` has its shapes."""
    batched = "batched 3-D" if wrong.spec.batch is not None else "unbatched 2-D"
    expected = batched[-3:]
    came = ", ".join(f"{len(shape)}-D" for shape in wrong.shapes)
    start = f"For {batched} input,"
    if len(wrong.shapes) == PAIR:
        return f"{start} hx and cx should also be {expected} but got ({came}) tensors"
    return f"{start} hx should also be {expected} but got {came} tensor"


def _sentence_of_cell(wrong: WrongState) -> str:
    """Return what torch says of a cell's state of a wrong rank or size, in ``wrong``."""
    got = wrong.got
    want = wrong.want
    place = wrong.place
    if len(got) != len(want):
        expected = f"{len(want)}D" if len(got) in (1, 2) else "1D or 2D"
        member = f"hx[{place}]" if len(wrong.shapes) == PAIR else "hidden"
        return f"{wrong.spec.name}: Expected {member} to be {expected}, got {len(got)}D instead"
    if len(got) > 1 and got[0] != want[0]:
        return f"Input batch size {want[0]} doesn't match hidden{place} batch size {got[0]}"
    axis, size = wrong.width
    came = wrong.sizes[0][0].width
    return f"hidden{place} has inconsistent {axis}: got {came}, expected {size}"


def check_batch(spec: CallSpec, hx: Any) -> None:
    """Check that each tensor of a third-party cell's state has the batch of the input on axis 0."""
    map_state(lambda tensor: tensor, hx)  # it refuses anything else than a state
    shapes = [tuple(tensor.shape) for tensor in tensors_in(hx)]
    for shape in shapes or [()]:
        if shape[:1] != (spec.batch,):
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
    """Return why axis 0 of a tensor ``shape`` of a user's state is not the batch.

    It may be a layer's state, laid out for the other order of seq and batch, or for another batch.
    """
    code = "state-cell-batch"
    headline = "a cell's state has the batch on axis 0"
    if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
        return RefusalCause(
            code,
            f"{headline}; only a layer's state has it on axis 1",
            "rnnkit.states.to_layers(hx)[0], if it is the state of a layer",
        )
    if shape[:1] == (spec.seq,):
        return spec.other_layout(f"hx has batch {shape[0]}")
    return RefusalCause(code, headline, f"None as {spec.state}, if the sequences are new")
