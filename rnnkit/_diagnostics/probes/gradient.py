"""The probe *gradient*: each parameter that this call read learns from some output."""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module, ModuleList
from torch.utils import _pytree as pytree

from rnnkit._base.message import brief, count
from rnnkit._diagnostics.explain.gradient_causes import READ_BOTH, why_zero
from rnnkit._diagnostics.inputs.reading import bound_to
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.otherwise import runs_with_other_weights
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_in_training, names_inside
from rnnkit._diagnostics.run.outputs import same, tensors_of
from rnnkit._diagnostics.tell.outcome import Finding, Line, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import NAMES, in_short

#: A layer and a direction, in the name of a weight.
LAYER_AND_DIRECTION = re.compile(r"_l\d+(_reverse)?$")


HOLDS = "each parameter that the call reads gets a gradient"

#: By how much of its size a weight is moved: where that must show in an output, and where it may.
LARGE = 1.0
SMALL = 1e-3

#: The items of a list of modules that do not run, by the list's name.
Idle = dict[str, tuple[str, ...]]


def probe_gradient(baseline: Baseline) -> Outcome:
    """Each parameter that this call read gets a gradient from some output, in training.

    A parameter may get no gradient ("none"), zeros ("zero"), "nan" or "some". None is a mistake if
    an output with a graph moves with it, or if what its layer, or a module that is called, returns
    reaches no output. Zeros are one in a weight of two axes if nothing beside it learns: an
    attention's bias rightly gets zeros. Both count only if runs with other values show the same;
    the rest is noted. ``baseline`` is the model, a batch, and what it returned for that.
    """
    run = gradients_in_training(baseline)
    got = run.amounts
    if run.error is not None:
        return Skipped(f"the model fails in train mode: {in_short(run.error)}")
    finding = _unregistered(baseline, run)
    if finding is not None:
        return finding
    if {*got.values()} == {"some"}:
        return Passed(HOLDS, [])
    if not got:
        return Skipped("no weight of the model requires a gradient", "inapplicable")
    if "some" not in got.values():
        return Skipped("the gradient of every weight is zero or missing")
    # Parameters that are read and get no gradient (silent) or zeros, and modules that never run.
    suspects = _suspected(baseline, run)
    if isinstance(suspects, Skipped):
        return suspects
    notes = [_zero_in_this_call(suspects.zeros_here)] if suspects.zeros_here else []
    missing = chain(
        _idle_items(suspects.idle),
        _silent(baseline, run, suspects.silent),
        _zeros(baseline, run, suspects.zeros),
    )
    for found in missing:
        if isinstance(found, Finding):
            return found.noting(notes)
        notes.append(found)
    unknown = _getting(run, "nan")
    if unknown:
        return Skipped(f"the gradient of {_listed(unknown)} is NaN", notes=notes)
    but = ", but for what a note names" if notes else ""
    return Passed(f"{HOLDS}{but}", [], notes=notes)


def _getting(run: Gradients, *amounts: str) -> set[str]:
    """Return the names of the parameters that get such a gradient: none, zero, nan or some."""
    return {name for name, amount in run.amounts.items() if amount in amounts}


def _unregistered(baseline: Baseline, run: Gradients) -> Finding | None:
    """Return a finding if a module that ran, and would learn, is registered nowhere; else None.

    ``run`` has the modules that were called in a run with gradients. Modules among the inputs are
    known, and so are those that a user's ``call=`` runs beside the model.
    """
    given = [leaf for leaf in baseline.batch.leaves if isinstance(leaf, Module)]
    known = {*ModuleList([run.model, *given]).parameters()}
    # Also in lists and dictionaries.
    attributes = pytree.tree_leaves([vars(module) for module in Module.modules(run.model)])
    held = {one for one in attributes if isinstance(one, Module)}
    for stranger in dict.fromkeys(run.called):
        if baseline.session.own_call and stranger not in held:
            continue
        lost = [w for w in stranger.parameters() if w not in known and w.requires_grad]
        if run.reaches(run.output, lost):
            what = f"forward runs {brief(stranger)} that is not registered in the model"
            fix = "torch.nn.ModuleList([...]) or ModuleDict({...}) instead of a list or dict"
            return Finding(f"{what}: its weights are not in model.parameters()", fix=fix)
    return None


class _Suspects(NamedTuple):
    """Parameters and items that may be mistakes.

    Attributes:
        silent: names of parameters that the call reads and that get no gradient at all.
        zeros: names of parameters that get zeros only.
        idle: items of lists of modules that do not run while others do, by the list's name.
        zeros_here: names of parameters that get zeros, and more with other values, or may do so.
    """

    silent: set[str]
    zeros: set[str]
    idle: Idle
    zeros_here: set[str]


