"""``verify(streaming=True)``: the whole sequence is what its chunks are, the state passed on."""

import contextlib
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason
from tests.diagnostics.models_that_stream import (
    STREAMING,
    Apart,
    Named,
    Timed,
    gru,
    head,
    lstm,
    tagger,
)
from tests.kernels.paths import skip_without_kernel

X = numbers(BATCH, SEQ, FEATURE)
NAMES = pytest.mark.parametrize("name", STREAMING)


def judge(name: str, fixed: bool, *, half: bool = False, **options: Any) -> rnnkit.Report:
    """Verify a model of the list by the probe of this page alone."""
    twin = STREAMING[name]
    torch.manual_seed(options.pop("seed", 0))
    model, inputs = twin.make(fixed), twin.inputs()
    if half:
        model = Half(model)
    return rnnkit.verify(model, *inputs, streaming=True, **{**twin.options, **options})


class Half(nn.Module):
    """A model in bfloat16 between numbers in float32."""

    def __init__(self, model: nn.Module) -> None:
        """Take it."""
        super().__init__()
        self.model = model.to(torch.bfloat16)

    def forward(self, x: Tensor, state: Any = None, *others: Any, **named: Any) -> Any:
        """Run it."""
        cast = torch.utils._pytree.tree_map_only
        down = lambda t: t.to(torch.bfloat16) if t.is_floating_point() else t  # noqa: E731
        output = self.model(*cast(Tensor, down, (x, state, *others)), **cast(Tensor, down, named))
        return cast(Tensor, lambda t: t.float() if t.is_floating_point() else t, output)


@NAMES
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16 inside", "autocast"])
def test_right_model_streams(name: str, kind: str) -> None:
    """Whatever a right model computes in, and however it takes its state, it is judged and right."""
    wide = torch.float64 if kind == "float64" else None
    twin = STREAMING[name]
    model, inputs = twin.make(True), twin.inputs()
    if wide:
        model = model.to(wide)
        inputs = torch.utils._pytree.tree_map_only(
            Tensor, lambda t: t.to(wide) if t.is_floating_point() else t, inputs
        )
    if kind == "bfloat16 inside" and not isinstance(model, Apart | Timed):
        model = Half(model)
    low = torch.autocast("cpu", torch.bfloat16) if kind == "autocast" else contextlib.nullcontext()
    if kind == "autocast" and any(isinstance(part, nn.LSTM) for part in model.modules()):
        skip_without_kernel("LSTM")
    with low:
        report = rnnkit.verify(model, *inputs, streaming=True, **twin.options)

    assert "streaming" in report.checked


@NAMES
@pytest.mark.parametrize("seed", range(3))
def test_wrong_model_does_not(name: str, seed: int) -> None:
    """The wrong one of each pair is found, by this probe, and not without it."""
    with pytest.raises(rnnkit.LeakError) as error:
        judge(name, fixed=False, seed=seed)

    assert error.value.probe == error.value.code == "streaming"
    assert "streaming" not in judge_unasked(name, seed).checked


def judge_unasked(name: str, seed: int) -> rnnkit.Report:
    """Verify the wrong model by the other probes."""
    twin = STREAMING[name]
    torch.manual_seed(seed)
    return rnnkit.verify(twin.make(False), *twin.inputs(), **twin.options)


@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]),
    layers=st.integers(1, 3),
    steps=st.integers(3, 20),
    batch_first=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_layers_stream(
    kind: type[nn.RNNBase], layers: int, steps: int, batch_first: bool, seed: int
) -> None:
    """Each layer of one direction streams, with any number of layers and steps, in both layouts."""
    torch.manual_seed(seed)
    layer = kind(3, 4, num_layers=layers, batch_first=batch_first, dropout=0.5 * (layers > 1))
    shape = (5, steps, 3) if batch_first else (steps, 5, 3)
    x = torch.randn(shape)
    report = rnnkit.verify(layer, x, streaming=True, batch_dim=1 - batch_first)
    assert "streaming" in report.checked

    rnnkit.testing.assert_streams(layer, x, seq_dim=int(batch_first))


def test_wrong_model_in_low_precision() -> None:
    """A state that is not read at all is found to the last bit, however coarse the numbers are."""
    torch.manual_seed(0)
    with pytest.raises(rnnkit.LeakError, match=r"whatever|not read"):
        rnnkit.verify(Half(tagger(fixed=False)), X, streaming=True)


def test_without_a_state_it_is_not_judged() -> None:
    """A model that returns no state is not judged, which the head line says; a test fails with it."""
    model = Model(lambda m, x: m.gru(x)[0], gru=gru())
    report = rnnkit.verify(model, X, streaming=True)

    assert (
        str(report)
        .splitlines()[0]
        .startswith(
            "rnnkit.verify: no leak found, but streaming was not judged: "
            "the model returns no state that it takes ("
        )
    )
    with pytest.raises(AssertionError, match="streaming was not judged"):
        rnnkit.testing.assert_no_leak(model, X, streaming=True)


