"""The probe *gradient*: in training, what a recurrent module has learned from."""

import itertools
import threading
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNCellBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import alike
from rnnkit._diagnostics.events import looping, record
from rnnkit._diagnostics.isolation import private
from rnnkit._diagnostics.module_calls import (
    KINDS,
    each_call,
    has_recurrence,
    hooked,
    named_arguments,
    trained,
)
from rnnkit._diagnostics.outputs import leaves, named_leaves
from rnnkit._diagnostics.report import fail, in_short, note, skip


class _Training:
    """One forward and backward pass of a copy in train mode.

    Attributes:
        ran: the recurrent modules that ran, and whether gradients were on for them.
        names: of those that are registered.
        registered: the recurrent modules that are, by each of their names.
        targets: of the leaves of the output, whether they have no gradient.
        reached: the ids of the weights that got a gradient; None if no output has one.
        cut: of the cells that ran, of each call but the first, whether the state that it was given
            is what the call before returned, and hangs on no graph.
    """

    def __init__(self, baseline: Baseline, loops: Collection[str]) -> None:
        """Run, minding layers and cells and what else has a state; the copy is thrown away."""
        session = baseline.session
        copy, _ = session.pristine.copy()
        self.names = {id(module): name for name, module in copy.named_modules()}
        self.registered = [
            (name, module)
            for name, module in copy.named_modules(remove_duplicate=False)
            if isinstance(module, KINDS) or name in loops
        ]
        self.ran: dict[int, tuple[Any, bool]] = {}
        self.cut: dict[int, list[bool]] = {}
        self._returned: dict[int, Tensor] = {}
        thread = threading.get_ident()

        def write_down(module: Any, *_: Any) -> None:
            self.ran.setdefault(id(module), (module, torch.is_grad_enabled()))

        def hear(module: Any, _: Any) -> None:
            if threading.get_ident() == thread and isinstance(module, KINDS):
                write_down(module)

        def follow(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            self._follow(module, named_arguments(args, kwargs).get("hx"), output)

        given, _ = private(baseline.batch.tree())
        with session.watched():
            cells = {id(one): one for _, one in self.registered if isinstance(one, RNNCellBase)}
            handles = [
                register_module_forward_pre_hook(hear),
                *itertools.chain(
                    *(hooked(one, partial(write_down, one)) for _, one in self.registered)
                ),
                *(one.register_forward_hook(follow, with_kwargs=True) for one in cells.values()),
            ]
            try:
                with torch.enable_grad():
                    session.passes += 1
                    output = session.call(copy.train(), *given.args, **given.kwargs)
            finally:
                for handle in handles:
                    handle.remove()
            self.reached = self._backward(output)

    def _follow(self, cell: Any, state: Any, output: Any) -> None:
        """Compare the state that a cell is given with what it returned before."""
        given, returned = (
            [h for h in leaves(one)[:1] if isinstance(h, Tensor)] for one in (state, output)
        )
        before = self._returned.get(id(cell))
        if before is not None and before.requires_grad:
            is_cut = any(not h.requires_grad and torch.equal(h, before.detach()) for h in given)
            self.cut.setdefault(id(cell), []).append(is_cut)
        self._returned |= {id(cell): h for h in returned}

    def _backward(self, output: Any) -> set[int] | None:
        named = named_leaves(output, stack=True)
        self.targets = [isinstance(x, Tensor) and not x.requires_grad for _, x in named]
        told = [leaf for leaf in leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
        weights = [weight for module, _ in self.ran.values() for weight in trained(module)]
        if not told or not weights:
            return None
        total = torch.stack([leaf.double().sum() for leaf in told]).sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        pairs = zip(weights, gradients, strict=True)
        return {id(weight) for weight, gradient in pairs if gradient is not None}


def probe_gradient(baseline: Baseline) -> str:
    """Each recurrent module that ran in training gets a gradient from some output."""
    report = baseline.report
    try:
        given = baseline.batch.tree()
        known = has_recurrence(baseline.session.model)
        training = _Training(baseline, () if known else looping(record(baseline.session, given)))
    except Exception as error:  # noqa: BLE001 - it may run in eval mode alone
        skip(f"the model does not train on this batch: {in_short(error)}")
    if not training.ran:
        skip("no module with a state ran")
    if training.reached is None:
        skip("no output of the model, or no weight, has a gradient")
    for key, (module, with_gradient) in training.ran.items():
        name, kind = training.names.get(key), type(module).__name__
        weights = trained(module)
        learns = any(id(weight) in training.reached for weight in weights)
        if not weights:
            continue
        if name is None and learns:
            what = (
                f"a {kind} that runs is not registered in the model: no optimizer gets its weights"
            )
            fail("gradient", what, [("fix", "torch.nn.ModuleList([...]), or ModuleDict({...})")])
        elif not learns and not with_gradient:
            label = name or f"a {kind}"
            note(report, f"{label} runs without gradients, though its weights want some")
        elif not learns and name is not None:
            what = f"no gradient reaches {name or 'the model'} ({kind})"
            _fail_or_note(baseline, training, what, name)
    for text in (*_detached(training), *_idle(training, training.reached)):
        note(report, text)
    return "each recurrent module gets a gradient"


def _gives_targets(baseline: Baseline, training: _Training, name: str) -> bool:
    """Return whether only outputs without a gradient depend on a module, as a teacher's."""
    turned: Any = lambda _, made: pytree.tree_map_only(Tensor, _turned, made)  # noqa: E731
    watch = each_call(name, after=turned)
    moved = baseline.session.attempt(baseline.batch.tree(), watch=watch) or []
    pairs = zip(baseline.normal, moved, training.targets, strict=False)
    changed = [is_target for one, other, is_target in pairs if not alike([one], [other])]
    return bool(changed) and all(changed)


def _turned(tensor: Tensor) -> Tensor:
    return -tensor if tensor.is_floating_point() else tensor


def _fail_or_note(baseline: Baseline, training: _Training, what: str, name: str) -> None:
    """Fail, unless there is one step, or outputs are made without: that may be meant."""
    if baseline.batch.steps == 1:
        note(baseline.report, f"{what}: of one step, no next one takes its state")
        return
    if _gives_targets(baseline, training, name):
        note(baseline.report, f"{what}: the outputs that it makes have none")
        return
    rows = [("means", "what it returns is unused, or cut off: detach, .data, argmax, .item()")]
    fail("gradient", f"{what} from any output", rows, name)


def _detached(training: _Training) -> Iterator[str]:
    """Return the cells whose states have no gradient in the one before: that may be meant."""
    for key, cut in training.cut.items():
        if len(cut) > 1 and all(cut):
            label = training.names.get(key) or "the model"
            yield f"the state of {label} is detached at each step: no gradient goes through"


def _idle(training: _Training, reached: set[int]) -> Iterator[str]:
    """Say which recurrent modules have two names, and which did not run: often they are right."""
    names: dict[int, list[str]] = {}
    for name, module in training.registered:
        names.setdefault(id(module), []).append(name)
        weights = trained(module)
        idle = id(module) not in training.ran and len(names[id(module)]) == 1
        if idle and weights and not any(id(weight) in reached for weight in weights):
            yield f"{name} ({type(module).__name__}) was neither called nor got a gradient"
    for shared in names.values():
        if len(shared) > 1:
            yield f"{' and '.join(shared[:3])} are one module, with one set of weights"
