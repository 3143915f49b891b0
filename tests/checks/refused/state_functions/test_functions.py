"""What ``rnnkit.states``, ``last_hidden``, ``split_state`` and ``step`` refuse: what is said of each."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError, ShapeError, StateError, states
from tests.checks.refusals import Case, Refused, call, filled, fix, refusal, table

CASES = {
    "A position that no sample has is refused.": Case(
        "rnnkit.states.select(filled(4, 3, 6), [0, 3])",
        Refused(ArgumentError, "lacks", "index"),
        message=snapshot("""\
index[1] is 3, but the state has 3 samples
  fix       positions from 0 to 2
  more      python -m rnnkit explain index-range\
"""),
    ),
    "A negative position is counted from the end, and not beyond the first sample.": Case(
        "rnnkit.states.select(filled(3, 6), [-1, -4])",
        Refused(ArgumentError, "lacks", "index"),
        message=snapshot("""\
index[1] is -4, but the state has 3 samples
  fix       positions from 0 to 2
  more      python -m rnnkit explain index-range\
"""),
    ),
    "A batch of no samples has no position.": Case(
        "rnnkit.states.select(filled(0, 6), [0])",
        Refused(ArgumentError, "lacks"),
        has="index[0] is 0, but the state has 0 samples\n  fix       a state of a batch\n",
    ),
    "A boolean mask that is not as long as the batch is refused.": Case(
        call("rnnkit.states.select(filled(4, 3, 6), mask)", mask=torch.tensor([True, False])),
        Refused(ArgumentError, "lacks", "index"),
        message=snapshot(
            """\
index must be integers (new_batch,) or booleans (batch=3,), got torch.bool (2,)
  more      python -m rnnkit explain index-kind\
"""
        ),
    ),
    **{
        f"A bare number, floats, a table, a text: none is an index, and so is {index!r}.": Case(
            call("rnnkit.states.select(filled(4, 3, 6), index)", index=index),
            Refused(ArgumentError, "lacks", "index", annotated=True),
        )
        for index in (1, torch.tensor(1), [0.0, 1.0], [[0], [1]], "01", None, {"a": 0}, ["0"])
    },
    "A float index is refused with what it was, and what is wanted.": Case(
        call("rnnkit.states.select(filled(4, 3, 6), index)", index=torch.tensor([0.0, 1.0])),
        Refused(ArgumentError, "lacks"),
        message=snapshot(
            """\
index must be integers (new_batch,) or booleans (batch=3,), got torch.float32 (2,)
  more      python -m rnnkit explain index-kind\
"""
        ),
    ),
    **{
        f"A tensor of a rank that no batched state has is refused: {rank}, by {act}.": Case(
            call(
                f"rnnkit.states.{act}(LSTMState(filled(3, 6), c), argument)",
                c=(3,) * rank,
                argument=argument,
            ),
            Refused(StateError, "lacks", "state", actual=(3,) * rank),
        )
        for act, argument in {"select": [1, 0], "repeat": 2, "reset": [1, 0, 0]}.items()
        for rank in (1, 4)
    },
    "The state of unbatched input has no batch to select from, and 1 axis in a cell.": Case(
        "rnnkit.states.repeat(filled(6), 2)",
        Refused(StateError, "lacks"),
        message=snapshot("""\
a state has 2 or 3 axes, got 1
  rnnkit.states tells the batch axis by the rank
  state     expected (layers * directions, batch, hidden)    got (6,)
  more      python -m rnnkit explain state-axes\
"""),
    ),
    "An empty list of states is refused.": Case(
        "rnnkit.states.from_layers([])",
        Refused(ArgumentError, "lacks", "states"),
        message=snapshot("""\
from_layers takes a list of states, at least one
  more      python -m rnnkit explain states-of-one-kind\
"""),
    ),
    "A mask of another length than the batch is refused.": Case(
        call(
            "rnnkit.states.reset(filled(4, 3, 6), mask)",
            mask=torch.tensor([True, False, True, False]),
        ),
        Refused(ArgumentError, "lacks", "mask"),
        message=snapshot("""\