def _suspected(baseline: Baseline, run: Gradients) -> _Suspects | Skipped:
    """Return the suspects that stay so in runs with other values; skip if no other values run.

    ``run`` is the run in training with gradients. A parameter without a gradient is no suspect if
    what forward detached is computed from it, and a zero none if something beside it learns; an
    Embedding with a padding may have read nothing else.
    """
    # A detach excuses what it is computed from, but no recurrent layer or cell.
    cut_on_purpose = _slopes_in_weights(run, run.detached).keys() - run.in_layers
    silent = _getting(run, "none") & (run.used_weights - cut_on_purpose)
    every = {name for name in _getting(run, "zero") if _is_suspicious(baseline, run, name)}
    modules = dict(baseline.session.model.named_modules())
    zeros = {
        name
        for name in every
        if getattr(modules[name.rpartition(".")[0]], "padding_idx", None) is None
    }
    ran = {event.name for event in baseline.events}  # in training, layers may be dropped
    idle = run.idle_stack_items(ran)
    if not silent and not zeros and not idle:
        return _Suspects(silent, zeros, idle, every)
    if baseline.doubt:
        return Skipped(baseline.doubt)
    others = [*runs_with_other_weights(baseline)]
    if not others:
        reason = "the model accepts no other values, so a missing gradient cannot be confirmed"
        return Skipped(reason)
    for other in others:
        silent &= other.used_weights & _getting(other, "none")
        zeros &= other.used_weights & _getting(other, "none", "zero")
        idle = dict(idle.items() & other.idle_stack_items(ran).items())
    return _Suspects(silent, zeros, idle, every - zeros)


def _zero_in_this_call(names: Collection[str]) -> str:
    """Return a note of parameters that get zeros for a gradient, and need not be a mistake."""
    return f"the gradient of {_listed(names)} is zero in this call"


def _idle_items(idle: Idle) -> Iterator[Finding]:
    """Yield a finding for each list of modules where some items never run, and others do."""
    for name, items in idle.items():
        verb = "runs" if len(items) == 1 else "run"
        what = f"{_listed(items)} never {verb}, although other items of {name} do"
        yield Finding(what, fix=f"for layer in self.{name}: x = layer(x)")


def _is_suspicious(baseline: Baseline, run: Gradients, name: str) -> bool:
    """Return whether zeros in the gradient of the parameter ``name`` may be a mistake.

    They are none in a bias, after a single step, or beside a bias, or an expert, that learns: an
    expert is the same part of another item of a list of modules.
    """
    weight = run.weights[name]
    module = dict(baseline.session.model.named_modules())[name.rpartition(".")[0]]
    is_torchs = type(module).__module__.startswith(("torch.nn.", "rnnkit"))
    axes = weight.dim() if is_torchs else weight.squeeze().dim()
    if axes < 2 or baseline.batch.longest == 1:
        return False
    family = _family(name)
    expert = _without_number(name)
    learning = _getting(run, "some")
    return not any(_family(one) == family or _without_number(one) == expert for one in learning)


def _family(name: str) -> tuple[str, str]:
    """Return the family of a parameter: its module's name, and its layer and direction in that.

    Of ``lstm.weight_hh_l1_reverse``, it is ``("lstm", "_l1_reverse")``; "" where there are none.
    """
    return name.rpartition(".")[0], (LAYER_AND_DIRECTION.search(name) or [""])[0]


def _without_number(name: str) -> str:
    """Return a name that is the same for each item of a list."""
    return re.sub(r"\.\d+\.", ".", name)


def _silent(baseline: Baseline, run: Gradients, names: set[str]) -> Iterator[Finding | str]:
    """Yield modules that no gradient reaches, and a note of those that may do without.

    ``names`` are the parameters that the call reads, and that get none for any values; ``run`` is
    the run in training. A finding is about the largest modules without a parameter that gets any.
    """
    without = _getting(run, "none")
    missing: dict[str, list[Line]] = {}
    for name in sorted(_tops(names, run)):
        members = names_inside(name, run.amounts)
        rows = _why_silent(baseline, run, name, members)
        if rows is not None:
            missing[name] = rows
            without -= members
    if without:
        yield f"no gradient reaches {_listed(_tops(without, run))} in this call"
    for first, rows in missing.items():
        what = (
            f"no gradient reaches the weights of {_listed(missing)}, although this call uses them"
        )
        yield Finding(what, rows, first)


def _why_silent(
    baseline: Baseline, run: Gradients, name: str, members: set[str]
) -> list[Line] | None:
    """Return why a module gets no gradient, and what to do; None if it may do without one.

    It misses one if an output with a graph moves with its weights, or if nothing moves with them
    and it is a layer, or is called. ``members`` are its parameters, by name.
    """
    is_layer = bool(members & run.in_layers)
    is_called = name in {called for called, _ in run.returned}
    moved = _moved(baseline, run, members, LARGE if is_layer else SMALL)
    is_unused = not moved and is_layer
    if not moved and not is_layer and is_called:  # a threshold may pass a small change
        is_unused = not _moved(baseline, run, members, LARGE)
    if not is_unused and not any(moved):
        return None
    weights = [run.weights[member] for member in members]
    if is_unused and run.reaches(_left_on_model(run), weights):
        return None
    if is_unused:
        return [("fix", "use what it returns: so far, changing its weights changes no output")]
    for cut, tensor in run.noticed.cut_tensors.items():
        if run.reaches([tensor], weights):
            return [("cause", f"the graph is {cut}: use a value there that keeps its graph")]
    return []


