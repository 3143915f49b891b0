"""What a user's cell does to its state: a layer's in place of a cell's, and writing in place."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import CellError, StateError
from tests.checks.refusals import Case, Refused, call, filled, table

State = Any


class Own(torch.nn.Module):
    """A user's cell: a first state, and a step, as they are told."""

    def __init__(
        self, first: Callable[[int], State], step: Callable[[Tensor, State], State]
    ) -> None:
        """Take both."""
        super().__init__()
        self.first, self.step = first, step

    def initial_state(self, batch_size: int) -> State:
        """Return the first state."""
        return self.first(batch_size)

    def forward(self, input: Tensor, hx: State) -> State:
        """Run a step."""
        return self.step(input, hx)


def own(first: Callable[[int], State], step: Callable[[Tensor, State], State]) -> Own:
    """Make a cell three wide."""
    return Own(first, step)


class RankThree(rnnkit.GRUCell):
    """A cell of ours whose first state is a layer's."""

    def initial_state(self, batch_size: int | None) -> Tensor:
        """Return a state with the layers on axis 0."""
        return torch.zeros(1, batch_size or 0, self.hidden_size)


def add(x: Tensor, h: Tensor) -> Tensor:
    """Return a new state."""
    return h + x


def of_layer(batch: int) -> Tensor:
    """Make a state with the layers on axis 0."""
    return torch.zeros(1, batch, 3)


CASES = {
    "The first state is a layer's.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=own(of_layer, add)),
        Refused(CellError, "lacks", "cell", code="cell-batch"),
        message=snapshot("""\
Own returned an output of (1, 5, 3) at step 0, for 5 samples
  a cell's state has the batch on axis 0, a layer's on axis 1
  fix       let initial_state return a state of (batch_size, 3)
  more      python -m rnnkit explain cell-batch\
"""),
    ),
    "With lengths it is told at step 0, too.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), lengths=[7, 1, 2, 3, 4])", cell=own(of_layer, add)
        ),
        Refused(CellError, "lacks", "cell", code="cell-batch"),
    ),
    "Only what a step returns is.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), filled(5, 3))",
            cell=own(of_layer, lambda x, h: (h + x).unsqueeze(0)),
        ),
        Refused(CellError, "lacks", "cell", code="cell-batch"),
        has="\n  fix       return a state with the batch on axis 0: (5, 3)\n",
    ),
    "A layer's state that is given is taken apart.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3), hx)", cell=own(of_layer, add), hx=(1, 5, 3)),
        Refused(StateError, "lacks", "hx", (5,), (1, 5, 3), code="state-cell-batch"),
        fix="rnnkit.states.to_layers(hx)[0]",
        message=snapshot("""\
Expected hidden batch size 5, got [1]
  unroll of Own: a cell's state has the batch on axis 0, a layer's on axis 1
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (1, 5, 3)
  fix       rnnkit.states.to_layers(hx)[0], if it is the state of a layer
  more      python -m rnnkit explain state-cell-batch\
"""),
    ),
    "The first state of a cell of ours.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=RankThree(3, 4)),
        Refused(StateError, "lacks", "hx", (5, 4), (1, 5, 4), code="state-rank"),
        has="\n  fix       hx.squeeze(0)\n",
    ),
    "A state that a step writes in place.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3))",
            cell=own(lambda batch: torch.zeros(batch, 3), lambda x, h: h.mul_(0.5).add_(x)),
        ),
        Refused(CellError, "lacks", "cell", code="cell-writes-state"),
        message=snapshot("""\
Own writes into its state at step 0
  the same tensor is an earlier output, or the caller's own: that changes with it
  fix       hx = hx.clone(), at the start of the step; or hx + x instead of hx.add_(x)
  more      python -m rnnkit explain cell-writes-state\
"""),
    ),
    "A part of a state.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3))",
            cell=own(
                lambda batch: (torch.ones(batch, 3), (torch.ones(batch, 3), None, 1)),
                lambda x, state: (state[0] + x, (state[1][0].copy_(x), None, 1)),
            ),
        ),
        Refused(CellError, "lacks", "cell", code="cell-writes-state"),
        has="\n  fix       clone what is written, as in h = h.clone(), or return new tensors\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def written(hx: State, x: Tensor) -> State:
    """Write a state in place, by a view of it."""
    if isinstance(hx, Tensor):
        hx.detach()[0].add_(x[0])
        return hx
    hx[1].zero_()
    return hx[0] + x, hx[1]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": [2, 1]}], ids=str)
