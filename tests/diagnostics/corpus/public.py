"""What models of public repositories showed: right ones that were accused, and oks that were not true."""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import embedding, fine, gru, gru_cell, linear, pair, part
from tests.diagnostics.models_of_users import COUNTS, PADDED, X, mask, numbers, pack, tokens, unpack

TOKENS = tokens(4, 7)
ACTIONS = numbers(4, 7, 2)
SERIES = numbers(4, 12, 1).sort(0, descending=True).values


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
fine(name="paths of NumPy's numbers", gru=gru())(
    lambda m, x: (m.gru(x)[1][0], [list(row) for row in m.gru(x)[0].argmax(2).numpy()])
)


@fine(words=embedding(11, 3), cell=gru_cell(3, 6), head=linear(6, 11))
def greedy_words(m, x):
    """No gradient reaches the head of words that argmax chooses, and no output is without it."""
    h = x.mean(1) @ torch.eye(3, 6)
    word = torch.zeros(len(x)).long()
    words, states = [], []
    for _ in range(4):
        h = m.cell(m.words(word), h)
        word = m.head(h).argmax(1)
        words.append(word)
        states.append(h)
    return torch.stack(words, 1), torch.stack(states, 1)


def rows_of_documents(m, rows, spans):
    """Read the rows of each document in turn, by how many it has, or from where to where."""
    counts = spans.diff(dim=1).flatten().tolist() if torch.is_tensor(spans) else spans
    return torch.cat([m.gru(part.unsqueeze(0))[0][0] for part in rows.split(counts)])


SPANS = torch.tensor([[0, 3], [3, 5], [5, 9]])
fine(name="rows by number", judged=False, gru=gru(), inputs=(X.view(-1, 3)[:9], [3, 2, 4]))(
    rows_of_documents
)
fine(name="rows by span", judged=False, gru=gru(), inputs=(X.view(-1, 3)[:9], SPANS))(
    rows_of_documents
)


@pair("batch", gru=gru(hidden=4))
def second_output_of_a_fixed_batch(m, x):
    """All outputs of a model for one size of batch are judged: samples mix in the second."""
    y, h = m.gru(x, torch.zeros(1, 4, 4))
    return y, h[0] if m.right else h[0] - h[0].mean(0)


@fine(gru=gru(bidirectional=True))
def states_turned_in_place(m, x):
    """A state that is transposed in place has its gradient in another layout: nothing crashes."""
    return m.gru(x)[1].transpose_(0, 1).flatten(1)


fine(name="five inputs of the same steps", inputs=(X,) * 5, causal=True, gru=gru(width=15))(
    lambda m, *parts: m.gru(torch.cat(parts, 2))[0]
)


@fine(words=embedding(11, 3), gru=gru(), inputs=(TOKENS * mask(COUNTS, 7), COUNTS) * 5)
def loss_of_five_lengths(m, *parts):
    """The loss of an anchor, and others, is judged within 48 runs."""
    read = [m.gru(pack(m.words(x), n))[1][0] for x, n in zip(parts[::2], parts[1::2], strict=True)]
    near = torch.cosine_similarity(read[0] + read[1] + read[2], read[3])
    return (1 + torch.cosine_similarity(read[0], read[4]) - near).mean()


@pair("batch", gru=gru(width=1), inputs=(SERIES,))
def scaled_by_the_first_sample(m, x):
    """A model scales each series by its own maximum; or all by that of sample 0, the largest."""
    most = x.amax((1, 2), keepdim=True)
    return m.gru(x)[0] * (most if m.right else most[0])


@fine(
    gru=gru(batch_first=False),
    batch_dim=1,
    lengths=COUNTS,
    inputs=(PADDED.transpose(0, 1), mask(COUNTS, 7)),
)
def scores_of_each_step_in_a_list(m, x, valid):
    """Scores ``(query, batch, key)`` of padded queries may change: their steps are not known."""
    y = m.gru(x)[0]
    each = [torch.einsum("bd,sbd->bs", step, y).masked_fill(~valid, -1e9) for step in y]
    return y, [scores.softmax(1) for scores in each]


fine(name="states in a row", gru=gru(num_layers=2))(
    lambda m, x: (m.gru(x)[0], m.gru(x)[1].flatten())
)

EYE = torch.eye(4).to_sparse()
#: Inputs that a model ignores crash nothing.
for name, options in {
    "a size": {"inputs": (X, X.shape)},
    "a sparse matrix of two batches": {"inputs": (X, EYE), "other": (X.flip(0), EYE)},
    "a spectrum of padding": {"inputs": (PADDED, torch.fft.fft(PADDED)), "lengths": COUNTS},
}.items():
    fine(name=name, **options)(lambda m, x, _: m.gru(x)[0])


@fine(words=embedding(11, 3), marks=embedding(5, 3, padding_idx=0), gru=gru(), inputs=(TOKENS,))
def marks_that_do_not_occur(m, x):
    """An Embedding that reads its padding alone has a gradient of zeros, and none is a mistake."""
    return m.gru(m.words(x) + m.marks(torch.where(x < 0, x, 0)))[0]


