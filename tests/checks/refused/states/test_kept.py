"""What is right in a state is kept: the other tensor of a pair, and the states of other cells."""

import torch

import rnnkit
from rnnkit import DeviceError, LSTMState, StateError
from tests.checks.refusals import Case, Refused, Sums, Torch, call, filled, fix, packed, table

#: A state of the wrong size is told from one of the right size, whatever runs the LSTM.
LSTMS = {
    "a layer": ("nn.LSTM(3, 4)", (7, 5, 3), (1, 5, 4), (3, 5, 4)),
    "a batch-first layer": ("nn.LSTM(3, 4, batch_first=True)", (5, 7, 3), (1, 5, 4), (1, 5, 6)),
    "batch-first states": (
        "nn.LSTM(3, 4, state_batch_first=True)",
        (7, 5, 3),
        (5, 1, 4),
        (3, 1, 4),
    ),
    "both directions": ("nn.LSTM(3, 4, bidirectional=True)", (7, 5, 3), (2, 5, 4), (1, 5, 4)),
    "one sequence": ("nn.LSTM(3, 4)", (7, 3), (1, 4), (1, 5)),
    "another rank": ("nn.LSTM(3, 4)", (7, 5, 3), (1, 5, 4), (5, 5, 5, 4)),
    "a cell": ("nn.LSTMCell(3, 4)", (5, 3), (5, 4), (3, 4)),
    "a cell of one sample": ("nn.LSTMCell(3, 4)", (3,), (4,), (5,)),
}


def _rows() -> dict[str, Case]:
    rows = {}
    for name, (module, input, right, wrong) in LSTMS.items():
        known: dict[str, Torch] = {
            "batch-first states": "lacks",
            "one sequence": "mumbles",
            "a cell of one sample": "unsafe",
        }
        torchs = known.get(name, "says")
        for kept, h, c in (("h", right, wrong), ("c", wrong, right)):
            fixed = "(h, None)" if kept == "h" else "(None, c)"
            rows[f"Of {name} {kept} is kept."] = Case(
                call(f"{module}(input, (h, c))", input=input, h=h, c=c),
                Refused(StateError, torchs, "hx"),
                fix=fix(fixed, into="hx"),
                lacks="hx=None",
            )
    return rows


PAIR = LSTMState(filled(5, 4), filled(5, 4))
CELLS = [rnnkit.LSTMCell(3, 4), rnnkit.GRUCell(4, 4), rnnkit.LSTMCell(4, 6)]


class Pairs(Sums):
    """A user's cell that carries two tensors."""

    def forward(self, input, hx):  # noqa: ANN001, ANN201 - the protocol's
        """Add a step to both."""
        return tuple(part + input for part in hx)

    def initial_state(self, batch_size):  # noqa: ANN001, ANN201 - the protocol's
        """Begin with nothing."""
        return torch.zeros(batch_size, 3), torch.zeros(batch_size, 3)


class Untold(torch.nn.Module):
    """A user's cell without a first state."""

    def forward(self, input, hx):  # noqa: ANN001, ANN201 - the protocol's
        """Add a step."""
        return input if hx is None else hx + input


