"""The upper bound: where a gradient of the outputs arrives, however faint.

A recurrent net forgets: after some dozens of steps the effect of an input is smaller than the last
digit of the output. Its gradient is as small, but it stands by itself, not beside a large number.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNCellBase
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.compare import apart, is_number, largest
from rnnkit._diagnostics.events import looping
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.module_calls import (
    KINDS,
    from_state,
    has_recurrence,
    hooked,
    named_arguments,
    split_result,
    trained,
)
from rnnkit._diagnostics.outputs import named_leaves, tensors_of

#: A gradient is about to vanish if it is no more than this power of the smallest number.
VANISHING = 0.9

#: By how much of the largest number an output may differ with gradients on.
ROUNDING = 1e-4

#: Train mode, eval mode, or train mode for all but the modules of torch and rnnkit.
Mode = Literal["eval", "train", "both"]


class Gradients:
    """One run with gradients: in what the outputs have a gradient.

    Attributes:
        output: the leaves of what the model returned; none if it cannot be differentiated.
        sources: an input, or its embedding, and the batch's axis in it; by the input's index.
        are_whole: whether every input that has the axis was followed, and no backward failed.
        error: what the run, or a backward, raised.
        registered: the recurrent modules, by each of their names.
        ran: those that ran, and whether gradients were on for them; by id.
        cut: whether the state of each call is what the cell returned before, detached; by id.
        vanish: whether some came so close to the smallest number that others may be below it.
    """

    def __init__(
        self,
        batch: Batch,
        opened: Session,
        loops: Collection[str] = (),
        *,
        cuts_c: bool = False,
        mode: Mode = "eval",
    ) -> None:
        """Run a copy; the c of each call may be cut from the graph. ``loops`` have a state, too."""
        self.mode, self.vanish = mode, False
        self.output: list[Any] = []
        self._whole: dict[int, Tensor | None] = {}
        self.sources: dict[int, tuple[Tensor, int]] = {}
        self.error: Exception | None = None
        self.registered: list[tuple[str, Any]] = []
        self.ran: dict[int, tuple[Any, bool]] = {}
        self.cut: dict[int, list[bool]] = defaultdict(list)
        self._results: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self._followed = [
            (place, leaf, axis)
            for place, (leaf, axis) in enumerate(zip(batch.leaves, batch.axes, strict=True))
            if axis is not None and isinstance(leaf, Tensor) and batch.is_content(place)
        ]
        copy = opened.fresh()
        self._watch(copy, loops, cuts_c=cuts_c)
        copy.train(mode != "eval")
        for module in copy.modules() if mode == "both" else ():
            if type(module).__module__.startswith(("torch.nn.", "rnnkit.")):
                module.training = False
        try:
            self.output = self._run(copy, batch, opened)
        except Exception as error:  # noqa: BLE001 - a model may refuse to be differentiated
            self.sources, self.error = {}, error
        self.are_whole = bool(self.sources) and len(self.sources) == len(self._followed)

    def _watch(self, copy: torch.nn.Module, loops: Collection[str], *, cuts_c: bool) -> None:
        """Hook the embeddings and the recurrent modules of a copy."""
        returned: dict[int, Tensor] = {}

        def embedded(_: Any, args: Any, output: Tensor) -> Any:
            given: Any = args[0] if args else None
            for place, leaf, axis in self._followed if isinstance(given, Tensor) else ():
                if given.shape == leaf.shape and torch.equal(given, leaf.to(given.dtype)):
                    source = output.detach().clone().requires_grad_()
                    self.sources[place] = source, axis
                    return source * 1
            return output

        def before(module: Any, args: Any, kwargs: Any) -> Any:
            self._note(module)
            state: Any = named_arguments(args, kwargs).get("hx")
            made, given = returned.get(id(module)), tensors_of(state)[:1]
            if made is not None and made.requires_grad and isinstance(module, RNNCellBase):
                cut = [h for h in given if not h.requires_grad and torch.equal(h, made)]
                self.cut[id(module)].append(bool(cut))
            is_pair = isinstance(state, tuple | list) and len(state) == 2
            if cuts_c and is_pair and isinstance(state[1], Tensor):
                return from_state(args, kwargs, (state[0], state[1].detach()))
            return None

        def after(name: str, module: Any, result: Any) -> None:
            self._results[name].append((module, result))
            returned.update({id(module): h for h in tensors_of(result)[:1]})

        modules = list(copy.named_modules(remove_duplicate=False))
        self.registered = [one for one in modules if isinstance(one[1], KINDS) or one[0] in loops]
        for name, module in copy.named_modules():
            if isinstance(module, torch.nn.Embedding):
                module.register_forward_hook(embedded)
            elif isinstance(module, KINDS) or name in loops:
                hooked(module, partial(before, module), partial(after, name, module))

    def _note(self, module: Any) -> None:
        """Note that a recurrent module runs."""
        self.ran.setdefault(id(module), (module, torch.is_grad_enabled()))

    def _run(self, copy: torch.nn.Module, batch: Batch, opened: Session) -> list[Any]:
        given = [x.detach().clone() if isinstance(x, Tensor) else x for x in batch.leaves]
        for place, leaf, axis in self._followed:
            if leaf.is_floating_point():
                source = leaf.detach().clone().requires_grad_()
                self.sources[place] = source, axis
                # A model may write into what it is given, and into no leaf of a graph.
                given[place] = source * 1
        args, kwargs = batch.tree(given)
        thread = threading.get_ident()

        def hear(module: Any, _: Any) -> None:
            if threading.get_ident() == thread and isinstance(module, KINDS):
                self._note(module)  # which may not be registered in the model

        opened.passes += 1
        cudnn = torch.backends.cudnn.flags(enabled=False)  # its backward wants train mode
        handle = register_module_forward_pre_hook(hear)
        try:
            with opened.watched(notices=self.mode != "eval"), torch.enable_grad(), cudnn:
                output = opened.call(copy, *args, **kwargs)
        finally:
            handle.remove()
        return [leaf for _, leaf in named_leaves(output, stack=True)]

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

    def sizes(self, output: int, dim: int, index: int, places: Sequence[int]) -> Tensor:
        """Return how large the gradient of a part of an output is at places of the inputs."""
        part = self.output[output].narrow(dim, index, 1)
        reached = torch.zeros(len(places), dtype=torch.float64, device="cpu")
        sources = [*self.sources.values()]
        found = self.slopes([source for source, _ in sources], [part])
        for gradient, (_, axis) in zip(found, sources, strict=True):
            if gradient is not None:
                rows = gradient.nan_to_num(0.0).movedim(axis, 0)
                smallest = torch.finfo(rows.dtype).tiny ** VANISHING
                self.vanish |= bool((rows.ne(0) & (rows.abs() < smallest)).any())
                largest = rows.abs().reshape(len(rows), -1).amax(1)[list(places)]
                reached = reached.maximum(largest.double().cpu())
        factor: float = torch.finfo(part.dtype).max ** 0.5
        return reached / factor

    def places(self, index: int, seq_dim: int, told: Sequence[Any] = ()) -> Tensor | None:
        """Return at which places of an input a gradient arrives, (batch, seq); None if unknown."""
        if index not in self.sources:
            return None
        source, axis = self.sources[index]
        if not told and index not in self._whole:  # several probes ask of all outputs
            self._whole[index] = self.slopes([source], self.output)[0]
        slope = self.slopes([source], told)[0] if told else self._whole[index]
        if slope is None:
            return None
        rows = slope.movedim((axis, seq_dim), (0, 1))
        return rows.reshape(*rows.shape[:2], -1).ne(0).any(2).cpu()

    def of_call(self, name: str, number: int) -> dict[str, Tensor]:
        """Return the gradients that arrive in what a layer's call returned: output, h and c."""
        if number >= len(self._results[name]):
            return {}
        output, state = split_result(*self._results[name][number])
        data = output.data if isinstance(output, PackedSequence) else output
        parts = dict(zip(("output", "h", "c"), (data, *state), strict=False))
        found = self.slopes([*parts.values()], self.output)
        return {part: one for part, one in zip(parts, found, strict=True) if one is not None}

    def reached(self) -> set[int] | None:
        """Return the ids of recurrent weights that get a gradient; None if no output has one."""
        weights = [weight for module, _ in self.ran.values() for weight in trained(module)]
        told = [x for x in self.output if isinstance(x, Tensor) and x.requires_grad]
        if not weights or all(x.is_meta for x in told):
            return None
        pairs = zip(weights, self.slopes(weights, told), strict=True)
        return {id(weight) for weight, slope in pairs if slope is not None}

    def is_like(self, normal: Sequence[Any]) -> bool:
        """Return whether the outputs are those of a run in eval mode, up to rounding."""
        return len(self.output) == len(normal) and all(
            one.shape == other.shape
            and bool((apart(one.detach(), other) <= ROUNDING * largest(other)).all())
            for one, other in zip(self.output, normal, strict=True)
            if is_number(one) and is_number(other)
        )


def gradients_of(baseline: Baseline) -> Gradients:
    """Return the gradients of a baseline, where the c that each call is given has no graph.

    They hold in both modes if the model returns the same in train mode, torch's dropout put aside.
    """
    if baseline.gradients is None:
        given = baseline.batch, baseline.session, loops_of(baseline)
        both = Gradients(*given, cuts_c=True, mode="both")
        is_like = both.is_like(baseline.normal)
        baseline.gradients = both if is_like else Gradients(*given, cuts_c=True)
    found: Gradients = baseline.gradients
    return found


def loops_of(baseline: Baseline) -> Collection[str]:
    """Return the modules with a state of their own making, where no layer or cell has one."""
    return () if has_recurrence(baseline.session.model) else looping(baseline.events)
