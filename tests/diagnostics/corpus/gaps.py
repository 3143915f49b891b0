"""What could not be judged, or not at each place: the report names it, and its first line as well."""

import copy

import torch
from torch import nn

from tests.diagnostics.corpus.forward import READS_ALL_IF_WRONG, X, fine, gru, linear, pair
from tests.diagnostics.models_of_users import numbers, over, within

SINGLED = X.clone()
SINGLED[2, 0, 0] = 9


@fine(inputs=(SINGLED,), skip=["batch"])
def step_that_one_sample_skips(m, x):
    """A step that is read of all samples but one is named with that sample."""
    keep = torch.ones(x.shape[:2])
    keep[x[:, 0, 0] == x[:, 0, 0].max(), 3] = 0
    return over(m.cell, x * keep.unsqueeze(2))


@fine()
def model_that_refuses_one_sample(m, x):
    """A refusal of one sample that no lost axis explains accuses nobody."""
    if len(x) < 2:
        raise ValueError
    return m.gru(x)[0].squeeze()


@pair("alone")
def output_that_is_squeezed(m, x):
    """A squeeze that does nothing takes the axis of the batch, too, where that has one sample."""
    y = m.gru(x)[0]
    return y if m.right else y.squeeze()


for name in ("scores", "scores and their sum"):

    @pair("alone", name=f"squeezed: {name}", score=linear(6, 1))
    def attention_that_is_squeezed(m, x, is_sum=name != "scores"):
        """The axis that a squeeze is for is named; or all axes of size 1 go."""
        y = m.gru(x)[0]
        scores = m.score(y)
        scores = scores.squeeze(2) if m.right else scores.squeeze()
        context = torch.bmm(scores.softmax(-1).unsqueeze(1), y)
        return context.squeeze() if is_sum and not m.right else context.squeeze(1)


@fine(head=linear(3, 6))
def step_that_is_copied_deeply(m, x):
    """A model that copies a step of its input, which has no gradient for a caller, trains."""
    return over(m.cell, x) + m.head(copy.deepcopy(x[:, -1:]))


@fine(scale=lambda: nn.Parameter(torch.ones(6)))
def gradient_that_is_nan(m, x):
    """A weight whose gradient is NaN has none, and is not exactly zero either."""
    return m.gru(x)[0] + (m.scale * 0).sqrt() * 0  # its derivative is 0 * inf


@pair("causal", gru=READS_ALL_IF_WRONG, inputs=(numbers(4, 9, 3),), out_seq_dim=1)
def output_of_nine_steps(m, x):
    """Padding at the end of an output is nothing that a cut of the steps changes."""
    y = m.gru(x)[0]
    return nn.functional.pad(y, (0, 0, 0, 9 - y.shape[1]))


#: How the first step reads itself: each rule that forbids it, and a number of steps.
RULES = {"strict": 2, "others": 5}
for rule, steps in RULES.items():

    @pair(
        "causal",
        name=f"{rule}: a first step",
        inputs=(numbers(4, steps, 3),),
        causal=rule,
    )
    def first_step_that_reads_itself(m, x):
        """Before the first step nothing is known; or that step itself is."""
        return over(m.cell, torch.cat([x[:, :1] * (not m.right), x[:, :-1]], 1))


N = torch.tensor([5, 9, 7, 6])
M = torch.tensor([6, 3, 5, 4])
for batch in (2, 4):
    for told in (False, True):

        @fine(
            name=f"{batch} samples, the longest of either input, {told=}",
            one=gru(),
            second=gru(4),
            inputs=(
                within(numbers(batch, 9, 3), N[:batch]),
                N[:batch],
                within(numbers(batch, 6, 4), M[:batch]),
                M[:batch],
            ),
            **({"lengths": {0: N[:batch], 2: M[:batch]}} if told else {}),
        )
        def transducer(m, x, n, y, k):
            """Two sequences whose longest samples are different ones are judged."""
            one = m.one(x[:, : n.max()])[0]
            second = m.second(y[:, : k.max()])[0]
            return one[:, :, None] + second[:, None]


for default in (None, False, 0):

    @fine(name=f"an argument that is {default}")
    def flag_that_is_named_like_a_state(m, x, hidden_state=default):
        """Only what may hold a state, and is left out, is one: of a flag no line is told."""
        return m.gru(x, hidden_state or None)
