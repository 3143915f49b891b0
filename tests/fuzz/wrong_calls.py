"""Calls in which one thing is wrong, drawn; and what rnnkit says to them."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from tests.fuzz.draws import Draw, draws
from tests.fuzz.odd_values import odd, wrong_tensor

randoms = st.integers(0, 10**9).map(random.Random)


def wrong_packed(rng: random.Random, x: PackedSequence) -> PackedSequence:
    """Return packed input of which a field, or two, do not go with the others."""
    name = rng.choice(x._fields)
    if rng.random() < 0.3:
        others = [torch.tensor(v) for v in ([3, 1], [2, 2, 1], [1], [0, 1], [1, 0], [0], [2, 0, 1])]
        return x._replace(**{one: rng.choice(others) for one in rng.sample(x._fields[1:], 2)})
    value = getattr(x, name)
    if isinstance(value, Tensor) and name != "data" and rng.random() < 0.5:
        value = value.clone()
        value[rng.randrange(len(value))] += rng.choice((-1, 1, 2, -3, 9))
    else:
        value = wrong_tensor(rng, value) if isinstance(value, Tensor) else odd(rng)
    return x._replace(**{name: value})


def wrong_state(rng: random.Random, drawn: Draw):
    """Return a state that is wrong in one place, has a part too many, or is something else."""
    parts = [torch.randn(shape).to(drawn.dtype) for shape in drawn.state_shapes]
    place = rng.randrange(len(parts))
    kind = rng.random()
    parts[place] = wrong_tensor(rng, parts[place])
    if kind < 0.08:
        return odd(rng)
    if kind < 0.16:
        return [*parts, parts[0]]
    if kind < 0.24:
        return parts[0] if len(parts) > 1 else (parts[0], parts[0])
    return tuple(parts) if len(parts) > 1 else parts[0]


def made_wrong(drawn: Draw, rng: random.Random) -> tuple[Draw, Any, Any, dict[str, Any]]:
    """Return a call with one thing wrong: the input, the state, the lengths, or an argument."""
    what = rng.choice(("input", "state", "state", "lengths", "arguments"))
    # A module that cannot be made is no call; of torch's own checks the errors are torch's. A state
    # that torch's class gets as it is has its weights computed twice.
    fits = drawn.subclass not in ("property", "torch's body", "check")
    drawn = replace(drawn, mode="none", subclass=drawn.subclass if fits else "none")
    if drawn.treatment == "dropped" or drawn.subclass != "none":
        drawn = replace(drawn, treatment="none")
    x = drawn.input()
    hx = drawn.state()
    options = dict[str, Any]()
    if what == "input":
        is_packed = isinstance(x, PackedSequence) and rng.random() < 0.8
        x = wrong_packed(rng, x) if is_packed else wrong_tensor(rng, drawn.numbers())
    elif what == "state":
        hx = wrong_state(rng, drawn)
    elif what == "lengths" and drawn.is_layer:
        wrong = [rng.randint(-1, drawn.seq + 1) for _ in range(rng.choice((drawn.batch, 1, 4)))]
        options = {"lengths": odd(rng) if rng.random() < 0.4 else wrong}
    else:
        options = {rng.choice(("h0", "state", "mask", "lens", "x", "c", "self_")): odd(rng)}
    return drawn, x, hx, options


def messages(count: int) -> Iterator[tuple[str, str]]:
    """Yield so many wrong calls in words, each with rnnkit's message or the class of its result."""
    found = []

    @seed(20261130)
    @settings(
        max_examples=max(count, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=draws(), rng=randoms)
    def draw(drawn: Draw, rng: random.Random):
        other, x, hx, options = made_wrong(drawn, rng)
        result = other.run(rnnkit, x, hx, **options)
        is_ours = isinstance(result, rnnkit.RnnkitError)
        given = f"{type(x).__name__}, {type(hx).__name__}, {', '.join(options)}"
        call = f"call {len(found)}: {other.treatment} {other.name}, {given}"
        found.append((call, str(result) if is_ours else type(result).__name__))

    if count:
        draw()
    yield from found[:count]
