"""What holds for every message: it is short, it survives a worker process, it has a code."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit import DtypeError, StateError
from rnnkit._checks.call_spec import spec_of_layer
from rnnkit._checks.causes.inputs import diagnose_dtype_and_device
from tests.checks.refusals import filled


class Odd(rnnkit.GRU):
    """A layer that cannot print itself."""

    def extra_repr(self) -> str:
        """Fail."""
        message = "no options"
        raise ValueError(message)


def test_a_failing_extra_repr_does_not_replace_the_error() -> None:
    """What a user's class prints is cut or left out; the error is ours."""
    with pytest.raises(DtypeError, match=r"Odd\(\.\.\.\): input and weights differ"):
        Odd(3, 4)(filled(7, 5, 3, dtype=torch.float64))


LONG: dict[str, Callable[[], object]] = {
    "a long list as a pair": lambda: rnnkit.LSTM(3, 4)(
        filled(7, 5, 3), [filled(1, 5, 4)] * 100_000
    ),
    "many ints as a state": lambda: rnnkit.GRU(3, 4)(filled(7, 5, 3), [1] * 100_000),
    "a long string as lengths": lambda: rnnkit.GRU(3, 4)(filled(7, 5, 3), lengths="x" * 100_000),
    "a long string as size": lambda: rnnkit.GRU(3, "4" * 100_000),
    "a huge int": lambda: rnnkit.GRU(3, 10**5000),
    "a long name": lambda: rnnkit.GRU(3, 4, **{"x" * 100_000: 1}),
    "long axes": lambda: rnnkit.GRU(3, 4, axes={"seq": "x " * 100_000}),
    "a long how": lambda: rnnkit.states.bridge(filled(2, 3, 4), "x" * 100_000),
    "a long device": lambda: rnnkit.states.to(filled(2, 4), "x" * 100_000),
    "sixty axes": lambda: rnnkit.GRU(3, 4)(filled(*[1] * 60, 2, 2)),
    "nested state": lambda: rnnkit.GRU(3, 4).last_hidden([[filled(1)] * 1000] * 1000),
    "a long class name": lambda: type("X" * 100_000, (rnnkit.GRU,), {})(3, 4)(filled(7, 5, 2)),
}


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize("act", LONG.values(), ids=LONG)
def test_no_message_is_long(act: Callable[[], object]) -> None:
    """Whatever is quoted goes through one brief form."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act()

    assert len(str(caught.value)) < 2000


def test_errors_survive_pickling_with_their_code() -> None:
    """A worker process sends errors back whole; a DataLoader makes them of their text alone."""
    with pytest.raises(StateError) as caught:
        rnnkit.GRU(3, 4)(filled(7, 5, 3), filled(1, 8, 4))
    error = caught.value
    again = pickle.loads(pickle.dumps(error))

    assert (again.code, again.argument, again.actual) == ("state-batch", "hx", (1, 8, 4))
    assert str(again) == str(error)
    assert type(error)("text").code == ""
    assert rnnkit.CellError("text").step == 0


def test_a_leak_has_the_name_of_its_probe_for_a_code() -> None:
    """It needs no list of its own."""
    assert rnnkit.LeakError("text", "batch", "encoder").code == "batch"


def test_an_input_that_has_numbers_is_moved_to_the_weights() -> None:
    """What holds for two devices that this machine need not have."""
    layer, input = rnnkit.GRU(3, 4), filled(7, 5, 3)
    with FakeTensorMode():
        weight = torch.empty(12, 3, device="cuda")
    cause = diagnose_dtype_and_device(spec_of_layer(layer, input), input, weight)

    assert cause is not None
    assert cause.rows[-1] == ("fix", "input.to('cuda:0'), or move the model to the input")
