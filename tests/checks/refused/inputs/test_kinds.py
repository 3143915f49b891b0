"""Inputs that a layer refuses for their kind, dtype or device, or for their sizes."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LSTM, ArgumentError, DeviceError, DtypeError, LayoutError, ShapeError
from tests.checks.refusals import Case, Refused, call, filled, fix, fixed, refusal, table

CASES = {
    "None for the input is refused with the hint that a line before returned it.": Case(
        "nn.GRU(3, 4)(None)",
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        has="\n  fix       see what the line before returns\n",
    ),
    "A list of sequences is refused with the call that pads it.": Case(
        call("nn.LSTM(3, 4)(input)", input=[filled(7, 3), filled(6, 3)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix="torch.nn.utils.rnn.pad_sequence(input)",
    ),
    "A NumPy array is refused with the call that makes a tensor of it.": Case(
        call("nn.RNN(3, 4)(input)", input=filled(7, 5, 3).double().numpy()),
        Refused(ArgumentError, "mumbles", "input"),
        fix="torch.as_tensor(input, dtype=torch.float32)",
        message=snapshot("""\
input must be a Tensor, got an ndarray
  RNN(3, 4)
  input     expected a Tensor or a PackedSequence    got an ndarray
  fix       torch.as_tensor(input, dtype=torch.float32)
  more      python -m rnnkit explain input-type\
"""),
    ),
    "A sentence is no tensor, and nothing makes one of it.": Case(
        "nn.GRU(3, 4)('seven words')",
        Refused(ArgumentError, "mumbles", "input"),
        message=snapshot("""\
input must be a Tensor, got 'seven words'
  GRU(3, 4)
  input     expected a Tensor or a PackedSequence    got 'seven words'
  fix       a floating-point tensor
  more      python -m rnnkit explain input-type\
"""),
    ),
    "Nested lists of numbers are refused with the call that makes a tensor of them.": Case(
        call("nn.GRU(3, 4)(input)", input=[[[1.0, 2.0, 3.0]] * 5] * 7),
        Refused(ArgumentError, "mumbles"),
        fix="torch.as_tensor(input, dtype=torch.float32)",
    ),
    "Whole numbers are refused with the two things they may be.": Case(
        call("nn.LSTM(3, 4)(input)", input=filled(7, 5, 3, dtype=torch.int64)),
        Refused(DtypeError, "mumbles", "input", code="input-numbers"),
        fix="input.float()",
    ),
    "Token ids without a feature axis are refused with an embedding.": Case(
        call("nn.LSTM(3, 4)(input)", input=filled(7, 5, dtype=torch.int64)),
        Refused(DtypeError, "mumbles", "input", code="input-numbers"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(input)", vocabulary=10),
    ),
    "Booleans are refused with the weights' dtype.": Case(
        call("nn.GRU(3, 4, dtype=torch.float64)(input)", input=filled(7, 5, 3, dtype=torch.bool)),
        Refused(DtypeError, "mumbles", "input"),
        fix="input.to(torch.float64)",
        message=snapshot("""\
RNN input dtype (torch.bool) does not match weight dtype (torch.float64).
  GRU(3, 4): the input holds no real floating-point numbers
  input     expected torch.float64    got torch.bool
  fix       numbers: input.to(torch.float64)
  more      python -m rnnkit explain input-numbers\
"""),
    ),
    "Double precision is refused with its usual source.": Case(
        call("nn.GRU(3, 4)(input)", input=filled(7, 5, 3, dtype=torch.float64)),
        Refused(DtypeError, "says", "input", code="input-dtype"),
        fix=("input.to(torch.float32)", fix("model.to(torch.float64)", model=rnnkit.GRU(3, 4))),
    ),
    "Half precision is refused with its usual source.": Case(
        call("nn.LSTM(3, 4)(input)", input=filled(7, 5, 3, dtype=torch.bfloat16)),
        Refused(DtypeError, "says", "input"),
        fix="input.to(torch.float32)",
        message=snapshot("""\
