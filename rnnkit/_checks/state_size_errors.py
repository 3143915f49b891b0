"""Why a hidden state of the right rank has the wrong sizes: the probable cause and its fix.

Each cause rests on sizes that are in the message. They are tried from the most to the least
telling; the first that fits speaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rnnkit._base.errors import LayoutError, ShapeError, StateError
from rnnkit._base.message import Rows, count, reshaped
from rnnkit._checks.call_spec import CallSpec, sizes

#: What probably happened: the error to raise, a headline, and rows below it.
Finding = tuple[type[ShapeError], str, Rows]


@dataclass(frozen=True)
class _Sizes:
    """A state's sizes by meaning, wanted or got; a cell's has one row."""

    width: int
    batch: int | None = None
    rows: int = 1


def torch_sentence(spec: CallSpec, hx: Sequence[Tensor], place: int) -> str:
    """Return what torch says of this size."""
    got, want = list(hx[place].shape), list(sizes(spec.state_axes[place]))
    if spec.has_rows:
        member = "hidden" if len(hx) == 1 else f"hidden[{place}]"
        return f"Expected {member} size {tuple(want)}, got {got}"
    if len(got) != len(want):
        member = "hidden" if len(hx) == 1 else f"hx[{place}]"
        return f"{spec.name}: Expected {member} to be {len(want)}D, got {len(got)}D instead"
    if got[0] != want[0] and len(got) > 1:
        return f"Input batch size {want[0]} doesn't match hidden{place} batch size {got[0]}"
    return f"hidden{place} has inconsistent hidden_size: got {got[-1]}, expected {want[-1]}"


def explain_size(spec: CallSpec, hx: Sequence[Tensor], place: int) -> Finding:
    """Say which mistake the sizes of one tensor of a state speak for."""
    name = spec.state_names[place]
    want_shape = tuple(size for size in sizes(spec.state_axes[place]) if size is not None)
    got_shape = tuple(hx[place].shape)
    if _is_swapped(spec, hx):
        rows = [("evidence", "each has the shape of the other"), ("fix", "hx=(h, c)")]
        return StateError, "h and c are in the other order", rows
    want, got = _by_meaning(spec, want_shape), _by_meaning(spec, got_shape)
    transposed = (want_shape[1], want_shape[0], *want_shape[2:]) if len(want_shape) > 1 else ()
    if got_shape == transposed:
        return _transposed(spec, name)
    if spec.seq is not None and got == replace(want, batch=spec.seq):
        return _batch_first_state(spec, name, got, want)
    if got.rows != want.rows:
        return _other_layer_directions(spec, name, got, want)
    if got.batch != want.batch:
        fix = reshaped(name, got_shape, want_shape)
        return _state_of_another_batch(spec, name, got, want, fix)
    return _state_of_another_width(spec, name, got, want)


def _is_swapped(spec: CallSpec, hx: Sequence[Tensor]) -> bool:
    wants = [sizes(axes) for axes in spec.state_axes]
    return wants[0] != wants[-1] and [tuple(tensor.shape) for tensor in hx] == wants[::-1]


def _by_meaning(spec: CallSpec, shape: Sequence[int]) -> _Sizes:
    if not spec.has_rows:
        return _Sizes(shape[-1], *shape[:-1])
    if spec.batch is None:
        return _Sizes(shape[1], rows=shape[0])
    first, second, width = shape
    if spec.state_batch_first:
        return _Sizes(width, batch=first, rows=second)
    return _Sizes(width, batch=second, rows=first)


def _transposed(spec: CallSpec, name: str) -> Finding:
    if spec.batch is None or not spec.has_rows:
        # cuDNN takes a layer's state in one piece only.
        fix = f"{name}.t().contiguous()" if spec.has_rows else f"{name}.t()"
        return StateError, f"{name} has its axes swapped", [("fix", fix)]
    came, wants, option = "batch", "layers", "state_batch_first=True"
    if spec.state_batch_first:
        came, wants, option = "layers", "batch", "state_batch_first=False"
    rows = [
        ("evidence", f"{name} with axes 0 and 1 exchanged fits"),
        ("fix", f"{name}.transpose(0, 1).contiguous(), or {spec.with_option(option)}"),
    ]
    return StateError, f"{name} has the {came} on axis 0, a state has the {wants} on axis 0", rows


def _batch_first_state(spec: CallSpec, name: str, got: _Sizes, want: _Sizes) -> Finding:
    if spec.kind == "packed":
        fix = "pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input"
        evidence = f"{name} has batch {got.batch}, which is the number of steps packed"
        rows = [("evidence", evidence), ("fix", fix)]
        headline = "the sequences look packed in the other layout"
    else:
        evidence = f"{name} has batch {got.batch}, which is axis {{axis}} of the input"
        headline, rows = spec.other_layout(evidence)
    if got.batch is not None and want.batch is not None and got.batch > want.batch:
        left = f"if {name} is left from a batch of {got.batch} instead"
        rows.append(("", f"{left}: hx=None, or the samples that went on"))
    return LayoutError, headline, rows


def _other_layer_directions(spec: CallSpec, name: str, got: _Sizes, want: _Sizes) -> Finding:
    axis = str(spec.state_axes[0][1 if spec.state_batch_first else 0])
    zeros = ("fix", f"{_zeros(spec)}, or hx=None")
    if "directions" in axis and got.rows * 2 == want.rows:
        headline = f"{name} has no rows for the backward direction"
        return StateError, headline, [("evidence", axis), zeros]
    if "directions" not in axis and got.rows == 2 * want.rows:
        option = ", batch_first=True" if spec.state_batch_first else ""
        headline = f"{name} has two rows for each layer: a bidirectional layer's state"
        fix = f'rnnkit.states.bridge({name}, "sum"{option}) adds the directions'
        return StateError, headline, [("evidence", f"{got.rows} is twice {axis}"), ("fix", fix)]
    if got.batch != want.batch and got.width != want.width:
        return StateError, f"{name} fits on no axis", [zeros]
    headline = f"{name} has {count(got.rows, 'row', 'rows')}, this layer carries {want.rows}"
    return StateError, headline, [zeros]


def _state_of_another_batch(
    spec: CallSpec, name: str, got: _Sizes, want: _Sizes, fix: str | None
) -> Finding:
    zeros = ("fix", f"{_zeros(spec)}, or hx=None")
    headline = f"{name} is for a batch of {got.batch}, the input has {want.batch}"
    if got.batch == 1:
        headline = f"{name} is for one sample, the input has {want.batch}"
        return StateError, headline, [("fix", fix) if fix else zeros]
    if got.batch is not None and want.batch is not None and got.batch > want.batch:
        cause = "probably left from a larger batch, as when the last of an epoch is smaller"
        before = ":, " if spec.has_rows and not spec.state_batch_first else ""
        first = f"{name}[{before}:{want.batch}]"
        rows = [
            ("evidence", f"{got.batch} > {want.batch}: {cause}"),
            ("fix", f"hx=None for zeros; if the first {want.batch} samples went on, {first}"),
            ("", "if others did, rnnkit.states.select(hx, positions)"),
        ]
        return StateError, headline, rows
    return StateError, headline, [zeros]


def _state_of_another_width(spec: CallSpec, name: str, got: _Sizes, want: _Sizes) -> Finding:
    axis = spec.state_axes[spec.state_names.index(name)][-1]
    headline = f"{name} is {got.width} wide, {axis} is wanted"
    proj_size, hidden_size = spec.proj_size, spec.hidden_size
    if proj_size and name == "h" and got.width == hidden_size:
        evidence = f"proj_size={proj_size} is the width of h, hidden_size={hidden_size} that of c"
        return (
            StateError,
            headline,
            [("evidence", evidence), ("fix", f"{_zeros(spec)}, or hx=None")],
        )
    if got.width == 2 * want.width:
        evidence = f"{got.width} is twice {want.width}: both directions side by side"
        fix = f"a Linear({got.width}, {want.width}) between"
        # A projection is narrower than what it projects.
        if axis.name == "hidden_size" or got.width < hidden_size:
            fix = f"{spec.constructor}(..., {axis.name}={got.width}), or {fix}"
        return StateError, headline, [("evidence", evidence), ("fix", fix)]
    fix = f"{_zeros(spec)}, or hx=None, or a Linear({got.width}, {want.width}) between"
    return StateError, headline, [("fix", fix)]


def _zeros(spec: CallSpec) -> str:
    return f"{'layer' if spec.has_rows else 'cell'}.initial_state({spec.batch})"
