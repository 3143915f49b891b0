"""Which parts of a layer's result are read: a gradient arrives or, if none does, NaN comes out."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.module_calls import each_call, mapped
from rnnkit._diagnostics.slopes import gradients_of

#: Where in a part of a result: a mask that broadcasts to it.
Where = Callable[[Tensor], Tensor]


class Result:
    """What one call of one layer returned, in parts: output, h and c."""

    def __init__(self, baseline: Baseline, name: str, number: int, output: Any) -> None:
        """Take a call by the name of its layer and its number among those."""
        self.baseline, self.name, self.number = baseline, name, number
        self.label = name or "the model"
        self.module: Any = baseline.session.model.get_submodule(name)
        self.directions = 2 if self.module.bidirectional else 1
        self.last = _last_rows(baseline, self.module, output)

    @cached_property
    def slopes(self) -> dict[str, Tensor]:
        """The gradients that arrive in each part."""
        return gradients_of(self.baseline).of_call(self.name, self.number)

    def reads(self, **parts: Where) -> bool:
        """Return whether the outputs depend on some of the parts of the result, at some places."""
        return self.has_slope(**parts) or self.is_felt(**parts)

    def seems_read(self, **parts: Where) -> bool:
        """Return the same by gradients only, if any arrive in this call: enough for a suspicion."""
        arrives = any(bool(slope.any()) for slope in self.slopes.values())
        return self.has_slope(**parts) if arrives else self.is_felt(**parts)

    def has_slope(self, **parts: Where) -> bool:
        """Return whether a gradient arrives there."""
        found = ((self.slopes[part], where) for part, where in parts.items() if part in self.slopes)
        return any(bool(((slope != 0) & where(slope)).any()) for slope, where in found)

    def is_felt(self, **parts: Where) -> bool:
        """Return whether a NaN there comes out; what is refused has been read."""
        baseline = self.baseline

        def blank(where: Where) -> Where:
            return lambda tensor: tensor.masked_fill(where(tensor), torch.nan)

        def turn(number: int, result: Any) -> Any:
            changes = {part: blank(where) for part, where in parts.items()}
            return mapped(result, **changes) if number == self.number else result

        watch = each_call(self.name, after=turn)
        output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
        return output is None or not alike(baseline.normal, output)


def everywhere(data: Tensor) -> Tensor:
    """Return a mask over all of a tensor."""
    return torch.ones_like(data, dtype=torch.bool)


def _last_rows(baseline: Baseline, module: Any, output: Any) -> Tensor:
    """Return a mask over the rows of an output that is true at each sample's last valid step."""
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes
        ends = [*sizes[1:].tolist(), 0]
        rows = [
            torch.arange(n, device="cpu") >= end
            for n, end in zip(sizes.tolist(), ends, strict=True)
        ]
        return torch.cat(rows).to(output.data.device)
    seq = 1 if output.dim() == 3 and module.batch_first else 0
    step = torch.arange(output.shape[seq], device=output.device)
    if output.dim() == 2:
        only: Tensor = step == len(step) - 1
        return only
    batch, counts = output.shape[1 - seq], baseline.counts
    told = counts if counts and len(counts) == batch and baseline.post else [len(step)] * batch
    mask: Tensor = step.unsqueeze(1) == torch.tensor(told, device=output.device) - 1
    return mask.t() if seq == 1 else mask
