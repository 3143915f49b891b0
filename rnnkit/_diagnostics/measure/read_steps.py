"""Which steps of the input some steps of the output read, by their gradients."""

from collections.abc import Sequence

from torch import Tensor

from rnnkit._diagnostics.measure.baseline import Baseline, once
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_of


@once
def steps_read(baseline: Baseline) -> dict[int, Tensor]:
    """Return for some steps of the output which input steps they read, as masks ``(seq,)`` by step.

    ``baseline`` is the model, a batch, and its output. An input step is read if the gradient of an
    output step arrives there. Nothing if that is not known. The output is the first one, in its
    longest samples: others have padding at some steps.
    """
    gradients = gradients_of(baseline)
    batch = baseline.batch
    first = baseline.first or 0
    if not gradients.output or not baseline.has_steps(first) or baseline.missing(first):
        return {}
    output = baseline.in_input_order(gradients.output)[first]
    rows = baseline.by_sample_and_step(first, output)
    counts = batch.valid_counts[: len(rows)]
    longest = [sample for sample, n in enumerate(counts) if n == max(counts)]
    if not baseline.has_passed("batch"):  # samples may mix
        longest = longest[:1]
    return _read_by_samples(gradients, rows, longest)


def _read_by_samples(
    gradients: Gradients, output: Tensor, longest: Sequence[int]
) -> dict[int, Tensor]:
    """Return what some steps of an output ``(samples, seq, ...)`` read: masks ``(seq,)`` by step.

    Only the samples ``longest`` are asked: others have padding at some of these steps. Those are
    the first two steps, one in the middle, and the last. Nothing if one of them reads none.
    """
    read: dict[int, Tensor] = {}
    last = output.shape[1] - 1
    steps = sorted({0, min(1, last), (last + 1) // 2, last})
    # One backward asks for a step of each sample, since they do not mix.
    for start in range(0, len(steps), len(longest)):
        pairs = [*zip(longest, steps[start:], strict=False)]
        at = gradients.places([output[sample, step] for sample, step in pairs])
        if at is None:
            return {}
        read |= {step: at[sample] for sample, step in pairs}
    if not any(row[:step].any() for step, row in read.items()):
        # No step reads an earlier one: a flag may start a sample there, so the others are asked.
        at = gradients.places([output[longest, -1]])
        if at is not None:
            read[last] = at[longest].any(0)
    return read if all(row.any() for row in read.values()) else {}
