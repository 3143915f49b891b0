"""Where NaN at a step of the input goes: into which rows of layers, and to which outputs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_from
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.report import fail

#: So many steps are looked at, evenly spaced.
STEPS = 16

#: So many different steps must be seen on the wrong axis of a layer's input.
COLUMNS = 3


def spaced(last: int) -> list[int]:
    """Return the steps that are looked at, the first and the last one among them."""
    steps = torch.linspace(0, last, min(STEPS, last + 1), device="cpu")
    return list(dict.fromkeys(steps.round().int().tolist()))


def poisoned(baseline: Baseline, where: Where, watch: Watch | None = None) -> Leaves | None:
    """Run with NaN at some steps; for tokens, in their embedding."""
    batch, leaf = baseline.batch, baseline.batch.leaves[baseline.batch.paced]
    mask = where(batch, batch.paced)
    leaves, found = list(batch.leaves), is_number(leaf)
    if found and mask is not None:
        leaves[batch.paced] = leaf.masked_fill(mask, torch.nan)

    def embedded(_: Any, args: Any, output: Any) -> Any:
        nonlocal found
        if mask is None or not args or args[0].shape != leaf.shape or not args[0].equal(leaf):
            return output
        found = True
        wide = mask.unsqueeze(-1) if mask.dim() < output.dim() else mask
        return output.masked_fill(wide, torch.nan)

    def both(model: torch.nn.Module) -> list[Any]:
        tables = (m for m in model.modules() if isinstance(m, torch.nn.Embedding) and not found)
        hooks = [table.register_forward_hook(embedded) for table in tables]
        return [*hooks, *(watch(model) if watch else [])]

    output = baseline.session.attempt(batch.tree(leaves), watch=both)
    return output if found else None


def silent_at(baseline: Baseline, step: int) -> Tensor | None:
    """Return in which samples neither a NaN at a step nor a change comes out; None if unknown."""
    batch, where = baseline.batch, steps_from(step, step + 1)
    output = poisoned(baseline, where)
    read = torch.zeros(batch.size, dtype=torch.bool, device="cpu")
    if output is not None:
        read |= samples_with_nan(baseline, output)
        elsewhere = zip(baseline.normal, output, strict=False)
        if not bool(read.any()) and not all(alike([one], [other]) for one, other in elsewhere):
            return read  # NaN came out in an output that does not follow
    # What does not come out as NaN may be compared only, and a change comes out.
    inputs = changed(batch, where, only=batch.paced)
    moved = None if inputs is None else baseline.session.attempt(inputs)
    if moved is None:
        return None
    read |= _differ(baseline, moved, torch.ne)
    return None if output is None and not bool(read.all()) else ~read


def samples_with_nan(baseline: Baseline, output: Leaves) -> Tensor:
    """Return in which samples NaN comes out."""
    return _differ(baseline, output, lambda one, other: other.isnan() & ~one.isnan())


def _differ(baseline: Baseline, output: Leaves, differ: Any) -> Tensor:
    size = baseline.batch.size
    found = torch.zeros(size, dtype=torch.bool, device="cpu")
    if len(output) != len(baseline.normal):
        return ~found
    for index, axis in baseline.judged():
        one, other = baseline.normal[index], output[index]
        if not isinstance(other, Tensor) or other.shape != one.shape or bool(one.isnan().any()):
            return torch.ones_like(found)
        found |= differ(one, other).movedim(axis, 0)[:size].reshape(size, -1).any(1).cpu()
    return found


class RowOrder:
    """Where single steps of the input, which are NaN, go into each recurrent layer.

    They should fill whole rows. After a view that should have exchanged two axes, the memory of a
    sample has the steps on a different axis: seen like that, they fill whole columns.
    """

    def __init__(self) -> None:
        """Begin with no layer."""
        self._seen: dict[str, list[Tensor]] = defaultdict(list)

    def watch(self, model: torch.nn.Module) -> list[Any]:
        """Write down where NaN goes into the layers of a copy."""

        def writing(name: str) -> Any:
            def hook(module: RNNBase, args: Any) -> None:
                if args and isinstance(args[0], Tensor) and args[0].dim() == 3:
                    rows = args[0] if module.batch_first else args[0].transpose(0, 1)
                    self._seen[name].append(rows.isnan().cpu())

            return hook

        layers = [(name, m) for name, m in model.named_modules() if isinstance(m, RNNBase)]
        return [layer.register_forward_pre_hook(writing(name)) for name, layer in layers]

    def is_plain(self) -> bool:
        """Return whether the steps seen so far fill whole rows of every layer."""
        every = [mask for masks in self._seen.values() for mask in masks]
        return all(torch.equal(mask[..., 1:], mask[..., :-1]) for mask in every)

    def judge(self, tried: int) -> None:
        """Fail if so many steps fill columns in one of the ways to see a layer's input."""
        for name, masks in self._seen.items():
            width = masks[0].shape[2]
            for outer in (size for size in range(2, width + 1) if width % size == 0):
                columns = [_columns(mask, outer) for mask in masks]
                rows = [tuple(row) for each in columns if each is not None for row in each.tolist()]
                kinds = len(set(rows))
                # The steps of a season, again and again, are few.
                few = kinds < COLUMNS or 2 * kinds <= min(tried, masks[0].shape[1])
                if few or any(each is None for each in columns):
                    continue
                what = f"steps go into {name or 'the model'} out of order"
                likely = "a view or reshape where axes must change places first"
                lines = [("likely", likely), ("fix", "x.permute(...), then reshape")]
                fail("coverage", f"{what}, each feature in an order of its own", lines, name)


