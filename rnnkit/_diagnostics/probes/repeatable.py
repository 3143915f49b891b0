"""The probe *repeatable*: the same input twice gives the same output; and if not, why."""

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import near
from rnnkit._diagnostics.run.events import Recorder, kept_by
from rnnkit._diagnostics.run.outputs import Leaves, alike, equal
from rnnkit._diagnostics.run.watched_functions import without_part
from rnnkit._diagnostics.tell.report import NAMES, Line, fail


def probe_repeatable(baseline: Baseline) -> str:
    """The same input twice returns the same output."""
    session = baseline.session
    inputs = baseline.batch.tree()
    again = baseline.again
    pair = _run_twice(baseline) if again is None else (baseline.normal, again)
    if alike(*pair):
        return "the same input twice returns the same output"
    tensors = [both for both in zip(*pair, strict=False) if isinstance(both[0], Tensor)]
    if all(isinstance(after, Tensor) and near(baseline, one, after) for one, after in tensors):
        # As kernels on a GPU that add in the order in which threads come.
        return "the same input twice returns the same output, up to rounding"
    kept = kept_by(session, inputs)
    drawn = [*session.sources()]
    rows = [("likely", "a state that is kept outside of the model's attributes")]
    if drawn and alike(*_run_twice(baseline, restarts=True)):
        cause = ("cause", f"forward draws random numbers ({', '.join(drawn)})")
        fix = ("fix", "draw if self.training only, as F.dropout(x, p, self.training); h0 = zeros")
        rows = [*_first_drawn(baseline, drawn[0]), cause, fix]
    elif kept:
        names = ", ".join(f"model.{name}" for name in kept[:NAMES])
        cause = ("cause", f"the model keeps {names} from call to call")
        how = "pass a state in and return it, in no attribute; write a statistic if self.training"
        rows = [cause, ("fix", how)]
    return fail("repeatable", "the same input returns a different output the second time", rows)


def _run_twice(baseline: Baseline, *, restarts: bool = False) -> tuple[Leaves, Leaves]:
    """Run one copy of the model twice in a row, or with the same random numbers."""
    session = baseline.session
    inputs = baseline.batch.tree()
    copy = session.fresh()
    once = session.run(inputs, on=copy)
    if restarts:
        session.restart()
    return once, session.run(inputs, on=copy)


def _first_drawn(baseline: Baseline, source: str) -> list[Line]:
    """Return the first function, or module, in which a run draws from a source of numbers."""
    session = baseline.session
    batch = baseline.batch
    read = session.sources()[source].get_state
    recorder = Recorder(functions=True, read=read)
    session.restart()
    before = read()
    session.run(batch.tree(), watch=recorder.watch)
    for event in recorder.events:
        if equal(before, event.drawn):
            continue
        # Python's numbers, and NumPy's, are drawn before a function takes them.
        if source in ("random", "numpy.random") and event.kind != "output":
            return [("before", event.place)]
        first = f"{event.label} ({event.text})"
        if event.kind == "function":
            first = without_part(event.text, batch.size, batch.whole_size)
        return [("first", first), ("at", event.place)]
    return []
