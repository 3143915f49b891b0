"""What layers and cells share over a sequence: its layout, and lengths and resets of a call."""

from typing import Any, NamedTuple

from torch import Tensor

from rnnkit._base.state import map_state
from rnnkit._checks.call_spec import SEQUENCE, CallSpec
from rnnkit._checks.length_checks import check_lengths
from rnnkit._checks.mask_checks import check_reset
from rnnkit._kernels.lengths import Lengths


class Boundaries(NamedTuple):
    """How samples are cut into pieces; each runs as if it were alone."""

    #: The valid steps of each sample; None if all are.
    lengths: Lengths | None = None
    #: ``(seq, batch)``: where a sample starts again; ``(seq,)`` of one sequence.
    reset: Tensor | None = None
    #: The state from which it starts again; None for zeros.
    initial: Any = None


class UnrollArgs(NamedTuple):
    """What a cell is run over, ``(seq, batch, feature)``, and how, as ``unroll`` describes it.

    ``hx`` is None if the cell makes it; ``reset`` ``(seq, batch)`` returns to ``initial``.
    """

    input: Tensor
    hx: Any
    lengths: Lengths | None = None
    reset: Tensor | None = None
    initial: Any = None
    reverse: bool = False
    return_states: bool = False


def starting_from(args: UnrollArgs, hx: Any) -> UnrollArgs:
    """Return the same from another state."""
    return UnrollArgs(  # a compiler of torch 2.8 traces no _replace
        args.input, hx, args.lengths, args.reset, args.initial, args.reverse, args.return_states
    )


def checked_boundaries(spec: CallSpec, input: Any, lengths: Any, reset: Any) -> Boundaries:
    """Check the lengths and resets of a call, in the input's layout."""
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    if counts is not None and counts.is_full():
        counts = None
    mask = None if reset is None else check_reset(spec, reset, input)
    return Boundaries(counts, mask)


def seq_first(input: Tensor, *, batch_first: bool) -> Tensor:
    """Lay an input out as ``(seq, batch, feature)``; one sequence becomes a batch of one."""
    if input.dim() == SEQUENCE:
        return input.unsqueeze(1)
    return input.transpose(0, 1) if batch_first else input


def as_given(output: Tensor, input: Tensor, *, batch_first: bool) -> Tensor:
    """Lay an output ``(seq, batch, hidden)`` out as the input was."""
    if input.dim() == SEQUENCE:
        return output.squeeze(1)
    return output.transpose(0, 1) if batch_first else output


def with_batch(state: Any, axis: int) -> Any:
    """Give a state of one sequence a batch of one, on an axis."""
    return map_state(lambda tensor: tensor.unsqueeze(axis), state)


def without_batch(state: Any, axis: int) -> Any:
    """Take the batch of one from a state again."""
    return map_state(lambda tensor: tensor.squeeze(axis), state)
