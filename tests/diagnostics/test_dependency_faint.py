"""``dependency_map`` tells what was forgotten from what was not read, and says how far it is."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
import torch
from inline_snapshot import snapshot
from matplotlib import pyplot as plt
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model, numbers, tokens

BATCH, SEQ, FEATURE, HIDDEN = 2, 100, 3, 4


@pytest.fixture(autouse=True)
def _off_screen() -> Iterator[None]:
    """Draw without a screen, and close what was drawn."""
    mpl.use("Agg")
    yield
    plt.close("all")


def forgetful(bias: float = -1.0, read: float = 1.0) -> nn.GRU:
    """Make a layer that keeps a quarter of its state at each step, or less."""
    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    with torch.no_grad():
        layer.bias_hh_l0[HIDDEN : 2 * HIDDEN] = bias
        layer.weight_hh_l0.mul_(read)
    return layer


def test_forgotten_steps() -> None:
    """What sank below rounding is a dependency: faint, and as causal as the rest."""
    found = rnnkit.dependency_map(forgetful(), numbers(BATCH, SEQ, FEATURE), dim=1)

    assert found.finding == "each depends on its own and earlier inputs"
    assert found.matrix.equal(torch.ones_like(found.matrix).tril())
    assert found.faint is not None
    assert bool(found.faint[-1, 0])
    assert not found.faint.diagonal().any()
    assert str(found).splitlines()[-1] == snapshot("□ depends, by less than rounding shows")
    assert "□" in str(found).splitlines()[-2]


def test_vanished_gradients() -> None:
    """Where gradients vanish, too, nothing is said of the cells that stay empty."""
    found = rnnkit.dependency_map(forgetful(-20.0, 1e-4), numbers(BATCH, SEQ, FEATURE), dim=1)

    assert found.faint is not None
    assert not found.is_certain
    assert found.finding == "each depends on its own and earlier inputs"
    assert str(found).splitlines()[-2:] == snapshot(
        ["□ depends, by less than rounding shows", "· no change seen: independent, or forgotten"]
    )


def test_what_is_not_read() -> None:
    """A model that reads the first steps alone depends on no other, however it is asked."""
    model = Model(lambda m, x: m.gru(x[:, :5])[0], gru=forgetful())
    found = rnnkit.dependency_map(model, numbers(BATCH, 9, FEATURE), dim=1)

    assert found.matrix.equal(torch.ones(5, 9, dtype=torch.bool).tril())
    assert (found.faint, found.is_certain) == (None, True)


@pytest.mark.parametrize("kind", [nn.Embedding, None])
def test_tokens(kind: Any) -> None:
    """Tokens are followed from their embedding on; read in another way, the map says so."""
    modules = {"gru": forgetful(), "words": nn.Embedding(11, FEATURE)}

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(m.words(x) if kind else m.words.weight[x])[0]

    found = rnnkit.dependency_map(Model(compute, **modules), tokens(BATCH, 90), dim=1)

    assert found.is_certain == bool(kind)
    assert (found.faint is not None) == bool(kind)
    if kind is None:
        assert str(found).splitlines()[-1] == snapshot(
            "· no change seen: independent, or forgotten"
        )
        texts = found.plot().get_legend().get_texts()
        assert [text.get_text() for text in texts] == snapshot(["depends", "no change seen"])


def test_model_that_cannot_be_differentiated() -> None:
    """Without gradients an empty cell is not called independence."""
    model = Model(torch.no_grad()(lambda m, x: m.gru(x)[0]), gru=forgetful())
    found = rnnkit.dependency_map(model, numbers(BATCH, 5, FEATURE), dim=1)

    assert not found.is_certain
    assert found.notes == snapshot({"·": "no change seen: independent, or forgotten"})

    def fails(m: Any, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise NotImplementedError
        output: Tensor = m.gru(x)[0]
        return output

    model = Model(fails, gru=forgetful())
    assert not rnnkit.dependency_map(model, numbers(BATCH, 5, FEATURE), dim=1).is_certain


def test_backward_that_fails() -> None:
    """A model that writes what its backward needs is mapped all the same, without gradients."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0].exp()
        z = y * 2
        y.detach().mul_(1)
        return z + y

    found = rnnkit.dependency_map(Model(compute, gru=forgetful()), numbers(BATCH, 5, FEATURE))

    assert found.finding == "each depends on its own input alone"
    assert not found.is_certain


def test_maximum_over_steps() -> None:
    """A maximum depends on every step, since each may be the largest."""
    model = Model(lambda m, x: m.head(x).amax(1, keepdim=True), head=nn.Linear(FEATURE, HIDDEN))
    found = rnnkit.dependency_map(model, numbers(BATCH, 30, FEATURE), dim=1)

    assert bool(found.matrix.all())
    assert found.finding == "each depends on all inputs"


def attend(m: Any, x: Tensor) -> Tensor:
    """Attend to earlier steps, the others taken out by a weight of zero."""
    scores = (m.key(x) @ x.transpose(1, 2)).exp().tril()
    return scores / scores.sum(2, keepdim=True) @ x


def test_what_a_mask_takes_out() -> None:
    """A large change that overflows behind a mask is no dependency."""
    model = Model(attend, key=nn.Linear(FEATURE, FEATURE))
    found = rnnkit.dependency_map(model, numbers(BATCH, 6, FEATURE), dim=1)

    assert found.finding == "each depends on its own and earlier inputs"


def test_model_that_writes_into_its_input() -> None:
    """The gradient is found of a model that scales what it is given in place."""
    model = Model(lambda m, x: m.gru(x.mul_(2))[0], gru=forgetful())

    assert rnnkit.dependency_map(model, numbers(BATCH, 5, FEATURE), dim=1).is_certain


def test_flags_stay_flags() -> None:
    """A larger change makes no other numbers of flags: the model holds them to 0 and 1."""
    seen: list[float] = []

    def compute(m: Any, x: Tensor) -> Tensor:
        seen.append(float(x.abs().max()))
        return m.gru(x)[0]

    flags = (numbers(BATCH, 6, FEATURE) > 0).float()
    rnnkit.dependency_map(Model(compute, gru=forgetful()), flags, dim=1)

    assert max(seen) == 1


def test_unequal_axes_are_not_compared() -> None:
    """A rule compares the indices of equal axes only; it is refused for others."""
    model = nn.Conv1d(FEATURE, HIDDEN, 3)
    found = rnnkit.dependency_map(model, numbers(BATCH, FEATURE, 8), dim=2)

    assert found.finding == "some depend on some inputs; axes of 6 and 8 are not compared"
    for act in (found.forbidden, found.plot):
        with pytest.raises(rnnkit.ArgumentError) as error:
            act("causal")
        assert str(error.value) == snapshot("""\
rule compares indices, and 6 outputs and 8 inputs have none in common
  fix       out_dim=, if another axis of the output is intended; or no rule
  more      python -m rnnkit explain map-axes\
""")
    assert found.plot().get_title() == snapshot("""\
some depend on some inputs; axes
of 6 and 8 are not compared\
""")


def test_picture_of_what_is_faint() -> None:
    """The legend has a colour for it, and the label says which indices there are."""
    found = rnnkit.dependency_map(forgetful(-20.0, 1e-4), numbers(BATCH, 187, FEATURE), dim=1)
    axes = found.plot("causal")

    assert [text.get_text() for text in axes.get_legend().get_texts()] == snapshot(
        ["depends", "depends, below rounding", "depends, and must not", "no change seen"]
    )
    assert axes.get_xlabel() == snapshot("""\
input, index on axis 1,
every 6th\
""")
