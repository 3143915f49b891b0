"""Random wrong calls; ``nox -s fuzz -- 1000`` draws some thousands of them.

One ends in an error of ours that speaks well, unless torch takes it. What torch does not have runs,
or ends in an error of ours. That a right call computes what torch's does is a law beside others.
"""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rnnkit
from tests.fuzz.draws import draws
from tests.fuzz.odd_values import EXOTIC, LEFT_TO_TORCH, misspoken, odd
from tests.fuzz.wrong_calls import made_wrong, wrong_state
from tests.strategies import CLASSES, assert_same

pytestmark = [
    pytest.mark.unhooked("the annotations refuse wrong arguments first"),
    pytest.mark.filterwarnings("ignore"),  # what torch says of odd tensors
]

#: What is wrong is one thing among very many.
many, more = (settings(max_examples=times * settings().max_examples) for times in (4, 12))
randoms = st.randoms(use_true_random=True)


def torch_takes(drawn, x, hx):
    """Return whether torch runs what we refuse, where it may be asked, and means what it does.

    With some packed input and states it reads beyond its memory; three states, a stacked pair and a
    c of its own dtype are refused on purpose.
    """
    parts = hx if isinstance(hx, tuple | list) else (hx,)
    given = [one for one in parts if torch.is_tensor(one)]
    if not isinstance(x, Tensor) or any(one.is_meta for one in (x, *given)):
        return False
    if x.dim() < 2 and {one.dim() for one in given} - {1}:
        return False
    if drawn.is_lstm and hx is not None:
        dtypes = {getattr(one, "dtype", None) for one in parts}
        if len(dtypes) != 1 or len(parts) != 2:
            return False
    return not isinstance(drawn.run(nn, x, hx), Exception)


@more
@given(drawn=draws(), rng=randoms)
def test_wrong_calls(drawn, rng):
    """One thing is wrong: the input, the state, the lengths, or an argument there is not."""
    drawn, x, hx, options = made_wrong(drawn, rng)
    ours = drawn.run(rnnkit, x, hx, **options)
    if isinstance(ours, rnnkit.RnnkitError):
        assert not misspoken(ours)
        assert options or not torch_takes(drawn, x, hx), ours
    elif isinstance(ours, Exception):
        # A tensor that is not dense goes to torch's class, with torch's own error.
        left = any(words in str(ours) for words in LEFT_TO_TORCH)
        assert left or type(drawn.run(nn, x, hx, **options)) is type(ours), repr(ours)
    elif not options and not isinstance(hx, list) and None not in (hx if type(hx) is tuple else ()):
        # It ran, so that torch's kernels are safe to call with it.
        expected = drawn.run(nn, x, hx)
        assert not isinstance(expected, Exception), f"ours ran, torch {expected!r}"
        assert_same(expected[0], ours[0])


VALUES = (
    0, 1, -1, 2, 2.0, 0.5, True, False, np.True_, "3", None, np.int64(2), np.float32(2.0), [3],
    torch.tensor(2), torch.tensor([2, 3]), "tanh", "cpu", torch.float32, int, float("nan"),
)  # fmt: skip
NAMES = (
    "input_size", "hidden_size", "bias", "num_layers", "batch_first", "dropout",
    "bidirectional", "proj_size", "nonlinearity", "no_such",
)  # fmt: skip


def test_constructors():
    """An argument is wrong, or an odd number: ours refuses it, or makes the weights that torch makes."""
    for kind, name, value in product(CLASSES, NAMES, VALUES):
        options = {"input_size": 3, "hidden_size": 4, name: value}
        problem = ""
        try:
            ours = getattr(rnnkit, kind)(**options)
        except rnnkit.ArgumentError as error:
            problem = misspoken(error)
        else:
            # Which not all of torch's classes take.
            options = {key: int(v) if type(v) is np.int64 else v for key, v in options.items()}
            theirs = getattr(nn, kind)(**options)
            shapes = [[(key, w.shape) for key, w in m.named_parameters()] for m in (ours, theirs)]
            problem = "" if shapes[0] == shapes[1] else repr(shapes)
        assert not problem, (kind, options)


#: What torch does not have, with something odd in one place: of a layer, of a cell, of any state.
CALLS = {
    "layer": """layer.step(bad, hx); layer.step(x[0], bad); layer.last_hidden(bad)
        layer.split_state(bad); layer.initial_state(bad); layer(x, hx, reset=bad)
        layer(x, hx, lengths=bad, reset=worse); recurrent(bad); recurrent(x, bad)
        recurrent(x, lengths=bad); recurrent(x, reset=bad); rnnkit.Recurrent(bad)
        rnnkit.Recurrent(layer.cells(), reverse_cells=bad); rnnkit.convert(bad); rnnkit.revert(bad)""",
    "cell": """rnnkit.unroll(cell, bad); rnnkit.unroll(bad, x); rnnkit.unroll(cell, x, bad)
        rnnkit.unroll(cell, x, wrong); rnnkit.unroll(cell, x, lengths=bad)
        rnnkit.unroll(cell, x, reset=bad); cell.initial_state(bad)
        rnnkit.unroll(cell, x, lengths=worse, reset=bad, fused=False)""",
    "states": """states.detach(bad); states.to(bad, torch.float64); states.select(hx, bad)
        states.select(bad, [0]); states.repeat(hx, bad); states.repeat(bad, 2); states.expand(hx, bad)
        states.expand(bad, 2); states.cat(bad); states.cat([hx, bad]); states.reset(hx, bad)
        states.reset(hx, [1] * batch, bad); states.reset(bad, [1]); states.batch_first(bad)
        states.from_batch_first(bad); states.from_layers(bad); states.to_layers(bad)
        states.bridge(hx, bad); states.bridge(bad, 'sum')""",
}


@many
@given(drawn=draws(), rng=randoms)
def test_what_torch_does_not_have(drawn, rng):
    """Odd values in it end in an error of ours, or run."""
    if "packed" in drawn.layout:
        drawn = replace(drawn, layout="padded")
    drawn = replace(drawn, treatment="none", subclass="none")
    module = drawn.module(rnnkit)
    x = drawn.input()
    good = drawn.tensors()
    about = rng.choice(("states", "layer" if drawn.is_layer else "cell"))
    names = {
        "rnnkit": rnnkit, "torch": torch, "states": rnnkit.states, "batch": drawn.batch,
        "bad": odd(rng), "worse": odd(rng), "wrong": wrong_state(rng, drawn),
        "hx": good if about == "states" and drawn.is_lstm else good[0],
    }  # fmt: skip
    if about == "layer":
        recurrent = rnnkit.Recurrent(module.cells()[:1])
        names |= {"layer": module, "x": x, "hx": drawn.state(), "recurrent": recurrent}
    elif about == "cell":
        names |= {"cell": module, "x": torch.stack([x.detach(), x.detach()])}
    call = rng.choice(re.split(r";|\n", CALLS[about])).strip()
    problem = ""
    try:
        eval(call, names)
    except rnnkit.RnnkitError as error:
        problem = misspoken(error)
    except Exception as error:
        left = any(words in str(error) for words in (*LEFT_TO_TORCH, *EXOTIC))
        problem = "" if left else repr(error)
    assert not problem, call
