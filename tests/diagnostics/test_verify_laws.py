"""Laws of ``verify`` over drawn models: right ones pass, swapped axes are found, rounding is no leak."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import (
    COUNTS,
    PADDED,
    Holder,
    X,
    findings,
    gru,
    later_steps,
    layered,
    mask,
    model,
    numbers,
    over,
    reported,
    tokens,
)

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
SIZES = st.integers(1, 6)


def first_of(result):
    """Return the first of some tensors, as the output of a layer, or h of (h, c); or the only one."""
    return result[0] if isinstance(result, tuple) else result


def end_state(m, x):
    """Classify by the state that the last layer ends with, in each direction."""
    h_n = first_of(m.layer(x)[1])
    directions = 1 + m.layer.bidirectional
    return m.head(torch.cat(h_n[-directions:].unbind(0), 1))


#: What a right model makes of a layer.
COMPUTES = st.sampled_from(
    [
        lambda m, x: m.head(m.layer(x)[0]),
        lambda m, x: m.head(m.layer(x)[0].mean(1 if m.layer.batch_first else 0)),
        lambda m, x: m.layer(x),
        end_state,
    ]
)


@st.composite
def layers(draw, size=0):
    """Draw a model over a layer, in one of its layouts; all of its sizes may be one."""
    library = draw(st.sampled_from([nn, rnnkit.nn]))
    kind = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    features, hidden, count = (size or draw(st.integers(1, most)) for most in (6, 6, 3))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    options = {name: draw(st.booleans()) for name in ("bidirectional", "batch_first", "bias")}
    layer = getattr(library, kind)(features, hidden, count, **options)
    head = nn.Linear((1 + options["bidirectional"]) * hidden, 3)
    return model(draw(COMPUTES), layer=layer, head=head)


def shaped(model, batch, seq):
    """Return the shape of a model's input."""
    front = (batch, seq) if model.layer.batch_first else (seq, batch)
    return (*front, model.layer.input_size)


@given(data=st.data(), one=st.booleans(), batch=SIZES, seq=SIZES, dtype=DTYPES)
def test_no_false_alarm_on_a_layer(data, one, batch, seq, dtype):
    """A right model passes, whatever its options, its layout, its head and its sizes.

    They may all be one: batch, seq, features, layers and hidden.
    """
    if one:
        batch = seq = min(batch, 4)
    net = data.draw(layers(batch if one else 0)).to(dtype)
    x = numbers(*shaped(net, batch, seq)).to(dtype)
    report = rnnkit.verify(net, x, batch_dim=0 if net.layer.batch_first else 1)

    assert {"repeatable", "use"} <= set(report.checked)
    assert (batch > 1) == ({"batch", "alone"} <= set(report.checked))


@given(
    kind=st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]),
    library=st.sampled_from([nn, rnnkit.nn]),
    sizes=st.tuples(SIZES, SIZES, SIZES, SIZES),
    dtype=DTYPES,
    batch_first=st.booleans(),
)
def test_no_false_alarm_on_a_loop(kind, library, sizes, dtype, batch_first):
    """A loop over a cell passes, as a language model too."""
    batch, seq, features, hidden = sizes

    def loop(m, x):
        state = None
        outputs = []
        for x_t in x.unbind(int(batch_first)):
            state = m.cell(x_t, state)
            outputs.append(state[0] if kind == "LSTMCell" else state)
        return torch.stack(outputs, int(batch_first))

    net = model(loop, cell=getattr(library, kind)(features, hidden)).to(dtype)
    x = numbers(*((batch, seq) if batch_first else (seq, batch)), features).to(dtype)
    report = rnnkit.verify(net, x, batch_dim=1 - batch_first, causal=True)

    assert ("causal" in report.checked) == (seq > 1)


@settings(max_examples=20)
@given(net=layers(), batch=st.integers(2, 6), seq=st.integers(2, 6))
def test_swapped_axes_are_always_found(net, batch, seq):
    """With two samples and two steps or more, a layer that takes one for the other is caught."""
    x = numbers(*shaped(net, seq, batch))

    assert "batch" in findings(net, x, batch_dim=1 if net.layer.batch_first else 0)


