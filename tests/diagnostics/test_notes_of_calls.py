"""What is often a mistake, and what some models intend, is a line: of the wrong twin alone."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import rnnkit
from tests.diagnostics.models_of_users import HIDDEN, X, layered, lstm, model, numbers, tokens


def steps(cut):
    """Make a loop whose state is cut from its graph at each step."""

    def forward(m, x):
        h = torch.zeros(len(x), HIDDEN)
        for x_t in x.unbind(1):
            h = m.cell(x_t, cut(h))
        return h

    return model(forward, cell=nn.GRUCell(3, HIDDEN))


def windows(cut):
    """Make a layer over windows of two steps, and the state that goes on."""

    def forward(m, x):
        h = None
        outputs = []
        for part in x.split(2, 1):
            y, h = m.gru(part, h)
            h = cut(h)
            outputs.append(y)
        return torch.cat(outputs, 1)

    return layered(forward)


def speaking(go_on):
    """Make a prompt's reader that goes on with its own words."""

    def forward(m, words):
        _, state = m.gru(m.table(words))
        word = words[:, -1]
        outputs = []
        for _ in range(4):
            y, new = m.gru(m.table(word)[:, None], state)
            state = go_on(new, state)
            outputs.append(m.head(y[:, 0]))
            word = outputs[-1].argmax(1)
        return torch.stack(outputs, 1)

    return layered(forward, table=nn.Embedding(11, 3), head=nn.Linear(HIDDEN, 11))


def decoding(state):
    """Make an encoder of both directions, and a decoder of as many layers."""

    def forward(m, x):
        y, h = m.encoder(x)
        out, _ = m.gru(x, state(h).contiguous())
        return out + y[..., :HIDDEN] + y[..., HIDDEN:]

    encoder = nn.GRU(3, HIDDEN, 2, batch_first=True, bidirectional=True)
    decoder = nn.GRU(3, HIDDEN, 2, batch_first=True)
    return model(forward, encoder=encoder, gru=decoder)


def both(size):
    """Make a layer of both directions over parts of a sequence, its state passed on."""

    def forward(m, x):
        state = None
        outputs = []
        for part in x.split(size, 1):
            y, state = m.lstm(part, state)
            outputs.append(y)
        return torch.cat(outputs, 1)

    return model(forward, lstm=lstm(bidirectional=True))


def exchanged(which):
    """Make a loop over a cell that returns one part of its last state."""

    def forward(m, x):
        state = None
        for x_t in x.unbind(1):
            state = m.cell(x_t, state)
        return state[which]

    return model(forward, cell=nn.LSTMCell(3, HIDDEN))


#: What a line says, the model that it is said of, its right twin, and the input.
PAIRS = {
    "a detached state": (
        r"the gradient reaches back 1 of 7 steps, cut at test_notes_of_calls.py:\d+ by detach",
        steps(torch.detach),
        steps(torch.clone),
        X,
    ),
    "the data of a state": (
        r"reaches back 1 of 7 steps, cut at .* by data",
        steps(lambda h: h.data),
        steps(torch.clone),
        X,
    ),
    "windows, detached": (
        r"reaches back 1 of 7 steps, cut at .* by detach",
        windows(torch.detach),
        windows(torch.clone),
        X,
    ),
    "windows from zeros": (
        r"gru \(GRU\) reads 4 windows of the 7 steps, each from zeros",
        windows(lambda _: None),
        windows(torch.clone),
        X,
    ),
    "words from one state": (
        r"gru \(GRU\) is called 4 times from the state that its first call returned",
        speaking(lambda _, state: state),
        speaking(lambda new, _: new),
        tokens(4, 7),
    ),
    "directions for layers": (
        r"gru starts its layer 1 from h_n\[1\] of encoder, a state of layer 0",
        decoding(lambda h: h[:2]),
        decoding(lambda h: h[0::2]),
        X,
    ),
    "c for h": (
        r"of what cell \(LSTMCell\) returns last, only c is used",
        exchanged(1),
        exchanged(0),
        X,
    ),
    "both directions, step by step": (
        r"lstm \(LSTM\) has two directions, and is called step by step",
        both(1),
        both(7),
        X,
    ),
}


@pytest.mark.parametrize(("text", "wrong", "right", "x"), PAIRS.values(), ids=PAIRS)
def test_a_line_of_the_wrong_twin(text, wrong, right, x):
    """It names the module or the cut; nobody is accused, and the right twin has no such line."""
    reports = [rnnkit.verify(one, x, raises=False) for one in (wrong, right)]
    lines = ["\n".join(report.notes) for report in reports]

    assert not reports[1].findings
    assert re.search(text, lines[0])
    assert not re.search(text, lines[1])


def test_the_first_line_says_that_only_the_last_step_learns():
    """The values depend on earlier steps, and no gradient reaches those: that is no plain ok."""
    report = rnnkit.verify(steps(torch.detach), X)

    assert report.headline.startswith("no leak found, but the gradient reaches back 1 of 7 steps")
    assert rnnkit.verify(steps(torch.clone), X).headline == "no leak found"


@pytest.mark.parametrize(
    "loss",
    [functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_broadcasts(loss):
    """It is named by its shapes, whatever the numbers are; its twin passes."""
    head = nn.Linear(HIDDEN, 1)
    wrong = layered(lambda m, x, y: loss(m.head(m.gru(x)[0][:, -1]), y), head=head)
    right = layered(lambda m, x, y: loss(m.head(m.gru(x)[0][:, -1])[:, 0], y), head=head)
    y = numbers(len(X))

    with pytest.raises(rnnkit.LeakError, match=rf"{loss.__name__} compares each prediction"):
        rnnkit.verify(wrong, X, y)
    assert rnnkit.verify(right, X, y).judged
