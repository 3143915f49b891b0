"""``dependency_map``: which output depends on which input, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import gru, layered, model, numbers, over, tokens

BATCH = 5
SEQ = 4
FEATURE = 3
HIDDEN = 6
X = numbers(BATCH, SEQ, FEATURE)
LONG = numbers(2, 60, FEATURE)


def forgetful(bias=-1.0, read=1.0):
    """Make a layer that keeps a quarter of its state at each step, or less."""
    layer = gru()
    with torch.no_grad():
        layer.bias_hh_l0[HIDDEN : 2 * HIDDEN] = bias
        layer.weight_hh_l0.mul_(read)
    return layer


def finding(made, *inputs):
    """Return what the map of the steps of a model looks like."""
    return rnnkit.dependency_map(made, *inputs, dim=1).finding


def second(m, _, other):
    """Read only the second input."""
    return m.one(other if other.dim() == 3 else other.unsqueeze(-1).float())[0]


def fixed(m, x, other):
    """Read a second input, of so many steps and no fewer."""
    return second(m, x, other) + numbers(SEQ, HIDDEN) + 0 * x.sum((0, 2)).unsqueeze(1)


SEQ_FIRST = nn.GRU(FEATURE, HIDDEN)
#: The axis of the steps, of a batch-first model.
STEPS = {"dim": 1}
BOTH = nn.GRU(FEATURE, HIDDEN, bidirectional=True)
CELL = model(lambda m, x, h: over(m.cell, x, h), cell=nn.GRUCell(FEATURE, HIDDEN))
WORDS = nn.Embedding(12, FEATURE)
SECOND, FIXED = (model(one, one=gru(1)) for one in (second, fixed))
OWN = "each depends on its own input alone"
EARLIER = "each depends on its own and all earlier inputs"
NO_LATER = "none depends on a later input"
ALL = "each depends on all inputs"
NOTHING = "nothing depends on this axis"


#: Rows of a map, and what it looks like.
FINDINGS = {
    "00 00": NOTHING,
    "10 01": OWN,
    "10 11": EARLIER,
    "11 01": "some depend on later inputs",
    "11 11": ALL,
    "100 110 011": NO_LATER,
    "100 010 101": NO_LATER,
    "000 100 110": NO_LATER,
    "100 000 001": NO_LATER,
}
#: The same where each fourth index was tried.
OF_GAPS = {"10 01": f"{OWN}, of those tried", "100 110 011": NO_LATER}

#: A model, its inputs, the axes, and what the map looks like.
MAPS = {
    "a batch": (nn.RNN(FEATURE, HIDDEN, batch_first=True), (X,), {}, OWN),
    "a sequence": (rnnkit.LSTM(FEATURE, HIDDEN, batch_first=True), (X,), STEPS, EARLIER),
    "batch_first forgotten": (SEQ_FIRST, (X,), {}, EARLIER),
    "both directions": (BOTH, (X,), {}, ALL),
    "axes from the end": (gru(), (X,), {"dim": -2, "out_dim": -2}, EARLIER),
    "tokens, turned": (
        model(lambda m, x: m.rnn(m.words(x.t()))[0], words=WORDS, rnn=SEQ_FIRST),
        (tokens(BATCH, SEQ),),
        {"dim": 1, "out_dim": 0},
        EARLIER,
    ),
    **{
        f"state of {layers} layers, batch {batch}, axis {dim}": (
            nn.GRU(FEATURE, SEQ, layers, batch_first=True),
            (numbers(batch, SEQ, FEATURE), numbers(layers, batch, SEQ)),
            {"dim": dim},
            (OWN, EARLIER)[dim],
        )
        for layers, batch, dim in ((1, SEQ, 1), (SEQ, BATCH, 0), (BATCH, BATCH, 1))
    },
    "state of a cell": (CELL, (X, numbers(BATCH, HIDDEN)), STEPS, EARLIER),
    "state of a cell, batch": (CELL, (X, numbers(BATCH, HIDDEN)), {}, OWN),
    "second sequence": (SECOND, (X, numbers(BATCH, SEQ)), STEPS, EARLIER),
    "fixed length, tokens": (FIXED, (X, tokens(BATCH, SEQ)), STEPS, EARLIER),
    "output that is gone": (
        model(lambda m, x: m.words(x)[:, : int(x.max())], words=WORDS),
        (torch.arange(1, SEQ + 1).unsqueeze(0),),
        STEPS,
        OWN,
    ),
    "maximum": (
        model(lambda m, x: m.head(x).amax(1, keepdim=True), head=nn.Linear(FEATURE, 4)),
        (numbers(2, 30, FEATURE),),
        STEPS,
        ALL,
    ),
    "written input": (layered(lambda m, x: m.gru(x.mul_(2))[0]), (X,), STEPS, EARLIER),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps(name):
    """A map shows what depends on what, however the inputs are laid out."""
    made, inputs, options, expected = MAPS[name]
    found = rnnkit.dependency_map(made, *inputs, **options)
    whole = torch.ones_like(found.matrix)
    matrices = {OWN: whole.tril().triu(), EARLIER: whole.tril(), ALL: whole}

    assert found.finding == expected
    assert found.matrix.equal(matrices[expected])
    assert max(map(len, str(found).splitlines()[1:])) < 80


def test_grid():
    """It prints as a grid, of a long axis every 4th index; unequal axes are not compared."""
    conv = rnnkit.dependency_map(nn.Conv1d(FEATURE, 4, 3), X.mT[:, :, :4], dim=2)

    long = rnnkit.dependency_map(SEQ_FIRST, numbers(100, 2, FEATURE))

    assert long.inputs == long.outputs == (*range(0, 100, 4), 99)
    assert str(rnnkit.dependency_map(gru(), X, dim=1)) == snapshot("""\
