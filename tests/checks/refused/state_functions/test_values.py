"""States, masks, counts and fresh states that do not go together, in ``rnnkit.states``."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError, LSTMState, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A mask (seq, batch) is refused, whatever the batch axis of the state.": Case(
        call("rnnkit.states.reset(filled(4, 3, 6), mask)", mask=torch.ones(7, 3, dtype=torch.bool)),
        Refused(ArgumentError, "lacks", code="mask-shape"),
        has="\n  fix       torch.zeros(3, dtype=torch.bool).index_fill(0, positions, True)\n",
    ),
    "What no tensor can be made of is refused.": Case(
        "rnnkit.states.reset(filled(3, 6), ['yes', 'no', 'no'])",
        Refused(ArgumentError, "lacks", "mask", annotated=True),
        message=snapshot("""\
mask must be booleans, or 0 and 1, of shape (3,); got a list
  more      python -m rnnkit explain mask-kind\
"""),
    ),
    "A fresh state for fewer samples would be broadcast: it is refused.": Case(
        call("rnnkit.states.reset(filled(3, 6), [1, 0, 0], initial)", initial=(1, 6)),
        Refused(ArgumentError, "lacks", "initial"),
        fix="rnnkit.states.expand(initial, 3)",
        message=snapshot(
            """\
initial must have the shape and dtype of state, (3, 6) of torch.float32; got (1, 6) of torch.float32
  fix       rnnkit.states.expand(initial, 3), if all start from it
  more      python -m rnnkit explain initial-shape\
"""
        ),
    ),
    "A fresh state of another dtype would change the dtype of all: it is refused.": Case(
        call(
            "rnnkit.states.reset(filled(3, 6), [1, 0, 0], initial)",
            initial=filled(3, 6, dtype=torch.float64),
        ),
        Refused(ArgumentError, "lacks", "initial"),
        fix="rnnkit.states.to(initial, torch.float32)",
        message=snapshot(
            """\
initial must have the shape and dtype of state, (3, 6) of torch.float32; got (3, 6) of torch.float64
  fix       rnnkit.states.to(initial, torch.float32)
  more      python -m rnnkit explain initial-shape\
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
  more      python -m rnnkit explain initial-kind\
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
  more      python -m rnnkit explain repeat-times\
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
  more      python -m rnnkit explain states-of-one-kind\
"""
        ),
    ),
    "States of two widths make no layer together.": Case(
        "rnnkit.states.from_layers([filled(3, 6), filled(3, 4)])",
        Refused(StateError, "lacks", "states"),
        message=snapshot("""\
