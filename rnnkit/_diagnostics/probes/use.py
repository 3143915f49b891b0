"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.events import looping
from rnnkit._diagnostics.module_calls import (
    each_call,
    has_recurrence,
    is_backward,
    mapped,
    named_arguments,
    rows_of,
    split_result,
)
from rnnkit._diagnostics.patterns import find_patterns
from rnnkit._diagnostics.report import CALLS, fail, note, skip
from rnnkit._diagnostics.slopes import gradients_of

#: Where in a part of a result: a mask that broadcasts to it.
Where = Callable[[Tensor], Tensor]


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    if not has_recurrence(baseline.session.model) and not looping(baseline.events):
        skip("no module has a state")
    cells = find_patterns(baseline, baseline.events, gradients_of(baseline))
    calls = _calls(baseline)
    for call in calls[:CALLS]:
        call.find_misuse()
    looked = []
    if calls:
        number = str(len(calls)) if len(calls) <= CALLS else f"{CALLS} of {len(calls)}"
        noun = "layer call" if len(calls) == 1 else "layer calls"
        looked.append(f"outputs and states of {number} {noun}")
    if cells:
        looked.append(f"what goes into {count(cells, 'call of a cell', 'calls of cells')}")
    if not looked:
        skip("no layer call returned output and state, and no cell ran")
    return ", and ".join(looked)


def _calls(baseline: Baseline) -> list["_Call"]:
    """Return the calls of layers that return output and state, as torch's do."""
    found: list[_Call] = []
    counts, starts = Counter[str](), dict[str, bool]()
    for event in baseline.events:
        if event.kind == "input":
            starts[event.name] = named_arguments(*event.tree).get("hx") is None
        elif isinstance(event.module, RNNBase):
            output, state = split_result(event.module, event.tree)
            padded = isinstance(output, Tensor) and output.dim() in {2, 3}
            if state and (padded or isinstance(output, PackedSequence)):
                number = counts[event.name]
                found.append(_Call(baseline, event.name, number, output, starts[event.name]))
            counts[event.name] += 1
    return found


