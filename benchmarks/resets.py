"""``reset=`` beside one call without resets, a loop over torch's cells, and torchrl."""

import itertools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.passes import PASSES
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare

#: By kind, the most that resets may be of one call without them, in both passes.
LIMITS = {"LSTM": 1.6, "GRU": 0.8, "RNN": 1.3}
LOOP = 1.0
INPUT, HIDDEN = 64, 128

#: ``(seq, batch)``, and the share of steps before which a sample starts again.
LONG = ((128, 16), (512, 8))
RATES = (0.005, 0.02, 0.1)
#: ``(seq, batch, hidden)``: where a loop is short.
SHORT = ((16, 1, 32), (16, 8, 128), (16, 64, 256), (64, 1, 32), (64, 64, 32))


def tables(effort: Effort) -> list[Table]:
    """Long rollouts beside one fused call, and short ones beside the loop."""
    return [_long(effort), _short(effort.brief())]


def _long(effort: Effort) -> Table:
    rows: list[tuple[str, ...]] = []
    for (passes, backward), kind, (seq, batch), rate in itertools.product(
        PASSES.items(), LIMITS, LONG[: effort.sizes], RATES[: effort.sizes]
    ):
        calls = made(kind, (seq, batch, HIDDEN), rate, backward=backward)
        timings = compare(calls, effort)
        ours = timings["reset"]
        limit = budget(ours.ratio, LIMITS[kind], spread=ours.spread) if backward else ""
        others = [str(timings[name]) if name in timings else "" for name in ("loop", "torchrl")]
        milliseconds = f"{1e3 * timings['fused'].seconds:.2f}"
        shape = f"{seq}, {batch}, {rate}"
        rows.append((passes, kind, shape, milliseconds, str(ours), limit, *others))
    return Table(
        "Resets",
        "Milliseconds of one call of torch's layer without resets, and times relative to it.\n"
        "'loop' calls torch's cell step by step and sets the state to zero by a product;\n"
        "'torchrl' is its module in recurrent mode, where it is installed.",
        (
            *("passes", "layer", "seq, batch, rate", "without", "reset/without", "budget"),
            *("loop/without", "torchrl/without"),
        ),
        rows,
    )


def _short(effort: Effort) -> Table:
    rows: list[tuple[str, ...]] = []
    for (passes, backward), kind, shape in itertools.product(
        PASSES.items(), LIMITS, SHORT[: effort.sizes]
    ):
        calls = made(kind, shape, 0.05, backward=backward)
        timings = compare({name: calls[name] for name in ("loop", "reset")}, effort)
        ours = timings["reset"]
        limit = budget(ours.ratio, LOOP, spread=ours.spread) if backward else ""
        sizes = ", ".join(map(str, shape))
        rows.append((passes, kind, sizes, str(ours), limit))
    return Table(
        "Resets beside the loop",
        "Times relative to the loop over torch's cells, where it is short: one step of twenty\n"
        "starts again.",
        ("passes", "layer", "seq, batch, hidden", "reset/loop", "budget"),
        rows,
    )


def made(
    kind: str, shape: tuple[int, int, int], rate: float, *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return the calls over the same weights: without resets, with them, the loop, torchrl."""
    torch.manual_seed(0)
    seq, batch, hidden = shape
    theirs: nn.Module = getattr(nn, kind)(INPUT, hidden)
    ours: nn.Module = getattr(rnnkit, kind)(INPUT, hidden)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    cell: nn.Module = getattr(nn, f"{kind}Cell")(INPUT, hidden)
    weights = {name.removesuffix("_l0"): weight for name, weight in theirs.state_dict().items()}
    cell.load_state_dict(weights, assign=True)
    x = torch.randn(seq, batch, INPUT)
    reset = torch.rand(seq, batch) < rate
    reset[seq // 2, 0] = True
    paths: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "fused": (theirs, lambda: theirs(x)[0]),
        "reset": (ours, lambda: ours(x, reset=reset)[0]),
        "loop": (cell, lambda: looped(cell, x, reset)),
    }
    if find_spec("torchrl") and kind != "RNN":  # pragma: no cover - where it is installed
        module = torchrl_module(kind, hidden, theirs)
        paths["torchrl"] = (module, lambda: run_torchrl(module, x, reset))

    def call(module: nn.Module, run: Callable[[], Tensor]) -> Callable[[], object]:
        leaves = list(module.parameters())

        def once() -> object:
            with torch.set_grad_enabled(backward):
                output = run()
                return torch.autograd.grad(output.sum(), leaves) if backward else output

        return once

    return {name: call(*path) for name, path in paths.items()}


def looped(cell: nn.Module, x: Tensor, reset: Tensor) -> Tensor:
    """Do what people write: the state times 0 where a sample starts again."""
    keep = (~reset).to(x.dtype).unsqueeze(-1).unbind()
    zeros = x.new_zeros(x.shape[1], int(cell.hidden_size))
    hx: Any = (zeros, zeros) if isinstance(cell, nn.LSTMCell) else zeros
    outputs = []
    for x_t, factor in zip(x.unbind(), keep, strict=True):
        hx = cell(x_t, hx * factor if isinstance(hx, Tensor) else tuple(h * factor for h in hx))
        outputs.append(hx if isinstance(hx, Tensor) else hx[0])
    return torch.stack(outputs)


def torchrl_module(kind: str, hidden: int, theirs: nn.Module) -> Any:  # pragma: no cover
    """Make torchrl's module with the same weights."""
    from torchrl import modules  # noqa: PLC0415 - not a requirement

    module = getattr(modules, f"{kind}Module")(INPUT, hidden, in_key="x", out_key="y")
    getattr(module, kind.lower()).load_state_dict(theirs.state_dict(), assign=True)
    return module


def run_torchrl(module: Any, x: Tensor, reset: Tensor) -> Tensor:  # pragma: no cover
    """Run it over a whole rollout."""
    from tensordict import TensorDict  # noqa: PLC0415
    from torchrl.modules import set_recurrent_mode  # noqa: PLC0415

    steps = {"x": x.transpose(0, 1), "is_init": reset.t().unsqueeze(-1)}
    with set_recurrent_mode(True):
        output: Tensor = module(TensorDict(steps, [x.shape[1], x.shape[0]]))["y"]
    return output
