"""Laws of ``verify`` over drawn models: right ones pass, swapped axes are found, rounding is no leak."""
# ruff: noqa: ANN001, ANN002, ANN201, ANN202

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.corpus.runner import subject
from tests.diagnostics.models_of_users import Model

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
SIZES = st.integers(1, 6)


def normal(*shape, dtype=torch.float32):
    """Return numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)


def end_state(m, x):
    """Classify by the state that the last layer ends with, in each direction."""
    _, state = m.layer(x)
    h_n = state[0] if isinstance(state, tuple) else state
    return m.head(torch.cat(h_n[-2 if m.layer.bidirectional else -1 :].unbind(0), 1))


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
def test_no_false_alarm_on_a_layer(
    data: st.DataObject, one: bool, batch: int, seq: int, dtype: torch.dtype
):
    """A right model passes, whatever its options, its layout, its head and its sizes.

    They may all be one: batch, seq, features, layers and hidden.
    """
    model = data.draw(layers(min(batch, 4) if one else 0)).to(dtype)
    batch, seq = (min(batch, 4),) * 2 if one else (batch, seq)
    x = normal(*shaped(model, batch, seq), dtype=dtype)
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
def test_no_false_alarm_on_a_loop(
    kind: str, library: Any, sizes: tuple[int, ...], dtype: torch.dtype, batch_first: bool
):
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
    x = normal(*((batch, seq) if batch_first else (seq, batch)), features, dtype=dtype)
    report = rnnkit.verify(model, x, batch_dim=1 - batch_first, causal=True)

    assert ("causal" in report.checked) == (seq > 1)


@given(model=layers(), batch=st.integers(2, 6), seq=st.integers(2, 6))
def test_swapped_axes_are_always_found(model, batch, seq):
    """With two samples and two steps or more, a layer that takes one for the other is caught."""
    x = normal(*shaped(model, seq, batch))
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
    x = normal(*((5, steps) if batch_first else (steps, 5)), 3)

    assert "streaming" in rnnkit.verify(layer, x, streaming=True, batch_dim=1 - batch_first).checked
    rnnkit.testing.assert_streams(layer, x, seq_dim=int(batch_first))


#: Cases of the corpus whose maps are those of a right model, in spite of rounding, by their axis.
MAPPED = {
    "cancelled: a shift of scores": 0,
    "cancelled: a Fourier transform": 1,
    "cancelled: a late mask": 1,
    "lengths_counted_in_tokens": 0,
    "lengths_that_the_content_decides": 0,
    "experts_chosen_by_value": 0,
    "samples_that_stay_sorted": 0,
}
LEAKING = ("cancelled: a shift of scores", "lengths_that_the_content_decides")


@pytest.mark.parametrize("name", MAPPED)
def test_a_map_shows_no_rounding(name):
    """A map shows neither what cancels out nor another way to compute; a small leak it shows."""
    own = ["each depends on its own input alone", "each depends on its own and all earlier inputs"]
    for right in (True, False) if name in LEAKING else (True,):
        torch.manual_seed(0)
        model, inputs, _ = subject(name, right=right)
        found = rnnkit.dependency_map(model, *inputs, dim=MAPPED[name]).finding

        assert found == (own[MAPPED[name]] if right else "each depends on all inputs")
