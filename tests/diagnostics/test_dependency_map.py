"""``dependency_map``: which output depends on which input, as numbers, as text, as a picture."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
import torch
from inline_snapshot import snapshot
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model, numbers

BATCH, SEQ, FEATURE = 3, 5, 2
DIAGONAL = torch.eye(BATCH, dtype=torch.bool)
TRIANGLE = torch.ones(SEQ, SEQ, dtype=torch.bool).tril()
FORBIDDEN, PAPER = "#d1495bff", "#00000000"


@pytest.fixture(autouse=True)
def _off_screen() -> Iterator[None]:
    """Draw without a screen, and close what was drawn."""
    mpl.use("Agg")
    yield
    plt.close("all")


def gru(**options: Any) -> nn.GRU:
    """Make a layer."""
    return nn.GRU(FEATURE, 4, **options)


def assert_is(expected: Tensor, found: rnnkit.DependencyMap) -> None:
    """The map is exactly that matrix."""
    torch.testing.assert_close(found.matrix, expected)


@pytest.mark.parametrize("library", [nn, rnnkit.nn], ids=["torch", "rnnkit"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_right_layer(library: Any, kind: str) -> None:
    """Samples are on their own; steps depend on themselves and earlier ones."""
    model = getattr(library, kind)(FEATURE, 4, batch_first=True)
    x = numbers(BATCH, SEQ, FEATURE)

    assert_is(DIAGONAL, rnnkit.dependency_map(model, x))
    assert_is(TRIANGLE, rnnkit.dependency_map(model, x, dim=1))


def test_swapped_axes() -> None:
    """With batch_first forgotten, the triangle is on the batch, and steps are on their own."""
    x = numbers(BATCH, SEQ, FEATURE)

    assert_is(TRIANGLE[:BATCH, :BATCH], rnnkit.dependency_map(gru(), x))
    assert_is(torch.eye(SEQ, dtype=torch.bool), rnnkit.dependency_map(gru(), x, dim=1))


def test_bidirectional_layer() -> None:
    """Each step of a bidirectional layer depends on all; a sample on itself."""
    model, x = gru(bidirectional=True), numbers(SEQ, BATCH, FEATURE)

    assert_is(torch.ones_like(TRIANGLE), rnnkit.dependency_map(model, x))
    assert_is(DIAGONAL, rnnkit.dependency_map(model, x, dim=1))


def test_tokens_and_another_axis_of_the_output() -> None:
    """Tokens are replaced by tokens; batch and seq may change places on the way."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(m.embed(x.t()))[0]

    model = Model(compute, embed=nn.Embedding(9, FEATURE), gru=gru())
    x = torch.arange(BATCH * SEQ).remainder(9).view(BATCH, SEQ)

    assert_is(TRIANGLE, rnnkit.dependency_map(model, x, dim=1, out_dim=0))
    assert_is(DIAGONAL, rnnkit.dependency_map(model, x, dim=0, out_dim=1))


def test_output_of_another_length() -> None:
    """A window of three steps shows as three on each row."""
    found = rnnkit.dependency_map(nn.Conv1d(FEATURE, 4, 3), numbers(BATCH, FEATURE, SEQ), dim=2)

    assert (found.outputs, found.inputs) == ((0, 1, 2), (0, 1, 2, 3, 4))
    assert str(found) == snapshot("""\
output on axis 2 (down), input on axis 2 (across): some depend on some inputs; axes of 3 and 5 are not compared
0 ■ ■ ■ · ·
1 · ■ ■ ■ ·
2 · · ■ ■ ■\
""")


def test_grid() -> None:
    """It prints as a grid with its finding."""
    found = rnnkit.dependency_map(gru(batch_first=True), numbers(2, SEQ, FEATURE), dim=1)

    assert (
        str(found)
        == repr(found)
        == snapshot("""\
output on axis 1 (down), input on axis 1 (across): each depends on its own and earlier inputs
0 ■ · · · ·
1 ■ ■ · · ·
2 ■ ■ ■ · ·
3 ■ ■ ■ ■ ·
4 ■ ■ ■ ■ ■\
""")
    )


@pytest.mark.parametrize(
    ("cells", "finding"),
    [
        ("00 00", "nothing depends on this axis"),
        ("10 01", "each depends on its own input alone"),
        ("10 11", "each depends on its own and earlier inputs"),
        ("11 01", "some depend on later inputs"),
        ("11 11", "each depends on all inputs"),
    ],
)
def test_finding(cells: str, finding: str) -> None:
    """The finding says what the matrix looks like."""
    matrix = torch.tensor([[cell == "1" for cell in row] for row in cells.split()])

    assert rnnkit.DependencyMap(matrix, (0, 1), (0, 1), 0, 0).finding == finding


def test_wide_axes_are_thinned() -> None:
    """Of a long axis every 4th is tried, and the last, and they are compared by index."""
    found = rnnkit.dependency_map(gru(), numbers(100, 2, FEATURE))

    assert found.matrix.shape == (26, 26)
    assert found.inputs == found.outputs == (*range(0, 100, 4), 99)
    assert found.finding == "each depends on its own and earlier inputs"
    assert max(map(len, str(found).splitlines()[1:])) < 80


