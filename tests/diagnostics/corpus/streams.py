"""Models that return a state and take it: what their chunks return, passing the state along."""

from typing import NamedTuple

import torch
from torch import Tensor

from tests.diagnostics.corpus.forward import READS_ALL_IF_WRONG, X, fine, linear, lstm, pair
from tests.diagnostics.models_of_users import numbers, pack, unpack, zero_state

STATE = numbers(1, 4, 6)


class Carry(NamedTuple):
    """A state by names, with a counter."""

    h: Tensor
    step: Tensor


@pair("streaming", lstm=lstm(num_layers=2), head=linear(6, 5))
def tagger(m, x, state=None):
    """The state that is passed on is taken; or it is forgotten."""
    output, state = m.lstm(x, state if m.right else None)
    return m.head(output), state


for name, inputs in {"": (X,), ", given": (X, STATE, STATE)}.items():

    @pair("streaming", name=f"h and c{name}", inputs=inputs)
    def two_arguments(m, x, h=None, c=None):
        """H and c are returned one by one; or c of the call before."""
        output, (new_h, new_c) = m.lstm(x, None if h is None else (h, c))
        return output, new_h, new_c if m.right or c is None else c


TOKENS = torch.zeros(4, dtype=torch.int64)
for name, inputs in {"": (X,), ", given": (X, STATE[0], TOKENS)}.items():

    @pair("streaming", name=f"counter{name}", inputs=inputs)
    def counter_of_its_own(m, x, h=None, n=None, scale=None):
        """What belongs to the state has another name, and is passed on; or starts from 0 again."""
        n, outputs = TOKENS[: len(x)] if n is None or not m.right else n, []
        for x_t in x.unbind(1):
            h, n = m.cell(x_t, h), n + 1
            outputs.append(h / n.unsqueeze(1))
        return torch.stack(outputs, 1), h, n


@pair("streaming")
def cells_with_a_counter(m, x, state=None):
    """A cell runs step by step, and the steps are counted; or the state before the last step returns."""
    h, step = state or (zero_state(x), torch.zeros(len(x), dtype=torch.int64))
    outputs = []
    for x_t in x.unbind(1):
        last, h = h, m.cell(x_t, h)
        outputs.append(h)
    new = Carry(h if m.right else last, step + x.shape[1])
    return {"logits": torch.stack(outputs, 1), "state": new}


@pair("streaming", gru=READS_ALL_IF_WRONG)
def directions(m, x, state=None):
    """The state of a layer of one direction is passed on; or of two."""
    return m.gru(x, state)


@fine(head=linear(6, 5), streaming=True)
def policy_of_the_last_step(m, x, state=None):
    """An action for the last step, from the state."""
    output, state = m.gru(x, state)
    return m.head(output[:, -1]), state


@pair("streaming")
def normed_over_steps(m, x, state=None):
    """A step is normed over its features; or over the steps of its chunk, before a layer."""
    return m.lstm(x - x.mean(-1 if m.right else 1, keepdim=True), state)


@pair("streaming", inputs=(X, numbers(4, 7).abs()))
def decay_with_the_time(m, x, elapsed, hidden=None):
    """A state decays with the time since the step before; a loop takes either input longer than the other."""
    h = zero_state(x) if hidden is None else hidden
    outputs = []
    for x_t, since in zip(x.unbind(1), elapsed.unbind(1), strict=False):
        h = m.cell(x_t, h * (-since).exp().unsqueeze(1))
        outputs.append(h)
    return torch.stack(outputs, 1), h if m.right else h.relu()


@pair(
    "streaming",
    inputs=(X, torch.tensor([7, 5, 6, 5])),
    lengths=[7, 5, 6, 5],
)
def packed_chunks(m, x, lengths, state=None):
    """Of a padded batch those steps are judged that all samples have."""
    output, state = m.lstm(pack(x, lengths), state if m.right else None)
    return unpack(output), state


@pair("streaming")
def sequence_that_is_remembered(m, x, state=None):
    """A new sequence starts afresh; or from the state of the one before."""
    if state is not None and not m.right:
        m.kept = state
    return m.gru(x, state if m.right else getattr(m, "kept", None))


@pair("streaming", kwargs={"state": STATE})
def state_by_keyword(m, x, *, state=None):
    """A state is given by keyword, and taken; or it is forgotten."""
    output, new = m.gru(x, state)
    return output, new if m.right else state


@fine(streaming=True)
def pair_and_two_arguments(m, x, h=None, c=None):
    """A pair is not passed on twice, as a whole and as its parts, where two arguments are free."""
    return m.lstm(x, None if h is None else (h, c))


def doubled(m, x, state=None):
    """Return each step of the output twice."""
    output, state = m.gru(x, state)
    return output.repeat_interleave(2, 1), state


ENDING = X.clone()
ENDING[1, 5:] = 0

#: Right models of which some can be judged, and of some it is said why not.
RIGHT = {
    "no state": (lambda m, x: m.gru(x)[0], X),
    "one step": (lambda m, x, state=None: m.gru(x, state), X[:, :1]),
    "zeros that end a sample": (lambda m, x, state=None: (*m.gru(x, state), "a note"), ENDING),
    "an output of other steps": (doubled, X),
    "no memory": (
        lambda m, x, state=None: (x * 2, x.new_zeros(1, len(x), 6) if state is None else state),
        X,
    ),
}
for name, (forward, x) in RIGHT.items():
    fine(name=f"stream of {name}", inputs=(x,), streaming=True)(forward)


@fine(streaming=True)
def chunks_of_two_or_more(m, x, state=None):
    """A model that takes no single step is judged by longer chunks, and not accused for it."""
    assert x.shape[1] > 1
    return m.gru(x, state)


@fine(inputs=(X, STATE, numbers(4, 6)), streaming=True)
def state_in_another_layout(m, x, hidden, previous):
    """Of two states, one comes back with other axes: what its chunks return cannot be judged."""
    output, last = m.gru(x, hidden + previous)
    return output, last.transpose(0, 1), previous + last[0]
