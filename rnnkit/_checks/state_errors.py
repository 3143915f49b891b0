"""What is wrong with a hidden state, on what evidence, and what to type."""

from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, ShapeError, StateError
from rnnkit._base.message import Rows, brief, compose, count, reshaped, wanted
from rnnkit._base.state import PAIR, map_state
from rnnkit._checks.call_spec import CallSpec, agree, sizes, spell
from rnnkit._checks.state_size_errors import find_cause, torch_sentence

Shape = tuple[int | None, ...]
Shapes = list[tuple[int, ...] | None]


def refuse_structure(spec: CallSpec, hx: object) -> NoReturn:
    """Refuse a state that is not made of the tensors that the module carries.

    Raises:
        StateError: always.
    """
    one = len(spec.state_axes) == 1
    h, c = spell(spec.state_axes[0]), spell(spec.state_axes[-1])
    pair = f"(h, c), each {h}" if h == c else f"(h, c), h {h} and c {c}"
    came = _outline(hx)
    sentence = "hx must be one tensor" if one else "lstm expects two hidden states: hx is (h, c)"
    raise StateError(
        compose(
            f"{sentence}, got {came}",
            f"{spec.described} carries {'one tensor' if one else 'the pair (h, c)'}",
            [
                ("hx", f"expected {h if one else pair}"),
                ("fix", _fix_structure(spec, hx, one=one)),
            ],
        ),
        "hx",
        sizes(spec.state_axes[0]),
        tuple(hx.shape) if isinstance(hx, Tensor) else (),
    )


def _outline(hx: object) -> str:
    if isinstance(hx, tuple | list) and hx:
        inside = ", ".join(
            str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
            for part in hx[:4]
        )
        more = ", ..." if len(hx) > 4 else ""
        return f"a {type(hx).__name__} of {len(hx)}: {inside}{more}"
    return brief(hx)


def _fix_structure(spec: CallSpec, hx: object, *, one: bool) -> str:
    zeros = "hx=None for zeros" if one else "hx=None for zeros, or (h, c)"
    wants = [sizes(axes) for axes in spec.state_axes]
    if isinstance(hx, Tensor):
        if all(tuple(hx.shape) == (PAIR, *want) for want in wants):
            return "tuple(hx), if h and c are stacked on axis 0"
        fix = "hx" if tuple(hx.shape) == wants[0] else reshaped("hx", hx.shape, wants[0])
        if fix is None:
            return zeros
        expression, comma, condition = fix.partition(", if")
        return f"({expression}, None), which starts c from zeros{comma}{condition}"
    if not isinstance(hx, tuple | list):
        return "torch.as_tensor(hx)" if hasattr(hx, "__array__") and one else zeros
    parts = list(hx)
    if len(parts) == 2 and isinstance(parts[0], Tensor | PackedSequence) and _nested(parts[1]):
        return "hx[1], if this is a layer's result (output, state)"
    if parts and all(map(_nested, parts)):
        return "rnnkit.states.from_layers(hx), if these are the states layer by layer"
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else None for part in parts]
    parted = "layer by layer" if spec.has_rows else "sample by sample"
    fix = _fix_one(shapes, wants[0], parted) if one else _fix_pair(shapes, wants)
    return fix or zeros


def _nested(part: object) -> bool:
    return isinstance(part, tuple | list)


def _fix_one(shapes: Shapes, wants: Shape, parted: str) -> str | None:
    fitting = [place for place, shape in enumerate(shapes) if shape == wants]
    if len(fitting) == 1 and len(shapes) == PAIR and fitting[0] == 1:
        return "hx[1], if this is a layer's result (output, state)"
    if fitting:
        return "hx[0]" + (", if this is an LSTM's (h, c)" if len(shapes) == PAIR else "")
    if len(set(shapes)) != 1 or shapes[0] is None:
        return None
    first, rows = shapes[0], len(shapes)
    if (rows, *first) == wants:
        return f"torch.stack(hx), if these are the states {parted}"
    if first and (rows * first[0], *first[1:]) == wants:
        return f"torch.cat(hx), if these are the states {parted}"
    return None


def _fix_pair(shapes: Shapes, wants: Sequence[Shape]) -> str | None:
    if shapes[:PAIR] == wants:  # the right pair alone is refused nowhere
        return "hx[:2], if the first two are h and c"
    if shapes[:1] == wants[:1] and len(shapes) <= PAIR:
        return "(hx[0], None), which starts c from zeros"
    return None


def diagnose_state(spec: CallSpec, hx: Any, input: Tensor) -> None:
    """Find what is wrong with a state.

    Raises:
        StateError: if it is not the tensors that the module carries, or one has another rank or
            size.
        LayoutError: if the state's batch is another axis of the input.
        DtypeError: if its numbers are of another dtype than the input's.
        DeviceError: if it lies on another device.
    """
    state: Any = (hx,) if len(spec.state_axes) == 1 else hx
    if not (
        isinstance(state, tuple)
        and len(state) == len(spec.state_axes)
        and all(isinstance(tensor, Tensor) for tensor in state)
    ):
        refuse_structure(spec, hx)
    for place, tensor in enumerate(state):
        if tensor.dim() != len(spec.state_axes[place]):
            _refuse_rank(spec, state, place)
    for place, tensor in enumerate(state):
        if tuple(tensor.shape) != sizes(spec.state_axes[place]):
            _refuse_size(spec, state, place)
    for place, tensor in enumerate(state):
        name = spec.state_names[place]
        if not agree(tensor.dtype, input.dtype) and not _is_wider_c(spec, name, tensor):
            raise DtypeError(
                compose(
                    f"hx dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
                    f"{spec.described}: state and input differ in dtype",
                    [
                        (name, wanted(f"{input.dtype}", f"{tensor.dtype}")),
                        ("fix", f"{name}.to({input.dtype})"),
                    ],
                ),
                "hx",
            )
        if tensor.device != input.device:
            where = f"input tensor at {input.device} and hidden tensor at {tensor.device}"
            raise DeviceError(
                compose(
                    f"Input and hidden tensors are not at the same device, found {where}",
                    f"{spec.described}: state and input lie on different devices",
                    [
                        (name, wanted(f"on {input.device}", f"{tensor.device}")),
                        ("fix", f"{name}.to(input.device), or zeros with device=input.device"),
                    ],
                ),
                "hx",
            )