def _left_on_model(run: Gradients) -> list[Tensor]:
    """Return tensors that a loss may take: what the model returned, and left in its attributes.

    A user's ``call=`` may leave out what the model returned.
    """
    modules = Module.modules(run.model)
    held = tensors_of([value for module in modules for value in vars(module).values()])
    made = [x for x in held if x.grad_fn is not None]
    return [*tensors_of(run.returned.get(("", 0))), *made]


def _is_first_step(baseline: Baseline) -> bool:
    """Return whether features, ``(batch, feature)``, go in, and no value for some argument.

    A cell that makes its state of zeros gets a zero gradient in the weights that multiply it.
    """
    data = baseline.batch.leaves[baseline.batch.first]
    session = baseline.session
    bound = bound_to(session.model, session.own_call, baseline.batch.tree())
    left = [one for one in bound.signature.parameters.values() if one.name not in bound.arguments]
    is_of_features = data.dim() == 2 and data.is_floating_point()
    return is_of_features and any(one.default is None for one in left)


def _slopes_in_weights(run: Gradients, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the gradients of some outputs in the parameters, by name, where one arrives."""
    slopes = run.slopes([*run.weights.values()], outputs)
    pairs = zip(run.weights, slopes, strict=True)
    return {name: slope for name, slope in pairs if slope is not None}


def _reached_besides(run: Gradients) -> set[str]:
    """Return the names of parameters that get more than zeros from all that the model returned.

    A user's ``call=`` may leave out a part of that.
    """
    slopes = _slopes_in_weights(run, tensors_of(run.returned.get(("", 0))))
    return {name for name, slope in slopes.items() if slope.any()}


def _moved(baseline: Baseline, run: Gradients, members: set[str], amount: float) -> list[bool]:
    """Change some parameters; return for each output that moved whether it has a graph.

    ``members`` are their names; each is moved by up to ``amount`` times its mean size, and not all
    numbers by the same: argmax and softmax do not see what is added to all scores.
    """
    copy = baseline.session.fresh(training=True)
    weights = dict(copy.named_parameters())  # a ScriptModule has no get_parameter
    for weight in map(weights.__getitem__, members):
        size = weight.data.abs().mean().clamp(min=0.1)
        parts = torch.linspace(-1, 1, weight.numel(), device=weight.device, dtype=weight.dtype)
        weight.data = weight.data + amount * size * parts.view_as(weight)
    changed = Gradients(baseline.batch, baseline.session, copy).output
    pairs = zip(run.output, changed, strict=False)
    return [x.requires_grad for x, y in pairs if isinstance(x, Tensor) and not same(x, y)]


def _zeros(baseline: Baseline, run: Gradients, zeros: set[str]) -> Iterator[Finding | str]:
    """Yield a finding of weights that get zeros: of a direction that nothing reads, or others.

    ``zeros`` are those weights; if they are of one layer and direction, that is named. A note names
    those that a loss may reach by what ``call=`` left out, and those of one step from the initial
    state; ``run`` is the run in training.
    """
    elsewhere = zeros if _is_first_step(baseline) else zeros & _reached_besides(run)
    if elsewhere:
        yield _zero_in_this_call(elsewhere)
    names = zeros - elsewhere
    if not names:
        return
    module, end = _family(min(names))
    families = {_family(name) for name in names}
    layer = dict(baseline.session.model.named_modules())[module]
    if getattr(layer, "bidirectional", False) and len(families) == 1:
        direction = "backward" if end.endswith("reverse") else "forward"
        number = end[2:].split("_")[0]
        what = f"nothing reads the {direction} direction of layer {number} of {module}"
        rows = [("fix", READ_BOTH)]
    else:
        what = f"the gradient of {_listed(names)} is exactly zero, for all values tried"
        rows = why_zero(baseline)
    is_one = {one for one, _ in families} == {module}
    yield Finding(what, rows, module if is_one else "")


def _tops(names: Collection[str], run: Gradients) -> set[str]:
    """Return the names of the largest modules with these parameters only, or of the parameters.

    ``names`` are the parameters, of those of the ``run``.
    """
    paths = [[*accumulate(name.split("."), "{}.{}".format)] for name in names]
    return {next(x for x in path if names_inside(x, run.amounts) <= {*names}) for path in paths}


def _listed(names: Collection[str]) -> str:
    """Write some names, in their order and the first ones only, with the number of the others."""
    first = sorted(names)[:NAMES]
    rest = len(names) - NAMES
    return ", ".join(first) + (f" and {count(rest, 'other', 'others')}" if rest > 0 else "")
