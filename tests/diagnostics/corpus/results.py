"""What is made of the results of layers: their steps, states and rows, by functions of torch's."""

import numpy as np
import torch
from torch import nn

import rnnkit
from tests.diagnostics.corpus.forward import (
    MIXES_IF_WRONG,
    READS_ALL_IF_WRONG,
    X,
    embedding,
    fine,
    gru,
    linear,
    lstm,
    lstm_cell,
    pair,
    part,
)
from tests.diagnostics.models_of_users import numbers


@fine()
def list_of_a_tensor_for_each_sample(m, x):
    """The list of one sample has one tensor, and no axis is lost."""
    return list(m.gru(x)[0])


#: Wrong ways to join the two directions of the states of two layers.
JOINS = {
    "chunks": lambda h: torch.cat(h.chunk(2, 0), 2),
    "slices of one source": lambda h: torch.cat([h[:2], h[2:]], 2),
    "a view": lambda h: h.view(2, 2, *h.shape[1:]).permute(1, 2, 0, 3).flatten(2),
}
for name, join in JOINS.items():

    @pair(
        "use",
        name=f"states of two layers joined by {name}, LSTM",
        encoder=lstm(3, 4, num_layers=2, bidirectional=True),
        bridge=linear(8, 6),
        decoder=gru(5, num_layers=2),
        inputs=(X, numbers(4, 6, 5)),
    )
    def bridged(m, x, y, join=join, name=name):
        """Both directions of each layer are joined; or the same one of both."""
        source = X[:1].to(x).expand_as(x) if "one source" in name else x
        h = m.encoder(source)[1][0]
        joined = rnnkit.states.bridge(h) if m.right else join(h)
        return m.decoder(y, m.bridge(joined))[0]


TWO = {"gru": gru(3, 4, num_layers=2, bidirectional=True), "head": linear(16, 2)}


@fine(**TWO)
def states_that_are_flattened(m, x):
    """All states side by side are no two directions."""
    return m.head(torch.cat(m.gru(x)[1].chunk(2, 0), 2).transpose(0, 1).flatten(1))


@fine(one=linear(8, 8), second=linear(8, 8), **TWO)
def projection_of_each_direction(m, x):
    """A projection for each direction of both layers is right."""
    h = m.gru(x)[1]
    one = m.one(torch.cat([h[0], h[2]], 1))
    return m.head(torch.cat([one, m.second(torch.cat([h[1], h[3]], 1))], 1))


for place in (0, 1):

    @pair(
        "use", name=f"output {place} is not flipped back", one=gru(), two=gru(), skip=["gradient"]
    )
    def not_flipped_back(m, x, place=place):
        """The steps of a backward layer are found in reverse, wherever their output stands."""
        back = m.two(x.flip(1))[0]
        y = torch.cat([m.one(x)[0], back.flip(1) if m.right else back], 2)
        loss = y.square().mean()  # has no axis: the other output is judged
        return (loss, y, -y) if place else (y, loss, -y)


for step in (0, 6):

    @fine(
        name=f"step {step} by an input",
        gru=gru(3, 5, bidirectional=step > 0),
        head=linear(10 if step else 5, 2),
        inputs=(X, torch.full((4,), step)),
    )
    def step_that_an_input_picks(m, x, at):
        """A batch whose samples all pick the first step, or the last, accuses nobody."""
        return m.head(m.gru(x)[0][torch.arange(len(x)), at])


@fine(cell=lstm_cell(), start=embedding(3, 12))
def cell_for_one_sample(m, x):
    """A state without a batch axis, and one embedded token, are taken as they are."""
    rows = []
    for sample in x:
        state = m.start(torch.tensor(1)).chunk(2)
        for x_t in sample:
            state = m.cell(x_t, state)
        rows.append(state[0])
    return torch.stack(rows)


for kind in ("LSTM", "LSTMCell"):
    for size in (2, 5):

        @pair(
            "use",
            name=f"{kind} over {size} beams",
            core=part(kind, 3, 6),
            inputs=(numbers(size, 7, 3),),
            skip=["batch", "alone"],
        )
        def reordered(m, x):
            """A search reorders the rows of h and c; or those of h only."""
            rows = torch.arange(len(x)).roll(1)
            state = None
            outputs = []
            for x_t in x.unbind(1):
                if isinstance(m.core, nn.LSTMCell):
                    h, c = m.core(x_t, state)
                else:
                    h, c = m.core(x_t.unsqueeze(0), state)[1]
                outputs.append(h.view(len(x), -1))
                state = h[..., rows, :], c[..., rows, :] if m.right else c
            return torch.stack(outputs, 1)


