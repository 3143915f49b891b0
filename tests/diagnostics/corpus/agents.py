"""Policies, worlds and loops over cells."""

import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.diagnostics.corpus.forward import drawn, fine, gru_cell, linear, lstm_cell, pair, part
from tests.diagnostics.models_of_users import numbers


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


@pair("alone", cell=gru_cell(3, 5), inputs=(numbers(4, 3), torch.tensor([1, 1, 0, 1])))
def task_of_another_sample(m, x, tasks):
    """Each sample has a task of its own; or that of the first."""
    return m.cell(x) * (tasks if m.right else tasks[:1]).unsqueeze(1)


@fine(
    lstm=lambda: parametrizations.weight_norm(nn.LSTM(3, 5, batch_first=True), "weight_hh_l0"),
    drop=part("Dropout", 0.5),
    out=linear(5, 2),
    inputs=drawn(4, 6, 3),
)
def normed_weights(m, x):
    """A layer whose recurrent weight has a norm that is learned, in train mode, with dropout."""
    return m.out(m.drop(m.lstm(x)[0][:, -1]))
