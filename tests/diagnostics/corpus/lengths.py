"""Padded batches: what tells a model the lengths, in which input, and which samples show it."""

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from tests.diagnostics.corpus.forward import X, embedding, fine, gru, pair, part
from tests.diagnostics.models_of_users import (
    COUNTS,
    LENGTHS,
    PADDED,
    mask,
    numbers,
    pack,
    tokens,
    unpack,
    within,
    zero_state,
)

VALID = mask(COUNTS)
TOLD = {"inputs": (PADDED, COUNTS), "lengths": LENGTHS}


def unpacked(m, x, n):
    """Run packed, and return the padded outputs."""
    return unpack(m.gru(pack(x, n))[0], x.shape[1])


@pair("alone", **TOLD)
def pooled_padding(m, x, n):
    """The mean is taken over the valid steps; or over all."""
    y = m.gru(x)[0]
    return within(y, n).sum(1) / n.unsqueeze(1) if m.right else y.mean(1)


@pair("alone", gru=gru(bidirectional=True), **TOLD)
def unpacked_padding(m, x, n):
    """A bidirectional layer reads a packed batch; or a padded one, whose end it reads first."""
    return unpacked(m, x, n) if m.right else m.gru(x)[0]


@pair("alone", inputs=(PADDED.flip(1), VALID.flip(1)), lengths=LENGTHS, pad="pre")
def padding_in_front(m, x, valid):
    """A loop waits for the first valid step; or it runs over the padding, which is in front."""
    h = zero_state(x)
    for x_t, now in zip(x.unbind(1), valid.unbind(1), strict=True):
        h = torch.where(now.unsqueeze(1) | (not m.right), m.cell(x_t, h), h)
    return h


CONVOLVED = {"conv": part("Conv1d", 3, 3, 3, padding=1), "gru": gru()}


def convolved(m, x, n):
    """Run a convolution that reads one step beyond each length."""
    return m.gru(pack(m.conv(x.mT).mT, n))[1][-1]


fine(name="zeros_beyond_a_length", **TOLD, **CONVOLVED)(convolved)


@pair("alone", inputs=(X, COUNTS), lengths=LENGTHS, **CONVOLVED)
def numbers_beyond_a_length(m, x, n):
    """Of other padding than zeros a convolution gives something else than for each sample alone."""
    return convolved(m, within(x, n) if m.right else x, n)


@pair("alone", gru=gru(), inputs=(PADDED, COUNTS / 7), lengths=LENGTHS)
def relative_lengths(m, x, share):
    """Lengths as parts of the longest stay what they are; a sample alone is the longest."""
    n = (share * x.shape[1]).round().long()
    assert n.max() == x.shape[1]
    return pooled_padding(m, x, n)


def pooled_by_value(m, x, *_):
    """Take the mean over what is not zero."""
    valid = (x != 0).any(2, keepdim=True)
    return (m.gru(x)[0] * valid).sum(1) / valid.sum(1)


#: What stands beside an input and tells no lengths: the model may know them by value.
BESIDE = {
    "labels of samples": (torch.arange(4),),
    "a mask that is true everywhere": (torch.ones(4, 7, dtype=torch.bool),),
    "a mask over steps only": (torch.ones(7, 7).tril(),),
}
for name, beside in BESIDE.items():
    fine(name=f"beside padding: {name}", gru=gru(), inputs=(PADDED, *beside), lengths=LENGTHS)(
        pooled_by_value
    )

#: What tells lengths: then the padding must not be read by its value.
TELLING = {
    "lengths in a list": list(LENGTHS),
    "a mask of padding": ~VALID,
    "an additive mask": torch.zeros(4, 7).masked_fill(~VALID, -torch.inf),
    "a mask for attention": VALID[:, None, None, :],
}
for name, told in TELLING.items():

    @pair(
        "padding",
        name=f"padding told: {name}",
        gru=gru(),
        inputs=(PADDED, COUNTS, told),
        lengths=LENGTHS,
        skip=["alone"],
    )
    def pooled(m, x, n, told):
        """The mean is taken over the valid steps; or over what is no zero."""
        return pooled_padding(m, x, n) if m.right else pooled_by_value(m, x)


