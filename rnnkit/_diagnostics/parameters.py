"""What the parameters of a model get from its outputs, which of them are read, and what ran."""

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, steps_from
from rnnkit._diagnostics.judge import for_other_sizes
from rnnkit._diagnostics.module_calls import KINDS
from rnnkit._diagnostics.outputs import tensors_of
from rnnkit._diagnostics.slopes import Gradients, nodes


class Learned:
    """What the parameters got in one run in training, by their names.

    Attributes:
        got: ``"some"``, ``"none"`` or ``"zero"``.
        in_layers: those of layers and cells that returned something with a graph.
        read: those that a function, too, made something with a graph of.
    """

    def __init__(self, run: Gradients) -> None:
        """Ask for the gradients."""
        self.run, slopes = run, {n: run.whole[id(weight)] for n, weight in run.weights.items()}
        self.got = {
            name: "none" if x is None else "some" if x.is_sparse or bool(x.any()) else "zero"
            for name, x in slopes.items()
        }
        # The kernels of a layer or cell may be no functions of torch's.
        self.in_layers = {
            one
            for (name, _), result in run.returned.items()
            if isinstance(run.model.get_submodule(name), KINDS)
            and any(x.requires_grad for x in tensors_of(result))
            for one in inside(name, self.got)
        }
        noted = {n for n, weight in run.weights.items() if id(weight) in run.reads.read}
        self.read = self.in_layers | noted | {n for n, one in self.got.items() if one != "none"}

    def cut(self) -> set[str]:
        """Return the parameters that forward detached, or what it made of them."""
        found = {id(getattr(node, "variable", None)) for node, _ in nodes(self.run.reads.detached)}
        return {name for name, weight in self.run.weights.items() if id(weight) in found}

    def idle(self, ran: Collection[str] = ()) -> dict[str, list[str]]:
        """Return the items of lists of modules that do not run, beside some names that did."""
        called = [*ran, *self.read, *(name for name, _ in self.run.returned)]
        return {
            name: [
                f"{name}.{key}"
                for key, item in module.named_children()
                if any(True for _ in item.parameters()) and not inside(f"{name}.{key}", called)
            ]
            for name, module in self.run.model.named_modules()
            if isinstance(module, nn.ModuleList)
        }

    def is_stack(self, name: str) -> bool:
        """Return whether an item of a list of modules reads what another one returned."""
        weights, items = self.run.weights, inside(name, self.run.weights)
        for (one, _), result in self.run.returned.items():
            if owner(one) == name:
                others = [weights[x] for x in items - inside(one, items)]
                if any(x is not None for x in self.run.slopes(others, tensors_of(result))):
                    return True
        return False


def owner(name: str) -> str:
    """Return the module of a parameter."""
    return name.rpartition(".")[0]


def inside(name: str, names: Collection[str]) -> set[str]:
    """Return the names in a module, and its own."""
    return {x for x in names if f"{x}.".startswith(f"{name}." if name else "")}


def trained_otherwise(baseline: Baseline) -> Iterator[Learned]:
    """Yield the same for other values of the parameters and the inputs, as far as it runs."""
    wide = for_other_sizes(baseline)  # in float32, much is zero that is only small
    batch = wide.batch
    tried = [(batch, 1), (_redrawn(batch, 0), -1), (_redrawn(batch, 1), 1)]
    for axis in (0, 1):  # one sentence, or one step, tells nothing of what joins several
        single = [k for k, x in enumerate(batch.leaves) if _is_single(x, axis)]
        twice = list(batch.leaves)
        for k in single:
            twice[k] = torch.cat([twice[k], twice[k].roll(1, 1 - axis)], axis)
        tried += [(batch.with_leaves(twice), 1)] * bool(single)
    for seed, (given, sign) in enumerate(tried):
        copy, generator = wide.session.fresh().train(), torch.Generator("cpu").manual_seed(seed)
        for weight in copy.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
                size = 0.1 + weight.data.abs().mean().nan_to_num()
                weight.data = sign * weight.data + noise * size
        run = Gradients(given, wide.session, copy)
        if any(x.requires_grad for x in tensors_of(run.output)):
            yield Learned(run)


def _redrawn(batch: Batch, seed: int) -> Batch:
    """Return other values; what has only one, as a flag that is never set, is drawn."""
    generator = torch.Generator("cpu").manual_seed(seed)
    leaves = other_leaves(batch, steps_from(0), seed, pad=False)
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor) and leaf.dim() > 1 and bool((leaf == leaf.flatten()[:1]).all()):
            drawn = torch.rand(leaf.shape, generator=generator, device="cpu")
            leaves[index] = drawn.round().to(leaf)
    return batch.with_leaves(leaves)


def _is_single(leaf: Any, axis: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 1 and leaf.shape[axis] == 1
