"""Parameters that a call reads, and that get no gradient, or exact zeros, whatever their values."""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, steps_from
from rnnkit._diagnostics.compare import alike, widest
from rnnkit._diagnostics.judge import WEIGHTS, open_wide
from rnnkit._diagnostics.module_calls import KINDS
from rnnkit._diagnostics.parameters import Got, gradients_in_training, owner
from rnnkit._diagnostics.report import NAMES, NO_GRADIENT, fail, note, skip

#: By how much of its size a parameter is changed to see whether it moves an output.
SMALL = 1e-3

#: A layer and a direction, in the name of a weight.
DIRECTION = re.compile(r"_l(\d+)(_reverse)?$")


def find_untrained(baseline: Baseline) -> bool:
    """Fail if a parameter that the call read learns nothing; return whether that was judged.

    No gradient is a mistake if a small change of the parameter moves an output. Zeros are one in
    weights with two axes, as an attention's bias rightly gets zeros, if all that belongs to them
    gets zeros, too: a decoder may be given zeros. Recurrent modules were judged before, as a whole.
    """
    train, report = True, baseline.report
    if sum(weight.numel() for weight in baseline.session.model.parameters()) > WEIGHTS:
        note(report, "the model is too large for a gradient of each parameter")
        return False
    got = gradients_in_training(baseline.session, baseline.batch)
    if got is None:
        train, got = False, gradients_in_training(baseline.session, baseline.batch, train=False)
    if got is None:
        skip(NO_GRADIENT)
    modules = dict(baseline.session.model.named_modules())
    recurrent = {name for name, module in modules.items() if isinstance(module, KINDS)}
    without = {n for n in got.read if got.gradient[n] == "none" and owner(n) not in recurrent}
    zeros = {n for n in got.read & got.wide if got.gradient[n] == "zero" and not _is_used(n, got)}
    if cut := without & got.cut:
        note(report, f"forward detaches {_listed(cut)}: no gradient for that")
    suspects = (without - got.cut) | zeros
    if suspects and all(got.gradient[name] != "some" for name in got.read):
        note(report, "every parameter that the call reads gets zeros, which says nothing")
        return False
    lists = {n for n in got.stacks if len([*modules[n].children()]) - len(got.idle[n]) > 1}
    others = 0
    for other in _others(baseline, train=train) if suspects or lists else ():
        others += 1
        suspects &= {n for n in other.read if other.gradient[n] != "some"}
        lists = {name for name in lists if other.idle[name] == got.idle[name]}
    if (suspects or lists) and not others:
        return False  # the model takes no other values, so nothing confirms it
    for name, items in got.idle.items():
        if name in lists:
            fix = ("fix", f"for layer in self.{name}: x = layer(x)")
            fail("gradient", f"{_listed(items)} never runs, and other items of {name} do", [fix])
        elif items:
            note(report, f"{len(items)} of {len([*modules[name].children()])} {name} do not run")
    picks = {n for n in suspects & without if not _moves(baseline, n, train=train)}
    if picks:
        note(report, f"{_listed(picks)}: no gradient, since it picks, or reaches no output")
    if left := suspects - picks:
        _fail(sorted(left), got, modules)
    return True


def _fail(names: list[str], got: Got, modules: dict[str, nn.Module]) -> NoReturn:
    module = owner(names[0])
    name = module if all(owner(one) == module for one in names) else ""
    if got.gradient[names[0]] == "none":
        fix = ("fix", "no .data, detach(), argmax or no_grad() between it and the loss")
        what = f"no gradient reaches {_listed(names)}, though the call reads it"
        fail("gradient", what, [fix], name)
    found = DIRECTION.search(names[0])
    if isinstance(modules[module], nn.RNNBase) and found:
        which = "backward" if found[2] else "forward"
        what = f"nothing reads the {which} direction of layer {found[1]} of {module}"
        means = ("means", "its weights get gradients of zeros, for all values that were tried")
        fix = ("fix", "torch.cat([h_n[-2], h_n[-1]], 1), or last_hidden(h_n), has both directions")
        fail("gradient", what, [means, fix], name)
    fix = ("fix", "look for a softmax over an axis of one, or for a product with zeros")
    what = f"the gradient of {_listed(names)} is exactly zero, for all values that were tried"
    fail("gradient", what, [fix], name)


def _is_used(name: str, got: Got) -> bool:
    """Return whether what belongs to a weight, as its bias, gets a gradient."""
    end = DIRECTION.search(name)
    return any(
        owner(one) == owner(name) and (end is None or one.endswith(end[0])) and found == "some"
        for one, found in got.gradient.items()
    )


def _listed(names: Any) -> str:
    first, rest = sorted(names)[:NAMES], len(names) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")


def _others(baseline: Baseline, *, train: bool) -> Iterator[Got]:
    """Yield the same for other values of the parameters and the inputs, as far as it runs."""
    session, batch = baseline.session, baseline.batch
    drawn = [batch.with_leaves(_redrawn(batch, seed)) for seed in range(3)]
    tried = [(batch, 1), (drawn[0], -1), (drawn[1], 1)]
    for axis in (1, 2):  # one sentence, or one step, tells nothing of what joins several
        leaves = [_doubled(x, axis) for x in batch.leaves]
        if any(one is not x for one, x in zip(leaves, batch.leaves, strict=True)):
            tried.append((batch.with_leaves(leaves), 1))
    for seed, (other, moved) in enumerate(tried):
        if (got := gradients_in_training(session, other, moved, seed, train=train)) is not None:
            yield got
    try:
        wide = open_wide(session, torch.float64)
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return
    leaves = [widest(x) if isinstance(x, Tensor) else x for x in drawn[2].leaves]
    if (got := gradients_in_training(wide, batch.with_leaves(leaves), train=train)) is not None:
        yield got


def _redrawn(batch: Batch, seed: int) -> list[Any]:
    """Return other values; what has only one, as a flag that is never set, is drawn."""
    generator = torch.Generator("cpu").manual_seed(seed)
    leaves = other_leaves(batch, steps_from(0), seed, pad=False)
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor) and leaf.dim() > 1 and bool((leaf == leaf.flatten()[0]).all()):
            draw = torch.randn if leaf.is_floating_point() and seed % 2 else torch.rand
            drawn = draw(leaf.shape, generator=generator, device="cpu")
            leaves[index] = (drawn if draw is torch.randn else drawn.round()).to(leaf)
    return leaves


def _doubled(leaf: Any, axis: int) -> Any:
    if not isinstance(leaf, Tensor) or leaf.dim() <= axis or leaf.shape[axis] != 1:
        return leaf
    other = leaf.flip(-1) if axis < leaf.dim() - 1 else leaf + leaf.is_floating_point()
    return torch.cat([leaf, other], axis)


def _moves(baseline: Baseline, name: str, *, train: bool) -> bool:
    """Return whether a small change of a parameter moves an output."""
    outputs = []
    for size in (0.0, SMALL):
        copy = baseline.session.fresh().train(train)
        weight = copy.get_parameter(name)
        weight.data = weight.data + size * weight.data.abs().mean().clamp(min=0.1)
        outputs.append(baseline.session.run(baseline.batch.tree(), on=copy))
    return not alike(*outputs)
