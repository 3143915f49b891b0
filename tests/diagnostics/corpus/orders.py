"""The order of steps that go into a layer, and of samples that are sorted by length."""

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from tests.diagnostics.corpus.forward import fine, gru, linear, pair, part, read_by
from tests.diagnostics.models_of_users import numbers, pack, shifted, unpack, within

STEPS = numbers(4, 9, 3)
PARTS = {
    "conv": part("Conv1d", 3, 8, 3, padding=1),
    "narrow": part("Conv1d", 3, 5, 1),
    "square": linear(9, 9),
}

#: The rows of a square one after the other, its columns, and both backwards.
GRID = torch.arange(9).view(3, 3)
WAYS = [way.flatten() for way in (GRID, GRID.t(), GRID.flip(0, 1), GRID.t().flip(0, 1))]


#: What stands between the input and a layer of so many features, and is right.
RIGHT = {
    "frames side by side": (6, lambda _, x: torch.cat([x, shifted(x)], 2)),
    "lags in a circle": (12, lambda _, x: torch.cat([x.roll(k, 1) for k in range(4)], 2)),
    "four ways over a square": (12, lambda _, x: torch.cat([x[:, way] for way in WAYS], 2)),
}


for name, (width, between) in RIGHT.items():

    @fine(name=f"order: {name}", layer=gru(width), inputs=(STEPS,), **read_by(between, PARTS))
    def ordered(m, x, between=between):
        """Rows that move on with the steps are right, as are orders that are the same in each feature."""
        return m.layer(between(m, x))[0]


@pair("coverage", layer=gru(8), conv=PARTS["conv"], inputs=(STEPS,))
def view_after_a_convolution(m, x):
    """Channels come behind the steps by a transpose; or by a view that mixes steps and features."""
    y = m.conv(x.mT)
    return m.layer(y.mT if m.right else y.reshape(len(x), 9, 8))[0]


@pair("coverage", conv=part("Conv1d", 6, 4, 3), inputs=(STEPS,))
def view_before_a_convolution(m, x):
    """Features come in front of the steps by a transpose; or by a view that mixes the two."""
    y = m.gru(x)[0]
    return m.conv(y.mT if m.right else y.reshape(len(x), 6, -1)).amax(2)


#: What goes into a convolution after a view, and is right.
FRAMES = {
    "pairs of frames": (8, lambda m, x: m.conv(x.reshape(len(x), 4, 8).mT).amax(2)),
    "one channel": (1, lambda m, x: m.conv(x.reshape(len(x), 1, -1)).amax(2)),
}
for name, (width, forward) in FRAMES.items():
    conv = part("Conv1d", width, 4, 3)
    fine(name=f"conv: {name}", conv=conv, inputs=(numbers(4, 8, 4),))(forward)


#: What makes rows of another number than there are samples, and is right.
ROWS = {
    "windows": (3, lambda _, x: x.unfold(1, 4, 1).mT.flatten(0, 1)),
    "heads": (4, lambda m, x: m.conv(x.mT).unflatten(1, (2, 4)).flatten(0, 1).mT),
    "each channel over its steps": (1, lambda m, x: m.conv(x.mT).reshape(-1, 9, 1)),
}
for name, (width, between) in ROWS.items():

    @fine(name=f"rows: {name}", layer=gru(width), inputs=(STEPS,), **read_by(between, PARTS))
    def rowed(m, x, between=between):
        """Windows, heads and channels are right in whichever order they are laid out on purpose."""
        return m.layer(between(m, x))[1][-1].view(len(x), -1)


def batch_of(*lengths):
    """Return inputs and options of a padded batch with these lengths."""
    n = torch.tensor(lengths)
    return {"inputs": (within(numbers(len(lengths), 7, 3), n), n), "lengths": n}


def in_order(m, x, n):
    """Sort the samples, run packed, and return the end states in that order, and the order."""
    counts, order = n.sort(descending=True)
    output, h = m.gru(pack_padded_sequence(x[order], counts, batch_first=True))
    return unpack(output, x.shape[1]), h[-1], order


@pair("batch", gru=gru(), **batch_of(3, 7, 2, 5))
def not_put_back(m, x, n):
    """Samples are sorted, and put back; or not."""
    _, h, order = in_order(m, x, n)
    return h[order.argsort()] if m.right else h


@pair("batch", gru=gru(), **batch_of(5, 7, 2, 3))
def state_that_stays_sorted(m, x, n):
    """Outputs and the state are put back before they meet; or the outputs only."""
    y, h, order = in_order(m, x, n)
    back = order.argsort()
    return within(y[back] * (h[back] if m.right else h).unsqueeze(1), n)


@pair("alone", **batch_of(3, 7, 2, 5))
def lengths_that_are_sorted_only(m, x, n):
    """Sort the lengths, and the samples with them, or not."""
    counts = n if m.right else n.sort(descending=True).values
    return m.gru(pack(x, counts))[1][-1]


@fine(**batch_of(3, 7, 5, 2))
def sorted_output(m, x, n):
    """Outputs in another order, returned with it, are judged in the first one."""
    order = n.argsort(descending=True)
    return within(m.gru(x[order])[0], n[order]), order


LARGE = batch_of(6, 7, 6, 6, 2, 3, 5)
OTHERS = {**LARGE, "inputs": (*LARGE["inputs"], 9 - LARGE["lengths"])}


#: Wrong models of a large batch: a message calls a sample by its place in it.
NAMED = {
    "batch": (lambda m, x, n, _: m.gru(x if m.right else x + x.roll(1, 0))[0], ["alone"]),
    "coverage": (
        lambda m, x, n, others: m.gru(pack(x, n if m.right else others))[1][-1],
        ["alone", "padding"],
    ),
}
for probe, (forward, skip) in NAMED.items():
    pair(probe, name=f"sample of a large batch: {probe}", skip=skip, **OTHERS)(forward)
