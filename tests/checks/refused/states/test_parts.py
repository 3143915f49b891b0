"""A state made of lists, of numbers or of tensors: what it holds is kept."""

import numpy as np

import rnnkit
from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, packed, table

LISTS = [[[7.0] * 4] * 5]
ROW = filled(5, 4)

CASES = {
    "Nested lists of numbers.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=LISTS),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix=fix("torch.as_tensor(hx).to(input)", into="hx"),
        lacks="from_layers",
    ),
    "A pair of them, beside packed input.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=packed(7, 7, 7, 7, 6), hx=(LISTS, LISTS)),
        Refused(StateError, "unsafe", "hx", code="state-structure"),
        fix=fix(
            "(torch.as_tensor(hx[0]).to(input.data), torch.as_tensor(hx[1]).to(input.data))",
            into="hx",
        ),
    ),
    "Numbers of one sample.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=[7.0] * 4),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix=fix("torch.as_tensor(hx).to(input)", into="hx"),
    ),
    "h and a list of numbers.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4), LISTS)),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix=fix("(hx[0], torch.as_tensor(hx[1]).to(input))", into="hx"),
        lacks="result",
    ),
    "h, and a list that holds c.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4), [filled(1, 5, 4)])),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="(hx[0], hx[1][0])",
    ),
    "h, and a list that holds nothing.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4), [None])),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="(hx[0], None)",
        has=", which starts c from zeros\n",
    ),
    "An array of c.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(None, np.zeros((1, 5, 4)))),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix=fix("torch.as_tensor(hx[1]).to(input)", where="nn.LSTM(3, 4)(input, (hx[0], @))"),
    ),
    "c alone is known.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=([], filled(1, 5, 4))),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="(None, hx[1])",
        has=", which starts h from zeros\n",
    ),
    "h and c layer by layer.": Case(
        call("nn.LSTM(3, 4, 3)(input, hx)", input=(7, 5, 3), hx=([ROW] * 3, [ROW] * 3)),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="(torch.stack(hx[0]), torch.stack(hx[1]))",
    ),
    "A unit for each layer, of batch-first states.": Case(
        call(
            "nn.GRU(3, 4, 2, state_batch_first=True)(input, hx)",
            input=(7, 2, 3),
            hx=[filled(2, 4)] * 2,
        ),
        Refused(StateError, "lacks", "hx", code="state-structure"),
        fix="torch.stack(hx, 1)",
    ),
    "Rows of each layer, of batch-first states.": Case(
        call(
            "nn.GRU(3, 4, 2, state_batch_first=True)(input, hx)",
            input=(7, 5, 3),
            hx=[filled(5, 1, 4)] * 2,
        ),
        Refused(StateError, "lacks", "hx", code="state-structure"),
        fix="torch.cat(hx, 1)",
    ),
    "Pairs layer by layer.": Case(
        call("nn.LSTM(3, 4, 3)(input, hx)", input=(7, 5, 3), hx=[(ROW, ROW)] * 3),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="rnnkit.states.from_layers(hx)",
    ),
    "Pairs of one sequence.": Case(
        call("nn.LSTM(3, 4, 3)(input, hx)", input=(7, 3), hx=[(filled(4), filled(4))] * 3),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="rnnkit.states.from_layers(hx)",
    ),
    "Too few pairs.": Case(
        call("nn.LSTM(3, 4, 3)(input, hx)", input=(7, 5, 3), hx=[(ROW, ROW)] * 2),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        lacks="from_layers",
    ),
    "Pairs of another batch.": Case(
        call("nn.LSTM(3, 4, 3)(input, hx)", input=(7, 5, 3), hx=[(filled(2, 4),) * 2] * 3),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        lacks="from_layers",
    ),
    "What an LSTM returned, given to a GRU.": Case(
        call(
            "nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(7, 5, 4), (filled(1, 5, 4),) * 2)
        ),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        fix="hx[1][0]",
    ),
    "Of a Recurrent the cell's state is written as the caller has it.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent(rnnkit.LSTMCell(3, 4)),
            input=(7, 5, 3),
            hx=((ROW, LISTS[0]),),
        ),
        Refused(StateError, "lacks", "hx", code="state-structure"),
        fix=fix("(hx[0][0], torch.as_tensor(hx[0][1]).to(input))", where="layer(input, (@,))"),
        has=", as hx[0]\n",
    ),
    "Numbers of other sizes are no state.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=([[1.0], [2.0, 3.0]], [[1.0]])),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        has="  fix       hx=None for zeros\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs."""
    case.check()
