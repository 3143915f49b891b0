"""The order of the steps that go into a recurrent layer: a view mixes them with features."""

from collections import defaultdict
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.report import Line, fail

#: So many different steps must be seen behind the features.
COLUMNS = 3

#: Of fewer steps, one that is shifted in a circle looks like many.
STEPS = 8


class RowOrder:
    """Where single steps of the input, which are no number, go into each recurrent layer.

    In each feature of what goes in, later steps reach later rows, or earlier ones after a flip;
    also where frames are stacked, shifted or pooled. After a view of axes in another order they go
    up and down, otherwise so in each feature, and in turn through the memory. What scans an image
    in several ways at once goes up and down, too, but not in turn. What has a season does all of
    it, but there the steps of all seasons reach one number, or features go together.

    Of windows no such order is known. There the memory tells: after a view that should have
    exchanged two axes, the numbers lie with the steps behind the features.
    """

    def __init__(self, batch: int, steps: int) -> None:
        """Remember the sizes."""
        self._batch, self._steps = batch, steps
        self._reached: dict[str, dict[int, Tensor]] = defaultdict(dict)
        self._behind: dict[str, list[Tensor | None]] = defaultdict(list)

    def watching(self, places: list[int]) -> Watch:
        """Return what writes down where the step of each sample goes in one run."""

        def watch(model: torch.nn.Module) -> list[Any]:
            layers = [(n, m) for n, m in model.named_modules() if isinstance(m, RNNBase)]
            return [layer.register_forward_pre_hook(note(name)) for name, layer in layers]

        def note(name: str) -> Any:
            def hook(module: RNNBase, args: Any) -> None:
                input = args[0] if args else None
                if not isinstance(input, Tensor) or input.dim() != 3:
                    return
                rows = input if module.batch_first else input.transpose(0, 1)
                self._behind[name].append(_columns(rows.isnan().cpu()))
                if rows.shape[:2] == (self._batch, self._steps):
                    for sample, step in enumerate(places):
                        self._reached[name].setdefault(step, rows[sample].isnan().cpu())

            return hook

        return watch

    def is_plain(self) -> bool:
        """Return whether every layer reads the steps seen so far as whole rows."""
        masks = [self._masks(name) for name in self._behind]
        return all(one is not None and torch.equal(one[..., 1:], one[..., :-1]) for one in masks)

    def judge(self) -> None:
        """Look at each layer; fail if steps go into one up and down."""
        for name, columns in self._behind.items():
            masks = self._masks(name)
            if masks is not None and not _differ_side_by_side(masks):
                continue  # features go together
            if _have_own(columns):
                _fail(name)
            if masks is None or len(masks) < STEPS or _are_seasons(masks):
                continue
            if _are_mixed(masks) and _are_in_turn(masks):
                _fail(name)

    def _masks(self, name: str) -> Tensor | None:
        """Return where each step goes that goes anywhere, ``(tried, rows, feature)``."""
        reached = self._reached[name]
        masks = [reached[step] for step in sorted(reached) if bool(reached[step].any())]
        return torch.stack(masks) if masks else None


def _fail(name: str) -> NoReturn:
    what = f"steps go into {name or 'the model'} out of order, each feature in an order of its own"
    likely = "likely a view or reshape where axes must change places first"
    rows: list[Line] = [("cause", likely), ("fix", "x.permute(...), then reshape")]
    fail("coverage", what, rows, name)


def _have_own(columns: list[Tensor | None]) -> bool:
    """Return whether steps were found behind the features, most in columns of their own."""
    rows = [tuple(row) for each in columns if each is not None for row in each.tolist()]
    if not rows or any(each is None for each in columns):
        return False
    different = len(set(rows))
    return different >= COLUMNS and different * 2 > min(len(rows), len(rows[0]))


def _columns(masks: Tensor) -> Tensor | None:
    """Return which steps of each row are hit, if the memory has the steps behind the features.

    None if some row is hit otherwise. Rows that are hit nowhere or everywhere say nothing. The
    masks, ``(rows, seq, feature)``, say where steps go.
    """
    count, width = masks.shape[1:]
    hit = masks.flatten(1)
    masks = masks[hit.any(1) & ~hit.all(1)]
    turned = masks.reshape(len(masks), width, count)
    columns = turned.any(1)
    is_turned = count != width and torch.equal(turned, columns.unsqueeze(1).expand_as(turned))
    by_step = masks.any(2, keepdim=True).expand_as(masks)
    by_feature = masks.any(1, keepdim=True).expand_as(masks)
    if not is_turned or torch.equal(masks, by_step) or torch.equal(masks, by_feature):
        return None if len(masks) else columns
    return None if _are_seasons(columns.T) else columns


def _are_mixed(masks: Tensor) -> bool:
    """Return whether in some features rows go up and down, as of a circular shift they do not."""
    count = masks.shape[1]
    place = torch.arange(count, device="cpu").view(1, -1, 1)
    low = torch.where(masks, place, count).amin(1)
    high = torch.where(masks, place, -1).amax(1)
    mixed = 0
    for feature, at in enumerate(masks.any(1).T):
        rows = torch.stack([low[at, feature], high[at, feature]])
        later = rows.unsqueeze(1) > rows.unsqueeze(2)
        ups = later.all(0).triu(1)
        downs = later.all(0).tril(-1).T
        falls = int(downs.diagonal(1).sum())
        less = min(int(ups.sum()), int(downs.sum()))
        # A shift in a circle falls once, and one of a few steps goes the other way in a few pairs.
        mixed += falls > 1 and less * 4 > int((ups | downs).sum())
    return mixed * 4 >= masks.shape[2]


def _differ_side_by_side(masks: Tensor) -> bool:
    """Return whether most features hold other steps than the feature before them.

    After a view the numbers of a row are of steps one after the other. The features of a step, and
    those of its season, go together. The features are on the last axis.
    """
    differ = (masks[..., 1:] != masks[..., :-1]).flatten(0, -2).any(0)
    return 3 * int(differ.sum()) > len(differ)


def _are_seasons(masks: Tensor) -> bool:
    """Return whether the steps of a season, on the first axis, reach most numbers."""
    count, reached = len(masks), masks.sum(0)
    step = torch.arange(count, device="cpu").view(-1, *[1] * (masks.dim() - 1))
    first = torch.where(masks, step, count).amin(0)
    last = torch.where(masks, step, -1).amax(0)
    season = (last - first) // (reached - 1).clamp(min=1)
    whole = (season > 1) & (first < season) & (last + season >= count)
    return 2 * int((whole & (reached > 1)).sum()) >= int((reached > 0).sum())


def _are_in_turn(masks: Tensor) -> bool:
    """Return whether, row by row and in a row feature by feature, all steps return in turn."""
    count, width = masks.shape[1:]
    flat = masks.flatten(1)
    turns = (count * size for size in range(1, width) if width % size == 0)
    return any(torch.equal(flat[:, turn:], flat[:, :-turn]) for turn in turns)
