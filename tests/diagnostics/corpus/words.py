"""Text, music, logs and other tokens."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tests.diagnostics.corpus.case import Net, Subject, mistake, right


@mistake("causal")
def melody_of_the_next_note(nn: ModuleType, is_right: bool) -> Subject:
    """A melody is shifted so that a step knows the note before it; or the one after."""

    def compute(m: Any, notes: Tensor) -> Tensor:
        known = notes.roll(1 if is_right else -1, 1)
        known = known.index_fill(1, torch.tensor([0 if is_right else -1]), 0)
        return m.next(m.lstm(m.notes(known))[0])

    model = Net(
        compute,
        notes=nn.Embedding(12, 5),
        lstm=nn.LSTM(5, 7, batch_first=True),
        next=nn.Linear(7, 12),
    )
    return Subject(model, (torch.randint(1, 12, (4, 9)),), {"causal": True})


@mistake("repeatable")
def moves_with_dropout(nn: ModuleType, is_right: bool) -> Subject:
    """Dropout between layers of a chess model ends with training; or it never does."""

    def compute(m: Any, moves: Tensor) -> Tensor:
        low = m.low(m.moves(moves))[0]
        low = functional.dropout(low, 0.4, training=m.training if is_right else True)
        return m.wins(m.high(low)[1][-1]).tanh()

    model = Net(
        compute,
        moves=nn.Embedding(30, 4),
        low=nn.GRU(4, 6, batch_first=True),
        high=nn.GRU(6, 5, batch_first=True),
        wins=nn.Linear(5, 1),
    )
    return Subject(model, (torch.randint(0, 30, (5, 8)),))


@mistake("repeatable")
def lines_counted_since_the_start(nn: ModuleType, is_right: bool) -> Subject:
    """The place of a line in its log is counted from the batch's start, or over all calls."""

    def compute(m: Any, lines: Tensor) -> Tensor:
        place = torch.arange(lines.shape[1]) + m.seen
        m.seen = m.seen + (0 if is_right else lines.shape[1])
        x = m.lines(lines) + (place.unsqueeze(1) * torch.arange(1, 5) / 9).sin()
        return m.odd(m.rnn(x.to(m.odd.weight.dtype))[0]).squeeze(2)

    model = Net(
        compute,
        lines=nn.Embedding(15, 4),
        rnn=nn.GRU(4, 6, batch_first=True),
        odd=nn.Linear(6, 1),
        seen=0,
    )
    return Subject(model, (torch.randint(0, 15, (3, 7)),))


@mistake("batch")
def window_over_the_letters(nn: ModuleType, is_right: bool) -> Subject:
    """Handwriting: a window moves on over the letters, step by step; or sample by sample."""

    def compute(m: Any, strokes: Tensor, letters: Tensor) -> Tensor:
        y = m.pen(strokes)[0]
        place = m.move(y).exp().cumsum(1 if is_right else 0)
        window = (-((place - torch.arange(letters.shape[1])) ** 2)).exp()
        return m.out(torch.cat([y, window @ m.letters(letters)], 2))

    model = Net(
        compute,
        pen=nn.LSTM(3, 6, batch_first=True),
        move=nn.Linear(6, 1),
        letters=nn.Embedding(10, 4),
        out=nn.Linear(10, 5),
    )
    return Subject(model, (torch.randn(4, 9, 3), torch.randint(0, 10, (4, 5))))


@mistake("batch")
def users_on_one_sphere(nn: ModuleType, is_right: bool) -> Subject:
    """A user is known by how they type: a vector of length one, or a batch of length one."""

    def compute(m: Any, keys: Tensor) -> Tensor:
        return functional.normalize(
            m.style(m.lstm(m.keys(keys))[1][0][-1]), dim=1 if is_right else 0
        )

    model = Net(
        compute,
        keys=nn.Embedding(26, 4),
        lstm=nn.LSTM(4, 6, batch_first=True),
        style=nn.Linear(6, 8),
    )
    return Subject(model, (torch.randint(0, 26, (5, 12)),))


