"""Models with a mistake, what a finding says of each, and the model after its fix was typed.

Each computes by ``m.way``: the wrong way, with the fix ``typed``, or the right way, written otherwise.
"""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import gru, linear, part
from tests.diagnostics.models_of_users import later_steps, mask, numbers, tokens, within, zero_state
from tests.diagnostics.typed import typed


@typed(
    "batch",
    "this softmax is over axis 1, where the samples are",
    "softmax(dim=0)",
    given=lambda batch, seq: (numbers(seq, batch, 3),),
    batch_dim=1,
    rnn=gru(batch_first=False),
    score=linear(6, 1),
)
def softmax_over_samples(m, x):
    """Pool the steps by a softmax of scores."""
    y = m.rnn(x)[0]
    dim = 1 if m.way == "wrong" else 0
    return m.head((nn.functional.softmax(m.score(y), dim=dim) * y).sum(0))


@typed("causal", "softmax(-1), which runs after", "later = torch.ones(n, n).triu(1)")
def mask_a_step_late(m, x):
    """Attend to earlier steps; or to the next one as well."""
    y = m.rnn(x)[0]
    later = later_steps(x)
    hidden = later.triu(2) if m.way == "wrong" else later
    return m.head((y @ y.mT).masked_fill(hidden, -torch.inf).softmax(-1) @ y)


@typed("causal", "scaled_dot_product_attention", "is_causal=True")
def attention_without_a_mask(m, x):
    """Attend by torch's function."""
    y = m.rnn(x)[0]
    options = {"typed": {"is_causal": True}, "right": {"attn_mask": ~later_steps(x)}}
    way = options.get(m.way, {})
    return m.head(nn.functional.scaled_dot_product_attention(y, y, y, **way))


@typed(
    "causal",
    "this softmax is over axis 1, where the steps are",
    "softmax(dim=2)",
    wrong=part("Softmax", 1),
    typed=part("Softmax", dim=2),
    right=part("Softmax", -1),
)
def softmax_module(m, x):
    """Return scores of classes, by a module."""
    return m.get_submodule(m.way)(m.head(m.rnn(x)[0]))


@typed(
    "batch",
    "this view swaps no axes",
    "x.transpose(0, 1).reshape(...)",
    rnn=gru(batch_first=False),
)
def steps_viewed(m, x):
    """Turn the input to steps first."""
    batch, seq, width = x.shape
    if m.way == "wrong":
        x = x.view(seq, batch, width)
    elif m.way == "typed":
        x = x.transpose(0, 1).reshape(seq, batch, width)
    else:
        x = x.permute(1, 0, 2)
    return m.head(m.rnn(x)[0]).transpose(0, 1)


def samples_and_beams(batch, seq):
    """Return samples, and what is known of three beams of each."""
    return numbers(batch, seq, 3), numbers(batch, 3, 2)


BEAMS = {"given": samples_and_beams, "rnn": gru(), "head": linear(8, 4)}


def scores(m, rows, beams):
    """Score rows of samples, each with what is known of its beam."""
    return m.head(torch.cat([m.rnn(rows)[0][:, -1], beams.flatten(0, 1)], 1))


@typed("batch", "repeat(3, 1, 1) at typed_models.py", "repeat_interleave(3, 0) there", **BEAMS)
def samples_repeated(m, x, beams):
    """Score some beams of each sample."""
    count = beams.shape[1]
    if m.way == "wrong":
        rows = x.repeat(3, 1, 1)
    elif m.way == "typed":
        rows = x.repeat_interleave(3, 0)
    else:
        rows = x.unsqueeze(1).expand(-1, count, -1, -1).flatten(0, 1)
    return scores(m, rows, beams).unflatten(0, (-1, count))


@typed("batch", "repeat_interleave(3, -3) at typed_models.py", "repeat(3, 1, 1) there", **BEAMS)
def samples_interleaved(m, x, beams):
    """Score some beams of all samples, one beam after the other."""
    count = beams.shape[1]
    if m.way == "wrong":
        rows = x.repeat_interleave(3, -3)
    elif m.way == "typed":
        rows = x.repeat(3, 1, 1)
    else:
        rows = x.expand(count, -1, -1, -1).flatten(0, 1)
    return scores(m, rows, beams.transpose(0, 1)).unflatten(0, (count, -1)).transpose(0, 1)


def with_dones(batch, seq):
    """Return samples, and a flag that is set once in each of them."""
    dones = torch.zeros(batch, seq, dtype=torch.long)
    dones[torch.arange(batch), 1 + torch.arange(batch) % (seq - 1)] = 1
    return numbers(batch, seq, 3), dones


@typed(
    "batch",
    "is a mask of integers: it picks rows 0 and 1",
    "x[flags.bool()]",
    given=with_dones,
)
def flags_as_index(m, x, dones):
    """Start afresh where an episode is done."""
    h = x.new_zeros(1, len(x), 6)
    outputs = []
    for t in range(x.shape[1]):
        h = h.clone()
        done = dones[:, t]
        h[:, done if m.way == "wrong" else done.bool()] = 0.0
        if m.way == "right":
            h = h * (1 - done[:, None])
        y, h = m.rnn(x[:, t : t + 1], h)
        outputs.append(y[:, 0])
    return torch.stack(outputs, 1)


def lengths_of(batch, seq):
    """Return lengths of some samples, one of them the longest."""
    return torch.arange(batch).mul(2).remainder(seq - 1).add(2).flip(0).clamp(max=seq)


def padded_tokens(batch, seq):
    """Return tokens that end in zeros."""
    return (tokens(batch, seq) * mask(lengths_of(batch, seq), seq),)


