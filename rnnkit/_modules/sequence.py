"""What runs over a sequence: its cell, its inputs, and what lengths and resets do to them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.state import LSTMState, State, StateT, map_state, tensors_of
from rnnkit._checks.call_spec import CallSpec
from rnnkit._checks.length_checks import checked_lengths
from rnnkit._checks.mask_checks import checked_reset
from rnnkit._checks.objects import output_of
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, States

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
    """What steps read beside the state: ``(seq, batch, ...)``, or ``(batch, ...)`` of one step."""

    input: Tensor
    #: Where a step is valid; None if all are.
    valid: Tensor | None = None
    #: Where a sample starts again before a step, in the order in which the steps run.
    reset: Tensor | None = None

    def parts(self, split: Callable[[Tensor], Sequence[Tensor]]) -> list["StepInputs"]:
        """Return these steps in parts, or one by one.

        ``split`` splits a tensor along its first axis, into all parts at once: an index would fill
        a gradient of all steps for each of them.
        """
        inputs = split(self.input)
        nothing = [None] * len(inputs)
        valid = nothing if self.valid is None else split(self.valid)
        reset = nothing if self.reset is None else split(self.reset)
        return [StepInputs(*part) for part in zip(inputs, valid, reset, strict=True)]


def parameters_of(cell: Any) -> list[Tensor]:
    """Return the weights of a cell, which may be no module: then none is known."""
    return [*cell.parameters()] if hasattr(cell, "parameters") else []


def checked_boundaries(
    spec: CallSpec,
    input: Tensor | PackedSequence,
    lengths: object,
    reset: object,
    initial: State | None = None,
) -> Boundaries:
    """Check the lengths and resets of a call, and return them as kernels take them.

    ``spec`` describes the call, for errors; ``lengths`` and ``reset`` are as the caller gave them,
    None if not. ``initial`` is the state to which a layer is reset, checked; None for zeros. Where
    the input is one sequence, mask and initial state get a batch of one. Lengths that are all equal
    to the number of steps change nothing, and become None.
    """
    counts = None if lengths is None else checked_lengths(spec, lengths, input)
    if counts is not None and counts.is_full():
        counts = None
    mask = None if reset is None else checked_reset(spec, reset)
    if mask is not None and spec.batch is None:
        mask = mask.unsqueeze(1)
        initial = with_batch(initial, 1)
    return Boundaries(counts, mask, None if initial is None else tensors_of(initial))


def with_batch(state: StateT, axis: int) -> StateT:
    """Give a state of one sequence a batch of one, on an axis."""
    return map_state(lambda tensor: tensor.unsqueeze(axis), state)


def without_batch(state: StateT, axis: int) -> StateT:
    """Take the batch of one from a state again."""
    return map_state(lambda tensor: tensor.squeeze(axis), state)


def longest_sample(lengths: Lengths) -> Tensor:
    """Return the number of the longest sample, ``(1,)``.

    Where the batch has no samples it is ``(0,)``: ``argmax`` would fail.
    """
    return lengths.each.argsort(descending=True)[:1]


def row_of(tensor: Tensor, sample: Tensor) -> Tensor:
    """Return one sample's row ``(1, ...)`` of a state's tensor, or the row that all samples share.

    ``sample`` is the number of the sample, ``(1,)``.
    """
    shared = tensor.dim() == 0 or tensor.shape[0] == 1
    return tensor if shared else tensor.index_select(0, sample)


def fill_padding(input: Tensor, lengths: Lengths, valid: Tensor) -> Tensor:
    """Fill padding with the sample's last valid step, or with the longest sample's first.

    The latter is for samples without a valid step; if none has any, they are filled with zeros.
    ``input`` is ``(seq, batch, feature)``, and ``valid`` ``(seq, batch)`` is false on padding.

    A cell may be undefined at zeros, and a NaN that is masked still has a NaN for its gradient.
    """
    each = lengths.each
    sample = torch.arange(input.shape[1], device=input.device)
    sample = torch.where(each == 0, longest_sample(lengths), sample)
    filler = input.detach()[(each - 1).clamp(min=0), sample]
    if lengths.values is None or not lengths.longest:  # steps run where no sample has any
        filler = filler.masked_fill((each == 0).all(), 0)
    return torch.where(valid.unsqueeze(-1), input, filler)


def before_each(reset: Tensor, valid: Tensor | None, *, reverse: bool) -> Tensor:
    """Return before which steps a sample is reset, ``(seq, batch)``, where steps run in an order.

    ``reset`` ``(seq, batch)`` is the caller's, in the order of the input; ``valid``, of the same
    shape, is false on padding, where nothing is reset, or None if there is none.

    A reset at t cuts between t - 1 and t: run backward, that is before step t - 1.
    """
    if valid is not None:
        reset = reset & valid
    if not reverse:
        return reset
    # Not by a slice from step 1, which would forbid an exporter a sequence of two steps.
    steps = reset.shape[0]
    return reset.roll(-1, 0) & (torch.arange(steps, device=reset.device) < steps - 1).unsqueeze(1)


def where_state(mask: Tensor, new: State | None, old: State | None) -> Any:
    """Return the new state where a mask ``(batch,)`` or ``(seq, batch)`` is true, else the old.

    The axes of the mask are the first ones of each tensor of the states.
    """
    views: dict[int, Tensor] = {}  # one for all tensors of a rank

    def pick(one: Tensor, other: Tensor) -> Tensor:
        rank = one.dim()
        if rank not in views:
            # By an index, without sizes: torch saves no exported program that asks for them here.
            views[rank] = mask[(..., *[None] * (rank - mask.dim()))]
        return torch.where(views[rank], one, other)

    return map_state(pick, new, old)


def state_after(valid: Tensor, new: State, old: State | None) -> State:
    """Return the new state where ``valid`` is true, else the old, in the dtype of the new one.

    The old one has that before the step, and autocast may lower what a step returns.
    """
    return map_state(lambda one, both: both.to(one.dtype), new, where_state(valid, new, old))


def without_padding(output: Tensor, valid: Tensor | None) -> Tensor:
    """Return an output ``(seq, batch, ...)`` with zeros on its padding.

    There ``valid`` ``(seq, batch)`` is false; without padding it is None.
    """
    if valid is None:
        return output
    return output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)


class PreprojectedCell:
    """A cell of rnnkit's by its equations, whose step takes the input's part, computed before.

    The products of all steps with the input are one product. And torch's fused kernels for a step
    have no rules for ``torch.func`` and forward-mode derivatives; the equations' operations do.
    """

    def __init__(self, direction: Direction) -> None:
        """Take the equations and weights of one direction of a layer.

        The weights are ``weight_ih``, ``weight_hh``, two biases if the direction has them, and the
        projection of an LSTM's h if it has one.
        """
        self.recurrence = direction.recurrence
        self.weights = direction.weights
        weight_ih, weight_hh, *others = self.weights
        self.input_weights = (weight_ih, others[0] if direction.bias else None)
        self.hidden_weights = (weight_hh, others[1] if direction.bias else None)
        self.projection = others[-1] if direction.is_projected else None

    def parameters(self) -> Sequence[Tensor]:
        """Return its weights, as a module does."""
        return self.weights

    def project(self, input: Tensor) -> Tensor:
        """Compute the input's part for all steps: ``(seq, batch, gates * hidden)``."""
        return functional.linear(input, *self.input_weights)

    def __call__(self, given: Tensor, hx: Any) -> State:
        """Run one step from the input's part ``(batch, gates * hidden)``; return the next state.

        That part is a step of what ``project`` returns. ``hx`` is the state before the step,
        ``(batch, hidden)``, or an LSTM's pair, and the result is like it.
        """
        hidden = functional.linear(output_of(hx), *self.hidden_weights)
        new: State = self.recurrence.step(given, hidden, hx)
        if self.projection is None:
            return new
        return LSTMState(functional.linear(new[0], self.projection), new[1])
