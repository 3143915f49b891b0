"""``dependency_map`` of several inputs, and what it refuses."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model, numbers, tokens

BATCH, SEQ, FEATURE, HIDDEN = 5, 4, 3, 4
DIAGONAL = torch.eye(BATCH, dtype=torch.bool)
TRIANGLE = torch.ones(SEQ, SEQ, dtype=torch.bool).tril()


def gru(width: int = FEATURE, **options: Any) -> nn.GRU:
    """Make a batch-first layer whose hidden size is the number of steps."""
    return nn.GRU(width, HIDDEN, batch_first=True, **options)


def assert_is(expected: Tensor, found: rnnkit.DependencyMap) -> None:
    """The map is exactly that matrix."""
    torch.testing.assert_close(found.matrix, expected)


@pytest.mark.parametrize("layers", [1, 2, SEQ, BATCH])
@pytest.mark.parametrize("batch", [SEQ, BATCH])
def test_state_of_a_layer(batch: int, layers: int) -> None:
    """A state is no sequence, whichever of its axes is as long as the sequence."""
    model = gru(num_layers=layers)
    inputs = numbers(batch, SEQ, FEATURE), numbers(layers, batch, HIDDEN)

    assert_is(TRIANGLE, rnnkit.dependency_map(model, *inputs, dim=1))
    assert_is(torch.eye(batch, dtype=torch.bool), rnnkit.dependency_map(model, *inputs))


def loop(m: Any, x: Tensor, h: Tensor) -> Tensor:
    """Run a cell over a sequence."""
    outputs = []
    for x_t in x.unbind(1):
        h = m.cell(x_t, h)
        outputs.append(h)
    return torch.stack(outputs, 1)


def test_state_of_a_cell() -> None:
    """A cell's state has the batch, and no steps."""
    model = Model(loop, cell=nn.GRUCell(FEATURE, HIDDEN))
    inputs = numbers(BATCH, SEQ, FEATURE), numbers(BATCH, HIDDEN)

    assert_is(TRIANGLE, rnnkit.dependency_map(model, *inputs, dim=1))
    assert_is(DIAGONAL, rnnkit.dependency_map(model, *inputs))


def second(m: Any, _: Tensor, other: Tensor) -> Tensor:
    """Read the second input alone."""
    return m.gru(other if other.dim() == 3 else other.unsqueeze(-1).float())[0]


@pytest.mark.parametrize("width", [None, 1])
def test_two_sequences(width: int | None) -> None:
    """A second sequence moves along, with features or without."""
    other = numbers(BATCH, SEQ) if width is None else numbers(BATCH, SEQ, width)
    model = Model(second, gru=gru(1))

    assert_is(TRIANGLE, rnnkit.dependency_map(model, numbers(BATCH, SEQ, FEATURE), other, dim=1))
    assert_is(DIAGONAL, rnnkit.dependency_map(model, numbers(BATCH, SEQ, FEATURE), other))


def fixed(m: Any, x: Tensor, other: Tensor) -> Tensor:
    """Read a second input, of so many steps and no fewer."""
    return second(m, x, other) + m.place + 0 * x.sum((0, 2)).unsqueeze(1)


def test_model_of_a_fixed_length() -> None:
    """If the model takes no fewer steps, tokens beside the input move along, and numbers do not."""
    model = Model(fixed, gru=gru(1))
    model.place = numbers(SEQ, HIDDEN)
    x = numbers(BATCH, SEQ, FEATURE)
    along = rnnkit.dependency_map(model, x, tokens(BATCH, SEQ), dim=1)
    alone = rnnkit.dependency_map(model, x, numbers(BATCH, SEQ), dim=1)
    apart = rnnkit.dependency_map(model, x, tokens(1, SEQ).expand(BATCH + 1, -1), dim=1)

    assert_is(TRIANGLE, along)
    assert alone.finding == apart.finding == "nothing depends on this axis"


def test_inputs_without_the_axis() -> None:
    """Lengths and numbers beside the input stay as they are."""

    def compute(m: Any, x: Tensor, lengths: Any, scale: float) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(m.gru(packed)[0], batch_first=True)[0] * scale

    model, x = Model(compute, gru=gru()), numbers(BATCH, SEQ, FEATURE)

    for lengths in (torch.full((BATCH,), SEQ), [SEQ] * BATCH):
        assert_is(TRIANGLE, rnnkit.dependency_map(model, x, lengths, 2.0, dim=1))


def test_output_that_is_gone() -> None:
    """An output that is not there any more depended on what was replaced."""
    model = Model(lambda m, x: m.embed(x)[:, : int(x.max())], embed=nn.Embedding(9, HIDDEN))
    found = rnnkit.dependency_map(model, torch.arange(1, SEQ + 1).unsqueeze(0), dim=1)

    assert_is(torch.eye(SEQ, dtype=torch.bool), found)


def test_axes_from_the_end() -> None:
    """Axes may be counted from the end."""
    found = rnnkit.dependency_map(gru(), numbers(BATCH, SEQ, FEATURE), dim=-2, out_dim=-2)

    assert_is(TRIANGLE, found)
    assert (found.dim, found.out_dim) == (1, 1)


def refused(*args: Any, **options: Any) -> tuple[str, str]:
    """Ask for a map that there is not; return what is said, and of which argument."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.dependency_map(*args, **options)
    return str(error.value), error.value.argument


def test_refused_axes() -> None:
    """What is said of an axis that is not there names the argument of this function."""
    x = numbers(BATCH, SEQ, FEATURE)

    assert refused(gru(), x, dim=-4) == snapshot(
        (
            """\
dim=-4, but the input (5, 4, 3) has axes 0 to 2
  fix       dim=1, where the steps mostly are
  more      python -m rnnkit explain verify-axis\
""",
            "dim",
        )
    )
    assert refused(gru(), x, out_dim=-4) == snapshot(
        (
            """\
the first output has no axis -4: its shape is (5, 4, 4)
  more      python -m rnnkit explain verify-axis\
""",
            "out_dim",
        )
    )
    assert refused(gru(), x[:, :0], dim=1) == snapshot(
        (
            """\
axis 1 is empty: the first input has shape (5, 0, 3)
  more      python -m rnnkit explain verify-batch\
""",
            "inputs",
        )
    )
    assert refused(gru(), dim=1) == snapshot(
        (
            """\
inputs must be tensors, got nothing
  more      python -m rnnkit explain verify-inputs\
""",
            "inputs",
        )
    )


@pytest.mark.unhooked("beartype refuses it first")
@pytest.mark.parametrize("act", ["forbidden", "plot"])
def test_refused_rule(act: str) -> None:
    """A rule that there is not is refused, rather than taken for another."""
    found = rnnkit.dependency_map(gru(), numbers(BATCH, SEQ, FEATURE))
    with pytest.raises(rnnkit.ArgumentError) as error:
        getattr(found, act)("independant")

    assert str(error.value) == snapshot(
        """\
rule must be one of independent, causal, got 'independant'
  more      python -m rnnkit explain map-rule\
"""
    )
    assert error.value.argument == "rule"
