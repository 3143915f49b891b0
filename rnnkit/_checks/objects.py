"""Objects in the wrong place: in ``unroll``, as what a cell returns, and in a ``Recurrent``."""

from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, CellError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, count, refusal, wanted
from rnnkit._base.state import PAIR, LSTMState
from rnnkit._checks.cell_guards import is_recurrent, is_state_of_layer, is_with_output

#: torch's names of the cells that rnnkit has, too.
CELLS = ("RNNCell", "LSTMCell", "GRUCell")


def check_cell_object(cell: Any, input: Any) -> None:
    """Check that what is to be unrolled is a cell."""
    if isinstance(cell, torch.nn.RNNBase) or is_recurrent(cell):
        headline, fix = "a layer runs over a sequence itself", "layer(input)"
    elif isinstance(cell, list | tuple | torch.nn.ModuleList):
        headline = "several cells, one above the other, are a layer"
        fix = "rnnkit.Recurrent(cells)(input), where cells is what you passed"
    elif isinstance(cell, Tensor):
        headline, fix = "the cell comes first, then the input", "rnnkit.unroll(cell, input)"
    elif isinstance(cell, type):
        headline, fix = "a class is not a module yet", f"rnnkit.unroll({cell.__name__}(...), input)"
    elif not callable(cell):
        headline = "a cell is called with one step and a state, and returns the next state"
        width = input.shape[-1] if isinstance(input, Tensor) and input.dim() else "input_size"
        fix = f"rnnkit.unroll(rnnkit.GRUCell({width}, ...), input)"
    else:
        return
    came = type(cell).__name__ if isinstance(cell, torch.nn.Module) else brief(cell)
    sentence = f"unroll takes one cell, got {came}"
    refusal(ArgumentError, "cell", sentence, headline, ("fix", fix), code="unroll-cell")


