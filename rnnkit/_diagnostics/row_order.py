"""The order of the steps that go into a recurrent layer: a view mixes them with features."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.report import fail

#: So many different steps must be seen on the wrong axis.
COLUMNS = 3


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
                likely = "likely a view or reshape where axes must change places first"
                lines = [("cause", likely), ("fix", "x.permute(...), then reshape")]
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
