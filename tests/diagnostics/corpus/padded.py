"""Tokens in padded batches, with their lengths."""

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.diagnostics.corpus.forward import embedding, gru, linear, lstm, pair
from tests.diagnostics.models_of_users import mask, pack


def padded(batch, steps):
    """Return what draws tokens that end in zeros, and how many each sample has."""

    def draw():
        lengths = torch.tensor([steps, *torch.randint(2, steps, (batch - 1,)).tolist()])
        return torch.randint(1, 20, (batch, steps)) * mask(lengths, steps), lengths

    return draw


def counted(words, *_):
    """Return how many tokens each sample has."""
    return (words != 0).sum(1)


def mixed():
    """Draw tokens, the longest of which are not in front."""
    lengths = torch.tensor([2, 4, 3, 7, 5])
    return torch.randint(1, 20, (5, 7)) * mask(lengths, 7), lengths


@pair(
    "alone", words=embedding(20, 4), gru=gru(4, 7), tops=linear(7, 3), inputs=mixed, lengths=counted
)
def restored_by_the_same_order(m, words, lengths):
    """Samples are sorted by length and put back: by the inverse of the order, or by the order."""
    counts, order = lengths.sort(descending=True)
    packed = pack_padded_sequence(m.words(words[order]), counts, batch_first=True)
    return m.tops(m.gru(packed)[1][-1])[order.argsort() if m.right else order]


@pair(
    "alone",
    items=embedding(20, 4),
    gru=gru(5, 6),
    buys=linear(6, 20),
    inputs=padded(5, 8),
    lengths=counted,
)
def time_to_the_end(m, items, lengths):
    """An item of a session knows how many are to come: of its own session, or of the batch's."""
    steps = items.shape[1]
    ends = lengths.unsqueeze(1) if m.right else lengths.max()
    rest = (ends - torch.arange(steps)).clamp(min=0).expand(len(items), -1) / 10
    y, _ = m.gru(torch.cat([m.items(items), rest.unsqueeze(2).to(m.buys.weight.dtype)], 2))
    return m.buys(y[torch.arange(len(items)), lengths - 1])


@pair(
    "alone",
    words=embedding(20, 4),
    lstm=lstm(4, 6, bidirectional=True),
    label=linear(12, 5),
    inputs=padded(4, 7),
    lengths=counted,
)
def largest_of_the_padding(m, words, lengths):
    """The largest feature over the steps: over the valid ones, or with the zeros behind them."""
    packed = pack(m.words(words), lengths)
    low = -torch.inf if m.right else 0.0
    y, _ = pad_packed_sequence(m.lstm(packed)[0], batch_first=True, padding_value=low)
    return m.label(y.amax(1))
