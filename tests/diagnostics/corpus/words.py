"""Text, music and other tokens."""

import torch
from torch.nn import functional

from tests.diagnostics.corpus.forward import drawn, embedding, fine, gru, linear, lstm, pair, part
from tests.diagnostics.models_of_users import later_steps


@pair(
    "causal",
    notes=embedding(12, 5),
    lstm=lstm(5, 7),
    next=linear(7, 12),
    inputs=lambda: (torch.randint(1, 12, (4, 9)),),
    causal=True,
)
def melody_of_the_next_note(m, notes):
    """A melody is shifted so that a step knows the note before it; or the one after."""
    known = notes.roll(1 if m.right else -1, 1)
    known = known.index_fill(1, torch.tensor([0 if m.right else -1]), 0)
    return m.next(m.lstm(m.notes(known))[0])


@fine(
    words=embedding(25, 4),
    low=gru(4, 3, bidirectional=True),
    high=gru(6, 5),
    score=linear(6, 1),
    weight=linear(5, 1),
    topic=linear(5, 4),
    inputs=drawn(3, 4, 6, tokens=25),
)
def words_of_sentences_of_a_page(m, pages):
    """Attention over words, then over sentences, the sentences of all pages in one batch."""
    b, s, w = pages.shape
    y, _ = m.low(m.words(pages.view(b * s, w)))
    lines = (m.score(y).softmax(1) * y).sum(1).view(b, s, -1)
    y, _ = m.high(lines)
    return m.topic((m.weight(y).softmax(1) * y).sum(1))


@fine(
    words=embedding(18, 6),
    attend=part("MultiheadAttention", 6, 2, batch_first=True, dropout=0.2),
    lstm=lstm(6, 6),
    norm=part("LayerNorm", 6),
    inputs=drawn(4, 7, tokens=18),
    causal=True,
    out_seq_dim=2,
)
def attention_before_the_cell(m, words):
    """A language model of causal attention and a recurrent layer, with residual connections."""
    x = m.words(words)
    x = x + m.attend(x, x, x, attn_mask=later_steps(x), need_weights=False)[0]
    x = m.norm(x + m.lstm(x)[0])
    return functional.linear(x, m.words.weight).transpose(1, 2)
