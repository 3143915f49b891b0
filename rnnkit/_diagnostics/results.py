"""What a model makes of what its layers and cells return, and which of them it calls."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, ModuleDict, RNNBase
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import are_equal
from rnnkit._diagnostics.module_calls import Call, each_call, mapped
from rnnkit._diagnostics.outputs import alike, is_number
from rnnkit._diagnostics.report import fail
from rnnkit._diagnostics.slopes import gradients_of

#: Where in a part of a result: a mask that broadcasts to it.
Where = Callable[[Tensor], Tensor]


class Result:
    """What one call of one layer returned, in parts: output, h and c."""

    def __init__(self, baseline: Baseline, call: Call) -> None:
        """Take a call."""
        self.baseline, self.name, self.number = baseline, call.name, call.number
        self.label, self.module = call.label, call.module
        self.directions = 2 if self.module.bidirectional else 1
        self.last = _last_rows(baseline, self.module, call.output)

    @cached_property
    def slopes(self) -> dict[str, Tensor]:
        """The gradients that arrive in each part."""
        return gradients_of(self.baseline).of_call(self.name, self.number)

    def seems_read(self, **parts: Where) -> bool:
        """Return whether the outputs depend on some parts, by gradients if any arrive here."""
        slopes = [
            (self.slopes[part], where) for part, where in parts.items() if part in self.slopes
        ]
        if any(bool(((slope != 0) & where(slope)).any()) for slope, where in slopes):
            return True
        arrives = any(bool(slope.any()) for slope in self.slopes.values())
        return not arrives and self._is_felt(**parts)

    def reads(self, **parts: Where) -> bool:
        """Return the same; where no gradient arrives, by NaN, too."""
        return self.seems_read(**parts) or self._is_felt(**parts)

    def _is_felt(self, **parts: Where) -> bool:
        """Return whether a NaN there comes out; what is refused has been read."""

        def turn(number: int, result: Any) -> Any:
            blank: Any = lambda where: lambda x: x.masked_fill(where(x), torch.nan)  # noqa: E731
            changes = {part: blank(where) for part, where in parts.items()}
            return mapped(result, **changes) if number == self.number else result

        watch = each_call(self.name, after=turn)
        output = self.baseline.session.attempt(self.baseline.batch.tree(), watch=watch)
        return output is None or not alike(self.baseline.normal, output)


def everywhere(data: Tensor) -> Tensor:
    """Return a mask over all of a tensor."""
    return torch.ones_like(data, dtype=torch.bool)


def _last_rows(baseline: Baseline, module: Any, output: Any) -> Tensor:
    """Return a mask over the rows of an output that is true at each sample's last valid step."""
    packed = isinstance(output, PackedSequence)
    found: Any = pad_packed_sequence(output) if packed else (output, baseline.counts)
    padded, counts = found
    seq = 1 if not packed and padded.dim() == 3 and module.batch_first else 0
    step = torch.arange(padded.shape[seq], device=padded.device)
    if not (packed or (counts and len(counts) == padded.shape[1 - seq] and baseline.post)):
        counts = [len(step)] * padded.shape[1 - seq]
    if padded.dim() == 2:
        return step == len(step) - 1
    mask = step.unsqueeze(1) == torch.as_tensor(counts, device=padded.device) - 1
    if packed:
        return pack_padded_sequence(mask, counts, enforce_sorted=False).data
    return mask.t() if seq == 1 else mask


def find_steps_as_channels(baseline: Baseline) -> None:
    """Find a batch norm that takes the steps of the input, or of a layer, for channels."""
    batch = baseline.batch
    steps_first = batch.seq_dim == 1 and batch.may_have_steps(batch.paced)
    sequences: list[Tensor] = [batch.leaves[batch.paced]] if steps_first else []
    for event in baseline.events:
        given: Any = next(iter(event.tensors), None)
        if not isinstance(given, Tensor) or given.dim() != 3 or event.is_packed:
            continue
        if event.kind == "output" and getattr(event.module, "batch_first", False):
            sequences.append(given)
        elif event.kind == "input" and isinstance(event.module, BatchNorm1d):
            casts = [one.to(given.dtype) for one in sequences if one.shape == given.shape]
            if any(torch.equal(one, given) for one in casts) and not torch.equal(given, given.mT):
                takes = "takes axis 1 of its input for channels, which is seq"
                fix = ("fix", "x.transpose(1, 2) before, and after")
                fail("use", f"{event.label} ({event.class_name}) {takes}", [fix], event.name)


def find_shared_direction(baseline: Baseline, calls: Sequence[Call]) -> None:
    """Find a cell or layer that reads the steps both ways, while its twin is never called."""
    modules, given = dict(baseline.session.model.named_modules()), defaultdict[str, list[Any]](list)
    for call in calls:
        given[call.name].append(call.input)
    for name, inputs in given.items():
        one, parent = modules[name], name.rpartition(".")[0]
        # Of what is chosen by a key, others are for other inputs.
        if not all(map(is_number, inputs)) or isinstance(modules[parent], ModuleDict):
            continue
        steps = inputs
        if isinstance(one, RNNBase):
            seq, several = int(one.batch_first), len(inputs) == 2 and inputs[0].dim() == 3
            steps = [x for input in inputs for x in input.unbind(seq)] if several else []
        half = len(steps) // 2
        pairs = [(steps[:half], steps[half:]), (steps[::2], steps[1::2])] if half > 2 else []
        if any(are_equal(a[::-1], b) and not are_equal(a, b) for a, b in pairs):
            for other, module in modules.items():
                beside = other not in given and other.rpartition(".")[0] == parent
                weights = [
                    [(w.shape, w.requires_grad) for w in x.parameters()] for x in (one, module)
                ]
                if beside and type(module) is type(one) and weights[0] == weights[1]:
                    what = f"{name} reads the steps in both directions, and {other} is never called"
                    text = f"both are a {type(module).__name__} with weights of the same sizes"
                    fix = ("fix", f"call {other} for one of the directions")
                    fail("use", what, [("evidence", text), fix], other)


def find_reversed_outputs(baseline: Baseline) -> None:
    """Find outputs of a backward layer that were not flipped back.

    Then the first output reads the first and the last step, and none between; the second one the
    two at each end. Of a padded batch, samples without padding count.
    """
    first, batch, gradients = baseline.first, baseline.batch, gradients_of(baseline)
    steps, axis = batch.steps or 0, None if first is None else baseline.axes[first]
    whole = [k for k, n in enumerate(baseline.counts or [steps] * batch.size) if n == steps]
    if first is None or axis is None or steps < 5 or not whole or not gradients.output:
        return
    is_known = baseline.has_steps(first) and not baseline.missing(first)
    if not is_known or "causal" in baseline.report.checked:
        return
    output = gradients.output[first].movedim((axis, baseline.out_seq_dim), (0, 1))
    for edge in (1, 2):
        read = gradients.places([output[whole, edge - 1]])
        ends = [*range(edge), *range(steps - edge, steps)]
        if read is None or read.any(0).nonzero().flatten().tolist() != ends:
            return
    what = f"{baseline.name(first)} of step 0 depends on the first and the last step only"
    cause = ("cause", "outputs of a layer that ran backwards were not flipped back")
    fail("use", what, [cause, ("fix", "output.flip(seq_dim), before the two are joined")])
