"""What models of public repositories showed: right ones that were accused, and oks that were not true."""

import torch

from tests.diagnostics.corpus.forward import embedding, fine, gru, gru_cell, linear, pair, part
from tests.diagnostics.models_of_users import COUNTS, PADDED, X, mask, numbers, pack, tokens, unpack

TOKENS = tokens(4, 7)
ACTIONS = numbers(4, 7, 2)


@fine(words=embedding(11, 3), gru=gru(width=3, hidden=3), inputs=(TOKENS,))
def tokens_that_are_embedded_twice(m, x):
    """The gradients of both embeddings count: an output step reads earlier tokens."""
    return m.gru(m.words(x))[0] * m.words(x)


@fine(gru=gru(width=2), head=linear(9, 5), inputs=(X, ACTIONS))
def past_in_the_second_input(m, x, actions):
    """The first input is read at its own step, and the second remembers: no gradient is cut."""
    odds = m.head(torch.cat([m.gru(actions)[0], x], 2)).softmax(2)
    return odds.round() + odds - odds.detach()


@fine(gru=gru(), inputs=(torch.cat([X[:1], 1e9 * X[1:]]),))
def dtype_of_data(m, x):
    """Gates that are full have no gradient; ``.data`` that tells a dtype has cut none."""
    y = m.gru(x)[0]
    return y + torch.zeros(y.shape).type(y.data.type())


@fine(gru=gru(), inputs=(X, numbers(4, 7, 6)))
def labels_that_training_reads(m, x, labels):
    """A note says that an input is read in train mode only."""
    return m.gru(x)[0] + labels * m.training


@fine(gru=gru(), causal=True)
def packed_prefixes(m, x):
    """Each output comes from a packed prefix of its own, from zeros."""
    return torch.stack(
        [m.gru(pack(x[:, :n], torch.full((len(x),), n)))[1][0] for n in range(1, 8)], 1
    )


def flat_neighbours(m, x, neighbours, has):
    """Add what was read of the neighbours of all samples, in a row, where a sample has some."""
    read = m.gru(neighbours.transpose(0, 1))[1][0]
    return m.gru(x)[1][0] + torch.zeros(len(x), 2, 6).masked_scatter(has.unsqueeze(2), read).sum(1)


HAS = torch.tensor([[1, 1], [0, 1], [1, 0], [1, 1]]).bool()
fine(gru=gru(), inputs=(X, numbers(7, 6, 3), HAS))(flat_neighbours)


@pair("repeatable", gru=gru())
def noise_beside_a_masked_score(m, x):
    """A score that is masked out counts for itself: others are drawn, or not."""
    y = m.gru(x)[0] + (0 if m.right else 0.1 * torch.rand(6))
    return torch.cat([y, torch.full_like(y[..., :1], -1e20)], 2)


@fine(gru=gru())
def state_of_the_last_sample(m, x):
    """An output without a batch axis, which samples move, is named as not checked."""
    y = m.gru(x)[0]
    return y, y[-1]


@fine(
    cell=gru_cell(6, 6),
    streaming=True,
    lengths={2: COUNTS},
    inputs=(numbers(4, 5, 6), torch.zeros(4, 6), numbers(4, 7, 6), COUNTS),
)
def attention_over_a_padded_memory(m, x, h, memory, n):
    """Chunks are of the steps that the output follows, not of the memory that has lengths."""
    made = []
    for x_t in x.unbind(1):
        h = m.cell(x_t, h)
        scores = (memory @ h.unsqueeze(2)).masked_fill(~mask(n, memory.shape[1]).unsqueeze(2), -1e9)
        made.append((scores.softmax(1) * memory).sum(1) + h)
    return torch.stack(made, 1), h


@pair(missed="a note", gru=gru(width=1), wide=gru(width=7), inputs=(X[..., 0],), seq_dim=1)
def window_as_one_step(m, x):
    """A series has one feature at each step; or a layer reads it as one step of many features."""
    return m.gru(x.unsqueeze(2))[1][0] if m.right else m.wide(x.unsqueeze(1))[1][0]


@pair(missed="a note", gru=gru(), inputs=(X, torch.where(numbers(4, 7, 6) > 1, torch.nan, 1.0)))
def targets_that_are_missing(m, x, targets):
    """What is NaN is replaced before a square; or after it, and its gradient is NaN."""
    off = m.gru(x)[0] - targets
    if m.right:
        return torch.where(targets.isnan(), 0.0, off).square().sum((1, 2))
    return torch.where(targets.isnan(), 0.0, off.square()).sum((1, 2))


@pair(missed="a note", inner=linear(3, 6), cell=gru_cell(6, 6))
def arguments_of_a_cell_exchanged(m, x):
    """A cell takes the input first, and then its state; or the other way around."""
    h = x.new_zeros(len(x), 6)
    for x_t in m.inner(x).unbind(1):
        h = m.cell(x_t, h) if m.right else m.cell(h, x_t)
    return h


@pair("batch", gru=gru(), inputs=(PADDED, COUNTS))
def unpacked_with_steps_first(m, x, lengths):
    """A sum over the steps of what was packed; or over the samples, which come second."""
    output = m.gru(pack(x, lengths))[0]
    return (unpack(output) if m.right else unpack(output).transpose(0, 1)).sum(1)


@pair("alone", gru=gru(), head=linear(6, 1), inputs=(numbers(4, 8, 3),))
def fixed_number_of_rows(m, x):
    """Scores have a row for each sample of any batch; or always four."""
    return m.head(m.gru(x)[0]).reshape(len(x) if m.right else 4, -1)


@fine(gru=gru(), inputs=(X.flip(1), 7 - COUNTS), lengths=COUNTS, pad="pre")
def starts_of_padding_in_front(m, x, starts):
    """The steps before each sample's start are left out; one sample by itself starts at 0."""
    h = x.new_zeros(1, len(x), 6)
    for t, x_t in enumerate(x.split(1, 1)):
        h = torch.where((starts <= t).view(1, -1, 1), m.gru(x_t, h)[1], h)
    return h[0]


@fine(gru=gru(), judged=False, inputs=(numbers(28, 3), numbers(1, 4, 6)))
def rows_of_a_rollout(m, rows, h):
    """Rows of steps and samples depend on rows of their own sample: nobody is accused."""
    return m.gru(rows.view(7, 4, 3).transpose(0, 1), h)[0].transpose(0, 1).reshape(28, 6)


#: Outputs of other shapes crash nothing: all rows in one axis, and fewer for one sample.
fine(name="all steps in a row", batch_dim=1, gru=part("GRU", 3, 6))(
    lambda m, x: m.gru(x)[0].sum(2).flatten()
)
fine(name="fewer outputs for a sample")(lambda m, x: (m.gru(x)[0], x.sum(2))[: len(x)])
