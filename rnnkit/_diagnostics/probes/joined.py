"""Find states of two layers that are joined as if they were two directions of one."""

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Recorder
from rnnkit._diagnostics.run.module_calls import Call
from rnnkit._diagnostics.run.outputs import tensors_of
from rnnkit._diagnostics.tell.outcome import Finding

#: A tensor with more rows than so many times those of a state is none made of it.
MOST = 4

#: Two rows of a state, which stand side by side.
Pair = tuple[int, int]


def joined_layers(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding]:
    """Yield a finding for a state whose rows are all joined in pairs, if a pair is of two layers.

    ``calls`` are the recurrent calls of a run; rows of a state are its layers and directions.
    """
    stacks = [call for call in calls if _is_stack(call)]
    if not stacks:
        return
    recorder = Recorder(functions=True)
    if baseline.session.attempt(baseline.batch.tree(), watch=recorder.watch) is None:
        return
    made = tensors_of([event.tensors for event in recorder.events])
    for call in stacks:
        yield from _joined_in(made, call)


def _joined_in(made: Sequence[Tensor], call: Call) -> Iterator[Finding]:
    """Yield a finding for each part of a call's state whose rows of two layers are joined.

    ``made`` are the tensors of a run.
    """
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
    count = len(rows)
    if _are_all_joined(made, rows):
        return None
    for pieces in _in_pieces(made, rows, 2):  # (..., 2, hidden), of tensors as wide as two rows
        pairs = {*_pairs(pieces, rows)}
        mixed = [pair for pair in pairs if pair[0] // 2 != pair[1] // 2]
        if mixed and sorted(chain.from_iterable(pairs)) == [*range(count)]:
            return min(mixed)
    return None


def _are_all_joined(made: Sequence[Tensor], rows: Tensor) -> bool:
    """Return whether a tensor of ``made`` has all rows of one sample side by side, in any order.

    ``rows`` is a state ``(layers * directions, batch, hidden)``.
    """
    count, batch, _ = rows.shape
    for pieces in _in_pieces(made, rows, count):
        places = places_in(rows.flatten(0, 1), pieces[:1].flatten(0, 1))
        if sorted(place // batch for place in places) == [*range(count)]:
            return True
    return False


def _in_pieces(made: Sequence[Tensor], rows: Tensor, number: int) -> Iterator[Tensor]:
    """Yield tensors as wide as ``number`` rows of a state, viewed as ``(..., number, hidden)``.

    ``made`` are the tensors of a run, ``rows`` a state ``(layers * directions, batch, hidden)``.
    """
    count, batch, hidden = rows.shape
    for tensor in made:
        is_as_wide = tensor.shape[-1:] == (number * hidden,)
        if is_as_wide and tensor.dtype == rows.dtype:
            pieces = tensor.reshape(-1, number, hidden)
            if len(pieces) <= MOST * count * batch:  # more are a sequence of outputs
                yield pieces


def _finding(call: Call, part: str, state: Tensor, pair: Pair) -> Finding:
    """Return a finding that names the joined rows, their layers, and the way to join directions.

    ``state`` is what a call returned, ``part`` is h or c, and ``pair`` has the two rows.
    """
    name = f"{part}_n"
    one, other = pair
    what = f"{name}[{one}] and {name}[{other}] of {call.label} are joined"
    means = f"they are layers {one // 2} and {other // 2}, not two directions of one layer"
    ways = f"torch.cat([{name}[0::2], {name}[1::2]], 2)"
    if has_batch_first(call, state):
        ways = f"torch.cat([{name}[:, 0::2], {name}[:, 1::2]], 2)"
    fix = f"{ways} joins the directions of each layer; so does rnnkit.states.bridge"
    return Finding(f"{what}: {means}", [("fix", fix)], call.name)


def _is_stack(call: Call) -> bool:
    """Return whether a call is one of a bidirectional layer with further layers."""
    module = call.module
    is_layer = isinstance(module, RNNBase)
    return is_layer and module.bidirectional and module.num_layers > 1 and bool(call.returned)


def has_batch_first(call: Call, state: Tensor) -> bool:
    """Return whether a state is laid out ``(batch, layers * directions, hidden)``."""
    return getattr(call.module, "state_batch_first", False) and state.dim() == 3


def _rows(call: Call, state: Tensor) -> Tensor:
    """Return a state as ``(layers * directions, batch, hidden)``, also of an unbatched call."""
    if state.dim() == 2:
        return state.unsqueeze(1)
    return state.transpose(0, 1) if has_batch_first(call, state) else state


def _pairs(halves: Tensor, rows: Tensor) -> Iterator[Pair]:
    """Yield which two rows of a state stand side by side in a tensor ``(..., 2, hidden)``.

    ``rows`` is the state ``(layers * directions, batch, hidden)``.
    """
    batch = rows.shape[1]
    table = rows.flatten(0, 1)  # a place is row * batch + sample
    left, right = halves.unbind(1)
    for one, other in zip(places_in(table, left), places_in(table, right), strict=True):
        # Both halves are of one sample; otherwise the batch is mixed.
        if one >= 0 and other >= 0 and one % batch == other % batch:
            yield one // batch, other // batch


def places_in(table: Tensor, rows: Tensor) -> list[int]:
    """Return where in a table each row stands, if at one place only; else -1.

    Both are ``(rows, ...)``.
    """
    equal = (rows.unsqueeze(1) == table).flatten(2).all(2)
    is_known = equal.sum(1) == 1
    return torch.where(is_known, equal.int().argmax(1), -1).tolist()
