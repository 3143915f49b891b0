"""Why a leak is there: what is suspected is undone on copies, and named if the leak is gone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.module_calls import is_backward, mapped, rows_of
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.report import Line

#: Says whether what the model returns, without and with the change, has no leak: each output with
#: its batch axis.
Clean = Callable[[Tensor, Tensor, int], bool]


class Suspicion(NamedTuple):
    """Something that may be the cause, and how to undo it.

    Attributes:
        rows: what a message says if it is.
        before: a hook that changes what a layer is given.
        after: a hook that changes what it returns.
    """

    rows: list[Line]
    before: Callable[..., Any] | None = None
    after: Callable[..., Any] | None = None

    def undone(self, names: Sequence[str]) -> Watch:
        """Return what undoes it on a copy, at some layers."""

        def watch(model: torch.nn.Module) -> list[Any]:
            hooks: list[Any] = []
            for name in names:
                layer = model.get_submodule(name)
                if self.before:
                    hooks.append(layer.register_forward_pre_hook(self.before))
                if self.after:
                    hooks.append(layer.register_forward_hook(self.after))
            return hooks

        return watch


def confirm(
    perturbed: PerturbedRun,
    suspicion: Suspicion | None,
    layers: Sequence[Sequence[str]],
    clean: Clean,
) -> list[Line]:
    """Undo what is suspected; return what a message says, if the leak is then gone."""
    if suspicion is None:
        return []
    for names in layers:
        if (outputs := perturbed.both(suspicion.undone(names))) is None:
            continue
        if is_gone(perturbed, outputs, clean):
            return suspicion.rows
    return []


def is_gone(perturbed: PerturbedRun, outputs: tuple[Leaves, Leaves], clean: Clean) -> bool:
    """Return whether there is no leak in outputs without and with the change, of those judged."""
    baseline, (before, after) = perturbed.baseline, outputs
    judged = [
        clean(before[index], after[index], axis)
        for index, axis in baseline.judged()
        if index < min(len(before), len(after))
        and isinstance(before[index], Tensor)
        and before[index].shape == baseline.normal[index].shape
        and before[index].shape == after[index].shape
    ]
    return bool(judged) and all(judged)


def other_layout(event: Event, given: Event, axis: int | None) -> Suspicion | None:
    """Suspect that a layer reads the batch axis of its input as seq."""
    module = event.module
    # What was packed has no axes of its own to be taken for each other.
    if not isinstance(module, RNNBase) or axis is None or given.is_packed:
        return None
    seq = 1 if module.batch_first else 0
    if given.tensors[0].dim() == 2:
        rows = [
            (
                "cause",
                f"{event.label} reads axis 0 of its 2-D input as seq, but the batch is there",
            ),
            ("fix", f"input.unsqueeze({seq}) for one step, input.unsqueeze(-1) for a series"),
        ]
        return Suspicion(
            rows,
            lambda _, args: (args[0].unsqueeze(seq), *args[1:]),
            lambda _, __, result: mapped(result, output=lambda output: output.squeeze(seq)),
        )
    if axis != seq:
        return None
    option = f"batch_first={not module.batch_first}"
    rows = [
        ("cause", f"{event.label} reads axis {axis} of its input as seq, but the batch is there"),
        ("fix", f"{event.class_name}(..., {option}), or input.transpose(0, 1)"),
    ]
    return Suspicion(
        rows,
        _turned,
        lambda _, __, result: mapped(result, output=lambda output: output.transpose(0, 1)),
    )


def _turned(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Exchange the first axes of an input; a state that does not fit it any more is left out."""
    input, *others = args
    turned = input.transpose(0, 1)
    batch = {part.shape[-2] for part in pytree.tree_leaves(others) if isinstance(part, Tensor)}
    fits = batch <= {turned.shape[0 if module.batch_first else 1]}
    return (turned, *others) if fits else (turned,)


def later_steps(event: Event, given: Event) -> Suspicion | None:
    """Suspect that a layer reads the later steps: backwards, or in the state that it is given."""
    module = event.module
    if isinstance(module, RNNBase) and module.bidirectional:
        read = "is bidirectional: its backward direction has read the later steps"
        rows = [
            ("cause", f"{event.label} {read}"),
            ("fix", f"{event.class_name}(..., bidirectional=False)"),
        ]
        return Suspicion(rows, None, _forward_only)
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        rows = [("cause", f"the state given to {event.label} has read the later steps")]
        return Suspicion(rows, lambda _, args: args[:1])
    return None


def _forward_only(module: torch.nn.Module, _: Any, result: Any) -> Any:
    """Blank what the backward direction gave."""

    def blank(state: Tensor) -> Tensor:
        return state.masked_fill(rows_of(module, state) % 2 == 1, 0)

    return mapped(
        result, output=lambda data: data.masked_fill(is_backward(data), 0.0), h=blank, c=blank
    )


def clean_samples(changed: int) -> Clean:
    """Return what says whether a sample alone has changed."""

    def clean(before: Tensor, after: Tensor, axis: int) -> bool:
        moved = [
            not same(before.select(axis, k), after.select(axis, k))
            for k in range(before.shape[axis])
        ]
        return moved[changed] and sum(moved) == 1

    return clean


def clean_steps(cut: int, seq: int) -> Clean:
    """Return what says whether the steps from a cut alone have changed."""

    def clean(before: Tensor, after: Tensor, axis: int) -> bool:  # noqa: ARG001
        if before.dim() <= seq or before.shape[seq] <= cut:
            return True
        early, late = ((0, cut), (cut, before.shape[seq] - cut))
        return same(before.narrow(seq, *early), after.narrow(seq, *early)) and not same(
            before.narrow(seq, *late), after.narrow(seq, *late)
        )

    return clean
