"""Cells, their calls and what they return: what may be one, and objects in the wrong place."""

from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.class_facts import constructor_of, overrides_initial_state
from rnnkit._base.errors import ArgumentError, ShapeError, StateError
from rnnkit._base.message import brief, count, refuse
from rnnkit._base.state import BATCHED, PAIR, LSTMState
from rnnkit._checks.call_spec import CallSpec, spec_of


class UnrollCall(NamedTuple):
    """A call of ``unroll``, or of one cell of a ``Recurrent``, with the arguments as they came."""

    cell: Any
    input: Any
    hx: Any
    #: The function that a message names: unroll, or Recurrent.
    caller: str
    batch_first: bool
    lengths: object = None
    reset: object = None
    reverse: bool = False
    return_states: bool = False
    fused: bool = True
    block: int | None = None
    #: The cell's part of what the ``initial_state`` of a subclass of ``Recurrent`` returned.
    initial: Any = None
    #: How the caller writes the state.
    state: str = "hx"

    def spec(self, *, is_known: bool) -> CallSpec:
        """Read the call, whose input is a tensor, as the cell reads it.

        A cell that is not known is a user's, whose features and state may have any widths.
        """
        return spec_of(
            self.cell,
            self.input,
            "unrolled",
            self.caller,
            batch_first=self.batch_first,
            is_known=is_known,
            state=self.state,
        )


def is_callable_cell(cell: Any) -> bool:
    """Return whether this may be a cell: callable, and not a layer, list, tensor or class."""
    wrong = (torch.nn.RNNBase, torch.nn.ModuleList, Tensor, type)
    return callable(cell) and not isinstance(cell, wrong)


def has_batch(hx: Any, batch: Any) -> bool:
    """Return whether each tensor of a user's state, in any nesting, has the batch on axis 0."""
    if isinstance(hx, tuple | list):
        return all(part is None or has_batch(part, batch) for part in hx)
    return isinstance(hx, Tensor) and tuple(hx.shape)[:1] == (batch,)


def is_state_of_layer(hx: Any, rows: int) -> bool:
    """Return whether this is a tensor, or a pair, that has the states of all cells on axis 0.

    ``rows`` is how many cells there are; each tensor is then ``(rows, batch, hidden)``.
    """
    if isinstance(hx, Tensor):
        return hx.dim() == BATCHED and len(hx) == rows
    if not isinstance(hx, tuple | list) or len(hx) != PAIR:
        return False
    return all(isinstance(part, Tensor) and is_state_of_layer(part, rows) for part in hx)


def is_result(new: Any, hx: Any) -> bool:
    """Return whether what a cell returned is a state of the kind of ``hx``, which it was given.

    That is a tensor for a tensor, and for a tuple a tuple whose first member is a tensor.
    """
    if isinstance(new, Tensor):
        return isinstance(hx, Tensor)
    if not isinstance(new, tuple) or isinstance(hx, Tensor) or is_with_output(new, hx):
        return False
    return isinstance(output_of(new), Tensor)


def is_with_output(new: Any, hx: Any) -> bool:
    """Return whether a cell returned ``(output, state)``, and not only the state.

    ``new`` is what it returned, and ``hx`` the state that it was given: the state is of its kind.
    """
    if not isinstance(new, tuple) or len(new) != PAIR or not isinstance(new[0], Tensor):
        return False
    if isinstance(hx, Tensor):
        return isinstance(new[1], Tensor)
    fits = isinstance(new[1], tuple) and len(new[1]) == len(hx)
    return fits and all(isinstance(part, Tensor) for part in (*new[1], *hx))


def is_of_layer(tensor: Tensor, batch: Any) -> bool:
    """Return whether a tensor has the batch on axis 1, as a layer's state, and not on axis 0."""
    return tensor.dim() > PAIR and tensor.shape[0] != batch == tensor.shape[1]


def output_of(state: Any) -> Any:
    """Return what a step has put out: its state, or the first tensor of that."""
    return state[0] if isinstance(state, (tuple, list)) and state else state


