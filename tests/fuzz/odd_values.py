"""What belongs nowhere, and how an error speaks of it."""

import random
import re
from typing import Any, NamedTuple

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
)

#: Of states and steps that are sparse, nested, in oneDNN's layout, or have no sizes yet.
EXOTIC = (
    *(
        "for Sparse tensors",
        "sparse tensors",
        "MkldnnCPU",
        "mkldnn",
        "NestedTensor",
        "uninitialized",
    ),
    *("nested tensor", "Nested tensor", "Sparse", "sparse"),
    # What oneDNN says of a state in its layout beside another dtype, as torch's class does.
    *("could not create a primitive descriptor", "itensor_view_from_dense"),
)


#: No message is longer, and none prints what a tensor holds.
LONGEST = 2000
CONTENTS = ("tensor([", "array([", "7.8125", "1.5, 1.5")


class Unprintable:
    """An object that cannot say what it is."""

    def __repr__(self) -> str:
        """Fail."""
        raise ValueError


class Pair(NamedTuple):
    """A pair of a user's own."""

    hidden: Any
    cell: Any


def odd(rng: random.Random) -> Any:
    """Something that belongs nowhere, or is far too long."""
    long = [1.5] * 100_000
    if rng.random() < 0.3:
        return rng.choice(
            [
                *(long, tuple(long), "x" * 100_000, 10**5000, dict.fromkeys(range(100_000))),
                *(Unprintable(), [Unprintable()] * 2, type("X" * 10_000, (), {}), {"h": 1, "c": 2}),
                *(Pair(torch.ones(2, 3), torch.ones(2, 3)), Pair(1, 2), iter(long), range(10**5)),
                *(
                    np.ones(100_000),
                    np.float64(0.5),
                    1j,
                    float("nan"),
                    float("inf"),
                    -0.0,
                    b"x" * 9999,
                ),
                *(
                    torch.full((3,), 7.8125),
                    [torch.full((2, 3), 7.8125)],
                    nn.Parameter(torch.ones(3)),
                ),
                *(nn.UninitializedParameter(), torch.ones(2, 3).as_subclass(Odd), slice(3), ...),
                *(torch.ones(2, 3).to_mkldnn(), torch.nested.nested_tensor([torch.ones(2, 3)])),
                *(
                    lambda: None,
                    nn.GRU,
                    nn.GRUCell(3, 4),
                    nn.Sequential(),
                    [[[]]],
                    {1.5},
                    torch.Size((2,)),
                ),
            ]
        )
    return rng.choice(
        [
            *(None, 0, 1.5, "x", [], (), {}, [1, 2], object(), torch.float32, np.ones((2, 3))),
            *(
                torch.tensor(1),
                torch.ones(0),
                torch.ones(2, 3).to_sparse(),
                torch.ones(2, 3).bool(),
            ),
            *(torch.ones(2, 3, device="meta"), torch.ones(1, 1, 1, 1), nn.Linear(1, 1), Tensor),
            *(np.float32(1), torch.ones(2, 3).int(), torch.ones(2, 3).cfloat(), True, b"x"),
        ]
    )


def misspoken(error: rnnkit.RnnkitError) -> str:
    """What is wrong with how an error speaks: its length, its last line, contents of tensors."""
    text = str(error)
    if len(text) > LONGEST:
        return f"{len(text)} characters: {text[:300]}"
    last = text.rpartition("\n")[2]
    more = rf"  more +python -m rnnkit explain {error.code}"
    if error.code not in CODES or not re.fullmatch(more, last):
        return f"no line of the code: {text[:300]}"
    return f"contents: {text[:300]}" if any(one in text for one in CONTENTS) else ""
