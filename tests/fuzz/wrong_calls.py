"""Wrong calls: each ends in an error of ours, or in what torch computes."""

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from tests.fuzz.draws import Draw, draw
from tests.fuzz.odd_values import LEFT_TO_TORCH, misspoken, odd
from tests.fuzz.right_calls import shown, surroundings, tensors

if TYPE_CHECKING:
    from collections.abc import Callable


def reshaped(rng: random.Random, tensor: Tensor) -> Tensor:
    """A tensor of a wrong size, rank, order or kind, made of a right one."""
    axis = rng.randrange(max(1, tensor.dim()))
    changes: list[Callable[[], Tensor]] = [
        lambda: tensor.unsqueeze(axis),
        lambda: tensor.unsqueeze(0).unsqueeze(0),
        lambda: tensor.select(axis, 0),
        lambda: torch.cat([tensor, tensor], axis),
        lambda: tensor.narrow(axis, 0, tensor.shape[axis] // 2),
        lambda: tensor.transpose(0, -1),
        tensor.flatten,
        lambda: tensor.double() if tensor.dtype is torch.float32 else tensor.float(),
        tensor.half,
        tensor.long,
        tensor.bool,
        tensor.cfloat,
        lambda: tensor.to("meta"),
        tensor.to_sparse,
        lambda: tensor.detach().float().to_mkldnn(),
        lambda: torch.randn([rng.randint(0, 4) for _ in range(rng.randint(0, 4))]),
    ]
    try:
        return rng.choice(changes)()
    except (RuntimeError, IndexError):
        return torch.ones(())


def wrong_input(rng: random.Random, x: Any) -> Any:
    """An input that is wrong in one place."""
    if isinstance(x, PackedSequence):
        name = rng.choice(x._fields)
        if rng.random() < 0.3:
            # Two fields that belong to other batches.
            other = [
                torch.tensor(v) for v in ([3, 1], [2, 2, 1], [1], [0, 1], [1, 0], [0], [2, 0, 1])
            ]
            return x._replace(**{one: rng.choice(other) for one in rng.sample(x._fields[1:], 2)})
        value = getattr(x, name)
        if not isinstance(value, Tensor) or rng.random() < 0.3:
            return x._replace(**{name: odd(rng)})
        if name != "data" and rng.random() < 0.6:
            value = value.clone()
            value[rng.randrange(len(value))] += rng.choice((-1, 1, 2, -3, 9))
            return x._replace(**{name: value})
        return x._replace(**{name: reshaped(rng, value)})
    return odd(rng) if rng.random() < 0.2 else reshaped(rng, x.detach())


def wrong_state(rng: random.Random, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> Any:
    """A state that is wrong in one place."""
    parts: list[Any] = [torch.randn(shape).to(dtype) for shape in shapes]
    place = rng.randrange(len(parts))
    parts[place] = odd(rng) if rng.random() < 0.2 else reshaped(rng, parts[place])
    kind = rng.random()
    if kind < 0.08:
        return odd(rng)
    if kind < 0.16:
        return [*parts, parts[0]]
    if kind < 0.24:
        return parts[0] if len(parts) > 1 else (parts[0], parts[0])
    return tuple(parts) if len(parts) > 1 else parts[0]


def check(seed: int) -> str:  # noqa: C901 - one judgement after the other
    """Draw a wrong call; say what is wrong with how it ended, or nothing."""
    drawn = draw(seed)
    rng = random.Random(seed + 9)
    what = rng.choice(("input", "state", "state", "lengths", "arguments", "constructor"))
    # A state that torch's class gets as it is has its weights computed twice.
    drawn.treatment = "none" if drawn.treatment == "dropped" else drawn.treatment
    # A module that cannot be made is no call; of torch's own checks the errors are torch's.
    if drawn.subclass in ("property", "torch's body", "check"):
        drawn.subclass = "none"
    drawn.treatment = "none" if drawn.subclass != "none" else drawn.treatment
    if what == "constructor":
        return check_constructor(drawn, rng)
    x, hx, options = drawn.input(), drawn.state(), {}
    if what == "input":
        x = wrong_input(rng, x)
    elif what == "state":
        hx = wrong_state(rng, drawn.state_shapes(), drawn.dtype)
    elif what == "lengths" and drawn.is_layer:
        wrong = [rng.randint(-1, drawn.seq + 1) for _ in range(rng.choice((drawn.batch, 1, 4)))]
        options = {"lengths": odd(rng) if rng.random() < 0.4 else wrong}
    else:
        options = {rng.choice(("h0", "state", "mask", "lens", "x", "c", "self_")): odd(rng)}
    ours = attempt(drawn, rnnkit, x, hx, options)
    if isinstance(ours, rnnkit.RnnkitError):
        problem = misspoken(ours) or ("" if options else false_alarm(drawn, x, hx))
        return problem and f"{drawn}, {what}: {problem}: {ours}"
    if isinstance(ours, Exception):
        # A tensor that is not dense goes to torch's class, with torch's own error.
        theirs = attempt(drawn, nn, x, hx, options)
        left = any(words in str(ours) for words in LEFT_TO_TORCH) or type(theirs) is type(ours)
        return "" if left else f"{drawn}, {what}: {options}: ours {shown(ours)}"
    if options:
        return "" if isinstance(ours, list) else f"{drawn}: {options}: ours {shown(ours)}"
    # It ran, so that torch's kernels are safe to call with it.
    if isinstance(hx, (tuple, list)) and (
        isinstance(hx, list) or None in [*map(type, hx), *no(hx)]
    ):
        return ""
    expected = attempt(drawn, nn, x, hx, {})
    if isinstance(expected, Exception):
        return f"{drawn}, {what}: ours ran, torch {shown(expected)}"
    try:
        torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)
    except AssertionError as error:
        return f"{drawn}, {what}: {error}"
    return ""


def false_alarm(drawn: Draw, x: Any, hx: Any) -> str:
    """Say that torch takes what we refuse, if it does."""
    if not is_safe(x, hx) or is_refused_on_purpose(drawn, hx):
        return ""
    theirs = attempt(drawn, nn, x, hx, {})
    return "" if isinstance(theirs, Exception) else "torch takes it"


def is_safe(x: Any, hx: Any) -> bool:
    """Whether torch may be asked: with some packed input and states it reads beyond its memory."""
    given = hx if isinstance(hx, tuple | list) else (hx,)
    given = [one for one in given if isinstance(one, Tensor)]
    if not isinstance(x, Tensor) or any(one.is_meta for one in given):
        return False
    return x.dim() > 1 or {one.dim() for one in given} <= {1}


def is_refused_on_purpose(drawn: Draw, hx: Any) -> bool:
    """Whether torch may compute what we refuse: three states, a stacked pair, a c of its own dtype."""
    if "LSTM" not in drawn.name or hx is None:
        return False
    if not isinstance(hx, tuple | list) or len(hx) != 2:
        return True
    return len({getattr(one, "dtype", None) for one in hx}) > 1


def no(parts: Any) -> list[Any]:
    """The parts that are None, which stand for zeros."""
    return [part for part in parts if part is None]


def attempt(drawn: Draw, space: Any, x: Any, hx: Any, options: dict[str, Any]) -> Any:
    """Run a call: the tensors that it returns, or what it raises."""
    module = drawn.module(space)
    torch.manual_seed(drawn.seed)
    try:
        with surroundings(drawn):
            return tensors(module(x, hx, **options))
    except Exception as error:
        return error


VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 2.0, 0.5, True, False, "3", None, np.int64(2), np.float32(2.0), [3]),
    *(torch.tensor(2), torch.tensor([2, 3]), "tanh", "cpu", torch.float32, int, float("nan")),
)


def check_constructor(drawn: Draw, rng: random.Random) -> str:
    """Put a drawn value in the place of one argument, and compare what the constructors say."""
    names = ["input_size", "hidden_size", "bias"]
    if drawn.is_layer:
        names += ["num_layers", "batch_first", "dropout", "bidirectional", "proj_size"]
    if "RNN" in drawn.name:
        names += ["nonlinearity"]
    names += ["no_such"]
    name, value = rng.choice(names), rng.choice(VALUES)
    given = {"input_size": 3, "hidden_size": 4, name: value}
    try:
        getattr(rnnkit, drawn.name)(**given)
    except rnnkit.ArgumentError as error:
        return misspoken(error)
    except Exception as error:
        return f"{drawn.name}({given}): ours {shown(error)}"
    try:
        getattr(nn, drawn.name)(**given)
    except Exception as error:
        taken = isinstance(value, np.int64)
        return "" if taken else f"{drawn.name}({given}): ours ran, torch {shown(error)}"
    return ""