class _Call:
    """Finds out which parts of the result of one call of one layer are read."""

    def __init__(
        self, baseline: Baseline, name: str, number: int, output: Any, starts: bool
    ) -> None:
        self.baseline, self.name, self.number, self.starts = baseline, name, number, starts
        self.module: Any = baseline.session.model.get_submodule(name)
        self.directions = 2 if self.module.bidirectional else 1
        self.last = _last_rows(baseline, self.module, output)
        self.slopes: dict[str, Tensor] = {}

    def find_misuse(self) -> None:
        """Try what is known to go wrong."""
        self.slopes = gradients_of(self.baseline).of_call(self.name, self.number)
        has_steps, layers = self.baseline.out_seq_dim is not None, self.module.num_layers
        has_more = bool((~self.last).any())
        if (
            self.directions == 2
            and has_more
            and self._seems_read(output=self._backward(self.last))
            and not self._reads(output=self._backward(~self.last))
        ):
            self._fail(
                f"of the output of {self.name}, the backward half is used at the last step "
                "only, where it has read one step",
                "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
            )
        if has_steps and layers == 1 and self._seems_read(output=_all):
            return
        h_matters = self._seems_read(h=_all)
        if h_matters and layers * self.directions > 1:
            self._find_mixed_rows()
        reads_on = self.directions == 1 and self.starts and has_more and self.baseline.post
        is_long = max(self.baseline.batch.valid_steps()) != 1
        if (
            not (h_matters or has_steps)
            and (reads_on and is_long and self._seems_read(output=_all))
            and not self._reads(output=self._later_steps, h=_all, c=_all)
        ):
            self._fail(
                f"of the output of {self.name}, the first step alone is used, which has read one "
                "step",
                "h_n[-1], or output[:, -1], the last step with batch_first=True",
            )
        c_matters = self.module.mode == "LSTM" and not h_matters and self._slopes(c=_all)
        if c_matters and not self._reads(output=_all, h=_all):
            text = f"of what {self.name} returns, only the cell state c is used"
            text = f"{text}; the hidden state is h_n, the first of (h_n, c_n)"
            note(self.baseline.report, text)

    def _find_mixed_rows(self) -> None:
        """Find a state of which rows are used that do not go together, and no others."""
        directions, total = self.directions, self.module.num_layers * self.directions
        used = [row for row in range(total) if self._slopes(h=partial(self._rows, rows=[row]))]
        if not used:
            return
        unused = partial(self._rows, rows=[row for row in range(total) if row not in used])
        layers, ways = ({row // directions for row in used}, {row % directions for row in used})
        rows = " and ".join(f"h_n[{row}]" for row in used)
        if max(layers) < self.module.num_layers - 1 and not self._reads(output=_all, h=unused):
            self._fail(
                f"of what {self.name} returns, only {rows} of {total} is used, not the last layer",
                "h_n[-1], the last layer's state; or the output",
            )
        if len(used) == len(layers) == len(ways) == 2 and not self._is_felt(h=unused):
            self._fail(
                f"of the state of {self.name}, {rows} are used: directions of different layers",
                f"h_n[{total - 2}] and h_n[{total - 1}], the last layer's; or last_hidden(state)",
            )
        one = self.number == 0 and directions == 2 and len(ways) == 1
        if one and not self._reads(output=_all, h=unused):
            text = f"of what {self.name} returns, one direction is used: {rows} of {total}"
            note(self.baseline.report, f"{text}; last_hidden(state) has both")

    def _fail(self, what: str, fix: str) -> NoReturn:
        rows = [("first", f"{self.name} ({type(self.module).__name__})"), ("fix", fix)]
        fail("use", what, rows, self.name)

    def _reads(self, **parts: Where) -> bool:
        """Return whether the outputs depend on some of the parts of the result, at some places."""
        return self._slopes(**parts) or self._is_felt(**parts)

    def _seems_read(self, **parts: Where) -> bool:
        """Return the same by gradients only, if any arrive in this call: enough for a suspicion."""
        arrives = any(bool(slope.any()) for slope in self.slopes.values())
        return self._slopes(**parts) if arrives else self._is_felt(**parts)

    def _slopes(self, **parts: Where) -> bool:
        """Return whether a gradient arrives there."""
        found = ((self.slopes[part], where) for part, where in parts.items() if part in self.slopes)
        return any(bool(((slope != 0) & where(slope)).any()) for slope, where in found)

    def _is_felt(self, **parts: Where) -> bool:
        """Return whether a NaN there, or noise, comes out."""
        return any(self._disturbed(by, parts) for by in (torch.nan, 1.0))

    def _disturbed(self, by: float, parts: dict[str, Where]) -> bool:
        changes = {part: partial(_noisy, where=where, by=by) for part, where in parts.items()}

        def turn(number: int, result: Any) -> Any:
            return mapped(result, **changes) if number == self.number else result

        watch = each_call(self.name, after=turn)
        output = self.baseline.session.attempt(self.baseline.batch.tree(), watch=watch)
        # What is refused has been read.
        return output is None or not alike(self.baseline.normal, output)

    def _rows(self, state: Tensor, rows: Sequence[int]) -> Tensor:
        return torch.isin(rows_of(self.module, state), torch.tensor(rows, device=state.device))

    def _backward(self, rows: Tensor) -> Where:
        """Return a mask over the backward half of an output, at some of its rows."""
        return lambda data: is_backward(data) & rows.unsqueeze(-1)

    def _later_steps(self, data: Tensor) -> Tensor:
        """Return a mask over all steps but the first; of packed data, the first ones count, too."""
        seq = 1 if data.dim() == 3 and self.module.batch_first else 0
        step = torch.arange(data.shape[seq], device=data.device)
        return (step > 0).view(*[1] * seq, -1, *[1] * (data.dim() - 1 - seq))


def _all(data: Tensor) -> Tensor:
    return torch.ones_like(data, dtype=torch.bool)


def _noisy(tensor: Tensor, where: Where, by: float) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(1)
    noise = torch.randn(tensor.shape, generator=generator, device="cpu")
    return torch.where(where(tensor), tensor + by * noise.to(tensor.device, tensor.dtype), tensor)


def _last_rows(baseline: Baseline, module: Any, output: Any) -> Tensor:
    """Return a mask over the rows of an output that is true at each sample's last valid step."""
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes
        ends = torch.cat([sizes[1:], sizes.new_zeros(1)])
        pairs = zip(sizes.tolist(), ends.tolist(), strict=True)
        rows = [torch.arange(size, device="cpu") >= end for size, end in pairs]
        return torch.cat(rows).to(output.data.device)
    seq = 1 if output.dim() == 3 and module.batch_first else 0
    steps = output.shape[seq]
    step = torch.arange(steps, device=output.device)
    if output.dim() == 2:
        only: Tensor = step == steps - 1
        return only
    batch, counts = output.shape[1 - seq], baseline.counts
    told = counts if counts and len(counts) == batch and baseline.post else [steps] * batch
    mask: Tensor = step.unsqueeze(1) == torch.tensor(told, device=output.device) - 1
    return mask.t() if seq == 1 else mask
