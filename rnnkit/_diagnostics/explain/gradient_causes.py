"""Why weights get zeros for a gradient: a direction that nothing reads, or a state of zeros."""

from collections import Counter
from collections.abc import Sequence

from rnnkit._diagnostics.explain.function_causes import is_over_one_number
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.tell.outcome import Line

#: Functions that make zeros.
MAKERS = ("zeros", "new_zeros", "zeros_like")

#: How to read both directions of a layer.
READ_BOTH = (
    "read both directions: y[..., :hidden] and y[..., hidden:] of the output, or of the state "
    "torch.cat([h_n[-2], h_n[-1]], 1), as last_hidden(state) of rnnkit's layer does"
)
#: Where no cause is known.
USUAL = "do not multiply by zeros; instead of y.round(), use y + (y.round() - y).detach()"


def why_zero(baseline: Baseline) -> list[Line]:
    """Return why gradients are zero, as rows of a message: the cause, if it is known, and the fix.

    It may be a softmax of one number, or zeros that each step of a loop reads. ``baseline`` is the
    model and a batch.
    """
    recorder = Recorder(functions=True)
    baseline.rerun(recorder.watch)
    for event in recorder.events:
        if is_over_one_number(event):
            what = f"the softmax at {event.place} is over an axis of size 1: it always returns 1"
            return [("cause", what), ("fix", _over_the_steps(baseline, event))]
    return _zeros_read_again(recorder.events) or [("fix", USUAL)]


def _zeros_read_again(events: Sequence[Event]) -> list[Line]:
    """Return the cause and the fix if one tensor of zeros is read several times at one place.

    ``events`` are the calls of a run: one function makes the zeros, another one takes them.
    """
    makers = {key: event for event in events if event.name in MAKERS for key in event.produced}
    readers = [one for one in events if one.kind == "function" and one.name not in MAKERS]
    reads = Counter((key, one.call) for one in readers for key in one.consumed & makers.keys())
    for (key, call), times in reads.most_common(1):
        if times > 1:
            what = f"the zeros made at {makers[key].place} are read {times} times at {call[-1]}"
            fix = "if they are a state, advance it in the loop: h = cell(x_t, h)"
            return [("cause", what), ("fix", fix)]
    return []


def _over_the_steps(baseline: Baseline, event: Event) -> str:
    """Return what to write in place of a softmax of one number: one over the steps.

    ``event`` is its call; the batch of ``baseline`` says how many steps there are.
    """
    sizes = event.tensors[0].shape
    axes = [axis for axis, size in enumerate(sizes) if size == baseline.batch.steps]
    if len(axes) == 1:
        return f"softmax(dim={axes[0]}), over the steps"
    return "softmax over the steps: dim= is their axis; if they have none, view (batch, seq) first"
