"""What a refusal says to type for one mistake ends it, whichever tensor has it."""

import torch

import rnnkit
from rnnkit import (
    ArgumentError,
    DtypeError,
    LayoutError,
    LengthsError,
    ShapeError,
    StateError,
)
from tests.checks.refusals import Case, Refused, call, filled, fix, table

NESTED = torch.nested.nested_tensor([filled(3), filled(3)], layout=torch.jagged)
BOTH = 'rnnkit.states.bridge({}, "sum")'

CASES = {
    "Two rows for each layer in h alone.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(1, 5, 4)),
        Refused(StateError, "says", "hx", code="state-bidirectional"),
        fix=(
            fix(f"({BOTH.format('h')}, c)", into="hx"),
            fix("(h[-1:], c)", into="hx"),
        ),
        lacks="concat",
    ),
    "Two rows for each layer in c alone.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(2, 5, 4)),
        Refused(StateError, "says", "hx", code="state-bidirectional"),
        fix=(
            fix(f"(h, {BOTH.format('c')})", into="hx"),
            fix("(h, c[-1:])", into="hx"),
        ),
        lacks="concat",
    ),
    "Of two rows for each layer no direction is added where the batch is another one, too.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(2, 3, 4)),
        Refused(StateError, "says", "hx", code="state-layers"),
        fix=fix("layer.initial_state(5)", into="hx", layer=rnnkit.GRU(3, 4)),
    ),
    "A state of one sample and another width is not expanded.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 1, 6)),
        Refused(StateError, "says", "hx", code="state-sizes"),
        fix=fix("layer.initial_state(5)", into="hx", layer=rnnkit.GRU(3, 4)),
        lacks="expand",
    ),
    "Of a larger batch and another width none is picked.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(8, 6)),
        Refused(StateError, "says", "hx", code="state-sizes"),
        fix=fix("cell.initial_state(5)", into="hx", cell=rnnkit.GRUCell(3, 4)),
        lacks="select",
    ),
    "Of the states of all layers a cell takes the last, if that is meant.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", code="state-rank"),
        fix="hx[-1]",
        has="  fix       hx[-1], if the last layer is meant\n",
    ),
    "Two layers of two samples are not taken for two layers of one.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(2, 2, 4)),
        Refused(StateError, "says", "hx", code="state-rank"),
        lacks="hx[-1]",
    ),
    "One flag for each sample in the place of the state.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=torch.ones(5, dtype=torch.bool)),
        Refused(StateError, "mumbles", "hx", code="lengths-as-state"),
        fix=fix("rnnkit.states.reset(state, hx)", into="hx", state=(1, 5, 4)),
    ),
    "One flag for each step.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 3), hx=torch.ones(7, dtype=torch.bool)),
        Refused(StateError, "mumbles", "hx", code="lengths-as-state"),
        fix=fix("layer(input, reset=hx)", where="@", layer=rnnkit.GRU(3, 4)),
    ),
    "Flags of which there is another number.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=torch.ones(6, dtype=torch.bool)),
        Refused(StateError, "mumbles", "hx", code="lengths-as-state"),
        has="  fix       hx=None for zeros\n",
    ),
    "Lengths as a mask in the other layout are summed over its steps.": Case(
        call("nn.GRU(3, 4)(input, lengths=mask)", input=(7, 5, 3), mask=filled(5, 7) > 0),
        Refused(LengthsError, "lacks", "lengths"),
        fix=fix("mask.sum(1)", gives=[7] * 5),
    ),
    "Integers likewise.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, lengths=mask)",
            input=(5, 7, 3),
            mask=torch.ones(7, 5, dtype=torch.int64),
        ),
        Refused(LengthsError, "lacks", "lengths"),
        fix=fix("mask.sum(0)", gives=[7] * 5),
    ),
    "Of a mask of floats the sums are whole numbers.": Case(
        call("nn.GRU(3, 4)(input, lengths=mask)", input=(7, 5, 3), mask=torch.ones(7, 5)),
        Refused(LengthsError, "lacks", "lengths"),
        fix=fix("mask.sum(0).long()", gives=[7] * 5),
    ),
    "A mask of resets in lists has no methods: exchanged.": Case(
        call("nn.GRU(3, 4)(input, reset=reset)", input=(7, 5, 3), reset=[[0] * 7] * 5),
        Refused(LayoutError, "lacks", "reset", code="mask-shape"),
        fix="torch.as_tensor(reset).t()",
    ),
    "A mask of resets in lists has no methods: a third axis.": Case(
        call("nn.GRU(3, 4)(input, reset=reset)", input=(7, 5, 3), reset=[[[True]] * 5] * 7),
        Refused(ShapeError, "lacks", "reset", code="mask-shape"),
        fix="torch.as_tensor(reset).squeeze(-1)",
    ),
    "A mask of resets in lists has no methods: other numbers.": Case(
        call("nn.GRU(3, 4)(input, reset=reset)", input=(7, 5, 3), reset=[[0.9] * 5] * 7),
        Refused(ArgumentError, "lacks", "reset", code="mask-values"),
        fix="torch.as_tensor(reset) > 0.5",
    ),
    "Booleans are no token ids.": Case(
        call("nn.GRU(3, 4)(input)", input=filled(7, 3) > 0),
        Refused(DtypeError, "mumbles", "input", code="input-numbers"),
        fix="input.float()",
        lacks="Embedding",
    ),
    "An embedding takes token ids of 32 and 64 bits.": Case(
        call("nn.GRU(3, 4)(input)", input=torch.ones(7, 5, dtype=torch.uint8)),
        Refused(DtypeError, "mumbles", "input", code="input-numbers"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(input.long())", vocabulary=10),
    ),
    "A nested step has no lengths.": Case(
        call("nn.GRU(3, 4).step(x_t)", x_t=NESTED),
        Refused(ArgumentError, "lacks", "x_t", code="input-layout"),
        fix="x_t.to_padded_tensor(0.0)",
        lacks="lengths",
    ),
    "A step of a bidirectional Recurrent.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), reverse_cells=GRUCell(3, 4)).step(filled(5, 3))",
        Refused(ArgumentError, "lacks", "x_t", code="step-bidirectional"),
        fix=fix(
            "rnnkit.Recurrent(cells)", where="@.step(filled(5, 3))", cells=rnnkit.GRUCell(3, 4)
        ),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each call is refused, and what the message says to type runs."""
    case.check()