@pair(
    "gradient",
    gru=READS_ALL_IF_WRONG,
    head=linear(6, 2),
    inputs=lambda: (torch.randn(5, 7, 3),),
)
def input_that_is_divided_in_place(m, x):
    """A model that trains is judged, also if it would not if its input wanted a gradient."""
    x = x - x.mean(1, keepdim=True).detach()
    x /= (x.var(1, keepdim=True) + 1e-5).sqrt()
    return m.head(m.gru(x)[0][..., :6])


#: Mistakes of functions that are given their input by name, as torch allows.
BY_NAME = {
    "reshape": lambda y: torch.reshape(input=y.reshape(7, 4, 6).cumsum(0), shape=(4, 7, 6)),
    "flatten": lambda y: torch.flatten(input=y.reshape(7, 4, 6).cumsum(0)).view(4, 7, 6),
    "repeat_interleave": lambda y: (
        torch.repeat_interleave(input=y[:, -1], repeats=2, dim=0).view(2, 4, 6).transpose(0, 1)
    ),
    "softmax": lambda y: torch.softmax(input=y, dim=0),
    "index_select": lambda y: torch.index_select(input=y, dim=0, index=torch.tensor([1, 0, 2, 3])),
    "squeeze": lambda y: torch.squeeze(input=y[:, -1:]),
}
for name, mistaken in BY_NAME.items():

    @pair("alone" if name == "squeeze" else "batch", name=f"by name: {name}")
    def function_by_name(m, x, mistaken=mistaken):
        """A mistake is found, and its cause looked for, as if the input was given by position."""
        y = m.gru(x)[0]
        return y if m.right else mistaken(y)


#: What a model may change from call to call: a generator of numbers, or a weight.
KEPT = {
    "source": (lambda: np.random.default_rng(1), lambda m: m.source.random()),
    "weight": (
        lambda: nn.Parameter(torch.ones(6)),
        lambda m: m.weight.data.mul_(0.9).sum(),
    ),
}
for name, (make, change) in KEPT.items():

    @pair("repeatable", name=f"kept: its {name}", **{name: make})
    def changing(m, x, change=change):
        """The cause names the attribute that a call changes."""
        y = m.gru(x)[0]
        return y if m.right else y + change(m)


@pair("gradient", gate=linear(3, 6))
def gate_of_zeros(m, x):
    """A gate is for a start of ones; or of zeros."""
    start = torch.ones(6) if m.right else torch.zeros(6)
    return m.gru(x)[0].mean(1) + start * m.gate(x[:, 0])


for value in (0.0, 1.0, 0.5):

    @pair(
        "batch",
        name=f"samples of {value} everywhere",
        layer=MIXES_IF_WRONG,
        inputs=(torch.full((4, 7, 3), value),),
    )
    def samples_of_one_value(m, x):
        """Of an input with one value everywhere, a layer that mixes the samples is still found."""
        return m.layer(x)[0]


class Slotted:
    """An object whose tensor is in a slot."""

    __slots__ = ("scores",)

    def __init__(self, scores):
        self.scores = scores


#: Where a tensor hides from a comparison: the first line says where.
HIDING = {
    "a slot": Slotted,
    "a set": lambda y: {y},
    "a generator": lambda y: (one for one in [y]),
    "a closure": lambda y: lambda: y,
}
for name, hide in HIDING.items():
    fine(name=f"unseen: {name}", gru=gru())(
        lambda m, x, hide=hide: (m.gru(x)[0], hide(m.gru(x)[0] - x.mean()))
    )

fine(name="unseen: rows that the data select", gru=gru())(
    lambda m, x: (m.gru(x)[0], m.gru(x)[0][x.sum((1, 2)) > x.sum((1, 2)).mean()])
)


@pair("batch", head=linear(3, 8), inputs=(X, numbers(4, 7, 8) > 0.9))
def leak_below_a_mask(m, x, legal):
    """Most scores are masked with -1e9, and the others mix the samples, or not."""
    y = m.head(x)
    y = y if m.right else y - 0.5 * y.mean(0)
    return y.masked_fill(~legal, -1e9)
