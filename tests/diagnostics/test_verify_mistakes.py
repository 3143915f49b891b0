"""Each mistake that no shape shows is found, and its right twin is not accused."""

import random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, TWINS, Model, numbers, text

LIBRARIES = {"torch.nn": torch.nn, "rnnkit.nn": rnnkit.nn}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Name the classes that a model is made of."""
    return LIBRARIES[request.param]


def judged(name: str, library: ModuleType, dtype: torch.dtype, *, right: bool) -> rnnkit.Report:
    """Make a twin and verify it."""
    twin = TWINS[name]
    model = twin.make(library, right).to(dtype)
    inputs: Any = (x.to(dtype) if x.is_floating_point() else x for x in twin.inputs())
    return rnnkit.verify(model, *inputs, **twin.options)


def caught(name: str, library: ModuleType = torch.nn) -> rnnkit.LeakError:
    """Verify a wrong twin; return what is raised."""
    with pytest.raises(rnnkit.LeakError) as error:
        judged(name, library, torch.float32, right=False)
    return error.value


@pytest.mark.parametrize("name", TWINS)
def test_wrong_twin_is_caught(name: str, library: ModuleType) -> None:
    """The probe that the mistake is named for finds it, at the module where it shows first."""
    error = caught(name, library)

    assert (error.probe, error.module) == (TWINS[name].probe, TWINS[name].module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", TWINS)
def test_right_twin_passes(name: str, dtype: torch.dtype, library: ModuleType) -> None:
    """The model without the mistake passes that probe in each precision, and no other fails."""
    report = judged(name, library, dtype, right=True)

    assert TWINS[name].probe in report.checked


@pytest.mark.parametrize("name", TWINS)
def test_each_twin_is_cheap(name: str) -> None:
    """A right model costs a few dozen runs."""
    assert judged(name, torch.nn, torch.float32, right=True).passes < 40


@pytest.mark.parametrize("name", TWINS)
def test_same_text_for_both_libraries(name: str) -> None:
    """What is said of a model does not hang on whose classes it is made of."""
    torch.manual_seed(0)
    theirs = caught(name, torch.nn)
    torch.manual_seed(0)

    assert str(theirs) == str(caught(name, rnnkit.nn))


def test_text_of_batch_first_forgotten() -> None:
    """Swapped axes are named with the option that fixes them."""
    assert text(caught("batch_first forgotten")) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      lstm (LSTM), output of call 0
  cause      lstm reads axis 0 of its input as seq, but the batch is there
  fix        LSTM(..., batch_first=True), or input.transpose(0, 1)
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_text_of_a_square() -> None:
    """Swapped axes of one length are found, too."""
    assert text(caught("batch_first forgotten, square")) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      lstm (LSTM), output of call 0
  cause      lstm reads axis 0 of its input as seq, but the batch is there
  fix        LSTM(..., batch_first=True), or input.transpose(0, 1)
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_text_of_a_viewed_state() -> None:
    """A view between two modules is found between them."""
    assert text(caught("viewed state")) == snapshot("""\
output of sample 2 depends on input of sample 0
  first      head (Linear), input of call 0
  cause      between the output of gru and the input of head
  by         reshape(4, -1)
  at         models_of_users.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_text_of_a_viewed_input() -> None:
    """A view before the first module is found there."""
    assert text(caught("viewed input")) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      norm (LayerNorm), input of call 0
  cause      between the model's input and the input of norm
  by         view(7, 4, 3)
  at         models_of_users.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_text_of_pooled_padding() -> None:
    """Padding that is pooled is found by the shortest sample, which has the most."""
    assert text(caught("pooled padding")) == snapshot("""\
sample 3 alone, cut to its 2 steps, gives another output than in the batch: off by 1.8e-01 of the largest
  first      not looked for: alone, a sample runs through other sizes
  cause      padding is pooled, or read as the last step
  fix        mask or pack the padding; compute nothing from the batch as a whole
  intended?  rnnkit.verify(..., skip=['alone'])
  more       python -m rnnkit explain alone\
""")


def test_text_of_the_last_step_of_a_padded_batch() -> None:
    """Padding that is read as the last step is found by the shortest sample."""
    assert text(caught("last of padded")) == snapshot("""\
sample 3 alone, cut to its 2 steps, gives another output than in the batch: off by 9.1e-02 of the largest
  first      not looked for: alone, a sample runs through other sizes
  cause      padding is pooled, or read as the last step
  fix        mask or pack the padding; compute nothing from the batch as a whole
  intended?  rnnkit.verify(..., skip=['alone'])
  more       python -m rnnkit explain alone\
""")