from_layers takes states of one batch and width, got (3, 6), (3, 4)
  more      python -m rnnkit explain from-layers-sizes\
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
  more      python -m rnnkit explain states-differ\
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
  more      python -m rnnkit explain states-differ\
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
  more      python -m rnnkit explain states-differ\
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
    "Positions of samples in the place of a mask.": Case(
        call("rnnkit.states.reset(filled(5, 4), mask)", mask=[0, 3]),
        Refused(ArgumentError, "lacks", "mask", code="mask-shape"),
        fix=fix(
            "torch.zeros(5, dtype=torch.bool).index_fill(0, positions, True)",
            into="mask",
            positions=torch.tensor([0, 3]),
        ),
    ),
    "What is no dtype and no device.": Case(
        'rnnkit.states.to(filled(2, 4), "nonsense")',
        Refused(ArgumentError, "lacks", "args", code="to-arguments"),
        message=snapshot("""\
to takes the arguments of Tensor.to: a dtype, a device or a tensor
  to('state', 'nonsense')
  fix       rnnkit.states.to(state, torch.float64), or to(state, 'cuda')
  more      python -m rnnkit explain to-arguments\
"""),
    ),
    "A number that torch cannot hold is no argument of Tensor.to.": Case(
        "rnnkit.states.to(filled(2, 4), 10**30)",
        Refused(ArgumentError, "lacks", "args", code="to-arguments"),
    ),
    "No arguments of Tensor.to.": Case(
        "rnnkit.states.to(filled(2, 4), [1])",
        Refused(ArgumentError, "lacks", "args", code="to-arguments"),
    ),
    "A state of several samples is not expanded.": Case(
        "rnnkit.states.expand(filled(2, 3, 4), 5)",
        Refused(StateError, "lacks", "state", (None, None, None), (2, 3, 4), code="expand-batch"),
        message=snapshot("""\
expand takes the state of one sample, got (2, 3, 4)
  axis 1 is the batch, and has 3
  fix       rnnkit.states.select(state, [0]), for that of the first sample
  more      python -m rnnkit explain expand-batch\
"""),
    ),
    "A state without batch axis is told how to get one.": Case(
        call("rnnkit.states.expand(state, 5)", state=(2, 4)),
        Refused(StateError, "lacks", "state", (None, None), (2, 4), code="expand-batch"),
        fix="state.unsqueeze(1)",
    ),
    "An initial state that fits nowhere.": Case(
        "rnnkit.states.reset(filled(5, 4), [0, 1, 0, 0, 0], filled(3, 4))",
        Refused(ArgumentError, "lacks", "initial", code="initial-shape"),
        lacks="fix",
    ),
    "A batch that is no count.": Case(
        "rnnkit.states.expand(filled(2, 1, 4), -1)",
        Refused(ArgumentError, "lacks", "batch_size", code="expand-size"),
    ),
    "A batch that no tensor has.": Case(
        "rnnkit.states.repeat(filled(2, 1, 4), 10**5000)",
        Refused(ArgumentError, "lacks", "times", code="repeat-times"),
        has="must be an int from 0, got a huge int",
    ),
    "States of two widths are not joined.": Case(
        "rnnkit.states.cat([filled(1, 3, 4), filled(1, 3, 5)])",
        Refused(StateError, "lacks", "states", code="cat-sizes"),
        message=snapshot("""\
cat takes states that differ only in their batch
  got (1, 3, 4), (1, 3, 5), whose batch is axis 1
  more      python -m rnnkit explain cat-sizes\
"""),
    ),
    "States and None are not joined.": Case(
        "rnnkit.states.cat([filled(1, 3, 4), None])",
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind"),
    ),
    "One tensor is no list of states.": Case(
        call("rnnkit.states.cat(h)", h=(2, 5, 4)),
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind", annotated=True),
        fix=fix("rnnkit.states.cat([...])", "h", where="@"),
        message=snapshot("""\
cat takes a list of states, got a Tensor of shape (2, 5, 4)
  fix       rnnkit.states.cat([...]), the states in a list
  more      python -m rnnkit explain states-of-one-kind\
"""),
    ),
    "Nor is one pair.": Case(
        call("rnnkit.states.from_layers(hx)", hx=rnnkit.LSTMState(filled(2, 4), filled(2, 4))),
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind"),
        fix=fix("rnnkit.states.from_layers([...])", "hx", where="@"),
    ),
    "What cannot be listed.": Case(
        "rnnkit.states.cat(5)",
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind", annotated=True),
    ),
    "Bytes are no device.": Case(
        "rnnkit.states.to(filled(2, 4), b'cpu0')",
        Refused(ArgumentError, "lacks", "args", code="to-arguments"),
    ),
    "A cell's state is not taken apart.": Case(
        "rnnkit.states.to_layers(filled(5, 4))",
        Refused(StateError, "lacks", "state", (None, None, None), (5, 4), code="to-layers-axes"),
        message=snapshot("""\
to_layers takes the state of a layer, (layers * directions, batch, hidden)
  got (5, 4)
  more      python -m rnnkit explain to-layers-axes\
"""),
    ),
    "The tensors of a pair that is taken apart have as many rows: none of c's is dropped.": Case(
        "rnnkit.states.to_layers((filled(2, 5, 4), filled(3, 5, 4)))",
        Refused(StateError, "lacks", "state", code="to-layers-rows"),
        message=snapshot("""\
to_layers takes tensors with the same number of layers * directions
  got (2, 5, 4), (3, 5, 4)
  fix       the pair (h, c) that one layer returned
  more      python -m rnnkit explain to-layers-rows\
"""),
    ),
    "Nor has h more than c.": Case(
        "rnnkit.states.to_layers((filled(5, 3, 4), filled(5, 2, 4)), state_batch_first=True)",
        Refused(StateError, "lacks", "state", code="to-layers-rows"),
        message=snapshot("""\
to_layers takes tensors with the same number of layers * directions
  got (5, 3, 4), (5, 2, 4)
  fix       the pair (h, c) that one layer returned
  more      python -m rnnkit explain to-layers-rows\
"""),
    ),
    "Layers are made of states of a cell or of a layer.": Case(
        "rnnkit.states.from_layers([filled(2, 3, 4, 5), filled(2, 3, 4, 5)])",
        Refused(StateError, "lacks", "state", actual=(2, 3, 4, 5), code="state-axes"),
    ),
    "A number is no state of a layer.": Case(
        "rnnkit.states.from_layers([filled(), filled()])",
        Refused(StateError, "lacks", "state", actual=(), code="state-axes"),
    ),
    "How a state is bridged is not printed if it is a tensor.": Case(
        "rnnkit.states.bridge(filled(2, 3, 4), filled(2))",
        Refused(ArgumentError, "lacks", "how", code="bridge-how", annotated=True),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
