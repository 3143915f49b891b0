"""The upper bound: where a gradient of the outputs arrives, however faint.

A recurrent net forgets: after some dozens of steps the effect of an input is smaller than the last
digit of the output. Its gradient is as small, but it stands by itself, not beside a large number.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline, once
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.module_calls import (
    KINDS,
    Call,
    arguments_by_name,
    hook_forward,
    split_result,
)
from rnnkit._diagnostics.run.noticed import LIKE, OF_SHAPES, Noticed
from rnnkit._diagnostics.run.outputs import (
    Given,
    Leaves,
    difference,
    gradient_arrives,
    is_dense,
    is_number,
    shapes_of,
    sizes_of,
    tensors_of,
)
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch
from rnnkit._diagnostics.tell.report import without_frames


class Gradients(FunctionWatch):
    """One run with gradients: in which inputs and weights do the outputs have one?

    Attributes:
        batch: the inputs.
        output, error: the leaves of what the model returned, or what it, or a backward, raised.
        sources: each input with fractions, or all embeddings of it, by the input's index.
        weights: the parameters that want a gradient, by name.
        states: the states that modules were given, by name and number of the call.
        returned: what modules returned, by name and number of the call, in the order of time.
        called: every module that ran, also if it is not registered.
        used_ids: ids of tensors that a function made something with a graph of.
        detached: copies of what forward took off its graph.
        noticed: where forward cuts the graph, and losses that broadcast.
    """

    def __init__(
        self,
        batch: Batch,
        opened: Session,
        copy: nn.Module | None = None,
        *,
        follows: bool = True,
    ) -> None:
        """Run a copy of the model, by default a new one in eval mode.

        ``opened`` runs copies of the model; ``follows``: gradients of the inputs are asked for.
        """
        super().__init__()
        self.batch = batch
        self.model = opened.fresh() if copy is None else copy
        self.output: list[Any] = []
        self.sources: dict[int, list[Tensor]] = {}
        self.error: Exception | None = None
        self.states: dict[tuple[str, int], Any] = {}
        self.returned: dict[tuple[str, int], Any] = {}
        self.called: list[nn.Module] = []
        self.used_ids = set[int]()
        self.detached = list[Tensor]()
        self.noticed = Noticed([*filter(is_dense, batch.leaves)])
        # A gradient takes as much memory as its weight.
        every = self.model.named_parameters()
        self.weights = {n: x for n, x in every if x.requires_grad and x.numel() <= 2**25}
        given = [x.detach().clone() if isinstance(x, Tensor) else x for x in batch.leaves]
        self._followed = {k: x for k, x in enumerate(given) if follows and batch.is_content(k)}
        for k, leaf in self._followed.items():
            if is_number(leaf):
                given[k] = self._follow(k, leaf)
        self._run(opened, batch.tree(given))

    def _follow(self, index: int, source: Tensor) -> Tensor:
        """Ask for the gradient of an input; return a tensor that a model may write into."""
        self.sources.setdefault(index, []).append(source.requires_grad_())
        return source * 1

    def _run(self, opened: Session, inputs: Given) -> None:
        """Run the copy, and keep what it returns, or raises."""
        opened.tally.count()
        watched = opened.watched(self._hooks(), notices=self.model.training)
        # Its backward wants train mode.
        cudnn = torch.backends.cudnn.flags(enabled=False, allow_tf32=False)
        try:
            with opened.mode, watched, torch.enable_grad(), cudnn, self:
                output = opened.call(self.model, *inputs.args, **inputs.kwargs)
            self.output = opened.leaves_of(output, self.batch.tree())
        except Exception as error:  # noqa: BLE001 - a model may refuse to be differentiated
            self.error = without_frames(error)

    def on_call(self, call: FunctionCall) -> Any:
        """Run a function of torch's, and note which tensors it made something with a graph of."""
        if call.name.startswith("detach"):
            self.detached += [x.clone() for x in call.args[:1]]  # detach_ takes it off its graph
        result = self.noticed.run(call)
        is_made = any(map(_has_graph, pytree.tree_leaves(result)))
        if is_made and call.name not in (*LIKE, *OF_SHAPES):
            self.used_ids |= {*map(id, call.given)}
        return result

    def _hooks(self) -> list[Any]:
        """Put on hooks that write down what modules return, and follow tokens from embeddings."""
        handles: list[Any] = [register_module_forward_pre_hook(lambda x, _: self.called.append(x))]
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Embedding):
                handles.append(module.register_forward_hook(self._embedded))
            if not isinstance(module, torch.jit.ScriptModule):
                before = partial(self._before, name)
                handles.append(hook_forward(module, before, partial(self._after, name)))
        return handles

    def _before(self, name: str, number: int, args: Any, kwargs: Any) -> None:
        """Keep the state that a module, by name, is given in its call of that number."""
        self.noticed.note_use((args, kwargs))
        self.states[name, number] = arguments_by_name(args, kwargs).get("hx")

    def _after(self, name: str, number: int, result: Any) -> None:
        """Keep what a module, by name, returned in its call of that number."""
        self.returned[name, number] = result

    def _embedded(self, _: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """If an embedding is given one of the inputs, follow its output in place of that input."""
        given, *_ = args or [None]
        if isinstance(given, Tensor):
            for k, leaf in self._followed.items():
                if given.shape == leaf.shape and torch.equal(given, leaf.to(given.dtype)):
                    return self._follow(k, output)
        return output

    @property
    def are_whole(self) -> bool:
        """Whether all inputs that are read were followed, and no backward failed."""
        return 0 < len(self.sources) == len(self._followed) and self.error is None

    def slopes(
        self, wanted: Sequence[Tensor], outputs: Sequence[Any], *, enlarged: bool = True
    ) -> list[Tensor | None]:
        """Return the gradients of some tensors: by how much a random weighted sum of outputs moves.

        ``wanted`` are the tensors, ``outputs`` the outputs or parts of them; None where no gradient
        arrives. With ``enlarged`` the sum is multiplied by a large number, since a gradient sinks
        below the smallest number on its way through many steps.
        """
        parts = [x for x in outputs if _has_graph(x) and not x.is_meta]
        generator = torch.Generator("cpu").manual_seed(0)
        sums = list[Tensor]()
        for x in parts:
            # A plain sum is the same whatever is in it where that is normed, as by softmax.
            drawn = (torch.rand(x.shape, generator=generator, device="cpu") + 0.5).to(x)
            factor = torch.finfo(x.dtype).max ** 0.5 if enlarged else 1.0
            sums.append((x * (x.isfinite() * drawn * factor)).sum())
        try:
            if sums and wanted:  # of numbers, since gradients of tensors make torch import sympy
                return [*torch.autograd.grad(sums, wanted, None, True, allow_unused=True)]
        except Exception as error:  # noqa: BLE001 - written in place, or a backward of its own
            self.error = without_frames(error)
        return [None] * len(wanted)

    def reaches(self, told: Sequence[Any], weights: Sequence[Tensor]) -> bool:
        """Return whether some tensors have a gradient in one of the weights, however small."""
        return any(slope is not None for slope in self.slopes(weights, told))

    @cached_property
    def by_id(self) -> dict[int, Tensor | None]:
        """The gradients of all outputs in sources and weights, by the id of the tensor."""
        wanted = [*chain.from_iterable(self.sources.values()), *self.weights.values()]
        return dict(zip(map(id, wanted), self.slopes(wanted, self.output), strict=True))

    @cached_property
    def amounts(self) -> dict[str, str]:
        """By name, the gradient of each parameter: "none", "zero", "nan" or "some"."""
        found = {name: _amount(self.by_id[id(weight)]) for name, weight in self.weights.items()}
        unknown = [name for name, amount in found.items() if amount == "nan"]
        plain = self.slopes([self.weights[name] for name in unknown], self.output, enlarged=False)
        return found | dict(zip(unknown, map(_amount, plain), strict=True))

    @property
    def trains(self) -> bool:
        """Whether neither the model nor a backward pass, which this asks for, raised anything."""
        self.by_id  # noqa: B018 - a backward pass, which keeps its error
        return self.error is None

    def places(self, outputs: Sequence[Any] = (), *, every: bool = False) -> Tensor | None:
        """Return where in the sequence a gradient arrives, as a mask ``(batch, seq)``.

        It is the gradient of ``outputs``, or parts of them; of all, if there are none. None if it
        is unknown. With ``every``, it may arrive in any input that has these steps.
        """
        stepped = filter(self.batch.has_steps, self.sources) if every else [self.batch.sequence]
        places = [one for index in stepped for one in self._places_in(index, outputs)]
        return torch.stack(places).any(0) if places else None

    def _places_in(self, index: int, outputs: Sequence[Any]) -> Iterator[Tensor]:
        """Yield masks ``(batch, seq)`` of where a gradient of outputs arrives in one input."""
        sources = self.sources.get(index, [])
        axes = (self.batch.axes[index] or 0, self.batch.seq_dims[index])
        slopes = self.slopes(sources, outputs) if outputs else [self.by_id[id(x)] for x in sources]
        for slope in slopes:
            if slope is not None:
                rows = slope.movedim(axes, (0, 1))
                yield gradient_arrives(rows).unsqueeze(-1).flatten(2).any(2).cpu()

    def parts_of(self, call: Call) -> dict[str, Tensor]:
        """Return ``output``, ``h`` and ``c`` of a layer's call by name, if they have a graph."""
        output, state = split_result(call.module, self.returned.get((call.name, call.number)))
        data = output.data if isinstance(output, PackedSequence) else output
        every = {"output": data, **state}.items()
        return {part: x for part, x in every if _has_graph(x)}

    def of_calls(self, calls: Sequence[Call]) -> list[dict[str, Tensor]]:
        """Return the gradients of the outputs in what each call of a layer returned, by part."""
        parts = [*map(self.parts_of, calls)]
        wanted = [x for each in parts for x in each.values()]
        slopes = iter(self.slopes(wanted, self.output))
        every = [dict(zip(each, slopes, strict=False)) for each in parts]
        return [{part: x for part, x in one.items() if x is not None} for one in every]

    @cached_property
    def in_layers(self) -> set[str]:
        """Names of the parameters of layers and cells that returned something with a graph."""
        found = set[str]()
        for (name, _), result in self.returned.items():
            is_layer = isinstance(self.model.get_submodule(name), KINDS)
            if is_layer and any(x.requires_grad for x in tensors_of(result)):
                found |= names_inside(name, self.weights)
        return found

    @cached_property
    def used_weights(self) -> set[str]:
        """Names of the parameters that are used: something with a graph was made of them."""
        ids = {*self.used_ids, *map(id, self.noticed.cut_tensors.values())}
        noted = {name for name, x in self.weights.items() if id(x) in ids}
        # The kernels of a layer or cell may be no functions of torch's.
        return self.in_layers | noted | {n for n, found in self.amounts.items() if found != "none"}

    def idle_stack_items(self, ran: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the items that do not run of each ModuleList that is a stack, by the list's name.

        ``ran`` are names of modules that ran. In a stack, the last item's result depends on others.
        """
        called = {*ran, *self.used_weights, *(name for name, _ in self.returned)}
        found = {}
        for name, module in self.model.named_modules():
            if not isinstance(module, nn.ModuleList):
                continue
            items = [f"{name}.{key}" for key, _ in module.named_children()]
            still = [one for one in items if not names_inside(one, called)]
            idle = tuple(one for one in still if names_inside(one, self.weights))
            if idle and self._is_stack(name, items):
                found[name] = idle
        return found

    def _is_stack(self, name: str, items: Sequence[str]) -> bool:
        """Return whether what the last item of a list returned is made with weights of others."""
        results = [(one, result) for (one, _), result in self.returned.items() if one in items]
        if not results:
            return False
        last, result = results[-1]
        others = names_inside(name, self.weights) - names_inside(last, self.weights)
        return self.reaches(tensors_of(result), [self.weights[one] for one in others])


def _has_graph(x: Any) -> bool:
    """Return whether a value is a tensor that a gradient can be asked of."""
    return isinstance(x, Tensor) and x.requires_grad


def _amount(slope: Tensor | None) -> str:
    """Return in a word how large a gradient is: ``none``, ``zero``, ``nan`` or ``some``.

    It is ``nan`` only if nothing else arrives.
    """
    if slope is None:
        return "none"
    if slope.is_sparse or gradient_arrives(slope).any():
        return "some"
    return "nan" if slope.isnan().any() else "zero"


def names_inside(name: str, names: Collection[str]) -> set[str]:
    """Return those of some qualified names that are in a module, or are its own."""
    return {x for x in names if f"{x}.".startswith(f"{name}." if name else "")}


@once
def gradients_in_training(baseline: Baseline) -> Gradients:
    """Return a run in train mode with gradients, of a baseline's model and batch.

    It is without gradients of the inputs if the model fails with them.
    """
    batch = baseline.batch
    session = baseline.session
    run = Gradients(batch, session, session.fresh(training=True))
    if run.trains:
        return run
    # A caller's input has no gradient, and some of what is done to it can do without one only.
    alone = Gradients(batch, session, session.fresh(training=True), follows=False)
    return alone if alone.trains else run


@once
def gradients_of(baseline: Baseline) -> Gradients:
    """Return a run with gradients whose outputs are the baseline's: that in training if they are.

    Else, as with dropout, it is one in eval mode. It has no output if that has other shapes than
    the baseline's.
    """
    normal = baseline.normal
    training = gradients_in_training(baseline)
    if are_like(training.output, normal):
        return training
    found = Gradients(baseline.batch, baseline.session)
    if shapes_of(found.output) != shapes_of(normal):
        found.output = []
    return found


def are_like(output: Leaves, normal: Leaves) -> bool:
    """Return whether outputs have the shapes of others, and nearly the same numbers."""
    if shapes_of(output) != shapes_of(normal):
        return False
    return all(
        (difference(one.detach(), other) <= 1e-4 * sizes_of(other)).all()
        for one, other in zip(output, normal, strict=True)
        if is_number(one) and is_number(other)
    )
