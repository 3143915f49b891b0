"""Steps that read later ones: in layers, in further inputs, and in outputs of other lengths."""

import torch
from torch.nn import functional

from tests.diagnostics.corpus.forward import (
    READS_ALL_IF_WRONG,
    WRONG,
    X,
    embedding,
    fine,
    gru,
    linear,
    lstm,
    pair,
    part,
    read_by,
)
from tests.diagnostics.models_of_users import (
    later_steps,
    numbers,
    pack,
    shifted,
    tokens,
    unpack,
    zero_state,
)


@pair(
    "causal",
    one=gru(num_layers=2, bidirectional=WRONG),
    two=gru(6, bidirectional=WRONG),
)
def layers_of_both_directions(m, x):
    """Layers upon layers read forward; or both ways, and all of them have to be undone."""
    return m.two(m.one(x)[0].unflatten(2, (-1, 6)).sum(2))[0]


@pair("causal", head=linear(6, 2), inputs=(X, numbers(4, 7, 3)))
def action_of_the_last_step(m, x, actions):
    """The action of the step before is read; before the first, none, or by an index of -1 the last."""
    h = zero_state(x)
    outputs = []
    for t in range(x.shape[1]):
        h = m.cell(x[:, t] + actions[:, t - 1] * (t > 0 or not m.right), h)
        outputs.append(m.head(h))
    return torch.stack(outputs, 1)


@fine(encoder=gru(), decoder=gru(), inputs=(X, numbers(4, 7, 3)), causal=True)
def source_that_is_read_as_a_whole(m, y, x):
    """A decoder reads a source that is as long as the target by chance."""
    return m.decoder(y, m.encoder(x)[1])[0]


@pair(
    "causal",
    embed=embedding(11, 3),
    encoder=READS_ALL_IF_WRONG,
    decoder=READS_ALL_IF_WRONG,
    inputs=(tokens(4, 7), tokens(4, 5) % 7),
)
def decoder_of_another_length(m, source, target):
    """A decoder may read all of its source: it is the target's steps that are judged."""
    return m.decoder(m.embed(target), m.encoder(m.embed(source))[1])[0]


#: Where the steps of a spectrogram are, how it is turned, and how that is told.
AXES = {
    "last": (numbers(4, 5, 7), (0, 1, 2), {0: -2, 1: -1}),
    "first": (numbers(7, 4, 5), (1, 2, 0), {1: 0}),
}
for name, (mels, turn, told) in AXES.items():

    @pair("causal", name=f"steps {name}", gru=gru(8), inputs=(X, mels), seq_dim=told)
    def beside(m, x, mels, turn=turn):
        """Each input has its steps on an axis of its own; a spectrogram runs on, or backwards."""
        frames = mels.permute(turn).mT
        return m.gru(torch.cat([x, frames if m.right else frames.flip(1)], 2))[0]


@pair("causal", start=linear(3, 6))
def state_of_all_steps(m, x):
    """The first state is made of the first step; or of the mean over all."""
    return m.gru(x, m.start(x[:, 0] if m.right else x.mean(1)).unsqueeze(0))[0]


@pair("causal", causal="strict")
def target_that_is_not_shifted(m, x):
    """With ``causal="strict"``, a step may not read its own target either."""
    return m.gru(shifted(x) if m.right else x)[0]


@pair("causal", encoder=gru(), decoder=gru(), inputs=(X, numbers(4, 5, 3)), causal="strict")
def target_of_a_decoder(m, x, y):
    """Where the first input is a source, it is the target's own step that must not be read."""
    return m.decoder(shifted(y) if m.right else y, m.encoder(x)[1])[0]


@fine(one=gru(), beside=gru(bidirectional=True), causal=True)
def later_output_that_reads_all(m, x):
    """A later output may read all steps, as an encoder's does: only the first is judged."""
    return m.one(x)[0], m.beside(x)[0]


KINDS = functional.one_hot(tokens(4, 7) % 7, 7).float()


@pair(
    "causal",
    gru=gru(batch_first=False),
    embed=embedding(7, 3),
    inputs=(KINDS.transpose(0, 1),),
    batch_dim=1,
)
def rows_that_are_features_steps_first(m, x):
    """Tokens are read off one-hot features by the last axis; or by the steps: as many rows."""
    return m.gru(m.embed(x.argmax(2) if m.right else x.argmax(0).mT))[0]


#: Right models of which no output has the steps of the input.
WITHOUT_STEPS = {
    "frames of a wave": (lambda m, x: m.gru(m.conv(x).mT)[0], numbers(4, 1, 9), {"seq_dim": 2}),
    "by variable": (lambda m, x: m.head(x.mT).mT, numbers(4, 7, 7), {}),
}
for name, (forward, x, told) in WITHOUT_STEPS.items():
    parts = read_by(forward, {"conv": part("Conv1d", 1, 3, 3, stride=3), "head": linear(7, 3)})
    fine(name=f"causal without steps: {name}", inputs=(x,), causal=True, **told, **parts)(forward)


