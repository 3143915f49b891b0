"""Inputs and states that a layer refuses for their dtype or device."""

import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


def test_tokens() -> None:
    """Whole numbers are refused with the two things they may be."""
    x = filled(7, 5, 3, dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.LSTM(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  LSTM(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "input.float()", input=x))


def test_token_ids() -> None:
    """Token ids without a feature axis are refused with an embedding."""
    x = filled(7, 5, dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.LSTM(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  LSTM(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
            token ids: torch.nn.Embedding(vocabulary, 3)(input)\
""")
    fix = "torch.nn.Embedding(vocabulary, 3)(input)"
    rnnkit.LSTM(3, 4)(fixed(error, fix, input=x, vocabulary=10))


def test_booleans_for_doubles() -> None:
    """Booleans are refused with the weights' dtype."""
    x = filled(7, 5, 3, dtype=torch.bool)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRU(3, 4, dtype=torch.float64)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.bool) does not match weight dtype (torch.float64).
  GRU(3, 4): the input holds no real floating-point numbers
  input     expected torch.float64    got torch.bool
  fix       numbers: input.to(torch.float64)\
""")
    rnnkit.GRU(3, 4, dtype=torch.float64)(fixed(error, "input.to(torch.float64)", input=x))


def test_doubles() -> None:
    """Double precision is refused with its usual source."""
    x = filled(7, 5, 3, dtype=torch.float64)

    error = refusal(rnnkit.DtypeError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  GRU(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)\
""")
    rnnkit.GRU(3, 4)(fixed(error, "input.to(torch.float32)", input=x))
    fixed(error, "model.to(torch.float64)", model=rnnkit.GRU(3, 4))(x)


def test_half_precision() -> None:
    """Half precision is refused with its usual source."""
    x = filled(7, 5, 3, dtype=torch.bfloat16)

    error = refusal(rnnkit.DtypeError, "says", lambda nn: nn.LSTM(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.bfloat16) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.bfloat16)
  LSTM(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.bfloat16
  evidence  torch.bfloat16 is what autocast leaves; it is off here
  fix       input.to(torch.float32), or model.to(torch.bfloat16)\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "input.to(torch.float32)", input=x))


def test_floats_for_doubles() -> None:
    """Single precision for a double model is refused with both dtypes."""
    x = filled(7, 5, 3)

    error = refusal(rnnkit.DtypeError, "says", lambda nn: nn.RNN(3, 4, dtype=torch.float64)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.float32) does not match weight dtype (torch.float64). Convert input: input.to(torch.float64), or convert model: model.to(torch.float32)
  RNN(3, 4): input and weights differ in dtype
  input     expected torch.float64    got torch.float32
  fix       input.to(torch.float64), or model.to(torch.float32)\
""")
    rnnkit.RNN(3, 4, dtype=torch.float64)(fixed(error, "input.to(torch.float64)", input=x))


def test_complex_numbers() -> None:
    """Complex numbers are refused."""
    x = filled(7, 5, 3, dtype=torch.complex64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.RNN(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.complex64) does not match weight dtype (torch.float32).
  RNN(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.complex64
  fix       torch.view_as_real(input).flatten(-2), twice as many features\
""")


def test_another_device() -> None:
    """An input on another device is refused with both devices."""
    x = filled(7, 5, 3).to("meta")

    error = refusal(rnnkit.DeviceError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at meta and parameter tensor at cpu
  GRU(3, 4): the input lies on another device
  input     expected on cpu    got meta
  fix       input.to('cpu'), or move the model to the input\
""")


def test_model_on_another_device() -> None:
    """Weights on another device are told by the same words."""
    x = filled(7, 5, 3)

    error = refusal(rnnkit.DeviceError, "says", lambda nn: nn.LSTM(3, 4, device="meta")(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at cpu and parameter tensor at meta
  LSTM(3, 4): the input lies on another device
  input     expected on meta    got cpu
  fix       input.to('meta'), or move the model to the input\
""")
    rnnkit.LSTM(3, 4, device="meta")(fixed(error, "input.to('meta')", input=x))


def test_another_dtype_of_the_state() -> None:
    """A state of another dtype is refused with the conversion."""
    x, hx = filled(7, 5, 3), filled(1, 5, 4, dtype=torch.float64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
hx dtype (torch.float64) does not match input dtype (torch.float32)
  GRU(3, 4): state and input differ in dtype
  hx        expected torch.float32    got torch.float64
  fix       hx.to(torch.float32)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx.to(torch.float32)", hx=hx))


def test_another_dtype_of_c() -> None:
    """Of an LSTM's pair the one of another dtype is named."""
    x, h, c = filled(7, 5, 3), filled(1, 5, 4), filled(1, 5, 4, dtype=torch.bfloat16)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
hx dtype (torch.bfloat16) does not match input dtype (torch.float32)
  LSTM(3, 4): state and input differ in dtype
  c         expected torch.float32    got torch.bfloat16
  fix       c.to(torch.float32)\
""")
    rnnkit.LSTM(3, 4)(x, (h, fixed(error, "c.to(torch.float32)", c=c)))


def test_whole_numbers_in_the_state() -> None:
    """A state of whole numbers is refused."""
    x, hx = filled(7, 5, 3), filled(1, 5, 4, dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.RNN(3, 4)(x, hx))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
hx dtype (torch.int64) does not match input dtype (torch.float32)
  RNN(3, 4): state and input differ in dtype
  hx        expected torch.float32    got torch.int64
  fix       hx.to(torch.float32)\
""")
    rnnkit.RNN(3, 4)(x, fixed(error, "hx.to(torch.float32)", hx=hx))


def test_another_device_of_the_state() -> None:
    """A state on another device is refused with both devices."""
    x, hx = filled(7, 5, 3), filled(1, 5, 4).to("meta")

    error = refusal(rnnkit.DeviceError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  GRU(3, 4): state and input lie on different devices
  hx        expected on cpu    got meta
  fix       hx.to(input.device), or zeros with device=input.device\
""")


def test_another_device_of_h() -> None:
    """Of an LSTM's pair the one on another device is named."""
    x, h, c = filled(7, 5, 3), filled(1, 5, 4).to("meta"), filled(1, 5, 4)

    error = refusal(rnnkit.DeviceError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  LSTM(3, 4): state and input lie on different devices
  h         expected on cpu    got meta
  fix       h.to(input.device), or zeros with device=input.device\
""")
