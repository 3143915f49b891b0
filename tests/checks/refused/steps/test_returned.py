"""What a user's cell returns in place of its next state: what is said, and what to type."""

import re
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import CellError
from tests.checks.refusals import Case, Counter, Refused, call, filled, table

CASES = {
    "A cell that returns (output, state).": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=Counter(lambda hx: (hx, hx))),
        Refused(CellError, "lacks", "cell", code="cell-result"),
        message=snapshot("""\
Counter took a Tensor of shape (5, 4) as state at step 0, returned a tuple
  fix       return state, instead of return output, state: its first tensor is the output
  more      python -m rnnkit explain cell-result\
"""),
    ),
    "A cell that carries a pair, and returns its output beside it.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), (filled(5, 4), filled(5, 4)))",
            cell=Counter(lambda hx: (hx[0], hx)),
        ),
        Refused(CellError, "lacks", "cell", code="cell-result"),
    ),
    "A cell that returns a list.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=Counter(lambda hx: [hx])),
        Refused(CellError, "lacks", "cell", code="cell-result"),
        message=snapshot("""\
Counter took a Tensor of shape (5, 4) as state at step 0, returned a list
  fix       return state[0], not the list
  more      python -m rnnkit explain cell-result\
"""),
    ),
    "A cell whose state has another width after the step.": Case(
        call(
            "rnnkit.unroll(cell, input, hx, lengths=[7, 5, 0])",
            cell=Counter(lambda hx: hx.new_ones(3, 8)),
            input=(7, 3, 3),
            hx=None,
        ),
        Refused(CellError, "lacks", "cell", code="cell-sizes"),
        message=snapshot("""\
the state of Counter changes its sizes at step 0: (3, 4), then (3, 8)
  where a length ends a sample keeps the one, at a reset it takes the other
  fix       return a state of (3, 4) at every step, or begin with a state of (3, 8)
  more      python -m rnnkit explain cell-sizes\
"""),
    ),
    "One whose samples start again.": Case(
        call(
            "rnnkit.unroll(cell, input, reset=reset)",
            cell=Counter(lambda hx: hx.new_ones(2, 8)),
            input=(3, 2, 3),
            reset=[[0, 0], [0, 1], [0, 0]],
        ),
        Refused(CellError, "lacks", "cell", code="cell-sizes"),
        message=snapshot("""\
the state of Counter changes its sizes at step 1: (2, 4), then (2, 8)
  where a length ends a sample keeps the one, at a reset it takes the other
  fix       return a state of (2, 4) at every step, or let initial_state return (2, 8)
  more      python -m rnnkit explain cell-sizes\
"""),
    ),
    "A pair of which one grows.": Case(
        call(
            "rnnkit.unroll(cell, input, hx, lengths=[2, 1])",
            cell=Counter(lambda hx: (hx[0], torch.ones(2, 9))),
            input=(2, 2, 3),
            hx=(filled(2, 4), filled(2, 5)),
        ),
        Refused(CellError, "lacks", "cell", code="cell-sizes"),
        message=snapshot("""\
the state of Counter changes its sizes at step 0: (2, 4), (2, 5), then (2, 4), (2, 9)
  where a length ends a sample keeps the one, at a reset it takes the other
  fix       return a state of (2, 4), (2, 5) at every step, or begin with a state of (2, 4), (2, 9)
  more      python -m rnnkit explain cell-sizes\
"""),
    ),
    "Outputs that grow from step to step.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3))",
            cell=Counter(lambda hx: torch.cat([hx, hx], 1)),
        ),
        Refused(CellError, "lacks", "cell", code="cell-sizes"),
        message=snapshot("""\
Counter returned an output of (5, 8) at step 0, and of (5, 16) at step 1
  fix       return a state whose first tensor has one size at all steps
  more      python -m rnnkit explain cell-sizes\
"""),
    ),
    "A cell that returns nothing.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=Counter(lambda _: None)),
        Refused(CellError, "lacks", "cell", code="cell-result"),
        message=snapshot("""\
Counter took a Tensor of shape (5, 4) as state at step 0, returned None
  fix       return the next state, of the same kind as hx; its first tensor is the output
  more      python -m rnnkit explain cell-result\
"""),
    ),
    "A cell of torch's has no first state to start again from.": Case(
        "rnnkit.unroll(torch.nn.GRUCell(3, 4), filled(7, 5, 3), lengths=[7, 0, 1, 2, 3])",
        Refused(CellError, "lacks", "cell", code="cell-initial-state", annotated=True),
        has="\n  fix       rnnkit.GRUCell, or a method initial_state(self, batch_size)\n",
    ),
    "A user's begins with the hx that it is given.": Case(
        call("rnnkit.unroll(cell, filled(1, 2, 3), lengths=[1, 0])", cell=torch.nn.Identity()),
        Refused(CellError, "lacks", "cell", code="cell-initial-state", annotated=True),
        has="\n  fix       hx=..., or a method initial_state(self, batch_size)\n",
    ),
    "Nor has a user's.": Case(
        call("rnnkit.unroll(cell, filled(1, 2, 3), reset=[[0, 1]])", cell=torch.nn.Identity()),
        Refused(CellError, "lacks", "cell", code="cell-initial-state", annotated=True),
        message=snapshot("""\
Identity has no initial_state(batch_size), from which a sample starts again
  fix       a method initial_state(self, batch_size)
  more      python -m rnnkit explain cell-initial-state\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What is passed is named, with the place that it belongs to."""
    case.check()


def test_a_state_whose_second_part_grows_is_no_output() -> None:
    """A cell may begin with None and carry a tuple from there on: it is not accused."""
    cell = Counter(lambda hx: (hx[0] + 1, (hx[0], hx[0])))

    output, _ = rnnkit.unroll(cell, filled(7, 5, 3), (filled(5, 4), None))

    assert output.shape == (7, 5, 4)


@pytest.mark.parametrize(
    ("returns", "options"),
    [
        (lambda hx: [hx] if hx.mean() > 2 else hx + 1, {}),
        (lambda hx: hx.new_ones(5, 8) if hx.mean() > 2 else hx + 1, {"lengths": [7] * 4 + [3]}),
        (lambda hx: hx.new_ones(5, 8) if hx.mean() > 2 else hx + 1, {}),
    ],
    ids=["a list", "beside a length", "another output"],
)
def test_the_step_is_known(returns: Any, options: Any) -> None:
    """The error knows at which step the cell returned something else."""
    with pytest.raises(CellError) as caught:
        rnnkit.unroll(Counter(returns), filled(7, 5, 3), **options)

    assert (caught.value.step, caught.value.argument) == (2, "cell")


@pytest.mark.parametrize(
    ("returns", "hx"),
    [
        (lambda hx: (hx, hx), filled(5, 4)),
        (lambda hx: (hx[0], hx), (filled(5, 4), filled(5, 4))),
        (lambda hx: [hx], filled(5, 4)),
        (list, (filled(5, 4), filled(5, 4))),
    ],
    ids=["output and state", "output and pair", "list of one", "list"],
)
def test_a_cell_returns_what_it_is_told(returns: Any, hx: Any) -> None:
    """The line that the message says is typed into the cell, which then runs."""
    with pytest.raises(CellError) as caught:
        rnnkit.unroll(Counter(returns), filled(7, 5, 3), hx)
    line = re.findall(r"fix +(return [^,:]+)", str(caught.value))[0]
    known: dict[str, Any] = {}
    exec(f"def typed(state): {line}", known)  # noqa: S102 - the text is our own

    def state_of(hx: Any) -> Any:
        result = returns(hx)
        return result[1] if type(result) is tuple else result

    output, state = rnnkit.unroll(
        Counter(lambda hx: known["typed"](state_of(hx))), filled(7, 5, 3), hx
    )

    assert output.shape == (7, 5, 4)
    assert type(state) is type(hx)


@pytest.mark.parametrize("lengths", [None, [2, 1]])
def test_another_device_is_torchs_to_refuse(lengths: Any) -> None:
    """States of one size that a cell returns on two devices: torch's error goes on as it is."""
    cell = Counter(lambda hx: hx.to("meta") if hx.any() else hx + 1)

    with pytest.raises(RuntimeError, match="device") as caught:
        rnnkit.unroll(cell, torch.ones(2, 2, 3), torch.zeros(2, 4), lengths=lengths)
    assert not isinstance(caught.value, rnnkit.RnnkitError)
