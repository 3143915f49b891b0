"""The probe *gradient*: what recurrent modules, and then all parameters, learn from."""

from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.module_calls import each_call, trained
from rnnkit._diagnostics.report import NO_GRADIENT, fail, in_short, note, skip
from rnnkit._diagnostics.slopes import Gradients, gradients_of, loops_of
from rnnkit._diagnostics.untrained import find_untrained


def probe_gradient(baseline: Baseline) -> str:
    """Each parameter that this call read gets a gradient from some output, in training."""
    training = gradients_of(baseline)
    reached = training.reached() if training.mode == "both" else None
    weights = [weight for module, _ in training.ran.values() for weight in trained(module)]
    if reached is None or training.error or not reached.issuperset(map(id, weights)):
        training = Gradients(baseline.batch, baseline.session, loops_of(baseline), mode="train")
        reached = training.reached()
    if training.error is not None:
        skip(f"the model does not train on this batch: {in_short(training.error)}")
    if reached is None and training.ran:
        skip(NO_GRADIENT)
    names = {id(module): name for name, module in reversed(training.registered)}
    for key, (module, with_gradient) in training.ran.items():
        name, kind, weights = names.get(key), type(module).__name__, trained(module)
        learns = any(id(weight) in (reached or ()) for weight in weights)
        label, what = name or f"a {kind}", f"no gradient reaches {name or 'the model'} ({kind})"
        if name is None and learns:
            fix = ("fix", "torch.nn.ModuleList([...]), or ModuleDict({...})")
            what = f"a {kind} that runs is not registered in the model"
            fail("gradient", f"{what}: no optimizer gets its weights", [fix])
        if not weights or learns:
            continue
        if not with_gradient:
            note(baseline.report, f"{label} runs without gradients, though its weights want some")
        elif name is not None and baseline.batch.steps == 1:
            note(baseline.report, f"{what}: of one step, no next one takes its state")
        elif name is not None and _gives_targets(baseline, training, name):
            note(baseline.report, f"{what}: the outputs that it makes have none")
        elif name is not None:
            text = "what it returns is unused, or cut off: detach, .data, argmax, .item()"
            fail("gradient", f"{what} from any output", [("means", text)], name)
    for key, cut in training.cut.items():
        if len(cut) > 1 and all(cut):
            text = f"the state of {names.get(key) or 'the model'} is detached at each step"
            note(baseline.report, f"{text}: no gradient goes through")
    every = [module for _, module in training.registered]
    for name, module in training.registered:
        is_idle = id(module) not in training.ran and every.count(module) == 1
        learns = any(id(weight) in (reached or ()) for weight in trained(module))
        if is_idle and trained(module) and not learns:
            kind = type(module).__name__
            note(baseline.report, f"{name} ({kind}) was neither called nor got a gradient")
    # What *use* finds says more than the weights that it leaves without a gradient.
    if not baseline.report.found("use") and find_untrained(baseline):
        return "each parameter that the call reads gets a gradient"
    if not training.ran:
        skip(NO_GRADIENT)
    return "each recurrent module gets a gradient"


def _gives_targets(baseline: Baseline, training: Gradients, name: str) -> bool:
    """Return whether only outputs without a gradient depend on a module, as a teacher's."""

    def turn(_: int, made: Any) -> Any:
        return pytree.tree_map_only(Tensor, lambda x: -x if x.is_floating_point() else x, made)

    moved = baseline.session.attempt(baseline.batch.tree(), each_call(name, after=turn)) or []
    pairs = zip(baseline.normal, moved, training.output, strict=False)
    changed = [made for one, other, made in pairs if not alike([one], [other])]
    return bool(changed) and not any(isinstance(x, Tensor) and x.requires_grad for x in changed)
