"""Inputs that a layer refuses for the number or the order of their axes."""

import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import PackedSequence

from rnnkit import DtypeError, LayoutError, ShapeError
from tests.checks.refusals import CONTENT, Case, Refused, call, filled, fix, table

CASES = {
    "Two features are enough to tell where they are.": Case(
        call("nn.GRU(2, 4, batch_first=True)(input)", input=(5, 2, 7)),
        Refused(LayoutError, "says"),
        fix="input.transpose(1, 2)",
        has="evidence  input_size=2 is axis 1 of the input",
    ),
    "An axis of one in front may be the feature: moving it is offered, without evidence.": Case(
        call("nn.GRU(1, 4)(input)", input=(1, 7, 5)),
        Refused(ShapeError, "says"),
        fix="input.movedim(0, -1)",
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 1, got 5
  GRU(1, 4): the input is 5 wide, the weights are for 1
  input     expected (seq, batch, input_size=1)    got (1, 7, 5)
  fix       input.movedim(0, -1), then check the order of seq and batch
            GRU(5, ...), or an input with 1 feature
  more      python -m rnnkit explain input-width\
"""),
    ),
    "A vector that is no step either is refused with the shape that is wanted.": Case(
        call("nn.GRU(3, 4)(input)", input=(5,)),
        Refused(ShapeError, "says"),
        message=snapshot("""\
GRU: Expected input to be 2D or 3D, got 1D instead
  GRU(3, 4): the input has 1 axis
  input     expected (seq, batch, input_size=3)    got (5,)
  fix       a tensor (seq, batch, input_size=3)
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "(batch, channel, seq, height) is refused with the order of a batch-first layer.": Case(
        call("nn.GRU(6, 4, batch_first=True)(input)", input=(5, 2, 7, 3)),
        Refused(ShapeError, "says"),
        fix=(
            "input.permute(0, 2, 1, 3).flatten(2)",
            fix("input.permute(0, 2, 1, 3).flatten(2)", gives=[[[CONTENT] * 6] * 7] * 5),
        ),
        has="input.permute(0, 2, 1, 3).flatten(2), if it is (batch, channel, seq, height)",
    ),
    "Packed steps without a feature axis are refused, even as many as a step has features.": Case(
        call("nn.GRU(3, 4)(input)", input=PackedSequence(filled(3), torch.tensor([2, 1]))),
        Refused(ShapeError, "says"),
        message=snapshot("""\
input must have 2 dimensions, got 1
  GRU(3, 4): the input has 1 axis
  input     expected (sum of lengths, input_size=3)    got (3,)
  fix       pack a padded tensor (batch, seq, 3), a feature axis at its end
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Token ids with a last axis of one are refused with an embedding that leaves it out.": Case(
        call("nn.GRU(3, 4)(input)", input=torch.ones(7, 5, 1, dtype=torch.int64)),
        Refused(DtypeError, "mumbles"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(input.squeeze(-1))", vocabulary=10),
    ),
    "Token ids with a last axis of one are refused with an embedding that leaves it out, by a cell.": Case(
        call("nn.GRUCell(3, 4)(input)", input=torch.ones(5, 1, dtype=torch.int64)),
        Refused(DtypeError, "mumbles"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(input.squeeze(-1))", vocabulary=10),
    ),
    "So are packed ones.": Case(
        call(
            "nn.GRU(3, 4)(input)",
            input=PackedSequence(torch.ones(3, 1, dtype=torch.int64), torch.tensor([2, 1])),
        ),
        Refused(DtypeError, "mumbles"),
        fix=fix(
            "input._replace(data=torch.nn.Embedding(vocabulary, 3)(input.data.squeeze(-1)))",
            vocabulary=10,
        ),
    ),
    "One token id is one unbatched step for a cell.": Case(
        call("nn.GRUCell(3, 4)(input)", input=torch.tensor(3)),
        Refused(DtypeError, "mumbles"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(input)", vocabulary=10),
    ),
    **{
        f"An embedding is advised only where its output has the rank that is read: {name} {shape}": Case(
            call(f"nn.{name}(3, 4)(input)", input=torch.ones(shape, dtype=torch.int64)),
            Refused(DtypeError, "unsafe"),
            lacks="Embedding",
        )
        for name, *shape in (
            ("GRU",),
            ("GRU", 7, 5, 2),
            ("GRU", 7, 5, 3, 1),
            ("GRUCell", 1, 3),
            ("GRUCell", 7, 5, 1),
        )
    },
    "A single step is refused with the axis that makes it a sequence.": Case(
        call("nn.LSTM(3, 4)(input)", input=(3,)),
        Refused(ShapeError, "says", "input", (None, None, 3), (3,)),
        fix="input.unsqueeze(0)",
        message=snapshot("""\
LSTM: Expected input to be 2D or 3D, got 1D instead
  LSTM(3, 4): the input has 1 axis
  input     expected (seq, batch, input_size=3)    got (3,)
  fix       input.unsqueeze(0), one unbatched sequence
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "A series of single numbers is refused with the feature axis it lacks.": Case(
        call("nn.RNN(1, 4)(input)", input=(7,)),
        Refused(ShapeError, "says", "input", (None, None, 1), (7,)),
        fix="input.unsqueeze(-1)",
        message=snapshot("""\
RNN: Expected input to be 2D or 3D, got 1D tensor instead
  RNN(1, 4): the input has 1 axis
  input     expected (seq, batch, input_size=1)    got (7,)
  fix       input.unsqueeze(-1), one unbatched sequence
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "A lone number is refused.": Case(
        "nn.GRU(3, 4)(filled())",
        Refused(ShapeError, "says", "input", (None, None, 3), (), code="input-rank"),
        has="\n  fix       a tensor (seq, batch, input_size=3)\n",
    ),
    "A surplus axis of size 1 is refused with the call that drops it.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=(5, 7, 1, 3)),
        Refused(ShapeError, "says", "input", (None, None, 3), (5, 7, 1, 3)),
        fix="input.squeeze(2)",
        message=snapshot("""\
GRU: Expected input to be 2D or 3D, got 4D instead
  GRU(3, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=3)    got (5, 7, 1, 3)
  fix       input.squeeze(2)
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "The image of a convolution is refused with the permutation to a sequence.": Case(
        call("nn.GRU(6, 4)(input)", input=(5, 2, 7, 3)),
        Refused(ShapeError, "says", "input", (None, None, 6), (5, 2, 7, 3)),
        fix="input.permute(2, 0, 1, 3).flatten(2)",
        message=snapshot("""\
GRU: Expected input to be 2D or 3D, got 4D instead
  GRU(6, 4): the input has 4 axes
  input     expected (seq, batch, input_size=6)    got (5, 2, 7, 3)
  fix       input.permute(2, 0, 1, 3).flatten(2), if it is (batch, channel, seq, height)
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Features that are on two axes are refused with the call that joins them.": Case(
        call("nn.LSTM(33, 4, batch_first=True)(input)", input=(5, 7, 3, 11)),
        Refused(ShapeError, "says", "input", (None, None, 33), (5, 7, 3, 11)),
        fix="input.flatten(2)",
        message=snapshot("""\
LSTM: Expected input to be 2D or 3D, got 4D instead
  LSTM(33, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=33)    got (5, 7, 3, 11)
  fix       input.flatten(2), if the axes from 2 on are features
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Four axes of which none fits are refused with the order that is wanted.": Case(
        call("nn.LSTM(10, 4, batch_first=True)(input)", input=(5, 2, 7, 3)),
        Refused(ShapeError, "says", "input", (None, None, 10), (5, 2, 7, 3)),
        message=snapshot("""\
LSTM: Expected input to be 2D or 3D, got 4D instead
  LSTM(10, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=10)    got (5, 2, 7, 3)
  fix       LSTM(21, ...) and input.flatten(2), if the axes from 2 on are features
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "A video is refused with the order that is wanted.": Case(
        call("nn.GRU(10, 4)(input)", input=(5, 7, 2, 3, 11)),
        Refused(ShapeError, "says", "input", (None, None, 10), (5, 7, 2, 3, 11)),
        message=snapshot("""\
GRU: Expected input to be 2D or 3D, got 5D instead
  GRU(10, 4): the input has 5 axes
  input     expected (seq, batch, input_size=10)    got (5, 7, 2, 3, 11)
  fix       GRU(66, ...) and input.flatten(2), if the axes from 2 on are features
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "Four axes, of which both middle ones may be features, are flattened from axis 2.": Case(
        call("nn.GRU(12, 4)(input)", input=(5, 6, 6, 2)),
        Refused(ShapeError, "says"),
        fix="input.flatten(2)",
        has="  fix       input.flatten(2), if the axes from 2 on are features\n",
    ),
    "Five axes are flattened from axis 2.": Case(
        call("nn.GRU(12, 4)(input)", input=(7, 5, 2, 3, 2)),
        Refused(ShapeError, "says"),
        fix="input.flatten(2)",
        has="  fix       input.flatten(2), if the axes from 2 on are features\n",
    ),
    "Four axes of a cell are flattened to steps.": Case(
        call("nn.GRUCell(3, 4)(input)", input=(7, 5, 2, 3)),
        Refused(ShapeError, "says"),
        fix="input.flatten(0, -2)",
        has="  fix       a cell takes one step: input.flatten(0, -2), or a layer: GRU(3, ...)\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
