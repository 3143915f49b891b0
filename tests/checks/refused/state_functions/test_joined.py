"""States, masks and fresh states that do not go together."""

import torch
from inline_snapshot import snapshot

from rnnkit import ArgumentError, LSTMState, StateError
from tests.checks.refusals import Case, Refused, call, filled, table

CASES = {
    "A mask (seq, batch) is refused, whatever the batch axis of the state.": Case(
        call("rnnkit.states.reset(filled(4, 3, 6), mask)", mask=torch.ones(7, 3, dtype=torch.bool)),
        Refused(ArgumentError, "lacks", code="mask-shape"),
        has="\n  fix       of positions: torch.zeros(3, dtype=torch.bool).index_fill(0, positions, True)\n",
    ),
    "What no tensor can be made of is refused.": Case(
        "rnnkit.states.reset(filled(3, 6), ['yes', 'no', 'no'])",
        Refused(ArgumentError, "lacks", "mask", annotated=True),
        message=snapshot("""\
mask must be booleans, or 0 and 1, of shape (3,); got a list
  more      mask-kind, in the docs under "Errors"\
"""),
    ),
    "A fresh state for fewer samples would be broadcast: it is refused.": Case(
        "rnnkit.states.reset(filled(3, 6), [1, 0, 0], initial=filled(1, 6))",
        Refused(ArgumentError, "lacks", "initial"),
        message=snapshot(
            """\
initial must have the shape and dtype of state, (3, 6) of torch.float32; got (1, 6) of torch.float32
  fix       rnnkit.states.expand(initial, 3), if all start from it
  more      initial-shape, in the docs under "Errors"\
"""
        ),
    ),
    "A fresh state of another dtype would change the dtype of all: it is refused.": Case(
        call(
            "rnnkit.states.reset(filled(3, 6), [1, 0, 0], initial=fresh)",
            fresh=filled(3, 6, dtype=torch.float64),
        ),
        Refused(ArgumentError, "lacks", "initial"),
        message=snapshot(
            """\
initial must have the shape and dtype of state, (3, 6) of torch.float32; got (3, 6) of torch.float64
  fix       rnnkit.states.to(initial, torch.float32)
  more      initial-shape, in the docs under "Errors"\
"""
        ),
    ),
    "A number is no member of a fresh pair.": Case(
        call(
            "rnnkit.states.reset(state, [1, 0, 0], initial=(filled(3, 6), 0))",
            state=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(ArgumentError, "lacks", "initial", annotated=True),
    ),
    "A tensor is no fresh state for a pair.": Case(
        call(
            "rnnkit.states.reset(state, [1, 0, 0], initial=filled(3, 6))",
            state=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(ArgumentError, "lacks", "initial", annotated=True),
        message=snapshot(
            """\
initial must be a state of the same kind as state, got a Tensor of shape (3, 6)
  more      initial-kind, in the docs under "Errors"\
"""
        ),
    ),
    **{
        f"A negative number, a flag or a fraction is no count of beams: {times}.": Case(
            call("rnnkit.states.repeat(filled(3, 6), times)", times=times),
            Refused(ArgumentError, "lacks", "times", annotated=True),
        )
        for times in (-1, True, 1.5)
    },
    "A negative count is refused with what it was.": Case(
        "rnnkit.states.repeat(filled(3, 6), -1)",
        Refused(ArgumentError, "lacks"),
        message=snapshot("""\
times must be an int from 0, got -1
  more      repeat-times, in the docs under "Errors"\
"""),
    ),
    "A GRU's state and an LSTM's make no layer together.": Case(
        call(
            "rnnkit.states.from_layers([filled(3, 6), pair])",
            pair=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(ArgumentError, "lacks", "states"),
        message=snapshot(
            """\
from_layers takes a list of states, all of one kind: tensors, pairs, or None
  more      states-of-one-kind, in the docs under "Errors"\
"""
        ),
    ),
    "States of two widths make no layer together.": Case(
        "rnnkit.states.from_layers([filled(3, 6), filled(3, 4)])",
        Refused(StateError, "lacks", "states"),
        message=snapshot("""\
from_layers takes states of one batch and width, got (3, 6), (3, 4)
  more      from-layers-sizes, in the docs under "Errors"\
"""),
    ),
    "A fresh state of another number of tensors is refused.": Case(
        call(
            "rnnkit.states.reset(pair, [1, 0, 0], initial=(filled(3, 6),))",
            pair=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(StateError, "lacks", annotated=True),
        message=snapshot("""\
states are not of one kind: a tuple of 2 and a tuple of 1
  more      states-differ, in the docs under "Errors"\
"""),
    ),
    "A member that is no tensor is refused.": Case(
        call(
            "rnnkit.states.cat([pair, (filled(3, 6), 5)])",
            pair=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(StateError, "lacks", annotated=True),
        message=snapshot("""\
states are not of one kind: a Tensor of shape (3, 6) and 5
  more      states-differ, in the docs under "Errors"\
"""),
    ),
    "A member that one state has and the other has not is refused.": Case(
        call(
            "rnnkit.states.cat([(filled(3, 6), None), pair])",
            pair=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(StateError, "lacks", annotated=True),
        message=snapshot("""\
states are not of one kind: None and a Tensor of shape (3, 6)
  more      states-differ, in the docs under "Errors"\
"""),
    ),
    "Layers of two kinds of state are refused.": Case(
        call(
            "rnnkit.states.from_layers([(pair,), (pair, pair)])",
            pair=LSTMState(filled(3, 6), filled(3, 6)),
        ),
        Refused(StateError, "lacks", code="states-differ", annotated=True),
        has="states are not of one kind: a tuple of 1 and a tuple of 2",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
