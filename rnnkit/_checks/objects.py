"""Objects in the wrong place: in ``unroll``, as what a cell returns, and in a ``Recurrent``."""

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, CellError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, count, refusal, wanted
from rnnkit._base.state import PAIR, LSTMState
from rnnkit._checks.cell_guards import is_recurrent, is_state_of_layer, is_with_output, tensors_in


def check_cell_object(cell: Any, input: Any) -> None:
    """Check that what is to be unrolled is a cell."""
    headline = "a cell is called with one step and a state, and returns the next state"
    width = input.shape[-1] if isinstance(input, Tensor) and input.dim() else "input_size"
    fix = f"rnnkit.unroll(rnnkit.GRUCell({width}, ...), input)"
    if isinstance(cell, torch.nn.RNNBase) or is_recurrent(cell):
        headline, fix = "a layer runs over a sequence itself", "layer(input)"
    elif isinstance(cell, list | tuple | torch.nn.ModuleList):
        headline = "several cells, one above the other, are a layer"
        fix = "rnnkit.Recurrent(cells)(input), where cells is what you passed"
    elif isinstance(cell, Tensor):
        headline, fix = "the cell comes first, then the input", "rnnkit.unroll(cell, input)"
    elif isinstance(cell, type):
        headline, fix = "a class is not a module yet", f"rnnkit.unroll({cell.__name__}(...), input)"
    elif callable(cell):
        return
    came = type(cell).__name__ if isinstance(cell, torch.nn.Module) else brief(cell)
    sentence = f"unroll takes one cell, got {came}"
    refusal(ArgumentError, "cell", sentence, headline, ("fix", fix), code="unroll-cell")


def _refuse_cell(cell: Any, came: str, why: str, fix: str, code: str, step: int = 0) -> NoReturn:
    sentence = f"{type(cell).__name__} {came}"
    refusal(CellError, "cell", sentence, why, ("fix", fix), code=code, facts=(step,))


def refuse_stateless(cell: Any, *, again: bool = False) -> NoReturn:
    """Refuse a cell without an initial state, where none was given or, ``again``, at a reset."""
    is_torchs = isinstance(cell, torch.nn.RNNCellBase)
    first = f"rnnkit.{type(cell).__name__}" if is_torchs else "" if again else "hx=..."
    why = "from which a sample starts again" if again else "and no hx was given"
    fix = f"{first}{', or ' if first else ''}a method initial_state(self, batch_size)"
    came = f"has no initial_state(batch_size), {why}"
    _refuse_cell(cell, came, "", fix, "cell-initial-state")


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse what a cell returned instead of a state."""
    fix = "return the next state, of the same kind as hx; its first tensor is the output"
    if is_with_output(new, hx):
        fix = "return state, instead of return output, state: its first tensor is the output"
    elif isinstance(new, list):
        fix = f"return {'state[0]' if isinstance(hx, Tensor) else 'tuple(state)'}, not the list"
    came = f"took {brief(hx)} as state at step {step}, returned {brief(new)}"
    _refuse_cell(cell, came, "", fix, "cell-result", step)


def refuse_of_layer(cell: Any, new: Any, batch: Any, step: int) -> NoReturn:
    """Refuse a cell whose state is a layer's: its output would have one axis too many."""
    shape = tuple(tensors_in(new)[0].shape)
    fix = f"return, and let initial_state return, a state with the batch on axis 0: {shape[1:]}"
    came = f"returned an output of {shape} at step {step}, for {batch} samples"
    why = "a cell's state has the batch on axis 0, a layer's on axis 1"
    _refuse_cell(cell, came, why, fix, "cell-batch", step)


def refuse_written(cell: Any, hx: Any, new: Any, step: int) -> None:
    """Refuse a cell that writes its state in place; return if it may have written beside it."""
    for old, now in zip(tensors_in(hx), tensors_in(new), strict=False):
        # Two places of one buffer, whose parts torch counts as one.
        if old._base is not None and old._base is now._base and old.data_ptr() != now.data_ptr():  # noqa: SLF001
            return
    cloned = "hx.clone()" if isinstance(hx, Tensor) else "tuple(part.clone() for part in hx)"
    fix = f"hx = {cloned}, at the start of the step; or hx + x instead of hx.add_(x)"
    came = f"writes into its state at step {step}"
    why = "the same tensor is an earlier output, or the caller's own: that changes with it"
    _refuse_cell(cell, came, why, fix, "cell-writes-state", step)