def _is_wider_c(spec: CallSpec, name: str, tensor: Tensor) -> bool:
    """Say whether a cell's c is kept in a dtype of its own, which torch's CPU kernel takes."""
    return (
        spec.kind == "cell"
        and name == "c"
        and tensor.is_floating_point()
        and tensor.device.type == "cpu"
    )


def diagnose_batch(spec: CallSpec, hx: Any) -> None:
    """Find a tensor in a third-party cell's state that has another batch than the input.

    Raises:
        StateError: if there is one.
        LayoutError: if its batch is the input's seq axis.
    """

    def compare(tensor: Tensor) -> Tensor:
        shape = tuple(tensor.shape)
        if shape[:1] == (spec.batch,):
            return tensor
        rows: Rows = [
            ("input", wanted(spell(spec.input_axes), f"{spec.actual}")),
            ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}")),
        ]
        error: type[ShapeError] = StateError
        headline = "a cell's state has the batch on axis 0"
        if shape[:1] == (spec.seq,):
            error = LayoutError
            evidence = f"hx has batch {shape[0]}, which is axis {{axis}} of the input"
            headline, fix = spec.other_layout(evidence)
            rows += fix
        else:
            rows.append(("fix", f"initial_state({spec.batch}) of this cell, or hx=None"))
        sentence = f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}"
        text = compose(sentence, f"{spec.described}: {headline}", rows)
        raise error(text, "hx", (spec.batch,), shape)

    map_state(compare, hx)


def _rows(spec: CallSpec, hx: Sequence[Tensor]) -> Rows:
    rows = [("input", wanted(spell(spec.input_axes), f"{spec.actual}"))]
    rows += [
        (spec.state_names[place], wanted(spell(axes), f"{tuple(hx[place].shape)}"))
        for place, axes in enumerate(spec.state_axes)
    ]
    return rows


def _refuse_state(
    error: type[ShapeError],
    spec: CallSpec,
    hx: Sequence[Tensor],
    place: int,
    sentence: str,
    headline: str,
    rows: Rows,
) -> NoReturn:
    raise error(
        compose(sentence, f"{spec.described}: {headline}", [*_rows(spec, hx), *rows]),
        "hx",
        sizes(spec.state_axes[place]),
        tuple(hx[place].shape),
    )


def _refuse_size(spec: CallSpec, hx: Sequence[Tensor], place: int) -> NoReturn:
    cause = find_cause(spec, hx, place)
    rows = list(cause.rows)
    for after in range(place + 1, len(hx)):
        wrong = tuple(hx[after].shape) != sizes(spec.state_axes[after])
        if wrong and hx[after].shape == hx[place].shape:
            rows.append(("", f"and {spec.state_names[after]} alike"))
    sentence = torch_sentence(spec, hx, place)
    _refuse_state(cause.error, spec, hx, place, sentence, cause.headline, rows)


def _refuse_rank(spec: CallSpec, hx: Sequence[Tensor], place: int) -> NoReturn:
    ranks = [tensor.dim() for tensor in hx]
    rank, name = ranks[place], spec.state_names[place]
    if not spec.has_rows and rank not in (1, 2):
        member = "hidden" if len(hx) == 1 else f"hx[{place}]"
        sentence = f"{spec.name}: Expected {member} to be 1D or 2D, got {rank}D instead"
    elif not spec.has_rows:
        sentence = torch_sentence(spec, hx, place)
    else:
        batched = spec.batch is not None
        tensor_rank = 3 if batched else 2
        head = f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, "
        sentence = head + (
            f"hx should also be {tensor_rank}-D but got {rank}-D tensor"
            if len(hx) == 1
            else f"hx and cx should also be {tensor_rank}-D but got "
            f"({ranks[0]}-D, {ranks[1]}-D) tensors"
        )
    if _lacks_seq(spec, hx[place]):
        rows = [
            ("evidence", f"{name} has batch {spec.actual[0]}, which is axis 0 of the input"),
            ("fix", f"input.unsqueeze({1 if spec.batch_first else 0})"),
        ]
        headline = "the input is read as one unbatched sequence, but it looks like a batch"
        _refuse_state(LayoutError, spec, hx, place, sentence, headline, rows)
    wants = len(spec.state_axes[place])
    headline = f"{name} has {count(rank, 'axis', 'axes')} in place of {wants}"
    rows = [("fix", _fix_rank(spec, hx[place], name, place))]
    _refuse_state(StateError, spec, hx, place, sentence, headline, rows)


def _lacks_seq(spec: CallSpec, tensor: Tensor) -> bool:
    """Say whether an unbatched input comes with the state of a batch as long as its axis 0."""
    # A layer that reads a batch refuses no rank of 3.
    if spec.kind != "layer" or tensor.dim() != 3:
        return False
    batch_axis = 0 if spec.state_batch_first else 1
    return tensor.shape[batch_axis] == spec.actual[0] != 1


def _fix_rank(spec: CallSpec, tensor: Tensor, name: str, place: int) -> str:
    axes = spec.state_axes[place]
    fix = reshaped(name, tensor.shape, sizes(axes))
    return fix or f"hx=None for zeros, or {name} as {spell(axes)}"
