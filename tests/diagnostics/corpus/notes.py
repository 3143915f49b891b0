"""What is often a mistake, and what some models intend: nobody is accused, and a note says it."""

import torch

from tests.diagnostics.corpus.forward import embedding, gru, linear, lstm, lstm_cell, pair
from tests.diagnostics.models_of_users import tokens, zero_state

INTENDED = "some models intend it: a note"


@pair(missed=INTENDED)
def data_of_a_state(m, x):
    """A loop learns through all of its steps; or its state is cut from the graph by ``.data``."""
    h = zero_state(x)
    for x_t in x.unbind(1):
        h = m.cell(x_t, h if m.right else h.data)
    return h


@pair(
    missed=INTENDED, words=embedding(11, 3), gru=gru(), head=linear(6, 11), inputs=(tokens(4, 7),)
)
def words_from_one_state(m, prompt):
    """The words after a prompt each start from the state before them; or all from the prompt's."""
    _, state = m.gru(m.words(prompt))
    word = prompt[:, -1]
    outputs = []
    for _ in range(4):
        y, new = m.gru(m.words(word).unsqueeze(1), state)
        state = new if m.right else state
        outputs.append(m.head(y[:, 0]))
        word = outputs[-1].argmax(1)
    return torch.stack(outputs, 1)


@pair(missed=INTENDED, encoder=gru(num_layers=2, bidirectional=True), gru=gru(num_layers=2))
def directions_for_layers(m, x):
    """A decoder of two layers starts from one state of each layer; or from both of the first."""
    y, h = m.encoder(x)
    out, _ = m.gru(x, (h[0::2] if m.right else h[:2]).contiguous())
    return out + y[..., :6] + y[..., 6:]


@pair(missed=INTENDED, cell=lstm_cell())
def cell_state_for_the_hidden_state(m, x):
    """A loop returns the last h; or the last c."""
    state = None
    for x_t in x.unbind(1):
        state = m.cell(x_t, state)
    h, c = state
    return h if m.right else c


@pair(missed=INTENDED, lstm=lstm(bidirectional=True))
def both_directions_step_by_step(m, x):
    """A layer of both directions reads the whole sequence; or one step in each call."""
    state = None
    outputs = []
    for part in x.split(7 if m.right else 1, 1):
        y, state = m.lstm(part, state)
        outputs.append(y)
    return torch.cat(outputs, 1)
