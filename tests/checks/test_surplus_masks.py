"""Masks that a call gets by position, or by a name that it does not have."""

from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

NAME = "arguments-of-a-call"

CASES = {
    "A mask by position may be one of resets.": Case(
        call("nn.GRU(3, 4)(input, hx, mask)", input=(7, 5, 3), hx=(1, 5, 4), mask=filled(7, 5) > 0),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=(
            fix("reset=mask", where="nn.GRU(3, 4)(input, hx, @)"),
            fix("lengths=mask.sum(0)", where="nn.GRU(3, 4)(input, hx, @)"),
        ),
        message=snapshot("""\
GRU.forward() takes from 2 to 3 positional arguments but 4 were given
  GRU(3, 4) takes input, hx, lengths, reset
  fix       reset=mask, if it is true where a sample starts again
            lengths=mask.sum(0), if the mask is true on valid steps
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A mask by position, of an LSTM, is no c.": Case(
        call("nn.LSTM(3, 4)(input, None, mask)", input=(7, 5, 3), mask=filled(7, 5) > 0),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix("reset=mask", where="nn.LSTM(3, 4)(input, @)"),
        lacks="the pair",
    ),
    "A mask of numbers by position, in lists.": Case(
        call("nn.GRU(3, 4)(input, None, mask)", input=(7, 5, 3), mask=[[1.0] * 5] * 7),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=(
            fix("reset=mask", where="nn.GRU(3, 4)(input, @)"),
            fix("lengths=torch.as_tensor(mask).sum(0).long()", where="nn.GRU(3, 4)(input, @)"),
        ),
    ),
    "Lengths and a mask by position.": Case(
        call(
            "nn.GRU(3, 4)(input, None, lengths, reset)",
            input=(7, 5, 3),
            lengths=[7] * 5,
            reset=filled(7, 5) > 0,
        ),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix(
            "layer(input, hx, lengths=lengths, reset=reset)",
            where="@",
            layer=rnnkit.GRU(3, 4),
            hx=None,
        ),
    ),
    "One flag for each sample, or for each step of one sequence.": Case(
        call("nn.GRU(3, 4)(input, hx, mask)", input=(7, 5, 3), hx=(1, 5, 4), mask=filled(5) > 0),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=(
            fix("reset=mask", where="nn.GRU(3, 4)(filled(5, 3), @)"),
            fix("rnnkit.states.reset(hx, mask)", into="hx", where="nn.GRU(3, 4)(input, @)"),
        ),
    ),
    "A mask of a cell by position.": Case(
        call(
            "nn.LSTMCell(3, 4)(input, hx, mask)",
            input=(5, 3),
            hx=(filled(5, 4),) * 2,
            mask=filled(5) > 0,
        ),
        Refused(ArgumentError, "says", "hx", code=NAME),
        fix=fix("rnnkit.states.reset(hx, mask)", where="nn.LSTMCell(3, 4)(input, @)"),
    ),
    "Resets by a name of the caller's.": Case(
        call("nn.GRU(3, 4)(input, starts=starts)", input=(7, 5, 3), starts=filled(7, 5) > 0),
        Refused(ArgumentError, "says", "starts", code=NAME),
        fix=fix("reset=starts", where="nn.GRU(3, 4)(input, @)"),
        has=", if it is true where a sample starts again\n",
    ),
    "A mask of resets.": Case(
        call("nn.GRU(3, 4)(input, done_mask=dones)", input=(7, 5, 3), dones=filled(7, 5) > 0),
        Refused(ArgumentError, "says", "done_mask", code=NAME),
        fix=fix("reset=done_mask", where="nn.GRU(3, 4)(input, @)", done_mask=filled(7, 5) > 0),
        lacks="lengths=",
    ),
    "Resets of a cell.": Case(
        call(
            "nn.GRUCell(3, 4)(input, hx, dones=dones)", input=(5, 3), hx=(5, 4), dones=filled(5) > 0
        ),
        Refused(ArgumentError, "says", "dones", code=NAME),
        fix=fix("rnnkit.states.reset(hx, dones)", where="nn.GRUCell(3, 4)(input, @)"),
    ),
    "A first state is no mask.": Case(
        call("nn.GRU(3, 4)(input, start_state=hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(ArgumentError, "says", "start_state", code=NAME),
        lacks="reset=",
    ),
    "A mask that is None is left out.": Case(
        call("nn.GRU(3, 4)(input, mask=None)", input=(7, 5, 3)),
        Refused(ArgumentError, "says", "mask", code=NAME),
        has="  fix       leave mask out\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs."""
    case.check()
