"""Policies, worlds and loops over cells."""

from torch import nn
from torch.nn.utils import parametrizations

from tests.diagnostics.corpus.forward import drawn, fine, gru_cell, linear, lstm_cell, pair, part


@pair("use", cell=lstm_cell(3, 5), force=linear(5, 2), inputs=drawn(4, 7, 3))
def members_unpacked_the_wrong_way(m, x):
    """A controller passes on h and c; or calls them by each other's name."""
    h = c = x.new_zeros(len(x), 5)
    for x_t in x.unbind(1):
        if m.right:
            h, c = m.cell(x_t, (h, c))
        else:
            c, h = m.cell(x_t, (h, c))
    return m.force(h)


@pair(
    missed="every module gets a gradient, if a short one",
    cell=gru_cell(3, 5),
    goal=linear(5, 2),
    inputs=drawn(4, 7, 3),
)
def state_cut_at_each_step(m, x):
    """A loop learns through all of its steps; or through one, since each cuts the graph."""
    h = x.new_zeros(len(x), 5)
    for x_t in x.unbind(1):
        h = m.cell(x_t, h if m.right else h.detach())
    return m.goal(h)


@fine(
    lstm=lambda: parametrizations.weight_norm(nn.LSTM(3, 5, batch_first=True), "weight_hh_l0"),
    drop=part("Dropout", 0.5),
    out=linear(5, 2),
    inputs=drawn(4, 6, 3),
)
def normed_weights(m, x):
    """A layer whose recurrent weight has a norm that is learned, in train mode, with dropout."""
    return m.out(m.drop(m.lstm(x)[0][:, -1]))
