"""``rnnkit.typing``: names that annotate a ``@jaxtyped`` function, and that hold it."""

from typing import Any

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

import rnnkit
import rnnkit.typing

NAMES = sorted(
    name
    for name, value in vars(rnnkit.typing).items()
    if isinstance(value, type) and issubclass(value, jaxtyping.AbstractArray) and name[0] != "_"
    if value is not jaxtyping.Float
)
SIZES = {"seq": 5, "batch": 2, "feature": 3, "layers_directions": 4, "hidden": 7}


def checked(name: str) -> Any:
    """A function with an argument that is annotated by the name."""
    kind = getattr(rnnkit.typing, name)

    @jaxtyped(typechecker=beartype)
    def function(x: kind) -> kind:
        return x

    return function


def shape(name: str) -> list[int]:
    """The sizes of a tensor that the name describes."""
    return [SIZES[axis] for axis in getattr(rnnkit.typing, name).dim_str.split()]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_takes_what_it_describes(name: str) -> None:
    """A tensor with as many axes passes."""
    x = torch.randn(shape(name))

    assert checked(name)(x) is x


@pytest.mark.parametrize("name", NAMES)
def test_a_name_refuses_another_rank(name: str) -> None:
    """A tensor with one axis more does not."""
    with pytest.raises(jaxtyping.TypeCheckError):
        checked(name)(torch.randn(*shape(name), 6))


def test_input_and_state_share_the_batch() -> None:
    """Two names in one signature hold each other to the same batch."""
    lstm = rnnkit.LSTM(3, 7, 2, bidirectional=True)

    @jaxtyped(typechecker=beartype)
    def encode(
        x: rnnkit.typing.SequenceFirst, h: rnnkit.typing.HiddenStack
    ) -> rnnkit.typing.HiddenStack:
        return lstm(x, (h, h))[1].h

    x, h = torch.randn(5, 2, 3), torch.randn(4, 2, 7)
    assert encode(x, h).shape == h.shape
    with pytest.raises(jaxtyping.TypeCheckError):
        encode(x, torch.randn(4, 3, 7))
