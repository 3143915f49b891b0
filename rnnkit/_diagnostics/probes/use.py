"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import (
    calls_in,
    find_reversed_outputs,
    find_shared_direction,
    find_steps_as_channels,
    find_wrong_starts,
)
from rnnkit._diagnostics.events import looping
from rnnkit._diagnostics.module_calls import (
    has_recurrence,
    is_backward,
    named_arguments,
    rows_of,
    split_result,
)
from rnnkit._diagnostics.report import CALLS, fail, note, skip
from rnnkit._diagnostics.results import Result, Where, everywhere
from rnnkit._diagnostics.slopes import gradients_of


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    if not has_recurrence(baseline.session.model) and not looping(baseline.events):
        skip("no module has a state")
    recurrent = calls_in(baseline)
    find_steps_as_channels(baseline)
    find_wrong_starts(baseline, recurrent)
    find_shared_direction(baseline, recurrent)
    find_reversed_outputs(baseline, gradients_of(baseline))
    names = looping(baseline.events) | {call.name for call in recurrent if call.is_cell}
    inputs = (e for e in baseline.events if e.kind == "input" and not isinstance(e.module, RNNBase))
    cells = sum(event.name in names for event in inputs)
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
                call = _Call(baseline, event.name, counts[event.name], output)
                call.starts = starts[event.name]
                found.append(call)
            counts[event.name] += 1
    return found


class _Call(Result):
    """The result of one call of one layer, and whether the call was given no state."""

    starts = False

    def find_misuse(self) -> None:
        """Try what is known to go wrong."""
        has_steps, layers = self.baseline.out_seq_dim is not None, self.module.num_layers
        has_more = bool((~self.last).any())
        if (
            self.directions == 2
            and has_more
            and self.seems_read(output=self._backward(self.last))
            and not self.reads(output=self._backward(~self.last))
        ):
            self._fail(
                f"of the output of {self.label}, the backward half is used at the last step "
                "only, where it has read one step",
                "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
            )
        if has_steps and layers == 1 and self.seems_read(output=everywhere):
            return
        h_matters = self.seems_read(h=everywhere)
        if h_matters and layers * self.directions > 1:
            self._find_mixed_rows()
        reads_on = self.directions == 1 and self.starts and has_more and self.baseline.post
        is_long = max(self.baseline.batch.valid_steps()) != 1
        if (
            not (h_matters or has_steps)
            and (reads_on and is_long and self.seems_read(output=everywhere))
            and not self.reads(output=self._later_steps, h=everywhere, c=everywhere)
        ):
            self._fail(
                f"of the output of {self.label}, the first step alone is used, which has read one "
                "step",
                "h_n[-1], or output[:, -1], the last step with batch_first=True",
            )
        c_matters = self.module.mode == "LSTM" and not h_matters and self.has_slope(c=everywhere)
        if c_matters and not self.reads(output=everywhere, h=everywhere):
            text = f"of what {self.label} returns, only the cell state c is used"
            text = f"{text}; the hidden state is h_n, the first of (h_n, c_n)"
            note(self.baseline.report, text)

    def _find_mixed_rows(self) -> None:
        """Find a state whose used rows do not belong together."""
        directions, total = self.directions, self.module.num_layers * self.directions
        used = [row for row in range(total) if self.has_slope(h=partial(self._rows, rows=[row]))]
        if not used:
            return
        unused = partial(self._rows, rows=[row for row in range(total) if row not in used])
        layers, ways = ({row // directions for row in used}, {row % directions for row in used})
        rows = " and ".join(f"h_n[{row}]" for row in used)
        if max(layers) < self.module.num_layers - 1 and not self.reads(output=everywhere, h=unused):
            self._fail(
                f"of what {self.label} returns, only {rows} of {total} is used, not the last layer",
                "h_n[-1], the last layer's state; or the output",
            )
        if len(used) == len(layers) == len(ways) == 2 and not self.is_felt(h=unused):
            self._fail(
                f"of the state of {self.label}, {rows} are used: directions of different layers",
                f"h_n[{total - 2}] and h_n[{total - 1}], the last layer's; or last_hidden(state)",
            )
        one = self.number == 0 and directions == 2 and len(ways) == 1
        if one and not self.reads(output=everywhere, h=unused):
            text = f"of what {self.label} returns, one direction is used: {rows} of {total}"
            note(self.baseline.report, f"{text}; last_hidden(state) has both")

    def _fail(self, what: str, fix: str) -> NoReturn:
        rows = [("first", f"{self.label} ({type(self.module).__name__})"), ("fix", fix)]
        fail("use", what, rows, self.name)

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
