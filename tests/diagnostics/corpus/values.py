"""What inputs are replaced by: values that the model takes, and that differ."""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import (
    MIXES_IF_WRONG,
    RIGHT,
    WRONG,
    X,
    embedding,
    fine,
    gru,
    lstm,
    lstm_cell,
    pair,
)
from tests.diagnostics.models_of_users import numbers, over, tokens


@fine()
def numbers_that_may_not_be_others(m, x):
    """What a model raises on changed inputs only is why it is not judged by them."""
    if not torch.isin(x, X).all():
        message = "what is this?"
        raise KeyError(message)
    return m.gru(x)[0]


SEEN = numbers(2, 4, 7) < 0.5
GAPS = numbers(2, 4, 7, 3) * SEEN.unsqueeze(3)
GAPPED = {"gru": gru(4), "inputs": (GAPS[0], SEEN[0]), "causal": True}


def gaps(m, x, seen):
    """Numbers and a mask of them must agree, and change together."""
    assert torch.equal((x != 0).any(2), seen)
    y = m.gru(torch.cat([x, seen.unsqueeze(2)], 2))[0]
    return y if m.right else y - y.mean(0)


fine(name="gaps in one batch", **GAPPED)(gaps)
pair("batch", name="gaps in two batches", other=(GAPS[1], SEEN[1]), **GAPPED)(gaps)


@fine(weight=lambda: nn.Parameter(torch.randn(3, 6)), inputs=(X * 1e5,))
def units_at_their_ends(m, x):
    """What is saturated by large numbers shows its memory with smaller ones."""
    return torch.tanh(x @ m.weight + over(m.cell, x))


FEW = tokens(4, 7) % 7
MANY = tokens(4, 7) * 9


def columns(m, x):
    """Embed two columns, of 7 and of 100 kinds."""
    x = x.long()
    return m.gru(torch.cat([m.few(x[..., 0]), m.many(x[..., 1])], -1))[0]


for dtype in (torch.int16, torch.float32, torch.float16):
    fine(
        name=f"columns of categories in {dtype}",
        few=embedding(7, 4),
        many=embedding(100, 4),
        gru=gru(8),
        inputs=(torch.stack([FEW, MANY], -1).to(dtype),),
        causal=True,
    )(columns)


ONES = (tokens(5, 7) % 2).bool()


@pair(
    "causal",
    lstm=lstm(1, bidirectional=WRONG),
    inputs=(ONES, torch.tensor([7, 6, 5, 4, 3])),
)
def series_of_zeros_and_ones(m, x, _):
    """A series of zeros and ones is replaced, though lengths are given beside it."""
    return m.lstm(x.unsqueeze(2).float())[0]


@pair(
    "batch",
    gru=gru(6, batch_first=RIGHT),
    inputs=(torch.view_as_complex(numbers(5, 7, 3, 2)),),
    causal=True,
)
def complex_numbers(m, x):
    """Complex inputs and outputs are judged as pairs of numbers."""
    y = m.gru(torch.view_as_real(x).flatten(2))[0]
    return torch.view_as_complex(y.reshape(*y.shape[:2], -1, 2)).conj()


SHORT = X.clone()
SHORT[:, 5:] = 0


@pair("batch", inputs=(SHORT,))
def steps_that_hold_something(m, x):
    """A model that cuts off what is padding in all samples is judged: padding is not replaced."""
    y = m.gru(x[:, : int((x != 0).any(2).sum(1).max())])[0]
    return y if m.right else y + y.mean(0)


@pair("batch", gru=MIXES_IF_WRONG, inputs=(torch.zeros(4, 7, 0, dtype=torch.long), X))
def data_set_without_categories(m, categories, x):
    """An input with nothing in it, as where a data set has no categories, is no reason to stop."""
    return m.gru(x)[0]


@fine(cell=lstm_cell(6, 5), inputs=(numbers(4, 6), numbers(4, 5), numbers(4, 5)))
def one_step_of_a_policy(m, x, h, c):
    """Features of a single step are not taken for steps."""
    return m.cell(x, (h, c))
