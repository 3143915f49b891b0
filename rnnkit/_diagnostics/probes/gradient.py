"""The probe *gradient*: in training, what a recurrent module has learned from."""

import threading
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNCellBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.events import looping
from rnnkit._diagnostics.isolation import private
from rnnkit._diagnostics.module_calls import (
    KINDS,
    EveryCall,
    each_call,
    has_recurrence,
    hooked,
    named_arguments,
    trained,
)
from rnnkit._diagnostics.outputs import leaves, named_leaves, tensors_of
from rnnkit._diagnostics.report import fail, in_short, note, skip


class _Training:
    """One forward and backward pass of a copy in train mode.

    Attributes:
        registered: the recurrent modules that are, by each of their names.
        names: the first name of each, by its id.
        ran: the recurrent modules that ran, and whether gradients were on for them.
        cut: of the cells that ran, of each call but the first, whether the state that it was given
            is what the call before returned, and hangs on no graph.
        targets: of the leaves of the output, whether they have no gradient.
        reached: the ids of the weights that got a gradient; None if no output has one.
    """

    def __init__(self, baseline: Baseline, loops: Collection[str]) -> None:
        """Run, minding layers and cells and what else has a state; the copy is thrown away."""
        session = baseline.session
        copy, _ = session.pristine.copy()
        modules = copy.named_modules(remove_duplicate=False)
        self.registered = [
            (name, one) for name, one in modules if isinstance(one, KINDS) or name in loops
        ]
        self.names = {id(module): name for name, module in reversed(self.registered)}
        self.ran: dict[int, tuple[Any, bool]] = {}
        self.cut: dict[int, list[bool]] = {}
        self._returned: dict[int, Tensor] = {}
        thread = threading.get_ident()

        def write_down(module: Any, *_: Any) -> None:
            self.ran.setdefault(id(module), (module, torch.is_grad_enabled()))

        def hear(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            if threading.get_ident() == thread and isinstance(module, KINDS):
                write_down(module)
                if isinstance(module, RNNCellBase):
                    self._follow(module, named_arguments(args, kwargs).get("hx"), output)

        given, _ = private(baseline.batch.tree())
        session.passes += 1
        with session.watched(), torch.enable_grad():
            handles: list[Any] = [EveryCall(hear)]
            for _, module in self.registered:
                handles += hooked(module, partial(write_down, module))
            try:
                output = session.call(copy.train(), *given.args, **given.kwargs)
            finally:
                for handle in handles:
                    handle.remove()
            named = named_leaves(output, stack=True)
            self.targets = [isinstance(x, Tensor) and not x.requires_grad for _, x in named]
            told = [leaf for leaf in tensors_of(output) if leaf.requires_grad]
            weights = [weight for module, _ in self.ran.values() for weight in trained(module)]
            self.reached: set[int] | None = None
            if told and weights:
                total = torch.stack([leaf.double().sum() for leaf in told]).sum()
                found = torch.autograd.grad(total, weights, allow_unused=True)
                pairs = zip(weights, found, strict=True)
                self.reached = {id(weight) for weight, slope in pairs if slope is not None}

    def _follow(self, cell: Any, state: Any, output: Any) -> None:
        """Compare the state that a cell is given with what it returned before."""
        before = self._returned.get(id(cell))
        given = [h for h in leaves(state)[:1] if isinstance(h, Tensor)]
        if before is not None and before.requires_grad:
            is_cut = any(not h.requires_grad and torch.equal(h, before.detach()) for h in given)
            self.cut.setdefault(id(cell), []).append(is_cut)
        self._returned |= {id(cell): h for h in tensors_of(output)[:1]}


def probe_gradient(baseline: Baseline) -> str:
    """Each recurrent module that ran in training gets a gradient from some output."""
    try:
        known = has_recurrence(baseline.session.model)
        training = _Training(baseline, () if known else looping(baseline.events))
    except Exception as error:  # noqa: BLE001 - it may run in eval mode alone
        skip(f"the model does not train on this batch: {in_short(error)}")
    if not training.ran:
        skip("no module with a state ran")
    if training.reached is None:
        skip("no output of the model, or no weight, has a gradient")
    for key, (module, with_gradient) in training.ran.items():
        name, kind, weights = training.names.get(key), type(module).__name__, trained(module)
        learns = any(id(weight) in training.reached for weight in weights)
        if name is None and learns:
            what = f"a {kind} that runs is not registered in the model"
            fix = ("fix", "torch.nn.ModuleList([...]), or ModuleDict({...})")
            fail("gradient", f"{what}: no optimizer gets its weights", [fix])
        if not weights or learns:
            continue
        what = f"no gradient reaches {name or 'the model'} ({kind})"
        if not with_gradient:
            label = name or f"a {kind}"
            note(baseline.report, f"{label} runs without gradients, though its weights want some")
        elif name is not None and baseline.batch.steps == 1:
            note(baseline.report, f"{what}: of one step, no next one takes its state")
        elif name is not None and _gives_targets(baseline, training, name):
            note(baseline.report, f"{what}: the outputs that it makes have none")
        elif name is not None:
            text = "what it returns is unused, or cut off: detach, .data, argmax, .item()"
            fail("gradient", f"{what} from any output", [("means", text)], name)
    for text in _remarks(training, training.reached):
        note(baseline.report, text)
    return "each recurrent module gets a gradient"


def _gives_targets(baseline: Baseline, training: _Training, name: str) -> bool:
    """Return whether only outputs without a gradient depend on a module, as a teacher's."""

    def turn(_: int, made: Any) -> Any:
        return pytree.tree_map_only(Tensor, lambda x: -x if x.is_floating_point() else x, made)

    watch = each_call(name, after=turn)
    moved = baseline.session.attempt(baseline.batch.tree(), watch=watch) or []
    pairs = zip(baseline.normal, moved, training.targets, strict=False)
    changed = [is_target for one, other, is_target in pairs if not alike([one], [other])]
    return bool(changed) and all(changed)


def _remarks(training: _Training, reached: set[int]) -> Iterator[str]:
    """Yield what may be meant: states that are detached, modules of two names, or that are idle."""
    for key, cut in training.cut.items():
        if len(cut) > 1 and all(cut):
            label = training.names.get(key) or "the model"
            yield f"the state of {label} is detached at each step: no gradient goes through"
    names: dict[int, list[str]] = {}
    for name, module in training.registered:
        names.setdefault(id(module), []).append(name)
        weights, is_shared = trained(module), len(names[id(module)]) > 1
        is_idle = id(module) not in training.ran and weights and not is_shared
        if is_idle and not any(id(weight) in reached for weight in weights):
            yield f"{name} ({type(module).__name__}) was neither called nor got a gradient"
    for shared in names.values():
        if len(shared) > 1:
            yield f"{' and '.join(shared[:3])} are one module, with one set of weights"
