"""What parameters learn: those that a call reads and that get nothing, and those that need not."""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import fine, gru, linear, pair
from tests.diagnostics.models_of_users import numbers, zero_state


@pair("gradient", score=linear(6, 1))
def softmax_over_one_score(m, x):
    """Each score is by itself on the axis of the softmax: every weight is one."""
    output = m.gru(x)[0]
    weights = m.score(output).softmax(1 if m.right else 2)
    return (weights * output).sum(1)


def stack():
    """Make a stack of layers."""
    return nn.ModuleList(nn.Linear(6, 6) for _ in range(4))


@pair("gradient", layers=stack)
def layer_of_a_stack_that_is_left_out(m, x):
    """A loop over a stack of layers ends too early."""
    output = m.gru(x)[0]
    for layer in m.layers if m.right else m.layers[:-1]:
        output = layer(output).relu()
    return output


@pair("gradient", gru=gru(bidirectional=True, num_layers=2), head=linear(12, 2))
def state_of_one_direction(m, x):
    """The last of the states is the backward direction only: the forward one is never trained."""
    h = m.gru(x)[1]
    return m.head(torch.cat([h[-2] if m.right else h[-1], h[-1]], 1))


@pair("gradient", head=linear(6, 2))
def levels_that_are_rounded(m, x):
    """Rounding has a gradient of zeros, unless what it adds is put aside."""
    output = 10 * m.gru(x)[0]
    levels = output.round()
    return m.head(output + (levels - output).detach() if m.right else levels)


def zeros(*shape):
    """Return what makes a parameter of zeros."""
    return lambda: nn.Parameter(torch.zeros(shape))


@fine(
    name="parameters: a policy",
    first=zeros(1, 1, 6),
    gate=zeros(),
    log_std=zeros(2),
    down=lambda: nn.Parameter(torch.randn(6, 2)),
    up=zeros(2, 6),
    mean=linear(6, 2),
    value=linear(6, 1),
    spare=linear(6, 4),
    frozen=lambda: nn.Parameter(torch.randn(6, 6), requires_grad=False),
)
def policy(m, x):
    """Parameters that get no gradient from this call, and rightly so."""
    output = m.gru(x, m.first.expand(-1, len(x), -1).contiguous())[0]
    output = output + m.gate * (output @ m.frozen) + output @ m.down @ m.up
    return m.mean(output), m.value(output)


@fine(heads=lambda: nn.ModuleList(nn.Linear(6, 2) for _ in range(3)))
def heads_for_other_tasks(m, x):
    """Heads that do not run are noted: none reads what another one returned."""
    output = m.gru(x)[0]
    return m.heads[0](output), m.heads[1](output)


@fine(layers=stack)
def layers_that_training_drops(m, x):
    """A layer of a stack is left out in training, as some are by chance, and runs otherwise."""
    y = m.gru(x)[0]
    for k, layer in enumerate(m.layers):
        y = y if m.training and k == 1 else y + layer(y)
    return y


@fine(picks=linear(6, 16), ways=lambda: nn.ModuleList(map(nn.Linear, [6] * 16, [6] * 16)))
def experts_that_are_all_computed(m, x):
    """Of many experts, this batch chooses a few; the others get zeros."""
    y = m.gru(x)[0]
    odds = m.picks(y).softmax(2).unsqueeze(2)
    chosen = odds * (odds == odds.amax(3, keepdim=True))
    return (torch.stack([one(y) for one in m.ways], 3) * chosen).sum(3)


fine(name="a loss of one step", inputs=(numbers(4, 2, 3),))(
    lambda m, x: (m.gru(x)[0][:, :-1, :3] - x[:, 1:]).square().mean()
)


@fine(query=linear(3, 6), key=linear(3, 6), inputs=(numbers(4, 1, 3),))
def attention_of_one_sentence(m, x):
    """Attention over a single sentence is no attention in this batch."""
    return (m.query(x) @ m.key(x).mT).softmax(2) @ x


@fine(inner=linear(3, 6), outer=linear(6, 6), inputs=(numbers(4, 3),))
def one_step_of_an_own_cell(m, x, h=None):
    """A cell makes its initial state of zeros: the weights that multiply it get zeros."""
    h = zero_state(x) if h is None else h
    return (m.inner(x) + m.outer(h)).tanh()