RNN input dtype (torch.bfloat16) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.bfloat16)
  LSTM(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.bfloat16
  evidence  torch.bfloat16 is what autocast leaves; it is off here
  fix       input.to(torch.float32), or model.to(torch.bfloat16)
  more      python -m rnnkit explain input-dtype\
"""),
    ),
    "Single precision for a double model is refused with both dtypes.": Case(
        call("nn.RNN(3, 4, dtype=torch.float64)(input)", input=(7, 5, 3)),
        Refused(DtypeError, "says", "input", code="input-dtype"),
        fix="input.to(torch.float64)",
    ),
    "An input on another device is refused with both devices.": Case(
        call("nn.GRU(3, 4)(input)", input=filled(7, 5, 3).to("meta")),
        Refused(DeviceError, "says", "input", code="input-device"),
    ),
    "Weights on another device are told by the same words.": Case(
        call("nn.LSTM(3, 4, device='meta')(input)", input=(7, 5, 3)),
        Refused(DeviceError, "says", "input"),
        fix=fix("layer.to_empty(device='cpu')", where="@(input)", layer=LSTM(3, 4, device="meta")),
        message=snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at cpu and parameter tensor at meta
  LSTM(3, 4): input and weights are on different devices
  input     expected on meta    got cpu
  fix       layer.to_empty(device='cpu'), then load its weights
  more      python -m rnnkit explain input-device\
"""),
    ),
    "A state of another dtype is refused with the conversion.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=filled(1, 5, 4, dtype=torch.float64)),
        Refused(DtypeError, "mumbles", "hx", code="state-dtype"),
        fix="rnnkit.states.to(hx, torch.float32)",
    ),
    "Of an LSTM's pair the one of another dtype is named.": Case(
        call(
            "nn.LSTM(3, 4)(input, (h, c))",
            input=(7, 5, 3),
            h=(1, 5, 4),
            c=filled(1, 5, 4, dtype=torch.bfloat16),
        ),
        Refused(DtypeError, "mumbles", "hx"),
        fix="rnnkit.states.to(hx, torch.float32)",
        message=snapshot("""\
hx dtype (torch.bfloat16) does not match input dtype (torch.float32)
  LSTM(3, 4): state and input differ in dtype
  c         expected torch.float32    got torch.bfloat16
  fix       rnnkit.states.to(hx, torch.float32)
  more      python -m rnnkit explain state-dtype\
"""),
    ),
    "A state of whole numbers is refused.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 5, 3), hx=filled(1, 5, 4, dtype=torch.int64)),
        Refused(DtypeError, "mumbles", "hx", code="state-dtype"),
        fix="rnnkit.states.to(hx, torch.float32)",
    ),
    "A state on another device is refused with both devices.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=filled(1, 5, 4).to("meta")),
        Refused(DeviceError, "says", "hx"),
        message=snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  GRU(3, 4): state and input are on different devices
  hx        expected on cpu    got meta
  fix       hx=None or layer.initial_state(5): zeros; a tensor on meta has no numbers
  more      python -m rnnkit explain state-device\
