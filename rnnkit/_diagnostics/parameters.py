"""Which parameters a run in training reads, which modules it leaves out, and what else is tried."""

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import other_leaves, steps_from
from rnnkit._diagnostics.judge import judge
from rnnkit._diagnostics.module_calls import KINDS
from rnnkit._diagnostics.outputs import shape_of, tensors_of
from rnnkit._diagnostics.slopes import Gradients


def inside(name: str, names: Collection[str]) -> set[str]:
    """Return the names in a module, and its own."""
    return {x for x in names if f"{x}.".startswith(f"{name}." if name else "")}


def in_layers(run: Gradients) -> set[str]:
    """Return the parameters of layers and cells that returned something with a graph."""
    return {
        one
        for (name, _), result in run.returned.items()
        if isinstance(run.model.get_submodule(name), KINDS)
        and any(x.requires_grad for x in tensors_of(result))
        for one in inside(name, run.weights)
    }


def read_in(run: Gradients) -> set[str]:
    """Return the parameters that a function, or a layer, made something with a graph of."""
    noted = {name for name, weight in run.weights.items() if id(weight) in run.reads.read}
    # The kernels of a layer or cell may be no functions of torch's.
    return in_layers(run) | noted | {name for name, found in run.got.items() if found != "none"}


def left_out(run: Gradients, ran: Collection[str]) -> dict[str, list[str]]:
    """Return the items that do not run of each list of modules that is a stack; some are known."""
    called, found = {*ran, *read_in(run), *(name for name, _ in run.returned)}, {}
    for name, module in run.model.named_modules():
        every = inside(name, run.weights) if isinstance(module, nn.ModuleList) else set[str]()
        items = [f"{name}.{key}" for key, _ in module.named_children()]
        idle = [one for one in items if inside(one, every) and not inside(one, called)]
        results = [(one, result) for (one, _), result in run.returned.items() if one in items]
        for one, result in results[-1:] if idle else ():
            others = [run.weights[x] for x in every - inside(one, every)]
            if any(x is not None for x in run.slopes(others, tensors_of(result))):
                found[name] = idle
    return found


def trained_otherwise(baseline: Baseline) -> Iterator[Gradients]:
    """Run with other values of the parameters and the inputs, as far as the model takes them."""
    wide = judge(baseline)  # in float32, much is zero that is only small
    batch, generator = wide.batch, torch.Generator("cpu").manual_seed(0)
    tried = [(1, list(batch.leaves))]
    for seed, sign in enumerate((-1, 1)):
        leaves = other_leaves(batch, steps_from(0), seed, pad=False)
        for k, leaf in enumerate(leaves):  # flags that are never set
            if (
                isinstance(leaf, Tensor)
                and leaf.dim() > 1
                and bool((leaf == leaf.flatten()[:1]).all())
            ):
                drawn = torch.rand(leaf.shape, generator=generator, device="cpu")
                leaves[k] = drawn.round().to(leaf)
        tried.append((sign, leaves))
    for axis in (0, 1):  # one sentence, or one step, tells nothing of what joins several
        single = {k for k, x in enumerate(batch.leaves) if (shape_of(x) or ())[axis:][:1] == (1,)}
        both = enumerate(batch.leaves)
        twice = [torch.cat([x, x.roll(1)], axis) if k in single else x for k, x in both]
        tried += [(1, twice)] * bool(single)
    for sign, leaves in tried:
        copy = wide.session.fresh().train()
        for weight in copy.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
                size = 0.1 + weight.data.abs().mean().nan_to_num()
                weight.data = sign * weight.data + noise * size
        run = Gradients(batch.with_leaves(leaves), wide.session, copy)
        if any(x.requires_grad for x in tensors_of(run.output)):
            yield run
