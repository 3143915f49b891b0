"""The upper bound: where a gradient of the outputs arrives, however faint.

A recurrent net forgets: after some dozens of steps the effect of an input is smaller than the last
digit of the output. Its gradient is as small, but it stands by itself, not beside a large number.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.judge import WEIGHTS
from rnnkit._diagnostics.module_calls import (
    KINDS,
    from_state,
    hooked,
    named_arguments,
    split_result,
)
from rnnkit._diagnostics.outputs import Watch, apart, is_number, largest, shape_of

#: Which output of an operation in an autograd graph.
Edge = tuple[Any, int]

#: By how much of the largest number an output may differ with gradients on.
ROUNDING = 1e-4


class Gradients:
    """One run with gradients: in what the outputs have a gradient.

    Attributes:
        output, error: the leaves of what the model returned, or what it, or a backward, raised.
        sources: an input, or its embedding, and the batch's axis in it; by the input's index.
        are_whole: whether every input that has the axis was followed, and no backward failed.
        weights, too_large: the parameters that want a gradient; names of those that get none.
        ran, strangers: the layers and cells that ran with gradients on, by name; and the modules
            with weights that ran and are not registered in the model.
    """

    def __init__(
        self,
        batch: Batch,
        opened: Session,
        *,
        cuts_c: bool = False,
        train: bool = False,
        watch: Watch | None = None,
        reads: AbstractContextManager[Any] | None = None,
    ) -> None:
        """Run a copy; the c of each call may be cut from the graph."""
        self.output: list[Any] = []
        self.sources: dict[int, tuple[Tensor, int]] = {}
        self.error: Exception | None = None
        self.ran: set[str] = set()
        self.strangers: list[Any] = []
        self._results: dict[str, list[dict[str, Tensor]]] = defaultdict(list)
        self._followed = [
            (place, leaf, axis)
            for place, (leaf, axis) in enumerate(zip(batch.leaves, batch.axes, strict=True))
            if axis is not None and isinstance(leaf, Tensor) and batch.is_content(place)
            if reads is None  # a graph of the inputs would make each parameter seem read
        ]
        given = [x.detach().clone() if isinstance(x, Tensor) else x for x in batch.leaves]
        for place, leaf, axis in self._followed:
            if leaf.is_floating_point():
                source = leaf.detach().clone().requires_grad_()
                self.sources[place] = source, axis
                # A model may write into what it is given, and into no leaf of a graph.
                given[place] = source * 1

        copy, (args, kwargs) = opened.fresh().train(train), batch.tree(given)
        learned = {n: x for n, x in copy.named_parameters() if _learns(x)}
        small = sorted(learned, key=lambda name: learned[name].numel())
        sizes = zip(small, accumulate(learned[name].numel() for name in small), strict=True)
        # A gradient takes as much memory as its weight.
        self.too_large = {name for name, size in sizes if size > WEIGHTS}
        self.weights = {n: x for n, x in learned.items() if n not in self.too_large}
        ours = [copy, *(x for x in batch.leaves if isinstance(x, torch.nn.Module))]
        handles = [*self._hooks(ours, cuts_c=cuts_c), *(watch(copy) if watch else [])]
        opened.passes += 1
        cudnn = torch.backends.cudnn.flags(enabled=False)  # its backward wants train mode
        try:
            with opened.watched(notices=train), torch.enable_grad(), cudnn, reads or nullcontext():
                output = opened.call(copy, *args, **kwargs)
            self.output = opened.leaves_of(output, batch.tree())
        except Exception as error:  # noqa: BLE001 - a model may refuse to be differentiated
            self.sources, self.error = {}, error
        finally:
            for handle in reversed(handles):
                handle.remove()
        self.are_whole = bool(self.sources) and len(self.sources) == len(self._followed)

    def _hooks(self, ours: Sequence[torch.nn.Module], *, cuts_c: bool) -> list[Any]:
        """Hook the embeddings, layers and cells, and hear of modules that are not registered."""
        registered = {id(module) for one in ours for module in one.modules()}
        thread = threading.get_ident()

        def embedded(_: Any, args: Any, output: Tensor) -> Any:
            given: Any = args[0] if args else None
            for place, leaf, axis in self._followed if isinstance(given, Tensor) else ():
                if given.shape == leaf.shape and torch.equal(given, leaf.to(given.dtype)):
                    source = output if output.requires_grad else output.clone().requires_grad_()
                    self.sources[place] = source, axis
                    return source * 1
            return output

        def before(name: str, _: int, args: Any, kwargs: Any) -> Any:
            if torch.is_grad_enabled():
                self.ran.add(name)
            state: Any = named_arguments(args, kwargs).get("hx")
            is_pair = isinstance(state, tuple | list) and len(state) == 2
            if cuts_c and is_pair and isinstance(state[1], Tensor):
                return from_state(args, kwargs, (state[0], state[1].detach()))
            return None

        def after(name: str, module: Any, _: int, result: Any) -> None:
            if isinstance(module, RNNBase):
                output, state = split_result(module, result)
                data = output.data if isinstance(output, PackedSequence) else output
                parts = {"output": data} if isinstance(data, Tensor) else {}
                self._results[name].append(parts | state)

        def hear(module: Any, _: Any) -> None:
            is_new = id(module) not in registered and threading.get_ident() == thread
            own = module.parameters(recurse=False) if is_new else ()
            if module not in self.strangers and any(_learns(x) and x.dim() > 1 for x in own):
                self.strangers.append(module)

        handles = [register_module_forward_pre_hook(hear)]
        for name, module in ours[0].named_modules():
            if isinstance(module, torch.nn.Embedding):
                handles.append(module.register_forward_hook(embedded))
            elif isinstance(module, KINDS):
                handles.append(hooked(module, partial(before, name), partial(after, name, module)))
        return handles

    def slopes(self, wanted: Sequence[Tensor], told: Sequence[Any]) -> list[Tensor | None]:
        """Return the gradients of a random weighted sum of some parts of the outputs."""
        parts = [x for x in told if isinstance(x, Tensor) and x.requires_grad and not x.is_meta]
        reachable = [one for one in wanted if one.requires_grad]
        generator, found = torch.Generator("cpu").manual_seed(0), dict[int, Tensor | None]()
        total: Any = 0.0
        for part in parts:
            # A plain sum is the same whatever is in it where that is normed, as by softmax.
            weights = torch.rand(part.shape, generator=generator, device="cpu") + 0.5
            one = (part.nan_to_num(0.0, 0.0, 0.0) * weights.to(part.device, part.dtype)).sum()
            # What begins large sinks below the smallest number later.
            total = total + one * torch.finfo(part.dtype).max ** 0.5
        try:
            if parts and reachable:
                every = torch.autograd.grad(total, reachable, retain_graph=True, allow_unused=True)
                found = dict(zip(map(id, reachable), every, strict=True))
        except Exception as error:  # noqa: BLE001 - written in place, or a backward of its own
            self.are_whole, self.error = False, error
        return [found.get(id(one)) for one in wanted]

    @cached_property
    def whole(self) -> dict[int, Tensor | None]:
        """The gradients of all outputs in sources, weights and what layers return, by id."""
        calls = (x for calls in self._results.values() for parts in calls for x in parts.values())
        sources = (source for source, _ in self.sources.values())
        wanted = [*sources, *self.weights.values(), *calls]
        return dict(zip(map(id, wanted), self.slopes(wanted, self.output), strict=True))

    def places(self, index: int, seq_dim: int, told: Sequence[Any] = ()) -> Tensor | None:
        """Return at which places of an input a gradient arrives, (batch, seq); None if unknown."""
        if index not in self.sources:
            return None
        source, axis = self.sources[index]
        slope = self.slopes([source], told)[0] if told else self.whole[id(source)]
        if slope is None:
            return None
        rows = slope.movedim((axis, seq_dim), (0, 1))
        return rows.reshape(*rows.shape[:2], -1).ne(0).any(2).cpu()

    def of_call(self, name: str, number: int) -> dict[str, Tensor]:
        """Return the gradients that arrive in what a layer's call returned: output, h and c."""
        parts = self._results[name][number] if number < len(self._results[name]) else {}
        found = {part: self.whole[id(x)] for part, x in parts.items()}
        return {part: slope for part, slope in found.items() if slope is not None}


