"""Inputs and outputs of every kind: what is judged of them, and what is said where nothing is."""

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal

import rnnkit
from tests.diagnostics.corpus.forward import (
    MIXES_IF_WRONG,
    READS_ALL_IF_WRONG,
    X,
    drawn,
    embedding,
    fine,
    gru,
    linear,
    pair,
)
from tests.diagnostics.models_of_users import COUNTS, LENGTHS, PADDED, numbers, pack, unpack


@dataclass
class Parts:
    """What a model returns."""

    scores: Any
    tags: Any = None


#: What a model makes of an output that reads later steps by mistake.
OUTPUTS = {
    "steps first": lambda y: y.transpose(0, 1),
    "no features": lambda y: y.sum(2),
    "a tuple of steps": lambda y: y.unbind(1),
    "one step less": lambda y: y[:, :-1],
    "numbers of Python beside": lambda y: (y, y.argmax(2).tolist(), len(y)),
    "lists of unequal lengths beside": lambda y: (y, [[0] * (k + 1) for k in range(len(y))]),
    "an array": lambda y: (y.numpy(), np.array(["a"])),
    "a sparse tensor beside": lambda y: (y, y.relu().to_sparse()),
    "a distribution": lambda y: Categorical(logits=y),
    "a distribution of distributions": lambda y: Independent(Normal(y, y.exp()), 1),
    "an object": lambda y: SimpleNamespace(scores=y),
    "a dataclass": lambda y: Parts(y, y.argmax(2).tolist()),
    "a mapping": lambda y: UserDict(scores=Parts(y), loss=None),
}
for name, wrap in OUTPUTS.items():

    @pair("causal", name=f"output: {name}", gru=READS_ALL_IF_WRONG)
    def returning(m, x, wrap=wrap):
        """An output of any kind is judged, causality too, and a mistake is found in it."""
        return wrap(m.gru(x)[0])


@pair("batch", gru=MIXES_IF_WRONG)
def numbers_before_the_output(m, x):
    """Numbers of Python before the first tensor are no obstacle."""
    return [0.5] * len(x), m.gru(x)[0]


COUNTED = torch.tensor([7, 2, 5, 3])


@fine(inputs=(X, COUNTED), lengths=COUNTED, judged=False)
def samples_in_a_list(m, x, n):
    """Tensors of which each is a sample, as long as it is, are no batch that became steps."""
    y = m.gru(x)[0]
    return {"all": [y[k, :count] for k, count in enumerate(n.tolist())]}


def strange(name, forward, *inputs, judged=True, causal=False, **parts):
    """Register a right model whose outputs, or inputs beside, are strange."""
    told = {"name": f"strange: {name}", "inputs": inputs or (X,), "judged": judged}
    fine(causal=causal, **told, **parts)(forward)


ZERO_ONE = torch.tensor([[0, 1, 0, 0, 1, 0, 0]] * 4)
TOKENS = torch.zeros(5, 7, dtype=torch.long)
strange("nothing", lambda m, x: None, judged=False, causal=True)
strange("one axis of rows", lambda m, x: m.gru(x)[0].flatten(0, 1))
strange(
    "one axis of rows in an order of their own",
    lambda m, x: m.gru(x)[0][:, :6].unflatten(1, (2, 3)).transpose(0, 1).flatten(0, 2),
    judged=False,
)
strange("one step, causal", lambda m, x: m.gru(x)[0], numbers(4, 1, 3), causal=True)
strange(
    "static numbers beside",
    lambda m, x, one, more: m.gru(x)[1][0] + one + more.sum(1, keepdim=True),
    *(X, numbers(4, 1), numbers(4, 5)),
    causal=True,
)
strange(
    "as wide as the steps",
    lambda m, x, s: m.gru(x)[0] + m.wide(s).unsqueeze(1),
    *(X, numbers(4, 7) + 1),
    wide=linear(7, 6),
)
strange(
    "flags that are no mask",
    lambda m, x, flags: m.gru(x * (1 - flags.unsqueeze(2)))[0],
    *(X, ZERO_ONE.float()),
)
strange(
    "a state of one sample",
    lambda m, x, h: m.gru(x, h)[0],
    *(numbers(1, 7, 3), numbers(1, 1, 6)),
    judged=False,
)
strange(
    "as many prototypes as samples",
    lambda m, x, p: (m.gru(x)[1][0] @ p.T).softmax(1) @ p,
    *(X, numbers(4, 6)),
)
strange(
    "a state as many layers as samples",
    lambda m, x, h: m.deep(x, h)[0],
    *(X, numbers(4, 4, 6)),
    deep=gru(num_layers=4),
)
strange(
    "one token everywhere",
    lambda m, x: m.gru(m.words(x))[0],
    TOKENS,
    words=embedding(11, 3),
    causal=True,
)


