"""Before an absence is reported, it must be absent for other values and at a different size."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, steps_from
from rnnkit._diagnostics.compare import is_number, largest
from rnnkit._diagnostics.isolation import EscapedError
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.outputs import along, shape_of
from rnnkit._diagnostics.report import UnjudgedError


def is_absent_again(
    baseline: Baseline, probe: Callable[[Baseline], str], what: str, *, cuts_steps: bool
) -> bool:
    """Return whether a probe says the same on other batches, wherever the model runs on them."""
    ranks = [len(shape_of(leaf) or ()) for leaf in baseline.normal]
    for batch in _others(baseline, cuts_steps=cuts_steps):
        output = baseline.attempt(batch)
        if output is None or [len(shape_of(leaf) or ()) for leaf in output] != ranks:
            continue
        other = baseline.on(batch)
        other.normal, other.report = output, replace(baseline.report, notes=[])
        try:
            probe(other)
        except EscapedError:
            raise
        except UnjudgedError:
            continue
        except LeakError as error:
            said = str(error).partition("\n")[0]
            is_smaller = (batch.size, batch.steps) != (baseline.batch.size, baseline.batch.steps)
            if said == what or (is_smaller and _plain(said) == _plain(what)):
                continue
        return False
    return True


def _others(baseline: Baseline, *, cuts_steps: bool) -> Iterator[Batch]:
    """Yield the batch with redrawn values, with flags turned and numbers tamed, and a smaller one.

    A unit may be dead for some values, a flag switches off what it is about, and what saturates
    reads nothing.
    """
    batch = baseline.batch
    drawn = batch.with_leaves(other_leaves(batch, steps_from(0), 1, pad=False))
    yield drawn
    yield drawn.with_leaves([_turned(batch, k, x) for k, x in enumerate(batch.leaves)])
    longest = batch.longest or 0
    if cuts_steps and longest > 3 and batch.has_steps(batch.paced):
        yield drawn.cut(longest - 1, front=baseline.post)
    elif batch.size > 2:
        yield drawn.samples(range(batch.size - 1))


def _turned(batch: Batch, index: int, leaf: Any) -> Any:
    """Return numbers divided by their largest, and flags turned where they are set at one step.

    So is the end of all episodes at the last step, or a step that is missing in all samples.
    """
    seq = batch.seq_dims[index]
    if index != batch.paced and is_binary(leaf) and batch.length(index):
        steps = leaf.movedim(seq, 0).double().flatten(1).mean(1)
        is_rare = ((steps == 0) | (steps == 1)) & ((steps - steps.mean()).abs() >= 0.5)
        return leaf.where(~along(leaf, seq, is_rare), (leaf == 0).to(leaf.dtype))
    size = largest(leaf) if is_number(leaf) and batch.is_content(index) else 0.0
    return leaf / size if size > 1 else leaf


def _plain(text: str) -> str:
    """Return a text without its numbers, which are others at a different size."""
    return "".join(char for char in text if not char.isdigit())