@settings(max_examples=20)  # each streams twice
@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]),
    layers=st.integers(1, 3),
    steps=st.integers(3, 20),
    batch_first=st.booleans(),
)
def test_layers_stream(kind, layers, steps, batch_first):
    """Each layer of one direction streams, with any number of layers and steps, in both layouts."""
    layer = kind(3, 4, num_layers=layers, batch_first=batch_first, dropout=0.5 * (layers > 1))
    x = numbers(*((5, steps) if batch_first else (steps, 5)), 3)

    assert "streaming" in rnnkit.verify(layer, x, streaming=True, batch_dim=1 - batch_first).checked
    rnnkit.testing.assert_streams(layer, x, seq_dim=int(batch_first))


def with_a_start(m, x, later):
    """Put a first step before all others, as a transducer does; ``later`` adds what comes next."""
    y = m.layer(torch.cat([x.new_zeros(len(x), 1, 3), x], 1))[0]
    return y + y.roll(-2, 1) if later else y


@given(causal=st.sampled_from([True, "strict"]), steps=st.integers(3, 9), later=st.booleans())
def test_an_output_with_one_step_more(causal, steps, *, later):
    """The step that only the output has is forbidden nothing, and the others are judged."""
    net = model(lambda m, x: with_a_start(m, x, later), layer=gru())
    found = findings(net, torch.randn(4, steps, 3), causal=causal, out_seq_dim=1)

    assert ("causal" in found) == later


def masked_attention(m, x):
    """Attend to earlier steps only, and to the padding in front, too."""
    scores = m.layer(x) @ x.mT
    return scores.masked_fill(later_steps(x), -torch.inf).softmax(-1) @ x


@given(steps=st.integers(4, 9))
def test_a_right_causal_mask_is_not_called_transposed(steps):
    """Where padding in front is attended, no fix turns a mask that hides what comes later."""
    lengths = [steps, 2, 3, 2]
    x = torch.randn(4, steps, 3)
    for sample, length in zip(x, lengths, strict=True):
        sample[: steps - length] = 0
    net = model(masked_attention, layer=nn.Linear(3, 3))
    report = reported(net, x, lengths=lengths, pad="pre")

    assert report.findings
    assert "transposed" not in str(report)


class Draws(nn.Module):
    """A model that draws, as a script."""

    def forward(self, x):
        """Add noise."""
        return x + torch.randn_like(x)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_script_that_draws():
    """A scripted model that is not repeatable is told so."""
    assert findings(torch.jit.script(Draws()), X) == {"repeatable"}


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

    net = model(forward, cell=nn.GRUCell(3, 6), embedding=nn.Embedding(11, 3))
    x = tokens(4, steps) if how == "token" else numbers(4, steps, 3)
    report = reported(net, x, skip=["gradient"])
    [check] = [check for check in report.checks if check.probe == "coverage"]

    assert (check.outcome == "passed") == (not gone)
    if gone and not report.findings:
        assert check.detail in report.headline
        assert all(str(step) in check.detail for step in (min(gone), max(gone)))


@pytest.mark.parametrize("name", ["x_lengths", "n", "valid", "sizes"])
def test_lengths_are_seen_through_a_call_and_other_names(name):
    """With ``call=``, lengths are known by its arguments; of another name, a line points at them."""
    pooled = layered(lambda m, x, _: m.gru(x)[0].mean(1))
    call = eval(f"lambda model, x, {name}: model(x, {name})")  # noqa: S307
    report = reported(pooled, PADDED, COUNTS, call=call)
    is_told = any(f"input[1] looks like lengths: pass lengths={name}" in x for x in report.notes)

    assert bool(report.findings) == (name == "x_lengths")
    assert is_told == (name != "x_lengths")
    unpadded = reported(pooled, X, COUNTS, call=call)
    assert not any("looks like lengths" in note for note in unpadded.notes)


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(2, 10), min_size=2, max_size=6, unique=True),
    batch_first=st.booleans(),
)
def test_a_batch_with_one_longest_sample(lengths, batch_first):
    """Swapped axes are found, and right ones judged, if the model cuts the batch to its longest."""
    n = torch.tensor(lengths)
    x = tokens(len(n), 12) * mask(n, 12)
    net = model(
        lambda m, x, sizes: m.gru(m.words(x[:, : sizes.max()]))[0],
        gru=gru(batch_first=batch_first),
        words=nn.Embedding(11, 3),
    )
    report = reported(net, x, n)

    assert {one.probe for one in report.findings} == (set() if batch_first else {"batch"})
    assert ({"batch", "alone"} <= {*report.checked}) == batch_first