def test_a_written_state_is_told_and_the_line_to_type_ends_it(
    mode: Any, pair: bool, options: dict[str, Any]
) -> None:
    """It is seen at the first step that is run, in each mode of autograd."""
    first = (lambda b: (torch.zeros(b, 3),) * 2) if pair else (lambda b: torch.zeros(b, 3))
    x = torch.ones(7, 2, 3)[:2]
    with mode():
        with pytest.raises(CellError, match="writes into its state") as caught:
            rnnkit.unroll(Own(first, lambda x, hx: written(hx, x)), x, **options)
        line = re.findall(r"fix +(hx = .*), at the start", str(caught.value))[0]
        known: dict[str, Any] = {}
        exec(f"def cloned(hx):\n  {line}\n  return hx", known)  # noqa: S102
        fixed = Own(first, lambda x, hx: written(known["cloned"](hx), x))
        output, _ = rnnkit.unroll(fixed, x, **options)

    assert caught.value.step == (1 if options else 0)
    assert output.shape == x.shape


STEPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a new tensor": lambda x, h: (h * 0.5).add_(x),
    "a copy": lambda x, h: h.clone().mul_(x),
    "the state as it is": lambda _, h: h,
    "a view of it": lambda _, h: h.view(h.shape),
    "detached": lambda x, h: h.detach() + x,
    "in a workspace": lambda x, h: torch.add(h, x, out=torch.empty_like(h)),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_states_side_by_side_in_one_buffer(mode: Any) -> None:
    """A step that writes the next state beside the last one, into a buffer for all, is taken."""
    x, buffer = torch.rand(4, 2, 3), torch.zeros(5, 2, 3)

    def step(x: Tensor, h: Tensor) -> Tensor:
        place = h.storage_offset() // h.numel() + 1
        buffer[place] = h + x
        return buffer[place]

    with mode():
        output, _ = rnnkit.unroll(Own(lambda _: buffer[0], step), x)

    assert torch.equal(output, x.cumsum(0))


def test_a_view_that_is_written_is_told() -> None:
    """A state may be a part of a new tensor: written in place, it is an earlier output all the same."""
    cell = Own(lambda batch: torch.ones(batch, 6).chunk(2, 1)[0], lambda x, h: h.add_(x))

    with pytest.raises(CellError, match="writes into its state"):
        rnnkit.unroll(cell, torch.ones(7, 2, 3))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_cell_writes_of_its_own_is_its_own(step: str, mode: Any) -> None:
    """A step that writes into tensors that it made is taken."""
    cell = Own(lambda batch: torch.ones(batch, 3), STEPS[step])
    x = torch.rand(4, 2, 3)

    with mode():
        output, state = rnnkit.unroll(cell, x)
        expected = cell.initial_state(2)
        for x_t, found in zip(x, output, strict=True):
            expected = STEPS[step](x_t, expected)
            assert torch.equal(found, expected)
    assert torch.equal(state, expected)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_states_of_any_rank_have_the_batch_on_axis_0(rank: int, lengths: Any) -> None:
    """A state of channels and places, say, is a user's to choose; one that broadcasts, too."""
    sizes = (3, 2, 5)[: rank - 1]
    x, step = torch.rand(4, 2, 3), lambda x, h: h + x.sum(-1).view(-1, *[1] * len(sizes))
    whole = Own(lambda batch: torch.zeros(batch, *sizes), step)
    one = Own(lambda _: torch.zeros(1, *sizes), step)

    output, state = rnnkit.unroll(whole, x, lengths=lengths)

    assert output.shape == (4, 2, *sizes)
    assert state.shape == (2, *sizes)
    assert torch.equal(rnnkit.unroll(one, x, lengths=lengths)[0], output)


def test_an_error_of_a_cell_notes_a_first_state_that_is_a_layers() -> None:
    """The cell's own error goes on, with what its first state has on which axis."""
    cell = Own(of_layer, lambda x, h: torch.cat([x, h], 1)[:, :3])

    with pytest.raises(RuntimeError, match="same number of dimensions") as caught:
        rnnkit.unroll(cell, filled(7, 5, 3))
    assert caught.value.__notes__ == snapshot(
        ["at step 0, in Own", "a cell's state has the batch of 5 on axis 0, hx on axis 1"]
    )
