"""Inputs beside the sequence: those that a model ignores, and numbers that are not finite."""

import torch

from tests.diagnostics.corpus.forward import X, embedding, fine, gru, linear, pair
from tests.diagnostics.corpus.lengths import pooled_by_value
from tests.diagnostics.models_of_users import COUNTS, PADDED, mask, numbers, over, tokens

#: Inputs of each kind: what they are, how they are read, and by which part.
KINDS = {
    "flags": (X[..., 0] > 1, lambda m, y, f: y * (1 - f.float()).unsqueeze(2), {}),
    "lengths": (COUNTS, lambda m, y, n: y[torch.arange(4), n - 1], {}),
    "lengths in a list": ([3, 7, 5, 2], lambda m, y, n: y * torch.tensor(n)[:, None, None], {}),
    "tokens": (tokens(4, 7), lambda m, y, z: y + m.words(z), {"words": embedding(11, 6)}),
    "a sum of squares": (X[:, 0, 0], lambda m, y, z: y + (z**2).sum(), {}),
    "a dead ReLU": (-X[:, 0, 0].abs(), lambda m, y, z: y + z.relu()[:, None, None], {}),
}
for name, (beside, read, parts) in KINDS.items():

    @pair(
        missed="a note: it may be of use elsewhere",
        name=f"ignored: {name}",
        inputs=(X, beside),
        **parts,
    )
    def reading(m, x, beside, read=read):
        """An input is read; or it reaches no output."""
        y = over(m.cell, x)
        return read(m, y, beside) if m.right else y


@pair(
    "alone",
    words=embedding(15, 3, padding_idx=3),
    gru=gru(),
    inputs=((tokens(4, 7) + 3).masked_fill(~mask(COUNTS), 3).int(),),
)
def padding_that_is_not_zero(m, x):
    """The mean is taken over what is no padding of the embedding; or over all."""
    valid = (x != 3).unsqueeze(2)
    y = m.gru(m.words(x))[0] * valid
    return y.sum(1) / (valid.sum(1) if m.right else x.shape[1])


#: Numbers that end in zeros, beside tokens of an embedding that has a padding.
for name, x in {"features": PADDED, "one feature": PADDED[..., 0]}.items():

    @fine(
        name=f"padding of other tokens: {name}",
        head=linear(x.numel() // 28, 6),
        words=embedding(15, 6, padding_idx=0),
        inputs=(x, tokens(4)),
    )
    def numbers_beside_tokens(m, x, words):
        """Zeros that numbers end in tell no lengths by the padding of an embedding."""
        return m.head(x.view(*x.shape[:2], -1)).mean(1) + m.words(words)


def spoiled(x, value, *place):
    """Return numbers with another value at a place."""
    made = x.clone()
    made[place] = value
    return made


SPOILED = spoiled(X, torch.nan, 1, 2, 0)


@fine(inputs=(spoiled(SPOILED, torch.inf, 3, 1, 1),))
def numbers_that_are_not_finite(m, x):
    """The report says how many numbers of an input were replaced."""
    return m.gru(x)[0]


@fine(inputs=(SPOILED,))
def nan_that_is_replaced(m, x):
    """A model that replaces them itself is judged as it is."""
    return m.gru(x.nan_to_num(0, 0, 0))[0]


for width, value in ((2, torch.nan), (5, -torch.inf)):

    @pair(
        "batch",
        name=f"{value} beside, {width} wide",
        head=linear(width, 6),
        inputs=(X, spoiled(numbers(4, width), value, 2, 1)),
    )
    def leak_beside(m, x, y):
        """A number that is not finite hides no finding, and makes none."""
        return m.gru(x)[0] + m.head(y if m.right else y - y.mean(0)).unsqueeze(1)


for name in ("takes", "refuses"):

    @pair("batch", name=f"model that {name} a NaN", head=linear(3, 6), inputs=(SPOILED,))
    def summed(m, x, refuses=name == "refuses"):
        """A model is judged with finite numbers if its slopes are finite anyway, or if it needs them."""
        assert not refuses or x.isfinite().all()
        return m.head(x if m.right else x - x.mean(0)).cumsum(1)


TOLD = mask(COUNTS).float()
SPOILED = PADDED.masked_fill(~mask(COUNTS).unsqueeze(2), torch.nan)


@pair("alone", name="padding of NaN", inputs=(SPOILED, TOLD))
def pooled_with_mask(m, x, pad_mask):
    """NaN tells the lengths as zeros do."""
    y = m.gru(x.nan_to_num())[0] * pad_mask.unsqueeze(2)
    return y.sum(1) / (pad_mask.sum(1, keepdim=True) if m.right else x.shape[1])


for name, told in {"guessed": None, "told": COUNTS}.items():

    @fine(
        name=f"one NaN within padding, lengths {name}",
        gru=gru(),
        inputs=(spoiled(PADDED, torch.nan, 0, 5),),
        lengths=told,
    )
    def known_by_zeros(m, x):
        """It gets the number of the other padding, by which a model may know where that is."""
        return pooled_by_value(m, x)


COLUMN = torch.tensor([torch.nan] + [1.0] * 5)
HALF = torch.tensor([1.0, 0.0]).repeat(3)
#: Outputs that are not finite, or so large that a sum of them would not be, once enlarged.
OUTPUTS = {
    "a column of NaN": (lambda y: torch.cat([y, torch.full_like(y[..., :1], torch.nan)], -1), True),
    "NaN in a column": (lambda y: y * COLUMN, True),
    "NaN beside numbers": (lambda y: (y * torch.nan, y), True),
    "NaN alone": (lambda y: y * torch.nan, False),
    "large numbers": (lambda y: y * HALF * 1e25, True),
}
for name, (make, judged) in OUTPUTS.items():

    @fine(name=f"output of {name}", judged=judged, causal=True)
    def output_that_is_not_finite(m, x, make=make):
        """No model is accused for it; of what no probe can look at none says ok."""
        return make(m.gru(x)[0])
