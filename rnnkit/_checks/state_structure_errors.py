"""Why a hidden state is not the tensors that a module carries: the probable cause and its fix."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import StateError
from rnnkit._base.message import Cause, bounded, brief, reshaped
from rnnkit._base.state import BATCHED, PAIR
from rnnkit._checks.call_spec import CallSpec, sizes, spell
from rnnkit._checks.masks import tensor_or_none
from rnnkit._checks.state_size_errors import OUTPUT_FIX, is_output

Shape = tuple[int | None, ...]


def diagnose_structure(spec: CallSpec, hx: object) -> Cause:
    """Say that a state is not made of the tensors that the module carries."""
    one = len(spec.state_axes) == 1
    h, c = spell(spec.state_axes[0]), spell(spec.state_axes[-1])
    pair = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    sentence = "hx must be one tensor" if one else "lstm expects two hidden states: hx is (h, c)"
    fix = _fix_one(spec, hx) if one else _fix_pair(spec, hx)
    if fix is None:
        none = "hx=None" if spec.state == "hx" else f"None as {spec.state}"
        fix = f"{none} for zeros" if one else f"{none} for zeros, or (h, c)"
    elif spec.state != "hx":
        fix = re.sub(r"\bhx\b", spec.state, fix) + f", as {spec.state}"
    return Cause(
        "state-structure",
        StateError,
        "hx",
        f"{sentence}, got {outlined(hx)}",
        f"{spec.described} carries {'one tensor' if one else 'the pair (h, c)'}",
        (("hx", f"expected {h if one else pair}"), ("fix", fix)),
        (sizes(spec.state_axes[0]), tuple(hx.shape) if isinstance(hx, Tensor) else ()),
    )


def outlined(hx: object) -> str:
    """Name a state, and the parts that it has."""
    if isinstance(hx, tuple | list) and hx:
        inside = ", ".join(
            str(tuple(part.shape)) if isinstance(part, Tensor) else bounded(type(part).__name__, 20)
            for part in hx[:4]
        )
        more = ", ..." if len(hx) > 4 else ""
        return f"a {type(hx).__name__} of {len(hx)}: {inside}{more}"
    return brief(hx)


def _fix_one(spec: CallSpec, hx: Any) -> str | None:
    """Write what makes one tensor of this; None if nothing does."""
    want = sizes(spec.state_axes[0])
    if not isinstance(hx, tuple | list):
        return _as_tensor(spec, "hx") if hasattr(hx, "__array__") else None
    fitting = [place for place, part in enumerate(hx) if _shape(part, numbers=False) == want]
    if fitting == [1] and len(hx) == PAIR:
        return "hx[1], if this is a layer's result (output, state)"
    if fitting and len(hx) > 1:
        return "hx[0]" + (", if this is an LSTM's (h, c)" if len(hx) == PAIR else "")
    if _is_result(hx):
        return "hx[1][0], if this is an LSTM's result (output, (h, c))"
    return _tensor_of(spec, "hx", hx, want)


def _tensor_of(spec: CallSpec, name: str, part: Any, want: Shape) -> str | None:
    """Write what makes a tensor of this size of a part of a state; None if nothing does."""
    is_list = isinstance(part, tuple | list)
    if _shape(part) == want:
        return name if isinstance(part, Tensor) else _as_tensor(spec, name)
    if is_list and len(part) == 1 and (inner := _tensor_of(spec, f"{name}[0]", part[0], want)):
        return inner
    if not is_list or not part or not all(isinstance(one, Tensor) for one in part):
        return None
    shapes = {tuple(one.shape) for one in part}
    first, rows = tuple(part[0].shape), len(part)
    parted = "layer by layer" if spec.has_rows else "sample by sample"
    axis = 1 if spec.has_rows and spec.state_batch_first and len(want) == BATCHED else 0
    if len(shapes) == 1 and (*first[:axis], rows, *first[axis:]) == want:
        return f"torch.stack({name}{', 1' * axis}), if these are the states {parted}"
    if (
        len(shapes) == 1
        and len(first) > axis
        and (*first[:axis], rows * first[axis], *first[axis + 1 :]) == want
    ):
        return f"torch.cat({name}{', 1' * axis}), if these are the states {parted}"
    return None


def _fix_pair(spec: CallSpec, hx: Any) -> str | None:
    """Write what makes a pair of this; None if nothing does."""
    wants = [sizes(axes) for axes in spec.state_axes]
    if isinstance(hx, Tensor):
        if all(tuple(hx.shape) == (PAIR, *want) for want in wants):
            return "tuple(hx), if h and c are stacked on axis 0"
        if is_output(spec, hx):
            return OUTPUT_FIX
        fix = "hx" if tuple(hx.shape) == wants[0] else reshaped("hx", hx.shape, wants[0])
        if fix is None:
            return None
        expression, comma, condition = fix.partition(", if")
        return f"({expression}, None), which starts c from zeros{comma}{condition}"
    if not isinstance(hx, tuple | list):
        return None
    if _is_result(hx):
        return "hx[1], if this is a layer's result (output, state)"
    if hx and all(map(_is_pair, hx)) and (fix := _fix_layers(spec, hx)):
        return fix
    if len(hx) > PAIR:
        whole = [_shape(part, numbers=False) for part in hx[:PAIR]] == wants
        return "hx[:2], if the first two are h and c" if whole else None
    made = [
        _tensor_of(spec, f"hx[{place}]", part, want)
        for place, (part, want) in enumerate(zip(hx, wants, strict=False))
    ]
    made += [None] * (PAIR - len(made))
    if not any(made):
        return None
    pair = ", ".join((one or "None").partition(", if")[0] for one in made)
    missing = [name for name, one in zip(spec.state_names, made, strict=True) if one is None]
    return f"({pair})" + (f", which starts {missing[0]} from zeros" if missing else "")


def _as_tensor(spec: CallSpec, name: str) -> str:
    """Write what makes a tensor of numbers, as the input is one."""
    return f"torch.as_tensor({name}).to({'input.data' if spec.kind == 'packed' else 'input'})"


def _is_pair(part: Any) -> bool:
    return (
        isinstance(part, tuple | list)
        and len(part) == PAIR
        and all(isinstance(one, Tensor) for one in part)
    )


def _is_result(hx: Sequence[Any]) -> bool:
    """Return whether this is what an LSTM returns."""
    return len(hx) == PAIR and isinstance(hx[0], Tensor | PackedSequence) and _is_pair(hx[1])


def _fix_layers(spec: CallSpec, hx: Sequence[Any]) -> str | None:
    """Write what joins pairs, layer by layer; None if that is not the layer's state."""
    behind = spec.state_batch_first and spec.batch is not None
    for axes, tensors in zip(spec.state_axes, zip(*hx, strict=True), strict=True):
        want = sizes(axes)
        if behind:
            want = (want[1], want[0], *want[2:])
        rows = 0
        for tensor in tensors:
            shape = tuple(tensor.shape)
            if len(shape) == len(want) - 1:
                shape = (1, *shape)
            if not spec.has_rows or len(shape) != len(want) or shape[1:] != want[1:]:
                return None
            rows += shape[0]
        if rows != want[0] or (len(want) < BATCHED and rows != len(tensors)):
            return None
    joined = "rnnkit.states.from_layers(hx)"
    joined = f"rnnkit.states.batch_first({joined})" if behind else joined
    return f"{joined}, if these are the states layer by layer"


def _shape(part: Any, *, numbers: bool = True) -> Shape | None:
    """Return the shape of a tensor, or of the numbers that an array or nested lists hold."""
    if isinstance(part, Tensor):
        return tuple(part.shape)
    leaf = part
    while isinstance(leaf, tuple | list) and leaf:
        leaf = leaf[0]
    is_number = isinstance(leaf, int | float) or hasattr(part, "__array__")
    made = tensor_or_none(part) if numbers and is_number else None
    return None if made is None else tuple(made.shape)
