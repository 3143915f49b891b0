"""Tokens in padded batches, with their lengths."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.diagnostics.corpus.case import Net, Subject, mistake, right, valid


def padded(batch: int, steps: int, *, largest: int = 20) -> tuple[Tensor, Tensor]:
    """Return tokens that end in zeros, and how many each sample has."""
    lengths = torch.tensor([steps, *torch.randint(2, steps, (batch - 1,)).tolist()])
    return torch.randint(1, largest, (batch, steps)) * valid(lengths, steps), lengths


@mistake("alone")
def restored_by_the_same_order(nn: ModuleType, is_right: bool) -> Subject:
    """Samples are sorted by length and put back: by the inverse of the order, or by the order."""

    def compute(m: Any, words: Tensor, lengths: Tensor) -> Tensor:
        counts, order = lengths.sort(descending=True)
        packed = pack_padded_sequence(m.words(words[order]), counts, batch_first=True)
        return m.topic(m.gru(packed)[1][-1])[order.argsort() if is_right else order]

    model = Net(
        compute,
        words=nn.Embedding(20, 4),
        gru=nn.GRU(4, 7, batch_first=True),
        topic=nn.Linear(7, 3),
    )
    lengths = torch.tensor([2, 4, 3, 7, 5])
    words = torch.randint(1, 20, (5, 7)) * valid(lengths, 7)
    return Subject(model, (words, lengths), {"lengths": lengths})


@mistake("alone")
def time_to_the_end(nn: ModuleType, is_right: bool) -> Subject:
    """An item of a session knows how many are to come: of its own session, or of the batch's."""

    def compute(m: Any, items: Tensor, lengths: Tensor) -> Tensor:
        steps = items.shape[1]
        ends = lengths.unsqueeze(1) if is_right else lengths.max()
        rest = (ends - torch.arange(steps)).clamp(min=0).expand(len(items), -1) / 10
        y, _ = m.gru(torch.cat([m.items(items), rest.unsqueeze(2).to(m.buys.weight.dtype)], 2))
        return m.buys(y[torch.arange(len(items)), lengths - 1])

    model = Net(
        compute,
        items=nn.Embedding(20, 4),
        gru=nn.GRU(5, 6, batch_first=True),
        buys=nn.Linear(6, 20),
    )
    items, lengths = padded(5, 8)
    return Subject(model, (items, lengths), {"lengths": lengths})


@mistake("alone")
def mask_the_wrong_way_round(nn: ModuleType, is_right: bool) -> Subject:
    """Attention leaves out what is padding, or all that is none."""

    def compute(m: Any, words: Tensor) -> Tensor:
        y, _ = m.gru(m.words(words))
        keep = words != 0
        scores = m.score(y).squeeze(2)
        scores = scores.masked_fill(~keep if is_right else keep, -1e4)
        return m.label((scores.softmax(1).unsqueeze(1) @ y).squeeze(1))

    model = Net(
        compute,
        words=nn.Embedding(20, 4, padding_idx=0),
        gru=nn.GRU(4, 6, batch_first=True),
        score=nn.Linear(6, 1),
        label=nn.Linear(6, 3),
    )
    words, lengths = padded(4, 9)
    return Subject(model, (words,), {"lengths": lengths})


@mistake("alone")
def largest_of_the_padding(nn: ModuleType, is_right: bool) -> Subject:
    """The largest feature over the steps: over the valid ones, or with the zeros behind them."""

    def compute(m: Any, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            m.words(words), lengths, batch_first=True, enforce_sorted=False
        )
        low = -torch.inf if is_right else 0.0
        y, _ = pad_packed_sequence(m.lstm(packed)[0], batch_first=True, padding_value=low)
        return m.label(y.amax(1))

    model = Net(
        compute,
        words=nn.Embedding(20, 4),
        lstm=nn.LSTM(4, 6, batch_first=True, bidirectional=True),
        label=nn.Linear(12, 5),
    )
    words, lengths = padded(4, 7)
    return Subject(model, (words, lengths), {"lengths": lengths})


@right
def sum_over_all_labellings(nn: ModuleType) -> Subject:
    """The log-partition of a CRF over a packed tagger's scores, each sample up to its length."""

    def compute(m: Any, words: Tensor, lengths: Tensor) -> dict[str, Any]:
        packed = pack_padded_sequence(
            m.words(words), lengths, batch_first=True, enforce_sorted=False
        )
        y, _ = pad_packed_sequence(m.gru(packed)[0], batch_first=True, total_length=words.shape[1])
        scores = m.tags(y)
        alpha, going = scores[:, 0], valid(lengths, words.shape[1])
        for t in range(1, words.shape[1]):
            step = (alpha.unsqueeze(2) + m.moves).logsumexp(1) + scores[:, t]
            alpha = torch.where(going[:, t : t + 1], step, alpha)
        return {"partition": alpha.logsumexp(1), "lengths": lengths.tolist()}

    model = Net(
        compute,
        words=nn.Embedding(20, 4),
        gru=nn.GRU(4, 5, batch_first=True, bidirectional=True),
        tags=nn.Linear(10, 3),
        moves=nn.Parameter(torch.randn(3, 3)),
    )
    words, lengths = padded(4, 6)
    return Subject(model, (words, lengths), {"lengths": lengths})
