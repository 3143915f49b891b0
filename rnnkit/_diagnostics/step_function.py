"""A function of one chunk and a state, held to what a stream is."""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, LeakError
from rnnkit._base.message import aligned, brief, more, refusal
from rnnkit._diagnostics.axes import check_dims, infer_batch_axes
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.carried import Carried
from rnnkit._diagnostics.events import changed_by
from rnnkit._diagnostics.isolation import Given, session
from rnnkit._diagnostics.judge import decide, for_other_sizes
from rnnkit._diagnostics.probes.streaming import explained, judge_way
from rnnkit._diagnostics.report import UnjudgedError, with_fix

#: The second of a pair goes where the second argument is.
CARRIED = Carried((("[1]", "state"),), is_named=True)


class Step(torch.nn.Module):
    """A function as a model, so that copies of it can be run.

    The module that a method is of is a child, and runs in eval mode like a module that is called.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        """Keep it."""
        super().__init__()
        self.model: torch.nn.Module | None = None
        self.step: Callable[..., Any] = step
        if isinstance(step, MethodType) and isinstance(step.__self__, torch.nn.Module):
            self.model, self.step = step.__self__, step.__func__

    def forward(self, x: Tensor, state: Any) -> Any:
        """Call it."""
        return self.step(x, state) if self.model is None else self.step(self.model, x, state)


def check_streams(
    step: Callable[..., Any], x: Tensor, state: Any, *, seq_dim: int, out_seq_dim: int | None
) -> None:
    """Run a sequence at once and in chunks; see :func:`rnnkit.testing.assert_streams`."""
    __tracebackhide__ = True
    check_dims("seq_dim", seq_dim=seq_dim, out_seq_dim=out_seq_dim)
    batch_dim = 1 if isinstance(x, Tensor) and seq_dim in (0, -x.dim()) else 0
    batch = Batch(Given((x,), {"state": state}), batch_dim, seq_dim)
    with session(Step(step)) as opened:
        opened.run(batch.tree())
        pair = opened.returned
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], Tensor):
            message = f"step returns a pair, output and state, got {brief(pair)}"
            refusal(ArgumentError, "step", message, code="streams-result")
        infer_batch_axes(batch, opened.attempt)
        baseline = Baseline(opened, batch, out_seq_dim=out_seq_dim)
        try:
            verdict = decide(for_other_sizes(baseline), lambda lab: judge_way(lab, CARRIED))
            found = explained(verdict, prefix="")
        except UnjudgedError as error:
            message = f"streaming was not judged: {error}"
            raise AssertionError(message) from None
        if found is None:
            return
        what, rows, module = found
        if drawn := changed_by(opened, batch.tree())[1]:
            text = f"step draws random numbers ({', '.join(drawn)}); of dropout, call eval() first"
            rows = [*rows, ("note", text)]
        text = "\n".join([what, *aligned([*with_fix("streaming", rows), more("streaming")])])
        raise LeakError(text, "streaming", module)
