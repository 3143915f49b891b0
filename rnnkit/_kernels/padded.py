"""torch's fused kernels over padded input, exact for every length.

A packed input leaves the fast kernels on CPU. A padded one runs over the padding; here it does
so without a trace:

- the padding is zero (it may hold NaN), and so is the output there, which stops gradients too;
- the backward direction reads each sample flipped within its own length;
- the h of each sample is the output of its last step;
- the c of an LSTM is in no output, so it is held: a further feature, 1 on padding, reaches the
  input gate with a weight far below zero and the forget gate with one far above. There i = 0 and
  f = 1 exactly, c stays what it was, and no gradient passes the gates;
- a relu over padding may run away to infinity: the same feature holds it at 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from rnnkit._kernels.custom_op import run_operator
from rnnkit._kernels.lengths import Lengths

#: Far enough that a sigmoid is 0 or 1 exactly, whatever else reaches the gate.
CLOSED = 1e30

#: The same in float16, where the other would be infinite, and no number times the feature's 0.
CLOSED_HALF = 6e4

#: Multiplications of a step, by gate, below which the kernel's own cost decides.
SMALL = 500_000

KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


class Direction(NamedTuple):
    """One layer in one direction: what torch's kernel wants to know."""

    mode: str
    weights: list[Tensor]
    bias: bool
    training: bool

    def run(
        self, input: Tensor, state: tuple[Tensor, ...], *, reverse: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run over ``(seq, batch, feature)`` from a state ``(1, batch, hidden)``."""
        if is_compiling():
            return run_operator(
                self.mode, self.weights, input, state, bias=self.bias, reverse=reverse
            )
        hx: Any = state if self.mode == "LSTM" else state[0]
        if reverse:
            input = input.flip(0)
        output, *state_out = KERNELS[self.mode](
            input, hx, self.weights, self.bias, 1, 0.0, self.training, False, False
        )
        return output.flip(0) if reverse else output, tuple(state_out)


def padding_pays(
    mode: str, hidden_size: int, proj_size: int, input: Tensor, lengths: Lengths
) -> bool:
    """Say whether the padded path is the faster one.

    The bounds are measured on CPU, one thread: what a packed input saves is its padding, what it
    costs is the fast kernel (of a float32 LSTM) and, with gradients, a record of every step. On a
    GPU cuDNN takes packed input well.
    """
    if mode == "RNN_RELU" or input.device.type != "cpu":
        # Over padding a tanh stays where it is; a relu may run away to infinity.
        return False
    if lengths.values is None or torch.is_autocast_enabled("cpu"):
        # Under autocast a packed layer returns another dtype than a padded one.
        return True
    batch = len(lengths.values)
    fill = sum(lengths.values) / max(1, lengths.longest * batch)
    work = batch * hidden_size * (hidden_size + input.shape[-1])
    is_fast = (
        mode == "LSTM"
        and not proj_size
        and input.dtype is torch.float32
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
    with_gradients = torch.is_grad_enabled()
    if is_fast and with_gradients:
        return work < SMALL or fill >= 0.25 + batch / 512
    if is_fast:
        return work < SMALL / 2 or fill >= 0.7
    return with_gradients and fill >= (0.4 if work < SMALL else 0.65)


class Places(NamedTuple):
    """Where the steps of a padded batch lie, as places on its first two axes flattened."""

    #: ``(seq, batch, 1)``: true on padding.
    beyond: Tensor
    #: ``(seq * batch,)``: each sample flipped within its length. Its own inverse.
    flipped: Tensor
    #: ``(batch,)``: the last step of each sample; its first, if it has none.
    last: Tensor


def places_of(lengths: Lengths, steps: int) -> Places:
    """Find the places of ``steps`` steps."""
    valid = lengths.valid(steps)
    step = torch.arange(steps, device=valid.device).unsqueeze(1)
    batch = valid.shape[1]
    sample = torch.arange(batch, device=valid.device)
    flipped = torch.where(valid, lengths.each - 1 - step, step) * batch + sample
    last = (lengths.each - 1).clamp(min=0) * batch + sample
    return Places(~valid.unsqueeze(-1), flipped.reshape(-1), last)


def run_padded(
    direction: Direction,
    input: Tensor,
    state: tuple[Tensor, ...],
    lengths: Lengths,
    places: Places,
    *,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer in one direction over a padded batch, as if over each sample alone.

    Args:
        direction: the weights and their kernel.
        input: ``(seq, batch, feature)``, zero on padding.
        state: the tensors of the first state, each ``(1, batch, hidden)``.
        lengths: the samples' valid steps.
        places: where they lie.
        reverse: whether to run from each sample's last step to its first.

    Returns:
        The output ``(seq, batch, hidden)``, in the input's order, whatever on padding; and the
        state after each sample's last step, as ``state``.
    """
    if direction.mode in ("LSTM", "RNN_RELU"):
        direction, input = _held(direction, input, places)
    if reverse:
        input = take(input, places.flipped)
    output, state_out = direction.run(input, state)
    h = output.flatten(0, 1).index_select(0, places.last).unsqueeze(0)
    if lengths.empty is not None:
        h = torch.where(lengths.empty.view(1, -1, 1), state[0].to(h.dtype), h)
    if reverse:
        output = take(output, places.flipped)
    return output, (h, *state_out[1:])


def _held(direction: Direction, input: Tensor, places: Places) -> tuple[Direction, Tensor]:
    weight, *others = direction.weights
    column = weight.new_zeros(weight.shape[0], 1)
    lowered = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    closed = CLOSED_HALF if torch.float16 in (lowered, weight.dtype) else CLOSED
    if direction.mode == "LSTM":
        gate = weight.shape[0] // 4
        column[:gate] = -closed
        column[gate : 2 * gate] = closed
    else:
        column -= closed
    weights = [torch.cat([weight, column], dim=1), *others]
    input = torch.cat([input, places.beyond.to(input.dtype)], dim=2)
    return direction._replace(weights=weights), input


def take(tensor: Tensor, places: Tensor) -> Tensor:
    """Put the steps of a padded batch in the order of these places."""
    return tensor.flatten(0, 1).index_select(0, places).view(tensor.shape)


def run_layers(
    directions: list[list[Direction]], input: Tensor, state: tuple[Tensor, ...], dropout: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run layers upon layers over a batch of which all steps are valid.

    Arguments and results are those of :func:`run_stack`.
    """
    ends: list[tuple[Tensor, ...]] = []
    for place, layer in enumerate(directions):
        if place and dropout:
            input = functional.dropout(input, dropout, training=layer[0].training)
        outputs = []
        for reverse, direction in enumerate(layer):
            start = tuple(tensor[len(ends) : len(ends) + 1] for tensor in state)
            output, end = direction.run(input, start, reverse=bool(reverse))
            outputs.append(output)
            ends.append(end)
        input = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return input, tuple(torch.cat(tensors) for tensors in zip(*ends, strict=True))


def run_stack(
    directions: list[list[Direction]],
    input: Tensor,
    state: tuple[Tensor, ...],
    lengths: Lengths,
    dropout: float,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run layers upon layers, in one direction or two.

    Args:
        directions: layer by layer, the forward direction first.
        input: ``(seq, batch, feature)``; what lies beyond a length is not read.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps.
        dropout: probability of dropping a feature between two layers.

    Returns:
        The output ``(seq, batch, directions * hidden)``, zero on padding, and the state after
        each sample's own last step.
    """
    places = places_of(lengths, len(input))
    ends: list[tuple[Tensor, ...]] = []
    for place, layer in enumerate(directions):
        if place and dropout:
            input = functional.dropout(input, dropout, training=layer[0].training)
        input = input.masked_fill(places.beyond, 0)
        outputs = []
        for reverse, direction in enumerate(layer):
            start = tuple(tensor[len(ends) : len(ends) + 1] for tensor in state)
            output, end = run_padded(
                direction, input, start, lengths, places, reverse=bool(reverse)
            )
            outputs.append(output)
            ends.append(end)
        input = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    output = input.masked_fill(places.beyond, 0)
    return output, tuple(torch.cat(tensors) for tensors in zip(*ends, strict=True))
