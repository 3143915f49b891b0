"""Positions on a batch axis, and masks: where they are read, and what is said of others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit import ArgumentError
from rnnkit._checks.arrays import as_mask, positions_of
from rnnkit._checks.call_spec import spec_of_layer
from rnnkit._checks.lengths import check_lengths, check_reset
from tests.checks.refusals import Case, Refused, call, filled, table
from tests.strategies import assert_same

META = torch.device("meta")


CASES = {
    "A mask with a feature axis.": Case(
        call("rnnkit.states.reset(filled(5, 4), mask)", mask=torch.ones(5, 1)),
        Refused(ArgumentError, "lacks", "mask", code="mask-shape"),
        fix="mask.squeeze(-1)",
        message=snapshot("""\
mask must have shape (5,), got (5, 1)
  the mask has a feature axis
  fix       mask.squeeze(-1)
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "Positions that are none.": Case(
        "rnnkit.states.select(filled(5, 4), {})",
        Refused(ArgumentError, "lacks", "index", code="index-kind", annotated=True),
        message=snapshot("""\
index must be integers (new_batch,) or booleans (batch=5,), got an empty dict
  more      python -m rnnkit explain index-kind\
"""),
    ),
    "Positions that are complex numbers.": Case(
        call("rnnkit.states.select(filled(5, 4), index)", index=torch.tensor([1 + 0j])),
        Refused(ArgumentError, "lacks", "index", code="index-kind"),
        message=snapshot("""\
index must be integers (new_batch,) or booleans (batch=5,), got torch.complex64 (1,)
  more      python -m rnnkit explain index-kind\
"""),
    ),
    **{
        f"A slice that is none: {index}.": Case(
            call("rnnkit.states.select(filled(2, 5, 4), index)", index=index),
            Refused(ArgumentError, "lacks", "index", code="index-kind"),
            lacks="fix",
        )
        for index in (slice(0.5, None), slice(None, None, 0), slice(None, None, "a"))
    },
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What was given is shown, with what is wanted."""
    case.check()


READ: dict[str, Callable[[], Tensor]] = {
    "positions": lambda: positions_of([1, 0], 2, META),
    "of a mask": lambda: positions_of([True, False], 2, META),
    "a mask": lambda: as_mask([True, False], 2, META),
    "0 and 1": lambda: as_mask([1, 0], 2, META),
}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_where_the_state_is(read: Callable[[], Tensor]) -> None:
    """Positions and masks are brought to the device of the state."""
    assert read().device == META


def test_a_mask_of_resets_stays_where_it_is() -> None:
    """Whoever uses it knows where it is needed; it is in one piece, whatever the layout."""
    mask, input = torch.ones(5, 7, device=META), filled(5, 7, 3).to(META)
    spec = spec_of_layer(rnnkit.GRU(3, 4, batch_first=True), input)

    found = check_reset(spec, mask, input)
    assert found.device == META
    assert found.shape == (7, 5)
    assert found.is_contiguous()


@pytest.mark.parametrize(
    "given_as",
    [
        np.asfortranarray,
        lambda flags: np.flip(np.flip(flags).copy()),
        lambda flags: np.repeat(flags, 2, axis=1)[:, ::2],
        lambda flags: flags.astype(object),
        lambda flags: flags.astype(">i4"),
        lambda flags: flags.astype(">f8"),
    ],
    ids=["by columns", "backward", "strided", "objects", "big-endian", "big-endian floats"],
)
def test_a_mask_may_come_as_any_array(given_as: Any) -> None:
    """A mask in an array, however that lies in memory, is the one in a list."""
    layer, x, flags = rnnkit.GRU(3, 4), torch.randn(7, 5, 3), np.arange(35).reshape(7, 5) % 4 == 1

    expected = layer(x, reset=flags.tolist())
    assert_same(expected, layer(x, reset=given_as(flags)))


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize("dtype", ["i8", ">i4", "O", "u1"])
def test_positions_may_come_as_any_array(dtype: str) -> None:
    """Positions in an array are those in a list."""
    state = torch.randn(3, 4)

    assert_same(state[[2, 0]], rnnkit.states.select(state, np.array([0, 2], dtype)[::-1]))


def test_lengths_come_to_where_the_input_is() -> None:
    """The kernels hold them to its steps there."""
    input = filled(7, 2, 3).to(META)

    assert check_lengths(spec_of_layer(rnnkit.GRU(3, 4), input), [7, 2], input).each.device == META


def test_the_last_of_one() -> None:
    """A batch of one is counted from its end, too."""
    assert positions_of([-1], 1, torch.device("cpu")).tolist() == [0]


class Sums(torch.nn.Module):
    """A cell that adds up what it reads."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 4, device="cpu")


#: Each reads a list, which a default device must not move.
LISTS: dict[str, Callable[[Tensor], Any]] = {
    "positions": lambda x: rnnkit.states.select(x, [0]),
    "mask": lambda x: rnnkit.states.reset(x, [0, 0, 1, 0, 0], x),
    "reset": lambda x: rnnkit.unroll(Sums(), x, reset=[[0] * 3] * 4 + [[1] * 3]),
    "lengths": lambda x: rnnkit.unroll(Sums(), x, lengths=[5, 5, 4]),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_beside_a_default_device(name: str) -> None:
    """A list is read on the CPU, whatever device new tensors go to."""
    x = torch.arange(60.0).view(5, 3, 4) if name in ("reset", "lengths") else filled(5, 4)

    expected = LISTS[name](x)
    with META:
        result = LISTS[name](x)
    assert_same(expected, result)


def test_an_input_that_is_a_list_beside_a_default_device() -> None:
    """What may be made of it is asked without the device."""
    with pytest.raises(ArgumentError, match=r"fix +torch\.as_tensor"), torch.device("cuda:99"):
        rnnkit.GRU(3, 4, device="cpu")([[1.0]])


def test_values_that_are_not_there() -> None:
    """Positions and masks without numbers are not looked into."""
    fake = FakeTensorMode()
    with fake:
        places, flags = torch.tensor([7, 8]), torch.tensor([7, 8])

    for mask, index in ((flags, places), (torch.ones(2, device="meta"), flags.to("meta"))):
        assert as_mask(mask, 2, META).shape == (2,)
        assert positions_of(index, 2, META).shape == (2,)
