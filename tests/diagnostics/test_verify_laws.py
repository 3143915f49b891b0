"""Laws of ``verify`` over random models: right ones pass, swapped axes are found."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
SIZES = st.integers(1, 6)


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)).to(dtype)


def all_steps(m: Any, x: Tensor) -> Tensor:
    """Label each step."""
    return m.head(m.layer(x)[0])


def end_state(m: Any, x: Tensor) -> Tensor:
    """Classify by the state that the last layer ends with, in each direction."""
    _, state = m.layer(x)
    h_n = state[0] if isinstance(state, tuple) else state
    directions = 2 if m.layer.bidirectional else 1
    return m.head(torch.cat(h_n[-directions:].unbind(0), 1))


def mean(m: Any, x: Tensor) -> Tensor:
    """Classify by the mean over the steps."""
    return m.head(m.layer(x)[0].mean(1 if m.layer.batch_first else 0))


def everything(m: Any, x: Tensor) -> Any:
    """Return what the layer returns."""
    return m.layer(x)


@st.composite
def layers(draw: st.DrawFn) -> Any:
    """Draw a model over a layer, in one of its layouts."""
    library = draw(st.sampled_from([nn, rnnkit.nn]))
    kind = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    features, hidden = draw(SIZES), draw(SIZES)
    torch.manual_seed(draw(st.integers(0, 10**6)))
    options: dict[str, Any] = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    layer = getattr(library, kind)(features, hidden, **options)
    head = nn.Linear((1 + options["bidirectional"]) * hidden, 3)
    compute = draw(st.sampled_from([all_steps, end_state, mean, everything]))
    return Model(compute, layer=layer, head=head)


def shaped(model: Any, batch: int, seq: int) -> tuple[int, ...]:
    """Return the shape of a model's input."""
    front = (batch, seq) if model.layer.batch_first else (seq, batch)
    return (*front, model.layer.input_size)


@given(model=layers(), batch=SIZES, seq=SIZES, dtype=st.sampled_from(DTYPES))
def test_no_false_alarm_on_a_layer(model: Any, batch: int, seq: int, dtype: torch.dtype) -> None:
    """A right model passes, whatever its options, its layout, its sizes and its head."""
    x = normal(*shaped(model, batch, seq), dtype=dtype)
    report = rnnkit.verify(model.to(dtype), x, batch_dim=0 if model.layer.batch_first else 1)

    assert {"repeatable", "use"} <= set(report.checked)
    assert (batch > 1) == ({"batch", "alone"} <= set(report.checked))


@given(
    size=st.integers(2, 5),
    kind=st.sampled_from(["RNN", "LSTM", "GRU"]),
    batch_first=st.booleans(),
    compute=st.sampled_from([all_steps, end_state, mean, everything]),
)
def test_no_false_alarm_when_all_sizes_are_one(
    size: int, kind: str, batch_first: bool, compute: Any
) -> None:
    """A right model passes where batch, seq, features, layers and hidden are all as long."""
    layer = getattr(nn, kind)(size, size, num_layers=size, batch_first=batch_first)
    model = Model(compute, layer=layer, head=nn.Linear(size, size))
    report = rnnkit.verify(model, normal(size, size, size), batch_dim=1 - batch_first, causal=True)

    assert {"batch", "alone", "memory"} <= set(report.checked)


@given(
    kind=st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]),
    library=st.sampled_from([nn, rnnkit.nn]),
    sizes=st.tuples(SIZES, SIZES, SIZES, SIZES),
    dtype=st.sampled_from(DTYPES),
    batch_first=st.booleans(),
)
def test_no_false_alarm_on_a_loop(
    kind: str, library: Any, sizes: tuple[int, ...], dtype: torch.dtype, batch_first: bool
) -> None:
    """A loop over a cell passes, as a language model too."""
    batch, seq, features, hidden = sizes

    def loop(m: Any, x: Tensor) -> Tensor:
        state, outputs = None, []
        for x_t in x.unbind(1 if batch_first else 0):
            state = m.cell(x_t, state)
            outputs.append(state[0] if kind == "LSTMCell" else state)
        return torch.stack(outputs, 1 if batch_first else 0)

    model = Model(loop, cell=getattr(library, kind)(features, hidden)).to(dtype)
    shape = (batch, seq) if batch_first else (seq, batch)
    x = normal(*shape, features, dtype=dtype)
    report = rnnkit.verify(model, x, batch_dim=1 - batch_first, causal=True)

    assert ("causal" in report.checked) == (seq > 1)


