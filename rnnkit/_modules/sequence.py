"""What layers and cells share over a sequence: lengths and resets of a call, and what runs."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.state import State, StateT, map_state
from rnnkit._checks.call_spec import CallSpec
from rnnkit._checks.length_checks import checked_lengths
from rnnkit._checks.mask_checks import checked_reset
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import States

#: Any cell, one of ours or a user's: it takes ``(batch, feature)`` and a state, and returns the
#: next state.
CellFunction: TypeAlias = Callable[..., State]


class Boundaries(NamedTuple):
    """How samples are cut into pieces; each runs as if it were alone."""

    #: The valid steps of each sample; None if all are.
    lengths: Lengths | None = None
    #: ``(seq, batch)``: where a sample starts again.
    reset: Tensor | None = None
    #: The state from which it starts again; None for zeros.
    initial: States | None = None


class UnrollArgs(NamedTuple):
    """What a cell is run over, ``(seq, batch, feature)``, and how, as ``unroll`` describes it.

    ``hx`` is None if the cell makes it; ``reset`` ``(seq, batch)`` returns to ``initial``.
    """

    input: Tensor
    hx: State | None
    lengths: Lengths | None = None
    reset: Tensor | None = None
    initial: State | None = None
    reverse: bool = False
    return_states: bool = False
    #: So many steps of a user's cell are compiled together; None compiles nothing.
    block: int | None = None


class StepInputs(NamedTuple):
    """What the steps read: ``(seq, batch, ...)``, with resets as the order of steps has them."""

    input: Tensor
    #: The state before the first step.
    hx: State | None
    #: Where a step is valid; None if all are.
    valid: Tensor | None
    #: Where a sample starts again before a step.
    reset: Tensor | None


def checked_boundaries(
    spec: CallSpec, input: Tensor | PackedSequence, lengths: object, reset: object
) -> Boundaries:
    """Check the lengths and resets of a call; one sequence becomes a batch of one."""
    counts = None if lengths is None else checked_lengths(spec, lengths, input)
    if counts is not None and counts.is_full():
        counts = None
    mask = None if reset is None else checked_reset(spec, reset)
    if mask is not None and spec.batch is None:
        mask = mask.unsqueeze(1)
    return Boundaries(counts, mask)


def with_batch(state: StateT, axis: int) -> StateT:
    """Give a state of one sequence a batch of one, on an axis."""
    return map_state(lambda tensor: tensor.unsqueeze(axis), state)


def without_batch(state: StateT, axis: int) -> StateT:
    """Take the batch of one from a state again."""
    return map_state(lambda tensor: tensor.squeeze(axis), state)
