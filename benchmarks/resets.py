"""``reset=`` beside one call without resets, a loop over torch's cells, and torchrl."""

import itertools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.passes import PASSES, KernelPath, calls
from benchmarks.report import Table, budget
from benchmarks.subjects import pair, sharing
from benchmarks.timing import Effort, compare

#: By kind, the most that resets may be of one call without them, in both passes.
LIMITS = {"LSTM": 1.6, "GRU": 0.8, "RNN": 1.3}
LOOP = 1.0
INPUT = 64
HIDDEN = 128

#: ``(seq, batch)``, and the share of steps before which a sample starts again.
LONG = ((128, 16), (512, 8))
RATES = (0.005, 0.02, 0.1)
#: ``(seq, batch, hidden)``: where a loop is short.
SHORT = ((16, 1, 32), (16, 8, 128), (16, 64, 256), (64, 1, 32), (64, 64, 32))


def tables(effort: Effort) -> list[Table]:
    """Long rollouts compared with one fused call, and short ones with the loop."""
    return [_long(effort), _short(effort.brief())]


def _long(effort: Effort) -> Table:
    rows: list[tuple[str, ...]] = []
    for (passes, backward), kind, (seq, batch), rate in itertools.product(
        PASSES.items(), LIMITS, LONG[: effort.sizes], RATES[: effort.sizes]
    ):
        timings = compare(made(kind, (seq, batch, HIDDEN), rate, backward=backward), effort)
        ours = timings["reset"]
        limit = budget(ours.ratio, LIMITS[kind], spread=ours.spread) if backward else ""
        others = [str(timings[name]) if name in timings else "" for name in ("loop", "torchrl")]
        milliseconds = f"{1e3 * timings['fused'].seconds:.2f}"
        shape = f"{seq}, {batch}, {rate}"
        rows.append((passes, kind, shape, milliseconds, str(ours), limit, *others))
    return Table(
        "Resets",
        "The column 'without' is in milliseconds. 'loop' calls torch's cells.",
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
        paths = made(kind, shape, 0.05, backward=backward)
        timings = compare({name: paths[name] for name in ("loop", "reset")}, effort)
        ours = timings["reset"]
        limit = budget(ours.ratio, LOOP, spread=ours.spread) if backward else ""
        sizes = ", ".join(map(str, shape))
        rows.append((passes, kind, sizes, str(ours), limit))
    return Table(
        "Resets compared with the loop",
        "One reset in twenty steps.",
        ("passes", "layer", "seq, batch, hidden", "reset/loop", "budget"),
        rows,
    )


def made(
    kind: str, shape: tuple[int, int, int], rate: float, *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return the calls over the same weights: without resets, with them, the loop, torchrl."""
    torch.manual_seed(0)
    seq, batch, hidden = shape
    theirs, ours = pair(kind, INPUT, hidden)
    _, cell = sharing(theirs, getattr(nn, f"{kind}Cell")(INPUT, hidden))
    x = torch.randn(seq, batch, INPUT)
    reset = torch.rand(seq, batch) < rate
    reset[seq // 2, 0] = True
    paths = {
        "fused": KernelPath(theirs, lambda: theirs(x)[0]),
        "reset": KernelPath(ours, lambda: ours(x, reset=reset)[0]),
        "loop": KernelPath(cell, lambda: looped(cell, x, reset)),
    }
    if find_spec("torchrl") and kind != "RNN":  # pragma: no cover - where it is installed
        paths["torchrl"] = torchrl_path(kind, hidden, theirs, x, reset)
    return calls(paths, backward=backward)


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


def torchrl_path(
    kind: str, hidden: int, theirs: nn.Module, x: Tensor, reset: Tensor
) -> KernelPath:  # pragma: no cover
    """Make torchrl's module with the same weights, which runs over a whole rollout."""
    from tensordict import TensorDict  # noqa: PLC0415 - not a requirement
    from torchrl import modules  # noqa: PLC0415

    module = getattr(modules, f"{kind}Module")(INPUT, hidden, in_key="x", out_key="y")
    getattr(module, kind.lower()).load_state_dict(theirs.state_dict(), assign=True)
    steps = {"x": x.transpose(0, 1), "is_init": reset.t().unsqueeze(-1)}

    def run() -> Tensor:
        with modules.set_recurrent_mode(True):
            output: Tensor = module(TensorDict(steps, [x.shape[1], x.shape[0]]))["y"]
        return output

    return KernelPath(module, run)
