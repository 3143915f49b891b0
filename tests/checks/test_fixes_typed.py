"""What a message says to type is typed, and the program then runs; nothing that it says does harm."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

from rnnkit import GRU, DtypeError, LSTMState, RnnkitError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, fixed, table

CASES = {
    "Beams that are forgotten: the state is repeated, not thrown away.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(12, 3), state=(1, 3, 4)),
        Refused(StateError, "lacks", "state", (1, 12, 4), (1, 3, 4), code="beams-forgotten"),
        fix="rnnkit.states.repeat(state, 4)",
        message=snapshot("""\
Expected hidden size (1, 12, 4), got [1, 3, 4]
  GRU(3, 4): state is for a batch of 3, x_t has 12
  x_t       expected (batch, input_size=3)    got (12, 3)
  state     expected (num_layers=1, batch=12, hidden_size=4)    got (1, 3, 4)
  evidence  12 = 4 * 3: 4 beams for each of 3 samples?
  fix       rnnkit.states.repeat(state, 4), if so
            state=None or layer.initial_state(12): zeros, if the sequences are new
  more      python -m rnnkit explain beams-forgotten\
"""),
    ),
    "Beams of a cell's pair.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(6, 3), h=(2, 4), c=(2, 4)),
        Refused(StateError, "says", code="beams-forgotten"),
        fix="rnnkit.states.repeat(hx, 3)",
    ),
    "Beams of batch-first states.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 6, 3), hx=(2, 1, 4)),
        Refused(StateError, "lacks", code="beams-forgotten"),
        fix="rnnkit.states.repeat(hx, 3, state_batch_first=True)",
    ),
    "If c alone is short, the pair is not repeated, and h is kept.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 6, 3), h=(1, 6, 4), c=(1, 2, 4)),
        Refused(StateError, "says", code="beams-forgotten"),
        fix=fix("(h, None)", into="hx"),
    ),
    "A state that every sample starts from is expanded.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, c))", input=(7, 5, 3), h=(2, 1, 4), c=(2, 1, 4)),
        Refused(StateError, "says", code="state-one-sample"),
        fix="rnnkit.states.expand(hx, 5)",
    ),
    "A layer's state given to a Recurrent of its cells is taken apart.": Case(
        call("rnnkit.Recurrent(nn.GRU(3, 4, 2).cells())(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "lacks", "hx", code="recurrent-state"),
        fix="rnnkit.states.to_layers(hx)",
        message=snapshot("""\
hx must be a tuple of 2 states, got a Tensor of shape (2, 5, 4)
  Recurrent carries one state for each cell; this is a layer's state, all in one
  hx        expected layer by layer, starting with the forward direction    got a Tensor of shape (2, 5, 4)
  fix       rnnkit.states.to_layers(hx)
  more      python -m rnnkit explain recurrent-state\