mask must have shape (3,), got (4,)
  one flag for each sample: positions are not a mask
  fix       torch.zeros(3, dtype=torch.bool).index_fill(0, positions, True)
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "As many positions as there are samples are refused for the number that is no flag.": Case(
        "rnnkit.states.reset(filled(4, 3, 6), [2, 0, 1])",
        Refused(ArgumentError, "lacks", "mask"),
        message=snapshot(
            """\
mask must be booleans, or 0 and 1; got other values
  one flag for each sample: positions are not a mask
  fix       torch.zeros(3, dtype=torch.bool).index_fill(0, positions, True)
  more      python -m rnnkit explain mask-values\
"""
        ),
    ),
    "A half is no flag.": Case(
        call("rnnkit.states.reset(filled(3, 6), mask)", mask=torch.tensor([0.5, 0.0, 1.0])),
        Refused(ArgumentError, "lacks", "mask"),
    ),
    "An empty list.": Case(
        "rnnkit.LSTM(3, 4).last_hidden([])",
        Refused(StateError, "lacks", "state", (1, None, 4), (), annotated=True),
        has="    got an empty list\n",
    ),
    "One tensor in a list.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden([h])", h=(1, 5, 4)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 4), annotated=True),
        has="    got a list of 1: (1, 5, 4)\n",
    ),
    "A list for a layer with one tensor.": Case(
        call("rnnkit.GRU(3, 4).last_hidden([h])", h=(1, 5, 4)),
        Refused(StateError, "lacks", "state", annotated=True),
    ),
    "Two tensors, the second of another width.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden((h, c))", h=(1, 5, 4), c=(1, 5, 6)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 6)),
        has="    got a tuple of 2: (1, 5, 4), (1, 5, 6)\n",
    ),
    "Three tensors.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden((h, h, h))", h=(1, 5, 4)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 4), annotated=True),
        has="    got a tuple of 3: ",
    ),
    "A tensor of another width.": Case(
        call("rnnkit.GRU(3, 4).split_state(h)", h=(1, 5, 6)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 6)),
        has="    got a Tensor of shape (1, 5, 6)\n",
    ),
    **{
        f"The batch_first of a layer says nothing about its states: rnnkit.states.{act}.": Case(
            f"rnnkit.states.{act}, batch_first=True)",
            Refused(ArgumentError, "lacks", "batch_first", code="arguments-of-a-call"),
            fix=fix("state_batch_first=True", where=f"rnnkit.states.{act}, @)"),
            has="fix       leave batch_first out",
        )
        for act in (
            "select(filled(3, 4, 6), [0]",
            "repeat(filled(3, 4, 6), 2",
            "expand(filled(1, 4, 6), 3",
            "cat([filled(3, 4, 6)]",
            "reset(filled(3, 4, 6), [1, 0, 1]",
            "to_layers(filled(3, 4, 6)",
            "bridge(filled(3, 4, 6)",
        )
    },
    "What is said of it.": Case(
        "rnnkit.states.select(filled(4, 3, 6), [0], batch_first=True)",
        Refused(ArgumentError, "lacks"),
        message=snapshot("""\
select() got an unexpected keyword argument 'batch_first'
  the batch_first of a layer is about its input: states keep the layers on axis 0
  fix       leave batch_first out, or state_batch_first=True for the states of a layer that has it
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "An option that is misspelt.": Case(
        "rnnkit.states.select(filled(4, 3, 6), [0], batchfirst=False)",
        Refused(ArgumentError, "lacks", "batchfirst"),
        fix=fix(
            "state_batch_first=False",
            where="rnnkit.states.select(state, [0], @)",
            state=(3, 4, 6),
            batchfirst=False,
        ),
    ),
    "An option that no function of states has.": Case(
        "rnnkit.states.to_layers(filled(4, 3, 6), qqq=1)",
        Refused(ArgumentError, "lacks", "qqq"),
        message=snapshot("""\
to_layers() got an unexpected keyword argument 'qqq'
  to_layers takes state, state_batch_first
  fix       leave qqq out
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "A step of a bidirectional Recurrent.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), reverse_cells=GRUCell(3, 4)).step(filled(5, 3))",
        Refused(ArgumentError, "lacks", "x_t"),
        has="  fix       rnnkit.Recurrent(cells), without reverse_cells, or call the layer on",
    ),
    "A sequence in the place of a step of a Recurrent.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4)).step(filled(7, 5, 3))",
        Refused(ShapeError, "lacks", "x_t", (None, None), (7, 5, 3)),
        has="  x_t       expected (batch, feature)    got (7, 5, 3)\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_select_reads_the_batch_where_it_is_told() -> None:
    """With state_batch_first a position is one of axis 0, without one of axis 1."""
    state = filled(3, 4, 6)

    assert states.select(state, [3]).shape == (3, 1, 6)
    refusal(ArgumentError, "lacks", lambda _: states.select(state, [3], state_batch_first=True))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "detach": states.detach,
    "to": lambda state: states.to(state, torch.float64),
    "select": lambda state: states.select(state, [0]),
    "repeat": lambda state: states.repeat(state, 2),
    "reset": lambda state: states.reset(state, [1]),
    "batch_first": states.batch_first,
    "from_batch_first": states.from_batch_first,
    "from_layers": lambda state: states.from_layers([state]),
    "bridge": states.bridge,
}


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize("wrong", [3, "h"], ids=repr)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_state(name: str, wrong: Any) -> None:
    """What is no tensor and holds none is refused, alone and as one of a pair."""
    for state in (wrong, (filled(1, 1, 6), wrong)):
        error = refusal(StateError, "lacks", lambda _, state=state: FUNCTIONS[name](state))
        assert error.argument == "state"


def test_reset_reads_the_batch_where_it_is_told() -> None:
    """With state_batch_first the mask is for axis 0, without for axis 1."""
    state = filled(3, 4, 6)

    assert states.reset(state, [1, 0, 1], state_batch_first=True).shape == state.shape
    refusal(ArgumentError, "lacks", lambda _: states.reset(state, [1, 0, 1]))


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_unbatched_states_are_taken(name: str) -> None:
    """The state of one sequence alone has no batch axis, whatever its layout."""
    layer: Any = getattr(rnnkit, name)(3, 4, 2, bidirectional=True)
    output, state = layer(filled(7, 3))

    assert layer.last_hidden(state).shape == (8,)
    assert torch.equal(layer.last_hidden(state)[:4], output[-1, :4])
    with pytest.raises(StateError):
        layer.last_hidden(layer.initial_state(None)[0] if name == "LSTM" else filled(5, 4))
