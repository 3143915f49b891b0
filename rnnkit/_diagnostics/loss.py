"""A model that returns only a loss: a sample may scale another one's gradient, and not turn it.

A mean, a mask, class weights and a root scale the gradients of all samples alike.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Embedding

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed, sample_at
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.isolation import EscapedError, private
from rnnkit._diagnostics.judge import judge
from rnnkit._diagnostics.outputs import Given, tensors_of
from rnnkit._diagnostics.report import fail, note, skip

#: How far a gradient may turn, 1 - |cos|, in float64: by 4e-16 in correct losses.
TURNED = 1e-6
#: A smaller gradient has no direction, and a smaller change is none.
NOTHING = 1e-12
#: So many targets are changed, one by one.
TARGETS = 4


class Run(NamedTuple):
    """Where samples come in, its gradient, and what modules returned: name, class, tensor."""

    place: Tensor
    slope: Tensor
    returned: list[tuple[str, str, Tensor]]


def judge_loss(narrow: Baseline) -> str:
    """Fail if a change of a sample turns another one's gradient, and a module mixes them."""
    baseline = judge(narrow)
    batch, base = baseline.batch, _run(baseline, baseline.batch.tree())
    if base is None:
        skip("a loss without a gradient: pass inputs with fractions, or tokens and their Embedding")
    given = {k: changed(batch, sample_at(k)) for k in range(batch.size)}
    tried = {k: _run(baseline, inputs) for k, inputs in given.items() if inputs is not None}
    runs = {k: run for k, run in tried.items() if run and run.place.shape == base.place.shape}
    axis = next((k for k in _axes(base.place, batch.size) if _follows(base, runs, k)), None)
    if axis is None:
        skip("a loss, and no place in the model follows the samples")
    turned = [
        (batch.numbers[sample], batch.numbers[other])
        for sample, run in runs.items()
        for other in range(batch.size)
        if other != sample and _turn(base.slope.select(axis, other), run.slope.select(axis, other))
    ]
    if not turned:
        return "a loss: no sample turns the gradient of another one"
    what = f"the gradient of the loss for sample {turned[0][1]} turns with sample {turned[0][0]}"
    for at, (name, kind, before) in enumerate(base.returned):
        after = [x.returned[at][2] for x in runs.values() if len(x.returned) == len(base.returned)]
        axes = _axes(before, batch.size)
        if axes and any(all(len(_moved(before, x, k)) > 1 for k in axes) for x in after):
            means = "samples are mixed there, unless the loss compares them, as InfoNCE does"
            fail("batch", what, [("first", f"{name} ({kind}), output"), ("means", means)], name)
    if _are_mispaired(baseline, base, runs):
        text = "y.t().reshape(-1) for logits (seq, batch, ...): flatten both in one order"
        cause = ("cause", "each step of a sample meets the target of a different sample")
        fail("batch", what, [cause, ("fix", text)])
    note(narrow.report, f"{what}: the loss compares samples")
    return "a loss that compares samples; no module mixes them"


def _run(baseline: Baseline, inputs: Given) -> Run | None:
    """Run with gradients, and return the first place with fractions that gets one."""
    session, returned = baseline.session, list[tuple[str, str, Tensor]]()
    copy, (given, _) = session.fresh(), private(inputs)
    places = [x.requires_grad_() for x in tensors_of([*given]) if is_number(x) and x.dim() > 1]

    def after(name: str, module: Any, result: Any) -> None:
        for x in tensors_of(result):
            if x.dim() > 1 and x.requires_grad:
                x.retain_grad()
                returned.append((name, type(module).__name__, x))
                places.extend([x] * isinstance(module, Embedding))

    handles = [
        module.register_forward_hook(lambda m, _, y, name=name: after(name or "the model", m, y))
        for name, module in copy.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    session.passes += 1
    try:
        with session.watched(notices=False), torch.enable_grad():
            output = session.call(copy, *given.args, **given.kwargs)
            torch.autograd.backward([x for x in tensors_of(output) if x.requires_grad])
    except EscapedError:
        raise
    except Exception:  # noqa: BLE001 - a model may refuse as it likes
        return None
    finally:
        for handle in handles:
            handle.remove()
    place = next((x for x in places if x.grad is not None), None)
    return None if place is None else Run(place.detach(), _slope(place), returned)


def _slope(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad


def _axes(x: Tensor, size: int) -> list[int]:
    return [axis for axis, length in enumerate(x.shape) if length == size]


def _follows(base: Run, runs: dict[int, Run], axis: int) -> bool:
    """Return whether a change of a sample stays at its place of an axis."""
    found = (_moved(base.place, run.place, axis) == [sample] for sample, run in runs.items())
    return bool(runs) and all(found)


def _moved(before: Tensor, after: Tensor, axis: int) -> list[int]:
    if before.shape != after.shape:
        return []
    rows = (before - after).detach().abs().movedim(axis, 0).flatten(1).amax(1)
    return (rows > NOTHING).nonzero().flatten().tolist()


def _turn(one: Tensor, other: Tensor) -> bool:
    product = float(one.norm() * other.norm())
    is_turned = 1 - abs(float((one * other).sum())) / max(product, NOTHING**2) > TURNED
    return is_turned and bool(min(one.norm(), other.norm()) > NOTHING)


def _are_mispaired(baseline: Baseline, base: Run, runs: dict[int, Run]) -> bool:
    """Return whether single targets turn the gradient of one row each, another sample's."""
    if not base.returned or any(len(x.returned) != len(base.returned) for x in runs.values()):
        return False
    batch, rows = baseline.batch, base.returned[-1][2].flatten(0, -2)
    targets = [
        k
        for k, x in enumerate(batch.leaves)
        if k != batch.first and batch.has_steps(k) and x.dim() == 2 and not is_number(x)
    ]
    if not targets or len(rows) != batch.leaves[targets[-1]].numel():
        return False
    index, owners = targets[-1], torch.full((len(rows),), -1, device="cpu")
    for sample, run in runs.items():
        owners[_moved(rows, run.returned[-1][2].flatten(0, -2), 0)] = sample
    is_other = False
    for number in range(TARGETS):
        leaves, sample = list(batch.leaves), number % batch.size
        leaves[index] = leaves[index].clone()
        row = leaves[index].select(batch.axes[index] or 0, sample)
        step = number * len(row) // TARGETS
        values = batch.leaves[index].unique()
        row[step] = values[values != row[step]][0] if len(values) > 1 else row[step]
        other = _run(baseline, batch.tree(leaves))
        if other is None or len(other.returned) != len(base.returned):
            return False
        slopes = (_slope(one.returned[-1][2]).flatten(0, -2) for one in (base, other))
        turned = [k for k, pair in enumerate(zip(*slopes, strict=True)) if _turn(*pair)]
        if len(turned) != 1:
            return False
        is_other |= owners[turned[0]].item() not in (-1, sample)
    return is_other
