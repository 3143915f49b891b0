"""Lengths that are refused for their number or size, or for the input they come with."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LengthsError
from tests.checks.refusals import Case, Refused, call, filled, fix, packed, table

CASES = {
    "A length beyond the steps of the input is refused, with its place.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[7, 3, 8, 1, 2]),
        Refused(LengthsError, "lacks", "lengths", (5,), ()),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths[2] is 8 and the input has 7 steps
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       check how the lengths were counted; to cut them: torch.as_tensor(lengths).clamp(max=7)
  more      python -m rnnkit explain lengths-range\
"""),
    ),
    "With batch_first the steps are counted on axis 1.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, lengths=lengths)",
            input=(5, 7, 3),
            lengths=torch.tensor([6, 3, 8, 1, 2]),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (5,), code="lengths-range"),
        has="\n  fix       check how the lengths were counted; to cut them: torch.as_tensor(lengths).clamp(max=7)\n",
    ),
    "A negative length is refused, with its place.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[7, -1, 3, 1, 2]),
        Refused(LengthsError, "lacks", "lengths", (5,), ()),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths[1] is -1 and the input has 7 steps
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       check how the lengths were counted; to cut them: torch.as_tensor(lengths).clamp(min=0)
  more      python -m rnnkit explain lengths-range\
"""),
    ),
    "Fewer lengths than samples are refused.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[7, 3, 4, 1]),
        Refused(LengthsError, "lacks", "lengths", (5,), ()),
        message=snapshot("""\
Expected `len(lengths)` to be equal to batch_size, but got 4 (batch_size=5)
  GRU(3, 4): there are 4 lengths for 5 samples
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 4
  fix       one length for each of the 5 samples
  more      python -m rnnkit explain lengths-count\
"""),
    ),
    "More lengths than samples are refused.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)",
            input=(7, 5, 3),
            lengths=torch.tensor([7, 3, 4, 1, 2, 6]),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (6,), code="lengths-count"),
        has="\n  fix       one length for each of the 5 samples\n",
    ),
    "A range of more numbers than there is memory for is counted, and not written out.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=range(10**15)),
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-count"),
        has=f"there are {10**15} lengths for 5 samples",
    ),
    "An empty list is refused for a batch that has samples.": Case(
        call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[]),
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-count"),
        has="\n  fix       one length for each of the 5 samples\n",
    ),
    "As many lengths as the input has steps are evidence that the layout is the other one.": Case(
        call(
            "nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 5, 3), lengths=[5, 3, 4, 1, 2, 5, 5]
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), ()),
        fix=(
            fix("GRU(..., batch_first=True)", "3, 4"),
            fix("input.transpose(0, 1)", input=filled(7, 5, 3)),
        ),
        message=snapshot("""\
Expected `len(lengths)` to be equal to batch_size, but got 7 (batch_size=5)
  GRU(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 7
  evidence  there are 7 lengths, and axis 0 of the input has that size
  fix       GRU(..., batch_first=True), or input.transpose(0, 1)
  more      python -m rnnkit explain layout-batch-first\
"""),
    ),
    "The same with batch_first, the layouts exchanged.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, lengths=lengths)",
            input=(5, 7, 3),
            lengths=torch.tensor([5, 3, 4, 1, 2, 5, 5]),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (7,)),
        fix="input.transpose(0, 1)",
        message=snapshot("""\
Expected `len(lengths)` to be equal to batch_size, but got 7 (batch_size=5)
  GRU(3, 4, batch_first=True): the input looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  lengths   expected (batch=5,), integers    got torch.int64 (7,)
  evidence  there are 7 lengths, and axis 1 of the input has that size
  fix       GRU(..., batch_first=False), or input.transpose(0, 1)
  more      python -m rnnkit explain layout-seq-first\
"""),
    ),
    "Lengths beside packed input are refused, even if they are its own.": Case(
        call("nn.GRU(3, 4)(input, lengths=[7, 6, 6, 2, 1])", input=packed(7, 6, 6, 2, 1)),
        Refused(LengthsError, "lacks", "lengths", (5,), ()),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): the input is packed and brings its lengths along
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       leave lengths out
  more      python -m rnnkit explain lengths-packed\
"""),
    ),
    **{
        f"Lengths of one sequence without a batch axis are refused, even {lengths!r}.": Case(
            call("nn.GRU(3, 4)(input, lengths=lengths)", input=(7, 3), lengths=lengths),
            Refused(LengthsError, "lacks", "lengths"),
            fix=fix("input.unsqueeze(1)", lengths=[7]),
        )
        for lengths in ([7], 7, torch.tensor(7))
    },
    "With batch_first the batch axis to add is the first.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, lengths=[7])", input=(7, 3)),
        Refused(LengthsError, "lacks", "lengths", (None,), ()),
        fix="input.unsqueeze(0)",
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  LSTM(3, 4, batch_first=True): the input has no batch axis
  input     expected (seq, input_size=3)    got (7, 3)
  lengths   expected (batch,), integers    got a list of 1
  fix       input.unsqueeze(0), a batch of one
  more      python -m rnnkit explain lengths-unbatched\
