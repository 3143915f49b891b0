"""The probe *coverage*: where steps go into a layer out of order, after a view of other axes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.functional import pad

import rnnkit
from tests.diagnostics.models_of_users import BATCH, HIDDEN, Model, numbers

STEPS, CHANNELS = 9, 8

#: The rows of a square one after the other, its columns, and both backwards.
SQUARE = torch.arange(STEPS).view(3, 3)
WAYS = [way.flatten() for way in (SQUARE, SQUARE.t(), SQUARE.flip(0, 1), SQUARE.t().flip(0, 1))]


def season(x: Tensor) -> Tensor:
    """Return the mean of each third step, again and again."""
    return x.unflatten(1, (3, 3)).mean(1).repeat(1, 3, 1)


def again(x: Tensor) -> Tensor:
    """Return the first three steps, again and again."""
    return x[:, :3].repeat(1, 3, 1)


#: What stands between the input ``(batch, seq, 3)`` and a layer, and is right.
RIGHT: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a transpose": lambda m, x: m.conv(x.mT).mT,
    "a flip": lambda _, x: x.flip(1),
    "frames side by side": lambda _, x: torch.cat([x, pad(x, (0, 0, 1, 0))[:, :-1]], 2),
    "lags in a circle": lambda _, x: torch.cat([x.roll(k, 1) for k in range(4)], 2),
    "leads in a circle": lambda _, x: torch.cat([x.roll(-k, 1) for k in range(4)], 2),
    "lags of a flip": lambda _, x: torch.cat([x.flip(1).roll(k, 1) for k in (0, 1)], 2),
    "shifted channels": lambda _, x: torch.cat([x[..., :1].roll(1, 1), x[..., 1:].roll(-1, 1)], 2),
    "an order of its own": lambda _, x: x[:, [4, 0, 7, 2, 8, 1, 5, 3, 6]],
    "a mean over the steps": lambda _, x: torch.cat([x, x.mean(1, keepdim=True).expand_as(x)], 2),
    "the steps as features": lambda m, x: m.square(x.mT).mT,
    "four ways over a square": lambda _, x: torch.cat([x[:, way] for way in WAYS], 2),
    "a season": lambda _, x: torch.cat([season(x), season(x).roll(1, 1)], 2),
    "a season and its change": lambda _, x: torch.cat([season(x), x - season(x).roll(1, 1)], 2),
    "the first season again": lambda _, x: torch.cat([again(x), again(x).roll(1, 1)], 2),
    "attention": lambda _, x: (x @ x.mT).softmax(2) @ x,
}

#: What is wrong: the numbers of one step are no row of the result.
WRONG: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a view after a dilated one": lambda m, x: m.dilated(x.mT).reshape(len(x), STEPS, CHANNELS),
    "a view after a convolution": lambda m, x: m.conv(x.mT).reshape(len(x), STEPS, CHANNELS),
    "a view of heads": lambda m, x: m.conv(x.mT).unflatten(1, (4, 2)).mT.reshape(len(x), STEPS, 8),
    "a view after a narrow one": lambda m, x: m.narrow(x.mT).reshape(len(x), STEPS, 5),
}


def model(between: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """Make a model with something in front of its layer."""
    made = {
        "conv": nn.Conv1d(3, CHANNELS, 3, padding=1),
        "narrow": nn.Conv1d(3, 5, 1),
        "dilated": nn.Conv1d(3, CHANNELS, 3, padding=2, dilation=2),
        "square": nn.Linear(STEPS, STEPS),
    }
    probe = Model(between, **made)
    width = probe(numbers(BATCH, STEPS, 3)).shape[2]
    layer = nn.GRU(width, HIDDEN, batch_first=True)
    return Model(lambda m, x: m.layer(between(m, x))[0], layer=layer, **made)


@pytest.mark.parametrize("name", RIGHT)
def test_right_order(name: str) -> None:
    """Rows that move on with the steps are right, as are orders that are the same in each feature."""
    report = rnnkit.verify(model(RIGHT[name]), numbers(BATCH, STEPS, 3))
    assert "coverage" in report.checked


@pytest.mark.parametrize("name", WRONG)
def test_wrong_order(name: str) -> None:
    """A view that mixes steps with features is found, where no other probe finds anything."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model(WRONG[name]), numbers(BATCH, STEPS, 3))

    assert error.value.code == "coverage"
    assert error.value.module == "layer"


def test_text_of_a_view() -> None:
    """The message names the layer that the steps go into."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model(WRONG["a view after a convolution"]), numbers(BATCH, STEPS, 3))

    assert str(error.value) == snapshot("""\
steps go into layer out of order, each feature in an order of its own
  cause      likely a view or reshape where axes must change places first
  fix        x.permute(...), then reshape
  intended?  rnnkit.verify(..., skip=['coverage'])
  more       python -m rnnkit explain coverage\
""")


#: What makes rows of another number than there are samples, and is right.
RIGHT_ROWS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "windows": lambda _, x: x.unfold(1, 4, 1).mT.flatten(0, 1),
    "windows of each feature": lambda _, x: x.unfold(1, 4, 1).reshape(-1, 4, 1),
    "features one after the other": lambda _, x: x.unfold(1, 4, 1).flatten(0, 1),
    "frames of a window": lambda _, x: x.unfold(1, 6, 1).mT.reshape(-1, 3, 6),
    "dilated windows": lambda _, x: x[:, :8].unflatten(1, (4, 2)).transpose(1, 2).flatten(0, 1),
    "heads": lambda m, x: m.conv(x.mT).unflatten(1, (2, 4)).flatten(0, 1).mT,
    "each step over its channels": lambda m, x: m.conv(x.mT).mT.reshape(-1, 4, 2),
    "each channel over its steps": lambda m, x: m.conv(x.mT).reshape(-1, STEPS, 1),
    "one row for a batch": lambda m, x: m.conv(x.mT).mT.flatten(1).unflatten(1, (2, -1)),
}

#: What is wrong: the memory has the steps behind the features.
WRONG_ROWS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a view of windows": lambda _, x: x.unfold(1, 4, 1).reshape(-1, 4, 3),
    "a view of many windows": lambda _, x: x.unfold(1, 5, 2).reshape(-1, 5, 3),
    "a view of heads": lambda m, x: m.conv(x.mT).reshape(-1, STEPS, 4),
}


def model_of_rows(between: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """Make a model whose layer reads several rows of each sample."""
    conv = nn.Conv1d(3, CHANNELS, 3, padding=1)
    width = Model(between, conv=conv)(numbers(BATCH, STEPS, 3)).shape[2]

    def compute(m: Any, x: Tensor) -> Tensor:
        h: Tensor = m.layer(between(m, x))[1][-1]
        return h.view(len(x), -1)

    return Model(compute, layer=nn.GRU(width, HIDDEN, batch_first=True), conv=conv)


@pytest.mark.parametrize("name", RIGHT_ROWS)
def test_right_rows(name: str) -> None:
    """Windows, heads and channels are right in whichever order they are laid out on purpose."""
    report = rnnkit.verify(model_of_rows(RIGHT_ROWS[name]), numbers(BATCH, STEPS, 3))
    assert "coverage" in report.checked


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_rows(name: str) -> None:
    """A view that mixes the steps of a window with its features is found, too."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model_of_rows(WRONG_ROWS[name]), numbers(BATCH, STEPS, 3))

    assert error.value.code == "coverage"
    assert error.value.module == "layer"
