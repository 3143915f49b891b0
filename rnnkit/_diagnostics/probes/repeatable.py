"""The probe *repeatable*: the same input twice gives the same output; and if not, why."""

from collections.abc import Sequence

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.run.events import Recorder, attributes_that_change
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Given, Leaves, are_bit_equal, equal
from rnnkit._diagnostics.tell.outcome import Finding, Line, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import NAMES

HOLDS = "the same input twice returns the same output"


def probe_repeatable(baseline: Baseline) -> Outcome:
    """The same input twice returns the same output.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    if are_bit_equal(baseline.normal, baseline.made["again"]):
        return Passed(HOLDS, [])
    if baseline.doubt:
        return Skipped(baseline.doubt)
    one, other = _run_twice(baseline)
    pairs = [pair for pair in zip(one, other, strict=False) if isinstance(pair[0], Tensor)]
    if all(isinstance(y, Tensor) and are_near(baseline, x, y) for x, y in pairs):
        # As kernels on a GPU that add in the order in which threads come.
        return Passed(f"{HOLDS}, up to rounding", [])
    session = baseline.session
    session.is_first = True  # look again: a smaller batch may have drawn nothing
    session.attempt(baseline.batch.tree())
    drawn = [*session.drawn_sources()]
    if drawn and not are_bit_equal(*_run_twice(baseline, restarts=True)):
        drawn = []  # they are not all that differs
    if drawn and session.own_call and session.last.training:
        return Skipped("the call runs the model in train mode, which draws random numbers")
    what = "the same input returns a different output the second time"
    return Finding(what, _why(baseline, drawn))


def _why(baseline: Baseline, drawn: Sequence[str]) -> list[Line]:
    """Return rows of a message: what is drawn at random, or kept from call to call, and the fix.

    ``baseline`` is a model that returned something else for the same batch the second time;
    ``drawn`` are the sources of random numbers, if these are why.
    """
    if drawn:
        cause = ("cause", f"the call draws random numbers from {', '.join(drawn)}")
        how = "draw before the call or only in train mode, as Dropout does; start states from zeros"
        return [*_rows_of_draws(baseline, drawn[0]), cause, ("fix", how)]
    kept = row_of_kept(baseline.session, baseline.batch.tree())
    if kept:
        how = "take the state as an argument and return it; update statistics only in train mode"
        return [*kept, ("fix", how)]
    return [("likely", "the cause is a state that is kept outside of the model's attributes")]


def row_of_kept(session: Session, inputs: Given) -> list[Line]:
    """Return a row of a message that names what a model keeps from call to call; none if nothing.

    ``session`` runs a copy of the model on the inputs.
    """
    kept = attributes_that_change(session, inputs)
    names = ", ".join(f"model.{name}" for name in kept[:NAMES])
    return [("cause", f"the model keeps {names} from call to call")] if kept else []


def _rows_of_draws(baseline: Baseline, source: str) -> list[Line]:
    """Return rows of a message with the first functions, or modules, in which a run draws numbers.

    ``source`` is the name of a source of random numbers. At most two are named.
    """
    session = baseline.session
    batch = baseline.batch
    read = session.drawn_sources()[source].get_state
    recorder = Recorder(functions=True, read=read)
    session.restart()
    before = read()
    session.run(batch.tree(), watch=recorder.watch)
    rows: list[Line] = []
    for event in recorder.events:
        has_drawn = not equal(before, event.drawn)
        before = event.drawn
        # The first may be meant, and hide the next one; a third is left for the next run.
        if not has_drawn or ("at", event.place) in rows or len(rows) == 4:
            continue
        # Python's numbers, and NumPy's, are drawn before a function takes them.
        if source in ("random", "numpy.random") and event.kind != "output":
            return [("before", event.place)]
        text = f"{event.label} ({event.text})"
        if event.kind == "function":
            text = batch.without_size(event.text)
        rows += [("then" if rows else "where", text), ("at", event.place)]
    return rows


def _run_twice(baseline: Baseline, *, restarts: bool = False) -> tuple[Leaves, Leaves]:
    """Return the outputs of two runs of one copy of the model on the baseline's batch.

    With ``restarts``, both draw the same random numbers.
    """
    session = baseline.session
    inputs = baseline.batch.tree()
    copy = session.fresh()
    once = session.run(inputs, on=copy)
    if restarts:
        session.restart()
    return once, session.run(inputs, on=copy)