@typed(
    "alone",
    "is over the queries of the scores, not over the keys",
    "mask.mT",
    given=padded_tokens,
    lengths=lambda words: (words != 0).sum(1),
    query=linear(3, 3),
    embedding=part("Embedding", 11, 3),
)
def mask_over_queries(m, x):
    """Attend to what is no padding."""
    y = m.embedding(x)
    is_padding = x.eq(0).unsqueeze(1 if m.way == "right" else 2)
    if m.way == "typed":
        is_padding = is_padding.mT
    scores = (m.query(y) @ y.mT).masked_fill(is_padding, -1e4)
    return m.rnn(scores.softmax(-1) @ y)[0]


def with_lengths(batch, seq):
    """Return samples, and their lengths."""
    return numbers(batch, seq, 3), lengths_of(batch, seq)


WITH_LENGTHS = {"given": with_lengths, "lengths": lambda _, lengths: lengths}


@typed(
    "causal",
    "members are one tensor",
    "outputs.append(h.clone())",
    skip=["gradient"],
)
def written_in_place(m, x):
    """Keep the state in one tensor, and return the one of each step."""
    with torch.no_grad():
        h = zero_state(x)
        outputs = []
        for t in range(x.shape[1]):
            h.copy_(m.cell(x[:, t], h))
            outputs.append(h if m.way == "wrong" else h.clone())
    return m.head(torch.stack(outputs, 1))


@typed(
    "alone",
    "after a stride the lengths are",
    "(lengths + 2 * padding - kernel_size) // stride + 1",
    conv=part("Conv1d", 3, 6, 3, stride=2, padding=1),
    **WITH_LENGTHS,
)
def strided(m, x, lengths):
    """Average what a strided convolution makes of the valid steps."""
    x = within(x, lengths)
    y = m.conv(x.transpose(1, 2)).transpose(1, 2)
    valid = {
        "wrong": lengths,
        "typed": (lengths + 2 * 1 - 3) // 2 + 1,
        "right": lengths.add(1).div(2).long(),
    }
    kept = mask(valid[m.way], y.shape[1]).unsqueeze(2)
    return m.head((y * kept).sum(1) / kept.sum(1))


@typed(
    "alone",
    "read the last step, y[:, -1]: the padding is in front",
    pad="pre",
    **WITH_LENGTHS,
)
def padding_in_front(m, x, lengths):
    """Read the last step behind padding in front."""
    outputs = []
    h = zero_state(x)
    for t in range(x.shape[1]):
        is_valid = (t >= x.shape[1] - lengths).unsqueeze(1)
        h = torch.where(is_valid, m.cell(x[:, t], h), h)
        outputs.append(h)
    y = torch.stack(outputs, 1)
    if m.way == "wrong":
        return m.head(y[torch.arange(len(y)), lengths - 1])
    return m.head(y[:, -1] if m.way == "typed" else h)


@typed(
    "batch",
    "they do not swap axes",
    "x.transpose(0, 1).reshape(...); at typed_models.py",
    "sizes 0 and 1",
    encoder=gru(num_layers=2),
    bridge=linear(12, 12),
    decoder=gru(6, num_layers=2),
)
def bridge_viewed(m, x):
    """Start a decoder from what a head makes of both layers' states."""
    y, h_n = m.encoder(x)
    layers, batch, width = h_n.shape
    if m.way == "wrong":
        h = m.bridge(h_n.view(-1, layers * width)).view(layers, batch, width)
    elif m.way == "typed":
        joined = h_n.transpose(0, 1).reshape(-1, layers * width)
        h = m.bridge(joined).reshape(batch, layers, width).transpose(0, 1)
    else:
        joined = torch.cat([*h_n], 1)
        h = torch.stack(m.bridge(joined).split(width, 1))
    return m.decoder(y, h.contiguous())[0]


@typed(
    "causal",
    "is over the queries of the scores, not over the keys",
    "mask.mT",
    query=linear(6, 6),
)
def mask_transposed(m, x):
    """Attend to earlier steps."""
    y = m.rnn(x)[0]
    scores = m.query(y) @ y.mT
    later = later_steps(x)
    hidden = later.mT if m.way == "wrong" else later
    return m.head(scores.masked_fill(hidden, -1e9).softmax(-1) @ y)


@typed(
    "gradient",
    "is over an axis of size 1: it always returns 1",
    "softmax over the steps",
    score=linear(6, 1),
)
def softmax_of_one(m, x):
    """Pool the steps by a softmax of scores."""
    y = m.rnn(x)[0]
    scores = m.score(y).flatten(0, 1)
    if m.way == "wrong":
        weights = scores.softmax(1).view(len(x), -1, 1)
    elif m.way == "typed":
        weights = scores.view(len(x), -1).softmax(1).unsqueeze(2)
    else:
        weights = m.score(y).softmax(1)
    return m.head((weights * y).sum(1))


@typed(
    "batch",
    "y[-1] of an output, which is its last sample",
    "y[:, -1], which is the last step",
)
def last_of_the_batch(m, x):
    """Read the last step of each sample."""
    y, h_n = m.rnn(x)
    return m.head({"wrong": y[-1], "typed": y[:, -1], "right": h_n[-1]}[m.way])


@typed(
    "gradient",
    "the zeros made at typed_models.py",
    "advance it in the loop",
    gate=linear(9, 6),
    new=linear(9, 6),
)
def never_advanced(m, x):
    """Run gates over the steps."""
    h = x.new_zeros(len(x), 6)
    total = x.new_zeros(())
    for t in range(x.shape[1]):
        reset = torch.sigmoid(m.gate(torch.cat([x[:, t], h], -1)))
        new = torch.tanh(m.new(torch.cat([x[:, t], h * reset], -1)))
        if m.way != "wrong":
            h = new
        total = total + new
    return m.head(total)
