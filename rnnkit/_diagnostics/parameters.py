"""One run with gradients, in training: what each parameter gets from the outputs, and what ran."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.isolation import EscapedError, Session, private
from rnnkit._diagnostics.marks import edge, nodes
from rnnkit._diagnostics.outputs import tensors_of

#: An item of a list of modules, and the tensors that one of its calls took and returned.
Flow = tuple[str, list[Tensor], list[Tensor]]


class Got(NamedTuple):
    """What the parameters got in one run, by their names, and what ran.

    Attributes:
        gradient: ``"some"``, ``"none"`` or ``"zero"``, of a random loss.
        read: those that a function, or a module of torch or rnnkit, made something with a graph of.
        cut: those that forward detached.
        wide: those with two axes: of torch's and rnnkit's modules all, of others the longer ones.
        idle: the items of each list of modules that did not run.
        stacks: the lists with idle items in which an item reads what another one returned.
    """

    gradient: dict[str, str]
    read: set[str]
    cut: set[str]
    wide: set[str]
    idle: dict[str, frozenset[str]]
    stacks: set[str]


class _Reads(TorchFunctionMode):
    """Notes which parameters are read, and what is detached."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names, self.read, self.detached = names, set[str](), list[Tensor]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        result = func(*args, **(kwargs or {}))
        if name in ("detach", "detach_"):
            self.detached += args[:1]
        elif name not in ("__get__", "requires_grad_") and any(
            part.requires_grad for part in _tensors(result)
        ):
            given = map(id, pytree.tree_leaves((args, kwargs)))
            self.read.update(self.names[key] for key in given if key in self.names)
        return result


def owner(name: str) -> str:
    """Return the module of a parameter."""
    return name.rpartition(".")[0]


def gradients_in_training(
    session: Session, batch: Batch, moved: int = 0, seed: int = 0, *, train: bool = True
) -> Got | None:
    """Run a copy, its parameters moved by ``moved`` (1, -1 or 0); None if it does not run."""
    copy = session.fresh().train(train)
    generator = torch.Generator("cpu").manual_seed(seed)
    weights = {n: p for n, p in copy.named_parameters() if p.requires_grad and p.numel()}
    for weight in weights.values() if moved else ():
        noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
        weight.data = moved * weight.data + noise * (0.1 + weight.data.abs().mean().nan_to_num())
    modules, called, flow = dict(copy.named_modules()), set[str](), list[Flow]()

    def after(name: str, *call: Any) -> None:
        called.add(name)
        flow.append((name, _tensors(call[:2]), _tensors(call[2])))

    handles = [
        module.register_forward_hook(
            lambda _, *call, name=name: after(name, *call), with_kwargs=True
        )
        for name, module in modules.items()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    reads = _Reads({id(weight): name for name, weight in weights.items()})
    session.passes += 1
    given, _ = private(batch.tree())
    cudnn = torch.backends.cudnn.flags(enabled=False)  # its backward wants train mode
    try:
        with session.watched(notices=train), torch.enable_grad(), cudnn, reads:
            output = session.call(copy, *given.args, **given.kwargs)
        told = [x for x in tensors_of(output) if x.requires_grad and not x.is_meta]
        gradient = _gradient(told, weights, generator)
    except EscapedError:
        raise
    except Exception:  # noqa: BLE001 - a model may refuse, or not be differentiable
        return None
    finally:
        for handle in handles:
            handle.remove()
    known = {
        name
        for name in weights
        if type(modules[owner(name)]).__module__.startswith(("torch.nn.", "rnnkit"))
    }
    read = reads.read | {n for n in known if owner(n) in called and gradient[n] != "none"}
    detached = {id(getattr(node, "variable", None)) for node, _ in nodes(map(edge, reads.detached))}
    sizes = {n: p.dim() if n in known else sum(k > 1 for k in p.shape) for n, p in weights.items()}
    idle = {
        name: frozenset(
            f"{name}.{key}"
            for key, _ in module.named_children()
            if not any(f"{one}.".startswith(f"{name}.{key}.") for one in called | read)
        )
        for name, module in modules.items()
        if isinstance(module, nn.ModuleList) and any(True for _ in module.parameters())
    }
    return Got(
        gradient,
        read,
        {name for name, weight in weights.items() if id(weight) in detached},
        {name for name, size in sizes.items() if size > 1},
        idle,
        set(_stacks(flow, {name for name, items in idle.items() if items})),
    )


def _gradient(
    told: list[Tensor], weights: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, str]:
    """Return what a random loss says of each parameter."""
    draws = [torch.randn(x.shape, generator=generator, device="cpu").to(x) for x in told]
    loss = torch.stack([(x * draw).sum() for x, draw in zip(told, draws, strict=True)]).sum()
    slopes = torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
    found = {}
    for name, slope in zip(weights, slopes, strict=True):
        is_zero = slope is not None and slope.layout is torch.strided and not slope.any()
        found[name] = "none" if slope is None else "zero" if is_zero else "some"
    return found


def _stacks(flow: list[Flow], lists: set[str]) -> Iterator[str]:
    """Yield the lists in which an item reads what another one returned."""
    for where in lists:
        made: dict[Any, str] = {}
        for name, given, returned in flow:
            if owner(name) != where:
                continue
            if any(made.get(one, name) != name for one in nodes(map(edge, given))):
                yield where
                break
            made |= {edge(x): name for x in returned if x.grad_fn is not None}


def _tensors(tree: Any) -> list[Tensor]:
    return [part for part in pytree.tree_leaves(tree) if isinstance(part, Tensor)]
