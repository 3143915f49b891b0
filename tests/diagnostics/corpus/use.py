"""What a model makes of what its layers return, and what training makes of its weights."""

import torch
from torch import nn

import rnnkit
from tests.diagnostics.corpus.forward import X, fine, gru, linear, lstm, pair
from tests.diagnostics.models_of_users import gru as made_gru
from tests.diagnostics.models_of_users import numbers, zero_state


@pair("use", gru=gru(num_layers=2, bidirectional=True), head=linear(6, 2))
def states_of_the_layer_below(m, x):
    """The states of the last layer are read, in both directions; or those of the layer below."""
    return m.head(m.gru(x)[1][2:] if m.right else m.gru(x)[1][:2]).sum(0)


@pair("use", encoder=gru(), decoder=gru(6, 6))
def first_step_of_an_encoder(m, x):
    """A decoder repeats what the encoder returned last; or first, where it has read one step."""
    code = m.encoder(x)[0][:, -1 if m.right else 0]
    return m.decoder(code.unsqueeze(1).expand(-1, x.shape[1], -1))[0]


BOTH = {"lstm": lstm(bidirectional=True), "head": linear(12, 2)}


@pair("use", **BOTH)
def first_step_of_both_directions(m, x):
    """Both directions are read where they end; or at the first step, where one has just begun."""
    output, (h_n, _) = m.lstm(x)
    return m.head(torch.cat([h_n[0], h_n[1]], 1) if m.right else output[:, 0])


@pair("use", **BOTH)
def last_step_of_both_directions(m, x):
    """Both directions are read where they end; or at the last step, where one has just begun."""
    output, (h_n, _) = m.lstm(x)
    return m.head(torch.cat([h_n[-2], h_n[-1]], 1) if m.right else output[:, -1])


@pair("use", gru=gru(num_layers=2, bidirectional=True), head=linear(12, 2))
def directions_of_two_layers(m, x):
    """The directions of the last layer; or one of each layer."""
    _, h_n = m.gru(x)
    return m.head(torch.cat([h_n[-2 if m.right else 0], h_n[-1]], 1))


@pair("use", one=gru(num_layers=2))
def state_of_the_first_layer(m, x):
    """The state of the last layer; or of the first."""
    return m.one(x)[1][-1 if m.right else 0]


@pair("use", layer=gru(), head=linear(6, 2))
def first_step_only(m, x):
    """The last step of the output; or the first, which has read one step."""
    return m.head(m.layer(x)[0][:, -1 if m.right else 0])


def faint(state):
    """Let something through that no noise of its size changes."""
    return (state * 1e-30).relu()


#: The first step beside others, or where it has read more.
FIRST = {
    "all steps": lambda m, x: m.layer(x)[0].amax(1),
    "a state beside it": lambda m, x: torch.cat(
        [(r := m.layer(x))[0][:, 0], faint(r[1][-1]) + 1], 1
    ),
    "from a state": lambda m, x: m.layer(x, m.layer(x)[1])[0][:, 0],
    "one step": lambda m, x: m.layer(x[:, :1])[0][:, 0],
}
for name, forward in FIRST.items():
    fine(name=f"first step: {name}", layer=gru(), skip=["memory", "coverage"])(forward)

SINGLE = X.masked_fill((torch.arange(7) > 0)[:, None], 0.0)
ONE = {"layer": gru(), "skip": ["memory"], "inputs": (SINGLE, torch.ones(4, dtype=torch.int64))}
fine(name="first step: samples of one step", **ONE)(
    lambda m, x, n: m.layer(x)[0][torch.arange(len(x)), n - 1]
)

#: Which states of two directions are used, and of how many layers.
STATES = {
    "the backward one": (lambda m, x: m.layer(x)[1][-1], 1),
    "the forward one of the last layer": (lambda m, x: m.layer(x)[1][-2], 2),
    "beside the output": (lambda m, x: torch.cat([(r := m.layer(x))[1][-1], r[0].mean(1)], 1), 1),
    "for a ReLU that is dead": (
        lambda m, x: torch.cat([(h := m.layer(x)[1])[-1], (h[-2] - 9).relu()], 1),
        1,
    ),
}
for name, (forward, layers) in STATES.items():
    layer = gru(num_layers=layers, bidirectional=True)
    fine(name=f"states: {name}", layer=layer, skip=["gradient"])(forward)


@fine(layer=lstm(), head=linear(6, 6), skip=["gradient"], name="cell state: read by a head")
def read_by_a_head(m, x):
    """A c that a head reads is noted."""
    return m.head(m.layer(x)[1][1][-1])


