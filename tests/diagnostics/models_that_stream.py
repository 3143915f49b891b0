"""Models that return a state and take it: each right, and wrong in one expression."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, tokens


class Carry(NamedTuple):
    """A state by names, with a counter that is no number with fractions."""

    h: Tensor
    step: Tensor


@dataclass
class Result:
    """What a model returns, as a dataclass."""

    logits: Tensor
    state: Any


@dataclass(frozen=True)
class Streaming:
    """How to make a model right or wrong, and what it is called with."""

    make: Callable[[bool], nn.Module]
    inputs: Callable[[], tuple[Any, ...]] = lambda: (numbers(BATCH, SEQ, FEATURE),)
    options: dict[str, Any] = field(default_factory=dict)


def lstm(**options: Any) -> nn.LSTM:
    """Make a layer."""
    return nn.LSTM(FEATURE, HIDDEN, batch_first=True, **options)


def gru(**options: Any) -> nn.GRU:
    """Make a layer."""
    return nn.GRU(FEATURE, HIDDEN, batch_first=True, **options)


def head() -> nn.Linear:
    """Make what stands on a layer."""
    return nn.Linear(HIDDEN, 5)


def tagger(fixed: bool) -> nn.Module:
    """Take the state that is passed on, or forget it."""

    def compute(m: Any, x: Tensor, state: Any = None) -> Any:
        output, state = m.lstm(x, state if fixed else None)
        return m.head(output), state

    return Named(compute, lstm=lstm(num_layers=2), head=head())


class Named(Model):
    """A model whose forward calls its state by a name."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Compute."""
        return self.compute(self, x, state)


class Apart(Model):
    """A model that takes h and c as two arguments."""

    def forward(self, x: Tensor, h: Any = None, c: Any = None) -> Any:
        """Compute."""
        return self.compute(self, x, h, c)


def two_arguments(fixed: bool) -> nn.Module:
    """Return h and c one by one; wrong: c of the call before."""

    def compute(m: Any, x: Tensor, h: Any, c: Any) -> Any:
        output, (new_h, new_c) = m.lstm(x, None if h is None else (h, c))
        return m.head(output), new_h, new_c if fixed or c is None else c

    return Apart(compute, lstm=lstm(), head=head())


def first_states_only(fixed: bool) -> nn.Module:
    """Return the states of two layers in a list; wrong: the second one starts from the first's."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        one, two = state or (None, None)
        output, one = m.one(x, one)
        output, two = m.two(output, two if fixed else one)
        return Result(m.head(output), [one, two])

    two = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
    return Named(compute, one=gru(), two=two, head=head())


def cells(fixed: bool) -> nn.Module:
    """Run a cell step by step, and count the steps; wrong: the state before the last step."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, step = state or (x.new_zeros(len(x), HIDDEN), torch.zeros(len(x), dtype=torch.int64))
        outputs = []
        for x_t in x.unbind(1):
            last, h = h, m.cell(x_t, h)
            outputs.append(m.head(h))
        new = Carry(h if fixed else last, step + x.shape[1])
        return {"logits": torch.stack(outputs, 1), "state": new}

    return Named(compute, cell=nn.GRUCell(FEATURE, HIDDEN), head=head())


def causal_convolution(fixed: bool) -> nn.Module:
    """Keep the last steps of the input for a convolution; wrong: pad with zeros each time."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, past = state or (None, x.new_zeros(len(x), 2, FEATURE))
        whole = torch.cat([past if fixed else torch.zeros_like(past), x], 1)
        output, h = m.gru(m.conv(whole.mT).mT, h)
        return m.head(output), (h, whole[:, -2:])

    conv = nn.Conv1d(FEATURE, FEATURE, 3)
    return Named(compute, gru=gru(), conv=conv, head=head())


def layout(fixed: bool) -> nn.Module:
    """Keep the state batch-first outside; wrong: it is viewed, and not transposed."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        if state is not None:
            state = state.transpose(0, 1) if fixed else state.reshape(2, len(x), HIDDEN)
            state = state.contiguous()
        output, state = m.gru(x, state)
        return output, state.transpose(0, 1).contiguous()

    return Named(compute, gru=gru(num_layers=2))


def both_directions(fixed: bool) -> nn.Module:
    """Pass on the state of a layer of one direction; wrong: of two."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        return m.gru(x, state)

    return Named(compute, gru=gru(bidirectional=not fixed))


def last_logits(fixed: bool) -> nn.Module:
    """Give an action for the last step, as a policy does; wrong: the state is detached to zeros."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, state = m.gru(x, state)
        return m.head(output[:, -1]), state if fixed else state * 0

    return Named(compute, gru=gru(), head=head())


def words(fixed: bool) -> nn.Module:
    """Read tokens, seq-first."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, new = m.rnn(m.words(x), state)
        return m.head(output), new if fixed or state is None else state

    rnn = nn.LSTM(FEATURE, HIDDEN)
    return Named(compute, words=nn.Embedding(11, FEATURE), rnn=rnn, head=head())


def normalised(fixed: bool) -> nn.Module:
    """Normalise each step, or over the steps."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        x = m.norm(x) if fixed else x - x.mean(1, keepdim=True)
        return m.gru(x, state)

    return Named(compute, norm=nn.LayerNorm(FEATURE), gru=gru())


class Timed(Model):
    """A model that takes the time since the step before, too."""

    def forward(self, x: Tensor, elapsed: Tensor, hidden: Any = None) -> Any:
        """Compute."""
        return self.compute(self, x, elapsed, hidden)


def decay(fixed: bool) -> nn.Module:
    """Let the state decay with time; the loop takes either input longer than the other."""

    def compute(m: Any, x: Tensor, elapsed: Tensor, h: Any) -> Any:
        h, outputs = x.new_zeros(len(x), HIDDEN) if h is None else h, []
        for x_t, since in zip(x.unbind(1), elapsed.unbind(1), strict=False):
            h = m.cell(x_t, h * (-since).exp().unsqueeze(1))
            outputs.append(m.head(h))
        return torch.stack(outputs, 1), h if fixed else h.relu()

    return Timed(compute, cell=nn.GRUCell(FEATURE, HIDDEN), head=head())


def timed() -> tuple[Tensor, Tensor]:
    """Give the input, and the time since the step before."""
    return numbers(BATCH, SEQ, FEATURE), numbers(BATCH, SEQ).abs()


def state_given() -> tuple[Tensor, Any]:
    """Give a first state beside the input."""
    return numbers(BATCH, SEQ, FEATURE), (numbers(2, BATCH, HIDDEN), numbers(2, BATCH, HIDDEN))


def h_given() -> tuple[Tensor, ...]:
    """Give h and c one by one."""
    return numbers(BATCH, SEQ, FEATURE), numbers(1, BATCH, HIDDEN), numbers(1, BATCH, HIDDEN)


STREAMING: dict[str, Streaming] = {
    "a tagger": Streaming(tagger),
    "a state that is given": Streaming(tagger, state_given),
    "h and c": Streaming(two_arguments),
    "h and c that are given": Streaming(two_arguments, h_given),
    "two layers, by a dataclass": Streaming(first_states_only),
    "cells, by a dictionary": Streaming(cells),
    "a convolution's past": Streaming(causal_convolution),
    "a batch-first state": Streaming(layout),
    "directions": Streaming(both_directions),
    "a policy": Streaming(last_logits),
    "words": Streaming(words, lambda: (tokens(SEQ, BATCH),), {"batch_dim": 1}),
    "a norm": Streaming(normalised),
    "a decay": Streaming(decay, timed),
}
