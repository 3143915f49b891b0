"""What remembers earlier steps, or none of them; and which steps reach an output at all."""

import torch
from torch.nn import functional

from tests.diagnostics.corpus.forward import X, embedding, fine, linear, lstm, pair, part
from tests.diagnostics.models_of_users import numbers, tokens, zero_state


@pair("memory", head=linear(6, 2))
def never_advanced(m, x):
    """A loop passes on the state of each step; or the first one."""
    h = first = x.new_zeros(len(x), 6)
    for x_t in x.unbind(1):
        h = m.cell(x_t, h if m.right else first)
    return m.head(h)


@pair("memory")
def flattened_steps(m, x):
    """A layer takes each step for a sequence of its own."""
    if m.right:
        return m.gru(x)[0]
    return m.gru(x.flatten(0, 1).unsqueeze(1))[0].view(len(x), -1, 6)


@fine()
def refined_step_by_step(m, x):
    """A cell that refines each step by itself is not said to remember nothing."""
    given = x.flatten(0, 1)
    state = zero_state(given)
    for _ in range(3):
        state = m.cell(given, state)
    return state.view(len(x), -1, 6)


@fine(block=linear(3, 3), drop=part("Dropout", 0.5))
def dropout_twice_in_each_step(m, x):
    """What computes each step by itself, with dropout twice on one tensor, need not remember."""
    return torch.stack([m.drop(x_t) + m.block(m.drop(x_t)) for x_t in x.unbind(1)], 1)


@fine()
def layer_that_runs_backwards(m, x):
    """Where the last output has read one step, the first one has read them all."""
    return m.gru(x.flip(1))[0].flip(1)


def flags(step):
    """Return flags that mark one step of all samples, beside some of single samples."""
    made = torch.zeros(4, 7)
    made[0, 1] = made[1:, step] = made[0, step] = 1.0
    return made


def wiped(m, x, start):
    """Run a cell, whose state is wiped where an episode starts; or everywhere else."""
    h = zero_state(x)
    outputs = []
    for step in range(x.shape[1]):
        flag = start[:, step].unsqueeze(1)
        h = m.cell(x[:, step], h * (1 - flag if m.right else flag))
        outputs.append(h)
    return torch.stack(outputs, 1)


ENDS = torch.tensor([2, 5])
pair("memory", name="state_kept_at_the_end", inputs=(X, flags(3)), causal=True)(wiped)
fine(name="episodes_that_end_together", inputs=(X, flags(6)), causal=True)(wiped)


@fine(inputs=(X, torch.zeros(4, 7).index_fill(1, ENDS, 1.0)), causal=True)
def episodes_in_calls_of_their_own(m, x, start):
    """A layer is called for each part of a batch in which no episode starts."""
    at = start[:, 1:].any(0).nonzero().flatten() + 1
    h = x.new_zeros(1, len(x), 6)
    outputs = []
    for some, flag in zip(x.tensor_split(at, 1), start.tensor_split(at, 1), strict=True):
        y, h = m.gru(some, h * (1 - flag[:, :1]))
        outputs.append(y)
    return torch.cat(outputs, 1)


@fine(inputs=(X, flags(3)), causal=True)
def step_that_is_missing_everywhere(m, x, missing):
    """A step that a flag switches off in the whole batch need not reach an output."""
    h = zero_state(x)
    outputs = []
    for step in range(x.shape[1]):
        h = torch.where(missing[:, step].unsqueeze(1) > 0, h, m.cell(x[:, step], h))
        outputs.append(h)
    return torch.stack(outputs, 1)


@fine(
    rnn=part("RNN", 1, 1, nonlinearity="relu", batch_first=True),
    inputs=(numbers(1, 2, 1),),
    judged=False,
    seeds=8,
)
def dead_units(m, x):
    """A narrow ReLU layer, whose units are often dead, is not accused of remembering nothing."""
    return m.rnn(x)[0]


@pair("coverage")
def loop_from_the_second_step(m, x):
    """A loop begins with the first step; or with the second."""
    h = zero_state(x)
    y = x.new_zeros(*x.shape[:2], 6)
    for t in range(0 if m.right else 1, x.shape[1]):
        h = m.cell(x[:, t], h)
        y[:, t] = h
    return y


def reading(name, forward, *inputs, **told):
    """Register a right model of which some steps reach no output, or none that is known."""
    told = {"name": f"steps that are read: {name}", "inputs": inputs or (X,), **told}
    fine(**told)(forward)


CODES = {"codes": embedding(12, 6)}
reading("all but two at the end", lambda m, x: m.gru(x[:, :5])[1][0])
reading(
    "a code for each step",
    lambda m, x: m.codes((m.gru(x)[0] @ m.codes.weight.t()).argmax(2)),
    skip=["memory", "gradient"],
    **CODES,
)
reading(
    "embedded by hand",
    lambda m, x: m.gru(functional.one_hot(x, 11).float() @ m.codes.weight[:11, :3])[0],
    tokens(4, 7),
    **CODES,
)


@pair("use", inputs=(numbers(4, 12, 3),), causal=True)
def chunks_that_start_afresh(m, x):
    """Chunks inside of forward pass their state along; or they start afresh."""
    state = None
    outputs = []
    for chunk in x.split(4, 1):
        output, new = m.lstm(chunk, state)
        state = new if m.right else None
        outputs.append(output)
    return torch.cat(outputs, 1)


@fine(near=lstm(), far=lstm(6), inputs=(numbers(4, 12, 3),), causal=True)
def windows_read_by_a_second_layer(m, x):
    """Windows start afresh, and a second layer runs across them."""
    return m.far(torch.cat([m.near(window)[0] for window in x.split(4, 1)], 1))[0]
