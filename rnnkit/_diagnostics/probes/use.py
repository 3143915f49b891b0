"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.events import Event, looping
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
from rnnkit._diagnostics.slopes import Gradients, gradients_of

#: Where in a part of a result: a mask that broadcasts to it.
Where = Callable[[Tensor], Tensor]


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    events = baseline.events
    if not has_recurrence(baseline.session.model) and not looping(events):
        skip("no module has a state")
    gradients = gradients_of(baseline)  # what goes on as a c is used as it should be
    cells = find_patterns(baseline, events, gradients)
    calls = _calls(baseline, events)
    for call in calls[:CALLS]:
        _Judge(baseline, call, gradients, events).find_misuse()
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


class _Call(NamedTuple):
    """A call of a layer.

    Attributes:
        name: the layer's name.
        number: which of its calls.
        has_more_steps: whether its output has steps before the last.
        starts: whether it was given no state.
    """

    name: str
    number: int
    has_more_steps: bool
    starts: bool


def _calls(baseline: Baseline, events: Sequence[Event]) -> list[_Call]:
    """Return the calls of layers that return output and state, as torch's do."""
    found: list[_Call] = []
    counts: Counter[str] = Counter()
    starts: dict[str, bool] = {}
    for event in events:
        if event.kind == "input":
            starts[event.name] = named_arguments(*event.tree).get("hx") is None
        elif isinstance(event.module, RNNBase):
            output, state = split_result(event.module, event.tree)
            padded = isinstance(output, Tensor) and output.dim() in {2, 3}
            if state and (padded or isinstance(output, PackedSequence)):
                more = bool((~_last_rows(baseline, event.module, output)).any())
                call = _Call(event.name, counts[event.name], more, starts[event.name])
                found.append(call)
            counts[event.name] += 1
    return found


class _Judge:
    """Finds out which parts of the result of one call of one layer are read."""

    def __init__(
        self, baseline: Baseline, call: _Call, gradients: Gradients, events: Sequence[Event]
    ) -> None:
        self.baseline, self.call, self.events = baseline, call, events
        self.name, self.slopes = call.name, gradients.of_call(call.name, call.number)
        self.module: Any = baseline.session.model.get_submodule(call.name)
        self.directions = 2 if self.module.bidirectional else 1

    def find_misuse(self) -> None:
        """Try what is known to go wrong."""
        if self.directions == 2 and self._seems_read(
            output=partial(self._backward_half, last=True)
        ):
            rest = partial(self._backward_half, last=False)
            if self.call.has_more_steps and not self._reads(output=rest):
                self._fail(
                    f"of the output of {self.name}, the backward half is used at the last step "
                    "only, where it has read one step",
                    "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
                )
        has_steps = self.baseline.out_seq_dim is not None
        if has_steps and self.module.num_layers == 1 and self._seems_read(output=_all):
            return
        h_matters = self._seems_read(h=_all)
        if h_matters and self.module.num_layers * self.directions > 1:
            self._find_mixed_rows()
        if not (h_matters or has_steps):
            self._find_first_step()
        if self.module.mode != "LSTM" or h_matters or not self._slopes(c=_all):
            return
        if not self._reads(output=_all, h=_all):
            text = f"of what {self.name} returns, only the cell state c is used"
            text = f"{text}; the hidden state is h_n, the first of (h_n, c_n)"
            note(self.baseline.report, text)

    def _find_first_step(self) -> None:
        """Find an output whose first step only is used: it has read one step."""
        reads_on = self.directions == 1 and self.call.starts and self.call.has_more_steps
        is_short = max(self.baseline.batch.valid_steps()) == 1
        if not reads_on or is_short or not self.baseline.post or not self._seems_read(output=_all):
            return
        if not self._reads(output=self._later_steps, h=_all, c=_all):
            self._fail(
                f"of the output of {self.name}, the first step alone is used, which has read one "
                "step",
                "h_n[-1], or output[:, -1], the last step with batch_first=True",
            )

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
        one = self.call.number == 0 and directions == 2 and len(ways) == 1
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
        def turn(number: int, result: Any) -> Any:
            if number != self.call.number:
                return result
            changes = {part: partial(_noisy, where=where, by=by) for part, where in parts.items()}
            return mapped(result, **changes)

        watch = each_call(self.name, after=turn)
        output = self.baseline.session.attempt(self.baseline.batch.tree(), watch=watch)
        # What is refused has been read.
        return output is None or not alike(self.baseline.normal, output)

    def _rows(self, state: Tensor, rows: Sequence[int]) -> Tensor:
        return torch.isin(rows_of(self.module, state), torch.tensor(rows, device=state.device))

    def _backward_half(self, data: Tensor, *, last: bool) -> Tensor:
        """Return a mask over the backward half of an output at the last valid steps, or others."""
        at_last = _last_rows(self.baseline, self.module, self._like(data))
        return is_backward(data) & (at_last if last else ~at_last).unsqueeze(-1)

    def _later_steps(self, data: Tensor) -> Tensor:
        """Return a mask over all steps but the first; of packed data, the first ones count, too."""
        step = torch.arange(data.shape[0], device=data.device)
        if data.dim() == 3 and self.module.batch_first:
            return (torch.arange(data.shape[1], device=data.device) > 0).view(1, -1, 1)
        return (step > 0).view(-1, *[1] * (data.dim() - 1))

    def _like(self, data: Tensor) -> Any:
        """Return the output of the call, packed or not, with other data."""
        made = [e for e in self.events if e.kind == "output" and e.name == self.name]
        output = made[self.call.number].tree[0]
        return output._replace(data=data) if isinstance(output, PackedSequence) else data


def _all(data: Tensor) -> Tensor:
    return torch.ones_like(data, dtype=torch.bool)


def _noisy(tensor: Tensor, where: Where, by: float) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(1)
    noise = torch.randn(tensor.shape, generator=generator, device="cpu")
    return torch.where(where(tensor), tensor + by * noise.to(tensor.device, tensor.dtype), tensor)


def _last_rows(baseline: Baseline, module: RNNBase, output: Any) -> Tensor:
    """Return a mask over the rows of an output that is true at each sample's last valid step."""
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes
        ends = torch.cat([sizes[1:], sizes.new_zeros(1)])
        rows = [
            torch.arange(int(size), device="cpu") >= int(end)
            for size, end in zip(sizes, ends, strict=True)
        ]
        return torch.cat(rows).to(output.data.device)
    seq = 1 if output.dim() == 3 and module.batch_first else 0
    steps = output.shape[seq]
    step = torch.arange(steps, device=output.device)
    if output.dim() == 2:
        only: Tensor = step == steps - 1
        return only
    batch = output.shape[1 - seq]
    counts = baseline.counts if baseline.counts and len(baseline.counts) == batch else None
    ends = torch.tensor(counts or [steps] * batch, device=output.device) - 1
    mask = step.unsqueeze(1) == ends if baseline.post else (step == steps - 1).unsqueeze(1)
    both: Tensor = mask.expand(steps, batch)
    return both.t() if seq == 1 else both