@mistake("use")
def ends_of_the_wrong_halves(nn: ModuleType, is_right: bool) -> Subject:
    """Of both directions the ends are taken; or both beginnings, where each has read one word."""

    def compute(m: Any, words: Tensor) -> Tensor:
        there, back = m.lstm(m.words(words))[0].chunk(2, 2)
        first, last = (back, there) if is_right else (there, back)
        return m.relation(torch.cat([first[:, 0], last[:, -1]], 1))

    model = Net(
        compute,
        words=nn.Embedding(20, 4),
        lstm=nn.LSTM(4, 5, batch_first=True, bidirectional=True),
        relation=nn.Linear(10, 6),
    )
    return Subject(model, (torch.randint(0, 20, (4, 8)),))


@right
def words_of_sentences_of_a_page(nn: ModuleType) -> Subject:
    """Attention over words, then over sentences, the sentences of all pages in one batch."""

    def compute(m: Any, pages: Tensor) -> Tensor:
        b, s, w = pages.shape
        y, _ = m.low(m.words(pages.view(b * s, w)))
        lines = (m.score(y).softmax(1) * y).sum(1).view(b, s, -1)
        y, _ = m.high(lines)
        return m.topic((m.weight(y).softmax(1) * y).sum(1))

    model = Net(
        compute,
        words=nn.Embedding(25, 4),
        low=nn.GRU(4, 3, batch_first=True, bidirectional=True),
        high=nn.GRU(6, 5, batch_first=True),
        score=nn.Linear(6, 1),
        weight=nn.Linear(5, 1),
        topic=nn.Linear(5, 4),
    )
    return Subject(model, (torch.randint(0, 25, (3, 4, 6)),))


@right
def order_by_pointing(nn: ModuleType) -> Subject:
    """A pointer network: at each step of the tour, a score for each city."""

    def compute(m: Any, cities: Tensor) -> Tensor:
        seen, (h, c) = m.encoder(cities)
        h, c, step, tour = h[-1], c[-1], m.start.expand(len(cities), -1), []
        for _ in range(cities.shape[1]):
            h, c = m.decoder(step, (h, c))
            scores = (seen @ m.query(h).unsqueeze(2)).squeeze(2)
            step = (scores.softmax(1).unsqueeze(1) @ cities).squeeze(1)
            tour.append(scores)
        return torch.stack(tour, 1)

    model = Net(
        compute,
        encoder=nn.LSTM(2, 6, batch_first=True),
        decoder=nn.LSTMCell(2, 6),
        query=nn.Linear(6, 6, bias=False),
        start=nn.Parameter(torch.randn(2)),
    )
    return Subject(model, (torch.randn(3, 5, 2),))


@right
def attention_before_the_cell(nn: ModuleType) -> Subject:
    """A language model of causal attention and a recurrent layer, with residual connections."""

    def compute(m: Any, words: Tensor) -> Tensor:
        x = m.words(words)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        x = x + m.attend(x, x, x, attn_mask=future, need_weights=False)[0]
        x = m.norm(x + m.lstm(x)[0])
        return functional.linear(x, m.words.weight).transpose(1, 2)

    model = Net(
        compute,
        words=nn.Embedding(18, 6),
        attend=nn.MultiheadAttention(6, 2, batch_first=True, dropout=0.2),
        lstm=nn.LSTM(6, 6, batch_first=True),
        norm=nn.LayerNorm(6),
    )
    words = torch.randint(0, 18, (4, 7))
    return Subject(model, (words,), {"causal": True, "out_seq_dim": 2})


@right
def question_and_answer(nn: ModuleType) -> Subject:
    """One encoder for two texts of other lengths; how much they are alike."""

    def compute(m: Any, question: Tensor, answer: Tensor) -> Tensor:
        one, other = (m.lstm(m.words(text))[1][0][-1] for text in (question, answer))
        return functional.cosine_similarity(one, other, dim=1)

    model = Net(compute, words=nn.Embedding(30, 4), lstm=nn.LSTM(4, 7, batch_first=True))
    return Subject(model, (torch.randint(0, 30, (5, 6)), torch.randint(0, 30, (5, 9))))
