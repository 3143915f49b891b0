"""How a model uses what its recurrent layers return: found by disturbing that, not the input."""

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
from rnnkit._diagnostics.events import Event, record, same_c
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.module_calls import (
    each_call,
    has_recurrence,
    is_backward,
    mapped,
    named_arguments,
    rows_of,
    split_result,
)
from rnnkit._diagnostics.probes.patterns import find_patterns
from rnnkit._diagnostics.report import CALLS, RUNS, fail, note, skip

#: Changes what a call of a layer returned.
Disturb = Callable[[RNNBase, Any], Any]


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    if not has_recurrence(baseline.session.model):
        skip("the model has no recurrent module")
    events = record(baseline.session, baseline.batch.tree())
    cells = find_patterns(baseline, events)
    calls = _calls(baseline, events)
    seen = _find_misuse(baseline, calls, same_c(events))
    looked = []
    if calls:
        number = str(seen) if seen == len(calls) else f"{seen} of {len(calls)}"
        noun = "layer call" if len(calls) == 1 else "layer calls"
        looked.append(f"outputs and states of {number} {noun}")
    if cells:
        looked.append(f"what goes into {count(cells, 'call of a cell', 'calls of cells')}")
    if not looked:
        skip("no layer call returned output and state, and no cell ran")
    return ", and ".join(looked)


def _find_misuse(baseline: Baseline, calls: Sequence["_Call"], keep_c: Watch) -> int:
    """Look at calls until one is wrong or enough was run; return how many were seen to the end."""
    budget = baseline.session.passes + RUNS
    for seen, call in enumerate(calls[:CALLS]):
        try:
            _Judge(baseline, call, budget, keep_c).find_misuse()
        except _SpentError:
            return seen
    return min(len(calls), CALLS)


class _SpentError(Exception):
    """As many runs were made as may be."""


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
            if state and _is_output(output):
                more = bool((~_last_rows(baseline, event.module, output)).any())
                call = _Call(event.name, counts[event.name], more, starts[event.name])
                found.append(call)
            counts[event.name] += 1
    return found


def _is_output(output: Any) -> bool:
    padded = isinstance(output, Tensor) and output.dim() in {2, 3}
    return padded or isinstance(output, PackedSequence)