@fine(
    causal="strict", out_seq_dim=1, cell=gru_cell(), head=linear(6, 6), inputs=(numbers(4, 8, 3),)
)
def two_frames_a_step(m, x):
    """Steps are read by two, and of seven the model makes six: each is where it was."""
    h = x.new_zeros(len(x), 6)
    made = []
    pairs = x.reshape(len(x), x.shape[1] // 2, -1)
    for frame in (x.new_zeros(len(x), 3), *pairs[:, :-1, -3:].unbind(1)):
        h = m.cell(frame, h)
        made.append(m.head(h))
    return torch.stack(made, 1).view(len(x), -1, 3)


@fine(cell=gru_cell(), inputs=(torch.cat([-X[:, :4].abs(), X[:, 4:].abs()], 1),))
def masked_through_data(m, x):
    """Early steps are off, and what is written into numbers by ``.data`` cuts no gradient."""
    h = x.new_zeros(len(x), 6)
    for x_t in x.relu().unbind(1):
        scores = h * 1
        scores.data.masked_fill_(scores > 9, 0)
        h = m.cell(x_t, scores)
    return h


@fine(gru=gru(), inputs=(X, numbers(4, 6, 2)))
def exit_if_refused(m, x, y):
    """A model that ends the program where it is given fewer steps ends none."""
    if y.shape[1] < 6:
        raise SystemExit
    return m.gru(x)[0][:, -1:] + y.sum(2, keepdim=True)


@pair("causal", gru=gru(), back=gru(bidirectional=True))
def states_after_a_start(m, x):
    """Of a start without steps, and states, the states are judged: they read later steps, or not."""
    states, h = m.gru(x) if m.right else m.back(x)
    return h[0], states


@fine(gru=gru(), inputs=(X, tokens(4, 7) % 4 + 1))
def marks_of_one_kind(m, x, kinds):
    """Whether a mark is 0 shows nowhere in a batch without zeros: it is read all the same."""
    return m.gru(x)[0] + (kinds == 0).unsqueeze(2)


class Renamed(nn.Module):
    """A model with an attribute in place of its method ``modules``."""

    def __init__(self):
        """Make the layer."""
        super().__init__()
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.modules = [self.gru]

    def forward(self, x):
        """Run it."""
        return self.gru(x)[0]


fine(name="an attribute called modules", renamed=Renamed)(lambda m, x: m.renamed(x))


@pair("batch", cell=gru_cell(4, 6), inputs=(torch.cat([X, X[..., :1].relu()], 2),))
def clocks_that_stand_still(m, x):
    """A state starts anew where a sample's clock is 0; or where that of any sample is."""
    h = x.new_zeros(len(x), 6)
    for x_t in x.unbind(1):
        stands = x_t[:, 3:] == 0
        h = m.cell(x_t, torch.where(stands if m.right else stands.all(), 0, h))
    return h


PAIRS = mask(COUNTS, 7).unsqueeze(1) & mask(COUNTS, 7).unsqueeze(2)


@pair("alone", gru=gru(), inputs=(PADDED, PAIRS.float()), lengths=COUNTS)
def graph_of_the_steps(m, x, graph):
    """A graph ``(batch, seq, seq)`` is cut on both axes, when a sample is run alone."""
    y = m.gru(x)[0]
    y = graph @ y if m.right else graph @ y + y.mean(1, keepdim=True)
    return (y * mask(graph.diagonal(dim1=1, dim2=2).sum(1), x.shape[1]).unsqueeze(2)).sum(1)


fine(
    name="rows of as many classes as samples",
    batch_dim=1,
    gru=gru(batch_first=False),
    head=linear(6, 4),
    inputs=(X.transpose(0, 1),),
)(lambda m, x: m.head(m.gru(x)[0]).flatten(0, 1))


@pair("gradient", codes=embedding(11, 6), gru=gru(width=6), inputs=(TOKENS,))
def weights_read_through_data(m, x):
    """A weight is read as it is; or its numbers are, and it never learns."""
    codes = m.codes.weight if m.right else m.codes.weight.data
    return m.gru(codes[x])[0]


@pair(
    "use",
    first=gru(batch_first=False),
    gru=gru(width=6, batch_first=False),
    inputs=(X[:, None],),
    batch_dim=0,
)
def first_step_after_a_flip(m, x):
    """Of frames ``(batch, 1, seq, 3)`` the last state is used; or that which has read one step."""
    y = m.gru(m.first(x[:, 0].transpose(0, 1))[0].flip(0))[0]
    return y[-1] if m.right else y[0]


fine(
    name="one-hot steps of as many kinds",
    gru=gru(width=10),
    causal=True,
    inputs=(X, torch.eye(7)[tokens(4, 7) % 7]),
)(lambda m, x, kinds: m.gru(torch.cat([x, kinds], 2))[0])


@fine(gru=gru(), head=linear(6, 1), streaming=True)
def attention_over_a_chunk(m, x, h=None):
    """What is pooled over the steps of a chunk is left out of streaming, and named."""
    y, h = m.gru(x, h)
    return (m.head(y).softmax(1) * y).sum(1), h


fine(name="spans of Python's numbers", gru=gru())(
    lambda m, x: (m.gru(x)[1][0], [[(0, 1, 2)] for _ in x])
)