"""),
    ),
    "A mask of a batch-first layer in the place of lengths is summed on axis 1.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, lengths=lengths)",
            input=(5, 7, 3),
            lengths=torch.ones(5, 7, dtype=torch.int64),
        ),
        Refused(LengthsError, "lacks", "lengths", (5,), (5, 7), code="lengths-axes"),
        has="  fix       of a mask: mask.sum(1)\n",
    ),
    "A range of another number is refused for its count.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), lengths=range(4))",
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-count"),
        has="got a range\n",
    ),
    "A list is refused for what it holds first.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), lengths=['7', '5'])",
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-kind", annotated=True),
        has="GRU(3, 4): lengths are not integers that can be read\n",
    ),
    "A NumPy array without axes is one number.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), lengths=np.array(7))",
        Refused(LengthsError, "lacks", "lengths", (5,), (), code="lengths-kind", annotated=True),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are one number, not one for each sample
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got an ndarray
  fix       [7] * 5
  more      python -m rnnkit explain lengths-kind\
"""),
    ),
    "Booleans of a batch-first layer are summed on axis 1.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(filled(5, 7, 3), lengths=mask)",
            mask=torch.ones(5, 7, dtype=torch.bool),
        ),
        Refused(
            LengthsError, "lacks", "lengths", (5,), (5, 7), code="lengths-kind", annotated=True
        ),
        has="  fix       of a mask: mask.sum(1)\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


three = pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])


WRONG: dict[str, Any] = {
    "too long": [8, 3, 4, 1, 2],
    "too few": [7, 3],
    "the other axis": [5] * 7,
    "negative": torch.tensor([7, 3, -4, 1, 2]),
    "floats": torch.tensor([7.0, 3.0, 4.0, 1.0, 2.0]),
    "mask": torch.ones(7, 5, dtype=torch.bool),
    "strings": list("73412"),
}


@pytest.mark.parametrize("wrong", WRONG)
@three
def test_every_layer_refuses(name: str, wrong: str) -> None:
    """RNN, LSTM and GRU refuse alike, and draw no random number for dropout."""
    layer = getattr(rnnkit, name)(3, 4, 2, dropout=0.5)
    before = torch.get_rng_state()

    with pytest.raises(rnnkit.LengthsError) as caught:
        layer(filled(7, 5, 3), lengths=WRONG[wrong])

    assert str(caught.value).splitlines()[1].startswith(f"  {name}(3, 4, num_layers=2")
    assert torch.equal(before, torch.get_rng_state())


@three
def test_input_and_state_are_looked_at_first(name: str) -> None:
    """An input or a state that is wrong by itself is refused for what it is."""
    layer = getattr(rnnkit, name)(3, 4)

    with pytest.raises(rnnkit.ShapeError) as caught:
        layer(filled(7, 5, 9), lengths=[7, 3])
    assert caught.value.argument == "input"

    with pytest.raises(rnnkit.StateError) as of_state:
        layer(filled(7, 5, 3), layer.initial_state(4), lengths=[7, 3])
    assert type(of_state.value) is rnnkit.StateError
