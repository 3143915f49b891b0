"""Lengths that nobody passed: inputs that are named like them, and padding that an Embedding knows."""

import torch

from tests.diagnostics.corpus.forward import WRONG, X, embedding, fine, gru, linear, pair
from tests.diagnostics.models_of_users import COUNTS, PADDED, mask, numbers

WORDS = torch.randint(1, 9, (4, 7), generator=torch.Generator().manual_seed(0)) * mask(COUNTS)


def mean_of(m, x, mask):
    """Take the mean over the valid steps, or over all."""
    output = m.gru(x)[0] * mask.unsqueeze(2)
    return output.sum(1) / (mask.sum(1, keepdim=True) if m.right else x.shape[1])


#: What has a name like lengths, or a mask, or is known by an embedding.
TOLD = {
    "lengths": (lambda m, x, lengths: mean_of(m, x, mask(lengths, x.shape[1])), (PADDED, COUNTS)),
    "lengths beside others": (
        lambda m, x, lengths, y, y_len: mean_of(m, x, mask(lengths, x.shape[1])),
        (PADDED, COUNTS, WORDS, COUNTS.flip(0)),
    ),
    "a mask": (mean_of, (PADDED, mask(COUNTS))),
    "both": (lambda m, x, lengths, mask: mean_of(m, x, mask), (PADDED, COUNTS, mask(COUNTS))),
    "a key": (
        lambda m, batch: mean_of(m, batch["x"], mask(batch["lengths"], batch["x"].shape[1])),
        ({"x": PADDED, "lengths": COUNTS},),
    ),
    "padding": (lambda m, x: mean_of(m, m.words(x), x != 0), (WORDS,)),
}
for name, (forward, inputs) in TOLD.items():
    parts = {"words": embedding(9, 3, padding_idx=0)} if name == "padding" else {}
    pair("alone", name=f"told by {name}", gru=gru(), inputs=inputs, **parts)(forward)


@pair("alone", head=linear(3, 6), inputs=(PADDED.flip(1), COUNTS))
def lengths_of_padding_in_front(m, x, x_len):
    """The padding is in front of the samples."""
    output = m.head(x) * mask(x_len, x.shape[1]).flip(1).unsqueeze(2)
    return output.sum(1) / (x_len.unsqueeze(1) if m.right else x.shape[1])


@fine(words=embedding(9, 3), inputs=(WORDS, WORDS.roll(1, 0), mask(COUNTS), mask(COUNTS.roll(1))))
def two_masks_of_one_width(m, p, q, p_mask, q_mask):
    """A mask belongs to the input whose lengths it tells."""
    scores = (m.words(p) @ m.words(q).mT).masked_fill(~q_mask.unsqueeze(1), -torch.inf)
    return (scores.softmax(2) @ m.words(q)) * p_mask.unsqueeze(2)


@fine(gru=gru(), inputs=(PADDED, COUNTS, COUNTS.flip(0) + 0.3))
def duration_of_each_sample(m, x, lengths, seconds):
    """A number of each sample is no length, although it is one relative to itself."""
    return mean_of(m, x, mask(lengths, x.shape[1])) * seconds.unsqueeze(1)


@fine(inputs=(X, COUNTS))
def title_len_that_is_a_feature(m, x, title_len):
    """What is named like lengths, and where no input ends, is a number."""
    return m.gru(x)[0].mean(1) * title_len.unsqueeze(1)


@pair("alone", gru=gru(6, bidirectional=WRONG), inputs=(PADDED, COUNTS))
def pairs_of_frames(m, x, lengths):
    """A pyramid reads two steps at once: a sample by itself returns the first of its rows."""
    steps = x.shape[1] // 2
    return m.gru(x[:, : 2 * steps].reshape(len(x), steps, 6))[0], lengths // 2


@fine(inputs=(numbers(7, 3, 4), torch.ones(4, 7)), batch_dim=2, seq_dim=0)
def mask_beside_a_batch_on_the_last_axis(m, x, mask):
    """A mask with fewer axes than the input has is not taken for its lengths."""
    return m.gru(x.permute(2, 0, 1))[0] * mask.unsqueeze(2)