def colour(axes: Any, row: int, column: int) -> str:
    """Return the colour of a cell of a picture."""
    (mesh,) = axes.collections
    return to_hex(mesh.cmap(mesh.norm(mesh.get_array()))[row, column], keep_alpha=True)


def legend(axes: Any) -> list[str]:
    """Return what the legend of a picture says."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_picture_of_what_is_forbidden() -> None:
    """A dependency on a later step is coloured and counted, one on an earlier step is not."""
    found = rnnkit.dependency_map(gru(bidirectional=True), numbers(SEQ, BATCH, FEATURE))
    axes = found.plot("causal")

    assert colour(axes, 0, 4) == FORBIDDEN
    assert colour(axes, 4, 0) == colour(axes, 0, 0) != FORBIDDEN
    assert axes.get_title() == "each depends on all inputs\n10 forbidden"
    assert axes.get_xlabel() == "input, index on axis 0"
    assert axes.get_ylabel() == "output, index on axis 0"
    assert legend(axes) == ["depends", "depends, and must not"]


def test_picture_of_swapped_axes() -> None:
    """Samples that depend on each other are coloured below the diagonal."""
    axes = rnnkit.dependency_map(gru(), numbers(BATCH, SEQ, FEATURE)).plot("independent")

    assert colour(axes, 2, 0) == FORBIDDEN
    assert FORBIDDEN not in (colour(axes, 0, 2), colour(axes, 1, 1))
    assert axes.get_title().endswith("\n3 forbidden")


def test_picture_without_a_rule() -> None:
    """Nothing is forbidden without a rule; what is independent is coloured apart."""
    axes = rnnkit.dependency_map(gru(), numbers(SEQ, BATCH, FEATURE)).plot()

    assert colour(axes, 0, 1) == PAPER
    assert colour(axes, 0, 0) not in (PAPER, FORBIDDEN)
    assert legend(axes) == ["depends"]
    assert axes.get_title() == "each depends on its own and\nearlier inputs"


def test_picture_of_many_rows() -> None:
    """Indices are left out where their labels would collide, and a long title is broken."""
    found = rnnkit.dependency_map(gru(), numbers(14, BATCH, FEATURE))
    axes = found.plot(title="the decoder of the model that reads the whole of its source")

    assert [label.get_text() for label in axes.get_yticklabels()] == snapshot(
        ["0", "2", "4", "6", "8", "10", "12"]
    )
    assert axes.get_title() == snapshot("""\
the decoder of the model that
reads the whole of its source\
""")


def test_picture_on_given_axes() -> None:
    """It draws on the axes, and under the title, that it is given."""
    _, given = plt.subplots()
    found = rnnkit.dependency_map(gru(), numbers(50, BATCH, FEATURE))
    axes = found.plot(ax=given, title="a decoder")

    assert axes is given
    assert axes.get_title() == "a decoder"
    assert axes.get_xlabel() == "input, index on axis 0,\nevery 2nd, and the last"
    # A tick is labelled with the index that stands there, which thinning has moved.
    assert [label.get_text() for label in axes.get_xticklabels()] == snapshot(
        ["0", "8", "16", "24", "32", "40", "48"]
    )


def refused(*args: Any, **options: Any) -> str:
    """Ask for a map that there is not; return what is said."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.dependency_map(*args, **options)
    return str(error.value)


def test_refused_input_axis() -> None:
    """An axis that no input has is refused."""
    assert refused(gru(), numbers(SEQ, BATCH, FEATURE), dim=3) == snapshot(
        """\
dim=3, but the input (5, 3, 2) has axes 0 to 2
  fix       dim=1, where the steps mostly are
  more      python -m rnnkit explain verify-axis\
"""
    )


def test_refused_output_axis() -> None:
    """An axis that the output has not is refused."""
    model = Model(lambda m, x: m.gru(x)[0].mean((1, 2)), gru=gru())

    assert refused(model, numbers(SEQ, BATCH, FEATURE), dim=1) == snapshot(
        """\
the first output has no axis 1: its shape is (5,)
  more      python -m rnnkit explain verify-axis\
"""
    )


def test_refused_output() -> None:
    """An output without axes is refused."""
    model = Model(lambda m, x: m.gru(x)[0].mean(), gru=gru())

    assert refused(model, numbers(SEQ, BATCH, FEATURE)) == snapshot(
        """\
the first output has no axis 0: its shape is ()
  more      python -m rnnkit explain verify-axis\
"""
    )


def test_refused_packed_input() -> None:
    """A packed input is refused with what to pass in its place."""
    packed = nn.utils.rnn.pack_sequence([numbers(5, FEATURE), numbers(3, FEATURE)])

    assert refused(gru(), packed) == snapshot(
        """\
a packed input has no batch axis to try: pass the padded batch and lengths
  more      python -m rnnkit explain verify-packed\
"""
    )


def test_model_that_takes_nothing_else() -> None:
    """A model that refuses whatever is changed is not mapped: its own error comes through."""
    x = torch.randn(4, 5, 3)

    def compute(m: Any, given: Tensor) -> Tensor:
        if len(given) == len(x) and not torch.equal(given, x):
            raise LookupError
        return m.gru(given)[0]

    model = Model(compute, gru=nn.GRU(3, 4, batch_first=True))
    with pytest.raises(LookupError):
        rnnkit.dependency_map(model, x)