@given(model=layers(), batch=st.integers(2, 6), seq=st.integers(2, 6))
def test_swapped_axes_are_always_found(model: Any, batch: int, seq: int) -> None:
    """With two samples and two steps or more, a layer that takes one for the other is caught."""
    x = normal(*shaped(model, seq, batch))
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, x, batch_dim=1 if model.layer.batch_first else 0)

    assert error.value.probe == "batch"


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("seq", [1, 100])
def test_rounding_is_no_leak(kind: Any, seq: int) -> None:
    """A wide layer over many steps gives a sample alone what it gives in the batch, about."""
    model = kind(256, 256, batch_first=True)

    assert "alone" in rnnkit.verify(model, normal(4, seq, 256)).checked


@pytest.mark.covering(2)
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("scale", [8, 16])
@pytest.mark.parametrize("seed", range(2))
def test_chaos_is_no_leak(kind: Any, scale: float, seed: int) -> None:
    """A layer that blows rounding up, as large weights do, is not accused of sharing."""
    torch.manual_seed(seed)
    model = grown(kind(16, 64, batch_first=True, num_layers=2), scale)

    assert "batch" in rnnkit.verify(model, normal(4, 100, 16)).checked


def test_chaos_is_not_judged_alone() -> None:
    """Where rounding moves all of an output, "alone" is not said to hold."""
    model = grown(nn.RNN(16, 64, batch_first=True, num_layers=2), 16)

    report = rnnkit.verify(model, normal(4, 100, 16))

    (alone,) = [check for check in report.checks if check.probe == "alone"]
    assert alone.outcome == "skipped"
    assert alone.detail == snapshot("the model amplifies rounding: nothing can be judged")


def grown(model: nn.Module, scale: float) -> Any:
    """Return the model with its weights multiplied."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(scale)
    return model


def test_chaos_beside_other_outputs() -> None:
    """What rounding makes is measured of each output that holds numbers, wherever it stands."""
    layer = grown(nn.GRU(16, 64, batch_first=True, num_layers=2), 16)
    model = Model(lambda m, x: (x.shape[1], m.layer(x)[0], x[:, 0].argmax(1)), layer=layer)

    assert "batch" in rnnkit.verify(model, normal(4, 100, 16)).checked


@pytest.mark.parametrize("seed", range(8))
def test_dead_units_are_no_amnesia(seed: int) -> None:
    """A narrow ReLU layer, whose units are often dead, is not accused of remembering nothing."""
    torch.manual_seed(seed)
    model = nn.RNN(1, 1, nonlinearity="relu", batch_first=True)

    rnnkit.verify(model, normal(1, 2, 1))


@pytest.mark.parametrize(
    ("kind", "around"),
    # Not every CPU has an LSTM for autocast.
    [(nn.RNN, True), (nn.GRU, True), (nn.RNN, False), (nn.GRU, False), (nn.LSTM, False)],
)
@pytest.mark.parametrize(("scale", "seed"), [(4, 0), (16, 1)])
def test_chaos_in_half_precision_is_no_leak(
    kind: Any, scale: float, seed: int, *, around: bool
) -> None:
    """So it is in bfloat16, inside or by autocast, which rounds the last digits of inputs away."""
    torch.manual_seed(seed)
    layer = grown(kind(16, 64, batch_first=True, num_layers=2), scale)
    if not around:
        layer.bfloat16()

    def forward(m: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            output, _ = m.layer(x if around else x.bfloat16())
        return output.float()

    rnnkit.verify(Model(forward, layer=layer), normal(4, 60, 16))
