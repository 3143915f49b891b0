"""The batch without one of its samples, and with one of them twice: which outputs follow?"""

from rnnkit._diagnostics.inputs.axes import shrinks_twice
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Leaves


def leave_one_out(session: Session, batch: Batch, normal: Leaves) -> tuple[Leaves | None, int]:
    """Run without one sample, and return that; no output if the model refuses.

    Without the longest one the steps shrink as well, so another one is left out then.
    """
    if batch.size == 1:
        return None, 0
    valid_steps = batch.valid_steps()
    shortest_first = sorted(range(batch.size), key=valid_steps.__getitem__)
    shrunk = None
    for left_out in shortest_first:
        rest = [sample for sample in range(batch.size) if sample != left_out]
        fewer = session.attempt(batch.samples(rest).tree())
        if fewer is not None and not shrinks_twice(normal, fewer):
            return fewer, left_out
        if left_out == shortest_first[0]:
            shrunk = fewer
        if fewer is None:
            break
    return shrunk, shortest_first[0]


def with_one_more(batch: Batch, sample: int) -> Batch:
    """Return a batch with one of its samples twice.

    Where each sample is the longest of some input, none can be left out alone.
    """
    return batch.samples([*range(batch.size), sample])