@pair("causal", lstm=lstm(bidirectional=True), head=linear(12, 6), causal="others")
def word_from_its_neighbors(m, x):
    """Each step is told from those before and after it; or from its own, too."""
    forward, backward = m.lstm(x)[0].chunk(2, -1)
    if m.right:
        forward = shifted(forward)
        backward = functional.pad(backward, (0, 0, 0, 1))[:, 1:]
    return m.head(torch.cat([forward, backward], 2))


@pair("causal", lookahead=2)
def two_steps_ahead(m, x):
    """A model may look two steps ahead, and no three."""
    seen = functional.pad(x[:, 2:], (0, 3, 0, 2))
    if not m.right:
        seen += functional.pad(x[:, 3:], (0, 3, 0, 3))
    return m.gru(x)[0] + seen


@pair("causal", value=linear(6, 6))
def heads_split_by_a_view(m, x):
    """Heads are split from the features; or a view mixes them with the steps."""
    output = m.value(m.gru(x)[0])
    size = len(x)
    steps = x.shape[1]
    split = output.view(size, steps, 2, 3).transpose(1, 2)
    value = split if m.right else output.view(size, 2, steps, 3)
    mixed = (value @ value.mT).masked_fill(later_steps(x), -1e9).softmax(3) @ value
    return (mixed.transpose(1, 2) if m.right else mixed).reshape(size, steps, 6)


FLAGS = functional.one_hot(torch.tensor([4, 2, 5, 3]), 7).float()


@pair("reset", inputs=(X, FLAGS), reset=1)
def reset_after_its_step(m, x, flags):
    """A state is forgotten before the step that a flag is for; or after it."""
    h = zero_state(x)
    outputs = []
    for x_t, flag in zip(x.unbind(1), flags.unbind(1), strict=True):
        keep = 1 - flag.unsqueeze(1)
        h = m.cell(x_t, h * keep if m.right else h)
        outputs.append(h)
        h = h if m.right else h * keep
    return torch.stack(outputs, 1)


@pair("reset", inputs=(X, X.flip(0), FLAGS), reset=2)
def action_of_the_episode_before(m, x, actions, flags):
    """A step reads the action before it, which a reset forgets as well; or the state alone."""
    h = zero_state(x)
    outputs = []
    before = functional.pad(actions, (0, 0, 1, -1)).unbind(1)
    for x_t, action, flag in zip(x.unbind(1), before, flags.unbind(1), strict=False):
        keep = 1 - flag.unsqueeze(1)
        h = m.cell(x_t + (action * keep if m.right else action), h * keep)
        outputs.append(h)
    return torch.stack(outputs, 1)


@fine(gru=gru(3, 1), inputs=(X[:, :3],), causal=True, skip=["alone"])
def single_step_that_is_squeezed(m, x):
    """Of a single step, the axis of the steps is gone."""
    return m.gru(x)[0].squeeze()


@fine(causal=True)
def summary_behind_the_last_step(m, x):
    """The mean over all steps stands behind them."""
    y = m.gru(x)[0]
    return torch.cat([y, y.mean(1, keepdim=True)], 1)


SHORT = torch.tensor([5, 4, 6, 5])

for name, start, end in (("begin before the first step", 0, 8), ("end with the longest", 1, 7)):

    @pair(
        "reset",
        name=f"reset: outputs {name}",
        inputs=(X, FLAGS),
        reset=1,
        lengths=SHORT,
    )
    def outputs_of_other_lengths(m, x, flags, start=start, end=end):
        """The first state is returned, too, or only the steps of the longest sample."""
        states = [zero_state(x)]
        for x_t, flag in zip(x.unbind(1), flags.unbind(1), strict=True):
            keep = 1 - flag.unsqueeze(1) if m.right else 1
            states.append(m.cell(x_t, states[-1] * keep))
        return torch.stack(states[start:end], 1)


@pair("causal", inputs=(X, SHORT), lengths=SHORT, causal="strict")
def packed_and_shifted(m, x, n):
    """What was packed ends with the longest sample, before the batch does; and is shifted, or not."""
    y = unpack(m.gru(pack(x, n))[0])
    return shifted(y) if m.right else y


@fine(inputs=(X, torch.zeros(4, 7)), reset=1, name="reset: no flag is set")
def without_flags(m, x, flags):
    """Without a flag there is nothing to judge."""
    return m.lstm(x)[0]