def refuse_stateless(cell: Any, *, again: bool = False) -> NoReturn:
    """Refuse a cell without an initial state, where none was given or, ``again``, at a reset."""
    name = type(cell).__name__
    first = f"rnnkit.{name}" if name in CELLS else "" if again else "hx=..."
    why = "from which a sample starts again" if again else "and no hx was given"
    sentence = f"{name} has no initial_state(batch_size), {why}"
    fix = f"{first}{', or ' if first else ''}a method initial_state(self, batch_size)"
    refusal(CellError, "cell", sentence, "", ("fix", fix), code="cell-initial-state")


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse what a cell returned instead of a state."""
    came = f"took {brief(hx)} as state at step {step}, returned {brief(new)}"
    fix = "return the next state, of the same kind as hx; its first tensor is the output"
    if is_with_output(new, hx):
        fix = "return state, instead of return output, state: its first tensor is the output"
    elif isinstance(new, list):
        fix = f"return {'state[0]' if isinstance(hx, Tensor) else 'tuple(state)'}, not the list"
    sentence = f"{type(cell).__name__} {came}"
    refusal(CellError, "cell", sentence, "", ("fix", fix), code="cell-result", facts=(step,))


def refuse_sizes(cell: Any, old: Any, new: Any, step: int, *, again: bool) -> None:
    """Refuse a state whose sizes change where lengths or, ``again``, resets keep one of the two."""
    before, after = (_sizes(state) for state in (old, new))
    if before != after:
        first, then = (", ".join(map(str, sizes)) for sizes in (before, after))
        came = f"changes its sizes at step {step}: {first}, then {then}"
        why = "where a length ends a sample keeps the one, at a reset it takes the other"
        other = f"let initial_state return {then}" if again else f"begin with a state of {then}"
        fix = ("fix", f"return a state of {first} at every step, or {other}")
        sentence = f"the state of {type(cell).__name__} {came}"
        refusal(CellError, "cell", sentence, why, fix, code="cell-sizes", facts=(step,))


def refuse_outputs(cell: Any, outputs: Iterable[Tensor]) -> None:
    """Refuse outputs, in the order of the steps, that are not of one size; return if they are."""
    first, *others = (tuple(output.shape) for output in outputs)
    for step, size in enumerate(others, 1):
        if size != first:
            came = f"an output of {first} at step 0, and of {size} at step {step}"
            sentence = f"{type(cell).__name__} returned {came}"
            fix = ("fix", "return a state whose first tensor has one size at all steps")
            refusal(CellError, "cell", sentence, "", fix, code="cell-sizes", facts=(step,))


def _sizes(state: Any) -> list[tuple[int, ...]]:
    """Return the sizes of the tensors of a state."""
    if isinstance(state, Tensor):
        return [tuple(state.shape)]
    return [size for part in state for size in _sizes(part)] if isinstance(state, tuple) else []


def refuse_call_of_result(name: str) -> NoReturn:
    """Refuse a call of what ``convert`` or ``revert`` returned."""
    sentence = f"{name} returns a report of what it changed, which is not a model"
    headline = "the model that was given is changed in place"
    fix = ("fix", f"rnnkit.{name}(model), then model(input)")
    refusal(ArgumentError, "model", sentence, headline, fix, code="convert-result")


def listed_states(name: str, states: Any) -> list[Any]:
    """Return states as a list of one kind, with None in the same places."""
    if isinstance(states, Tensor | LSTMState | str) or not isinstance(states, Iterable):
        sentence = f"{name} takes a list of states, got {brief(states)}"
        fix = ("fix", f"rnnkit.states.{name}([...]), the states in a list")
        refusal(ArgumentError, "states", sentence, "", fix, code="states-of-one-kind")
    listed = list(states)
    kinds = {(isinstance(state, Tensor), state is None) for state in listed}
    if len(kinds) != 1:
        what = "at least one" if not listed else "all of one kind: tensors, pairs, or None"
        sentence = f"{name} takes a list of states, {what}"
        refusal(ArgumentError, "states", sentence, code="states-of-one-kind")
    return listed


def cells_of(cells: Any, argument: str) -> list[torch.nn.Module]:
    """Return the cells of a ``Recurrent`` as a list."""
    listed: list[Any] = []
    if isinstance(cells, torch.nn.Module) and not isinstance(cells, torch.nn.ModuleList):
        listed = [cells]
    elif isinstance(cells, Iterable) and not isinstance(cells, Tensor):
        listed = list(cells)
    wrong = [cell for cell in listed if not isinstance(cell, torch.nn.Module)]
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
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if layers:
        name = constructor_of(layers[0])
        sentence = f"Recurrent: {argument} must be cells, got the layer {type(layers[0]).__name__}"
        headline = "a layer runs over a whole sequence, a cell takes one step"
        fix = f"{name}(...).cells(), or {name}Cell(...)"
        refusal(ArgumentError, argument, sentence, headline, ("fix", fix), code="recurrent-layer")
    return listed


def check_directions(cells: Any, reverse_cells: Any) -> None:
    """Check that there are as many cells in both directions, and that they read the same."""
    sentence, fix = "", "one reverse cell for each layer"
    if len(reverse_cells) != len(cells):
        number = count(len(cells), "cell", "cells")
        sentence = f"Recurrent: {number} forward and {len(reverse_cells)} backward"
    for cell, other in zip(cells, reverse_cells, strict=False):
        both = (cell, other)
        if not sentence and all(isinstance(one, torch.nn.RNNCellBase) for one in both):
            reads = [one.input_size for one in both]
            if reads[0] != reads[1]:
                came = f"input_size is {reads[0]} and {reads[1]}"
                sentence = f"Recurrent: reverse_cells read what cells read, but {came}"
                fix = "rnnkit.Recurrent([cell, next_cell]) for two layers"
    if sentence:
        row = ("fix", fix)
        refusal(ArgumentError, "reverse_cells", sentence, "", row, code="recurrent-directions")


def refuse_states(number: int, hx: Any, name: str) -> NoReturn:
    """Refuse a state of a ``Recurrent`` that is not one for each of its cells."""
    came = f"{len(hx)} of them" if isinstance(hx, tuple | list) else brief(hx)
    headline = "Recurrent carries one state for each cell"
    fix = f"output, {name} = layer(input): the second is such a tuple; or {name}=None for zeros"
    parts = [hx] if isinstance(hx, Tensor) else hx
    if is_state_of_layer(hx, number):
        headline = f"{headline}; this is a layer's state, all in one"
        fix = f"rnnkit.states.to_layers({name})"
    elif number == 1 and isinstance(parts, tuple | list) and len(parts) in (1, PAIR):
        headline, fix = f"{headline}; this is the state itself", f"({name},)"
    sentence = f"{name} must be a tuple of {count(number, 'state', 'states')}, got {came}"
    row = (name, wanted("layer by layer, starting with the forward direction", came))
    refusal(StateError, name, sentence, headline, row, ("fix", fix), code="recurrent-state")
