"""What is wrong with a hidden state: its structure, its sizes, its dtype or device."""

import re
from typing import Any, NoReturn

from torch import Tensor

from rnnkit._base.errors import DeviceError, DtypeError, LayoutError, StateError
from rnnkit._base.message import count, wanted
from rnnkit._base.state import BATCHED, PAIR, map_state
from rnnkit._checks.arrays import is_whole
from rnnkit._checks.call_spec import CallSpec, agree, check_dense, parts_of, rows_of, sizes, spell
from rnnkit._checks.causes import moves
from rnnkit._checks.causes.moves import Shape, by_meaning
from rnnkit._checks.guards import has_own_dtype
from rnnkit._checks.objects import has_batch

#: Where the words after an expression begin.
WORDS = re.compile(r"(?:, if|, which| adds) ")


def check_state(spec: CallSpec, hx: Any, input: Tensor, *, only_sizes: bool = False) -> None:
    """Refuse a state of the wrong sizes, else layout, dtype or device; None for zeros is right."""
    if hx is None:
        return
    _check_sizes(spec, hx)
    state = () if only_sizes else parts_of(hx)
    for name, tensor in zip(spec.state_names, state, strict=False):
        if tensor is None:
            continue
        check_dense(spec.module, tensor, "hx")
        own = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=spec.kind == "cell")
        is_dtype = not (own or agree(tensor.dtype, input.dtype))
        code, error = ("state-dtype", DtypeError) if is_dtype else ("state-device", DeviceError)
        kind = code.removeprefix("state-")
        wants = getattr(input, kind)
        came = getattr(tensor, kind)
        if not is_dtype and came == wants:
            continue
        sentence = f"hx dtype ({came}) does not match input dtype ({wants})"
        fix = f"rnnkit.states.to(hx, {wants})"
        if not is_dtype:
            sentence = "Input and hidden tensors are not at the same device, found input tensor at "
            sentence += f"{wants} and hidden tensor at {came}"
            fix = f"rnnkit.states.to(hx, input{'.data' * (spec.kind == 'packed')}.device)"
        row = wanted(f"{wants}", f"{came}")
        headline = f"state and input have different {kind}s"
        spec.refuse(code, error, "hx", sentence, headline, (name, row), ("fix", fix))


def _check_sizes(spec: CallSpec, hx: Any) -> None:
    """Refuse a state that is not made of the module's tensors, or whose shapes are wrong."""
    is_counts = isinstance(hx, (tuple, list)) and {type(part) for part in hx} == {int}
    if isinstance(hx, Tensor):
        is_counts = hx.dim() == 1 and len(hx) > 0 and is_whole(hx)
    is_counts = is_counts and spec.kind not in ("cell", "step")
    wants: list[Any] = [sizes(axes) for axes in spec.state_axes]
    is_pair = len(wants) == PAIR
    state: Any = (hx,) if not is_pair else hx if isinstance(hx, (tuple, list)) else ()
    fits = [isinstance(part, Tensor) or (is_pair and part is None) for part in state]
    if is_counts or len(state) != len(wants) or not all(fits):
        moves.refuse_structure(spec, hx, counts=is_counts)
    # None stands for zeros of the right shape.
    shapes = [tuple(w if t is None else t.shape) for t, w in zip(state, wants, strict=True)]
    if shapes != wants:
        _explain(spec, shapes, wants)