"""),
    ),
    "Of an LSTM's pair the one on another device is named.": Case(
        call(
            "nn.LSTM(3, 4)(input, (h, c))",
            input=(7, 5, 3),
            h=filled(1, 5, 4).to("meta"),
            c=(1, 5, 4),
        ),
        Refused(DeviceError, "says", "hx", code="state-device"),
        fix=fix("(None, c)", into="hx"),
    ),
    "An input of another width is refused with both numbers.": Case(
        call("nn.LSTM(3, 4)(input)", input=(7, 5, 10)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 10), code="input-width"),
        fix=fix("LSTM(10, ...)", "4"),
    ),
    "An input twice as wide is refused as a bidirectional layer's output.": Case(
        call("nn.GRU(3, 4)(input)", input=(7, 5, 6)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 6)),
        fix=fix("GRU(6, ...)", "4"),
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 6
  GRU(3, 4): the input is 6 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 6)
  evidence  6 is twice 3: a bidirectional layer's output
  fix       GRU(6, ...), or an input with 3 features
  more      python -m rnnkit explain input-width\
"""),
    ),
    "Under vmap it is one input that is refused.": Case(
        call("torch.vmap(nn.GRU(3, 4))(input)", input=(2, 7, 5, 10)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 10), code="input-width"),
    ),
    "A convolution's (batch, feature, seq) is refused as another layout.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=(5, 3, 7)),
        Refused(LayoutError, "says", "input", (None, None, 3), (5, 3, 7)),
        fix="input.transpose(1, 2)",
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  GRU(3, 4, batch_first=True): the features are on axis 1
  input     expected (batch, seq, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.transpose(1, 2), if it is (batch, feature, seq)
  more      python -m rnnkit explain layout-features\
"""),
    ),
    "The same is told to a layer that reads seq first.": Case(
        call("nn.LSTM(3, 4)(input)", input=(5, 3, 7)),
        Refused(LayoutError, "says", "input", (None, None, 3), (5, 3, 7)),
        fix="input.permute(2, 0, 1)",
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  LSTM(3, 4): the features are on axis 1
  input     expected (seq, batch, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.permute(2, 0, 1), if it is (batch, feature, seq)
  more      python -m rnnkit explain layout-features\
"""),
    ),
    "Features on axis 0 are refused as another layout.": Case(
        call("nn.RNN(3, 4)(input)", input=(3, 7, 5)),
        Refused(LayoutError, "says", "input", (None, None, 3), (3, 7, 5), code="layout-features"),
        fix="input.movedim(0, -1)",
    ),
    "One sequence with its axes exchanged is refused as another layout.": Case(
        call("nn.RNN(3, 4)(input)", input=(3, 7)),
        Refused(LayoutError, "says", "input", (None, 3), (3, 7), code="layout-features"),
        fix="input.t()",
    ),
    "A batch of series of single numbers is refused with the axis it lacks.": Case(
        call("nn.RNN(1, 4, batch_first=True)(input)", input=(5, 7)),
        Refused(ShapeError, "says", "input", (None, 1), (5, 7), code="input-width"),
        fix="input.unsqueeze(-1)",
    ),
    "A single feature on axis 1 is refused with the exchange.": Case(
        call("nn.LSTM(1, 4, batch_first=True)(input)", input=(5, 1, 7)),
        Refused(ShapeError, "says", "input", (None, None, 1), (5, 1, 7), code="input-width"),
        fix="input.transpose(1, 2)",
    ),
    "A batch of empty sequences is refused.": Case(
        "nn.GRU(3, 4)(filled(0, 5, 3))",
        Refused(ShapeError, "says", "input", (None, None, 3), (0, 5, 3), code="input-empty"),
        has="\n  fix       leave empty sequences out, or pad to one step\n",
    ),
    "A batch of empty sequences is refused by a batch-first layer.": Case(
        "nn.LSTM(3, 4, batch_first=True)(filled(5, 0, 3))",
        Refused(ShapeError, "says", "input", (None, None, 3), (5, 0, 3)),
        message=snapshot("""\
Expected sequence length to be larger than 0 in RNN
  LSTM(3, 4, batch_first=True): the input has no steps
  input     expected (batch, seq, input_size=3)    got (5, 0, 3)
  fix       leave empty sequences out, or pad to one step
  more      python -m rnnkit explain input-empty\
"""),
    ),
    "An empty sequence without a batch is refused.": Case(
        "nn.RNN(3, 4)(filled(0, 3))",
        Refused(ShapeError, "says", "input", (None, 3), (0, 3), code="input-empty"),
        has="\n  fix       leave empty sequences out, or pad to one step\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_result_of_a_layer() -> None:
    """The pair that nn.Sequential passes on is refused with the part that is meant."""
    x = filled(7, 5, 3)

    error = refusal(
        rnnkit.ArgumentError, "mumbles", lambda nn: nn.Sequential(nn.LSTM(3, 4), nn.GRU(4, 6))(x)
    )
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a tuple
  GRU(4, 6)
  input     expected a Tensor or a PackedSequence    got a tuple
  fix       input[0]: a recurrent layer returns (output, state), nn.Sequential passes both
  more      python -m rnnkit explain input-type\
""")
    rnnkit.GRU(4, 6)(fixed(error, "input[0]", input=rnnkit.LSTM(3, 4)(x)))
