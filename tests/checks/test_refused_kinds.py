"""Inputs and lengths that a layer refuses for the kind of thing they are."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


def test_sparse() -> None:
    """A sparse input, for which torch has no kernel, is refused with the call that fills it."""
    x = filled(7, 5, 3).to_sparse()

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a dense tensor, got torch.sparse_coo
  GRU(3, 4): torch has no recurrent kernels for other layouts
  fix       input.to_dense()\
""")
    rnnkit.GRU(3, 4)(fixed(error, "input.to_dense()", input=x))


def test_words() -> None:
    """A sentence is no tensor, and nothing makes one of it."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4)("seven words"))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got 'seven words'
  GRU(3, 4)
  input     expected a Tensor or a PackedSequence    got 'seven words'
  fix       a floating-point tensor\
""")


def test_numbers_in_lists() -> None:
    """Nested lists of numbers are refused with the call that makes a tensor of them."""
    x = [[[1.0, 2.0, 3.0]] * 5] * 7

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4)(x))
    fix = "torch.as_tensor(input, dtype=torch.float32)"
    rnnkit.GRU(3, 4)(fixed(error, fix, input=x))


def test_lengths_without_values() -> None:
    """Lengths on the device meta hold nothing to hold the batch to."""
    lengths = torch.empty(5, dtype=torch.int64, device="meta")

    error = refusal(
        rnnkit.LengthsError, "lacks", lambda nn: nn.GRU(3, 4)(filled(7, 5, 3), lengths=lengths)
    )
    assert error.argument == "lengths"
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths hold no values to look at
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.int64 (5,)
  fix       a list of ints\
""")


def test_fractions_for_a_count() -> None:
    """Half a feature is refused with the two ways to a whole number."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(7 / 2, 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size should be of type int, got: float
  LSTM(3.5, 4)
  input_size  expected an int from 1    got 3.5
  fix         input_size=int(...), or // in place of / where it is computed\
""")


def test_device_in_the_place_of_a_flag() -> None:
    """A device given by position is refused with its name."""
    cpu = torch.device("cpu")

    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTMCell(3, 4, cpu))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: device
  LSTMCell(3, 4, cpu)
  bias      expected True or False    got cpu
  fix       by name: device='cpu'\
""")


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_batch_first_states_have_no_torchscript(name: str) -> None:
    """A layer with batch-first states is no layer of torch's: scripting says what to write."""
    layer = getattr(rnnkit, name)(3, 4, state_batch_first=True)

    with pytest.raises(rnnkit.RnnkitError) as caught:
        torch.jit.script(layer)
    assert caught.value.argument == "state_batch_first"


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_message_of_batch_first_states_in_torchscript() -> None:
    """The message says what to write in place of it."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        torch.jit.script(rnnkit.GRU(3, 4, state_batch_first=True))
    assert str(caught.value) == snapshot("""\
GRU(..., state_batch_first=True) has no TorchScript form
  fix       state_batch_first=False, and state.transpose(0, 1) in the caller\
""")
