"""What a user's cell may return: any state whose samples stay apart, and an output of one shape."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.kernels.paths import by_loop
from tests.strategies import assert_same

SEQ = 7
BATCH = 5
WIDTH = 3
X = torch.linspace(-1, 1, SEQ * BATCH * WIDTH).view(SEQ, BATCH, WIDTH)
LENGTHS = [7, 2, 3, 4, 5]

Step = Callable[[Tensor, Any], Any]


class Cell(nn.Module):
    """A cell made of two functions, so that a test reads as one line."""

    def __init__(self, step, begin):
        """Keep the functions."""
        super().__init__()
        self.step = step
        self.begin = begin

    def forward(self, input, hx):
        """Run one step."""
        return self.step(input, hx)

    def initial_state(self, batch_size):
        """Return the state before the first step."""
        return self.begin(batch_size)


def ones(batch: int) -> Tensor:
    """Return a state of one tensor."""
    return torch.ones(batch, WIDTH)


def pair(batch: int) -> tuple[Tensor, Tensor]:
    """Return a state of two tensors."""
    return torch.ones(batch, WIDTH), torch.ones(batch, 2)


def add(x: Tensor, h: Tensor) -> Tensor:
    """Add a step."""
    return h + x


def adding(other: Step) -> Step:
    """Return a step that adds to h, and makes this of the input and c."""
    return lambda x, hx: (hx[0] + x, other(x, hx[1]))


def refused(match, cell, x=X, **options):
    """Return the error by which ``unroll`` refuses a cell."""
    with pytest.raises(rnnkit.CellError, match=match) as caught:
        rnnkit.unroll(cell, x, **options)
    return caught.value


#: Cells that lose samples, or mix them, by what they do: the step and the first state.
LOSING = {
    "some samples": (lambda _, h: h[:2], ones),
    "a number": (lambda _, h: h.sum(), ones),
    "one sample": (lambda x, h: (h + x).mean(0, keepdim=True), ones),
    "no batch axis": (lambda x, h: (h + x).sum(0), ones),
    "each sample twice": (lambda _, h: h.repeat(2, 1), ones),
    "a layer's state": (add, lambda batch: torch.ones(1, batch, WIDTH)),
    "some samples of c": (adding(lambda _, c: c[:2]), pair),
    "a number for c": (adding(lambda _, c: c.sum()), pair),
    "the mean of c": (adding(lambda _, c: c.mean(0, keepdim=True)), pair),
}
#: Cells whose shapes change from step to step.
CHANGING = {
    "a wider output": (lambda _, h: torch.cat([h, h[:, :1]], 1), ones),
    "a narrower output": (lambda _, h: h[:, 1:], lambda batch: torch.ones(batch, SEQ)),
    "an axis more": (lambda _, h: h.unsqueeze(-1), ones),
}


@pytest.mark.parametrize("name", [*LOSING, *CHANGING])
def test_a_state_that_is_none_of_each_sample_is_refused(name):
    """Whoever runs the cell, with lengths, resets or neither, in any layout, the error is ours."""
    cell = Cell(*(LOSING | CHANGING)[name])
    options = [{}, {"lengths": LENGTHS}, {"reset": [[1] * BATCH] * SEQ}]
    for run, given in itertools.product(
        [partial(rnnkit.unroll, cell), rnnkit.Recurrent(cell)], options
    ):
        with pytest.raises(rnnkit.CellError, match="at step") as caught:
            run(X, **given)
        assert caught.value.argument == "cell"
        assert f"at step {caught.value.step}" in str(caught.value)


@pytest.mark.parametrize("name", ["a number", "a layer's state"])
def test_the_first_step_is_the_last_one_backward(name):
    """It is where the samples of a cell that runs backward are lost."""
    assert refused("at step", Cell(*LOSING[name]), reverse=True).step == SEQ - 1


@pytest.mark.parametrize("name", CHANGING)
def test_the_step_whose_output_has_another_shape(name):
    """It is named as the steps run, backward too; a state is only stacked if it is asked for."""
    cell = Cell(*CHANGING[name])
    for reverse, step in ((False, 1), (True, 5)):
        error = refused("shape", cell, reverse=reverse)
        assert error.step == step
        assert isinstance(error.__cause__, RuntimeError)
    grows = Cell(adding(lambda x, c: torch.cat([c, x], 1)), pair)
    assert rnnkit.unroll(grows, X)[1][1].shape == (BATCH, 2 + SEQ * WIDTH)
    for options in ({"return_states": True}, {"lengths": LENGTHS}):
        error = refused("shape", grows, **options)
        assert error.step == int("return_states" in options)
        assert isinstance(error.__cause__, RuntimeError)


#: Right cells whose tensors have no batch axis, or the size of the batch on another axis.
RIGHT = {
    "counts its steps": (
        adding(lambda _, c: c + 1),
        lambda b: (ones(b), torch.tensor(0)),
    ),
    "is a number": (lambda x, h: h + x.sum(), lambda _: torch.tensor(0.0)),
    "reads itself": (lambda x, h: h.sum() + x.sum(), lambda _: torch.zeros(1)),
    "keeps its inputs": (
        adding(lambda x, c: torch.cat([c, x.unsqueeze(1)], 1)),
        lambda b: (ones(b), torch.zeros(b, 0, WIDTH)),
    ),
    "has samples on axis 1": (lambda x, h: h + x.t(), lambda b: torch.ones(WIDTH, b)),
    "begins from one sample": (add, lambda _: torch.ones(1, WIDTH)),
    "begins from one number": (add, lambda b: torch.ones(b, 1)),
    "has a member more at each step": (lambda x, hx: (hx[0] + x, *hx), lambda b: (ones(b),)),
    "makes a number of a tuple": (
        lambda x, hx: (hx[0] + x, hx[0].sum()),
        lambda b: (ones(b), (ones(b),)),
    ),
    "begins from nothing": (lambda x, h: (h[0] + x, (h[0] + x).sum()), lambda b: (ones(b), None)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_cells(name):
    """A cell computes what the loop by hand computes, whatever its state is made of."""
    cell = Cell(*RIGHT[name])
    for batch in (BATCH, 1):
        x = X[:, :batch]
        result = rnnkit.unroll(cell, x)

        assert_same(by_loop(cell, x, cell.initial_state(batch)), result)
        assert_same(result[0], rnnkit.Recurrent(cell)(x)[0])


@pytest.mark.parametrize("name", ["has samples on axis 1", "is a number"])
def test_samples_on_another_axis_have_no_lengths(name):
    """Lengths are of samples on axis 0, and a state without them is refused, at any batch.

    So are resets, if no sample can be told from the others.
    """
    cell = Cell(*RIGHT[name])
    for batch, lengths in ((BATCH, LENGTHS), (2, [7, 3])):
        match = f"has {batch} samples"
        x = X[:, :batch]
        assert refused(match, cell, x, lengths=lengths, reverse=True).step == SEQ - 1
        if name == "has samples on axis 1":
            refused(match, cell, x, reset=[[1] * batch] * SEQ)


def test_one_sample_may_be_on_any_axis():
    """Of a batch of one, lengths and resets are of the whole state."""
    cell = Cell(*RIGHT["has samples on axis 1"])
    x = X[:, :1]
    output, state = rnnkit.unroll(cell, x, lengths=[3])

    assert_same(rnnkit.unroll(cell, x[:3]), (output[:3], state))
    assert not output[3:].any()
    reset = [[0], [0], [0], [1], [0], [0], [0]]
    assert_same(rnnkit.unroll(cell, x[3:])[1], rnnkit.unroll(cell, x, reset=reset)[1])


def test_a_first_state_that_all_samples_share():
    """It is each sample's own, with lengths and resets too."""
    shared = Cell(*RIGHT["begins from one sample"])
    own = Cell(add, ones)
    reset = [[0] * BATCH, *[[1] * BATCH] * 6]
    for options in ({}, {"lengths": LENGTHS}, {"lengths": [0, 3, 0, 7, 0]}, {"reset": reset}):
        assert_same(rnnkit.unroll(own, X, **options), rnnkit.unroll(shared, X, **options))


