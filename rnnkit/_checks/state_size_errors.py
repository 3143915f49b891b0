"""Why a hidden state of the right rank has the wrong sizes: the probable cause and its fix.

Each cause rests on sizes that are in the message. They are tried from the most to the least
telling; the first that fits speaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import LayoutError, ShapeError, StateError
from rnnkit._base.message import Row, Rows, count
from rnnkit._checks.call_spec import CallSpec, sizes
from rnnkit._checks.state_fixes import fits, from_zeros, on_state, option_of, picked

#: What probably happened: a code, the error to raise, a headline, and rows below it.
Finding = tuple[str, type[ShapeError], str, Rows]


@dataclass(frozen=True)
class _Sizes:
    """A state's sizes by meaning, wanted or got; a cell's has one row."""

    width: int
    batch: int = 0  # of an unbatched one
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
        rows = [("evidence", "each has the shape of the other"), ("fix", "hx[::-1], h first")]
        return "state-swapped", StateError, "h and c are in the other order", rows
    want, got = _by_meaning(spec, want_shape), _by_meaning(spec, got_shape)
    transposed = (want_shape[1], want_shape[0], *want_shape[2:]) if len(want_shape) > 1 else ()
    if got_shape == transposed:
        return _transposed(spec, hx, place)
    kept = fits(spec, hx, 1 - place)  # what fits speaks for the input's layout
    if spec.seq is not None and got == replace(want, batch=spec.seq) and not kept:
        return _batch_first_input(spec, hx, place, got, want)
    if got.rows != want.rows:
        return _other_layer_directions(spec, hx, place, got, want)
    if got.batch != want.batch and got.width != want.width:
        headline = f"{name} has neither the batch nor the width"
        return "state-sizes", StateError, headline, [("fix", from_zeros(spec, hx, place))]
    if got.batch != want.batch:
        return _other_batch(spec, hx, place, got.batch, want.batch)
    return _other_width(spec, hx, place, got, want)


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


def _transposed(spec: CallSpec, hx: Sequence[Tensor], place: int) -> Finding:
    name = spec.state_names[place]
    code = "state-transposed"
    if spec.batch is None or not spec.has_rows:
        # cuDNN takes a layer's state in one piece only.
        fix = on_state(spec, hx, place, "{}.t().contiguous()" if spec.has_rows else "{}.t()")
        return code, StateError, f"{name} has its axes swapped", [("fix", fix)]
    came, wants, option = "batch", "layers", "state_batch_first=True"
    exchange = "rnnkit.states.from_batch_first(hx)"
    if spec.state_batch_first:
        came, wants, option = "layers", "batch", "state_batch_first=False"
        exchange = "rnnkit.states.batch_first(hx)"
    whole = on_state(spec, hx, place, "{}.transpose(0, 1).contiguous()")
    if whole.startswith("("):  # the other one of the pair is right
        exchange = whole
    rows = [
        ("evidence", f"{name} with axes 0 and 1 exchanged fits"),
        ("fix", f"{exchange}, or {spec.with_option(option)}"),
    ]
    headline = f"{name} has the {came} on axis 0, a state has the {wants} on axis 0"
    return code, StateError, headline, rows


def _batch_first_input(
    spec: CallSpec, hx: Sequence[Tensor], place: int, got: _Sizes, want: _Sizes
) -> Finding:
    name, code = spec.state_names[place], spec.layout_code
    if spec.kind == "packed":
        code = "layout-packed"
        fix = "pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input"
        evidence = f"{name} has batch {got.batch}, which is the number of steps packed"
        rows = [("evidence", evidence), ("fix", fix)]
        headline = "the sequences look packed in the other layout"
    else:
        evidence = f"{name} has batch {got.batch}, which is axis {{axis}} of the input"
        headline, rows = spec.other_layout(evidence)
    if got.batch > want.batch:
        kept = on_state(spec, hx, place, picked(spec))
        zeros = from_zeros(spec, hx, place)
        rows.append(("", f"{kept}, if {name} is from a larger batch"))
        rows.append(("", f"{zeros}, if the sequences are new"))
    return code, LayoutError, headline, rows


def _other_layer_directions(
    spec: CallSpec, hx: Sequence[Tensor], place: int, got: _Sizes, want: _Sizes
) -> Finding:
    name = spec.state_names[place]
    axis = str(spec.state_axes[0][1 if spec.state_batch_first else 0])
    zeros = ("fix", from_zeros(spec, hx, place))
    if "directions" in axis and got.rows * 2 == want.rows:
        headline = f"{name} has no rows for the backward direction"
        return "state-directions", StateError, headline, [("evidence", axis), zeros]
    twice = replace(want, rows=2 * want.rows) if "directions" not in axis else None
    is_twice = got == twice
    if replace(got, width=2 * got.width) == twice:
        return _bridged(spec, hx, place)
    output = ("", f"if hx is an output: {OUTPUT_FIX}")
    if is_output(spec, hx[place]) and not is_twice:
        return (
            "state-is-output",
            StateError,
            f"{name} looks like an output, not like a state",
            [
                ("evidence", f"{name} has seq {spec.seq} and batch {spec.batch}, as the input"),
                ("fix", OUTPUT_FIX),
            ],
        )
    if is_twice:
        option = option_of(spec)
        behind = spec.state_batch_first and spec.batch is not None
        top = on_state(spec, hx, place, f"{{}}[{':, ' * behind}-{want.rows}:]")
        bridge = f'rnnkit.states.bridge({{}}, "sum"{option})'
        wide = f"hidden_size={2 * spec.hidden_size}"
        if spec.proj_size:
            wide += f", proj_size={2 * spec.proj_size}"
        wide = f"{constructor_of(spec.module, 'hidden_size')}(..., {wide})"
        wider = [("", f'{wide} and rnnkit.states.bridge(hx, "concat"{option})')]
        if spec.batch is None:
            bridge, wider = "{}.unflatten(0, (-1, 2)).sum(1)", []
        elif top.startswith("("):  # the other one of the pair is right
            wider = []
        added = on_state(spec, hx, place, bridge)
        return (
            "state-bidirectional",
            StateError,
            f"{name} has two rows for each layer, as the state of a bidirectional layer",
            [
                ("evidence", f"{got.rows} is twice {axis}"),
                ("fix", f"{added} adds the directions"),
                *wider,
                ("", f"{top}, if hx is from one direction of twice as many layers"),
                *([output] if is_output(spec, hx[place]) else []),
            ],
        )
    if got.batch != want.batch and got.width != want.width:
        return "state-sizes", StateError, f"{name} fits on no axis", [zeros]
    headline = f"{name} has {count(got.rows, 'row', 'rows')}, this layer carries {want.rows}"
    rows: Rows = [zeros]
    if len(hx) == 1 and spec.kind == "layer" and got.batch == want.batch:
        rows.append(output)
    return "state-layers", StateError, headline, rows


def _bridged(spec: CallSpec, hx: Sequence[Tensor], place: int) -> Finding:
    """Say that a decoder as wide as both directions got them in rows of their own."""
    *_, width = spec.state_axes[place]
    headline = f"{spec.state_names[place]} is in two rows for each layer, each half as wide"
    bridge = f"rnnkit.states.bridge({{}}{option_of(spec)})"
    if spec.batch is None:
        bridge = "{}.unflatten(0, (-1, 2)).flatten(1)"
    rows = [
        ("evidence", f"{width} is twice {hx[place].shape[-1]}: both directions side by side"),
        ("fix", on_state(spec, hx, place, bridge)),
    ]
    return "state-bidirectional", StateError, headline, rows


#: What to type where an output was given as the state.
OUTPUT_FIX = "output, hx = ...: of what a layer returns, the state is the second"


def is_output(spec: CallSpec, tensor: Tensor) -> bool:
    """Say whether a tensor has the shape of this layer's output, and the layout of the input."""
    if spec.kind != "layer" or spec.batch is None:
        return False
    width = (spec.proj_size or spec.hidden_size) * (2 if spec.module.bidirectional else 1)
    return tuple(tensor.shape) == (*spec.actual[:-1], width)


