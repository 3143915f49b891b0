"""Find states of two layers that are joined as if they were two directions of one."""

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import Module, RNNBase

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.probes.calls import events_with
from rnnkit._diagnostics.run.module_calls import Call
from rnnkit._diagnostics.run.outputs import tensors_of
from rnnkit._diagnostics.tell.outcome import Finding

#: A tensor with more rows than so many times those of a state is none made of it.
MOST = 4

#: Two rows of a state, which stand side by side.
Pair = tuple[int, int]


def joined_layers(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding]:
    """Yield a finding for a state whose rows are all joined in pairs, if a pair is of two layers.

    ``calls`` are the recurrent calls of a run. Rows of a state are its layers and directions; they
    are looked for in all that functions and modules made.
    """
    stacks = [call for call in calls if _is_stack(call.module)]
    events = events_with(baseline, functions=True) if stacks else []
    made = tensors_of([event.tensors for event in events])
    for call in stacks:
        for part, state in call.returned.items():
            pair = _mixed_pair(made, _rows(call, state))
            if pair is not None:
                yield _finding(call, part, state, pair)


def _mixed_pair(made: Sequence[Tensor], rows: Tensor) -> Pair | None:
    """Return two rows of a state, of two layers, that some tensor has side by side; else None.

    ``made`` are the tensors of a run, and ``rows`` is a state ``(layers * directions, batch,
    hidden)``, of two directions. The tensor has to have each row in one pair. If another tensor has
    all rows of a sample side by side, nothing is wrong.
    """
    every = [*range(len(rows))]
    if any(sorted(group) == every for group in chain(*_neighbors(made, rows, len(rows)))):
        return None
    for pairs in _neighbors(made, rows, 2):
        mixed = [(one, other) for one, other in pairs if one // 2 != other // 2]
        if mixed and sorted(chain(*pairs)) == every:
            return min(mixed)
    return None


def _neighbors(made: Sequence[Tensor], rows: Tensor, number: int) -> Iterator[set[tuple[int, ...]]]:
    """Yield, for each tensor as wide as ``number`` rows of a state, which rows it has side by side.

    ``made`` are the tensors of a run, ``rows`` a state ``(layers * directions, batch, hidden)``.
    The rows in a group are of one sample; otherwise the batch is mixed.
    """
    count, batch, hidden = rows.shape
    for tensor in made:
        if tensor.shape[-1:] != (number * hidden,) or tensor.dtype != rows.dtype:
            continue
        pieces = tensor.reshape(-1, hidden)
        if len(pieces) > MOST * number * count * batch:  # a sequence of outputs
            continue
        # A place is row * batch + sample, or -1.
        places = places_in(rows.flatten(0, 1), pieces).view(-1, number)
        samples = places % batch
        is_known = (places >= 0).all(1) & (samples == samples[:, :1]).all(1)
        yield {tuple(group) for group in (places[is_known] // batch).tolist()}


def _finding(call: Call, part: str, state: Tensor, pair: Pair) -> Finding:
    """Return a finding that names the joined rows of two layers, and the way to join directions.

    ``state`` is what a call returned, ``part`` is h or c, and ``pair`` has the numbers of the two
    rows: 0 and 1 are the directions of layer 0, 2 and 3 those of layer 1.
    """
    name = f"{part}_n"
    one, other = pair
    what = f"{name}[{one}] and {name}[{other}] of {call.label} are joined"
    means = f"they are layers {one // 2} and {other // 2}, not two directions of one layer"
    ways = f"torch.cat([{name}[0::2], {name}[1::2]], 2)"
    if has_batch_first(call, state):
        ways = f"torch.cat([{name}[:, 0::2], {name}[:, 1::2]], 2)"
    fix = f"{ways} joins the directions of each layer; so does rnnkit.states.bridge"
    return Finding(f"{what}: {means}", fix=fix, module=call.name)


def _is_stack(module: Module) -> bool:
    """Return whether a module is a bidirectional layer with further layers."""
    return isinstance(module, RNNBase) and module.bidirectional and module.num_layers > 1


def has_batch_first(call: Call, state: Tensor) -> bool:
    """Return whether a state is laid out ``(batch, layers * directions, hidden)``."""
    return getattr(call.module, "state_batch_first", False) and state.dim() == 3


def _rows(call: Call, state: Tensor) -> Tensor:
    """Return a state as ``(layers * directions, batch, hidden)``, also of an unbatched call.

    If all samples have the same state, since all targets have one source, it has one sample.
    """
    if state.dim() == 2:
        return state.unsqueeze(1)
    rows = state.transpose(0, 1) if has_batch_first(call, state) else state
    return rows[:, :1] if rows.eq(rows[:, :1]).all() else rows


def places_in(table: Tensor, rows: Tensor) -> Tensor:
    """Return where in a table each row stands, ``(rows,)``: if not at one place only, -1.

    Both are ``(rows, ...)``.
    """
    equal = (rows.unsqueeze(1) == table).flatten(2).all(2)
    is_known = equal.sum(1) == 1
    return torch.where(is_known, equal.int().argmax(1), -1)