@pair(
    "use",
    norm=lambda: nn.BatchNorm1d(7).bfloat16(),
    gru=lambda: nn.GRU(7, 6, batch_first=True).bfloat16(),
    inputs=(numbers(4, 7, 7),),
)
def steps_of_the_input_for_channels(m, x):
    """So it is for what comes in, behind a cast to half precision, too."""
    x = x.bfloat16()
    return m.gru(m.norm(x.mT).mT if m.right else m.norm(x))[0].float()


@fine(encoder=lstm(num_layers=2), decoder=lstm(num_layers=2), inputs=(1000 + 300 * X,), seeds=3)
def state_between_saturated_layers(m, x):
    """A state is used where large inputs saturate each unit, though it changes nothing."""
    return m.decoder(x, m.encoder(x)[1])[0]


@fine(gru=gru(bidirectional=True))
def attention_that_looks_at_the_end(m, x):
    """Where attention gives all weight to the last step, the others are read all the same."""
    scores = 1000.0 * torch.arange(x.shape[1]).view(1, -1, 1)
    return (scores.softmax(1) * m.gru(x)[0]).sum(1)


@pair("gradient", head=linear(3, 6))
def layer_that_training_does_not_read(m, x):
    """What training reads counts, and not what eval mode does; dropout is no obstacle."""
    y = m.gru(x)[0]
    return nn.functional.dropout(y, 0.5, m.training) if m.right or not m.training else m.head(x)


@pair("gradient", head=linear(6, 2), rest=gru(), layers=lambda: [made_gru()])
def layer_in_a_list(m, x):
    """A layer that runs is registered in the model; or it is in a list, and no optimizer gets it."""
    return m.head(m.rest(x)[0] if m.right else m.layers[0](x)[0])


def frozen():
    """Make a layer that does not learn."""
    return made_gru().requires_grad_(False)


def quietly(layer, x):
    """Run a layer without gradients."""
    with torch.no_grad():
        return layer(x)[0]


#: What is noted of training, or why nothing is known of it.
TRAINING = {
    "without gradients": (
        lambda m, x: quietly(m.one, x) + m.two(x)[0],
        {"one": gru(), "two": gru()},
    ),
    "frozen": (lambda m, x: m.one(x)[0].detach() + m.two(x)[0], {"one": frozen, "two": gru()}),
    "a layer that never runs": (lambda m, x: m.one(x)[0], {"one": gru(), "idle": lstm()}),
    "a cell without a call": (
        lambda m, x: rnnkit.unroll(m.cell, x, batch_first=True)[0],
        {"cell": lambda: rnnkit.GRUCell(3, 6)},
    ),
    "no layer": (lambda m, x: x * 2, {}),
    "a teacher": (
        lambda m, x: (m.student(x)[0], m.teacher(x)[0].detach()),
        {"student": gru(), "teacher": gru()},
    ),
}
for name, (forward, parts) in TRAINING.items():
    fine(name=f"training: {name}", **parts)(forward)


@fine()
def model_that_refuses_to_train(m, x):
    """What a model raises in training is why its gradients are not known."""
    assert not m.training, "not in training"
    return m.gru(x)[0]


@fine(one=lambda: nn.ModuleList([made_gru()] * 2))
def one_layer_under_two_names(m, x):
    """A layer under two names is one layer, and neither name is idle."""
    return m.one[0](x)[0] + m.one[1](x)[0]


@fine(head=linear(9, 2), inputs=(X[:, :1],))
def cell_at_the_end_of_a_loop(m, x):
    """Of one step, no further one takes the state of the cell; of two steps, it does."""
    h = zero_state(x)
    outputs = []
    for x_t in x.unbind(1):
        outputs.append(m.head(torch.cat([x_t, h], 1)))
        h = m.cell(x_t, h)
    return torch.stack(outputs, 1)


OTHER = {"nothing in training": lambda m: m.training, "nothing with gradients": None}
for name, when in OTHER.items():

    @fine(name=f"returns {name}")
    def returns_something_else(m, x, when=when):
        """Gradients tell nothing of outputs that are returned without them only."""
        is_other = when(m) if when else torch.is_grad_enabled()
        return None if is_other else m.gru(x)[0]


@fine(gru=gru(), causal=True)
def window_for_each_step(m, x):
    """Read three steps before each step anew."""
    windows = nn.functional.pad(x, (0, 0, 2, 0)).unfold(1, 3, 1).unbind(1)
    return torch.stack([m.gru(window.mT)[1][0] for window in windows], 1)


@fine(inputs=(X, nn.Linear(6, 2)))
def module_as_an_input(m, x, head):
    """What the model is given, its caller's optimizer has."""
    return head(m.gru(x)[0])
