"""How a model uses what its recurrent layers return: by gradients and, where none arrives, NaN."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import (
    find_reversed_outputs,
    find_shared_direction,
    find_steps_as_channels,
    find_wrong_starts,
)
from rnnkit._diagnostics.events import stateful
from rnnkit._diagnostics.module_calls import Call, calls_in, changing
from rnnkit._diagnostics.outputs import alike, along, is_backward, shape_of
from rnnkit._diagnostics.report import CALLS, fail, skip
from rnnkit._diagnostics.slopes import gradients_of


def probe_use(baseline: Baseline) -> str:
    """What recurrent layers return is used where it means something."""
    if not stateful(baseline.events):
        skip("no module with a state was seen")
    calls = calls_in(baseline.events)
    find_steps_as_channels(baseline)
    find_wrong_starts(baseline, calls)
    find_shared_direction(baseline, calls)
    find_reversed_outputs(baseline)
    layers = [
        call
        for call in calls
        if isinstance(call.output, PackedSequence) or len(shape_of(call.output) or ()) == 3
    ]
    for call in layers[:CALLS]:
        _find_misuse(baseline, call)
    some, cells = f"{CALLS} of " * (len(layers) > CALLS), sum(call.is_cell for call in calls)
    number = count(len(layers), "layer call", "layer calls")
    looked = [f"the outputs and states of {some}{number}"] * bool(layers)
    looked += [f"what goes into {count(cells, 'call of a cell', 'calls of cells')}"] * bool(cells)
    if not looked:
        skip("no call of a layer on a batch, or of a cell, was seen")
    return f"{', and '.join(looked)}: used as meant"


def _find_misuse(baseline: Baseline, call: Call) -> None:
    """Fail if what a layer's call returned is used for what it is not."""
    module, label = call.module, call.label
    slopes = gradients_of(baseline).of_call(call.name, call.number)
    data, last, later = _steps(baseline, call)
    directions, back = 2 if module.bidirectional else 1, is_backward(data)
    total, every = module.num_layers * directions, torch.ones_like(back[:1])

    def read(**parts: Tensor) -> bool:
        """Return whether the outputs depend on masked places: by gradients or, without one, NaN."""
        if any(bool(((slopes[k] != 0) & mask).any()) for k, mask in parts.items() if k in slopes):
            return True
        blank = partial(torch.masked_fill, value=torch.nan)
        changes = {part: partial(blank, mask=mask) for part, mask in parts.items()}
        watch = changing(call.name, [call.number], changes)
        output = baseline.session.attempt(baseline.batch.tree(), watch=watch)
        return output is None or not alike(baseline.normal, output)

    def of_row(row: int) -> Tensor:
        """Return a mask over a layer and direction of a state."""
        h = call.returned["h"]
        axis = 1 if getattr(module, "state_batch_first", False) and h.dim() == 3 else 0
        return along(h, axis, torch.arange(h.shape[axis], device=h.device) == row)

    longest = max(baseline.batch.valid_steps()) or baseline.batch.longest or 0
    is_long = bool(later.any()) and longest > 2
    if directions == 2 and is_long and read(output=last & back) and not read(output=~last & back):
        what = f"of the output of {label}, the backward half is used at the last step only"
        fix = "torch.cat([h_n[-2], h_n[-1]], dim=1), or last_hidden(state) of rnnkit's layer"
        fail("use", f"{what}, where it has read one step", [("fix", fix)], call.name)
    if total > 1 and not read(output=every):
        used = [row for row in range(total) if read(h=of_row(row))]
        top = {row % directions for row in used if row >= total - directions}
        below = {row % directions for row in used if row < total - directions}
        if not below <= top:
            names, verb = " and ".join(f"h_n[{row}]" for row in used), "are" if used[1:] else "is"
            right = f"{'h_n[-1]' if directions == 1 else 'h_n[-2:]'}, the last layer's"
            what = f"of what {label} returns, only {names} of {total} {verb} used, not {right}"
            fix = f"{right}; or the output, or last_hidden(state) of rnnkit's layer"
            fix += '; for a decoder, rnnkit.states.bridge(h_n, "sum")' * (directions == 2)
            fail("use", what, [("fix", fix)], call.name)
    begins = is_long and directions == 1 and baseline.out_seq_dim is None and not call.state
    if begins and read(output=every) and not read(output=later, h=every, c=every):
        what = f"of the output of {label}, the first step alone is used"
        fix = "h_n[-1], or output[:, -1], the last step with batch_first=True"
        fail("use", f"{what}, which has read one step", [("fix", fix)], call.name)
    if "c" in slopes and bool(slopes["c"].any()) and not read(output=every, h=every):
        text = f"of what {label} returns, only the cell state c is used"
        baseline.report.notes.append(f"{text}; the hidden state is h_n, the first of (h_n, c_n)")


def _steps(baseline: Baseline, call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Return an output's numbers, and where in them is the last valid step, and a later than 0."""
    output, seq, counts = call.output, int(call.module.batch_first), baseline.batch.counts
    on = output.data.device
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes.tolist()
        ends = zip(sizes, [*sizes[1:], 0], strict=True)
        last = torch.cat([torch.arange(size, device=on) >= going_on for size, going_on in ends])
        later = torch.arange(len(last), device=on) >= sizes[0]
        return output.data, last.unsqueeze(1), later.unsqueeze(1)
    known = counts and len(counts) == output.shape[1 - seq] and baseline.post
    step = torch.arange(output.shape[seq], device=on).unsqueeze(1)
    last = step == torch.tensor(counts if known else [len(step)], device=on) - 1
    last, later = (last.t(), step.t() > 0) if seq else (last, step > 0)
    return output, last.unsqueeze(2), later.unsqueeze(2)