def _explain(spec: CallSpec, shapes: list[Shape], wants: list[Shape]) -> NoReturn:
    """Find what makes a state fit, and refuse the state."""
    each = [*zip(spec.state_names, spec.state_axes, shapes, wants, strict=True)]
    kept = [got == want for *_, got, want in each]
    pairs = [(got, want) for *_, got, want in each if got != want]
    # The first tensor of a wrong rank, else the first that does not fit.
    place = min(range(len(each)), key=lambda k: (len(shapes[k]) == len(wants[k]), kept[k]))
    name, axes, got, want = each[place]
    state = spec.state
    first = spec.state_batch_first
    is_whole = not any(kept)

    def typed(text: str) -> str:
        """Write what changes the tensors that do not fit, and gives the whole state."""
        words = WORDS.search(text)
        expression = text[: words.start()] if words else text
        rest = ("" if state == "hx" else f" as {state}") + text[len(expression) :]
        if len(kept) == 1 or (is_whole and not expression.startswith("{}")):
            return expression.format(state) + rest
        if is_whole:
            return f"tuple({expression.format('t')} for t in {state}){rest}"
        names = spec.state_names if state == "hx" else (f"{state}[0]", f"{state}[1]")
        parts = [n if right else expression.format(n) for n, right in zip(names, kept, strict=True)]
        return f"({', '.join(parts)}){rest}"

    zeros = f"hx=None or {'layer' if spec.has_rows else 'cell'}.initial_state({spec.batch}): zeros"
    if not is_whole:
        zeros = typed(f"None, which starts {name} from zeros")
    elif state != "hx":
        zeros = f"None as {state}, or hx=layer.initial_state({spec.batch}) of all cells: zeros"
    steps = spec.actual[0]
    cause: tuple[str, ...]
    if len(shapes) == PAIR and shapes == wants[::-1]:
        cause = ("state-swapped", "h and c have each other's sizes: they have changed places", "",
                 f"({state}[1], {state}[0]), since h comes first")  # fmt: skip
    elif len(got) == len(want):
        read = [(by_meaning(spec, g), by_meaning(spec, w)) for g, w in pairs]
        cause = moves.cause_of(spec, name, axes[-1], read, zeros)
    elif (
        spec.kind == "layer" and spec.batch is None and steps != 1 and is_whole
        and all(g == ((steps, *w) if first else (w[0], steps, *w[1:])) for g, w in pairs)
    ):  # fmt: skip
        headline = "the input is read as one unbatched sequence, but it looks like a batch"
        evidence = f"{name} has batch {steps}, which is axis 0 of the input"
        fix = f"input.unsqueeze({int(spec.batch_first)})"
        cause = ("layout-unbatched", headline, evidence, fix)
    else:
        headline = f"{name} has {count(len(got), 'axis', 'axes')} instead of {len(want)}"
        cause = ("state-rank", headline, "", moves.of_rank(spec, pairs) or zeros)
    code, headline, evidence, *fixes = cause
    # What changes the layer makes a tensor that fits wrong.
    texts = [typed(t) if "{}" in t else t for t in fixes if is_whole or "(..., " not in t]
    spec.refuse(
        code, LayoutError if code.startswith("layout") else StateError, "hx",
        _sentence(spec, shapes, wants, place), headline, spec.input_row,
        *[(one, wanted(spell(axes), f"{shape}")) for one, axes, shape, _ in each],
        *rows_of(evidence, texts), facts=(want, got),
    )  # fmt: skip


def _sentence(spec: CallSpec, shapes: list[Shape], wants: list[Any], place: int) -> str:
    """Return what torch says of this rank or size."""
    got = shapes[place]
    want = wants[place]
    alone = len(shapes) == 1
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
        shape = tuple(tensor.shape)
        evidence = ""
        if has_batch(tensor, spec.batch):
            return tensor
        code = "state-cell-batch"
        headline = "a cell's state has the batch on axis 0"
        makes = f" or cell.initial_state({spec.batch})" * hasattr(spec.module, "initial_state")
        fix = f"hx=None{makes}" if spec.state == "hx" else f"None as {spec.state}"
        fix = f"{fix}, if the sequences are new"
        if shape[:2] == (1, spec.batch) and len(shape) == BATCHED:
            headline += ", a layer's on axis 1"
            fix = "rnnkit.states.to_layers(hx)[0], if it is the state of a layer"
        elif shape[:1] == (spec.seq,):
            code, headline, evidence, fix = spec.other_layout(f"hx has batch {shape[0]}")
        return spec.refuse(
            code, LayoutError if evidence else StateError, "hx",
            f"Expected hidden batch size {spec.batch}, got {list(shape[:1])}", headline,
            spec.input_row, ("hx", wanted(f"(batch={spec.batch}, ...)", f"{shape}")),
            *rows_of(evidence, [fix]), facts=((spec.batch,), shape),
        )  # fmt: skip

    map_state(compare, hx)
