"""Models that return only a loss: what may compare samples, and what may not."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, ctc_loss, mse_loss, nll_loss, normalize

from tests.diagnostics.corpus.forward import X, embedding, fine, gru, linear, pair, part

PARTS = {"words": embedding(9, 3), "gru": gru(), "head": linear(6, 9)}


def two():
    """Draw tokens and targets."""
    return tuple(torch.randint(9, (2, 4, 7)))


#: Parts and inputs of most of them.
LOSS = {**PARTS, "inputs": two}


def drawn_with_classes():
    """Draw tokens, and a class of each sample."""
    return torch.randint(9, (4, 7)), torch.arange(4)


def logits(m, x):
    """Return what is said of each step."""
    return m.head(m.gru(m.words(x))[0])


@pair("batch", **LOSS)
def targets_of_other_samples(m, x, y):
    """Logits are flattened with the steps in front, targets with the samples."""
    rows = logits(m, x).transpose(0, 1).flatten(0, 1)
    return cross_entropy(rows, (y.t() if m.right else y).reshape(-1), ignore_index=3)


@pair("batch", **LOSS)
def loss_of_a_layer_over_the_samples(m, x, y):
    """A layer reads the samples for steps; only the loss is returned."""
    read = m.words(x)
    output = m.gru(read)[0] if m.right else m.gru(read.transpose(0, 1))[0].transpose(0, 1)
    return cross_entropy(m.head(output).flatten(0, 1), y.flatten())


LOSSES = {
    "a root": lambda rows, y: (rows.gather(1, y.unsqueeze(1)) - 1).square().mean().sqrt(),
    "a masked mean": lambda rows, y: (rows.logsumexp(1) * (y > 2)).sum() / (y > 2).sum(),
}
for name, loss in LOSSES.items():
    fine(name=f"loss: {name}", **LOSS)(
        lambda m, x, y, loss=loss: loss(logits(m, x).flatten(0, 1), y.flatten())
    )


#: Losses that broadcast their targets, of torch's or written out; the gradient of some has signs only.
BROADCAST = {
    "mse": mse_loss,
    "negated": lambda rows, y: (rows + -y).square().mean(),
    "normalised": lambda rows, y: (rows - (y - y.mean()) / y.std()).square().mean(),
}
for name, cost in BROADCAST.items():

    @pair(
        "batch",
        name=f"loss that broadcasts: {name}",
        head=linear(6, 1),
        inputs=lambda: (torch.randn(8, 7, 3), (-1.0) ** torch.arange(8)),
        seeds=3,
    )
    def compared(m, x, y, cost=cost):
        """Predictions have the shape of the targets; or each is compared with every target."""
        rows = m.head(m.gru(x)[0][:, -1])
        return cost(rows.squeeze(1) if m.right else rows, y)


@pair(
    "batch",
    head=linear(6, 1),
    inputs=(X, X[:, 0, 0], X[:, 1, :1]),
)
def advantages_of_all_actions(m, x, old, advantages):
    """Each action has its own advantage, or those of all samples."""
    ratio = (m.head(m.gru(x)[0][:, -1]).squeeze(1) - old).exp()
    if m.right:
        advantages = advantages.squeeze(1)
    return torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()


@fine(inputs=(X, X[:, 0, 0]))
def rewards_normalised(m, x, reward):
    """Rewards are normalised over the samples; a distribution views flags to check its numbers."""
    policy = torch.distributions.Categorical(logits=m.gru(x)[0][:, -1])
    return policy.log_prob(reward.gt(0).long()) @ (reward - reward.mean())


@fine(drop=part("Dropout"), **LOSS)
def items_of_all_samples(m, x, y):
    """Each sample is to choose its own item among those of all, with dropout, as a recommender does."""
    scores = m.drop(m.gru(m.words(x))[0][:, -1]) @ m.head.weight[y[:, 0]].mT
    return -scores.log_softmax(1).trace()


@pair("batch", **LOSS)
def scores_viewed_for_ctc(m, x, y):
    """The scores get the steps in front; or are viewed so, and samples mix."""
    scores = logits(m, x).log_softmax(2)
    scores = scores.transpose(0, 1) if m.right else scores.view(7, -1, 9)
    return ctc_loss(scores, y[:, :2].clamp(1), [7] * len(x), [2] * len(x))


@fine(name="loss: places of a histogram", inputs=(X, torch.linspace(-1, 1, 9)))
def near_places(m, x, places):
    """Each prediction is compared with all places, which are no samples."""
    rows = m.gru(x)[0][:, -1, :1]
    return (-(rows - places).square()).softmax(1)[:, 0].mean()


@fine(name="loss: each pair of samples", inputs=(X, X[:, 0, 0]))
def ranked(m, x, y):
    """Two predictions have the order of their targets, which meet each other on purpose."""
    rows = m.gru(x)[0][:, -1, 0]
    return ((y.unsqueeze(1) - y) * (rows - rows.unsqueeze(1))).relu().mean()


@pair("batch", name="softmax over the steps of a loss", **LOSS)
def over_steps(m, x, y):
    """The scores add up to 1 over the classes, which the loss reads; or over the steps."""
    scores = logits(m, x).log_softmax(2 if m.right else 1)
    return nll_loss(scores.flatten(0, 1), y.flatten())


@pair("batch", name="softmax over flat rows, beside the scores", **LOSS)
def over_rows(m, x, y):
    """A loss beside the scores is looked at, too; its classes are the last axis."""
    rows = logits(m, x).flatten(0, 1)
    loss = nll_loss(rows.log_softmax(1 if m.right else 0), y.flatten())
    return loss, logits(m, x)


@fine(name="loss: focal", **LOSS)
def focal(m, x, y):
    """What a focal loss makes of a log_softmax adds up to anything."""
    scores = logits(m, x).log_softmax(2)
    weighted = (1 - scores.exp()) ** 2 * scores
    return nll_loss(weighted.flatten(0, 1), y.flatten())


@pair("batch", name="loss: targets of other samples, tokens turned", **PARTS, inputs=two())
def turned_tokens(m, x, y):
    """An Embedding that is given the tokens turned does not make these labels."""
    rows = m.head(m.gru(m.words(x.t()).transpose(0, 1))[0]).transpose(0, 1)
    return cross_entropy(rows.flatten(0, 1), (y.t() if m.right else y).reshape(-1))


@pair("batch", name="loss: labels of other samples", **PARTS, inputs=drawn_with_classes)
def labels_of_others(m, x, y):
    """Each sample meets its own label; or the samples are turned around, and the labels are not."""
    scores = logits(m, x)[:, -1]
    return cross_entropy(scores if m.right else scores.flip(0), y)


@fine(name="loss: samples are averaged", **LOSS)
def averaged(m, x, y):
    """What averages the samples is named, and not the check of all scores: a mistake, or on purpose."""
    scores = logits(m, x)
    assert scores.sum().isfinite()
    return cross_entropy(scores.mean(0), y[0])


@fine(name="loss: samples are compared", **LOSS)
def contrast(m, x, y):
    """Only the loss compares samples: that is noted."""
    one, other = (normalize(m.gru(m.words(z))[1][-1]) for z in (x, y))
    return cross_entropy(one @ other.t() + m.head.bias.sum(), torch.arange(len(x)))


@fine(
    name="loss: no module returns anything",
    weight=lambda: nn.Parameter(torch.ones(3)),
    inputs=(X, X + 1),
)
def bare(m, x, y):
    """Samples are compared by a product of bare tensors."""
    return ((x * m.weight).sum(2) @ y.sum(2).t()).square().mean()
