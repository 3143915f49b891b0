"""The probe *repeatable*: the same input twice gives the same output; and if not, why."""

from collections.abc import Collection

from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.events import changed_by, drawn_at, sources_of
from rnnkit._diagnostics.judge import agree
from rnnkit._diagnostics.outputs import Leaves, alike, shape_of
from rnnkit._diagnostics.report import NAMES, Line, fail

DRAW = "draw if self.training only, as F.dropout(x, p, self.training) does"
KEEP = "write no attribute in forward, or only if self.training"


def probe_repeatable(baseline: Baseline) -> str:
    """The same input twice gives the same output."""
    again = baseline.again
    pair = _run_twice(baseline) if again is None else (baseline.normal, again)
    if alike(*pair):
        return "the same input twice returns the same output"
    if all(
        shape_of(before) == shape_of(after) and agree(baseline, index, before, after, lambda x: x)
        for index, (before, after) in enumerate(zip(*pair, strict=False))
        if isinstance(before, Tensor)
    ):
        # As kernels on a GPU that add in the order in which threads come.
        return "the same input twice returns the same output, up to rounding"
    likely = ("likely", "a state that is kept outside of the model's attributes")
    rows = _causes(baseline) or [likely]
    return fail("repeatable", "the same input returns a different output the second time", rows)


def _causes(baseline: Baseline) -> list[Line]:
    session, inputs = baseline.session, baseline.batch.tree()
    kept, drawn = changed_by(session, inputs)
    for names in (*([name] for name in drawn), drawn):
        if names and alike(*_run_twice(baseline, names)):
            cause = ("cause", f"forward draws random numbers ({', '.join(names)})")
            return [*drawn_at(session, inputs, names[0]), cause, ("fix", DRAW)]
    if not kept:
        return []
    shown = [f"model.{name}" for name in kept[:NAMES]]
    more = f" and {len(kept) - NAMES} more" if len(kept) > NAMES else ""
    verb = "is" if len(kept) == 1 else "are"
    return [("cause", f"{', '.join(shown)}{more} {verb} kept from call to call"), ("fix", KEEP)]


def _run_twice(baseline: Baseline, restart: Collection[str] = ()) -> tuple[Leaves, Leaves]:
    """Run one copy of the model twice in a row, with the same random numbers from some sources."""
    session, inputs = baseline.session, baseline.batch.tree()
    copy = session.fresh()
    start = {name: source.read() for name, source in sources_of(session, copy).items()}
    once = session.run(inputs, on=copy)
    for name, source in sources_of(session, copy).items():
        if name in restart:
            source.write(start[name])
    return once, session.run(inputs, on=copy)
