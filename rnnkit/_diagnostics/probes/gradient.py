"""The probe *gradient*: each parameter that this call read learns from some output."""

import re
from collections.abc import Collection
from itertools import accumulate

from torch import Tensor
from torch.nn import Module

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.gradient_causes import fix_of_direction, why_zero
from rnnkit._diagnostics.lab import trained_otherwise
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import NAMES, Line, fail, in_short, skip, skip_inapplicable
from rnnkit._diagnostics.slopes import Gradients, gradients_in_training, inside

#: A layer and a direction, in the name of a weight.
DIRECTION = re.compile(r"_l\d+(_reverse)?$")


def probe_gradient(baseline: Baseline) -> str:
    """Each parameter that this call read gets a gradient from some output, in training.

    None is a mistake if a small change moves such an output, and always in a layer or cell. Zeros
    are one in weights with two axes if what belongs to them gets zeros, too: an attention's bias
    rightly does. Both count if no other values change that.
    """
    holds, session = "each parameter that the call reads gets a gradient", baseline.session
    run = gradients_in_training(baseline)
    got, modules = run.got, dict(session.model.named_modules())
    if run.error is not None:
        skip(f"the model does not train on this batch: {in_short(run.error)}")
    ours = [x for x in (run.model, *baseline.batch.leaves) if isinstance(x, Module)]
    known = {weight for module in ours for weight in module.parameters()}
    for stranger in () if session.is_wrapped else dict.fromkeys(run.called):
        lost = [weight for weight in stranger.parameters() if weight not in known]
        if any(x is not None for x in run.slopes([w for w in lost if w.requires_grad], run.output)):
            what = f"a module that runs ({type(stranger).__name__}) is not registered in the model"
            fix = "torch.nn.ModuleList([...]), or ModuleDict({...})"
            fail("gradient", f"{what}: no optimizer gets its weights", [("fix", fix)])
    if {*got.values()} == {"some"}:
        return holds
    if not got:
        skip_inapplicable("no weight of the model is trained")
    if "some" not in got.values():
        skip("no weight gets a gradient that is not zero")
    silent, zeros = {n for n in got if got[n] == "none"}, {n for n in got if got[n] == "zero"}
    families = {n: (n.rpartition(".")[0], (DIRECTION.search(n) or [""])[0]) for n in got}
    unnumbered = {n: re.sub(r"\.\d+\.", ".", n) for n in got}
    for name in [*zeros]:
        kind, weight = type(modules[families[name][0]]), run.weights[name]
        axes = weight if kind.__module__.startswith(("torch.nn.", "rnnkit")) else weight.squeeze()
        # What belongs to a weight, as its bias, may get a gradient, or the expert that was chosen.
        own, some = families[name], [n for n in got if got[n] == "some"]
        is_used = any(families[n] == own or unnumbered[n] == unnumbered[name] for n in some)
        zeros -= {name} if axes.dim() < 2 or is_used or baseline.batch.longest == 1 else set()
    layers, weights = run.in_layers, run.weights
    slopes = zip(weights, run.slopes([*weights.values()], run.detached), strict=True)
    cut = {name for name, slope in slopes if slope is not None} - layers
    suspects = zeros | (silent & run.read - cut)
    ran = {event.name for event in baseline.events}  # in training, layers may be dropped
    idle = run.left_out(ran)
    others = [*trained_otherwise(baseline)] if suspects or idle else []
    if (suspects or idle) and not others:
        skip("the model takes no other values, so nothing confirms what gets no gradient")
    for other in others:
        suspects &= {n for n in other.read if other.got[n] in ("none", got[n])}
        idle = dict(idle.items() & other.left_out(ran).items())
    for name, items in idle.items():
        what = f"{_listed(items)} never run{'s' * (len(items) == 1)}, and other items of {name} do"
        fail("gradient", what, [("fix", f"for layer in self.{name}: x = layer(x)")])
    left = dict[str, list[Line]]()
    for name in sorted(_tops(suspects & silent, got)):
        copy, members = session.fresh().train(), inside(name, got)
        for weight in map(copy.get_parameter, members):
            size = weight.data.abs().mean().clamp(min=0.1)
            weight.data = weight.data + (1.0 if members & layers else 1e-3) * size
        pairs = zip(run.output, Gradients(baseline.batch, session, copy).output, strict=False)
        moved = [x.requires_grad for x, y in pairs if isinstance(x, Tensor) and not same(x, y)]
        if any(moved) or (members & layers and not moved):
            fix = "use what it returns: no output changes with its weights"
            left[name] = [] if moved else [("fix", fix)]
            silent -= members
    if silent:
        tops = _listed(_tops(silent, got))
        baseline.report.notes.append(f"no output of this call has a gradient in {tops}")
    if left:
        (first, rows), what = next(iter(left.items())), f"no gradient reaches {_listed(left)}"
        fail("gradient", f"{what}, though the call reads it", rows, first)
    if names := sorted(zeros & suspects):
        (module, end), found = families[names[0]], {families[name] for name in names}
        if getattr(modules[module], "bidirectional", False) and len(found) == 1:
            layer, is_backward = end[2:].split("_")[0], end.endswith("reverse")
            which = f"the {'backward' if is_backward else 'forward'} direction of layer {layer}"
            what = f"nothing reads {which} of {module}"
            rows = [fix_of_direction(baseline, run, module)]
        else:
            what = f"the gradient of {_listed(names)} is exactly zero, for all values tried"
            rows = why_zero(baseline)
        where = module if {one for one, _ in found} == {module} else ""
        fail("gradient", what, rows, where)
    if unknown := [name for name in got if got[name] == "nan"]:
        skip(f"the gradient of {_listed(unknown)} is NaN")
    return holds


def _tops(names: Collection[str], every: Collection[str]) -> set[str]:
    """Return the largest modules with these parameters only, and those that are in none."""
    paths = [[*accumulate(name.split("."), "{}.{}".format)] for name in names]
    return {next(x for x in path if inside(x, every) <= {*names}) for path in paths}


def _listed(names: Collection[str]) -> str:
    first, rest = sorted(names)[:NAMES], len(names) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")