def _columns(mask: Tensor, outer: int) -> Tensor | None:
    """Return which steps of each row are hit, if its memory is (outer, seq, rest); else None.

    Rows of the mask ``(rows, seq, feature)`` that are hit nowhere or everywhere say nothing.
    """
    count, width = mask.shape[1:]
    hit = mask.flatten(1)
    mask = mask[hit.any(1) & ~hit.all(1)]
    turned = mask.reshape(len(mask), outer, count, width // outer)
    columns = turned.any(3).any(1)
    is_turned = torch.equal(turned, columns[:, None, :, None].expand_as(turned))
    whole = (mask.any(axis, keepdim=True).expand_as(mask) for axis in (1, 2))
    plain = any(torch.equal(mask, one) for one in whole)
    return columns if not len(mask) or (is_turned and not plain) else None


def reached(baseline: Baseline, output: Leaves, places: Sequence[int]) -> dict[int, int]:
    """Return the last step of the first output at which NaN comes out, by its step in samples."""
    first, steps = baseline.first, baseline.batch.steps or 0
    one = output[first] if first is not None and first < len(output) else None
    if not isinstance(one, Tensor) or first is None or baseline.counts is not None:
        return {}
    shape, seq, axis = baseline.normal[first].shape, baseline.out_seq_dim, baseline.axes[first]
    if None in (seq, axis) or seq == axis or one.shape != shape or shape[seq or 0] != steps:
        return {}
    pairs = zip(places, baseline.places(first, one.isnan()).tolist(), strict=False)
    return {step: max(k for k in range(steps) if row[k]) for step, row in pairs if any(row)}


def block_size(reach: Mapping[int, int], steps: int) -> int | None:
    """Return the length of blocks in which the steps read; None if there are none.

    A state that starts afresh every so many steps looks like that: the last step of a block reaches
    itself alone, the one before it both, and so on.

    >>> from rnnkit._diagnostics.reach import block_size
    >>> block_size({0: 2, 1: 2, 2: 2, 3: 5, 4: 5}, 6)
    3
    >>> block_size({0: 5, 1: 5, 2: 5, 3: 5, 4: 5}, 6) is None
    True
    """
    if not reach:
        return None
    size = reach[min(reach)] + 1
    starts = {step // size for step in reach}
    fits = all(last == min(steps, (step // size + 1) * size) - 1 for step, last in reach.items())
    # In each of two blocks, one step that reaches a later one at least.
    held = {step // size for step, last in reach.items() if last > step}
    return size if 2 <= size < steps and len(starts) > 1 and len(held) > 1 and fits else None


def blocks_of(matrix: Tensor) -> int | None:
    """Return the length of blocks in a map ``(outputs, inputs)`` that is square and has all steps.

    >>> import torch
    >>> from rnnkit._diagnostics.reach import blocks_of
    >>> blocks_of(torch.block_diag(*[torch.ones(2, 2).tril()] * 3).bool())
    2
    """
    steps, inputs = matrix.shape
    if steps != inputs or not bool(matrix.any(0).all()):
        return None
    reach = {step: int(matrix[:, step].nonzero().max()) for step in range(steps)}
    size = block_size(reach, steps)
    before = size is not None and any(
        bool(matrix[: step // size * size, step].any()) for step in reach
    )
    return None if before else size
