"""``verify`` says ok only of what it looked at: laws over steps, samples, lengths and losses."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    X,
    findings,
    gru,
    layered,
    mask,
    model,
    numbers,
    over,
    padded,
    reported,
    tokens,
)

PADDED, LENGTHS = padded()


def looping(forward, **attributes):
    """Make a model of a forward and a cell, ``m.cell``, beside its attributes."""
    return model(forward, cell=nn.GRUCell(3, 6), **attributes)


@pytest.mark.parametrize("steps", [2, 5, 9])
@pytest.mark.parametrize("rule", ["strict", "others"])
def test_a_first_step_that_reads_itself(steps, rule):
    """With ``causal="strict"`` or ``"others"``, step 0 may not read itself either."""

    def forward(m, x):
        shifted = torch.cat([x[:, :1] * m.leaks, x[:, :-1]], 1)
        return over(m.cell, shifted)

    x = numbers(4, steps, 3)
    for leaks in (0, 1):
        net = looping(forward, leaks=leaks)

        assert findings(net, x, causal=rule) == ({"causal"} if leaks else set())


@settings(max_examples=20)
@given(data=st.data(), steps=st.integers(4, 24), how=st.sampled_from(["zero", "cut", "token"]))
def test_coverage_is_ok_only_if_each_step_is_read(data, steps, how):
    """Coverage is ok if no step is left out; else its row, and the first line, name the steps."""
    gone = data.draw(st.sets(st.integers(1, steps - 1), max_size=3))
    keep = torch.tensor([step not in gone for step in range(steps)])

    def forward(m, x):
        if how == "token":
            x = m.embedding(x)
        return over(m.cell, x * keep[:, None] if how == "zero" else x[:, keep])

    net = looping(forward, embedding=nn.Embedding(11, 3))
    x = tokens(4, steps) if how == "token" else numbers(4, steps, 3)
    report = reported(net, x, skip=["gradient"])
    [check] = [check for check in report.checks if check.probe == "coverage"]

    assert (check.outcome == "passed") == (not gone)
    if gone and not report.findings:
        assert check.detail in report.headline
        assert all(str(step) in check.detail for step in (min(gone), max(gone)))


def test_a_step_that_one_sample_skips():
    """A step that is read of all samples but one is named with that sample."""

    def forward(m, x):
        keep = torch.ones(x.shape[:2])
        keep[x[:, 0, 0] == x[:, 0, 0].max(), 3] = 0
        return over(m.cell, x * keep.unsqueeze(2))

    x = X.clone()
    x[2, 0, 0] = 9
    report = rnnkit.verify(looping(forward), x, skip=["batch"])

    assert "coverage" not in report.checked
    assert "step 3 of sample 2 reaches no output" in report.headline


@pytest.mark.parametrize(
    ("net", "x", "probes"),
    [
        (gru(), X[:1], {"batch", "alone"}),
        (layered(lambda m, x: m.gru(x)[0].argmax(2), gru=nn.GRU(3, 4)), X, {"memory"}),
        (layered(lambda m, x: m.gru(x)[0][: len(x)].view(4, 7, -1)), X, {"alone"}),
    ],
)
def test_the_first_line_names_what_was_not_judged(net, x, probes):
    """Above a report in which a probe that applies was not judged, the first line names it."""
    report = reported(net, x, batch_dim=0)
    left = {check.probe for check in report.checks if check.gap == "unjudged"}

    assert probes <= left
    assert report.findings or all(probe in report.headline for probe in left)


def test_the_first_line_names_no_probe_that_does_not_apply():
    """Padding without lengths, or memory without a state, is nothing that was missed."""
    for net in (gru(), model(lambda m, x: m.a(x), a=nn.Linear(3, 4))):
        assert rnnkit.verify(net, X).headline == "no leak found"


@pytest.mark.parametrize("squeezed", ["scores", "both"])
def test_a_lost_batch_axis_is_found(squeezed):
    """A squeeze that also removes the batch axis of one sample is found; its fix names the axis."""

    def forward(m, x):
        y = m.gru(x)[0]
        scores = m.score(y)
        scores = scores.squeeze(2) if m.right else scores.squeeze()
        context = torch.bmm(scores.softmax(-1).unsqueeze(1), y)
        return context.squeeze(1) if m.right or squeezed == "scores" else context.squeeze()

    score = nn.Linear(6, 1)
    right, wrong = (layered(forward, score=score, right=right) for right in (True, False))
    [finding] = reported(wrong, X).findings

    assert rnnkit.verify(right, X).headline == "no leak found"
    assert finding.probe == "alone"
    assert "x.squeeze(2)" in str(finding)
    assert ("x.squeeze(1)" in str(finding)) == (squeezed == "both")


def test_a_model_that_rightly_refuses_one_sample():
    """A refusal of one sample that no lost axis explains accuses nobody, but is in the first line."""

    def forward(m, x):
        if len(x) < 2:
            raise ValueError
        return m.gru(x)[0].squeeze()

    report = rnnkit.verify(layered(forward), X)

    assert "alone was not judged" in report.headline


@pytest.mark.parametrize("name", ["x_lengths", "n", "valid", "sizes"])
def test_lengths_are_seen_through_a_call_and_other_names(name):
    """With ``call=``, lengths are known by its arguments; of another name, a line points at them."""
    pooled = layered(lambda m, x, _: m.gru(x)[0].mean(1))
    call = eval(f"lambda model, x, {name}: model(x, {name})")  # noqa: S307
    report = reported(pooled, PADDED, LENGTHS, call=call)
    is_told = any(f"input[1] looks like lengths: pass lengths={name}" in x for x in report.notes)

    assert bool(report.findings) == (name == "x_lengths")
    assert is_told == (name != "x_lengths")
    unpadded = reported(pooled, X, LENGTHS, call=call)
    assert not any("looks like lengths" in note for note in unpadded.notes)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), batch=st.integers(2, 6), batch_first=st.booleans())
def test_a_batch_with_one_longest_sample(seed, batch, batch_first):
    """Swapped axes are found, and right ones judged, if the model cuts the batch to its longest."""
    generator = torch.Generator().manual_seed(seed)
    n = torch.randperm(9, generator=generator)[:batch] + 2
    x = torch.randint(2, 50, (batch, 12), generator=generator)
    x = torch.where(mask(n, 12), x, 1)

    def forward(m, x, sizes):
        return m.gru(m.embedding(x[:, : sizes.max()]))[0]

    net = model(forward, gru=gru(batch_first=batch_first), embedding=nn.Embedding(50, 3))

    assert findings(net, x, n) == (set() if batch_first else {"batch"})
    if batch_first:
        assert {"batch", "alone"} <= set(rnnkit.verify(net, x, n).checked)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_state_that_is_dropped_in_a_call_over_samples(batch):
    """Memory is judged if ``call=`` runs over samples, and each of them over its steps."""

    def forward(m: Any, x_t: Tensor, h: Tensor | None = None) -> Any:
        h = h if m.right or h is None else torch.zeros_like(h)
        y, h = m.gru(x_t.view(1, 1, -1), h)
        return y.view(-1), h

    def steps_of(net, sample):
        h = None
        for x_t in sample:
            y, h = net(x_t, h)
            yield y

    def call(net, x):
        return torch.stack([torch.stack([*steps_of(net, sample)]) for sample in x])

    x = numbers(batch, 9, 3)
    for right in (True, False):
        net = layered(forward, gru=nn.GRU(3, 6), right=right)

        assert ("memory" in findings(net, x, call=call)) == (not right)


def test_an_input_that_is_copied_deeply():
    """A model that copies a step of its input, which has no gradient for a caller, trains."""

    def forward(m, x):
        return over(m.cell, x) + m.head(copy.deepcopy(x[:, -1:]))

    net = looping(forward, head=nn.Linear(3, 6))

    assert "gradient" in rnnkit.verify(net, X).checked


#: Inputs beside the sequence: how they are read, and what they are.
BESIDE = {
    "flags": (lambda m, x, f: over(m.cell, x) * (1 - f.float()).unsqueeze(2), X[..., 0] > 1),
    "zeros": (lambda m, x, f: over(m.cell, x) * (1 - f).unsqueeze(2), torch.zeros(4, 7)),
    "lengths": (lambda m, x, n: over(m.cell, x)[torch.arange(4), n - 1], LENGTHS),
    "lengths in a list": (
        lambda m, x, n: over(m.cell, x) * torch.tensor(n)[:, None, None],
        [3, 7, 5, 2],
    ),
    "numbers": (lambda m, x, y: over(m.cell, x) + m.head(y), X + 1),
    "tokens": (lambda m, x, y: over(m.cell, x) + m.words(y), tokens(4, 7)),
    "a sum of squares": (lambda m, x, y: over(m.cell, x) + (y**2).sum(), X[:, 0, 0]),
    "a dead ReLU": (lambda m, x, y: over(m.cell, x) + y.relu()[:, None, None], -X[:, 0, 0].abs()),
}


@pytest.mark.parametrize("name", BESIDE)
def test_an_input_that_reaches_no_output_is_named(name):
    """Of each kind of input, one that the model ignores is a line, and one that it reads is none."""
    reads, beside = BESIDE[name]
    for ignores in (False, True):
        forward = (lambda m, x, _: over(m.cell, x)) if ignores else reads
        net = looping(forward, head=nn.Linear(3, 6), words=nn.Embedding(11, 6))
        notes = reported(net, X, beside).notes

        assert ("input[1] reaches no output" in notes) == ignores


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("batch", [2, 4])
def test_each_sample_may_be_the_longest_of_an_input(batch, told):
    """Two sequences whose longest samples are different ones are judged, as of a transducer."""
    n = torch.tensor([5, 9, 7, 6])[:batch]
    m = torch.tensor([6, 3, 5, 4])[:batch]

    def forward(net, x, n, y, m):
        one = net.x(x[:, : n.max()])[0]
        other = net.y(y[:, : m.max()])[0]
        return one[:, :, None] + other[:, None]

    net = model(forward, x=gru(), y=gru(4))
    x = numbers(batch, 9, 3) * mask(n, 9).unsqueeze(2)
    y = numbers(batch, 6, 4) * mask(m, 6).unsqueeze(2)
    options = {"lengths": {0: n, 2: m}} if told else {}

    assert "batch" in rnnkit.verify(net, x, n, y, m, **options).checked


def test_a_gradient_that_is_nan_is_not_judged():
    """A weight whose gradient is NaN has none, and is not exactly zero either."""

    def forward(m, x):
        y = m.gru(x)[0]
        return y + (m.scale * 0).sqrt() * 0  # its derivative is 0 * inf

    net = layered(forward, scale=nn.Parameter(torch.ones(6)))
    report = rnnkit.verify(net, X)

    assert "gradient was not judged: the gradient of scale is NaN" in report.headline


@pytest.mark.parametrize("packs", [False, True])
def test_an_output_that_is_as_long_for_any_input(packs):
    """Padding at the end of an output is nothing that a cut of the steps changes."""

    def forward(m, x):
        y = m.gru(x)[0]
        return nn.functional.pad(y, (0, 0, 0, 9 - y.shape[1]))

    def packed(m, x, n):
        n = n.clamp(max=x.shape[1])
        packed = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(m.gru(packed)[0], batch_first=True, total_length=9)[0]

    lengths = torch.tensor([5, 9, 3, 7])
    inputs = (numbers(4, 9, 3), lengths) if packs else (numbers(4, 9, 3),)
    for both in (False, True):
        net = layered(packed if packs else forward, gru=gru(bidirectional=both))
        found = findings(net, *inputs, causal=True, out_seq_dim=1)

        assert found == ({"causal"} if both else set())


def test_which_step_an_output_that_is_one_shorter_belongs_to():
    """It may begin with the first step of the input or with the second: the row says which was taken."""
    report = reported(layered(lambda m, x: m.gru(x)[0][:, :-1]), X, causal=True, skip=["coverage"])
    [causal] = [check for check in report.checks if check.probe == "causal"]

    assert causal.detail.endswith("if step 0 of the output belongs to step 1 of the input")


def test_an_output_of_nans_beside_one_of_numbers():
    """No probe can look at it, and the first line names it."""
    report = reported(layered(lambda m, x: (m.gru(x)[0] * torch.nan, m.gru(x)[1])), X)

    assert "output[0] has no finite number, and shows nothing" in report.headline


def test_an_output_that_is_nan_at_some_places():
    """They are counted, since no change shows there."""
    column = torch.tensor([torch.nan] + [1.0] * 5)
    report = reported(layered(lambda m, x: m.gru(x)[0] * column), X)

    assert f"output is NaN at {4 * 7} places" in report.notes


@pytest.mark.parametrize("default", [None, False, 0])
def test_a_flag_that_is_named_like_a_state(default):
    """Only what may hold a state, and is left out, is one: of a flag no line is told."""

    class Flagged(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = gru()

        def forward(self, x, hidden_state=default):
            return self.gru(x, hidden_state or None)

    notes = reported(Flagged(), X).notes

    assert any("takes and returns a state" in note for note in notes) == (default is None)
