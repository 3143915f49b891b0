"""Loops over cells and layers: what each call starts from, and which module is called."""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import X, fine, gru, gru_cell, linear, lstm, lstm_cell, pair
from tests.diagnostics.models_of_users import gru as made_gru
from tests.diagnostics.models_of_users import numbers, over, zero_state

TARGET = numbers(4, 5, 3)


@pair("use", encoder=gru(), decoder=gru(9), inputs=(X, TARGET))
def decoder_that_forgets(m, source, target):
    """An attention decoder, whose layer is called for each step with its state; or with none."""
    memory, h = m.encoder(source)
    query = h[-1]
    state = None
    outputs = []
    for x_t in target.unbind(1):
        weights = (memory @ query.unsqueeze(2)).softmax(1)
        x = torch.cat([x_t, (weights * memory).sum(1)], 1)
        output, new = m.decoder(x.unsqueeze(1), state)
        query, state = output.squeeze(1), new if m.right else state
        outputs.append(query)
    return torch.stack(outputs, 1)


@pair("use", encoder=gru(), cell=gru_cell(7), head=linear(6, 1))
def forecast_from_zeros(m, x):
    """A decoder is fed with its own results, and takes its state along; or starts afresh each time."""
    summary = m.encoder(x)[1][-1]
    h = zero_state(x)
    y = x[:, -1, :1]
    outputs = []
    for _ in range(4):
        h = m.cell(torch.cat([y, summary], 1), h if m.right else h * 0)
        y = m.head(h)
        outputs.append(y)
    return torch.cat(outputs, 1)


@pair("use", cell=lstm_cell())
def cell_state_that_is_forgotten(m, x):
    """An LSTM's cell is given h and c; or h, and each time a c of zeros."""
    h = c = zero_state(x)
    outputs = []
    for x_t in x.unbind(1):
        h, new = m.cell(x_t, (h, c))
        c = new if m.right else c
        outputs.append(h)
    return torch.stack(outputs, 1)


WHO = numbers(4, 7).argsort(1)


@pair("use", inputs=(X, WHO))
def state_of_each_of_many(m, x, who):
    """Each step goes on with the state of the one that it is about; or with one of its own."""
    rows = torch.arange(len(x))
    held = x.new_zeros(len(x), 7, 6)
    for step in range(x.shape[1]):
        at = who[:, step] if m.right else who[:, step] * 0 + step
        held = held.index_put((rows, at), m.cell(x[:, step], held[rows, at]))
    return held.sum(1)


@pair("use", encoder=gru(), cell=gru_cell(), head=linear(6, 3), inputs=(X, TARGET), causal=True)
def state_of_the_encoder_throughout(m, x, target):
    """A decoder reads the target from its own state; or each time from the encoder's."""
    h = m.encoder(x)[1][0]
    outputs = []
    for step in target.unbind(1):
        new = m.cell(step, h)
        h = new if m.right else h
        outputs.append(m.head(new))
    return torch.stack(outputs, 1)


ACTIONS = numbers(4, 6, 3)


@fine(encoder=gru(), cell=gru_cell(), head=linear(6, 3), inputs=(X, ACTIONS))
def alternatives_from_one_state(m, x, actions):
    """One step ahead for each action, from one state: alternatives do not follow each other."""
    h = m.encoder(x)[1][0]
    return torch.stack([m.head(m.cell(action, h)) for action in actions.unbind(1)], 1)


#: What is between an encoder and a decoder, and whether that is right.
BRIDGES = {
    "each from its own": lambda m, h, c: (
        (m.for_h(h), m.for_c(c)) if m.right else (m.for_h(c), m.for_c(h))
    ),
    "both from h": lambda m, h, c: (m.for_h(h), m.for_c(h)),
    "both from c": lambda m, h, c: (m.for_h(c), m.for_c(c)),
    "both from both": lambda m, h, c: (m.for_h(h + c), m.for_c(h + c)),
}
for name, bridge in BRIDGES.items():
    enter = pair if name == "each from its own" else fine

    @enter(
        *["use"] * (enter is pair),
        name=f"bridge: {name}",
        one=lstm(),
        two=lstm(),
        for_h=linear(6, 6),
        for_c=linear(6, 6),
        inputs=(X, TARGET),
    )
    def bridged(m, x, target, bridge=bridge):
        """A decoder starts from what a bridge makes of the encoder's state; or of its (c, h)."""
        h, c = bridge(m, *m.one(x)[1])
        return m.two(target, (h.tanh(), c.tanh()))[0]


TWO = {"one": lstm_cell(6), "two": lstm_cell(6), "inputs": (numbers(4, 7, 6),)}


@pair("use", **TWO)
def one_pair_for_two_cells(m, x):
    """A cell that starts from the pair whose h it reads is found."""
    below = above = (zero_state(x),) * 2
    outputs = []
    for y in x.unbind(1):
        below = m.one(y, below)
        above = m.two(below[0], above if m.right else below)
        outputs.append(above[0])
    return torch.stack(outputs, 1)


@fine(**TWO)
def state_through_two_cells(m, x):
    """One state goes through two cells at each step, the second one reading the input, too."""
    state = (zero_state(x),) * 2
    outputs = []
    for y in x.unbind(1):
        state = m.two(y, m.one(y, state))
        outputs.append(state[0])
    return torch.stack(outputs, 1)


@fine(one=gru_cell(), two=gru_cell(6))
def first_state_of_another_cell(m, x):
    """A second cell takes its first state from the first one, and then has its own."""
    low = zero_state(x)
    high = None
    outputs = []
    for x_t in x.unbind(1):
        low = m.one(x_t, low)
        high = m.two(low, low if high is None else high)
        outputs.append(high)
    return torch.stack(outputs, 1)


@pair("use", there=gru_cell(), back=gru_cell())
def cell_for_both_directions(m, x):
    """Both directions by hand, of two cells; or the first is called for both, and a twin never."""
    back = m.back if m.right else m.there
    return torch.cat([over(m.there, x), over(back, x.flip(1)).flip(1)], 2)


def both(layer, x):
    """Run a layer in both directions."""
    return torch.cat([layer(x)[0], layer(x.flip(1))[0].flip(1)], 2)


@fine(teacher=lambda: made_gru().requires_grad_(False))
def teacher_that_is_not_called(m, x):
    """A copy that does not learn is no twin that should be called."""
    return both(m.gru, x)


@fine(held=lambda: nn.ModuleDict({k: made_gru() for k in ("en", "de")}))
def one_of_many_by_a_key(m, x):
    """What is chosen by a key has no twin that should be called."""
    return both(m.held["en"], x)


class Elman(nn.Module):
    """A cell of linear layers, with a state that may be left out."""

    def __init__(self):
        super().__init__()
        self.i = nn.Linear(3, 6)
        self.h = nn.Linear(6, 6)

    def forward(self, x, h=None):
        return torch.tanh(self.i(x) + (0 if h is None else self.h(h)))


for name, cell in {"torch's cell": gru_cell(), "a cell of its own": Elman}.items():

    @pair("batch", name=f"loop over the samples: {name}", cell=cell)
    def loop_over_the_samples(m, x):
        """A loop over the steps; or over the samples, where no call has a sample."""
        if m.right:
            return over(m.cell, x)
        return over(m.cell, x.transpose(0, 1)).transpose(0, 1)
