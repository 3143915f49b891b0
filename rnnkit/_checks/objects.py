"""Objects in the wrong place: a layer where a cell is wanted, a class where a module is.

The guards of ``unroll``, of what a cell returns, of what ``convert`` did and of lists of states;
and of what a ``Recurrent`` is made of and carries, one state for each cell.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of
from rnnkit._base.errors import ArgumentError, CellError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, count, refusal, wanted
from rnnkit._base.state import PAIR, LSTMState, check_alike
from rnnkit._checks.cell_guards import is_recurrent, is_state_of_layer, is_with_output

#: torch's names of cells, of which rnnkit has each.
CELLS = ("RNNCell", "LSTMCell", "GRUCell")


def check_cell_object(cell: Any, input: Any) -> None:
    """Hold what is to be unrolled to a cell."""
    takes, layer = "a cell", ""
    if isinstance(cell, torch.nn.RNNBase) or is_recurrent(cell):
        layer = f"the layer {type(cell).__name__}"
        headline, fix = "a layer runs over a sequence itself", "layer(input)"
    elif isinstance(cell, list | tuple | torch.nn.ModuleList):
        takes = "one cell"
        headline = "several cells are a layer's, one above the other"
        fix = "rnnkit.Recurrent(cells)(input), where cells is what you passed"
    elif isinstance(cell, Tensor):
        headline = "the cell is the first argument, the input the second"
        fix = "rnnkit.unroll(cell, input)"
    elif isinstance(cell, type):
        headline = "a class is not a module yet"
        fix = f"rnnkit.unroll({cell.__name__}(...), input)"
    elif not callable(cell):
        headline = "a cell is called with one step and a state, and returns the next state"
        sized = isinstance(input, Tensor) and input.dim()
        width = input.shape[-1] if sized else "input_size"
        fix = f"rnnkit.unroll(rnnkit.GRUCell({width}, ...), input)"
    else:
        return
    sentence = f"unroll takes {takes}, got {layer or brief(cell)}"
    refusal(ArgumentError, "cell", sentence, headline, ("fix", fix), code="unroll-cell")


def refuse_stateless(cell: Any, *, again: bool = False) -> NoReturn:
    """Refuse a cell that has no initial state, where none was given.

    A reset, which asks ``again``, goes back to no hx that is given.
    """
    name = type(cell).__name__
    fixes = [f"rnnkit.{name}"] if name in CELLS else [] if again else ["hx=..."]
    why = "from which a sample starts again" if again else "and no hx was given"
    sentence = f"{name} has no initial_state(batch_size), {why}"
    row = ("fix", ", or ".join([*fixes, "a method initial_state(self, batch_size)"]))
    refusal(CellError, "cell", sentence, "", row, code="cell-initial-state")


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse what a cell returned in place of a state."""
    sentence = (
        f"{type(cell).__name__} took {brief(hx)} as state at step {step}, returned {brief(new)}"
    )
    fix = "return the next state, of the same kind as hx; its first tensor is the output"
    if is_with_output(new, hx):
        fix = "return state, in place of return output, state: its first tensor is the output"
    elif isinstance(new, list):
        made = "state[0]" if isinstance(hx, Tensor) else "tuple(state)"
        fix = f"return {made}, where state is the list that it returns"
    refusal(CellError, "cell", sentence, "", ("fix", fix), code="cell-result", facts=(step,))


def refuse_sizes(cell: Any, old: Any, new: Any, step: int, *, again: bool) -> None:
    """Refuse a state that cannot stand beside another one; return if the sizes are alike.

    With lengths or resets a sample keeps the one or takes the other, so both must have one size.

    Args:
        cell: the cell.
        old: the state before the step; at a reset, the one that a sample starts again from.
        new: the state after it; at a reset, the one before it.
        step: at which step.
        again: whether it is a reset.
    """
    before, after = (_sizes(state) for state in (old, new))
    if before == after:
        return
    first, then = (", ".join(map(str, sizes)) for sizes in (before, after))
    name = type(cell).__name__
    zeros = _zeros_typed(new)
    refusal(
        CellError,
        "cell",
        f"the state of {name} changes its sizes at step {step}: {first}, then {then}",
        "where a length ends a sample keeps the one, at a reset it takes the other",
        ("fix", f"return a state of {first} at every step"),
        ("or", f"let initial_state return {zeros}" if again else f"begin with hx={zeros}"),
        code="cell-sizes",
        facts=(step,),
    )


def _zeros_typed(state: Any) -> str:
    """Write zeros of a state's sizes."""
    if isinstance(state, tuple):
        return f"({', '.join(map(_zeros_typed, state))}{',' * (len(state) == 1)})"
    return f"torch.zeros{tuple(state.shape)}" if isinstance(state, Tensor) else "None"


def refuse_outputs(cell: Any, outputs: Iterable[Tensor]) -> None:
    """Refuse outputs, in the order of the steps, that are not of one size; return if they are."""
    first, *others = (tuple(output.shape) for output in outputs)
    for step, size in enumerate(others, 1):
        if size != first:
            sentence = (
                f"{type(cell).__name__} returned an output of {first} at step 0, and of {size} "
                f"at step {step}"
            )
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
    for other in listed[1:]:
        check_alike(listed[0], other)
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
        _refuse_cells(cells, wrong, argument)
    layers = [cell for cell in listed if isinstance(cell, torch.nn.RNNBase)]
    if layers:
        name = constructor_of(layers[0])
        sentence = (
            f"Recurrent: {argument} holds {type(layers[0]).__name__}, a layer over whole sequences"
        )
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
            fix = ("fix", "rnnkit.Recurrent([cell, next_cell]) for two layers")
            refusal(ArgumentError, "reverse_cells", sentence, "", fix, code="recurrent-directions")


def refuse_states(number: int, hx: Any, name: str) -> NoReturn:
    """Refuse a state of a ``Recurrent`` that is not one for each of its cells."""
    came = f"{len(hx)} of them" if isinstance(hx, tuple | list) else brief(hx)
    headline, rows = "Recurrent carries one state for each cell", [("or", f"{name}=None for zeros")]
    fix = f"output, {name} = layer(input): the second is such a tuple"
    if is_state_of_layer(hx, number):
        headline = f"{headline}; this is a layer's state, all in one"
        fix, rows = f"rnnkit.states.to_layers({name})", []
    elif number == 1 and _is_one_state(hx):
        headline = f"{headline}; this is the state itself"
        fix, rows = f"({name},)", []
    refusal(
        StateError,
        name,
        f"{name} must be a tuple of {count(number, 'state', 'states')}, got {came}",
        headline,
        (name, wanted("layer by layer, the forward direction first", came)),
        ("fix", fix),
        *rows,
        code="recurrent-state",
    )


def _is_one_state(hx: Any) -> bool:
    """Say whether this may be the state of one cell."""
    pair = isinstance(hx, tuple | list) and len(hx) == PAIR
    return isinstance(hx, Tensor) or (pair and all(isinstance(part, Tensor) for part in hx))