class _Judge:
    """Disturbs the result of one call of one layer."""

    def __init__(self, baseline: Baseline, call: _Call, budget: int, keep_c: Watch) -> None:
        self.baseline, self.call, self.budget, self.keep_c = baseline, call, budget, keep_c
        self.name = call.name
        self.module: Any = baseline.session.model.get_submodule(call.name)
        self.directions = 2 if self.module.bidirectional else 1
        self._reads: bool | None = None  # the output, or a part of it

    def find_misuse(self) -> None:
        """Try what is known to go wrong."""
        if self.directions == 2 and self._matters(_backward_half(self.baseline, last=True)):
            self._reads = True
            # What has no weight by its value, as in attention, is read all the same.
            rest = [_backward_half(self.baseline, last=False, by=size) for size in (1.0, torch.nan)]
            if self.call.has_more_steps and not any(map(self._matters, rest)):
                self._fail(
                    f"of the output of {self.name}, the backward half is used at the last step "
                    "only, where it has read one step",
                    "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
                )
        has_steps = self.baseline.out_seq_dim is not None
        if has_steps and self.module.num_layers == 1 and self._is_read():
            return
        h_matters = self._matters(_part("h"))
        if h_matters and self.module.num_layers * self.directions > 1:
            self._find_mixed_rows()
        if not (h_matters or has_steps):
            self._find_first_step()
        is_used = h_matters or self._is_read()
        if is_used or self.module.mode != "LSTM" or not self._matters(_part("c")):
            return
        # What goes on as a c is used as it should be; what is left has been read.
        is_left = not self._are_felt(_part("h", torch.nan), _part("output", torch.nan))
        if is_left and self._matters(_part("c"), self.keep_c):
            text = f"of what {self.name} returns, only the cell state c is used"
            text = f"{text}; the hidden state is h_n, the first of (h_n, c_n)"
            note(self.baseline.report, text)

    def _find_first_step(self) -> None:
        """Find an output of which the first step alone is used: it has read one step."""
        reads_on = self.directions == 1 and self.call.starts and self.call.has_more_steps
        is_short = max(self.baseline.batch.valid_steps()) == 1
        if not reads_on or is_short or not self.baseline.post or not self._is_read():
            return
        rest = [_later_steps(by) for by in (1.0, torch.nan)]
        if not self._are_felt(*rest, _part("h", torch.nan), _part("c", torch.nan)):
            self._fail(
                f"of the output of {self.name}, the first step alone is used, which has read one "
                "step",
                "h_n[-1], or output[:, -1], the last step with batch_first=True",
            )

    def _find_mixed_rows(self) -> None:
        count = self.module.num_layers * self.directions
        used = [row for row in range(count) if self._matters(_rows([row]))]
        layers = {row // self.directions for row in used}
        rows = " and ".join(f"h_n[{row}]" for row in used)
        unused = _rows([row for row in range(count) if row not in used], torch.nan)
        is_early = max(layers, default=count) < self.module.num_layers - 1
        if is_early and not self._is_read() and not self._are_felt(unused):
            self._fail(
                f"of what {self.name} returns, only {rows} of {count} is used, not the last layer",
                "h_n[-1], the last layer's state; or the output",
            )
        both = self.directions == 2 and len(used) == len(layers) == 2
        if both and used[0] % 2 != used[1] % 2 and not self._are_felt(unused):
            self._fail(
                f"of the state of {self.name}, {rows} are used: directions of different layers",
                f"h_n[{count - 2}] and h_n[{count - 1}], the last layer's; or last_hidden(state)",
            )
        directions = {row % self.directions for row in used}
        one = self.call.number == 0 and 0 < len(directions) < self.directions
        if one and not self._is_read() and not self._are_felt(unused):
            text = f"of what {self.name} returns, one direction is used: {rows} of {count}"
            note(self.baseline.report, f"{text}; last_hidden(state) has both")

    def _is_read(self) -> bool:
        if self._reads is None:
            self._reads = self._matters(_part("output"))
        return self._reads

    def _fail(self, what: str, fix: str) -> NoReturn:
        rows = [("first", f"{self.name} ({type(self.module).__name__})"), ("fix", fix)]
        fail("use", what, rows, self.name)

    def _are_felt(self, *parts: Disturb) -> bool:
        """Say whether something is read that no number of its own size changes anything by.

        So is a state where large inputs saturate each unit: what is no number shows.
        """
        return any(map(self._matters, parts))

    def _matters(self, disturb: Disturb, also: Watch = lambda _: []) -> bool:
        if self.baseline.session.passes >= self.budget:
            raise _SpentError

        def turn(number: int, output: Any) -> Any:
            return disturb(self.module, output) if number == self.call.number else output

        watch = each_call(self.name, after=turn)
        output = self.baseline.session.attempt(
            self.baseline.batch.tree(), watch=lambda model: [*watch(model), *also(model)]
        )
        # What is refused has been read.
        return output is None or not alike(self.baseline.normal, output)


def _noisy(tensor: Tensor, by: float = 1.0) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(1)
    noise = torch.randn(tensor.shape, generator=generator, device="cpu")
    return tensor + by * noise.to(tensor.device, tensor.dtype)


def _part(name: str, by: float = 1.0) -> Disturb:
    return lambda _, result: mapped(result, **{name: partial(_noisy, by=by)})


def _rows(rows: Sequence[int], by: float = 1.0) -> Disturb:
    def disturb(module: RNNBase, result: Any) -> Any:
        def turned(h: Tensor) -> Tensor:
            at = torch.isin(rows_of(module, h), torch.tensor(rows, device=h.device))
            return torch.where(at, _noisy(h, by), h)

        return mapped(result, h=turned)

    return disturb


def _backward_half(baseline: Baseline, *, last: bool, by: float = 1.0) -> Disturb:
    """Disturb the backward half of the output at the last valid steps, or at all others."""

    def disturb(module: RNNBase, result: Any) -> Any:
        at_last = _last_rows(baseline, module, result[0])

        def half(data: Tensor) -> Tensor:
            where = is_backward(data) & (at_last if last else ~at_last).unsqueeze(-1)
            return torch.where(where, _noisy(data, by), data)

        return mapped(result, output=half)

    return disturb


def _later_steps(by: float) -> Disturb:
    """Disturb the output at all steps but the first; of what is packed, at first ones as well."""

    def later(module: RNNBase, data: Tensor) -> Tensor:
        noisy, axis = _noisy(data, by), 1 if module.batch_first and data.dim() == 3 else 0
        noisy.select(axis, 0).copy_(data.select(axis, 0))
        return noisy

    return lambda module, result: mapped(result, output=partial(later, module))


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
