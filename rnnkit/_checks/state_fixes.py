"""What is typed to change the wrong tensors of a state, and to keep the others."""

from collections.abc import Sequence

from torch import Tensor

from rnnkit._checks.call_spec import CallSpec, sizes


def on_state(spec: CallSpec, hx: Sequence[Tensor], place: int, change: str) -> str:
    """Write what is typed to change the wrong tensors of a state, and give the whole state.

    Args:
        spec: the call.
        hx: the state that came.
        place: the first tensor of it that is wrong.
        change: what is typed, with ``{}`` for a tensor or, of a function, a state; words may
            follow it.
    """
    expression, comma, words = change.partition(", if")
    state = spec.state
    words = ("" if state == "hx" else f" as {state}") + comma + words
    if len(hx) == 1:
        return expression.format(state) + words
    shapes = [tuple(tensor.shape) for tensor in hx]
    if place == 0 and shapes[0][:-1] == shapes[1][:-1] and not fits(spec, hx, 1):
        each = f"tuple({expression.format('t')} for t in {state})"
        return (each if expression.startswith("{}") else expression.format(state)) + words
    names = spec.state_names if state == "hx" else (f"{state}[0]", f"{state}[1]")
    pair = [expression.format(name) if place == k else name for k, name in enumerate(names)]
    return f"({', '.join(pair)}){words}"


def fits(spec: CallSpec, hx: Sequence[Tensor], place: int) -> bool:
    """Return whether a state has this tensor, with the wanted sizes and with numbers."""
    return place < len(hx) and (
        tuple(hx[place].shape) == sizes(spec.state_axes[place]) and not hx[place].is_meta
    )


def from_zeros(spec: CallSpec, hx: Sequence[Tensor], place: int) -> str:
    """Write what is typed to begin from zeros; the other tensor of a pair is kept if it fits."""
    if fits(spec, hx, 1 - place):
        pair = on_state(spec, hx, place, "None")
        return f"{pair}, which starts {spec.state_names[place]} from zeros"
    if spec.state != "hx":
        return f"None as {spec.state}, or hx=layer.initial_state({spec.batch}) of all cells: zeros"
    return f"hx=None or {'layer' if spec.has_rows else 'cell'}.initial_state({spec.batch}): zeros"


def picked(spec: CallSpec) -> str:
    """Write how samples of a state are picked, for :func:`on_state`."""
    return f"rnnkit.states.select({{}}, positions{option_of(spec)})"


def option_of(spec: CallSpec) -> str:
    """Write the option of ``rnnkit.states`` that this layer's states need."""
    return ", state_batch_first=True" if spec.state_batch_first else ""
