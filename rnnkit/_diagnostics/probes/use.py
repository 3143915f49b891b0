"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from collections import Counter
from collections.abc import Sequence

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


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    events = baseline.events
    if not has_recurrence(baseline.session.model) and not looping(events):
        skip("no module has a state")
    calls = calls_in(events)
    find_steps_as_channels(baseline)
    find_wrong_starts(baseline, calls)
    find_shared_direction(baseline, calls)
    find_reversed_outputs(baseline)
    results, counts, starts = list[tuple[Result, bool]](), Counter[str](), dict[str, bool]()
    for event in events:
        if event.kind == "input":
            starts[event.name] = named_arguments(*event.tree).get("hx") is None
        elif isinstance(event.module, RNNBase):
            output, state = split_result(event.module, event.tree)
            padded = isinstance(output, Tensor) and output.dim() in {2, 3}
            if state and (padded or isinstance(output, PackedSequence)):
                one = Result(baseline, event.name, counts[event.name], output)
                results.append((one, starts[event.name]))
            counts[event.name] += 1
    for result, is_first in results[:CALLS]:
        _find_misuse(result, is_first)
    names = looping(events) | {call.name for call in calls if call.is_cell}
    inputs = (e for e in events if e.kind == "input" and not isinstance(e.module, RNNBase))
    cells = sum(event.name in names for event in inputs)
    number = str(len(results)) if len(results) <= CALLS else f"{CALLS} of {len(results)}"
    noun = "layer call" if len(results) == 1 else "layer calls"
    looked = [f"outputs and states of {number} {noun}"] * bool(results)
    looked += [f"what goes into {count(cells, 'call of a cell', 'calls of cells')}"] * bool(cells)
    return ", and ".join(looked) or skip("no layer call returned output and state, and no cell ran")


def _find_misuse(call: Result, is_first: bool) -> None:
    """Fail if what a layer's call returned is used for what it is not."""
    baseline, module, label, directions = call.baseline, call.module, call.label, call.directions
    total, has_steps = module.num_layers * directions, baseline.out_seq_dim is not None
    rows = [("first", f"{label} ({type(module).__name__})")]

    def backward(rows: Tensor) -> Where:
        return lambda data: is_backward(data) & rows.unsqueeze(-1)

    def parts(rows: Sequence[int]) -> Where:
        return lambda state: torch.isin(
            rows_of(module, state), torch.tensor(rows, device=state.device)
        )

    def later_steps(data: Tensor) -> Tensor:
        """Return a mask over all steps but the first; of packed data, the first ones count, too."""
        seq = 1 if data.dim() == 3 and module.batch_first else 0
        step = torch.arange(data.shape[seq], device=data.device)
        return (step > 0).view(*[1] * seq, -1, *[1] * (data.dim() - 1 - seq))

    has_more = bool((~call.last).any())
    if (
        directions == 2
        and has_more
        and call.seems_read(output=backward(call.last))
        and not call.reads(output=backward(~call.last))
    ):
        what = f"of the output of {label}, the backward half is used at the last step only"
        fix = ("fix", "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)")
        fail("use", f"{what}, where it has read one step", [*rows, fix], call.name)
    if has_steps and module.num_layers == 1 and call.seems_read(output=everywhere):
        return
    h_matters = call.seems_read(h=everywhere)
    used = [row for row in range(total) if h_matters and call.has_slope(h=parts([row]))]
    if used and total > 1:
        unused = parts([row for row in range(total) if row not in used])
        layers, ways = ({row // directions for row in used}, {row % directions for row in used})
        names = " and ".join(f"h_n[{row}]" for row in used)
        only = not call.reads(output=everywhere, h=unused)
        if max(layers) < module.num_layers - 1 and only:
            what = f"of what {label} returns, only {names} of {total} is used, not the last layer"
            fix = ("fix", "h_n[-1], the last layer's state; or the output")
            fail("use", what, [*rows, fix], call.name)
        if len(used) == len(layers) == len(ways) == 2 and not call.is_felt(h=unused):
            what = f"of the state of {label}, {names} are used: directions of different layers"
            last = f"h_n[{total - 2}] and h_n[{total - 1}], the last layer's; or last_hidden(state)"
            fail("use", what, [*rows, ("fix", last)], call.name)
        if call.number == 0 and directions == 2 and len(ways) == 1 and only:
            text = f"of what {label} returns, one direction is used: {names} of {total}"
            note(baseline.report, f"{text}; last_hidden(state) has both")
    reads_on = directions == 1 and is_first and has_more and baseline.post
    is_long = max(baseline.batch.valid_steps()) != 1
    if (
        not (h_matters or has_steps)
        and (reads_on and is_long and call.seems_read(output=everywhere))
        and not call.reads(output=later_steps, h=everywhere, c=everywhere)
    ):
        what = f"of the output of {label}, the first step alone is used, which has read one step"
        fix = ("fix", "h_n[-1], or output[:, -1], the last step with batch_first=True")
        fail("use", what, [*rows, fix], call.name)
    c_matters = module.mode == "LSTM" and not h_matters and call.has_slope(c=everywhere)
    if c_matters and not call.reads(output=everywhere, h=everywhere):
        text = f"of what {label} returns, only the cell state c is used"
        note(baseline.report, f"{text}; the hidden state is h_n, the first of (h_n, c_n)")
