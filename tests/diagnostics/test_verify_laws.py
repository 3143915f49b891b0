"""Laws of ``verify`` over drawn models: right ones pass, swapped axes are found, rounding is no leak."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import Model, numbers

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
SIZES = st.integers(1, 6)


def end_state(m, x):
    """Classify by the state that the last layer ends with, in each direction."""
    _, state = m.layer(x)
    h_n = state[0] if isinstance(state, tuple) else state
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
    return Model(draw(COMPUTES), layer=layer, head=head)


def shaped(model, batch, seq):
    """Return the shape of a model's input."""
    front = (batch, seq) if model.layer.batch_first else (seq, batch)
    return (*front, model.layer.input_size)


@given(data=st.data(), one=st.booleans(), batch=SIZES, seq=SIZES, dtype=DTYPES)
def test_no_false_alarm_on_a_layer(data, one, batch, seq, dtype):
    """A right model passes, whatever its options, its layout, its head and its sizes.

    They may all be one: batch, seq, features, layers and hidden.
    """
    model = data.draw(layers(min(batch, 4) if one else 0)).to(dtype)
    batch, seq = (min(batch, 4),) * 2 if one else (batch, seq)
    x = numbers(*shaped(model, batch, seq)).to(dtype)
    report = rnnkit.verify(model, x, batch_dim=0 if model.layer.batch_first else 1)

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

    model = Model(loop, cell=getattr(library, kind)(features, hidden)).to(dtype)
    x = numbers(*((batch, seq) if batch_first else (seq, batch)), features).to(dtype)
    report = rnnkit.verify(model, x, batch_dim=1 - batch_first, causal=True)

    assert ("causal" in report.checked) == (seq > 1)


@given(model=layers(), batch=st.integers(2, 6), seq=st.integers(2, 6))
def test_swapped_axes_are_always_found(model, batch, seq):
    """With two samples and two steps or more, a layer that takes one for the other is caught."""
    x = numbers(*shaped(model, seq, batch))
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, x, batch_dim=1 if model.layer.batch_first else 0)

    assert error.value.probe == "batch"


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


OWN = "each depends on its own input alone"
EARLIER = "each depends on its own and all earlier inputs"
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


def finding_of(name, *, right):
    """Return what the map of a model of the corpus looks like."""
    torch.manual_seed(0)
    model, inputs, _ = subject(name, right=right)
    return rnnkit.dependency_map(model, *inputs, dim=MAPPED[name][0]).finding


@pytest.mark.parametrize("name", MAPPED)
def test_a_map_shows_no_rounding(name):
    """A map shows neither what cancels out nor another way to compute."""
    assert finding_of(name, right=True) == MAPPED[name][1]


@pytest.mark.parametrize(
    "name", ["cancelled: a shift of scores", "lengths_that_the_content_decides"]
)
def test_a_map_shows_a_small_leak(name):
    """A leak that is small beside rounding is in the map."""
    assert finding_of(name, right=False) == "each depends on all inputs"


def with_a_start(m, x, later):
    """Put a first step before all others, as a transducer does; ``later`` adds what comes next."""
    y = m.layer(torch.cat([x.new_zeros(len(x), 1, 3), x], 1))[0]
    return y + y.roll(-2, 1) if later else y


@pytest.mark.parametrize("causal", [True, "strict"])
@given(steps=st.integers(3, 9), later=st.booleans())
def test_an_output_with_one_step_more(causal, steps, *, later):
    """The step that only the output has is forbidden nothing, and the others are judged."""
    model = Model(lambda m, x: with_a_start(m, x, later), layer=nn.GRU(3, 6, batch_first=True))
    options = {"causal": causal, "out_seq_dim": 1, "raises": False}
    report = rnnkit.verify(model, torch.randn(4, steps, 3), **options)

    assert ("causal" in {one.probe for one in report.findings}) == later


def masked_attention(m, x):
    """Attend to earlier steps only, and to the padding in front, too."""
    later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
    scores = m.layer(x) @ x.mT
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ x


@given(steps=st.integers(4, 9))
def test_a_right_causal_mask_is_not_called_transposed(steps):
    """Where padding in front is attended, no fix turns a mask that hides what comes later."""
    lengths = [steps, 2, 3, 2]
    x = torch.randn(4, steps, 3)
    for sample, length in zip(x, lengths, strict=True):
        sample[: steps - length] = 0
    model = Model(masked_attention, layer=nn.Linear(3, 3))
    report = rnnkit.verify(model, x, lengths=lengths, pad="pre", raises=False)

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
    report = rnnkit.verify(torch.jit.script(Draws()), torch.randn(5, 7, 3), raises=False)

    assert [one.probe for one in report.findings] == ["repeatable"]
