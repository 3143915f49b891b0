"""Mistakes of one shape each: wrong starts of calls, steps as channels, reversed outputs."""

from collections.abc import Sequence

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
    cells = looping(events)
    return sum(
        one.kind == "input" and (isinstance(one.module, RNNCellBase) or one.name in cells)
        for one in events
    )


def _find_reversed_outputs(baseline: Baseline, gradients: Gradients) -> None:
    """Find outputs of a backward layer that were not flipped back.

    Then the first output reads the first and the last step, and none between; the second one the
    two at each end. A NaN between confirms it. Of a padded batch, samples without padding count.
    """
    first, batch, seq = baseline.first, baseline.batch, baseline.out_seq_dim
    steps = batch.steps or 0
    whole = [k for k, n in enumerate(baseline.counts or [steps] * batch.size) if n == steps]
    if first is None or seq is None or baseline.axes[first] is None or not whole or steps < 6:
        return
    if "causal" in baseline.report.checked or batch.paced not in gradients.sources:
        return
    if not baseline.has_steps(first) or baseline.normal[first].shape[seq] != steps:
        return
    rows = torch.tensor(whole, device=baseline.normal[first].device)

    def at(leaf: Tensor, step: int) -> Tensor:
        return leaf.index_select(baseline.axes[first] or 0, rows).select(seq, step)

    source = gradients.sources[batch.paced][0]
    for edge in (1, 2):
        (slope,) = gradients.slopes([source], [at(gradients.output[first], edge - 1)])
        if slope is None:
            return
        read = slope.movedim(batch.seq_dim, 0).flatten(1).ne(0).any(1).nonzero().flatten().tolist()
        if read != [*range(edge), *range(steps - edge, steps)]:
            return
        output = poisoned(baseline, steps_from(edge, steps - edge))
        if output is None or len(output) != len(baseline.normal):
            return
        if bool(at(output[first], edge - 1).isnan().any()):
            return
    what = f"{baseline.name(first)} of step 0 depends on the first and the last step alone"
    rows_ = [("cause", "outputs of a layer that ran backwards were not flipped back")]
    fail("use", what, [*rows_, ("fix", "output.flip(seq_dim), before the two are joined")])


def _find_steps_as_channels(baseline: Baseline, events: Sequence[Event]) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    sequences: list[Tensor] = []
    if batch.seq_dim == 1 and batch.may_have_steps(batch.paced):
        sequences.append(batch.leaves[batch.paced])
    for event in events:
        given = event.tensors[0] if event.tensors else None
        if not isinstance(given, Tensor) or given.dim() != 3:
            continue
        if event.kind == "output" and isinstance(event.module, RNNBase) and not event.is_packed:
            sequences += [given] if event.module.batch_first else []
        elif (
            event.kind == "input"
            and isinstance(event.module, BatchNorm1d)
            and any(_is_cast_of(given, one) for one in sequences)
        ):
            takes = "takes axis 1 of its input for channels, which is seq"
            fix = ("fix", "x.transpose(1, 2) before, and after")
            fail("use", f"{event.label} ({event.class_name}) {takes}", [fix], event.name)


def _is_cast_of(given: Tensor, one: Tensor) -> bool:
    """Return whether a tensor holds the numbers of another one, in its own dtype."""
    is_cast = one.shape == given.shape and torch.equal(one.to(given.dtype), given)
    return is_cast and not torch.equal(given, given.mT)


def _find_shared_direction(baseline: Baseline, calls: dict[str, list[Call]]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called."""
    modules = dict(baseline.session.model.named_modules())
    for name in filter(lambda name: _reads_both_ways(calls[name]), calls):
        one, parent = modules[name], name.rpartition(".")[0]
        for other, module in modules.items():
            alike = type(module) is type(one) and _sizes(module) == _sizes(one)
            twin = alike and other not in calls and other.rpartition(".")[0] == parent
            # Of what is chosen by a key, others are for other inputs.
            chosen = isinstance(modules[parent], ModuleDict)
            if twin and not chosen and other != name and (trained(module) or not trained(one)):
                what = f"{name} reads the steps in both directions, and {other} is never called"
                kind = type(module).__name__
                rows = [
                    ("evidence", f"both are a {kind} with weights of the same sizes"),
                    ("fix", f"call {other} for one of the directions"),
                ]
                fail("use", what, rows, other)


def _sizes(module: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in module.parameters()]


def _reads_both_ways(calls: list[Call]) -> bool:
    """Return whether the same steps go in twice, the second time the last one first."""
    given, half = [call.input for call in calls], len(calls) // 2
    if not all(map(is_number, given)) or not half or len(calls) % 2:
        return False
    module = calls[0].event.module
    if isinstance(module, RNNBase):
        one, other = given[0], given[1]
        both = half == 1 and one.dim() == 3 and one.shape == other.shape
        turned = torch.equal(one.flip(1 if module.batch_first else 0), other) if both else False
        return turned and not torch.equal(one, other)
    return half > 2 and any(
        are_equal(there[::-1], back) and not are_equal(there, back)
        for there, back in ((given[:half], given[half:]), (given[::2], given[1::2]))
    )
