"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import calls_in, find_wrong_starts
from rnnkit._diagnostics.events import looping
from rnnkit._diagnostics.module_calls import (
    has_recurrence,
    is_backward,
    rows_of,
)
from rnnkit._diagnostics.outputs import along
from rnnkit._diagnostics.report import CALLS, fail, note, skip
from rnnkit._diagnostics.results import (
    Result,
    Where,
    everywhere,
    find_reversed_outputs,
    find_shared_direction,
    find_steps_as_channels,
)

_BOTH = "h_n[-2:], the last layer's two directions"


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
    layers = [call for call in calls if isinstance(call.output, Tensor | PackedSequence)]
    for call in layers[:CALLS]:
        _find_misuse(Result(baseline, call), is_first=not call.state)
    names = looping(events) | {call.name for call in calls if call.is_cell}
    inputs = (e for e in events if e.kind == "input" and not isinstance(e.module, RNNBase))
    cells = sum(event.name in names for event in inputs)
    number = str(len(layers)) if len(layers) <= CALLS else f"{CALLS} of {len(layers)}"
    noun = "layer call" if len(layers) == 1 else "layer calls"
    looked = [f"the outputs and states of {number} {noun}"] * bool(layers)
    looked += [f"what goes into {count(cells, 'call of a cell', 'calls of cells')}"] * bool(cells)
    if not looked:
        skip("no layer call returned output and state, and no cell ran")
    return f"{', and '.join(looked)}: used as meant"


def _find_misuse(call: Result, is_first: bool) -> None:
    """Fail if what a layer's call returned is used for what it is not."""
    baseline, module, label, directions = call.baseline, call.module, call.label, call.directions
    total, has_steps = module.num_layers * directions, baseline.out_seq_dim is not None

    def wrong(what: str, fix: str) -> None:
        first = ("first", f"{label} ({type(module).__name__})")
        fail("use", what, [first, ("fix", fix)], call.name)

    def backward(rows: Tensor) -> Where:
        return lambda data: is_backward(data) & rows.unsqueeze(-1)

    def parts(rows: Sequence[int]) -> Where:
        return lambda state: torch.isin(
            rows_of(module, state), torch.tensor(rows, device=state.device)
        )

    def later_steps(data: Tensor) -> Tensor:
        """Return a mask over all steps but the first; of packed data, the first ones count, too."""
        seq = 1 if data.dim() == 3 and module.batch_first else 0
        return along(data, seq, torch.arange(data.shape[seq], device=data.device) > 0)

    has_more = bool((~call.last).any())
    if (
        directions == 2
        and has_more
        and call.seems_read(output=backward(call.last))
        and not call.reads(output=backward(~call.last))
    ):
        what = f"of the output of {label}, the backward half is used at the last step only"
        fix = "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)"
        wrong(f"{what}, where it has read one step", fix)
    if has_steps and module.num_layers == 1 and call.seems_read(output=everywhere):
        return
    h_matters = call.seems_read(h=everywhere)
    used = [row for row in range(total) if h_matters and call.seems_read(h=parts([row]))]
    if used and total > 1:
        unused = parts([row for row in range(total) if row not in used])
        layers, ways = ({row // directions for row in used}, {row % directions for row in used})
        names = " and ".join(f"h_n[{row}]" for row in used)
        verb = "is" if len(used) == 1 else "are"
        only = not call.reads(output=everywhere, h=unused)
        if max(layers) < module.num_layers - 1 and only:
            what = f"of what {label} returns, only {names} of {total} {verb} used"
            last = "h_n[-1], the last layer's state" if directions == 1 else _BOTH
            wrong(f"{what}, not the last layer", f"{last}; or the output")
        if len(used) == len(layers) == len(ways) == 2 and not call.reads(h=unused):
            what = f"of the state of {label}, {names} are used: directions of different layers"
            wrong(
                what,
                f"h_n[{total - 2}] and h_n[{total - 1}], the last layer's; or last_hidden(state)",
            )
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
        wrong(what, "h_n[-1], or output[:, -1], the last step with batch_first=True")
    c = call.slopes.get("c")  # not where it is passed along as a c
    if c is not None and bool(c.any()) and not call.reads(output=everywhere, h=everywhere):
        text = f"of what {label} returns, only the cell state c is used"
        note(baseline.report, f"{text}; the hidden state is h_n, the first of (h_n, c_n)")