def test_text_of_the_last_step_of_a_bidirectional_layer() -> None:
    """A backward half that has read one step is named with what was meant."""
    assert text(caught("last of bidirectional")) == snapshot("""\
of the output of lstm, the backward half is used at the last step only, where it has read one step
  first      lstm (LSTM)
  fix        last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")


def test_text_of_a_bidirectional_language_model() -> None:
    """A layer that reads the future is named with the option."""
    assert text(caught("bidirectional language model")) == snapshot("""\
output of step 0 depends on input of step 3 or later
  first      encoder (GRU), output of call 0
  cause      encoder is bidirectional: its backward direction has read the later steps
  fix        GRU(..., bidirectional=False)
  intended?  rnnkit.verify(..., skip=['causal'])
  more       python -m rnnkit explain causal\
""")


def test_text_of_a_state_never_advanced() -> None:
    """A loop that remembers nothing is said to be one."""
    assert text(caught("never advanced")) == snapshot("""\
the last output depends on no earlier step of the input: nothing is remembered
  cause      likely a loop that passes on the first state
  or         axis 1 of the input is not seq: rnnkit.verify(..., seq_dim=...)
  fix        y, state = layer(x, state), or state = cell(x, state), in the loop
  intended?  rnnkit.verify(..., skip=['memory'])
  more       python -m rnnkit explain memory\
""")


def test_text_of_a_kept_state() -> None:
    """A state that outlives the call is named with its likely causes."""
    assert text(caught("kept state")) == snapshot("""\
the same input gives another output the second time
  cause      model.state is kept from call to call
  fix        start each call from the same state; draw random numbers if self.training
  intended?  rnnkit.verify(..., skip=['repeatable'])
  more       python -m rnnkit explain repeatable\
""")


def test_text_of_a_random_state() -> None:
    """A random first state is named as what it is, and not as something shared by the batch."""
    assert text(caught("random state")) == snapshot("""\
the same input gives another output the second time
  cause      forward draws random numbers (torch)
  fix        start each call from the same state; draw random numbers if self.training
  intended?  rnnkit.verify(..., skip=['repeatable'])
  more       python -m rnnkit explain repeatable\
""")


def test_text_of_tiled_beams() -> None:
    """States repeated in the wrong order are found at the layer that is given them."""
    assert text(caught("tiled beams")) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      decoder (GRU), output of call 0
  at         models_of_users.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_text_of_directions_of_two_layers() -> None:
    """Rows of a state that do not belong together are named with those that do."""
    assert text(caught("directions of two layers")) == snapshot("""\
of the state of gru, h_n[0] and h_n[3] are used: directions of different layers
  first      gru (GRU)
  fix        h_n[2] and h_n[3], the last layer's; or last_hidden(state)
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")


def test_text_of_windows_as_one_sequence() -> None:
    """A matrix read as one sequence is named with the two ways to fix it."""
    assert text(caught("windows as one sequence")) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      lstm (LSTM), output of call 0
  cause      lstm reads axis 0 of its 2-D input as seq, but the batch is there
  fix        input.unsqueeze(1) for one step, input.unsqueeze(-1) for a series
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_a_model_that_means_to_mix_samples() -> None:
    """The message ends in the argument that silences it, and that is enough."""
    parts = {"norm": nn.BatchNorm1d(FEATURE, track_running_stats=False), "head": nn.Linear(3, 2)}
    model = Model(lambda m, x: m.head(m.norm(x.transpose(1, 2)).transpose(1, 2)), **parts)
    x = numbers(BATCH, SEQ, FEATURE)
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, x)
    assert text(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      norm (BatchNorm1d), output of call 0
  by         batch_norm
  at         test_verify_mistakes.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")

    report = rnnkit.verify(model, x, skip=["batch"])

    assert "repeatable" in report.checked


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: x + random.random(),  # noqa: S311 - no secret
        lambda x: x + np.random.rand(),  # noqa: NPY002 - as people write it
        lambda x: x + torch.rand(1).item(),
        lambda x: nn.functional.dropout(x, 0.5, training=True),
    ],
    ids=["random", "numpy", "torch", "dropout"],
)
def test_chance_is_named_as_chance(draw: Any) -> None:
    """Random numbers in eval mode are no leak between samples, from wherever they come."""
    model = Model(lambda m, x: m.head(draw(x)), head=nn.Linear(FEATURE, 2))
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE))

    assert error.value.probe == "repeatable"


def test_an_axis_of_the_output_that_is_told() -> None:
    """The swapped axes are found with the axes of the output told, as without."""
    twin = TWINS["batch_first forgotten, square"]
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(twin.make(torch.nn, False), *twin.inputs(), out_seq_dim=1)

    assert error.value.probe == "batch"
