"""Arguments that a call does not have: what is said in place of Python's bare TypeError."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, call, filled, fixed, table

NAME = "arguments-of-a-call"

CASES = {
    "h and c as two arguments are one pair.": Case(
        call("nn.LSTM(3, 4)(input, h, c)", input=(7, 5, 3), h=(1, 5, 4), c=(1, 5, 4)),
        Refused(ArgumentError, "says", "hx"),
        code=NAME,
        message=snapshot("""\
LSTM.forward() takes from 2 to 3 positional arguments but 4 were given
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       layer(input, (h, c)), the pair as one argument
            where layer is this module
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "Of a cell too.": Case(
        call("nn.LSTMCell(3, 4)(input, h, c)", input=(5, 3), h=(5, 4), c=(5, 4)),
        Refused(ArgumentError, "says", "hx"),
        code=NAME,
        message=snapshot("""\
LSTMCell.forward() takes from 2 to 3 positional arguments but 4 were given
  LSTMCell(3, 4) takes input, hx
  fix       cell(input, (h, c)), the pair as one argument
            where cell is this module
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "A third argument of a layer with one tensor.": Case(
        call("nn.GRU(3, 4)(input, hx, hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(ArgumentError, "says", "hx"),
        code=NAME,
        message=snapshot("""\
GRU.forward() takes from 2 to 3 positional arguments but 4 were given
  GRU(3, 4) takes input, hx, lengths, reset
  fix       layer(input, hx), and nothing after it
            where hx is your state and layer is this module
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "Lengths by position.": Case(
        call("nn.GRU(3, 4)(input, None, [7, 5])", input=(7, 2, 3)),
        Refused(ArgumentError, "says", "hx"),
        code=NAME,
        message=snapshot("""\
GRU.forward() takes from 2 to 3 positional arguments but 4 were given
  GRU(3, 4) takes input, hx, lengths, reset
  fix       layer(input, hx, lengths=lengths): lengths are given by name
            where hx is your state and layer is this module
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "A state by the name that papers give it.": Case(
        call("nn.GRU(3, 4)(input, h0=hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(ArgumentError, "says", "h0"),
        code=NAME,
        message=snapshot("""\
GRU.forward() got an unexpected keyword argument 'h0'
  GRU(3, 4) takes input, hx, lengths, reset
  fix       hx=h0
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "A state by another library's name.": Case(
        call("nn.LSTM(3, 4)(input, state=(h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(ArgumentError, "says", "state"),
        code=NAME,
        message=snapshot("""\
LSTM.forward() got an unexpected keyword argument 'state'
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       hx=state
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "c by its name.": Case(
        call("nn.LSTM(3, 4)(input, h, c0=h)", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(ArgumentError, "says", "c0"),
        code=NAME,
        message=snapshot("""\
LSTM.forward() got an unexpected keyword argument 'c0'
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       hx=(h, c0), the pair as one argument
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "A mask is counted.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, mask=mask)",
            input=(5, 7, 3),
            mask=torch.ones(5, 7),
        ),
        Refused(ArgumentError, "says", "mask"),
        code=NAME,
        message=snapshot("""\
GRU.forward() got an unexpected keyword argument 'mask'
  GRU(3, 4, batch_first=True) takes input, hx, lengths, reset
  fix       lengths=mask.sum(1), if the mask is true on valid steps
  more      arguments-of-a-call, in the docs under "Errors"\
"""),
    ),
    "A cell has no steps to mask.": Case(
        call("nn.GRUCell(3, 4)(input, mask=mask)", input=(5, 3), mask=(5,)),
        Refused(ArgumentError, "says", "mask"),
        code=NAME,
        has="leave the mask out: a cell takes one step",
    ),
    "The input by another name.": Case(
        call("nn.GRU(3, 4)(inputs=input)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "inputs"),
        code=NAME,
        has="fix       input=inputs",
    ),
    "A slip of the pen.": Case(
        call("nn.GRU(3, 4)(input, lenghts=[7] * 5)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "lenghts"),
        code=NAME,
        has="fix       lengths=lenghts",
    ),
    "A slip of the pen with a number.": Case(
        call("nn.GRU(3, 4)(input, lenths=7)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "lenths"),
        code=NAME,
        has="fix       lengths=7",
    ),
    "A name that says nothing.": Case(
        call("rnnkit.Recurrent(GRUCell(3, 4))(input, qqq=1)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "qqq"),
        code=NAME,
        has="fix       leave qqq out",
    ),
    "initial_state without a batch.": Case(
        "nn.GRU(3, 4).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size"),
        code="batch-size",
        message=snapshot("""\
GRU.initial_state() missing 1 required argument: 'batch_size'
  fix       initial_state(5) of five samples, initial_state(None) without a batch axis
  more      batch-size, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "initial_state of a cell without a batch.": Case(
        "nn.LSTMCell(3, 4).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size"),
        code="batch-size",
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "initial_state of a Recurrent without a batch.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4)).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size"),
        code="batch-size",
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "Another library's name for the width.": Case(
        "nn.GRU(3, units=4)",
        Refused(ArgumentError, "mumbles", "units"),
        code="option-unknown",
        has="fix       hidden_size=4",
    ),
    "Another library's option of the output.": Case(
        "nn.LSTM(3, 4, return_sequences=True)",
        Refused(ArgumentError, "mumbles", "return_sequences"),
        code="option-unknown",
        message=snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'return_sequences'
  LSTM(3, 4, return_sequences=True)
  fix       leave it out: output, state = layer(input) returns every step
            where layer is this module
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
    "Another library's word for the layout is its opposite.": Case(
        "nn.LSTM(3, 4, time_major=True)",
        Refused(ArgumentError, "mumbles", "time_major"),
        code="option-unknown",
        has="fix       batch_first=False",
    ),
    "Another library's activation, of a layer that has none.": Case(
        "nn.LSTM(3, 4, activation='tanh')",
        Refused(ArgumentError, "mumbles", "activation"),
        code="option-unknown",
    ),
    "Another library's activation, of a layer that has the option.": Case(
        "nn.RNN(3, 4, activation='relu')",
        Refused(ArgumentError, "mumbles", "activation"),
        code="option-unknown",
        has="fix       nonlinearity='relu'",
    ),
    "A Recurrent in two directions has cells for both.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), bidirectional=True)",
        Refused(ArgumentError, "lacks", "bidirectional"),
        code="option-unknown",
        message=snapshot("""\
Recurrent.__init__() got an unexpected keyword argument 'bidirectional'
  Recurrent(a GRUCell, bidirectional=True)
  fix       reverse_cells=[...], the cell of each layer's backward direction
  more      option-unknown, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """The argument is named, and the one that the call has for it."""
    case.check()


def test_the_calls_that_are_told_run() -> None:
    """What a message says to type is a right call."""
    lstm, input, h = rnnkit.LSTM(3, 4), filled(7, 5, 3), filled(1, 5, 4)
    with pytest.raises(ArgumentError) as pair:
        lstm(input, h, h)
    with pytest.raises(ArgumentError) as lengths:
        lstm(input, None, [7] * 5)

    assert fixed(pair.value, "layer(input, (h, c))", layer=lstm, input=input, h=h, c=h)
    names = {"layer": lstm, "input": input, "hx": None, "lengths": [7] * 5}
    assert fixed(lengths.value, "layer(input, hx, lengths=lengths)", **names)


def test_surplus_arguments_that_are_all_none_pass() -> None:
    """An exporter passes every parameter of a forward by its position."""
    gru, cell, input = rnnkit.GRU(3, 4), rnnkit.GRUCell(3, 4), filled(5, 3)

    assert torch.equal(gru(input, None, None, None)[0], gru(input)[0])
    assert torch.equal(cell(input, None, None), cell(input))
