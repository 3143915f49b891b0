"""What an error knows beside its text, and texts that a call of the table cannot show."""

import pickle
import re
import sys

import pytest
import torch
from beartype import beartype
from torch import nn
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit import CellError, RnnkitWarning, ShapeError, StateError
from rnnkit._base.callers import user_frame
from rnnkit._checks.call_spec import spec_of
from rnnkit._checks.causes.inputs import check_dtype

X = torch.ones(7, 5, 3)


def test_errors_survive_pickling_with_their_code():
    """A worker process sends errors back whole; a DataLoader makes them of their text only."""
    with pytest.raises(StateError) as caught:
        rnnkit.GRU(3, 4)(X, torch.ones(1, 8, 4))
    error = caught.value
    again = pickle.loads(pickle.dumps(error))

    facts = (again.code, again.argument, again.expected, again.actual)
    assert facts == ("state-batch", "hx", (1, 5, 4), (1, 8, 4))
    assert str(again) == str(error)
    assert type(error)("text").code == RnnkitWarning("text").code == ""
    assert rnnkit.CellError("text").step == 0
    assert rnnkit.LeakError("text", "batch", "encoder").code == "batch"


def test_an_input_that_has_numbers_is_moved_to_the_weights():
    """What holds for two devices that this machine need not have."""
    layer = rnnkit.GRU(3, 4)
    with FakeTensorMode():
        weight = torch.empty(12, 3, device="cuda")
    with pytest.raises(
        rnnkit.DeviceError, match=re.escape("fix       input.to('cuda:0'), or move")
    ):
        check_dtype(spec_of(layer, X, "layer"), X, weight)


class Begins(rnnkit.GRU):
    """A layer with a first state for another batch."""

    def initial_state(self, batch_size):  # noqa: ARG002 - of another batch
        """Return one."""
        return torch.ones(1, 8, 4)


class Failing(nn.Module):
    """A user's cell that does what it is told to at its third step."""

    def __init__(self, act):
        """Count from zero."""
        super().__init__()
        self.act = act
        self.steps = 0

    def forward(self, input, hx):  # noqa: ARG002 - the protocol's
        """Act at the third step."""
        self.steps += 1
        return self.act(hx) if self.steps == 3 else hx

    def initial_state(self, batch_size):
        """Return a state as wide as the input."""
        return torch.ones(batch_size, 4)


def fails(hx):
    """Fail in a way of its own."""
    return hx @ hx


def test_notes_say_where():
    """An error says which state it is about, and a cell's, its own or ours, at which step of which cell."""
    deep = "in layer 1, backward direction, of Recurrent"
    with pytest.raises(StateError) as first:
        Begins(3, 4)(X, torch.ones(1, 5, 4), reset=torch.ones(7, 5))
    with pytest.raises(StateError) as without_hx:
        Begins(3, 4)(X)
    for act, kind, step in ((fails, RuntimeError, "at step 4, in Failing"), (str, CellError, "")):
        cells = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]
        with pytest.raises(kind) as caught:
            rnnkit.Recurrent(cells, reverse_cells=[rnnkit.GRUCell(3, 4), Failing(act)])(X)
        assert caught.value.__notes__ == [*([step] if step else []), deep]
        assert step or (caught.value.step, caught.value.argument) == (4, "cell")

    for caught in (first, without_hx):
        assert caught.value.__notes__ == ["hx is what initial_state returned"]


@pytest.mark.parametrize("cell", [rnnkit.GRUCell(3, 4), Failing(fails)], ids=["ours", "own"])
@pytest.mark.parametrize("state", [torch.ones(2, 4), (torch.ones(2, 4),)], ids=["bare", "batch"])
@pytest.mark.parametrize("options", [{}, {"reset": torch.ones(7, 5)}], ids=["", "reset"])
def test_a_wrong_initial_state_is_not_the_callers(cell, state, options):
    """A Recurrent whose own initial_state returns a wrong state says whose it is."""
    layer = rnnkit.Recurrent(cell)
    layer.initial_state = lambda _: state
    with pytest.raises(StateError) as caught:
        layer(X, **options)
    assert "hx is what initial_state returned" in caught.value.__notes__


