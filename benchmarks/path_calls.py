"""Calls at random sizes, on each path that may be chosen, to judge the choice."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._kernels import choice, paths
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, Stack

#: By the kind that the table knows, what torch calls it and in which dtype it is measured.
KINDS = {
    "LSTM": ("LSTM", torch.float32),
    "LSTM by steps": ("LSTM", torch.float64),
    "GRU": ("GRU", torch.float32),
    "RNN": ("RNN_TANH", torch.float32),
}
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1}

#: From which to which the sizes are drawn, evenly on a logarithmic scale. Of a batch of one nothing
#: is padding, and torch's packed kernel takes another way.
RANGES = {"batch": (2, 128), "seq": (6, 400), "input_size": (8, 256), "hidden_size": (16, 256)}
#: Multiplications of a pass that is still timed.
LARGEST = 8e8


class Size(NamedTuple):
    """One call that is measured."""

    batch: int
    seq: int
    input_size: int
    hidden_size: int
    #: The share of steps that are valid, about.
    fill: float
    #: The share of steps before which a sample starts again.
    rate: float


def sizes(number: int, seed: int = 1) -> list[Size]:
    """Draw sizes, the same ones in every process."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    drawn: list[Size] = []
    while len(drawn) < number:
        batch, seq, input_size, hidden_size = (
            round(math.exp(draw.uniform(math.log(low), math.log(high))))
            for low, high in RANGES.values()
        )
        if batch * seq * hidden_size * (input_size + hidden_size) * 4 < LARGEST:
            shares = draw.uniform(0.15, 0.95), math.exp(draw.uniform(math.log(0.004), -2))
            drawn.append(Size(batch, seq, input_size, hidden_size, *shares))
    return drawn


class Call(NamedTuple):
    """A call of one layer in one direction, and what its two kinds of pieces come to."""

    stack: Stack
    input: Tensor
    state: tuple[Tensor, ...]
    lengths: Lengths
    reset: Tensor


def made(kind: str, size: Size, *, gradients: bool) -> Call:
    """Make the weights and the input of a call."""
    mode, dtype = KINDS[kind]
    torch.manual_seed(0)
    rows, hidden = GATES[mode] * size.hidden_size, size.hidden_size
    bound = hidden**-0.5
    shapes = (rows, size.input_size), (rows, hidden), (rows,), (rows,)
    weights = [
        torch.empty(shape, dtype=dtype).uniform_(-bound, bound).requires_grad_(gradients)
        for shape in shapes
    ]
    input = torch.randn(size.seq, size.batch, size.input_size, dtype=dtype)
    state = torch.zeros(1, size.batch, hidden, dtype=dtype)
    even = (torch.randperm(size.batch) + 1) / size.batch
    counts = (size.seq * even ** (1 / size.fill - 1)).round().long().clamp(min=1)
    return Call(
        Stack([[Direction(mode, weights, bias=True, training=True)]]),
        input.requires_grad_(gradients),
        (state,) * (2 if mode == "LSTM" else 1),
        Lengths(counts, counts.tolist(), size.seq),
        _resets(size),
    )


def _resets(size: Size) -> Tensor:
    reset = torch.rand(size.seq, size.batch) < size.rate
    reset[size.seq // 2, 0] = True  # one at least
    return reset


@contextmanager
def forced(path: str) -> Iterator[None]:
    """Let every call take one path."""
    usual = choice.for_lengths, choice.for_resets
    # Not by a mock, which takes as long as a short call.
    choice.for_lengths = choice.for_resets = lambda *_, **__: path  # type: ignore[assignment]
    try:
        yield
    finally:
        choice.for_lengths, choice.for_resets = usual


def run(call: Call, path: str | None, *, resets: bool) -> Callable[[], object]:
    """Return the call on a path, or on the one that is chosen; both passes if it has gradients."""
    lengths, reset = (None, call.reset) if resets else (call.lengths, None)
    leaves = [call.input, *call.stack.directions[0].weights]

    def once() -> object:
        output, _ = paths.run(call.stack, call.input, call.state, lengths, reset)
        if call.input.requires_grad:
            return torch.autograd.grad(output.sum(), leaves)
        return output

    def on_the_path() -> object:
        with torch.set_grad_enabled(call.input.requires_grad):
            if path is None:
                return once()
            with forced(path):
                return once()

    return on_the_path