def edge(tensor: Tensor) -> Edge:
    """Return the output of an operation that a tensor is."""
    return tensor.grad_fn, tensor.output_nr


def nodes(start: Iterable[Edge], ends: Collection[Edge] = frozenset()) -> Iterator[Edge]:
    """Yield what some edges were computed from, near ones first, down to some ends."""
    waiting = deque(one for one in start if one[0] is not None)
    seen = set(waiting)
    while waiting:
        yield (one := waiting.popleft())
        if one not in ends:
            new = [e for e in one[0].next_functions if e[0] is not None and e not in seen]
            seen.update(new)
            waiting += new


def _learns(weight: Tensor) -> bool:
    return weight.requires_grad and weight.numel() > 0


def gradients_in_training(baseline: Baseline) -> Gradients:
    """Return the gradients in training, where the c that each call is given has no graph."""
    if baseline.training is None:
        baseline.training = Gradients(baseline.batch, baseline.session, cuts_c=True, train=True)
    found: Gradients = baseline.training
    return found


def gradients_of(baseline: Baseline) -> Gradients:
    """Return the gradients of a baseline: those in training if the outputs are the same there.

    With gradients a model may return something else, which tells nothing of its outputs.
    """
    if baseline.gradients is None:
        training, normal = gradients_in_training(baseline), baseline.normal
        shapes = [*map(shape_of, normal)]
        is_like = [*map(shape_of, training.output)] == shapes and all(
            bool((apart(one.detach(), other) <= ROUNDING * largest(other)).all())
            for one, other in zip(training.output, normal, strict=True)
            if is_number(one) and is_number(other)
        )
        own = None if is_like else Gradients(baseline.batch, baseline.session, cuts_c=True)
        baseline.gradients = own or training
        if [*map(shape_of, baseline.gradients.output)] != shapes:
            baseline.gradients.output = []
    found: Gradients = baseline.gradients
    return found