"""),
    ),
    "An LSTM's state given to a Recurrent of its two cells is taken apart.": Case(
        call(
            "rnnkit.Recurrent(nn.LSTM(3, 4, 2).cells())(input, hx)",
            input=(7, 5, 3),
            hx=LSTMState(filled(2, 5, 4), filled(2, 5, 4)),
        ),
        Refused(StateError, "lacks", "hx", code="recurrent-state"),
        fix="rnnkit.states.to_layers(hx)",
    ),
    "An output given as the state is told from a state.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(7, 5, 4)),
        Refused(StateError, "says", code="state-is-output"),
        fix=fix("output, hx = ...", "layer(input)", into="hx", layer=torch.nn.GRU(3, 4)),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [7, 5, 4]
  GRU(3, 4): hx looks like an output, not like a state
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (7, 5, 4)
  evidence  hx has seq 7 and batch 5, as the input
  fix       output, hx = ...: a layer returns its output first, its state second
  more      python -m rnnkit explain state-is-output\
"""),
    ),
    "The output of a bidirectional layer in the state's place, batch-first.": Case(
        call(
            "nn.RNN(3, 4, batch_first=True, bidirectional=True)(input, hx)",
            input=(5, 7, 3),
            hx=(5, 7, 8),
        ),
        Refused(StateError, "says", code="state-is-output"),
    ),
    "An LSTM's output in the place of its pair.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(7, 5, 4)),
        Refused(StateError, "mumbles", code="state-structure"),
        fix=fix("output, hx = ...", "layer(input)", into="hx", layer=torch.nn.LSTM(3, 4)),
    ),
    "An encoder's output in a decoder that takes one step.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(1, 5, 3), hx=(7, 5, 4)),
        Refused(StateError, "says", code="state-layers"),
        fix=fix("output, hx = ...", "layer(input)", into="hx", layer=torch.nn.GRU(3, 4)),
    ),
    "A bidirectional encoder's state: its directions are added, or the decoder is twice as wide.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", code="state-bidirectional"),
        fix=(
            'rnnkit.states.bridge(hx, "sum")',
            "hx[-1:]",
            fix("GRU(..., hidden_size=8)", "input_size=3", hx=filled(1, 5, 8)),
        ),
    ),
    "Lengths in the state's place are given by name.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 2, 3), hx=torch.tensor([7, 5])),
        Refused(StateError, "mumbles", code="lengths-as-state"),
        message=snapshot("""\
hx must be a state, got a Tensor of shape (2,)
  GRU(3, 4): the second argument is the state, and it holds integers, as lengths are
  input     expected (seq, batch, input_size=3)    got (7, 2, 3)
  fix       layer(input, lengths=hx): lengths are given by name
  more      python -m rnnkit explain lengths-as-state\
"""),
    ),
    "Four axes, seq-first: which are samples, and which are features?": Case(
        call("nn.GRU(6, 4)(input)", input=(7, 5, 2, 6)),
        Refused(ShapeError, "says", code="input-rank"),
        fix="input.flatten(1, 2)",
        message=snapshot("""\
GRU: Expected input to be 2D or 3D, got 4D instead
  GRU(6, 4): the input has 4 axes
  input     expected (seq, batch, input_size=6)    got (7, 5, 2, 6)
  fix       input.flatten(1, 2), if axes 1 and 2 are both samples
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Four axes, batch-first.": Case(
        call("nn.LSTM(6, 4, batch_first=True)(input)", input=(5, 2, 7, 6)),
        Refused(ShapeError, "says", code="input-rank"),
        fix="input.flatten(0, 1)",
        message=snapshot("""\
LSTM: Expected input to be 2D or 3D, got 4D instead
  LSTM(6, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=6)    got (5, 2, 7, 6)
  fix       input.flatten(0, 1), if axes 0 and 1 are both samples
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Four axes whose last two are the features.": Case(
        call("nn.GRU(6, 4)(input)", input=(7, 5, 2, 3)),
        Refused(ShapeError, "says", code="input-rank"),
        fix="input.flatten(2)",
    ),
    "Five axes, of which the last three are the features.": Case(
        call("nn.GRU(12, 4)(input)", input=(7, 5, 2, 3, 2)),
        Refused(ShapeError, "says", code="input-rank"),
        fix="input.flatten(2)",
    ),
    "Five axes that fit nowhere.": Case(
        call("nn.GRU(11, 4)(input)", input=(7, 5, 2, 3, 2)),
        Refused(ShapeError, "says", code="input-rank"),
        has="GRU(12, ...) and input.flatten(2)",
    ),
    "Four axes that fit nowhere.": Case(
        call("nn.GRU(5, 4)(input)", input=(7, 5, 2, 3)),
        Refused(ShapeError, "says", code="input-rank"),
        fix=fix("GRU(6, ...)", "4", input=filled(7, 5, 6)),
    ),
    "A batch-first pair is exchanged as a whole.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, c))", input=(7, 5, 3), h=(5, 2, 4), c=(5, 2, 4)),
        Refused(StateError, "says", code="state-transposed"),
        fix="rnnkit.states.from_batch_first(hx)",
    ),
    "If h alone is batch-first, the pair is made of what fits.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, c))", input=(7, 5, 3), h=(5, 2, 4), c=(2, 5, 4)),
        Refused(StateError, "says", code="state-transposed"),
        fix=fix("(rnnkit.states.from_batch_first(h), c)", into="hx"),
        message=snapshot("""\
Expected hidden[0] size (2, 5, 4), got [5, 2, 4]
  LSTM(3, 4, num_layers=2): h has the batch on axis 0, a state has the layers on axis 0
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (5, 2, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 4)
  evidence  h with axes 0 and 1 exchanged fits
  fix       (rnnkit.states.from_batch_first(h), c)
  more      python -m rnnkit explain state-transposed\
"""),
    ),
    "A pair in another dtype is brought to the input's as a whole.": Case(
        call(
            "nn.LSTM(3, 4)(input, (h, h))",
            input=(7, 5, 3),
            h=filled(1, 5, 4, dtype=torch.float64),
        ),
        Refused(DtypeError, "mumbles", code="state-dtype"),
        fix="rnnkit.states.to(hx, torch.float32)",
    ),
}


@table(CASES)
def test_typed(case: Case) -> None:
    """The call is refused; what the message says to type is typed, and the call is then right."""
    case.check()


def test_lengths_by_name() -> None:
    """The call that is told for lengths in the state's place is a right call."""
    layer, input, lengths = GRU(3, 4), filled(7, 2, 3), torch.tensor([7, 5])
    with pytest.raises(StateError) as caught:
        layer(input, lengths)

    output, _ = fixed(
        caught.value, "layer(input, lengths=hx)", layer=layer, input=input, hx=lengths
    )

    assert not output[5:, 1].any()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.parametrize(
    ("name", "call"), [("input", GRU.__call__), ("x_t", GRU.step)], ids=["call", "step"]
)
def test_a_nested_input_is_padded(
    layout: torch.layout, name: str, call: Callable[..., Any]
) -> None:
    """Nested tensors have no recurrent kernels: they are padded, and their lengths given."""
    nested = torch.nested.nested_tensor([filled(7, 3), filled(5, 3)], layout=layout)
    gru = GRU(3, 4, batch_first=True)
    with pytest.raises(RnnkitError) as caught:
        call(gru, nested)

    padded = fixed(caught.value, f"{name}.to_padded_tensor(0.0)", **{name: nested})

    assert caught.value.code == "input-layout"
    assert gru(padded, lengths=[7, 5])[0].shape == (2, 7, 4)