CASES = _rows() | {
    "Of a projected layer h is kept, and c is as wide as the layer.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 2)),
        Refused(StateError, "says", "hx", code="state-width"),
        fix=fix("(h, None)", into="hx"),
    ),
    "Of packed input h is kept.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=packed(7, 6, 2), h=(1, 3, 4), c=(1, 7, 4)),
        Refused(StateError, "unsafe", "hx", code="state-batch"),
        fix=fix("(h, None)", into="hx"),
    ),
    "Of an unrolled cell h is kept.": Case(
        call("unroll(LSTMCell(3, 4), input, (h, c))", input=(7, 5, 3), h=(5, 4), c=(3, 4)),
        Refused(StateError, "lacks", "hx", code="state-batch"),
        fix=fix("(h, None)", into="hx"),
    ),
    "Where c is from a larger batch, its samples are picked and those of h are not.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(1, 8, 4)),
        Refused(StateError, "says", "hx", code="state-batch"),
        fix=(
            fix("(h, None)", into="hx"),
            fix("(h, rnnkit.states.select(c, slice(5)))", into="hx"),
        ),
    ),
    "Where neither fits, and no projection is as wide as h, none is advised.": Case(
        call("nn.LSTM(3, 5, proj_size=3)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 6)),
        Refused(StateError, "says", "hx", code="state-twice-as-wide"),
        has="  fix       torch.nn.Linear(6, 3) between the two\n  more",
    ),
    "An h that fits speaks for the input's layout, whatever c fits.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(1, 7, 4)),
        Refused(StateError, "says", "hx", code="state-batch"),
        fix=(
            fix("(h, None)", into="hx"),
            fix("(h, rnnkit.states.select(c, slice(5)))", into="hx"),
        ),
    ),
    "An h with the sizes of an output is not one where c alone is wrong.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(1, 5, 3), h=(1, 5, 4), c=(3, 5, 4)),
        Refused(StateError, "says", "hx", code="state-layers"),
        fix=fix("(h, None)", into="hx"),
        lacks="output",
    ),
    "A tensor on meta has no numbers to keep.": Case(
        call(
            "nn.LSTMCell(3, 4)(input, (h, c))",
            input=(5, 3),
            h=(5, 4),
            c=filled(5, 4).to("meta"),
        ),
        Refused(DeviceError, "mumbles", "hx", code="state-device"),
        fix=fix("(h, None)", into="hx"),
    ),
    "Both on meta: zeros.": Case(
        call("nn.LSTMCell(3, 4)(input, hx)", input=(5, 3), hx=(filled(5, 4).to("meta"),) * 2),
        Refused(DeviceError, "mumbles", "hx", code="state-device"),
        fix=fix("cell.initial_state(5)", into="hx", cell=rnnkit.LSTMCell(3, 4)),
    ),
    "A state is moved to where the packed data are.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.GRU(3, 4, device="meta"),
            input=packed(7, 6, 6, 2, 1).to("meta"),
            hx=(1, 5, 4),
        ),
        Refused(DeviceError, "unsafe", "hx", code="state-device"),
        fix=fix("rnnkit.states.to(hx, input.data.device)", into="hx"),
    ),
    "Of a Recurrent the other cells' states are kept.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent(CELLS),
            input=(7, 5, 3),
            hx=(PAIR, filled(3, 4), (filled(5, 6), filled(5, 6))),
        ),
        Refused(StateError, "lacks", "hx", code="state-batch"),
        fix=(
            fix("None", where="layer(input, (hx[0], @, hx[2]))"),
            fix("layer.initial_state(5)", into="hx"),
        ),
    ),
    "Of a Recurrent's pair, too, what fits is kept.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent(CELLS),
            input=(7, 5, 3),
            hx=(PAIR, None, (filled(5, 6), filled(3, 6))),
        ),
        Refused(StateError, "lacks", "hx", code="state-batch"),
        fix=fix("(hx[2][0], None)", where="layer(input, (*hx[:2], @))"),
        has=" as hx[2], which starts c from zeros\n",
    ),
    "A Recurrent's state with its axes swapped.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
            hx=(filled(4, 5),),
        ),
        Refused(StateError, "lacks", "hx", code="state-transposed"),
        fix=fix("hx[0].t().contiguous()", where="layer(input, (@,))"),
        has="hx[0].t().contiguous() as hx[0]\n",
    ),
    "Of a user's pair what fits is kept.": Case(
        call(
            "unroll(cell, input, hx)",
            cell=Pairs(),
            input=(7, 5, 3),
            hx=(filled(5, 3), filled(4, 3)),
        ),
        Refused(StateError, "lacks", "hx", code="state-cell-batch"),
        fix=fix("(hx[0], cell.initial_state(5)[1])", into="hx"),
    ),
    "Of a user's pair in a Recurrent, too.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent([Sums(), Pairs()]),
            input=(7, 5, 3),
            hx=(filled(5, 3), (filled(4, 3), filled(5, 3))),
        ),
        Refused(StateError, "lacks", "hx", code="state-cell-batch"),
        fix=fix("(layer.initial_state(5)[1][0], hx[1][1])", where="layer(input, (hx[0], @))"),
    ),
    "The state of a user's cell in a Recurrent.": Case(
        call(
            "layer(input, hx)",
            layer=rnnkit.Recurrent([Sums(), Sums()]),
            input=(7, 5, 3),
            hx=(filled(5, 3), filled(4, 3)),
        ),
        Refused(StateError, "lacks", "hx", code="state-cell-batch"),
        fix=fix("layer.initial_state(5)[1]", where="layer(input, (hx[0], @))"),
        has="  fix       None as hx[1], or layer.initial_state(5)[1]",
    ),
    "A user's cell without a first state has none to type.": Case(
        call("unroll(cell, input, hx)", cell=Untold(), input=(7, 5, 3), hx=(4, 3)),
        Refused(StateError, "lacks", "hx", code="state-cell-batch", annotated=True),
        has="  fix       hx=None, if the sequences are new\n",
    ),
    "Nor in a Recurrent.": Case(
        call(
            "Recurrent(cell)(input, hx)",
            cell=Untold(),
            input=(7, 5, 3),
            hx=(filled(4, 3),),
        ),
        Refused(StateError, "lacks", "hx", code="state-cell-batch", annotated=True),
        has="  fix       None as hx[0], if the sequences are new\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs and loses nothing that was right."""
    case.check()
