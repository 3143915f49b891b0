"""Right calls: what ours computes is torch's to the bit, outputs, states, gradients and all."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.fuzz.draws import Draw, draw

MODES: dict[str, Any] = {
    "grad": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
}


def check(seed: int) -> str:
    """Draw a right call; say what is not torch's, or nothing."""
    drawn = draw(seed)
    expected, actual = (run(drawn, space) for space in (nn, rnnkit))
    if isinstance(expected, Exception) or isinstance(actual, Exception):
        same = isinstance(expected, Exception) and isinstance(actual, Exception)
        return "" if same else f"{drawn}: torch {shown(expected)}, ours {shown(actual)}"
    try:
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    except AssertionError as error:
        return f"{drawn}: {error}"
    return ""


def run(drawn: Draw, space: Any) -> Any:
    """Run the call: the tensors it returns, their gradients, and the state of the generator."""
    try:
        module, x, hx = drawn.module(space), drawn.input(), drawn.state()
        torch.manual_seed(drawn.seed + 4)
        with MODES[drawn.grad](), surroundings(drawn):
            result = module(x) if hx is None else module(x, hx)
    except Exception as error:
        return error
    leaves = tensors(result)
    grads: list[Tensor | None] = []
    if any(leaf.requires_grad for leaf in leaves):
        # Twice the numbers: a gradient that is not the same for each.
        total = torch.stack([(leaf.float() * leaf.float()).sum() for leaf in leaves]).sum()
        wanted = [one for one in (*module.parameters(), *tensors((x, hx))) if one.requires_grad]
        grads = list(torch.autograd.grad(total, wanted, allow_unused=True))
    kinds = torch.tensor([type(leaf) is Tensor for leaf in leaves])
    return [*leaves, *(g for g in grads if g is not None), torch.get_rng_state(), kinds]


@contextlib.contextmanager
def surroundings(drawn: Draw) -> Iterator[None]:
    """What a program has set around a call: autocast, another default device."""
    device = torch.device("meta") if drawn.elsewhere else contextlib.nullcontext()
    with torch.autocast("cpu", drawn.lowered, enabled=drawn.autocast), device:
        yield


def tensors(nest: Any) -> list[Tensor]:
    """The tensors in a nest, those of packed ones too."""
    return [one for one in pytree.tree_leaves(as_lists(nest)) if isinstance(one, Tensor)]


def as_lists(nest: Any) -> Any:
    """A nest of lists, whatever kinds of tuples it was of."""
    return [as_lists(one) for one in nest] if isinstance(nest, (tuple, list)) else nest


def shown(result: Any) -> str:
    """A result in a word, an error in its own."""
    return f"{type(result).__name__}: {result}"[:300] if isinstance(result, Exception) else "ran"
