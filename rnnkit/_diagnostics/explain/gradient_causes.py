"""Why weights get zeros for a gradient: a direction that nothing reads, or a state of zeros."""

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from rnnkit._diagnostics.explain.function_causes import is_over_one_number
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.module_calls import calls_in
from rnnkit._diagnostics.run.outputs import gradient_arrives
from rnnkit._diagnostics.tell.outcome import Line

#: Functions that make zeros.
MAKERS = ("zeros", "new_zeros", "zeros_like")

#: Where no cause is known.
USUAL = "do not multiply by zeros; instead of y.round(), use y + (y.round() - y).detach()"


def fix_of_direction(baseline: Baseline, run: Gradients, name: str) -> Line:
    """Return how to read both directions of a bidirectional layer, of its outputs or its states.

    ``baseline`` is the model and a batch, ``run`` a run with gradients, and ``name`` that of a
    layer with one unused direction.
    """
    calls = [call for call in calls_in(baseline.events) if call.name == name]
    read = {
        part
        for gradients in run.of_calls(calls)
        for part, gradient in gradients.items()
        if gradient_arrives(gradient).any()
    }
    if read == {"output"}:
        hidden = calls[0].module.proj_size or calls[0].module.hidden_size
        both = f"y[..., :{hidden}] is forward and y[..., {hidden}:] backward"
        return ("fix", f"pass on both directions of the output: {both}")
    both = "torch.cat([h_n[-2], h_n[-1]], 1), or last_hidden(state) of rnnkit's layer"
    return ("fix", f"read both directions, (batch, 2 * hidden): {both}")


def why_zero(baseline: Baseline) -> list[Line]:
    """Return why gradients are zero, as rows of a message: the cause, if it is known, and the fix.

    It may be a softmax of one number, or zeros that each step of a loop reads. ``baseline`` is the
    model and a batch.
    """
    recorder = Recorder(functions=True)
    baseline.session.attempt(baseline.batch.tree(), watch=recorder.watch)
    for event in recorder.events:
        if is_over_one_number(event):
            what = f"the softmax at {event.place} is over an axis of size 1: it always returns 1"
            return [("cause", what), ("fix", _over_the_steps(baseline, event))]
    return _zeros_read_again(recorder.events) or [("fix", USUAL)]


def _zeros_read_again(events: Sequence[Event]) -> list[Line]:
    """Return the cause and the fix if one tensor of zeros is read several times at one place.

    ``events`` are the calls of a run: one function makes the zeros, another one takes them.
    """
    makers = {key: event for event in events if _makes_zeros(event) for key in event.produced}
    readers = [one for one in events if one.kind == "function" and not _makes_zeros(one)]
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
    steps = baseline.batch.steps
    axes = [axis for axis, size in enumerate(sizes) if size == steps]
    if len(axes) == 1:
        return f"softmax(dim={axes[0]}), over the steps"
    if axes:  # as many samples as steps: which axis it is, the reader knows
        return "softmax over the steps: dim= is their axis"
    return "softmax over the steps: view the scores as (batch, seq) before it, and back after it"


def _makes_zeros(event: Event) -> bool:
    """Return whether an event is a function that makes a tensor of zeros."""
    if event.kind != "function" or event.name not in MAKERS:
        return False
    return all(isinstance(x, Tensor) and not x.any() for x in event.tensors)
