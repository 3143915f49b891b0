"""What belongs nowhere, and how an error speaks of it."""

import random
import re
from collections import namedtuple

import numpy as np
import torch
from torch import Tensor, nn

import rnnkit
from tests.codes import CODES
from tests.fuzz.draws import Odd

#: What is left to torch's own errors, by their words. Nothing else may end in another than ours.
LEFT_TO_TORCH = (
    # A float16 state beside autocast's bfloat16, where torch joins the two directions of packed
    # input; elsewhere it computes with such a state.
    "autocast::prioritize",
    # Its sentence says all, and what to do.
    "Inference tensors cannot be saved for backward",
    # So do these, of a tensor that has no sizes yet, and of a device that is not there.
    "uninitialized parameter",
    "accelerator device when none is available",
    # A count that no tensor has.
    "Overflow when unpacking long",
)
#: In what torch does not have: of states and steps that are sparse, nested, in oneDNN's layout, or
#: have no sizes yet; of what oneDNN says of a state in its layout; of Python and torch's cells.
EXOTIC = (
    "parse", "kldnn", "ested tensor", "NestedTensor", "uninitialized", "itensor_view_from_dense",
    "could not create a primitive descriptor", "unexpected keyword argument",
    "positional argument", "inconsistent input_size",
    "to have the same dtype", "must have the same dtype",
)  # fmt: skip
#: No message is longer, and none prints what a tensor holds.
LONGEST = 2000
CONTENTS = ("tensor([", "array([", "7.8125", "1.5, 1.5")


#: What cannot say what it is, and a pair of a user's own.
Unprintable = type("Unprintable", (), {"__repr__": lambda _: 1 / 0})
Pair = namedtuple("Pair", "hidden cell")  # noqa: PYI024 - it holds whatever there is


def odd(rng: random.Random):
    """Return what belongs elsewhere, or is far too long, cannot be printed, or is nearly right."""
    ones = torch.ones(2, 3)
    if rng.random() < 0.7:
        return rng.choice([
            None, 0, 1.5, "x", [], (), {}, [1, 2], object(), torch.float32, np.ones((2, 3)), True,
            torch.tensor(1), torch.ones(0), ones.to_sparse(), ones.bool(), ones.int(), b"x",
            ones.to("meta"), torch.ones(1, 1, 1, 1), nn.Linear(1, 1), Tensor, np.float32(1),
            ones.cfloat(),
        ])  # fmt: skip
    long = [1.5] * 100_000
    return rng.choice([
        long, tuple(long), "x" * 100_000, dict.fromkeys(range(100_000)), iter(long),
        Unprintable(), [Unprintable()] * 2, type("X" * 10_000, (), {}), {"h": 1, "c": 2},
        Pair(ones, ones), Pair(1, 2), range(10**5), np.ones(100_000), np.float64(0.5), 1j, -0.0,
        float("nan"), float("inf"), b"x" * 9999, torch.full((3,), 7.8125), slice(3), ...,
        [torch.full((2, 3), 7.8125)], nn.Parameter(torch.ones(3)), nn.UninitializedParameter(),
        ones.as_subclass(Odd), ones.to_mkldnn(), torch.nested.nested_tensor([ones]),
        lambda: None, nn.GRU, nn.GRUCell(3, 4), nn.Sequential(), [[[]]], {1.5}, torch.Size((2,)),
    ])  # fmt: skip


def wrong_tensor(rng: random.Random, tensor: Tensor):
    """Return a right tensor in a wrong size, rank, order or kind, or something else."""
    if rng.random() < 0.2:
        return odd(rng)
    tensor = tensor.detach()
    axis = rng.randrange(max(1, tensor.dim()))
    other = torch.float32 if tensor.dtype is torch.float64 else torch.float64
    changes = [
        lambda: tensor.unsqueeze(axis),
        lambda: tensor.unsqueeze(0).unsqueeze(0),
        lambda: tensor.select(axis, 0),
        lambda: torch.cat([tensor, tensor], axis),
        lambda: tensor.narrow(axis, 0, tensor.shape[axis] // 2),
        lambda: tensor.transpose(0, -1),
        tensor.flatten, tensor.half, tensor.long, tensor.bool, tensor.cfloat, tensor.to_sparse,
        lambda: tensor.to(other), lambda: tensor.to("meta"),
        lambda: tensor.float().to_mkldnn(),
        lambda: torch.randn([rng.randint(0, 4) for _ in range(rng.randint(0, 4))]),
    ]  # fmt: skip
    try:
        return rng.choice(changes)()
    except (RuntimeError, IndexError):
        return torch.ones(())


def misspoken(error: rnnkit.RnnkitError) -> str:
    """Return what is wrong with how an error speaks: its length, last line, contents of tensors."""
    text = str(error)
    if len(text) > LONGEST:
        return f"{len(text)} characters: {text[:300]}"
    more = rf"  more +python -m rnnkit explain {error.code}"
    if error.code not in CODES or not re.fullmatch(more, text.rpartition("\n")[2]):
        return f"no line of the code: {text[:300]}"
    return f"contents: {text[:300]}" if any(one in text for one in CONTENTS) else ""
