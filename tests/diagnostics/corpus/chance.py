"""The same input twice: chance, what a model keeps, and values that steer a computation."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.diagnostics.corpus.forward import embedding, fine, gru, linear, lstm, pair, part
from tests.diagnostics.models_of_users import X, later_steps, mask, numbers, pack, tokens

#: What a forward draws, by where it is drawn.
DRAWS = {
    "torch": lambda x: x + torch.rand(1),
    "torch, by dropout": lambda x: functional.dropout(x, 0.4),
    "numpy": lambda x: x + np.random.rand(),
    "random": lambda x: x + random.random(),
}
for name, draw in DRAWS.items():

    @pair("repeatable", name=f"random numbers of {name}")
    def drawing(m, x, draw=draw):
        """Random numbers in eval mode are named by where they come from, and are no leak."""
        y = m.gru(x)[0]
        return y if m.right else draw(y)


@pair("repeatable", own=torch.Generator)
def generator_of_the_model(m, x):
    """Random numbers of a generator that the model holds are named by it."""
    noise = 0 if m.right else torch.randn(1, generator=m.own)
    return m.gru(x)[0] + noise


@fine(gru=gru(num_layers=4), inputs=(X, numbers(4, 4, 6)), skip=["repeatable"])
def dropout_that_is_meant(m, x, h):
    """So it is with dropout, also if a run that the model refuses draws none."""
    return functional.dropout(m.gru(x, h)[0], 0.5, training=True)


@pair(
    "repeatable",
    lstm=lstm(batch_first=False),
    state=lambda: None,
    inputs=(numbers(7, 4, 3),),
    batch_dim=1,
)
def kept_state(m, x):
    """Each batch starts afresh; or from the state of the one before."""
    output, state = m.lstm(x, None if m.right else m.state)
    m.state = tuple(part.detach() for part in state)
    return output


def counted(m, _):
    """Count the calls."""
    m.calls += 1
    return m.calls


def in_place(m, _):
    """Write into a buffer of a module inside."""
    m.inner.running_mean += 1
    return m.inner.running_mean


KEEPING = {
    "a number": (counted, {"calls": lambda: 1}),
    "a buffer": (in_place, {"inner": part("BatchNorm1d", 6)}),
}
for name, (keep, parts) in KEEPING.items():

    @pair("repeatable", name=f"kept: {name}", **parts)
    def keeping(m, x, keep=keep):
        """What a model keeps is named as its author would write it."""
        return m.gru(x)[0] + (0 if m.right else keep(m, x))


CALLS: list[int] = []


@pair("repeatable", skip=["batch"])
def kept_elsewhere(m, x):
    """What a model keeps outside of itself cannot be named."""
    CALLS.append(1)
    return m.gru(x)[0] + (0 if m.right else len(CALLS))


TURNS: list[int] = []


@pair("batch", causal=True)
def rounding_the_second_time(m, x):
    """Kernels that add in no fixed order are no chance; a leak beside them is found."""
    TURNS.append(1)
    y = m.gru(x)[0] * (1 + len(TURNS) % 2 * torch.finfo(x.dtype).eps)
    return (y if m.right else y + x.sum()), len(x), y.argmax(2)


@pair("alone")
def coin_for_teacher_forcing(m, x):
    """A coin is tossed at a ratio of 0: no number that is drawn reaches an output."""
    forced = random.random() < 0.0
    return m.gru(x)[0] * (1 if m.right or forced else len(x))


# Values that steer a computation: other samples then round otherwise, which is no leak.


def packed(m, x, lengths):
    """Classify by the end states of a layer over packed samples."""
    return m.head(torch.cat([*m.layer(pack(x, lengths))[1][0]], 1))


LENGTHS = torch.tensor([10, 3, 7, 1, 9, 4, 2, 6])
WORDS = tokens(8, 10) * mask(LENGTHS, 10)
FEW = WORDS.sign() * (WORDS % 3 + 1)
SERIES = numbers(5, 7, 3)
EMBED = {"embed": embedding(20, 8, padding_idx=0)}
BOTH = {"layer": lstm(8, 8, bidirectional=True), "head": linear(16, 4)}


@fine(inputs=(FEW,), seeds=6, **EMBED, **BOTH)
def lengths_counted_in_tokens(m, x):
    """Lengths are counted in tokens of few kinds."""
    return packed(m, m.embed(x), (x != 0).sum(1))


def positive(x):
    """Count the steps whose first feature is above zero."""
    return (x[..., 0] > 0).sum(1).clamp(min=1)


@pair("batch", layer=lstm(3, 33, bidirectional=True), head=linear(66, 4), inputs=(SERIES,), seeds=6)
def lengths_that_the_content_decides(m, x):
    """As many steps are read as are positive; a leak beside is found."""
    y = packed(m, x, positive(x))
    return y if m.right else y + y.mean(0)


@fine(
    gru=gru(3, 32), up=linear(32, 64), lo=linear(32, 8), on=linear(64, 8), inputs=(SERIES,), seeds=6
)
def experts_chosen_by_value(m, x):
    """Each step is sent to one of two experts, by its value."""
    y = m.gru(x)[0]
    chosen = y[..., 0] > 0
    z = m.lo(y)
    z[chosen] = m.on(torch.relu(m.up(y[chosen])))
    return z


def encoder():
    """Make two layers of attention."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


ATTENDED = {**EMBED, "encoder": encoder, "inputs": (WORDS,)}


@pair("causal", **ATTENDED)
def mask_that_is_added(m, x):
    """A mask of ones hides later keys as booleans, which torch takes it for in eval mode alone."""
    later = later_steps(x) if m.right else later_steps(x).float()
    return m.encoder(m.embed(x), mask=later, src_key_padding_mask=x == 0)


@fine(head=linear(8, 4), seeds=6, **ATTENDED)
def padding_that_is_not_attended_to(m, x):
    """Attention reads what is no padding."""
    return m.head(m.encoder(m.embed(x), src_key_padding_mask=x == 0)[:, 0])
