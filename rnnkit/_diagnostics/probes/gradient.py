"""The probe *gradient*: each parameter that this call read learns from some output."""

import re
from collections.abc import Iterable
from typing import NoReturn

from torch import Tensor, nn

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.parameters import Trained, got_in, owner, trained_otherwise
from rnnkit._diagnostics.report import NAMES, NO_GRADIENT, fail, in_short, note, skip
from rnnkit._diagnostics.slopes import Gradients, gradients_in_training

#: By how much of its size a parameter is changed to see whether it moves an output.
SMALL, LARGE = 1e-3, 1.0

#: A layer and a direction, in the name of a weight.
DIRECTION = re.compile(r"_l(\d+)(_reverse)?$")


def probe_gradient(baseline: Baseline) -> str:
    """Each parameter that this call read gets a gradient from some output, in training.

    None is a mistake if a small change of the parameter moves such an output, and always in a layer
    or cell: what it returns is to be used. Zeros are one in weights with two axes, as an
    attention's bias rightly gets zeros, if all that belongs to them gets zeros, too: a decoder may
    be given zeros. Both if no other values change that.
    """
    holds, report = "each parameter that the call reads gets a gradient", baseline.report
    run = gradients_in_training(baseline)
    if run.error is not None:
        skip(f"the model does not train on this batch: {in_short(run.error)}")
    _find_strangers(baseline, run)
    if run.too_large:
        note(report, f"{_listed(run.too_large)}: too large for a gradient")
    if {*got_in(run).values()} == {"some"}:
        return holds
    first = Trained(baseline.session, baseline.batch)
    got, run = first.got, first.run
    if run.error is not None or not {*got.values()} & {"some", "zero"}:
        skip(NO_GRADIENT)
    if not any(got[name] == "some" for name in first.read):
        skip("every parameter that the call reads gets zeros, which says nothing")
    modules = dict(baseline.session.model.named_modules())
    in_layers = {n for name in run.ran for n in _inside(name, got)}
    if cut := {n for n in first.read & first.cut if got[n] == "none"} - in_layers:
        note(report, f"forward detaches {_listed(cut)}: no gradient for that")
    zeros = {n for n in first.read & first.wide if got[n] == "zero" and not _is_used(n, got)}
    suspects = {n for n in first.read - cut if got[n] == "none"} | zeros
    ran = {event.name for event in baseline.events}  # in training, layers may be dropped
    stacks = {n for n in first.stacks if first.idle[n].isdisjoint(ran)}
    stacks = {n for n in stacks if len([*modules[n].children()]) - len(first.idle[n]) > 1}
    is_tried = not suspects | stacks
    for other in trained_otherwise(baseline) if suspects or stacks else ():
        is_tried = True
        suspects &= {n for n in other.read if other.got[n] in ("none", got[n])}
        stacks = {name for name in stacks if other.idle[name] == first.idle[name]}
        if not suspects | stacks:
            break
    if not is_tried:
        skip("the model takes no other values, so nothing confirms what gets no gradient")
    for name in sorted(stacks):
        fix = ("fix", f"for layer in self.{name}: x = layer(x)")
        verb = "runs" if len(first.idle[name]) == 1 else "run"
        what = f"{_listed(first.idle[name])} never {verb}, and other items of {name} do"
        fail("gradient", what, [fix])
    if unread := got.keys() - first.read:
        tops = _listed(_tops(unread, got))
        note(report, f"this call reads {tops} without gradients, or not at all")
    left, unused = list[str](), [("fix", "use what it returns: no output changes with that")]
    for name in sorted(_tops({n for n in suspects if got[n] == "none"}, got)):
        inside = _inside(name, got)
        has_layer = not inside.isdisjoint(in_layers)
        moved = _moved(baseline, run, inside, LARGE if has_layer else SMALL)
        if any(moved) or (has_layer and not moved):
            left.append(name)
            unused = [] if moved else unused
        else:
            note(report, f"{name}: no gradient, since it picks, or reaches no output that has one")
    if left:
        what = f"no gradient reaches {_listed(left)}, though the call reads it"
        fail("gradient", what, unused, left[0])
    if zeros & suspects:
        _fail_at_zeros(sorted(zeros & suspects), modules)
    return holds


def _find_strangers(baseline: Baseline, run: Gradients) -> None:
    """Fail if a module that is not registered in the model has weights that would learn."""
    for module in () if baseline.session.is_wrapped else run.strangers:
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        if any(slope is not None for slope in run.slopes(weights, run.output)):
            fix = ("fix", "torch.nn.ModuleList([...]), or ModuleDict({...})")
            what = f"a module that runs ({type(module).__name__}) is not registered in the model"
            fail("gradient", f"{what}: no optimizer gets its weights", [fix])


def _fail_at_zeros(names: list[str], modules: dict[str, nn.Module]) -> NoReturn:
    module, ends = owner(names[0]), {found and found[0] for found in map(DIRECTION.search, names)}
    name = module if all(owner(one) == module for one in names) else ""
    found = DIRECTION.search(names[0])
    if getattr(modules[module], "bidirectional", False) and found and len(ends) == 1:
        which = "backward" if found[2] else "forward"
        what = f"nothing reads the {which} direction of layer {found[1]} of {module}"
        fix = ("fix", "torch.cat([h_n[-2], h_n[-1]], 1), or last_hidden(h_n), has both directions")
        fail("gradient", what, [fix], name)
    ways = "no softmax over an axis of one or product with zeros"
    fix = ("fix", f"{ways}; y + (y.round() - y).detach() for y.round()")
    what = f"the gradient of {_listed(names)} is exactly zero, for all values that were tried"
    fail("gradient", what, [fix], name)


def _is_used(name: str, got: dict[str, str]) -> bool:
    """Return whether what belongs to a weight, as its bias, gets a gradient."""
    end = DIRECTION.search(name)
    return any(
        owner(one) == owner(name) and (end is None or one.endswith(end[0])) and found == "some"
        for one, found in got.items()
    )


def _inside(name: str, names: Iterable[str]) -> set[str]:
    """Return the parameters of a module, or the one that is called so."""
    return {x for x in names if f"{x}.".startswith(f"{name}." if name else "")}


def _tops(names: set[str], every: Iterable[str]) -> set[str]:
    """Return the largest modules with these parameters only, and those that are in none."""
    found = set()
    for name in names:
        ends = [k for k, sign in enumerate(name) if sign == "."]
        prefixes = (name[:end] for end in [*ends, None])
        found.add(next(x for x in prefixes if _inside(x, every) <= names))
    return found


def _listed(names: Iterable[str]) -> str:
    first, rest = sorted(names)[:NAMES], len([*names]) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")


def _moved(baseline: Baseline, run: Gradients, names: Iterable[str], by: float) -> list[bool]:
    """Return of each output that a change of parameters moves whether it has a gradient."""
    session, outputs = baseline.session, []
    for size in (0.0, by):
        copy = session.fresh().train()
        for weight in map(copy.get_parameter, names):
            weight.data = weight.data + size * weight.data.abs().mean().clamp(min=0.1)
        outputs.append(session.run(baseline.batch.tree(), on=copy))
    return [
        made.requires_grad
        for made, one, other in zip(run.output, *outputs, strict=False)
        if isinstance(one, Tensor) and not same(one, other)
    ]