def refuse_call_of_result(name: str) -> NoReturn:
    """Refuse a call of what ``convert`` or ``revert`` returned."""
    sentence = f"{name} returns a report of what it changed, which is not a model"
    headline = "the model that was given is changed in place"
    fix = ("fix", f"rnnkit.{name}(model), then model(input)")
    refusal(ArgumentError, "model", sentence, headline, fix, code="convert-result")


def listed_states(name: str, states: Any) -> list[Any]:
    """Return states as a list of one kind, with None in the same places."""
    is_one = isinstance(states, Tensor | LSTMState | str) or not isinstance(states, Iterable)
    listed = [] if is_one else list(states)
    if len({(isinstance(state, Tensor), state is None) for state in listed}) != 1:
        what = f"got {brief(states)}" if is_one else "at least one"
        what = "all of one kind: tensors, pairs, or None" if listed else what
        sentence = f"{name} takes a list of states, {what}"
        fix = ("fix", f"rnnkit.states.{name}([...]), the states in a list")
        refusal(ArgumentError, "states", sentence, "", fix, code="states-of-one-kind")
    return listed


def cells_of(cells: Any, argument: str) -> list[torch.nn.Module]:
    """Return the cells of a ``Recurrent`` as a list."""
    listed: list[Any] = [cells]
    if not isinstance(cells, torch.nn.Module) or isinstance(cells, torch.nn.ModuleList):
        listed = (
            list(cells) if isinstance(cells, Iterable) and not isinstance(cells, Tensor) else []
        )
    wrong = [cell for cell in listed if not isinstance(cell, torch.nn.Module)]
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if wrong or not listed:
        came = wrong[0] if wrong and isinstance(cells, list | tuple) else cells
        headline = "a cell is a torch.nn.Module, called with one step and a state"
        fix = "[rnnkit.GRUCell(input_size, hidden_size)], one cell for each layer"
        if isinstance(came, type):
            fix = f"{bounded(came.__name__, BRIEF_LENGTH)}(...), a cell of this class"
        elif isinstance(came, Tensor):
            headline, fix = "the cells come first, then the input", "rnnkit.Recurrent(cells)(input)"
        sentence = f"Recurrent: {argument} must be a cell or a list of cells, got {brief(came)}"
        refusal(ArgumentError, argument, sentence, headline, ("fix", fix), code="recurrent-cells")
    if layers:
        name = constructor_of(layers[0])
        sentence = f"Recurrent: {argument} must be cells, got the layer {type(layers[0]).__name__}"
        headline = "a layer runs over a whole sequence, a cell takes one step"
        fix = f"{name}(...).cells(), or {name}Cell(...)"
        refusal(ArgumentError, argument, sentence, headline, ("fix", fix), code="recurrent-layer")
    return listed


def check_directions(cells: Any, reverse_cells: Any) -> None:
    """Check that there are as many cells in both directions."""
    if len(reverse_cells) != len(cells):
        number = count(len(cells), "cell", "cells")
        sentence = f"Recurrent: {number} forward and {len(reverse_cells)} backward"
        row = ("fix", "one reverse cell for each layer")
        refusal(ArgumentError, "reverse_cells", sentence, "", row, code="recurrent-directions")


def refuse_states(number: int, hx: Any, name: str) -> NoReturn:
    """Refuse a state of a ``Recurrent`` that is not one for each of its cells."""
    came = f"{len(hx)} of them" if isinstance(hx, tuple | list) else brief(hx)
    headline = "Recurrent carries one state for each cell"
    fix = f"output, {name} = layer(input): the second is such a tuple; or {name}=None for zeros"
    if is_state_of_layer(hx, number):
        headline = f"{headline}; this is a layer's state, all in one"
        fix = f"rnnkit.states.to_layers({name})"
    elif number == 1 and (isinstance(hx, Tensor) or len(tensors_in(hx)) == PAIR):
        headline, fix = f"{headline}; this is the state itself", f"({name},)"
    sentence = f"{name} must be a tuple of {count(number, 'state', 'states')}, got {came}"
    row = (name, wanted("layer by layer, starting with the forward direction", came))
    refusal(StateError, name, sentence, headline, row, ("fix", fix), code="recurrent-state")
