"""How a model uses what its recurrent layers return: found by disturbing that, not the input."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.locate import Location
from rnnkit._diagnostics.module_calls import rows_axis, split_result
from rnnkit._diagnostics.probes.patterns import find_patterns
from rnnkit._diagnostics.report import CALLS, RUNS, fail


def probe_use(baseline: Baseline) -> None:
    """What recurrent layers return is used where it means something."""
    if not has_recurrence(baseline.session.model):
        baseline.report.skipped("use", "the model has no recurrent module")
        return
    events = record(baseline.session, baseline.batch.tree())
    cells = find_patterns(baseline, events)
    misuse, calls = find_misuse(baseline, events)
    if misuse is not None:
        fail("use", misuse.what, misuse.place.rows, misuse.place.module)
    looked = []
    if calls.total:
        noun = "layer call" if calls.total == 1 else "layer calls"
        looked.append(f"outputs and states of {calls} {noun}")
    if cells:
        looked.append(f"what goes into {count(cells, 'call of a cell', 'calls of cells')}")
    if looked:
        baseline.report.passed("use", ", and ".join(looked))
    else:
        baseline.report.skipped("use", "no layer call returned output and state, and no cell ran")


Disturb = Callable[[RNNBase, Any], Any]


@dataclass(frozen=True)
class Misuse:
    """What is used wrongly, and where."""

    what: str
    place: Location


def has_recurrence(model: torch.nn.Module) -> bool:
    """Say whether a model has a recurrent module: torch's kinds, or one with a first state."""
    kinds = (RNNBase, RNNCellBase)
    return any(isinstance(m, kinds) or hasattr(m, "initial_state") for m in model.modules())


class Seen(NamedTuple):
    """How many calls of layers were looked at, to the end, of how many there were."""

    seen: int
    total: int

    def __str__(self) -> str:
        """Write one number if it says all."""
        return str(self.seen) if self.seen == self.total else f"{self.seen} of {self.total}"


class Use(NamedTuple):
    """What is used wrongly, if anything, and how much was looked at."""

    misuse: Misuse | None
    calls: Seen


def find_misuse(baseline: Baseline, events: Sequence[Event]) -> Use:
    """Look at the calls of layers in one run until something is wrong or enough was run."""
    calls = _calls(baseline, events)
    budget = baseline.session.passes + RUNS
    seen = 0
    for call in calls[:CALLS]:
        try:
            misuse = _Judge(baseline, call, budget).misuse()
        except _SpentError:
            break
        seen += 1
        if misuse is not None:
            return Use(misuse, Seen(seen, len(calls)))
    return Use(None, Seen(seen, len(calls)))


class _SpentError(Exception):
    """As many runs were made as may be."""


@dataclass(frozen=True)
class _Call:
    """A call of a layer: the layer's name, which of its calls, and whether it has further steps."""

    name: str
    number: int
    has_more_steps: bool


def _calls(baseline: Baseline, events: Sequence[Event]) -> list[_Call]:
    """Return the calls of layers that return output and state, as torch's do."""
    found: list[_Call] = []
    counts: Counter[str] = Counter()
    for event in events:
        if event.kind == "output" and isinstance(event.module, RNNBase):
            output, state = split_result(event.module, event.tree)
            if state and _is_output(output):
                more = bool((~_last_rows(baseline, event.module, output)).any())
                found.append(_Call(event.name, counts[event.name], more))
            counts[event.name] += 1
    return found


def _is_output(output: Any) -> bool:
    padded = isinstance(output, Tensor) and output.dim() in {2, 3}
    return padded or isinstance(output, PackedSequence)


