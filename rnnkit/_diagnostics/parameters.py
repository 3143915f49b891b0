"""One run in training: what each parameter gets from the outputs, which are read, and what ran."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, steps_from
from rnnkit._diagnostics.events import Event, Recorder
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.judge import open_wide
from rnnkit._diagnostics.outputs import widest
from rnnkit._diagnostics.slopes import Gradients, edge, nodes


class _Reads(TorchFunctionMode):
    """Notes which tensors a function made something with a graph of, and what is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.detached = set[int](), list[Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        result = func(*args, **(kwargs or {}))
        if name in ("detach", "detach_"):
            self.detached += args[:1]
        elif name not in ("__get__", "requires_grad_") and any(
            part.requires_grad for part in _tensors(result)
        ):
            self.read.update(map(id, _tensors((args, kwargs))))
        return result


class Trained:
    """What the parameters got in one run of a copy in training, by their names, and what ran.

    ``got`` is ``"some"``, ``"none"`` or ``"zero"``; ``read`` are those that a function, or a module
    of torch or rnnkit, made something with a graph of, ``cut`` those that forward detached, and
    ``wide`` those with two axes: of torch's and rnnkit's modules all, of others the longer ones.
    ``idle`` are the items of each list of modules that did not run, and ``stacks`` the lists of
    which some did, one with what another one returned.
    """

    def __init__(self, session: Session, batch: Batch, moved: int = 0, seed: int = 0) -> None:
        """Run a copy, its parameters moved by ``moved`` (1, -1 or 0)."""
        generator, reads = torch.Generator("cpu").manual_seed(seed), _Reads()
        modules, recorder = dict(session.model.named_modules()), Recorder()

        def watch(copy: nn.Module) -> list[Any]:
            for weight in copy.parameters() if moved else ():
                if weight.requires_grad and weight.numel():
                    noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
                    size = 0.1 + weight.data.abs().mean().nan_to_num()
                    weight.data = moved * weight.data + noise * size
            return recorder.watch(copy)

        self.run = Gradients(batch, session, train=True, watch=watch, reads=reads)
        weights, called = self.run.weights, {"", *(event.name for event in recorder.events)}
        self.got = got_in(self.run)
        known = {
            name
            for name in weights
            if type(modules[owner(name)]).__module__.startswith(("torch.nn.", "rnnkit"))
        }
        self.read = {n for n, weight in weights.items() if id(weight) in reads.read} | {
            n
            for n, found in self.got.items()
            # The kernels of a layer or cell may be no functions of torch's.
            if owner(n) in self.run.ran or (n in known and owner(n) in called and found != "none")
        }
        edges = nodes(map(edge, reads.detached))
        detached = {id(getattr(node, "variable", None)) for node, _ in edges}
        self.cut = {name for name, weight in weights.items() if id(weight) in detached}
        self.wide = {
            n
            for n, x in weights.items()
            if (x.dim() if n in known else sum(k > 1 for k in x.shape)) > 1
        }
        self.idle = {
            name: frozenset(
                f"{name}.{key}"
                for key, _ in module.named_children()
                if not any(f"{x}.".startswith(f"{name}.{key}.") for x in called | self.read)
            )
            for name, module in modules.items()
            if isinstance(module, nn.ModuleList) and any(True for _ in module.parameters())
        }
        self.stacks = set(
            _stacks(recorder.events, {name for name, items in self.idle.items() if items})
        )


def got_in(run: Gradients) -> dict[str, str]:
    """Return whether the gradient of each parameter in a run is none, zero, or some."""
    slopes = {name: run.whole[id(weight)] for name, weight in run.weights.items()}
    return {
        name: "none" if x is None else "zero" if _is_zero(x) else "some"
        for name, x in slopes.items()
    }


def _is_zero(slope: Tensor) -> bool:
    return slope.layout is torch.strided and not bool(slope.any())


def owner(name: str) -> str:
    """Return the module of a parameter."""
    return name.rpartition(".")[0]


def _stacks(events: list[Event], lists: set[str]) -> Iterator[str]:
    """Yield the lists in which an item reads what another one returned."""
    for where in lists:
        made: dict[Any, str] = {}
        for event in (one for one in events if owner(one.name) == where):
            edges, name = list(map(edge, _tensors(event.tree))), event.name
            if event.kind == "output":
                made |= {one: name for one in edges if one[0] is not None}
            elif any(made.get(one, name) != name for one in nodes(edges)):
                yield where
                break


def trained_otherwise(baseline: Baseline) -> Iterator[Trained]:
    """Yield the same for other values of the parameters and the inputs, as far as it runs."""
    session, batch = baseline.session, baseline.batch
    drawn = [batch.with_leaves(_redrawn(batch, seed)) for seed in range(3)]
    tried = [(session, batch, 1), (session, drawn[0], -1), (session, drawn[1], 1)]
    for axis in (0, 1, 2):  # one sentence, or one step, tells nothing of what joins several
        leaves = [_doubled(x, axis) for x in batch.leaves]
        if any(one is not x for one, x in zip(leaves, batch.leaves, strict=True)):
            tried.append((session, batch.with_leaves(leaves), 1))
    try:
        leaves = [widest(x) if isinstance(x, Tensor) else x for x in drawn[2].leaves]
        tried.append((open_wide(session, torch.float64), batch.with_leaves(leaves), 0))
    except Exception:  # noqa: BLE001, S110 - a model may insist on its own precision as it likes
        pass
    runs = (Trained(*one, seed) for seed, one in enumerate(tried))
    return (one for one in runs if one.run.error is None and any(map(_has_graph, one.run.output)))


def _has_graph(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


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


def _tensors(tree: Any) -> list[Tensor]:
    return [part for part in pytree.tree_leaves(tree) if isinstance(part, Tensor)]