@pytest.mark.parametrize("batch", [1, 4])
def test_a_state_that_is_dropped_in_a_call_over_samples(batch):
    """Memory is judged if ``call=`` runs over samples, and each of them over its steps."""

    def forward(m, x_t, h=None):
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


def cells(width, hidden, *, bidirectional):
    """Make a user's layer: a loop over a cell, or over one for each direction, side by side."""

    def forward(m, x):
        outputs = over(m.cell, x)
        if not bidirectional:
            return outputs
        return torch.cat([outputs, over(m.back, x.flip(1)).flip(1)], 2)

    cell, back = (nn.GRUCell(width, hidden) for _ in range(2))
    return model(forward, cell=cell, back=back)


def recurrent(width, hidden, *, bidirectional):
    """Make a layer of rnnkit's cells."""
    back = rnnkit.GRUCell(width, hidden) if bidirectional else None
    return rnnkit.Recurrent(rnnkit.GRUCell(width, hidden), reverse_cells=back, batch_first=True)


KINDS = [partial(kind, batch_first=True) for kind in (nn.GRU, nn.LSTM, nn.RNN)]


@settings(max_examples=20)  # each verifies twice
@given(
    make=st.sampled_from([*KINDS, recurrent, cells]),
    hidden=st.integers(5, 64),
    both=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_a_step_that_has_read_one_step_is_found(make, hidden, both, dtype, seed):
    """The first step of one direction, or the last of two, is no summary, whatever the width."""
    torch.manual_seed(seed)
    rnn = make(3, hidden, bidirectional=both)
    head = nn.Linear(hidden * (1 + both), 2)
    wrong = -1 if both else 0
    nets = [
        model(lambda m, x, at=at: m.head(first_of(m.rnn(x))[:, at]), rnn=rnn, head=head).to(dtype)
        for at in (wrong, slice(None))
    ]

    assert findings(nets[0], X.to(dtype)) >= {"use"}
    assert findings(nets[1], X.to(dtype)) == set()


#: Mistakes of the corpus, of each probe that judges, with numbers in their input.
SPOILED = [
    "last_step_of_both_directions",
    "first_step_only",
    "data_of_a_state",
    "chunks_that_start_afresh",
    "pooled_padding",
    "samples_that_stay_sorted",
    "two_steps_ahead",
    "output: steps first",
    "loss that broadcasts: normalised",
]


@pytest.mark.parametrize("name", SPOILED)
def test_one_number_that_is_not_finite_hides_no_finding(name):
    """What is found on a batch is found with one number in it that is not finite; nothing else is."""
    for right in (True, False):
        torch.manual_seed(0)
        net, (x, *rest), options = subject(name, right=right)
        expected = findings(net, x, *rest, **options)
        for value in (torch.nan, torch.inf, -torch.inf):
            spoiled = x.clone(memory_format=torch.contiguous_format)
            spoiled.view(-1)[torch.randint(x.numel(), ())] = value

            assert findings(net, spoiled, *rest, **options) == expected


class NoFloat64(TorchDispatchMode):
    """A mode that makes no tensor of float64, as devices that have none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Refuse to make one."""
        kwargs = kwargs or {}
        if kwargs.get("dtype") is torch.float64:
            raise TypeError
        return func(*args, **kwargs)


def test_a_device_without_float64():
    """A model is judged in float32 there, and a map shows what depends on what."""
    net = Holder()
    with NoFloat64():
        report = reported(net, X)
        found = rnnkit.dependency_map(net, X).finding

    assert report.findings == []
    assert "compared in float32" in str(report)
    assert found == "each depends on its own input alone"


def test_the_judge_works_under_autocast():
    """A model that does not run in float64 is judged in float32, whatever autocast would make of it."""

    def compute(m, x):
        assert x.dtype is not torch.float64
        y = m.gru(x)[0]
        total = m.head(y).sum(0, keepdim=True)  # of all samples, and gone but for rounding
        return y + (total - total.roll(1, 1).roll(-1, 1)) + m.head(y + total) - m.head(total)

    net = model(compute, gru=gru(), head=nn.Linear(6, 6, bias=False))
    with torch.autocast("cpu", torch.bfloat16):
        report = reported(net, X, skip=["gradient"])

    assert report.findings == []
    assert "batch" in report.checked
