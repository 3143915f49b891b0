"""The probe *gradient*: each parameter that this call read learns from some output."""

import re
from collections.abc import Collection
from itertools import accumulate

from torch import Tensor
from torch.nn import Module

from rnnkit._base.message import count
from rnnkit._diagnostics.explain.gradient_causes import fix_of_direction, why_zero
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.lab import trained_otherwise
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_in_training, inside
from rnnkit._diagnostics.run.outputs import same
from rnnkit._diagnostics.tell.report import NAMES, Line, fail, in_short, skip, skip_inapplicable

#: A layer and a direction, in the name of a weight.
DIRECTION = re.compile(r"_l\d+(_reverse)?$")


HOLDS = "each parameter that the call reads gets a gradient"

#: The items of a list of modules that do not run, by the list's name.
Idle = dict[str, tuple[str, ...]]


def probe_gradient(baseline: Baseline) -> str:
    """Each parameter that this call read gets a gradient from some output, in training.

    None is a mistake if a small change moves such an output, and always in a layer or cell. Zeros
    are one in weights with two axes if what belongs to them gets zeros, too: an attention's bias
    rightly does. Both count if no other values change that.
    """
    run = gradients_in_training(baseline)
    got = run.got
    if run.error is not None:
        skip(f"the model does not train on this batch: {in_short(run.error)}")
    _check_registered(baseline, run)
    if {*got.values()} == {"some"}:
        return HOLDS
    if not got:
        skip_inapplicable("no weight of the model is trained")
    if "some" not in got.values():
        skip("no weight gets a gradient that is not zero")
    silent = {name for name in got if got[name] == "none"}
    zeros = {name for name in got if got[name] == "zero" and _is_suspicious(baseline, run, name)}
    ran = {event.name for event in baseline.events}  # in training, layers may be dropped
    suspects = zeros | (silent & (run.read - _cut_on_purpose(run)))
    suspects, idle = _confirmed(baseline, run, suspects, run.left_out(ran), ran)
    for name, items in idle.items():
        verb = "runs" if len(items) == 1 else "run"
        what = f"{_listed(items)} never {verb}, and other items of {name} do"
        fail("gradient", what, [("fix", f"for layer in self.{name}: x = layer(x)")])
    _check_silent(baseline, run, silent, suspects)
    _check_zeros(baseline, run, sorted(zeros & suspects))
    if unknown := [name for name in got if got[name] == "nan"]:
        skip(f"the gradient of {_listed(unknown)} is NaN")
    return HOLDS


def _check_registered(baseline: Baseline, run: Gradients) -> None:
    """Fail if a module that ran, and would learn, is registered nowhere."""
    if baseline.session.is_wrapped:
        return  # a call may run modules beside the model
    ours = [x for x in (run.model, *baseline.batch.leaves) if isinstance(x, Module)]
    known = {weight for module in ours for weight in module.parameters()}
    for stranger in dict.fromkeys(run.called):
        lost = [w for w in stranger.parameters() if w not in known and w.requires_grad]
        if any(slope is not None for slope in run.slopes(lost, run.output)):
            what = f"a module that runs ({type(stranger).__name__}) is not registered in the model"
            fix = "torch.nn.ModuleList([...]), or ModuleDict({...})"
            fail("gradient", f"{what}: no optimizer gets its weights", [("fix", fix)])


def _is_suspicious(baseline: Baseline, run: Gradients, name: str) -> bool:
    """Return whether zeros in the gradient of a parameter may be a mistake.

    They are none in a bias, after a single step, or beside a bias, or an expert, that learns.
    """
    weight = run.weights[name]
    module = dict(baseline.session.model.named_modules())[name.rpartition(".")[0]]
    is_torchs = type(module).__module__.startswith(("torch.nn.", "rnnkit"))
    axes = weight.dim() if is_torchs else weight.squeeze().dim()
    if axes < 2 or baseline.batch.longest == 1:
        return False
    learning = [other for other in run.got if run.got[other] == "some"]
    family = _family(name)
    expert = _without_number(name)
    return not any(_family(one) == family or _without_number(one) == expert for one in learning)


