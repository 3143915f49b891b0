"""What is refused as ``reset``: a mask of another layout, of another shape, of other values."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit import ArgumentError, LayoutError, ShapeError
from tests.checks.refusals import Case, Refused, call, filled, packed, table

with FakeTensorMode():
    FAKE_MASK = torch.ones(7, 5)

CASES = {
    "A batch-first mask of a seq-first layer is refused with the call that turns it.": Case(
        call("nn.GRU(3, 4)(input, reset=reset)", input=(7, 5, 3), reset=torch.ones(5, 7) > 0),
        Refused(LayoutError, "lacks", "reset", (7, 5), (5, 7)),
        fix="reset.t()",
        message=snapshot("""\
reset must have shape (7, 5), got (5, 7)
  GRU(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.bool (5, 7)
  fix       reset.t()
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "A seq-first mask of a batch-first layer likewise.": Case(
        call("nn.GRU(3, 4, batch_first=True)(filled(7, 5, 3), reset=reset)", reset=(5, 7)),
        Refused(LayoutError, "lacks", "reset", code="mask-shape"),
        has="""
  GRU(3, 4, batch_first=True): the mask looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (7, 5, 3)
  reset     expected (batch, seq), booleans    got torch.float32 (5, 7)
""",
    ),
    "One flag for each sample is what states.reset takes, before the call.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), reset=[0, 1, 0, 0, 1])",
        Refused(ShapeError, "lacks", "reset"),
        message=snapshot("""\
reset must have shape (7, 5), got (5,)
  GRU(3, 4): there is one flag for each sample, and none for its steps
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.int64 (5,)
  fix       to start them again before the call: rnnkit.states.reset(hx, mask)
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "A mask of another sequence has another shape.": Case(
        call("nn.GRU(3, 4)(filled(7, 5, 3), reset=reset)", reset=(6, 5)),
        Refused(ShapeError, "lacks", "reset", code="mask-shape"),
        has=": axis 0 of the mask has",
    ),
    "Positions in the shape of a mask are refused, with how a mask is made of them.": Case(
        call("nn.GRU(3, 4)(filled(7, 5, 3), reset=reset)", reset=torch.arange(35).view(7, 5)),
        Refused(ArgumentError, "lacks", "reset"),
        message=snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds numbers other than 0 and 1
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.int64 (7, 5)
  fix       reset != 0
  more      python -m rnnkit explain mask-values\
"""),
    ),
    "Of one sequence, the mask that is wanted has one axis.": Case(
        call("nn.GRU(3, 4)(filled(7, 3), reset=reset)", reset=torch.arange(7)),
        Refused(ArgumentError, "lacks", "reset", code="mask-values"),
        has="""
  reset     expected (seq,), booleans    got torch.int64 (7,)
  fix       torch.zeros(7,).bool().index_fill(0, reset, True)
""",
    ),
    "Probabilities are no mask.": Case(
        call("nn.GRU(3, 4)(filled(7, 5, 3), reset=reset)", reset=torch.full((7, 5), 0.5)),
        Refused(ArgumentError, "lacks", "reset", code="mask-values"),
        fix="reset > 0.5",
        has=": reset holds numbers other than 0 and 1\n",
        ends="  fix       reset > 0.5\n  more      python -m rnnkit explain mask-values",
    ),
    "What no tensor can be made of is refused by its kind.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), reset=[['no', 'mask']])",
        Refused(ArgumentError, "lacks", "reset"),
        message=snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds no values that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got a list of 1
  fix       a boolean tensor, on the device of the input
  more      python -m rnnkit explain mask-kind\
"""),
    ),
    "A packed input has no layout that a mask could have.": Case(
        call(
            "nn.GRU(3, 4)(input, reset=reset)", input=packed(7, 6, 5, 2, 1), reset=torch.ones(7, 5)
        ),
        Refused(ShapeError, "lacks", "reset"),
        message=snapshot("""\
reset is a mask over the steps of a padded input
  GRU(3, 4): the input is packed, and a mask of its steps is not possible
  input     expected (sum of lengths, input_size=3)    got (21, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5)
  fix       pad_packed_sequence(input), then its two results as input and lengths=
  more      python -m rnnkit explain mask-packed\
