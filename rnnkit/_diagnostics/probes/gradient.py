"""The probe *gradient*: each parameter that this call read learns from some output."""

import re
from collections.abc import Collection
from itertools import accumulate

from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.parameters import Learned, inside, owner, trained_otherwise
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
    run = gradients_in_training(baseline)
    first = Learned(run)
    got, modules = first.got, dict(baseline.session.model.named_modules())
    if run.error is not None:
        skip(f"the model does not train on this batch: {in_short(run.error)}")
    _find_strangers(baseline, run)
    if {*got.values()} == {"some"}:
        return "each parameter that the call reads gets a gradient"
    if "some" not in got.values():
        skip(NO_GRADIENT)
    silent = {n for n, one in got.items() if one == "none"}
    zeros = set[str]()
    for name, weight in run.weights.items():
        is_torchs = type(modules[owner(name)]).__module__.startswith(("torch.nn.", "rnnkit"))
        end = DIRECTION.search(name)
        family = {n for n in got if owner(n) == owner(name) and (not end or n.endswith(end[0]))}
        if (weight if is_torchs else weight.squeeze()).dim() > 1 and got[name] == "zero":
            # What belongs to a weight, as its bias, may get a gradient.
            zeros |= {name} if all(got[n] != "some" for n in family) else set()
    suspects = zeros | ((first.read & silent) - (first.cut() - first.in_layers))
    ran = {event.name for event in baseline.events}  # in training, layers may be dropped
    idle = {n: items for n, items in first.idle(ran).items() if items and first.is_stack(n)}
    is_tried = not suspects and not idle
    for other in trained_otherwise(baseline) if suspects or idle else ():
        is_tried = True
        suspects &= {n for n in other.read if other.got[n] in ("none", got[n])}
        idle = {n: items for n, items in other.idle(ran).items() if items == idle.get(n)}
        if not suspects and not idle:
            break
    if not is_tried:
        skip("the model takes no other values, so nothing confirms what gets no gradient")
    for name, items in idle.items():
        what = f"{_listed(items)} never run{'s' * (len(items) == 1)}, and other items of {name} do"
        fail("gradient", what, [("fix", f"for layer in self.{name}: x = layer(x)")])
    left, unused = list[str](), [("fix", "use what it returns: no output changes with that")]
    for name in sorted(_tops(suspects & silent, got)):
        has_layer = bool(inside(name, first.in_layers))
        moved = _moved(baseline, run, inside(name, got), LARGE if has_layer else SMALL)
        if any(moved) or (has_layer and not moved):
            left.append(name)
            unused = [] if moved else unused
            silent -= inside(name, got)
    if silent:
        tops = _listed(_tops(silent, got))
        note(baseline.report, f"no output of this call has a gradient in {tops}")
    if left:
        what = f"no gradient reaches {_listed(left)}, though the call reads it"
        fail("gradient", what, unused, left[0])
    if names := sorted(zeros & suspects):
        module, ends = owner(names[0]), {x and x[0] for x in map(DIRECTION.search, names)}
        where = module if all(owner(one) == module for one in names) else ""
        end = DIRECTION.search(names[0])
        if getattr(modules[module], "bidirectional", False) and end and len(ends) == 1:
            which = "backward" if end[2] else "forward"
            what = f"nothing reads the {which} direction of layer {end[1]} of {module}"
            fix = "torch.cat([h_n[-2], h_n[-1]], 1), or last_hidden(h_n), has both directions"
        else:
            what = f"the gradient of {_listed(names)} is exactly zero, for all values tried"
            ways = "no softmax over an axis of one or product with zeros"
            fix = f"{ways}; y + (y.round() - y).detach() for y.round()"
        fail("gradient", what, [("fix", fix)], where)
    return "each parameter that the call reads gets a gradient"


def _find_strangers(baseline: Baseline, run: Gradients) -> None:
    """Fail if the call reads weights that would learn, and that are not registered in the model."""
    modules = [run.model, *(x for x in baseline.batch.leaves if hasattr(x, "parameters"))]
    known = [weight for module in modules for weight in module.parameters()]
    for weight in () if baseline.session.is_wrapped else run.reads.read.values():
        # A function may hold the model's own weights, and not the copy's.
        is_known = any(weight is one or same(weight, one) for one in known)
        if weight.dim() > 1 and not is_known and run.slopes([weight], run.output) != [None]:
            what = f"weights of shape {tuple(weight.shape)} are not registered in the model"
            fix = ("fix", "torch.nn.ModuleList([...]), or ModuleDict({...})")
            fail("gradient", f"{what}: no optimizer gets them", [fix])


def _tops(names: Collection[str], every: Collection[str]) -> set[str]:
    """Return the largest modules with these parameters only, and those that are in none."""
    paths = [[*accumulate(name.split("."), "{}.{}".format)] for name in names]
    return {next(x for x in path if inside(x, every) <= {*names}) for path in paths}


def _listed(names: Collection[str]) -> str:
    first, rest = sorted(names)[:NAMES], len(names) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")


def _moved(baseline: Baseline, run: Gradients, names: Collection[str], by: float) -> list[bool]:
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