def _family(name: str) -> tuple[str, str]:
    """Return the module of a parameter, and its layer and direction in that."""
    return name.rpartition(".")[0], (DIRECTION.search(name) or [""])[0]


def _without_number(name: str) -> str:
    """Return a name that is the same for each item of a list."""
    return re.sub(r"\.\d+\.", ".", name)


def _cut_on_purpose(run: Gradients) -> set[str]:
    """Return the parameters that reach what forward detached, but for those of layers."""
    slopes = run.slopes([*run.weights.values()], run.detached)
    pairs = zip(run.weights, slopes, strict=True)
    return {name for name, slope in pairs if slope is not None} - run.in_layers


def _confirmed(
    baseline: Baseline, run: Gradients, suspects: set[str], idle: Idle, ran: set[str]
) -> tuple[set[str], Idle]:
    """Return the suspects, and idle items, that stay so with other values; skip if none run."""
    if not suspects and not idle:
        return suspects, idle
    others = [*trained_otherwise(baseline)]
    if not others:
        skip("the model takes no other values, so nothing confirms what gets no gradient")
    for other in others:
        suspects &= {n for n in other.read if other.got[n] in ("none", run.got[n])}
        idle = dict(idle.items() & other.left_out(ran).items())
    return suspects, idle


def _check_silent(baseline: Baseline, run: Gradients, silent: set[str], suspects: set[str]) -> None:
    """Fail if no gradient reaches a module whose weights move an output, or that is a layer."""
    left: dict[str, list[Line]] = {}
    for name in sorted(_tops(suspects & silent, run.got)):
        members = inside(name, run.got)
        moved = _moved(baseline, run, members)
        in_layer = bool(members & run.in_layers)
        if any(moved):
            left[name] = []
        elif in_layer and not moved:
            left[name] = [("fix", "use what it returns: no output changes with its weights")]
        else:
            continue
        silent = silent - members
    if silent:
        tops = _listed(_tops(silent, run.got))
        baseline.report.notes.append(f"no output of this call has a gradient in {tops}")
    if left:
        first, rows = next(iter(left.items()))
        what = f"no gradient reaches {_listed(left)}, though the call reads it"
        fail("gradient", what, rows, first)


def _moved(baseline: Baseline, run: Gradients, members: set[str]) -> list[bool]:
    """Change some parameters; return for each output that moved whether it has a graph."""
    copy = baseline.session.fresh().train()
    amount = 1.0 if members & run.in_layers else 1e-3
    for weight in map(copy.get_parameter, members):
        size = weight.data.abs().mean().clamp(min=0.1)
        weight.data = weight.data + amount * size
    changed = Gradients(baseline.batch, baseline.session, copy).output
    pairs = zip(run.output, changed, strict=False)
    return [x.requires_grad for x, y in pairs if isinstance(x, Tensor) and not same(x, y)]


def _check_zeros(baseline: Baseline, run: Gradients, names: list[str]) -> None:
    """Fail if weights get zeros: of a direction that nothing reads, or anywhere else."""
    if not names:
        return
    module, end = _family(names[0])
    families = {_family(name) for name in names}
    layer = dict(baseline.session.model.named_modules())[module]
    if getattr(layer, "bidirectional", False) and len(families) == 1:
        direction = "backward" if end.endswith("reverse") else "forward"
        number = end[2:].split("_")[0]
        what = f"nothing reads the {direction} direction of layer {number} of {module}"
        rows = [fix_of_direction(baseline, run, module)]
    else:
        what = f"the gradient of {_listed(names)} is exactly zero, for all values tried"
        rows = why_zero(baseline)
    is_one = {one for one, _ in families} == {module}
    fail("gradient", what, rows, module if is_one else "")


def _tops(names: Collection[str], every: Collection[str]) -> set[str]:
    """Return the largest modules with these parameters only, and those that are in none."""
    paths = [[*accumulate(name.split("."), "{}.{}".format)] for name in names]
    return {next(x for x in path if inside(x, every) <= {*names}) for path in paths}


def _listed(names: Collection[str]) -> str:
    first = sorted(names)[:NAMES]
    rest = len(names) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")