"""),
    ),
    "unroll refuses the same, under its own name.": Case(
        call("unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=(5, 7)),
        Refused(LayoutError, "lacks", "reset", code="mask-shape"),
        has="\n  unroll of GRUCell(3, 4): the mask looks batch-first, but batch_first=False\n",
    ),
    "A mask with a third axis.": Case(
        call(
            "rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(7, 5, 1)
        ),
        Refused(ShapeError, "lacks", "reset", code="mask-shape"),
        fix="reset.squeeze(-1)",
        message=snapshot("""\
reset must have shape (7, 5), got (7, 5, 1)
  unroll of GRUCell(3, 4): the mask has one axis too many
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5, 1)
  fix       reset.squeeze(-1)
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "A mask with both.": Case(
        call(
            "rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(5, 7, 1)
        ),
        Refused(LayoutError, "lacks", "reset", code="mask-shape"),
        fix="reset.squeeze(-1).t()",
        message=snapshot("""\
reset must have shape (7, 5), got (5, 7, 1)
  unroll of GRUCell(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (5, 7, 1)
  fix       reset.squeeze(-1).t()
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "Positions in the place of a mask.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=[2, 4]),
        Refused(ShapeError, "lacks", "reset", code="mask-shape", annotated=True),
        message=snapshot("""\
reset must have shape (7, 5), got (2,)
  unroll of GRUCell(3, 4): positions are not a mask
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.int64 (2,)
  fix       torch.zeros(7, 5).bool().index_fill(0, torch.as_tensor(reset), True), if these are steps of each sample
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "A nested mask.": Case(
        call(
            "nn.GRU(3, 4)(filled(7, 5, 3), reset=mask)",
            mask=torch.nested.nested_tensor([torch.ones(7)], layout=torch.jagged),
        ),
        Refused(ArgumentError, "lacks", "reset", code="mask-values", annotated=True),
        message=snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds no values that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got a nested Tensor
  fix       a boolean tensor, on the device of the input
  more      python -m rnnkit explain mask-values\
"""),
    ),
    "A mask on the device meta holds nothing to look at.": Case(
        call("nn.GRU(3, 4)(filled(7, 5, 3), reset=reset)", reset=torch.ones(7, 5, device="meta")),
        Refused(ArgumentError, "lacks", "reset", code="mask-values"),
        message=snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds no values that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5)
  fix       a boolean tensor, on the device of the input
  more      python -m rnnkit explain mask-values\
"""),
    ),
    "Nor does a fake one, of a cell.": Case(
        call("unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=FAKE_MASK),
        Refused(ArgumentError, "lacks", "reset", code="mask-values"),
        has=": reset holds no values that can be read\n",
    ),
    "A mask in lists beside packed input.": Case(
        call(
            "nn.GRU(3, 4)(pack_padded_sequence(input, [7, 5]), reset=reset)",
            input=(7, 2, 3),
            reset=[[False, True]] * 7,
        ),
        Refused(ShapeError, "lacks", "reset", (), (), code="mask-packed"),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_recurrent() -> None:
    """A Recurrent refuses the same, under its own name, and says in which of its cells."""
    layer = rnnkit.Recurrent(rnnkit.GRUCell(3, 4), batch_first=True)

    with pytest.raises(LayoutError) as caught:
        layer(filled(5, 7, 3), reset=torch.ones(7, 5))
    mask = "the mask looks seq-first, but batch_first=True"
    assert f"\n  Recurrent of GRUCell(3, 4): {mask}\n" in str(caught.value)
    assert caught.value.__notes__ == ["in layer 0, forward direction, of Recurrent"]


@pytest.mark.parametrize(
    "mask",
    [torch.ones(7, 5), torch.ones(7, 5, dtype=torch.int32), torch.zeros(7, 5).tolist()],
    ids=["floats", "integers", "lists"],
)
def test_what_is_a_mask(mask: Any) -> None:
    """0 and 1 of any dtype, in a tensor or in lists, are a mask."""
    layer, x = rnnkit.GRU(3, 4), filled(7, 5, 3)

    expected = layer(x, reset=torch.as_tensor(mask).bool())

    torch.testing.assert_close(layer(x, reset=mask), expected, rtol=0, atol=0)
