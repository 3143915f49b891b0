"""Masks, initial states and batches of another kind: what is said, and what to type."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "Positions of samples in the place of a mask.": Case(
        call("rnnkit.states.reset(filled(5, 4), mask)", mask=[0, 3]),
        Refused(ArgumentError, "lacks", "mask", code="mask-shape"),
        fix=fix(
            "torch.zeros(5, dtype=torch.bool).index_fill(0, positions, True)",
            into="mask",
            positions=torch.tensor([0, 3]),
        ),
    ),
    "An initial state of one sample is expanded.": Case(
        call("rnnkit.states.reset(filled(5, 4), [0, 1, 0, 0, 0], initial)", initial=(1, 4)),
        Refused(ArgumentError, "lacks", "initial", code="initial-shape"),
        fix="rnnkit.states.expand(initial, 5)",
    ),
    "An initial state of another dtype is converted.": Case(
        call(
            "rnnkit.states.reset(filled(2, 4), [0, 1], initial)",
            initial=filled(2, 4, dtype=torch.float64),
        ),
        Refused(ArgumentError, "lacks", "initial", code="initial-shape"),
        fix="rnnkit.states.to(initial, torch.float32)",
    ),
    "What is no dtype and no device.": Case(
        'rnnkit.states.to(filled(2, 4), "nonsense")',
        Refused(ArgumentError, "lacks", "args", code="to-arguments"),
        message=snapshot("""\
to takes the arguments of Tensor.to: a dtype, a device or a tensor
  to('state', 'nonsense')
  fix       rnnkit.states.to(state, torch.float64), or to(state, 'cuda')
  more      to-arguments, in the docs under "Errors"\
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
  more      expand-batch, in the docs under "Errors"\
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
cat takes states that differ in their batch alone
  got (1, 3, 4), (1, 3, 5), whose batch is axis 1
  more      cat-sizes, in the docs under "Errors"\
"""),
    ),
    "States and None are not joined.": Case(
        "rnnkit.states.cat([filled(1, 3, 4), None])",
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind"),
        message=snapshot("""\
cat takes a list of states, all of one kind: tensors, pairs, or None
  more      states-of-one-kind, in the docs under "Errors"\
"""),
    ),
    "One tensor is no list of states.": Case(
        call("rnnkit.states.cat(h)", h=(2, 5, 4)),
        Refused(ArgumentError, "lacks", "states", code="states-of-one-kind", annotated=True),
        fix=fix("rnnkit.states.cat([...])", "h", where="@"),
        message=snapshot("""\
cat takes a list of states, got a Tensor of shape (2, 5, 4)
  fix       rnnkit.states.cat([...]), the states in a list
  more      states-of-one-kind, in the docs under "Errors"\
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
  more      to-layers-axes, in the docs under "Errors"\
"""),
    ),
    "How a state is bridged is not printed if it is a tensor.": Case(
        "rnnkit.states.bridge(filled(2, 3, 4), filled(2))",
        Refused(ArgumentError, "lacks", "how", code="bridge-how", annotated=True),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What is passed is named, with the place that it belongs to."""
    case.check()