#: Kinds of lengths that are told, and that a model takes.
LENGTHS_OF_KINDS = {
    "an array with an axis for nothing": (COUNTS, np.array(LENGTHS)[:, None]),
    "a column": (COUNTS.unsqueeze(1), COUNTS),
    "a tuple": ((*LENGTHS,), COUNTS),
}
for name, (given, told) in LENGTHS_OF_KINDS.items():

    @fine(name=f"lengths: {name}", inputs=(PADDED, given), lengths=told)
    def masked(m, x, n):
        """Lengths in an array, or with an axis for nothing, are taken."""
        return within(m.gru(x)[0], torch.as_tensor(n).view(-1))


def plain(name, forward, x=PADDED, n=COUNTS, **parts):
    """Register a right model of padded samples, of which not all is tried."""
    fine(name=f"padded: {name}", inputs=(x, n), lengths=n, **parts)(forward)


plain("no padding", lambda m, x, n: m.gru(x)[0], X, torch.full((4,), 7))
plain("integers", lambda m, x, n: m.gru(x)[0].argmax(2), X, judged=False)
plain("tokens", lambda m, x, n: within(m.gru(m.emb(x))[0], n), tokens(4, 7), emb=embedding(11, 3))
plain(
    "one batch size, pooled",
    lambda m, x, n: within(m.gru(x, torch.zeros(1, 4, 6))[0], n).sum((1, 2)),
)


EIGHT = numbers(4, 8, 3)
EVEN = torch.tensor([8, 6, 4, 7])
FEWER = {"inputs": (within(EIGHT, EVEN), EVEN), "lengths": EVEN}


@fine(lower=gru(), upper=gru(12), seeds=3, **FEWER)
def pyramid(m, x, n):
    """An output of fewer steps is not cut: which steps are valid is not known."""
    y = m.lower(x)[0]
    y = y[:, : y.shape[1] // 2 * 2]
    return m.upper(y.reshape(len(y), -1, 12))[0], n // 2


def flipped(m, y, n):
    """Sum from the last valid step on, or from the end of the padding."""
    step = torch.arange(y.shape[1])
    end = n.unsqueeze(1)
    back = (
        torch.where(step < end, end - 1 - step, step)
        if m.right
        else step.flip(0).expand(len(y), -1)
    )
    return y.gather(1, back.unsqueeze(2).expand_as(y)).cumsum(1)


#: What reads the steps beyond a length; a message names it, its line, and what to do before it.
READING = {
    "the last step": lambda m, y, n: y[torch.arange(len(y)), n - 1] if m.right else y[:, -1],
    "a flip": flipped,
    "a norm": lambda m, y, _: torch.layer_norm(y, y.shape[2 if m.right else 1 :]),
}
for name, read in READING.items():

    @pair("alone", name=f"padding: {name}", gru=gru(), **TOLD)
    def reads_padding(m, x, n, read=read):
        """The outputs of a packed layer are read within the lengths, or beyond them."""
        return read(m, unpacked(m, x, n), n)


@pair("alone", conv=part("Conv1d", 3, 6, 2, stride=2), gru=gru(6), **FEWER)
def lengths_before_the_stride(m, x, n):
    """A convolution halves the steps: packing takes halves of the lengths, or what fits of them."""
    y = m.conv(x.mT).mT
    ends = n // 2 if m.right else n.clamp(max=y.shape[1])
    return m.gru(pack(y, ends))[1][-1]


SORTED = torch.tensor([7, 6, 6, 6, 3, 2])


@fine(inputs=(numbers(6, 7, 3), SORTED), lengths=SORTED)
def samples_that_stay_sorted(m, x, n):
    """A model that packs a sorted batch runs on the samples that are picked, at its full length."""
    return unpack(m.gru(pack_padded_sequence(x, n, batch_first=True))[0])
