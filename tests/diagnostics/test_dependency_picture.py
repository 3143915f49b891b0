"""``DependencyMap.plot``: colors, labels, legend and title."""

import itertools

import matplotlib as mpl
import pytest
import torch
from inline_snapshot import snapshot
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import rnnkit
from rnnkit._diagnostics.tell.picture import FORBIDDEN
from tests.diagnostics.models_of_users import X, gru, numbers, reported

PAPER = "#00000000"


@pytest.fixture(autouse=True)
def _off_screen():
    """Draw without a screen, and close what was drawn."""
    mpl.use("Agg")
    yield
    plt.close("all")


def triangle(size, every=1):
    """Make a causal map."""
    places = tuple(sorted({*range(0, size, every), size - 1}))
    matrix = torch.ones(len(places), len(places), dtype=torch.bool).tril()
    return rnnkit.DependencyMap(matrix, places, places, 0, 1)


def color(axes, row, column):
    """Return the color of a cell of a picture."""
    mesh, _ = axes.collections
    return to_hex(mesh.cmap(mesh.norm(mesh.get_array()))[row, column], keep_alpha=True)


def legend(axes):
    """Return the texts of a picture's legend."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_what_is_forbidden():
    """What a rule forbids is red, hatched and counted; what is independent has no color."""
    axes = triangle(3).plot("independent")

    assert color(axes, 2, 0) == f"{FORBIDDEN}ff"
    assert color(axes, 0, 2) == PAPER
    assert color(axes, 1, 1) not in (PAPER, color(axes, 2, 0))
    assert legend(axes) == ["depends", "depends, and must not"]
    assert axes.collections[1].get_hatch()
    assert len(axes.collections[1].get_paths()) == 3
    assert axes.get_title() == snapshot("2 outputs depend on other inputs")
    assert (axes.get_xlabel(), axes.get_ylabel()) == snapshot(
        ("input, index on axis 0", "output, index on axis 1")
    )
    axes = triangle(3).plot("causal")
    assert f"{FORBIDDEN}ff" not in {color(axes, i, j) for i in range(3) for j in range(3)}
    assert axes.get_title() == snapshot("""\
each depends on its own and all
earlier inputs\
""")
    # A mark that is absent is not explained.
    assert legend(axes) == ["depends"]


def test_many_rows_on_given_axes():
    """Indices are left out where labels would collide; a long title is broken."""
    _, given = plt.subplots()
    axes = triangle(50, 2).plot(
        title="the decoder of a model that reads its whole source", ax=given
    )

    assert axes is given
    assert axes.get_title() == snapshot("""\
the decoder of a model that reads
its whole source\
""")
    # A tick is labelled with the index that stands there, which thinning has moved.
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0", "8", "16", "24", "32", "40", "48"]
    # Each second input is drawn: the label stands in the middle of its cell.
    assert axes.get_xticks().tolist() == [int(label) / 2 + 0.5 for label in labels]


@pytest.mark.unhooked("beartype refuses it first")
def test_refused_rule():
    """A rule that there is not is refused, rather than taken for another."""
    for act in ("forbidden", "plot"):
        with pytest.raises(rnnkit.ArgumentError) as error:
            getattr(triangle(3), act)("independant")

        assert str(error.value) == snapshot("""\
rule must be 'independent' or 'causal', got 'independant'
  more      python -m rnnkit explain map-rule\
""")
        assert error.value.argument == "rule"


def test_what_verify_measured():
    """A report draws samples by samples and steps by steps; what its probes forbid is red."""
    mixing = reported(gru(batch_first=False), X).plot()
    looking = reported(gru(bidirectional=True), X, causal=True).plot()
    measured = (0, 1, 3, 6)
    for figure, rows, columns, is_forbidden in (
        (mixing.axes[0], 4, 4, lambda i, j: j < i),
        (looking.axes[0], 4, 4, lambda i, j: False),  # noqa: ARG005
        (looking.axes[1], 4, 7, lambda i, j: j > measured[i]),
    ):
        for i, j in itertools.product(range(rows), range(columns)):
            assert (color(figure, i, j) == FORBIDDEN + "ff") == is_forbidden(i, j)
    assert looking.axes[1].get_title() == snapshot("""\
steps: 3 outputs depend on later
inputs\
""")
    assert looking.get_suptitle() == snapshot("""\
1 mistake found
output[0] of step 0 depends on the input of step 3 or later\
""")
    labels = (mixing.axes[0].get_xlabel(), mixing.axes[0].get_ylabel())
    assert labels == ("input, sample", "output, sample")

    (only,) = rnnkit.verify(gru(), X[:1]).plot().axes
    assert only.get_title().startswith("steps: ")


@pytest.mark.parametrize("steps", [5, 50, 200])
def test_many_steps_can_be_read(steps):
    """No label covers another, and all of a report lies on its figure."""
    figure = reported(gru(bidirectional=True), numbers(8, steps, 3), causal=True).plot()

    figure.canvas.draw()

    getters = ("get_xticklabels", "get_yticklabels")
    for axes, getter in itertools.product(figure.axes, getters):
        labels = [text.get_window_extent() for text in getattr(axes, getter)()]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(labels))
    assert figure.bbox_inches.count_contains(figure.get_tightbbox().corners()) == 4
