"""Padded batches, the choice of the path on which a layer runs them, and the loops that it equals."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._base.state import state_of
from rnnkit._kernels import choice
from tests.strategies import LAYERS, Case, tensors_of

#: How a batch is run: over its padding, as packed rows by hand, packed by torch's kernel, or with
#: blank steps before resets. Which one is fastest is chosen by size.
PATHS = ("padded", "rows", "packed")
RESET_PATHS = ("blank", "rows", "packed", "steps")
ALL_PATHS = (*PATHS, "blank", "steps")
KINDS = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "LSTM": {},
    "LSTM proj": {"proj_size": 2},
    "GRU": {},
}
#: None, the whole of the input, and between.
LENGTHS = (4, 0, 7, 1, 6)
SEQ = 7
BATCH = len(LENGTHS)

each_path = pytest.mark.parametrize("path", PATHS)
each_layer = pytest.mark.parametrize("name", LAYERS)
each_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def has_kernel(kind: str) -> bool:
    """Return whether torch's own layer of a kind runs and trains in bfloat16 under autocast here."""
    layer = case_of(kind, torch.float32).module(torch.nn)
    with torch.autocast("cpu", torch.bfloat16):
        try:
            layer(torch.ones(SEQ, BATCH, layer.input_size))
        except RuntimeError:
            return False
    return True


@contextmanager
def on(path: str) -> Iterator[None]:
    """Send every batch along one path; those that cannot take it, packed."""

    def for_lengths(facts: choice.Facts, _: list[int]) -> str:
        free = {choice.PADDED: True, choice.ROWS: facts.allows_own_loop}
        return path if free.get(path) else choice.PACKED

    def for_resets(facts: choice.Facts, *_: int, is_full: bool, from_zeros: bool) -> str:
        free = {
            choice.BLANK: facts.mode == "LSTM" and from_zeros,
            choice.STEPS: facts.allows_own_loop and is_full and from_zeros,
            choice.ROWS: facts.allows_own_loop,
        }
        return path if free.get(path) else choice.PACKED

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "for_lengths", for_lengths)
        patch.setattr(choice, "for_resets", for_resets)
        yield


def case_of(kind: str, dtype: torch.dtype = torch.float64, **options) -> Case:
    """A batch of five samples with the lengths above."""
    return Case(
        name=kind.split(maxsplit=1)[0],
        input_size=6,
        hidden_size=3,
        batch=BATCH,
        seq=SEQ,
        dtype=dtype,
        options=KINDS[kind] | options,
    )


def made(*args, **options) -> tuple[Case, Any, Tensor]:
    """Such a case, its layer and its input."""
    case = case_of(*args, **options)
    return case, case.module(rnnkit), case.numbers()


def mask(rate: float = 0.4) -> Tensor:
    """A mask with resets at many steps, and one at the first."""
    reset = torch.rand(SEQ, BATCH, generator=torch.Generator().manual_seed(1)) < rate
    reset[0, 1] = True
    return reset


def drawn(case: Case, rate: float = 0.4) -> Tensor:
    """A mask ``(seq, batch)`` for a case."""
    generator = torch.Generator().manual_seed(case.seed)
    return torch.rand(case.seq, case.batch, generator=generator) < rate


def by_steps(
    cell,
    x: Tensor,
    hx: list[Tensor],
    lengths: Tensor,
    reset: Tensor | None,
    restart: list[Tensor],
    *,
    reverse: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Run a cell over ``(seq, batch, ...)``: the output, and the state after each step.

    A sample starts again from ``restart``.
    """
    valid = (torch.arange(len(x)).unsqueeze(1) < lengths).unsqueeze(2)
    cut = torch.zeros_like(valid) if reset is None else reset.bool().unsqueeze(2)
    state = hx
    states = [hx] * len(x)
    order = range(len(x))
    if reverse:
        order = order[::-1]
    for t in order:
        # Backward, the cut is met on the way from the step that it stands before.
        fresh = cut[t] if not reverse else (cut & valid)[t + 1 : t + 2].any(0)
        begin = [torch.where(fresh, *pair) for pair in zip(restart, state, strict=True)]
        new = tensors_of(cell(x[t], state_of(begin)))
        state = [torch.where(valid[t], *pair) for pair in zip(new, state, strict=True)]
        states[t] = state
    after_each = [torch.stack(each) for each in zip(*states, strict=True)]
    return after_each[0].masked_fill(~valid, 0), after_each


def by_cells(
    layer,
    x: Tensor,
    hx: list[Tensor],
    lengths: Tensor,
    reset: Tensor | None,
    restart: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Run a layer's cells, one step after the other, over ``(seq, batch, ...)``: what is right.

    A sample starts again from ``restart``, or from zeros.
    """
    restart = restart or [torch.zeros_like(tensor) for tensor in hx]
    directions = 1 + layer.bidirectional
    padding = torch.arange(len(x)).unsqueeze(1) >= lengths
    x = x.masked_fill(padding.unsqueeze(2), 0)
    outputs = []
    ends = []
    for place, cell in enumerate(layer.cells()):
        reverse = place % directions == 1
        last = 0 if reverse else -1
        begin, fresh = ([tensor[place] for tensor in state] for state in (hx, restart))
        output, states = by_steps(cell, x, begin, lengths, reset, fresh, reverse=reverse)
        outputs.append(output)
        ends.append([state[last] for state in states])
        if len(outputs) == directions:
            x = torch.cat(outputs, dim=2)
            outputs = []
    return x, [torch.stack(each) for each in zip(*ends, strict=True)]


def by_loop(cell, x: Tensor, hx) -> tuple[Tensor, Any]:
    """Call a cell step by step, as ``unroll`` says that it does."""
    outputs = []
    for x_t in x:
        hx = cell(x_t, hx)
        outputs.append(hx if isinstance(hx, Tensor) else hx[0])
    return torch.stack(outputs), hx


class Wrapped(nn.Module):
    """A user's cell around one of rnnkit's, of which ``unroll`` knows nothing."""

    def __init__(self, cell):
        """Keep the cell."""
        super().__init__()
        self.cell = cell
        self.initial_state = cell.initial_state

    def forward(self, input, hx):
        """Run one step."""
        return self.cell(input, hx)


class Begins(rnnkit.LSTMCell):
    """A cell that begins from a parameter."""

    def __init__(self, *sizes: int):
        super().__init__(*sizes)
        self.begin = nn.Parameter(torch.rand(2, 1, sizes[1]))

    def initial_state(self, batch_size: int | None) -> rnnkit.LSTMState:
        """Begin all samples alike."""
        return rnnkit.LSTMState(*self.begin.expand(-1, batch_size, -1))


class Counts(Begins):
    """A user's cell that carries a count beside its state."""

    def forward(self, input: Tensor, hx):
        """Count a step."""
        return *super().forward(input, hx[:2]), hx[2] + 1

    def initial_state(self, batch_size: int | None):
        """Begin with no step."""
        return *super().initial_state(batch_size), torch.zeros(batch_size or 1, 1)


def close(actual, expected, tolerance: float = 1e-12):
    """Two results hold the same tensors, but for the order of sums."""
    both = tensors_of(actual), tensors_of(expected)
    torch.testing.assert_close(*both, rtol=tolerance, atol=tolerance, equal_nan=True)