def test_static_features_are_no_state() -> None:
    """An input that has the sizes of a pooled output by chance is not accused for being none."""

    def compute(m: Any, x: Tensor, speaker: Tensor) -> Any:
        output = m.gru(x + m.bias(speaker).unsqueeze(1))[0]
        return m.head(output), output.mean(1)

    model = Model(compute, gru=gru(), bias=nn.Linear(HIDDEN, FEATURE), head=head())
    report = rnnkit.verify(model, X, numbers(BATCH, HIDDEN), streaming=True)

    assert reason(report, "streaming") == "an input has the sizes of an output, but may be no state"


def test_lengths() -> None:
    """Of a padded batch those steps are judged that all samples have."""

    class Padded(nn.Module):
        def __init__(self, fixed: bool) -> None:
            super().__init__()
            self.lstm, self.fixed = lstm(), fixed

        def forward(self, x: Tensor, lengths: Tensor, state: Any = None) -> Any:
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
            output, state = self.lstm(packed, state if self.fixed else None)
            return nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0], state

    lengths = torch.tensor([7, 5, 6, 5])
    options = {"lengths": lengths, "streaming": True}
    assert "streaming" in rnnkit.verify(Padded(fixed=True), X, lengths, **options).checked
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Padded(fixed=False), X, lengths, **options)
    assert error.value.code == "streaming"


def test_chunks_too_short_for_a_convolution() -> None:
    """A model that takes no single step is judged by longer chunks, and not accused for it."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        assert x.shape[1] > 1
        return m.gru(x, state)

    report = rnnkit.verify(Named(compute, gru=gru()), X, streaming=True)
    (check,) = [check for check in report.checks if check.probe == "streaming"]

    assert check.detail == snapshot("7 steps at once give what they give in chunks of 3 and 4")


def test_text_of_a_state_that_is_forgotten() -> None:
    """The message names the first step, the module, and the cause, which was undone on a copy."""
    with pytest.raises(rnnkit.LeakError) as error:
        judge("a tagger", fixed=False)

    assert str(error.value) == snapshot("""\
output[0] of step 3 differs in chunks of 3 and 4, the state passed on, from the sequence at once: off by 6.6e-01 of the largest
  first      lstm (LSTM), output
  cause      lstm does not start the second chunk from the state that it returned
  fix        y, state = layer(x, state), and return that state
  evidence   the second chunk gives the same, whatever state it is given
  intended?  rnnkit.verify(..., skip=['streaming'])
  more       python -m rnnkit explain streaming\
""")
    assert error.value.module == "lstm"
    # The fix that it says.
    assert "streaming" in judge("a tagger", fixed=True).checked


def test_text_of_directions() -> None:
    """A bidirectional layer is the cause only where its forward half is right."""
    with pytest.raises(rnnkit.LeakError) as error:
        judge("directions", fixed=False)

    assert str(error.value) == snapshot("""\
output[0] of step 0 differs in chunks of 3 and 4, the state passed on, from the sequence at once: off by 3.5e-01 of the largest
  first      gru (GRU), output
  cause      gru is bidirectional: its backward direction reads the chunks to come
  fix        GRU(..., bidirectional=False)
  intended?  rnnkit.verify(..., skip=['streaming'])
  more       python -m rnnkit explain streaming\
""")
    assert "streaming" in judge("directions", fixed=True).checked


def test_text_of_a_state_that_is_not_the_last() -> None:
    """What no module does is told without a cause."""
    with pytest.raises(rnnkit.LeakError) as error:
        judge("h and c", fixed=False)

    assert str(error.value) == snapshot("""\
output[2] (the state at the end) differs in chunks of 3 and 4, the state passed on, from the sequence at once: off by 1.1e+00 of the largest
  fix        y, state = layer(x, state), and return that state
  intended?  rnnkit.verify(..., skip=['streaming'])
  more       python -m rnnkit explain streaming\
""")


def test_text_of_a_sequence_that_is_remembered() -> None:
    """A new sequence starts afresh, also after one that was given a state."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        if state is not None:
            m.kept = state
        return m.gru(x, getattr(m, "kept", None))

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Named(compute, gru=gru()), X, streaming=True)

    assert str(error.value) == snapshot("""\
a new sequence does not start afresh: it depends on the one before
  cause      model.kept is kept from call to call
  fix        keep no state in the module: take it as an argument, and return it
  intended?  rnnkit.verify(..., skip=['streaming'])
  more       python -m rnnkit explain streaming\
""")


@pytest.mark.unhooked("the annotation refuses it first")
def test_refused() -> None:
    """The switch is a bool."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(gru(), X, streaming="yes")

    assert (error.value.argument, error.value.code) == ("streaming", "verify-streaming")
    assert str(error.value) == snapshot("""\
streaming is True or False, got 'yes'
  more      python -m rnnkit explain verify-streaming\
""")