@pair(
    "batch",
    inputs=drawn(4, 7, tokens=9),
    words=embedding(9, 3),
    gru=MIXES_IF_WRONG,
    head=linear(6, 9),
    causal=True,
)
def logits_of_all_words(m, x):
    """A language model returns a row for each word, sample by sample."""
    return m.head(m.gru(m.words(x))[0]).view(-1, 9)


@pair("batch", inputs=(PADDED, COUNTS), head=linear(6, 9))
def tags_up_to_the_longest(m, x, lengths):
    """A tagger returns a row for each step up to the longest sample."""
    y = unpack(m.gru(pack(x, lengths))[0])
    return m.head(y - y.mean(2 if m.right else 0, keepdim=True)).flatten(0, 1)


@fine(inputs=(numbers(14, 3), numbers(1, 2, 6)), judged=False)
def batch_and_seq_on_one_axis(m, x, h):
    """Of input in which batch and seq are one axis, nothing is said."""
    y, h = m.gru(x.view(h.shape[1], -1, 3), h)
    return y.flatten(0, 1), h


for steps, envs in ((8, 4), (6, 6)):

    @pair(
        "batch",
        name=f"policy of {steps} steps and {envs} states",
        gru=gru(batch_first=False),
        inputs=(numbers(steps, envs, 2), numbers(envs, 6), numbers(steps, envs)),
        batch_dim=1,
    )
    def act(m, x, hxs, masks, flat=steps == envs):
        """A policy on (steps * envs, feature) reads from the state how many environments there are."""
        steps, envs = x.shape[:2]
        rows = torch.cat([x.flatten(0, 1), masks.reshape(-1, 1)], 1)
        told = len(rows) // len(hxs)
        seen = len(hxs)
        rows = rows.view(told, seen, -1) if m.right else rows.view(seen, told, -1).transpose(0, 1)
        y = m.gru(rows, hxs.unsqueeze(0))[0]
        return y.flatten(0, 1) if flat else y.reshape(steps, envs, -1)


@fine(gru=gru(2), inputs=(numbers(2, 2, 2), numbers(2)))
def as_many_weights_as_two_samples(m, x, w):
    """Of two samples one takes what is for all by broadcasting, and three show it."""
    return m.gru(x)[0] * w.unsqueeze(1)


@fine(
    lstm=lambda: rnnkit.LSTM(3, 6, num_layers=2, bidirectional=True),
    inputs=(PADDED.transpose(0, 1), COUNTS),
    batch_dim=1,
    lengths=LENGTHS,
)
def lengths_of_rnnkit(m, x, n):
    """A layer that takes lengths, steps first, and returns its state as one."""
    return m.lstm(x, lengths=n)


@fine(inner=lambda: torch.compile(nn.GRU(3, 6, batch_first=True), backend="eager"))
def compiled_layer(m, x):
    """A layer that is compiled."""
    return m.inner(x)[0]


@fine(gru=gru(3, 1), inputs=(numbers(4, 6, 5, 3),), seq_dim=2)
def layout_in_memory(m, x):
    """A model may view what it is given: what is replaced is in memory as before."""
    return m.gru(x.view(-1, 5, 3))[0][:, -1].view(-1, 6)


@fine(seeds=3)
def rows_that_values_pick(m, x):
    """As many rows as samples or steps, by chance, are neither."""
    y = m.gru(x)[0]
    return y, y[x[..., 0] > 0][:4], y[x[..., 0] > 0]