def test_a_count_of_all_samples_is_one_of_each_with_lengths():
    """A number that is no sample's becomes each sample's own where they end at different steps."""
    cell = Cell(*RIGHT["counts its steps"])

    for lengths in (LENGTHS, [0, 7, 0, 4, 5]):
        assert rnnkit.unroll(cell, X, lengths=lengths)[1][1].tolist() == lengths


def test_a_first_state_of_one_batch_only():
    """A cell that knows a first state of this batch alone is refused if it loses samples."""

    def begin(batch):
        assert batch == BATCH
        return ones(batch)

    refused("has 5 samples", Cell(lambda _, h: h[:2], begin))


@pytest.mark.unhooked("the annotation asks for an initial_state")
def test_what_cannot_be_called_as_a_cell():
    """Behind our words stands what Python says."""
    with pytest.raises(rnnkit.ArgumentError, match="cannot be called") as caught:
        rnnkit.unroll(nn.Linear(WIDTH, 4), X)
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_error_of_a_cell():
    """A cell's own error goes on, whatever it is."""
    whole = pair(BATCH)
    half = (ones(BATCH), None)
    for step, error, hx in (
        (lambda *_: len(None), TypeError, whole),
        (lambda x, _: x.missing, AttributeError, whole),
        (lambda x, _: x.missing, AttributeError, half),
        (lambda *_: {}[3], KeyError, whole),
    ):
        cell = Cell(step, pair)
        for run, state in ((partial(rnnkit.unroll, cell), hx), (rnnkit.Recurrent(cell), (hx,))):
            with pytest.raises(error) as caught:
                run(X, state)
            assert not isinstance(caught.value, rnnkit.RnnkitError)
            assert caught.value.__notes__[0] == "at step 0, in Cell"