output on axis 1 (down), input on axis 1 (across): each depends on its own and all earlier inputs
0 ■ · · ·
1 ■ ■ · ·
2 ■ ■ ■ ·
3 ■ ■ ■ ■\
""")
    assert (
        str(conv)
        == repr(conv)
        == snapshot("""\
output on axis 2 (down), input on axis 2 (across): some depend on some inputs
0 ■ ■ ■ ·
1 · ■ ■ ■\
""")
    )
    with pytest.raises(rnnkit.ArgumentError) as error:
        conv.forbidden("causal")
    assert str(error.value) == snapshot("""\
a rule needs as many outputs as inputs, but there are 2 outputs and 4 inputs
  fix       pass out_dim=, if you mean another axis of the output; or pass no rule
  more      python -m rnnkit explain map-axes\
""")


def test_finding():
    """The finding says what the matrix looks like, and no more than that."""
    for every, findings in ((1, FINDINGS), (4, OF_GAPS)):
        for cells, expected in findings.items():
            rows = [[cell == "1" for cell in row] for row in cells.split()]
            indices = tuple(range(0, every * len(rows), every))
            found = rnnkit.DependencyMap(torch.tensor(rows), indices, indices, 0, 0)
            assert found.finding == expected


def test_forgotten_steps():
    """What sank below rounding is a dependency, as causal as the rest; what vanished is not seen."""
    forgotten = rnnkit.dependency_map(forgetful(), LONG, dim=1)

    assert forgotten.finding == f"{EARLIER}, of those tried"
    assert finding(forgetful(-20.0, 1e-4), LONG) == NO_LATER
    assert forgotten.matrix.equal(torch.ones_like(forgotten.matrix).tril())


def fails(m, x):
    """Refuse to be differentiated."""
    if x.requires_grad:
        raise NotImplementedError
    return m.gru(x)[0]


def writes(m, x):
    """Write what the backward needs."""
    y = m.gru(x)[0].exp()
    z = y * 2
    y.detach().mul_(1)
    return z + y


#: Models whose gradients do not show what they read.
UNCERTAIN = {
    "no gradient": layered(torch.no_grad()(lambda m, x: m.gru(x)[0])),
    "refuses": layered(fails),
    "backward fails": layered(writes),
    "tokens without an embedding": layered(lambda m, x: m.gru(m.words.weight[x])[0], words=WORDS),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_without_gradients(name):
    """Without gradients, a change shows what a model reads."""
    x = tokens(2, SEQ) if "tokens" in name else X

    assert finding(UNCERTAIN[name], x) == EARLIER


def test_what_is_not_read():
    """A model that reads only the first steps depends on no others."""
    first = layered(lambda m, x: m.gru(x[:, :5])[0], gru=forgetful())
    found = rnnkit.dependency_map(first, numbers(2, 9, FEATURE), dim=1)

    assert found.matrix.equal(torch.ones(5, 9, dtype=torch.bool).tril())


def test_model_that_takes_nothing_else():
    """Of a model that refuses whatever is changed, its own error comes through."""

    def compute(m, x):
        if len(x) == len(X) and not torch.equal(x, X):
            raise LookupError
        return m.gru(x)[0]

    with pytest.raises(LookupError):
        rnnkit.dependency_map(layered(compute), X)


def test_an_output_that_cannot_be_compared():
    """What is no tensor, or NaN everywhere, has no axis that a message may name."""
    for compute, reason in (
        (lambda _, x: str(x), "the model returns nothing to compare"),
        (lambda _, x: x * torch.nan, "no number of an output is finite"),
    ):
        with pytest.raises(rnnkit.ArgumentError, match=reason):
            rnnkit.dependency_map(model(compute), numbers(4, 3))


#: Cases of the corpus whose maps are those of a right model, in spite of rounding: the axis, and what they look like.
MAPPED = {
    "cancelled: a shift of scores": (0, OWN),
    "cancelled: a Fourier transform": (1, EARLIER),
    "cancelled: a late mask": (1, EARLIER),
    "lengths_counted_in_tokens": (0, OWN),
    "lengths_that_the_content_decides": (0, OWN),
    "experts_chosen_by_value": (0, OWN),
    "samples_that_stay_sorted": (0, OWN),
}


#: Those of them with a twin whose leak is small beside rounding.
LEAKING = ("cancelled: a shift of scores", "lengths_that_the_content_decides")


@pytest.mark.parametrize("name", MAPPED)
def test_a_map_shows_no_rounding(name):
    """A map shows neither what cancels out nor another way to compute, and still a small leak."""
    dim, expected = MAPPED[name]
    ways = {True: expected}
    if name in LEAKING:
        ways[False] = ALL
    for right, finding in ways.items():
        torch.manual_seed(0)
        net, inputs, _ = subject(name, right=right)

        assert rnnkit.dependency_map(net, *inputs, dim=dim).finding == finding


@settings(max_examples=3)  # each draws eight maps
@given(place=st.integers(0, X.numel() - 1), value=st.sampled_from([torch.nan, torch.inf]))
def test_a_map_has_no_holes(place, value):
    """A map of a batch with a number that is not finite is the map without it, and says so."""
    spoiled = X.clone()
    spoiled.view(-1)[place] = value
    layer = gru()
    for dim in (0, 1):
        expected, found = (rnnkit.dependency_map(layer, x, dim=dim) for x in (X, spoiled))

        assert torch.equal(expected.matrix, found.matrix)
        assert "input has 1 number that is not finite" in found.notes[0]
