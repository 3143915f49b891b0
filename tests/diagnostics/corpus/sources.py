"""Lengths of several inputs: of a source and a target, of two texts, and of masks beside them."""

import torch

from tests.diagnostics.corpus.forward import embedding, fine, gru, pair
from tests.diagnostics.models_of_users import X, mask, numbers, pack, tokens, within

# The sample whose target is longest has the longest source as well.
SOURCE = torch.tensor([7, 5, 3, 2])
TARGET = torch.tensor([6, 4, 5, 2])
BOTH = (
    within(X, SOURCE),
    SOURCE,
    within(numbers(4, 6, 3), TARGET),
    TARGET,
)


def translated(m, x, n, y, k, outer=False):
    """Attend to a source: to its valid steps, or to all."""
    e = m.encoder(x)[0]
    d = m.decoder(y)[0]
    valid = mask(n, x.shape[1]).unsqueeze(1)
    # Where all is masked, as in a row of the target's padding, all is read alike.
    valid = valid & mask(k, y.shape[1]).unsqueeze(2) if outer else valid
    scores = (d @ e.mT).masked_fill(~(valid if m.right else valid | True), -1e9)
    return torch.cat([d, scores.softmax(2) @ e], 2)


TWO = {"encoder": gru(), "decoder": gru(), "inputs": BOTH}
pair("alone", name="attention, told of the source", lengths=SOURCE, **TWO)(translated)
pair("padding", name="attention", lengths={0: SOURCE, 2: TARGET}, skip=["alone"], **TWO)(translated)


@fine(lengths={0: SOURCE, 2: TARGET}, **TWO)
def attention_within_both_lengths(m, x, n, y, k):
    """An output is judged within the lengths of the input whose steps it has."""
    return translated(m, x, n, y, k, outer=True)


PAIR = torch.tensor([7, 2, 4, 5]), torch.tensor([3, 7, 6, 2])
TEXTS = tuple(tokens(4, 7) * mask(n) for n in PAIR)


@pair("alone", embed=embedding(11, 3), inputs=TEXTS, lengths=dict(enumerate(PAIR)))
def two_texts_of_one_width(m, a, b):
    """Two inputs padded to one width have lengths of their own; each is cut to its own."""

    def vector(given):
        y = m.gru(m.embed(given))[0]
        valid = (given != 0).unsqueeze(2)
        return (y * valid).sum(1) / valid.sum(1)

    extra = 0 if m.right else m.gru(m.embed(b))[0].mean(1)
    return torch.cat([vector(a), vector(b) + extra], 1)


@fine(words=embedding(11, 3), gru=gru(), inputs=(X[..., 0], tokens(4, 7)), causal=True)
def times_of_events(m, _, events):
    """The first input is not read: the steps of the second are those that are judged."""
    return m.gru(m.words(events))[0]


@fine(
    decoder=gru(bidirectional=True),
    inputs=(BOTH[0], SOURCE, X),
    lengths=SOURCE,
    skip=["gradient"],
)
def source_without_a_gradient(m, x, n, y):
    """A frozen encoder reads its source; the target, as wide, has no such lengths."""
    h = m.gru(pack(x, n))[1].detach()
    return m.decoder(y, torch.cat([h, h]))[0]


WIDE = SOURCE.clamp(max=4)


@fine(inputs=(numbers(4, 4, 3), WIDE), lengths=WIDE, batch_dim=1)
def as_many_samples_as_steps(m, x, n):
    """Lengths of as many samples as there are steps have no steps themselves."""
    return m.gru(pack(x.transpose(0, 1), n))[1][-1]


@fine(decoder=gru(), inputs=(BOTH[0], SOURCE, BOTH[0]), lengths=SOURCE)
def target_that_ends_where_the_source_does(m, x, n, y):
    """What the output follows is not cut with the first input: its steps would be lost."""
    return m.decoder(y, m.gru(pack(x, n))[1])[0]
