"""Odd values in what torch does not have: each ends in an error of ours, or runs."""

import random
from collections.abc import Callable
from typing import Any

import torch

import rnnkit
from tests.fuzz.draws import Draw, draw
from tests.fuzz.odd_values import EXOTIC, LEFT_TO_TORCH, misspoken, odd
from tests.fuzz.right_calls import shown
from tests.fuzz.wrong_calls import wrong_state

#: The own words of what is called in a cell's place: of Python, and of a cell of torch's.
PYTHONS = (
    *("unexpected keyword argument", "positional argument", "inconsistent input_size"),
    "mat1 and mat2 must have the same dtype",
)


def check(seed: int) -> str:
    """Draw a call; say what is wrong with how it ended, or nothing."""
    rng = random.Random(seed + 11)
    return (check_around if rng.random() < 0.6 else check_states)(draw(seed), rng)


def judged(act: Callable[[], Any], what: str) -> str:
    """Make a call that is ours alone: it runs, or ends in an error of ours that speaks well."""
    try:
        act()
    except rnnkit.RnnkitError as error:
        return misspoken(error) and f"{what}: {misspoken(error)}"
    except Exception as error:
        left = any(words in str(error) for words in (*LEFT_TO_TORCH, *EXOTIC, *PYTHONS))
        return "" if left else f"{what}: ours {shown(error)}"
    return ""


def check_around(drawn: Draw, rng: random.Random) -> str:
    """Put something odd into unroll, Recurrent, and the methods of a layer."""
    drawn.layout = "padded" if "packed" in drawn.layout else drawn.layout
    drawn.treatment = drawn.subclass = "none"
    module, x, hx = drawn.module(rnnkit), drawn.input(), drawn.state()
    bad = odd(rng)
    if drawn.is_layer:
        recurrent = rnnkit.Recurrent(module.cells()[:1])
        acts: dict[str, Callable[[], Any]] = {
            "step": lambda: module.step(bad, hx),
            "step from": lambda: module.step(x[0], bad),
            "last_hidden": lambda: module.last_hidden(bad),
            "split_state": lambda: module.split_state(bad),
            "initial_state": lambda: module.initial_state(bad),
            "reset": lambda: module(x, hx, reset=bad),
            "both": lambda: module(x, hx, lengths=bad, reset=odd(rng)),
            "Recurrent": lambda: recurrent(bad),
            "Recurrent from": lambda: recurrent(x, bad),
            "Recurrent lengths": lambda: recurrent(x, lengths=bad),
            "Recurrent reset": lambda: recurrent(x, reset=bad),
            "Recurrent of": lambda: rnnkit.Recurrent(bad),
            "Recurrent both": lambda: rnnkit.Recurrent(module.cells(), reverse_cells=bad),
            "convert": lambda: rnnkit.convert(bad),
            "revert": lambda: rnnkit.revert(bad),
        }
    else:
        sequence = torch.stack([x.detach(), x.detach()])
        acts = {
            "unroll": lambda: rnnkit.unroll(module, bad),
            "unroll of": lambda: rnnkit.unroll(bad, sequence),
            "unroll from": lambda: rnnkit.unroll(module, sequence, bad),
            "unroll state": lambda: rnnkit.unroll(
                module, sequence, wrong_state(rng, drawn.state_shapes(), drawn.dtype)
            ),
            "unroll lengths": lambda: rnnkit.unroll(module, sequence, lengths=bad),
            "unroll reset": lambda: rnnkit.unroll(module, sequence, reset=bad),
            "unroll reset lengths": lambda: rnnkit.unroll(
                module, sequence, lengths=odd(rng), reset=bad, fused=False
            ),
            "initial_state": lambda: module.initial_state(bad),
        }
    name = rng.choice(list(acts))
    return judged(acts[name], f"{name} of {drawn}")


def check_states(drawn: Draw, rng: random.Random) -> str:
    """Put something wrong into the functions on states."""
    states, bad = rnnkit.states, odd(rng)
    good = tuple(torch.randn(shape) for shape in drawn.state_shapes())
    hx: Any = good if len(good) > 1 else good[0]
    acts: dict[str, Callable[[], Any]] = {
        "detach": lambda: states.detach(bad),
        "to of": lambda: states.to(bad, torch.float64),
        "select": lambda: states.select(hx, bad),
        "select of": lambda: states.select(bad, [0]),
        "repeat": lambda: states.repeat(hx, bad),
        "repeat of": lambda: states.repeat(bad, 2),
        "expand": lambda: states.expand(hx, bad),
        "expand of": lambda: states.expand(bad, 2),
        "cat": lambda: states.cat(bad),
        "cat with": lambda: states.cat([hx, bad]),
        "reset": lambda: states.reset(hx, bad),
        "reset to": lambda: states.reset(hx, [1] * drawn.batch, bad),
        "reset of": lambda: states.reset(bad, [1]),
        "batch_first": lambda: states.batch_first(bad),
        "from_batch_first": lambda: states.from_batch_first(bad),
        "from_layers": lambda: states.from_layers(bad),
        "to_layers": lambda: states.to_layers(bad),
        "bridge": lambda: states.bridge(hx, bad),
        "bridge of": lambda: states.bridge(bad, "sum"),
    }
    name = rng.choice(list(acts))
    return judged(acts[name], f"states.{name} of {drawn.name} with {type(bad).__name__}")
