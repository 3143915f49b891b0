"""What a ``Recurrent`` is made of, and the states that it carries, one for each cell."""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal, wanted
from rnnkit._base.message import count as count_of
from rnnkit._base.state import BATCHED, PAIR


def cells_of(cells: Any, argument: str) -> list[torch.nn.Module]:
    """Return the cells of a ``Recurrent`` as a list."""
    listed: list[Any] = []
    if isinstance(cells, torch.nn.Module) and not isinstance(cells, torch.nn.ModuleList):
        listed = [cells]
    elif isinstance(cells, Iterable) and not isinstance(cells, Tensor):
        listed = list(cells)
    wrong = [cell for cell in listed if not isinstance(cell, torch.nn.Module)]
    if wrong or not listed:
        _refuse_cells(cells, wrong, argument)
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if layers:
        name = type(layers[0]).__name__
        sentence = f"Recurrent: {argument} holds {name}, a layer over whole sequences"
        fix = ("fix", f"{name}(...).cells(), or {name}Cell(...)")
        refusal(ArgumentError, argument, sentence, "", fix, code="recurrent-layer")
    return listed


def _refuse_cells(cells: Any, wrong: list[Any], argument: str) -> NoReturn:
    first = wrong[0] if wrong and isinstance(cells, list | tuple) else cells
    headline = "a cell is a torch.nn.Module, called with one step and a state"
    fix = "[rnnkit.GRUCell(input_size, hidden_size)], one cell for each layer"
    if isinstance(first, type):
        headline, fix = "", f"{bounded(first.__name__, BRIEF_LENGTH)}(...), a cell of this class"
    elif isinstance(first, Tensor):
        headline, fix = "the cells come first, then the input", "rnnkit.Recurrent(cells)(input)"
    elif isinstance(cells, Mapping) and _are_modules(cells.values()):
        headline, fix = "", f"list({argument}.values())"
    elif isinstance(first, list | tuple) and first and _are_modules(first):
        headline, fix = "", f"[cell for some in {argument} for cell in some], one flat list"
    sentence = f"Recurrent: {argument} must be a cell or a list of cells, got {brief(first)}"
    refusal(ArgumentError, argument, sentence, headline, ("fix", fix), code="recurrent-cells")


def _are_modules(values: Iterable[Any]) -> bool:
    return all(isinstance(value, torch.nn.Module) for value in values)


def check_directions(cells: Any, reverse_cells: Any) -> None:
    """Hold the cells of both directions to as many, reading the same."""
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
    """Hold the state of a ``Recurrent`` to one for each of its cells; None is one for all."""
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
    headline, rows = "Recurrent carries one state for each cell", [("or", "hx=None for zeros")]
    fix = "output, hx = layer(input): the second is such a tuple"
    if is_layers:
        headline = f"{headline}; this is a layer's state, all in one"
        fix, rows = "rnnkit.states.to_layers(hx)", []
    elif count == 1 and _is_one_state(hx):
        headline = f"{headline}; this is the state itself"
        fix, rows = "(hx,)", []
    refusal(
        StateError,
        "hx",
        f"hx must be a tuple of {count_of(count, 'state', 'states')}, got {came}",
        headline,
        ("hx", wanted("layer by layer, the forward direction first", came)),
        ("fix", fix),
        *rows,
        code="recurrent-state",
    )


def _is_one_state(hx: Any) -> bool:
    """Say whether this may be the state of one cell."""
    pair = isinstance(hx, tuple | list) and len(hx) == PAIR
    return isinstance(hx, Tensor) or (pair and all(isinstance(part, Tensor) for part in hx))