def beside(old: Any, new: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs of tensors that stand in the same places of two states, however nested."""
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return [(old, new)]
    if not isinstance(old, tuple | list) or not isinstance(new, tuple | list):
        return []
    return [pair for parts in zip(old, new, strict=False) for pair in beside(*parts)]


def is_by_samples(tensor: Tensor, batch: Any) -> bool:
    """Return whether a mask ``(batch,)`` chooses rows of a tensor of a state, or all share it.

    False of a tensor with another axis 0, and of a layer's, with the batch on axis 1.
    """
    fits = batch == 1 or tensor.dim() == 0 or tensor.shape[0] in (1, batch)
    return fits and not is_of_layer(tensor, batch)


def tensor_without_samples(old: Any, new: Any, batch: Any, *, has_lengths: bool) -> Tensor | None:
    """Return a tensor that a step returned without a row for each sample, or None.

    ``old`` and ``new`` are a cell's states before and after the step. The output needs such rows
    where lengths cut it, and so does whatever had them before the step.
    """
    output: Tensor = output_of(new)
    if is_of_layer(output, batch):
        return output
    if has_lengths and not has_batch(output, batch) and (batch != 1 or output.dim() == 0):
        return output
    pairs = beside(old, new) if batch != 1 else []  # all samples may share an axis of one
    lost = [two for one, two in pairs if has_batch(one, batch) and not has_batch(two, batch)]
    return lost[0] if lost else None


def tensors_in(state: Any) -> list[Tensor]:
    """Return the tensors of any cell's state."""
    if isinstance(state, Tensor):
        return [state]
    parts = state if isinstance(state, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def versions(state: Any) -> list[int]:
    """Return how often each tensor of a state was written; in inference mode torch counts none."""
    return [0 if t.is_inference() else t._version for t in tensors_in(state)]  # noqa: SLF001


#: What a cell is, and one to type.
CELL = "a cell is called with one step and a state, and returns the next state"
CELL_TO_TYPE = "rnnkit.unroll(rnnkit.GRUCell(input_size, hidden_size), input)"


def check_cell_object(cell: Any) -> None:
    """Refuse what is to be unrolled unless it is a cell: anything callable that is no layer."""
    if is_callable_cell(cell):
        return
    headline = CELL
    fix = CELL_TO_TYPE
    if isinstance(cell, torch.nn.RNNBase):
        headline = "a layer runs over a sequence itself"
        fix = "layer(input)"
    elif isinstance(cell, list | tuple | torch.nn.ModuleList):
        headline = "a stack of cells is a layer, not one cell"
        fix = "rnnkit.Recurrent(cells)(input), where cells is what you passed"
    came = type(cell).__name__ if isinstance(cell, torch.nn.Module) else brief(cell)
    sentence = f"unroll requires one cell, got {came}"
    refuse(ArgumentError, "cell", sentence, headline, fix=fix, code="unroll-cell")


def refuse_call_of_result(name: str) -> NoReturn:
    """Refuse a call of the report that ``name``, convert or revert, returned: it is no model."""
    refuse(
        ArgumentError,
        "model",
        f"{name} returns a report of what it changed, which is not a model",
        "the model that you passed is changed in place",
        fix=f"rnnkit.{name}(model), then model(input)",
        code="convert-result",
    )


def listed_states(name: str, states: Any) -> list[Any]:
    """Return the argument ``states`` of ``rnnkit.states.cat`` or its like, ``name``, as a list.

    It is refused if it is empty or no list, or unless its members are all tensors, all None, or all
    of another kind, such as pairs.
    """
    is_one = isinstance(states, Tensor | LSTMState | str) or not isinstance(states, Iterable)
    listed = [] if is_one else list(states)
    if len({(isinstance(state, Tensor), state is None) for state in listed}) != 1:
        what = "all of one kind: tensors, pairs, or None" if listed else f"got {brief(states)}"
        refuse(
            ArgumentError,
            "states",
            f"{name} requires a list of states, {what}",
            fix=f"rnnkit.states.{name}([...]), with states of one kind in a list",
            code="states-of-one-kind",
        )
    return listed


def cells_of(cells: Any, argument: str, number: int | None = None) -> list[torch.nn.Module]:
    """Return the cells of one direction of a ``Recurrent``: one cell, or several in any iterable.

    They are refused if one is no module or a layer, or if they are not as many as ``number``, the
    cells of the other direction. ``argument`` is what the caller gave them as.
    """
    listed = _listed_cells(cells)
    module = torch.nn.Module
    layer = torch.nn.RNNBase
    wrong = [cell for cell in listed if not isinstance(cell, module) or isinstance(cell, layer)]
    if wrong or not listed:
        came = wrong[0] if wrong and isinstance(cells, list | tuple) else cells
        fix = "pass [rnnkit.GRUCell(input_size, hidden_size)], with one cell for each layer"
        if isinstance(came, layer):
            fix = f"rnnkit.Recurrent.of(layer), or {constructor_of(came)}Cell(...)"
        refuse(
            ArgumentError,
            argument,
            f"Recurrent: {argument} must be a cell or a list of cells, got {brief(came)}",
            "a cell is a torch.nn.Module that is called with one step and a state",
            fix=fix,
            code="recurrent-cells",
        )
    if number is not None and len(listed) != number:
        refuse(
            ArgumentError,
            argument,
            f"Recurrent: cells has {number}, but reverse_cells has {len(listed)}",
            fix="pass one cell in reverse_cells for each cell in cells",
            code="recurrent-directions",
        )
    return listed


def _listed_cells(cells: Any) -> list[Any]:
    """Return one cell, or several of any iterable, as a list; empty of anything else."""
    if isinstance(cells, torch.nn.Module) and not isinstance(cells, torch.nn.ModuleList):
        return [cells]
    is_many = isinstance(cells, Iterable) and not isinstance(cells, Tensor)
    return list(cells) if is_many else []


#: What a cell of a layer remembers: whether it is one of the backward direction.
RUNS_BACKWARD = "_runs_backward"


def check_directions(cells: list[Any]) -> None:
    """Refuse both directions of a layer, as its ``cells()`` lists them, as one stack of cells.

    ``cells`` are the forward cells of a ``Recurrent``; one taken from a layer remembers its
    direction.
    """
    directions = [vars(cell).get(RUNS_BACKWARD) for cell in cells]
    if not directions or directions != [False, True] * (len(cells) // 2):
        return
    refuse(
        ArgumentError,
        "cells",
        "Recurrent: cells has both directions of a bidirectional layer, one after the other",
        "as one stack, each cell would read the output of the cell before it",
        fix="rnnkit.Recurrent.of(layer), or Recurrent(cells[::2], reverse_cells=cells[1::2])",
        code="recurrent-both-ways",
    )


def check_layer_of_cells(layer: Any) -> None:
    """Refuse a layer for ``Recurrent.of``, unless it is rnnkit's and begins as its cells do.

    An overridden ``initial_state`` belongs to the layer as a whole, and its cells would not have
    it.
    """
    sentence = f"Recurrent.of requires one of rnnkit's layers, got {brief(layer)}"
    fix = "rnnkit.Recurrent.of(rnnkit.LSTM(input_size, hidden_size)), or Recurrent(cells)"
    if isinstance(layer, torch.nn.RNNBase) and hasattr(layer, "cells"):
        if not overrides_initial_state(layer):
            return
        sentence = f"Recurrent.of: the cells would not use {type(layer).__name__}.initial_state"
        fix = "pass layer.cells() to a subclass of rnnkit.Recurrent that has this initial_state"
    elif isinstance(layer, torch.nn.RNNBase):
        fix = f"make it an rnnkit.{type(layer).__name__}, or call rnnkit.convert on the whole model"
    refuse(ArgumentError, "layer", sentence, fix=fix, code="recurrent-of")


def check_widths(cells: Iterable[Any], reverse_cells: Iterable[Any]) -> None:
    """Check that each layer of a ``Recurrent`` reads as many features as the one below returns.

    One with cells in both directions returns the features of both side by side; users' cells pass.
    """
    forward = [*cells]
    backward = [*reverse_cells]
    for place, cell in enumerate(forward[1:], 1):
        below = [forward[place - 1], *backward[place - 1 : place]]
        # Of torch's and rnnkit's cells the sizes say what they read and return.
        if not all(isinstance(each, torch.nn.RNNCellBase) for each in (cell, *below)):
            continue
        width = sum(getattr(each, "proj_size", 0) or each.hidden_size for each in below)
        if width != cell.input_size:
            refuse(
                ShapeError,
                "cells",
                f"Recurrent: layer {place - 1} returns {width} features, "
                f"but layer {place} expects {cell.input_size}",
                fix=f"{type(cell).__name__}({width}, ...) as the cell of layer {place}",
                code="recurrent-widths",
                expected=(cell.input_size,),
                actual=(width,),
            )


def refuse_states(number: int, hx: Any, name: str) -> NoReturn:
    """Refuse ``hx``, a state of a ``Recurrent`` that is not one for each of its cells.

    ``number`` is how many cells it has, and ``name`` how the caller writes the state.
    """
    came = brief(hx)
    if isinstance(hx, tuple | list) and hx:
        came = f"{came} of {len(hx)}"
    headline = "each cell needs one state, layer by layer, the forward direction first"
    fix = f"output, {name} = layer(input), which returns this tuple; or {name}=None for zeros"
    if is_state_of_layer(hx, number):
        fix = f"rnnkit.states.to_layers({name}), if this is a layer's state"
    elif number == 1 and (isinstance(hx, Tensor) or len(tensors_in(hx)) == PAIR):
        fix = f"({name},), if this is the state of the one cell"
    sentence = f"{name} must be a tuple of {count(number, 'state', 'states')}, got {came}"
    refuse(StateError, name, sentence, headline, fix=fix, code="recurrent-state")
