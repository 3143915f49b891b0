"""What ``unroll`` takes: whole numbers of a user's cell, a part of a pair, a state without a batch."""

from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode

import rnnkit
from tests.strategies import assert_same


class Embedded(torch.nn.Module):
    """A user's cell that reads whole numbers, and has a weight named as ours."""

    def __init__(self) -> None:
        """Make a table of ten rows."""
        super().__init__()
        self.weight_ih = torch.nn.Parameter(torch.ones(10, 4))

    def forward(self, input: torch.Tensor, hx: torch.Tensor) -> torch.Tensor:
        """Add the rows that are named."""
        return hx + self.weight_ih[input].sum(-2)

    def initial_state(self, batch_size: int) -> torch.Tensor:
        """Begin with zeros."""
        return torch.zeros(batch_size, 4)


def test_whole_numbers_for_a_users_cell() -> None:
    """What a user's cell reads is its own affair, whatever its weights are called."""
    output, state = rnnkit.unroll(Embedded(), torch.ones(7, 5, 3, dtype=torch.int64))
    assert torch.equal(state, torch.full((5, 4), 21.0))
    assert torch.equal(output[0], torch.full((5, 4), 3.0))


@pytest.mark.parametrize(
    "given", [(None, None), (torch.ones(4), torch.ones(4)), [torch.ones(4), None]]
)
def test_pair_of_one_sequence(given: Any) -> None:
    """Each form of the pair that a cell takes for one step is taken for one sequence."""
    output, state = rnnkit.unroll(rnnkit.LSTMCell(3, 4), torch.ones(7, 3), given)
    assert output.shape == (7, 4)
    assert state.h.shape == state.c.shape == (4,)


@pytest.mark.covering(2)
@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("missing", ["h", "c", "both"])
def test_zeros_for_what_is_missing(batch: int, dtype: torch.dtype, missing: str) -> None:
    """None in a pair stands for zeros, of a projected cell too."""
    for cell in (
        rnnkit.LSTMCell(3, 4, dtype=dtype),
        rnnkit.LSTM(3, 4, proj_size=2, dtype=dtype).cells()[0],
    ):
        x = torch.ones(7, batch, 3, dtype=dtype)
        zeros = cell.initial_state(batch)
        whole = rnnkit.LSTMState(zeros.h + 1, zeros.c + 1)
        names = ("h", "c") if missing == "both" else (missing,)
        given = [None if name in names else getattr(whole, name) for name in ("h", "c")]
        filled_up = [zeros[k] if part is None else part for k, part in enumerate(given)]
        for one, other in zip(
            rnnkit.unroll(cell, x, given)[1], rnnkit.unroll(cell, x, filled_up)[1], strict=True
        ):
            assert torch.equal(one, other)


def test_zeros_lie_where_the_input_lies() -> None:
    """They are made on the input's device."""
    cell = rnnkit.LSTMCell(3, 4, device="meta")
    h = torch.zeros(5, 4, device="meta")
    _, state = rnnkit.unroll(cell, torch.ones(7, 5, 3, device="meta"), (h, None))
    assert state.c.device.type == "meta"


def test_tensors_without_numbers() -> None:
    """Where none has numbers, lengths and states are taken as they are."""
    layer, x = rnnkit.LSTM(3, 4, device="meta"), torch.ones(7, 5, 3, device="meta")
    assert layer(x, lengths=[7, 0, 5, 1, 4])[0].is_meta
    with FakeTensorMode():
        cell, x, hx = rnnkit.GRUCell(3, 4), torch.ones(7, 5, 3), torch.ones(5, 4)
        output, state = rnnkit.unroll(cell, x, hx, lengths=torch.tensor([7, 0, 5, 1, 4]))
    assert output.shape == (7, 5, 4)
    assert state.shape == (5, 4)


@pytest.mark.unhooked("the annotation asks for an initial_state")
def test_a_vector_is_the_state_of_one_sequence() -> None:
    """Without a batch, a user's state is handed to the cell with a batch of one."""
    output, end = rnnkit.unroll(
        lambda x, hx: hx + x, torch.ones(7, 3), torch.tensor([1.0, 2.0, 3.0])
    )

    assert output.shape == (7, 3)
    assert end.tolist() == [8.0, 9.0, 10.0]


class Learned(rnnkit.LSTMCell):
    """A cell that begins from numbers of its own."""

    def initial_state(self, batch_size: int | None) -> rnnkit.LSTMState:
        """Return threes and fours."""
        zeros = super().initial_state(batch_size)
        return rnnkit.LSTMState(zeros.h + 3, zeros.c + 4)


class Hooked(rnnkit.LSTMCell):
    """A cell whose calls are its own, as those of one with a hook are."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # type: ignore[override]
        """Run one step."""
        return super().forward(input, hx)


CALLS: list[dict[str, Any]] = [
    {},
    {"lengths": [4, 0]},
    {"reset": [[0, 1], [0, 0], [1, 0], [0, 1]]},
    {"return_states": True, "lengths": [4, 2]},
]


@pytest.mark.covering(3)
@pytest.mark.parametrize("options", CALLS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("sequences", [2, None])
@pytest.mark.parametrize("kind", [Learned, Hooked])
def test_the_first_state_of_a_cell_for_what_is_missing(
    kind: Any, sequences: int | None, missing: int, options: dict[str, Any]
) -> None:
    """None in a pair stands for the cell's own first state, with lengths and resets too."""
    cell, x = kind(3, 4), torch.randn(4, *(() if sequences is None else (2,)), 3)
    if sequences is None and options:
        options = {"reset": [0, 0, 1, 0]}
    first = cell.initial_state(sequences)
    whole: list[Any] = [first.h + 0.5, first.c + 0.5]
    half: list[Any] = list(whole)
    whole[missing], half[missing] = first[missing], None

    expected = rnnkit.unroll(cell, x, tuple(whole), **options)

    for given in (tuple(half), half):
        assert_same(expected, rnnkit.unroll(cell, x, given, **options))
    if "return_states" not in options:
        assert_same(expected, rnnkit.Recurrent(cell)(x, (tuple(half),), **options))


@pytest.mark.parametrize("half", [False, True])
def test_the_first_state_of_a_recurrent_for_what_is_missing(*, half: bool) -> None:
    """A Recurrent with a first state of its own begins from that where a part is None."""

    class Begins(rnnkit.Recurrent[Any]):
        def initial_state(self, batch_size: int | None) -> Any:
            return tuple(
                rnnkit.LSTMState(*(tensor + 2 for tensor in state))
                for state in super().initial_state(batch_size)
            )

    layer, x = Begins([rnnkit.LSTMCell(3, 4), rnnkit.LSTMCell(4, 5)]), torch.randn(7, 2, 3)
    first, second = layer.initial_state(2)
    given = (first.h, None) if half else None
    whole = (first, second)

    assert_same(layer(x, whole), layer(x, (given, second)))
    assert_same(layer(x, whole, lengths=[7, 0]), layer(x, (given, second), lengths=[7, 0]))
