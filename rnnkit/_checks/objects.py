"""Objects in the wrong place: a layer where a cell is wanted, a class where a module is.

The guards of ``unroll`` and ``Recurrent``, of what a cell returns and of what ``convert`` did.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, CellError, StateError
from rnnkit._base.message import Row, brief, refusal, wanted
from rnnkit._base.state import BATCHED, PAIR

#: torch's names of cells, of which rnnkit has each.
CELLS = ("RNNCell", "LSTMCell", "GRUCell")


def check_cell_object(cell: Any, input: Any) -> None:
    """Hold what is to be unrolled to a cell.

    Raises:
        ArgumentError: if it is a layer, a list, a class, a tensor, or cannot be called.
    """
    is_layer = isinstance(cell, torch.nn.RNNBase) or _is_recurrent(cell)
    name = type(cell).__name__
    if is_layer:
        sentence = f"unroll takes a cell, got the layer {name}"
        headline = "a layer runs over a sequence itself"
        fix = "layer(input)"
    elif isinstance(cell, list | tuple | torch.nn.ModuleList):
        sentence = f"unroll takes one cell, got {brief(cell)}"
        headline = "several cells are a layer's, one above the other"
        fix = "rnnkit.Recurrent(cells)(input), where cells is what you passed"
    elif isinstance(cell, Tensor):
        sentence = f"unroll takes a cell, got {brief(cell)}"
        headline = "the cell is the first argument, the input the second"
        fix = "rnnkit.unroll(cell, input)"
    elif isinstance(cell, type):
        sentence = f"unroll takes a cell, got {brief(cell)}"
        headline = "a class is no module yet"
        fix = f"rnnkit.unroll({cell.__name__}(...), input)"
    elif not callable(cell):
        sentence = f"unroll takes a cell, got {brief(cell)}"
        headline = "a cell is called with one step and a state, and returns the next state"
        fix = f"rnnkit.unroll(rnnkit.GRUCell({_width(input)}, ...), input)"
    else:
        return
    refusal(ArgumentError, "cell", sentence, headline, ("fix", fix), code="unroll-cell")


def _width(input: Any) -> Any:
    return input.shape[-1] if isinstance(input, Tensor) and input.dim() else "input_size"


def _is_recurrent(cell: Any) -> bool:
    return any(
        (kind.__module__, kind.__name__) == ("rnnkit", "Recurrent") for kind in type(cell).__mro__
    )


def cells_of(cells: Any, argument: str) -> list[torch.nn.Module]:
    """Return the cells of a ``Recurrent`` as a list.

    Raises:
        ArgumentError: if they are no cells, or layers.
    """
    listed: list[Any] = []
    if isinstance(cells, torch.nn.Module) and not isinstance(cells, torch.nn.ModuleList):
        listed = [cells]
    elif isinstance(cells, Iterable) and not isinstance(cells, Tensor):
        listed = list(cells)
    wrong = [cell for cell in listed if not isinstance(cell, torch.nn.Module)]
    if wrong or not listed:
        came = brief(wrong[0]) if wrong else brief(cells)
        sentence = f"Recurrent: {argument} must be a cell or a list of cells, got {came}"
        rows: list[Row] = []
        if wrong and isinstance(wrong[0], type):
            rows = [("fix", f"{wrong[0].__name__}(...), a cell of this class")]
        refusal(ArgumentError, argument, sentence, "", *rows, code="recurrent-cells")
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if layers:
        name = type(layers[0]).__name__
        sentence = f"Recurrent: {argument} holds {name}, a layer over whole sequences"
        fix = ("fix", f"{name}(...).cells(), or {name}Cell(...)")
        refusal(ArgumentError, argument, sentence, "", fix, code="recurrent-layer")
    return listed


def check_directions(cells: Any, reverse_cells: Any) -> None:
    """Hold the cells of both directions to as many, reading the same.

    Raises:
        ArgumentError: if there are more of one, or two that read different widths.
    """
    if len(reverse_cells) != len(cells):
        sentence = f"Recurrent: {len(cells)} cells, but {len(reverse_cells)} reverse_cells"
        fix = ("fix", "one reverse cell for each layer")
        refusal(ArgumentError, "reverse_cells", sentence, "", fix, code="recurrent-directions")
    for cell, other in zip(cells, reverse_cells, strict=True):
        both = (cell, other)
        if not all(isinstance(one, torch.nn.RNNCellBase) for one in both):
            continue
        if cell.input_size != other.input_size:
            sentence = (
                f"Recurrent: reverse_cells read what cells read, but input_size is "
                f"{cell.input_size} and {other.input_size}"
            )
            headline = "the second argument is the backward direction, not the next layer"
            fix = ("fix", "rnnkit.Recurrent([cell, next_cell]) for two layers")
            refusal(
                ArgumentError, "reverse_cells", sentence, headline, fix, code="recurrent-directions"
            )


def states_of_cells(cells: list[Any], hx: Any) -> Any:
    """Hold the state of a ``Recurrent`` to one for each of its cells; None is one for all.

    Raises:
        StateError: if it is anything else: a layer's state, say.
    """
    if hx is None:
        return [None] * len(cells)
    is_layers = _is_state_of_layer(hx, len(cells))
    # Of a third-party cell the state may have three axes.
    plain = all(isinstance(cell, torch.nn.RNNCellBase) for cell in cells)
    is_each = isinstance(hx, tuple | list) and len(hx) == len(cells)
    if not is_each or (is_layers and plain):
        _refuse_states(len(cells), hx, is_layers=is_layers)
    return hx


def _is_state_of_layer(hx: Any, count: int) -> bool:
    """Say whether this is a tensor, or a pair, that has the states of all cells on axis 0."""
    tensors = [hx] if isinstance(hx, Tensor) else hx
    return (
        isinstance(tensors, tuple | list)
        and len(tensors) in (1, PAIR)
        and all(isinstance(one, Tensor) and one.dim() == BATCHED for one in tensors)
        and all(len(one) == count for one in tensors)
    )


def _refuse_states(count: int, hx: Any, *, is_layers: bool) -> NoReturn:
    came = f"{len(hx)} of them" if isinstance(hx, tuple | list) else brief(hx)
    headline, fix = "Recurrent carries one state for each cell", "hx=None for zeros"
    if is_layers:
        headline = f"{headline}; this is a layer's state, all in one"
        fix = "rnnkit.states.to_layers(hx)"
    refusal(
        StateError,
        "hx",
        f"hx must be a tuple of {count} states, got {came}",
        headline,
        ("hx", wanted("layer by layer, the forward direction first", came)),
        ("fix", fix),
        code="recurrent-state",
    )


def refuse_stateless(cell: Any) -> NoReturn:
    """Refuse a cell that has no initial state, where none was given.

    Raises:
        CellError: always.
    """
    name = type(cell).__name__
    fix = f"rnnkit.{name}" if name in CELLS else "hx=..."
    sentence = f"{name} has no initial_state(batch_size), and no hx was given"
    row = ("fix", f"{fix}, or a method initial_state(self, batch_size)")
    refusal(CellError, "cell", sentence, "", row, code="cell-initial-state")


def is_result(new: Any, hx: Any) -> bool:
    """Say whether what a cell returned is a state of the kind that it was given."""
    if isinstance(new, Tensor):
        return isinstance(hx, Tensor)
    return isinstance(new, tuple) and not isinstance(hx, Tensor) and not _is_with_output(new, hx)


def _is_with_output(new: Any, hx: Any) -> bool:
    """Say whether a cell returned ``(output, state)``, and not the state."""
    if not isinstance(new, tuple) or len(new) != PAIR or not isinstance(new[0], Tensor):
        return False
    if isinstance(hx, Tensor):
        return isinstance(new[1], Tensor)
    inner = new[1]
    return (
        isinstance(inner, tuple)
        and len(inner) == len(hx)
        and all(isinstance(part, Tensor) for part in (*inner, *hx))
    )


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse what a cell returned in place of a state.

    Raises:
        CellError: always.
    """
    sentence = (
        f"{type(cell).__name__} took {brief(hx)} as state at step {step}, returned {brief(new)}"
    )
    fix = "return the next state, of the same kind as hx; its first tensor is the output"
    if _is_with_output(new, hx):
        fix = "return state, in place of return output, state: its first tensor is the output"
    elif isinstance(new, list):
        fix = "return tuple(state), where state is what the cell returns"
    refusal(CellError, "cell", sentence, "", ("fix", fix), code="cell-result", facts=(step,))


def refuse_call_of_result(caller: str) -> NoReturn:
    """Refuse a call of what ``convert`` returned.

    Raises:
        ArgumentError: always.
    """
    sentence = f"{caller} returns a report of what it changed, which is no model"
    headline = "the model that was given is changed in place"
    fix = ("fix", f"rnnkit.{caller}(model), then model(input)")
    refusal(ArgumentError, "model", sentence, headline, fix, code="convert-result")
