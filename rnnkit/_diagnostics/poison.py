"""Where NaN at a step of the input goes: into which rows of layers, and to which outputs."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import Embedding, RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_at, steps_from
from rnnkit._diagnostics.events import Event, Recorder
from rnnkit._diagnostics.outputs import Leaves, Watch, alike, is_number, same
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
        tables = (m for m in model.modules() if isinstance(m, Embedding) and not found)
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
        read = _differ(baseline, output, lambda one, other: other.isnan() & ~one.isnan())
        if not bool(read.any()) and not alike(baseline.normal, output):
            return read  # NaN came out in an output that does not follow
    # What does not come out as NaN may be compared only, and a change comes out.
    inputs = changed(batch, where, only=batch.paced)
    moved = None if inputs is None else baseline.session.attempt(inputs)
    if moved is None:
        return None
    read |= _differ(baseline, moved, torch.ne)
    return None if output is None and not bool(read.all()) else ~read


def _differ(baseline: Baseline, output: Leaves, differ: Any) -> Tensor:
    """Return in which samples outputs differ, or have other shapes."""
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


def find_other_order(baseline: Baseline, tried: list[int]) -> None:
    """Fail if steps go into a layer in the order of features, as after a view instead of a permute.

    Single steps, which are NaN, should fill whole rows of its input. After such a view, the memory
    of a sample has the steps on a different axis: seen like that, they fill whole columns.
    """
    size, steps, seen = baseline.batch.size, baseline.batch.steps or 0, defaultdict[str, Any](list)
    events = [e for e in baseline.events if isinstance(e.module, RNNBase | Embedding) and e.tensors]
    known = [baseline.batch.leaves[baseline.batch.paced]]
    known += [event.tensors[0] for event in events if event.kind == "output"]
    read = [x for event in events if (x := _rows(event)) is not None]
    if all(any(isinstance(one, Tensor) and same(one, x) for one in known) for x in read):
        return
    runs = -(-len(tried) // size)
    for start in range(runs):
        # A different one in each sample, so that few runs are enough.
        at = [tried[(start + k * runs) % len(tried)] for k in range(size)]
        where = torch.arange(steps, device="cpu") == torch.tensor(at, device="cpu").unsqueeze(1)
        recorder = Recorder()
        poisoned(baseline, steps_at(where), recorder.watch)
        for event in recorder.events:
            if (x := _rows(event)) is not None:
                rows = x if event.module.batch_first else x.transpose(0, 1)
                seen[event.name].append(rows.isnan().cpu())
        every = [mask for masks in seen.values() for mask in masks]
        if all(torch.equal(mask[..., 1:], mask[..., :-1]) for mask in every):
            return  # as it should be
    for name, masks in seen.items():
        rows, width = masks[0].shape[1:]
        for outer in (one for one in range(2, width + 1) if width % one == 0):
            columns = [_columns(mask, outer) for mask in masks]
            kinds = len({tuple(row) for each in columns for row in (each or ())})
            # The steps of a season, again and again, are few.
            if None not in columns and kinds >= COLUMNS and 2 * kinds > min(len(tried), rows):
                what = f"steps go into {name or 'the model'} out of order"
                likely = "a view or reshape where axes must change places first"
                lines = [("likely", likely), ("fix", "x.permute(...), then reshape")]
                fail("coverage", f"{what}, each feature in an order of its own", lines, name)


def _rows(event: Event) -> Tensor | None:
    """Return the padded batch that goes into a layer; None of anything else."""
    is_input = event.kind == "input" and isinstance(event.module, RNNBase) and not event.is_packed
    x = event.tensors[0] if is_input and event.tensors else None
    return x if isinstance(x, Tensor) and x.dim() == 3 else None


def _columns(mask: Tensor, outer: int) -> list[list[bool]] | None:
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
    is_plain = any(torch.equal(mask, one) for one in whole)
    return columns.tolist() if not len(mask) or (is_turned and not is_plain) else None
