"""Inputs whose features lie elsewhere, or that lack an axis, where small sizes could mislead."""

import pytest
import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


def test_two_features_in_the_middle() -> None:
    """Two features are enough to tell where they lie."""
    x = filled(5, 2, 7)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.GRU(2, 4, batch_first=True)(x))
    assert "evidence  input_size=2 is axis 1 of the input" in str(error)
    rnnkit.GRU(2, 4, batch_first=True)(fixed(error, "input.transpose(1, 2)", input=x))


def test_single_feature_in_front() -> None:
    """An axis of one in front may be the feature: moving it is offered, without evidence."""
    x = filled(1, 7, 5)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(1, 4)(x))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 1, got 5
  GRU(1, 4): the input is 5 wide, the weights are for 1
  input     expected (seq, batch, input_size=1)    got (1, 7, 5)
  fix       input.movedim(0, -1), then see that seq and batch are in order
            GRU(5, ...), or an input with 1 feature\
""")
    rnnkit.GRU(1, 4)(fixed(error, "input.movedim(0, -1)", input=x))


def test_vector_of_another_width() -> None:
    """A vector that is no step either is refused with the shape that is wanted."""
    x = filled(5)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert str(error) == snapshot("""\
GRU: Expected input to be 2D or 3D, got 1D instead
  GRU(3, 4): the input has 1 axis
  input     expected (seq, batch, input_size=3)    got (5,)
  fix       a tensor (seq, batch, input_size=3)\
""")


def test_spectrograms_batch_first() -> None:
    """(batch, channel, seq, height) is refused with the order of a batch-first layer."""
    x = filled(5, 2, 7, 3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(6, 4, batch_first=True)(x))
    fix = "input.permute(0, 2, 1, 3).flatten(2)"
    assert f"{fix}, if it is (batch, channel, seq, height)" in str(error)
    turned = fixed(error, fix, input=x)
    assert turned.shape == (5, 7, 6)
    rnnkit.GRU(6, 4, batch_first=True)(turned)


def test_packed_numbers() -> None:
    """Packed steps without a feature axis are refused, even as many as a step has features."""
    x = PackedSequence(filled(3), torch.tensor([2, 1]))

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert str(error) == snapshot("""\
input must have 2 dimensions, got 1
  GRU(3, 4): the input has 1 axis
  input     expected (sum of lengths, input_size=3)    got (3,)
  fix       pack a padded tensor (batch, seq, 3), a feature axis at its end\
""")


@pytest.mark.parametrize("name", ["GRU", "GRUCell"])
def test_token_ids_with_an_axis_of_one(name: str) -> None:
    """Token ids with a last axis of one are refused with an embedding that leaves it out."""
    x = torch.ones((7, 5, 1) if name == "GRU" else (5, 1), dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: getattr(nn, name)(3, 4)(x))
    fix = "torch.nn.Embedding(vocabulary, 3)(input.squeeze(-1))"
    getattr(rnnkit, name)(3, 4)(fixed(error, fix, input=x, vocabulary=10))


def test_packed_token_ids_with_an_axis_of_one() -> None:
    """So are packed ones."""
    x = PackedSequence(torch.ones(3, 1, dtype=torch.int64), torch.tensor([2, 1]))

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRU(3, 4)(x))
    fix = "input._replace(data=torch.nn.Embedding(vocabulary, 3)(input.data.squeeze(-1)))"
    rnnkit.GRU(3, 4)(fixed(error, fix, input=x, vocabulary=10))


def test_one_token_id_for_a_cell() -> None:
    """One token id is one unbatched step for a cell."""
    x = torch.tensor(3)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x))
    fix = "torch.nn.Embedding(vocabulary, 3)(input)"
    rnnkit.GRUCell(3, 4)(fixed(error, fix, input=x, vocabulary=10))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("GRU", ()),
        ("GRU", (7, 5, 2)),
        ("GRU", (7, 5, 3, 1)),
        ("GRUCell", (1, 3)),
        ("GRUCell", (7, 5, 1)),
    ],
)
def test_whole_numbers_that_no_embedding_brings_to_a_rank(
    name: str, shape: tuple[int, ...]
) -> None:
    """An embedding is advised only where its output has the rank that is read."""
    x = torch.ones(shape, dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "unsafe", lambda nn: getattr(nn, name)(3, 4)(x))
    assert "Embedding" not in str(error)


def test_complex_numbers_without_a_feature_axis() -> None:
    """Complex numbers are no token ids, of whatever rank they are."""
    x = filled(7, 5, dtype=torch.complex64)

    error = refusal(rnnkit.DtypeError, "unsafe", lambda nn: nn.GRU(3, 4)(x))
    assert "Embedding" not in str(error)


def test_sparse_input_of_a_cell_on_another_device() -> None:
    """A cell takes sparse input: on another device it is refused for the device alone."""
    x = filled(5, 3).to_sparse()

    error = refusal(rnnkit.DeviceError, "unsafe", lambda nn: nn.RNNCell(3, 4, device="meta")(x))
    assert "found input tensor at cpu and parameter tensor at meta" in str(error)
    rnnkit.RNNCell(3, 4)(x)