def _other_batch(spec: CallSpec, hx: Sequence[Tensor], place: int, got: int, want: int) -> Finding:
    name, option = spec.state_names[place], option_of(spec)
    zeros = ("", f"{from_zeros(spec, hx, place)}, if the sequences are new")
    if got == 1:
        expand = f"rnnkit.states.expand(hx, {want}{option}), if all samples start from it"
        headline = f"{name} is for one sample, the input has {want}"
        return "state-one-sample", StateError, headline, [("fix", expand), zeros]
    headline = f"{name} is for a batch of {got}, the input has {want}"
    axis = 0 if spec.state_batch_first or not spec.has_rows else 1
    all_got = all(tensor.shape[axis] == got for tensor in hx)
    if got and want % got == 0 and want and all_got:
        times = want // got
        rows = [
            ("evidence", f"{want} = {times} * {got}: {times} beams for each of {got} samples?"),
            ("fix", f"rnnkit.states.repeat(hx, {times}{option}), if so"),
            zeros,
        ]
        return "beams-forgotten", StateError, headline, rows
    if got > want:
        cause = "probably left from a larger batch, as when the last of an epoch is smaller"
        first = f"rnnkit.states.select(hx, slice({want}){option})"
        rows = [
            ("evidence", f"{got} > {want}: {cause}"),
            ("fix", zeros[1]),
            ("", f"{first}, if the first {want} samples went on"),
            ("", f"{on_state(spec, hx, place, picked(spec))}, if others did"),
        ]
        return "state-batch", StateError, headline, rows
    return "state-batch", StateError, headline, [("fix", from_zeros(spec, hx, place))]


def _other_width(
    spec: CallSpec, hx: Sequence[Tensor], place: int, got: _Sizes, want: _Sizes
) -> Finding:
    name, axis = spec.state_names[place], spec.state_axes[place][-1]
    zeros = ("fix", from_zeros(spec, hx, place))
    headline = f"{name} is {got.width} wide, {axis} is wanted"
    proj_size, hidden_size = spec.proj_size, spec.hidden_size
    if proj_size and name == "h" and got.width == hidden_size:
        evidence = f"proj_size={proj_size} is the width of h, hidden_size={hidden_size} that of c"
        rows: list[Row] = [("evidence", evidence), zeros]
        return "state-projection", StateError, headline, rows
    linear = f"torch.nn.Linear({got.width}, {want.width}) between the two"
    if got.width == 2 * want.width:
        evidence = f"{got.width} is twice {want.width}: both directions side by side"
        rows = [("evidence", evidence), ("fix", f"a {linear}")]
        if fits(spec, hx, 1 - place):  # a wider module would refuse the other one
            rows.append(("", f"or {zeros[1]}"))
        # A projection is narrower than what it projects.
        elif axis.name == "hidden_size" or got.width < hidden_size:
            wide = f"{constructor_of(spec.module, axis.name)}(..., {axis.name}={got.width})"
            rows[1] = ("fix", f"{wide}, or a {linear}")
        return "state-twice-as-wide", StateError, headline, rows
    return "state-width", StateError, headline, [zeros, ("", f"or a {linear}")]
