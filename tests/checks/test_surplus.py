"""Arguments that a call does not have: what is said in place of Python's bare TypeError."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, call, filled, fix, fixed, table

NAME = "arguments-of-a-call"

CASES = {
    "h and c as two arguments are one pair.": Case(
        call("nn.LSTM(3, 4)(input, h, c)", input=(7, 5, 3), h=(1, 5, 4), c=(1, 5, 4)),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix("layer(input, (h, c))", where="@", layer=rnnkit.LSTM(3, 4)),
        message=snapshot("""\
LSTM.forward() takes from 2 to 3 positional arguments but 4 were given
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       layer(input, (h, c)), the pair as one argument
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "Of a cell too.": Case(
        call("nn.LSTMCell(3, 4)(input, h, c)", input=(5, 3), h=(5, 4), c=(5, 4)),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix("cell(input, (h, c))", where="@", cell=rnnkit.LSTMCell(3, 4)),
        message=snapshot("""\
LSTMCell.forward() takes from 2 to 3 positional arguments but 4 were given
  LSTMCell(3, 4) takes input, hx
  fix       cell(input, (h, c)), the pair as one argument
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A third argument of a layer with one tensor.": Case(
        call("nn.GRU(3, 4)(input, hx, hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix("layer(input, hx)", where="@", layer=rnnkit.GRU(3, 4)),
        message=snapshot("""\
GRU.forward() takes from 2 to 3 positional arguments but 4 were given
  GRU(3, 4) takes input, hx, lengths, reset
  fix       layer(input, hx), and nothing after it
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "Lengths by position.": Case(
        call("nn.GRU(3, 4)(input, None, [7, 5])", input=(7, 2, 3)),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix(
            "layer(input, hx, lengths=lengths)",
            where="@",
            layer=rnnkit.GRU(3, 4),
            hx=None,
            lengths=[7, 5],
        ),
        message=snapshot("""\
GRU.forward() takes from 2 to 3 positional arguments but 4 were given
  GRU(3, 4) takes input, hx, lengths, reset
  fix       layer(input, hx, lengths=lengths): lengths are given by name
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A state by the name that papers give it.": Case(
        call("nn.GRU(3, 4)(input, h0=hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(ArgumentError, "says", "h0", code=NAME),
        fix=fix("hx=h0", where="nn.GRU(3, 4)(input, @)", h0=(1, 5, 4)),
        message=snapshot("""\
GRU.forward() got an unexpected keyword argument 'h0'
  GRU(3, 4) takes input, hx, lengths, reset
  fix       hx=h0
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A state by another library's name.": Case(
        call("nn.LSTM(3, 4)(input, state=(h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(ArgumentError, "says", "state", code=NAME),
        fix=fix("hx=state", where="nn.LSTM(3, 4)(input, @)", state=[filled(1, 5, 4)] * 2),
        message=snapshot("""\
LSTM.forward() got an unexpected keyword argument 'state'
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       hx=state
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "c by its name.": Case(
        call("nn.LSTM(3, 4)(input, h, c0=h)", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(ArgumentError, "says", "c0", code=NAME),
        fix=fix("hx=(h, c0)", where="nn.LSTM(3, 4)(input, @)", c0=(1, 5, 4)),
        message=snapshot("""\
LSTM.forward() got an unexpected keyword argument 'c0'
  LSTM(3, 4) takes input, hx, lengths, reset
  fix       hx=(h, c0), the pair as one argument
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A third argument of a Recurrent.": Case(
        call(
            "layer(input, hx, hx)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
            hx=(filled(5, 4),) * 1,
        ),
        Refused(ArgumentError, "lacks", "hx", code=NAME),
        fix=fix("layer(input, hx)", where="@"),
        message=snapshot("""\
Recurrent.forward() takes from 2 to 3 positional arguments but 4 were given
  Recurrent() takes input, hx, lengths, reset
  fix       layer(input, hx), a tuple of one state for each cell, and nothing after it
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "Lengths of a Recurrent by position.": Case(
        call(
            "layer(input, None, [7] * 5)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
        ),
        Refused(ArgumentError, "lacks", "hx", code=NAME),
        fix=fix("layer(input, hx, lengths=lengths)", where="@", hx=None, lengths=[7] * 5),
    ),
    "A mask of a Recurrent.": Case(
        call(
            "layer(input, mask=mask)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
            mask=torch.ones(7, 5),
        ),
        Refused(ArgumentError, "lacks", "mask", code=NAME),
        fix=fix("lengths=mask.sum(0).long()", where="layer(input, @)"),
    ),
    "Three arguments of a projected cell.": Case(
        call(
            "cell(input, h, c)",
            cell=rnnkit.LSTM(3, 4, proj_size=2).cells()[0],
            input=(5, 3),
            h=(5, 2),
            c=(5, 4),
        ),
        Refused(ArgumentError, "lacks", "hx", code=NAME),
        fix=fix("cell(input, (h, c))", where="@"),
    ),
    "The state of a projected cell by another name.": Case(
        call(
            "cell(input, state=(h, c))",
            cell=rnnkit.LSTM(3, 4, proj_size=2).cells()[0],
            input=(5, 3),
            h=(5, 2),
            c=(5, 4),
        ),
        Refused(ArgumentError, "lacks", "state", code=NAME),
        fix=fix("hx=state", where="cell(input, @)", state=(filled(5, 2), filled(5, 4))),
    ),
    "A mask of booleans is counted.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, mask=mask)",
            input=(5, 7, 3),
            mask=torch.ones(5, 7, dtype=torch.bool),
        ),
        Refused(ArgumentError, "says", "mask", code=NAME),
        fix=fix("lengths=mask.sum(1)", where="nn.GRU(3, 4, batch_first=True)(input, @)"),
        message=snapshot("""\
GRU.forward() got an unexpected keyword argument 'mask'
  GRU(3, 4, batch_first=True) takes input, hx, lengths, reset
  fix       lengths=mask.sum(1), if the mask is true on valid steps
            reset=mask, if it is true where a sample starts again
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A mask of floats is counted.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, mask=mask)",
            input=(5, 7, 3),
            mask=torch.ones(5, 7),
        ),
        Refused(ArgumentError, "says", "mask", code=NAME),
        fix=fix("lengths=mask.sum(1).long()", where="nn.GRU(3, 4, batch_first=True)(input, @)"),
    ),
    "A cell has no steps to mask.": Case(
        call("nn.GRUCell(3, 4)(input, mask=mask)", input=(5, 3), mask=(5,)),
        Refused(ArgumentError, "says", "mask", code=NAME),
        ends="""
  fix       leave the mask out: a cell takes one step
            rnnkit.states.reset(hx, mask) as hx, if it is true for samples that start again
  more      python -m rnnkit explain arguments-of-a-call\
""",
    ),
    "The input by another name.": Case(
        call("nn.GRU(3, 4)(inputs=input)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "inputs", code=NAME),
        fix=fix("input=inputs", where="nn.GRU(3, 4)(@)", inputs=(7, 5, 3)),
        has="fix       input=inputs",
    ),
    "A slip of the pen.": Case(
        call("nn.GRU(3, 4)(input, lenghts=[7] * 5)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "lenghts", code=NAME),
        fix=fix("lengths=lenghts", where="nn.GRU(3, 4)(input, @)", lenghts=[7] * 5),
        has="fix       lengths=lenghts",
    ),
    "A slip of the pen with a number.": Case(
        call("nn.GRU(3, 4)(input, lenths=7)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "lenths", code=NAME),
        has="fix       lengths=7",
    ),
    "A name that says nothing.": Case(
        call("rnnkit.Recurrent(GRUCell(3, 4))(input, qqq=1)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "qqq", code=NAME),
        has="fix       leave qqq out",
    ),
    "initial_state without a batch.": Case(
        "nn.GRU(3, 4).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size", code="batch-size", annotated=True),
        fix=(
            fix("initial_state(5)", where="nn.GRU(3, 4).@"),
            fix("initial_state(None)", where="nn.GRU(3, 4).@"),
        ),
        message=snapshot("""\
GRU.initial_state() missing 1 required argument: 'batch_size'
  fix       initial_state(5) of five samples, initial_state(None) without a batch axis
  more      python -m rnnkit explain batch-size\
"""),
    ),
    "initial_state of a cell without a batch.": Case(
        "nn.LSTMCell(3, 4).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size", code="batch-size", annotated=True),
        fix=(
            fix("initial_state(5)", where="nn.LSTMCell(3, 4).@"),
            fix("initial_state(None)", where="nn.LSTMCell(3, 4).@"),
        ),
    ),
    "initial_state of a Recurrent without a batch.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4)).initial_state()",
        Refused(ArgumentError, "lacks", "batch_size", code="batch-size", annotated=True),
        fix=fix("initial_state(5)", where="rnnkit.Recurrent(GRUCell(3, 4)).@"),
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
