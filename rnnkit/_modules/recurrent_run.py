"""How ``Recurrent`` runs: layer by layer, each direction's cell over the whole sequence."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from rnnkit._base.errors import ShapeError, StateError
from rnnkit._checks.diagnosis import FROM_INITIAL_STATE
from rnnkit._checks.guards import MISFIT, fitting_states
from rnnkit._checks.objects import UnrollCall, check_widths, refuse_states
from rnnkit._kernels.stack import side_by_side
from rnnkit._modules.unroll_run import run


# Functions, not methods: the names of a user's subclass are its own.
def _layers(layer: Any) -> Iterable[tuple[Any, ...]]:
    """Return the cells of each layer of a ``Recurrent``, in a tuple: forward, and any backward."""
    both = [part for part in (layer.cells, layer.reverse_cells) if part is not None]
    return zip(*both, strict=True)


def cells_in_order(layer: Any) -> list[Any]:
    """Return the cells, layer by layer, the forward direction first: the order of the states."""
    return [cell for directions in _layers(layer) for cell in directions]


def checked_states(layer: Any, hx: object, name: str = "hx") -> Any:
    """Return one state for each cell, or raise a StateError; for None, a list of as many None.

    ``name`` is the argument, as the caller writes it.
    """
    cells = cells_in_order(layer)
    states = fitting_states(cells, hx)
    if states is MISFIT:
        refuse_states(len(cells), hx, name)
    return states


def explain_states(layer: Any, _: Tensor, hx: object) -> None:
    """Refuse the states of a step, if they are not one for each cell."""
    checked_states(layer, hx, "state")


def run_layers(
    layer: Any, input: Any, hx: object, initial: object, lengths: object, reset: object
) -> tuple[Tensor, tuple[Any, ...]]:
    """Run each direction of each layer of a ``Recurrent``, whose call is not checked yet.

    ``hx`` is the states that were given, one for each cell, and ``initial`` those that an
    overridden ``initial_state`` of the layer returned; each is None if there are none. Returns the
    last layer's output, its directions side by side, and the cells' last states.
    """
    # Each cell reads them, and a GPU is waited for once.
    lengths = _read_once(lengths)
    reset = _read_once(reset)
    states = checked_states(layer, hx)
    try:
        restarts = checked_states(layer, initial)
    except StateError as error:
        error.add_note(FROM_INITIAL_STATE)
        raise
    ends: list[Any] = []
    for place, directions in enumerate(_layers(layer)):
        if place and layer.dropout:
            input = functional.dropout(input, layer.dropout, layer.training)
        outputs = []
        for number, cell in enumerate(directions):
            at = len(ends)
            call = UnrollCall(
                cell,
                input,
                states[at],
                "Recurrent",
                batch_first=layer.batch_first,
                lengths=lengths,
                reset=reset,
                reverse=number == 1,
                initial=restarts[at],
                state=f"hx[{at}]",
            )
            output, end = _run_cell(layer, call, place)
            outputs.append(output)
            ends.append(end)
        input = side_by_side(outputs)
    return input, tuple(ends)


def _read_once(boundary: Any) -> Any:
    """Return lengths or a mask, copied from a GPU to the CPU, which will read its values.

    Anything else stays as it is, and so does a tensor that a compiler traces.
    """
    is_on_gpu = isinstance(boundary, Tensor) and boundary.is_cuda and not is_compiling()
    return boundary.cpu() if is_on_gpu else boundary


def _run_cell(layer: Any, call: UnrollCall, place: int) -> tuple[Tensor, Any]:
    """Run one cell over its layer's input; return the output and the cell's last state.

    ``place`` is the number of the layer in the stack: an error gets a note that names it and the
    direction. If widths of two layers do not fit, that is the error.
    """
    try:
        return run(call)
    except Exception as error:
        if isinstance(error, ShapeError):  # a layer reads another width than the one below returns?
            check_widths(layer.cells, layer.reverse_cells or ())
        direction = "backward" if call.reverse else "forward"
        error.add_note(f"in layer {place}, {direction} direction, of Recurrent")
        raise
