"""Mistakes of one shape each: wrong starts of calls, steps as channels, reversed outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, ModuleDict, RNNBase, RNNCellBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import steps_from
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import Event, looping
from rnnkit._diagnostics.module_calls import trained
from rnnkit._diagnostics.reach import poisoned
from rnnkit._diagnostics.report import fail
from rnnkit._diagnostics.slopes import Gradients
from rnnkit._diagnostics.starts import Call, are_equal, by_name, calls_in, find_wrong_starts


def find_patterns(baseline: Baseline, events: Sequence[Event], gradients: Gradients) -> int:
    """Look for each of them in one run; return how many calls of cells were looked at."""
    _find_steps_as_channels(baseline, events)
    find_wrong_starts(baseline, events)
    _find_shared_direction(baseline, by_name(calls_in(events)))
    _find_reversed_outputs(baseline, gradients)
    cells = {e.name for e in events if isinstance(e.module, RNNCellBase)} | looping(events)
    inputs = [e for e in events if e.kind == "input" and not isinstance(e.module, RNNBase)]
    return sum(one.name in cells for one in inputs)


def _find_reversed_outputs(baseline: Baseline, gradients: Gradients) -> None:
    """Find outputs of a backward layer that were not flipped back.

    Then the first output reads the first and the last step, and none between; the second one the
    two at each end. A NaN between confirms it. Of a padded batch, samples without padding count.
    """
    first, batch, seq = baseline.first, baseline.batch, baseline.out_seq_dim
    steps = batch.steps or 0
    whole = [k for k, n in enumerate(baseline.counts or [steps] * batch.size) if n == steps]
    if first is None or seq is None or baseline.axes[first] is None or not whole or steps < 5:
        return
    if not baseline.has_steps(first) or baseline.normal[first].shape[seq] != steps:
        return
    if "causal" in baseline.report.checked or batch.paced not in gradients.sources:
        return
    source = gradients.sources[batch.paced][0]
    rows = torch.tensor(whole, device=baseline.normal[first].device)

    def at(leaf: Tensor, step: int) -> Tensor:
        return leaf.index_select(baseline.axes[first or 0] or 0, rows).select(seq, step)

    for edge in (1, 2):
        (slope,) = gradients.slopes([source], [at(gradients.output[first], edge - 1)])
        if slope is None:
            return
        read = slope.movedim(batch.seq_dim, 0).flatten(1).ne(0).any(1).nonzero().flatten().tolist()
        output = poisoned(baseline, steps_from(edge, steps - edge))
        ends = [*range(edge), *range(steps - edge, steps)]
        if read != ends or output is None or len(output) != len(baseline.normal):
            return
        if bool(at(output[first], edge - 1).isnan().any()):
            return
    what = f"{baseline.name(first)} of step 0 depends on the first and the last step only"
    cause = ("cause", "outputs of a layer that ran backwards were not flipped back")
    fail("use", what, [cause, ("fix", "output.flip(seq_dim), before the two are joined")])


def _find_steps_as_channels(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    steps_first = batch.seq_dim == 1 and batch.may_have_steps(batch.paced)
    sequences: list[Tensor] = [batch.leaves[batch.paced]] if steps_first else []
    for event in events:
        given: Any = next(iter(event.tensors), None)
        if not isinstance(given, Tensor) or given.dim() != 3 or event.is_packed:
            continue
        if event.kind == "output" and isinstance(event.module, RNNBase):
            sequences += [given] if event.module.batch_first else []
        elif event.kind == "input" and isinstance(event.module, BatchNorm1d):
            casts = [one.to(given.dtype) for one in sequences if one.shape == given.shape]
            if any(torch.equal(one, given) for one in casts) and not torch.equal(given, given.mT):
                takes = "takes axis 1 of its input for channels, which is seq"
                fix = ("fix", "x.transpose(1, 2) before, and after")
                fail("use", f"{event.label} ({event.class_name}) {takes}", [fix], event.name)


def _find_shared_direction(baseline: Baseline, calls: dict[str, list[Call]]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called."""
    modules = dict(baseline.session.model.named_modules())
    for name in filter(lambda name: _reads_both_ways(calls[name]), calls):
        one, parent = modules[name], name.rpartition(".")[0]
        for other, module in modules.items():
            beside = other not in calls and other.rpartition(".")[0] == parent and other != name
            twin = beside and type(module) is type(one) and _sizes(module) == _sizes(one)
            # Of what is chosen by a key, others are for other inputs.
            chosen = isinstance(modules[parent], ModuleDict)
            if twin and not chosen and (trained(module) or not trained(one)):
                what = f"{name} reads the steps in both directions, and {other} is never called"
                same = f"both are a {type(module).__name__} with weights of the same sizes"
                fix = ("fix", f"call {other} for one of the directions")
                fail("use", what, [("evidence", same), fix], other)


def _sizes(module: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in module.parameters()]


def _reads_both_ways(calls: list[Call]) -> bool:
    """Return whether the same steps go in twice, the second time the last one first."""
    given, half, module = [call.input for call in calls], len(calls) // 2, calls[0].event.module
    if not all(map(is_number, given)) or not half or len(calls) % 2:
        return False
    halves = [(given[:half], given[half:]), (given[::2], given[1::2])]
    if isinstance(module, RNNBase):
        if half > 1 or given[0].dim() != 3:
            return False
        there, back = (list(x.unbind(1 if module.batch_first else 0)) for x in given)
        halves = [(there, back)]
    return (half > 2 or isinstance(module, RNNBase)) and any(
        are_equal(there[::-1], back) and not are_equal(there, back) for there, back in halves
    )