class _Judge:
    """Disturbs the result of one call of one layer."""

    def __init__(self, baseline: Baseline, call: _Call, budget: int) -> None:
        self.baseline, self.call, self.budget = baseline, call, budget
        self.name = call.name
        self.module: Any = baseline.session.model.get_submodule(call.name)
        self.directions = 2 if self.module.bidirectional else 1
        self._reads: bool | None = None  # the output, or a part of it

    def misuse(self) -> Misuse | None:
        """Try what is known to go wrong."""
        if self.directions == 2 and self._matters(_backward_half(self.baseline, last=True)):
            self._reads = True
            # What has no weight by its value, as in attention, is read all the same.
            rest = [_backward_half(self.baseline, last=False, by=size) for size in (1.0, torch.nan)]
            if self.call.has_more_steps and not any(map(self._matters, rest)):
                return self._found(
                    f"of the output of {self.name}, the backward half is used at the last step "
                    "only, where it has read one step",
                    "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
                )
        has_steps, has_one_layer = (
            self.baseline.out_seq_dim is not None,
            self.module.num_layers == 1,
        )
        if has_steps and has_one_layer and self._is_read():
            return None
        h_matters = self._matters(_state("h"))
        if not h_matters and not self._is_read():
            if self.module.mode == "LSTM" and self._matters(_state("c")):
                return self._found(
                    f"of what {self.name} returns, only the cell state c is used",
                    "output, (h_n, c_n) = layer(input): h_n is the hidden state",
                )
            return None
        if h_matters and self.module.num_layers > 1:
            return self._mixed_rows()
        return None

    def _mixed_rows(self) -> Misuse | None:
        count = self.module.num_layers * self.directions
        used = [row for row in range(count) if self._matters(_row(row))]
        layers = {row // self.directions for row in used}
        is_early = max(layers, default=count) < self.module.num_layers - 1
        if is_early and not self._is_read():
            rows = " and ".join(f"h_n[{row}]" for row in used)
            return self._found(
                f"of what {self.name} returns, only {rows} of {count} is used, not the last layer",
                "h_n[-1], the last layer's state; or the output",
            )
        if self.directions == 1:
            return None
        if len(used) == 2 and len(layers) == 2 and used[0] % 2 != used[1] % 2:
            rows = " and ".join(f"h_n[{row}]" for row in used)
            return self._found(
                f"of the state of {self.name}, {rows} are used: directions of different layers",
                f"h_n[{count - 2}] and h_n[{count - 1}], the last layer's; or last_hidden(state)",
            )
        return None

    def _is_read(self) -> bool:
        if self._reads is None:
            self._reads = self._matters(_output)
        return self._reads

    def _found(self, what: str, fix: str) -> Misuse:
        rows = (("first", f"{self.name} ({type(self.module).__name__})"), ("fix", fix))
        return Misuse(what, Location(self.name, rows))

    def _matters(self, disturb: Disturb) -> bool:
        if self.baseline.session.passes >= self.budget:
            raise _SpentError
        count = 0

        def hook(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
            nonlocal count
            count += 1
            return disturb(module, output) if count - 1 == self.call.number else output

        def watch(model: torch.nn.Module) -> list[Any]:
            return [model.get_submodule(self.name).register_forward_hook(hook)]

        output = self.baseline.session.run(self.baseline.batch.tree(), watch=watch)
        return not alike(self.baseline.normal, output)


def _noise(tensor: Tensor) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(1)
    return torch.randn(tensor.shape, generator=generator, device="cpu").to(
        tensor.device, tensor.dtype
    )


def _output(_: RNNBase, result: Any) -> Any:
    output, state = result
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data + _noise(output.data)), state
    return output + _noise(output), state


def _state(member: str) -> Disturb:
    def disturb(_: RNNBase, result: Any) -> Any:
        output, state = result
        if isinstance(state, Tensor):
            return output, state + _noise(state) if member == "h" else state
        h, c = state
        return output, _like(state, h + _noise(h), c) if member == "h" else _like(
            state, h, c + _noise(c)
        )

    return disturb


def _row(row: int) -> Disturb:
    def disturb(module: RNNBase, result: Any) -> Any:
        output, state = result
        h = state if isinstance(state, Tensor) else state[0]
        axis = rows_axis(module, h)
        at = torch.arange(h.shape[axis], device=h.device) == row
        shape = [1] * h.dim()
        shape[axis] = -1
        changed = torch.where(at.view(shape), h + _noise(h), h)
        return output, changed if isinstance(state, Tensor) else _like(state, changed, state[1])

    return disturb


def _like(state: Any, h: Tensor, c: Tensor) -> Any:
    """Return h and c as the state was: an LSTMState, or a bare pair."""
    return type(state)(h, c) if hasattr(state, "_fields") else (h, c)


def _backward_half(baseline: Baseline, *, last: bool, by: float = 1.0) -> Disturb:
    """Disturb the backward half of the output at the last valid steps, or at all others."""

    def disturb(module: RNNBase, result: Any) -> Any:
        output, state = result
        data = output.data if isinstance(output, PackedSequence) else output
        at_last = _last_rows(baseline, module, output)
        half = torch.arange(data.shape[-1], device=data.device) >= data.shape[-1] // 2
        where = half & (at_last if last else ~at_last).unsqueeze(-1)
        changed = torch.where(where, data + by * _noise(data), data)
        if isinstance(output, PackedSequence):
            return output._replace(data=changed), state
        return changed, state

    return disturb


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
