"""The probe *use*: gradients, or else NaN, show how outputs depend on what layers return."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import chain

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import count
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import none_seen, why_not_finite
from rnnkit._diagnostics.probes.calls import reversed_outputs, shared_directions, steps_as_channels
from rnnkit._diagnostics.probes.joined import has_batch_first, joined_layers
from rnnkit._diagnostics.probes.starts import wrong_starts
from rnnkit._diagnostics.run.events import stateful_modules
from rnnkit._diagnostics.run.module_calls import Call, calls_in, changing, loops_in
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    are_bit_equal,
    gradient_arrives,
    is_backward,
    mask_of_row,
    shape_of,
)
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import joined_by_and

#: Blanking what calls of layers return takes so many runs, or a call's more.
MOST = 24


def probe_use(baseline: Baseline) -> Outcome:
    """What recurrent layers return is used where it means something.

    The probe also looks at what their calls are given. ``baseline`` is the model, a batch, and its
    output.
    """
    names = stateful_modules(baseline.events)
    if not names:
        return none_seen(baseline, "no recurrent module was seen")
    calls = calls_in(baseline.events)
    # Layers return a packed or a padded batch.
    returning = [
        call
        for call in calls
        if isinstance(call.output, PackedSequence) or len(shape_of(call.output) or ()) == 3
    ]
    returning += loops_in(baseline.events, names)
    notes: list[str] = []
    # Inputs and states of calls, and then what of their results is used for something else.
    every = chain(
        steps_as_channels(baseline),
        wrong_starts(baseline, calls),
        shared_directions(baseline, calls),
        reversed_outputs(baseline),
        joined_layers(baseline, calls),
        _misuses(baseline, returning),
    )
    for found in every:
        if not isinstance(found, str):
            return found.noting(notes)
        notes.append(found)
    unsure = why_not_finite(baseline)
    if unsure is not None:
        return unsure.noting(notes)
    if returning and baseline.doubt:
        return Skipped(baseline.doubt, notes=notes)  # rounding may move any output
    looked = _words_of_calls(len(returning), sum(call.is_cell for call in calls))
    if not looked:
        return Skipped("verify saw no call of a cell, or of a layer on a batch", notes=notes)
    but = ", but see the notes" if notes else ""
    return Passed(f"{looked} are not mixed up{but}", [], notes=notes)


def _words_of_calls(layers: int, cells: int) -> str:
    """Write what was looked at, of so many calls of layers, and of cells; empty if of none."""
    looked = []
    if layers:
        looked.append(f"the outputs and states of {count(layers, 'layer call', 'layer calls')}")
    if cells:
        looked.append(f"the inputs and states of {count(cells, 'cell call', 'cell calls')}")
    return " and ".join(looked)


def _misuses(baseline: Baseline, calls: Sequence[Call]) -> Iterator[Finding | Skipped | str]:
    """Yield findings of what calls returned that is used for something else, and notes (text).

    A skip says how many calls were not looked at. ``calls`` are layers' that returned a sequence.
    """
    if not calls:
        return
    slopes = gradients_of(baseline).of_calls(calls)
    runs = 0
    for place, (call, arrives) in enumerate(zip(calls, slopes, strict=True)):
        if runs >= MOST:
            number = count(len(calls), "layer call", "layer calls")
            left = f"the results of {len(calls) - place} of {number} were not checked"
            yield Skipped(f"{left}, which takes too many runs", "partial")
            return
        uses = _Uses(baseline, call, arrives)
        directions = _directions(baseline, call)
        if directions == 2:
            yield from _half_of_one_step(uses)
        if isinstance(call.module, RNNBase):
            yield from _other_layer(uses)
            yield from _cell_state_alone(uses)
        if directions == 1:
            yield from _first_step(uses)
        runs += uses.runs


class _Uses:
    """What the outputs of a model depend on in what one call of a layer returned.

    Attributes:
        call: that call; what it returned has the parts ``output``, ``h`` and ``c``.
        slopes: the gradients of the model's outputs in these parts, by part.
        last, later: masks over the output: each sample's last valid step, and all steps but step 0.
        back: a mask over its features: those of the backward direction.
        every: a mask that is true everywhere.
        runs: how many runs were needed.
    """

    def __init__(self, baseline: Baseline, call: Call, slopes: dict[str, Tensor]) -> None:
        """Take the gradients ``slopes`` of the model's outputs in the parts that a call returned.

        ``baseline`` is the model, a batch, and its output; the parts are ``output``, ``h`` and
        ``c``.
        """
        self.baseline = baseline
        self.call = call
        data, self.last, self.later = _steps(baseline, call)
        made = {"output": data, **call.returned}
        # A model may have turned what was returned around, in place: then the slopes are turned.
        self.slopes = {part: x for part, x in slopes.items() if x.shape == made[part].shape}
        self.back = is_backward(data)
        self.every = torch.ones_like(self.back[:1])
        self.runs = 0

    @property
    def is_long(self) -> bool:
        """Whether the output has more than two steps, and a sample as well."""
        output = self.call.output
        is_packed = isinstance(output, PackedSequence)
        steps = len(output.batch_sizes) if is_packed else output.shape[self.call.seq_axis]
        longest = max(self.baseline.batch.valid_steps()) or steps
        return min(steps, longest) > 2

    def read(self, **parts: Tensor) -> bool:
        """Return whether the outputs depend on masked places: by gradients or, without one, NaN.

        ``parts`` has a mask for some of ``output``, ``h`` and ``c`` of what the call returned. A
        model that refuses a NaN looks at it, which is a use.
        """
        for part, mask in parts.items():
            if part in self.slopes and (gradient_arrives(self.slopes[part]) & mask).any():
                return True
        control = self._copied
        output = self._blanked(parts)
        return control is None or output is None or not are_bit_equal(control, output)

    @cached_property
    def _copied(self) -> Leaves | None:
        """The output with copies of all parts: their strides may move the last bit of it."""
        return self._blanked({})

    def _blanked(self, masks: dict[str, Tensor]) -> Leaves | None:
        """Run with NaN at masked places of what the call returned; None if the model refuses."""
        self.runs += 1
        blank = partial(torch.masked_fill, value=torch.nan)
        changes = {
            part: partial(blank, mask=masks.get(part, ~self.every))
            for part in ("output", *self.call.returned)
        }
        return self.baseline.rerun(changing(self.call.name, [self.call.number], changes))


def _directions(baseline: Baseline, call: Call) -> int | None:
    """Return how many directions a call has, 1 or 2; None if that is unknown.

    A loop runs one way if its first output step reads the first input step alone, and two ways if
    the backward half of its last step reads the last one alone. ``call`` is of the baseline's run.
    """
    known = getattr(call.module, "bidirectional", None)
    if isinstance(known, bool):
        return 2 if known else 1
    gradients = gradients_of(baseline)
    output = gradients.parts_of(call).get("output")
    batch = baseline.batch
    seq = call.seq_axis
    if output is None or batch.counts or output.shape[seq] != batch.steps:
        return None
    back = is_backward(output)
    last = output.select(seq, -1)
    at_first = gradients.places([output.select(seq, 0)])
    forward = gradients.places([last[..., ~back]])
    backward = gradients.places([last[..., back]])
    if at_first is None or forward is None or backward is None:
        return None
    if not at_first[:, 1:].any():
        return 1
    has_both = forward[:, :-1].any() and not backward[:, :-1].any()
    return 2 if has_both else None


def _half_of_one_step(uses: _Uses) -> Iterator[Finding]:
    """Yield a finding if one direction's output is used only at the step where it begins.

    There it has read one step. ``uses`` tells what the model's outputs depend on in what one call
    returned.
    """
    if not uses.is_long:
        return
    begins = {
        "backward": (uses.back, uses.last, "last"),
        "forward": (~uses.back, ~uses.later, "first"),
    }
    for direction, (half, at, step) in begins.items():
        if not uses.read(output=at & half) or uses.read(output=~at & half):
            continue
        what = f"{uses.call.label}: only the {step} step of its {direction} output is used"
        fix = "torch.cat([h_n[-2], h_n[-1]], dim=1), or last_hidden(state) of rnnkit's layer"
        if not isinstance(uses.call.module, RNNBase):
            fix = "last_hidden(state) of Recurrent"
        yield Finding(f"{what}, after it has read one step", fix=fix, module=uses.call.name)


def _other_layer(uses: _Uses) -> Iterator[Finding]:
    """Yield a finding if of a layer's states only lower layers', or other directions', are used.

    Layers and directions are the rows of ``h_n``; the last layer's are the top ones. ``uses`` tells
    what the model's outputs depend on in what one call returned.
    """
    call = uses.call
    module = call.module
    directions = 2 if module.bidirectional else 1
    total = module.num_layers * directions
    if total == 1 or uses.read(output=uses.every):
        return
    h = call.returned["h"]
    axis = 1 if has_batch_first(call, h) else 0
    used = [row for row in range(total) if uses.read(h=mask_of_row(h, axis, row))]
    # Rows are (layer 0 forward, layer 0 backward, layer 1 forward, ...): each direction that is
    # used of a lower layer may be used of the last one as well.
    top = {row % directions for row in used if row >= total - directions}
    below = {row % directions for row in used if row < total - directions}
    if below <= top:
        return
    names = joined_by_and([f"h_n[{row}]" for row in used])
    verb = "are" if len(used) > 1 else "is"
    only = f"{call.label}: of the {total} states in h_n only {names} {verb} used"
    right = "the last layer, h_n[-1]"
    fix = f"use {right}; or the output, or last_hidden(state) of rnnkit's layer"
    if directions == 2:
        right = "the last layer, h_n[-2:]"
        decoder = 'for a decoder\'s state, rnnkit.states.bridge(h_n, "sum")'
        fix = f"use {right}; or the output, or last_hidden(state) of rnnkit's layer; {decoder}"
    yield Finding(f"{only}, not {right}", fix=fix, module=call.name)


def _first_step(uses: _Uses) -> Iterator[Finding]:
    """Yield a finding if the first step of an output alone is used, which has read one step.

    ``uses`` tells what the model's outputs depend on in what one call returned.
    """
    call = uses.call
    if not uses.is_long or call.state:
        return
    states = dict.fromkeys(call.returned, uses.every)
    if not uses.read(output=uses.every) or uses.read(output=uses.later, **states):
        return
    what = f"{call.label}: only the first step of its output is used"
    last = "output[:, -1]" if call.seq_axis == 1 else "output[-1]"
    fix = f"use {last}, the last step; or last_hidden(state) of Recurrent"
    if isinstance(call.module, RNNBase):
        fix = f"use h_n[-1], or {last}, the last step"
    yield Finding(f"{what}, after it has read one step", fix=fix, module=call.name)


def _cell_state_alone(uses: _Uses) -> Iterator[str]:
    """Yield a note if only c is used, of what an LSTM returns."""
    is_used = "c" in uses.slopes and gradient_arrives(uses.slopes["c"]).any()
    if is_used and not uses.read(output=uses.every, h=uses.every):
        text = f"{uses.call.label}: only the cell state c that it returns is used"
        yield f"{text}; the hidden state is h_n, the first of (h_n, c_n)"


def _steps(baseline: Baseline, call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Return a call's output as one tensor, and masks of last valid steps and of all but step 0.

    The output is ``(batch, seq, hidden)`` in the layer's order, or the data of a packed one,
    ``(rows, hidden)``; the masks broadcast to it.
    """
    output = call.output
    seq = call.seq_axis
    counts = baseline.batch.counts
    on = output.data.device
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes.tolist()
        ends = zip(sizes, [*sizes[1:], 0], strict=True)
        # Packed data have the samples of step 0, then those that go on at step 1, and so on.
        last = torch.cat([torch.arange(size, device=on) >= going_on for size, going_on in ends])
        later = torch.arange(len(last), device=on) >= sizes[0]
        return output.data, last.unsqueeze(1), later.unsqueeze(1)
    lengths = [output.shape[seq]]
    if counts and len(counts) == output.shape[1 - seq] and baseline.batch.pads_after:
        lengths = counts
    step = torch.arange(output.shape[seq], device=on).unsqueeze(1)
    last = step == torch.tensor(lengths, device=on) - 1
    later = step > 0
    if seq == 1:
        last = last.t()
        later = later.t()
    return output, last.unsqueeze(2), later.unsqueeze(2)
