"""Policies, worlds and loops over cells."""

import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.diagnostics.corpus.forward import (
    drawn,
    fine,
    gru_cell,
    linear,
    lstm,
    lstm_cell,
    pair,
    part,
)


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


def rollout():
    """Draw what is seen, and where episodes begin."""
    first = torch.zeros(7, 4, dtype=torch.bool)
    first[3, 1] = True
    return ({"view": torch.randn(7, 4, 5), "first": first},)


@fine(
    eyes=linear(5, 4),
    lstm=lstm(4, 6, batch_first=False),
    act=linear(6, 3),
    worth=linear(6, 1),
    inputs=rollout,
    batch_dim=1,
    causal=True,
)
def actor_and_critic(m, seen):
    """A rollout, steps first, with states that are wiped between episodes; two heads, a dictionary."""
    keep = 1 - seen["first"].to(seen["view"].dtype)
    h = c = seen["view"].new_zeros(1, seen["view"].shape[1], 6)
    outputs = []
    for x, k in zip(m.eyes(seen["view"]).relu(), keep, strict=True):
        y, (h, c) = m.lstm(x.unsqueeze(0), (h * k.unsqueeze(1), c * k.unsqueeze(1)))
        outputs.append(y[0])
    y = torch.stack(outputs)
    return {"policy": m.act(y).log_softmax(2), "value": m.worth(y).squeeze(2)}


@fine(
    lstm=lambda: parametrizations.weight_norm(nn.LSTM(3, 5, batch_first=True), "weight_hh_l0"),
    drop=part("Dropout", 0.5),
    out=linear(5, 2),
    inputs=drawn(4, 6, 3),
)
def normed_weights(m, x):
    """A layer whose recurrent weight has a norm that is learned, in train mode, with dropout."""
    return m.out(m.drop(m.lstm(x)[0][:, -1]))