@pytest.mark.unhooked("the annotation asks for an initial_state")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("options", [{}, {"reverse": True, "lengths": [2, 1]}], ids=str)
def test_a_written_state_is_seen_in_each_mode(mode, options):
    """It is seen at the first step that is run; the line to type ends it."""
    x = torch.ones(2, 2, 3)
    h = torch.ones(2, 3)

    def write(x, hx):
        hx.detach()[0].add_(x[0])
        return hx

    with mode():
        with pytest.raises(CellError, match=r"or hx\.clone\(\)") as caught:
            rnnkit.unroll(write, x, h.clone(), **options)
        rnnkit.unroll(lambda x, hx: write(x, hx.clone()), x, h, **options)
        with pytest.raises(CellError, match="changes its state in place"):  # a view is one, too
            rnnkit.unroll(lambda x, hx: hx.add_(x), x, torch.ones(2, 6).chunk(2, 1)[0])

    assert caught.value.step == (1 if options else 0)


@pytest.mark.unhooked("the hook complains first")
def test_what_is_not_ours_goes_on():
    """Python's complaint, torch's failures, and a cell's on two devices are left as they are."""
    layer = rnnkit.GRU(3, 4)
    with pytest.raises(TypeError, match=re.escape("step() missing 1 required positional argument")):
        layer.step()
    layer.weight_hh_l0.data = torch.randn(12, 3)
    with pytest.raises(RuntimeError) as broken:
        layer(X)
    cell = lambda _, hx: hx.to("meta") if hx.any() else hx + 1  # noqa: E731
    with pytest.raises(RuntimeError, match="device") as moved:
        rnnkit.unroll(cell, torch.ones(2, 2, 3), torch.zeros(2, 4), lengths=[2, 1])

    assert not isinstance(broken.value, rnnkit.RnnkitError)
    assert not isinstance(moved.value, rnnkit.RnnkitError)


def test_input_and_state_are_looked_at_before_lengths():
    """What is wrong by itself is refused for what it is; no random number is drawn for it."""
    layer = rnnkit.GRU(3, 4, 2, dropout=0.5)
    before = torch.get_rng_state()
    for input, hx, kind in ((torch.ones(7, 5, 9), None, ShapeError),
                            (X, torch.ones(2, 4, 4), StateError)):  # fmt: skip
        with pytest.raises(kind) as caught:
            layer(input, hx, lengths=[7, 3])
        assert type(caught.value) is kind

    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.unhooked("it adds frames")
def test_warnings_are_of_the_callers_line():
    """A warning points at what was written, and filters of UserWarning see it."""
    for kind, args in ((rnnkit.GRU, (3, 8, 1, True)), (rnnkit.RNNCell, (3, 0))):
        with pytest.warns(UserWarning, match=r"Write|Use") as caught:
            kind(*args)
        assert [each.filename for each in caught] == [__file__]


def test_what_beartype_writes_is_no_users_code():
    """Behind a function that beartype has wrapped stands the one who called it."""
    assert beartype(user_frame)() is sys._getframe()


@pytest.mark.parametrize(
    ("lengths", "actual"),
    [(torch.tensor([7, 5]), (2,)), (torch.eye(3).to_sparse(), (3, 3)), ([7, 5], ())],
)
def test_an_error_of_lengths_has_the_shape_of_a_tensor(lengths, actual):
    """The shape that is wanted stands beside that of a tensor that came; a list has none."""
    with pytest.raises(rnnkit.LengthsError) as caught:
        rnnkit.GRU(3, 4)(torch.ones(7, 3, 3), lengths=lengths)

    assert (caught.value.expected, caught.value.actual) == ((3,), actual)
