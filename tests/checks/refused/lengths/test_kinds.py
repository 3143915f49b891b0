"""Lengths that are refused for what they are: no integers, or not in a list."""

import numpy as np
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LengthsError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "Lengths on the device meta hold nothing to hold the batch to.": Case(
        call(
            "nn.GRU(3, 4)(filled(7, 5, 3), lengths=lengths)",
            lengths=torch.empty(5, dtype=torch.int64, device="meta"),
        ),
        Refused(LengthsError, "lacks", "lengths", code="lengths-kind"),
        has="""
  GRU(3, 4): lengths are not integers that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.int64 (5,)
  fix       a list of ints
""",
    ),
    "Fractions of the longest sample, a habit of speech recipes, are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=torch.tensor([1.0, 0.5, 0.25, 0.75, 0.125]),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (5,)),
        fix=fix("(lengths * seq).round().long()", gives=[7, 4, 2, 5, 1], seq=7),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float32, not counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.float32 (5,)
  fix       lengths.long(); of fractions of the input (lengths * seq).round().long()
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "A floating-point tensor is refused, even of whole numbers.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            lengths=torch.tensor([7.0, 3.0, 4.0, 1.0, 2.0]),
            input=(7, 5, 3),
        ),
        Refused(LengthsError, "lacks", code="lengths-kind"),
        fix="lengths.long()",
    ),
    "An array of floats is refused with the dtype that it has.": Case(
        call("nn.GRU(3, 4)(filled(7, 2, 3), lengths=lengths)", lengths=np.array([7.0, 3.0])),
        Refused(LengthsError, "lacks", code="lengths-kind", annotated=True),
        has=": lengths are torch.float64, not counts\n",
    ),
    "Floats in a list are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=[7.0, 3.5, 4.0, 1.0, 2.0],
        ),
        Refused(LengthsError, "lacks"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float32, not counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       [int(n) for n in lengths]
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Floats in an array are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=np.array([7.0, 3.5, 4.0, 1.0, 2.0]),
        ),
        Refused(LengthsError, "lacks", code="lengths-kind"),
        has="\n  fix       [int(n) for n in lengths]\n",
    ),
    "A column of lengths is refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=torch.tensor([[7], [3], [4], [1], [2]]),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (5, 1)),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths have 2 axes, one is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.int64 (5, 1)
  fix       torch.as_tensor(lengths).flatten()
  more      python -m rnnkit explain lengths-axes\
"""),
    ),
    "A single number is refused: it says of no sample that it is meant.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=7),
        Refused(LengthsError, "lacks"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are one number, not one for each sample
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got 7
  fix       [7] * 5
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "A tensor of one number is refused.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=torch.tensor(7)),
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-kind"),
        has="\n  fix       [7] * 5\n",
    ),
    "A mask (seq, batch) is refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=torch.ones(7, 5, dtype=torch.bool),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (7, 5)),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are a mask, not counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.bool (7, 5)
  fix       of a mask: mask.sum(0)
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Booleans are refused, though Python counts them as integers.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=[True, False, True, True, False],
        ),
        Refused(LengthsError, "lacks"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are a mask, not counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       of a mask: mask.sum(0)
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Strings in an array are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=np.array(["7", "3", "4", "1", "2"]),
        ),
        Refused(LengthsError, "lacks", "lengths"),
    ),
    "An array that holds a None is refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=np.array([7, None, 4, 1, 2]),
        ),
        Refused(LengthsError, "lacks", "lengths"),
    ),
    "A string is refused, though it is a sequence of digits.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths="73412"),
        Refused(LengthsError, "lacks", code="lengths-kind"),
        has="\n  fix       a list of ints\n",
    ),
    "A dict of lengths by name is refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths={"a": 7, "b": 3, "c": 4, "d": 1, "e": 2},
        ),
        Refused(LengthsError, "lacks", code="lengths-kind"),
        has="\n  fix       a list of ints\n",
    ),
    "A None among the lengths is refused.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[7, None, 4, 1, 2]),
        Refused(LengthsError, "lacks"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are not integers that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Lists of unequal size are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=[[7, 3], [4], [1], [2], [2]],
        ),
        Refused(LengthsError, "lacks"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are not integers that can be read
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Other things among them are not counts, however large.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 2, 3), lengths=[[7], 3]),
        Refused(LengthsError, "lacks", code="lengths-kind"),
        has="\n  fix       a list of ints\n",
    ),
    "A mask that holds integers is refused with the sum that makes lengths of it.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=mask)",
            input=(7, 5, 3),
            mask=(torch.arange(7).unsqueeze(1) < torch.tensor([7, 2, 5, 1, 4])).long(),
        ),
        Refused(LengthsError, "lacks"),
        fix=fix("mask.sum(0)", gives=[7, 2, 5, 1, 4]),
    ),
    "A length that no sequence has.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), lengths=10**5000)",
        Refused(rnnkit.LengthsError, "lacks", "lengths", code="lengths-kind", annotated=True),
    ),
    "One just beyond those that an integer of 64 bits holds.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), lengths=2**63)",
        Refused(rnnkit.LengthsError, "lacks", "lengths", code="lengths-kind", annotated=True),
        has="  fix       a list of ints\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
