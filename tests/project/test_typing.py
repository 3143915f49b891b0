"""``rnnkit.typing``: names that annotate a ``@jaxtyped`` function, and that hold it."""

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

import rnnkit.typing

NAMES = sorted(
    name
    for name, value in vars(rnnkit.typing).items()
    if isinstance(value, type) and issubclass(value, jaxtyping.AbstractArray) and name[0] != "_"
    if value not in (jaxtyping.Bool, jaxtyping.Float, jaxtyping.Int)
)
SIZES = {"seq": 5, "batch": 2, "feature": 3, "hidden": 7}
SIZES |= {"layers_directions": 4, "directions_hidden": 14}


def checked(name: str):
    """A function with an argument that is annotated by the name."""
    kind = getattr(rnnkit.typing, name)

    @jaxtyped(typechecker=beartype)
    def function(x: kind) -> kind:
        return x

    return function


def ones(name: str, *more: int) -> torch.Tensor:
    """A tensor that the name describes, or one with more axes."""
    kind = getattr(rnnkit.typing, name)
    sizes = [SIZES[axis] for axis in kind.dim_str.split()]
    dtype = torch.float32
    if name.endswith(("Mask", "Lengths")):
        dtype = torch.bool if name.endswith("Mask") else torch.int64
    return torch.ones(*sizes, *more, dtype=dtype)


def test_a_name_takes_what_it_describes():
    """A tensor with as many axes passes, and one with an axis more does not."""
    for name in NAMES:
        x = ones(name)

        assert checked(name)(x) is x
        with pytest.raises(jaxtyping.TypeCheckError):
            checked(name)(ones(name, 6))
