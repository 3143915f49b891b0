"""Draws one use of a recurrent module: the class, its options, and the sizes of one call.

A :class:`Case` is made of numbers alone, so that it prints well when a law fails; it makes its
module, its input and its state on demand, the same ones each time.

Tensors of users lie in memory in many ways, and what is right for one may be wrong for another: so a
case says how each of its own lies there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
CLASSES = LAYERS + CELLS

LAYOUTS = ("padded", "unbatched", "packed", "packed unsorted")
DTYPES = (torch.float32, torch.float64, torch.bfloat16)

#: How a tensor lies in memory: in one piece; with its first two axes exchanged, or all of them turned
#: around; every other number of a larger one, or of pairs, as the real parts of complex numbers; one
#: part for all places on axis 0; parts that overlap.
WAYS = ("one piece", "exchanged", "turned", "cut out", "of pairs", "expanded", "overlapping")
#: Those in which no number is in two places.
APART = WAYS[:5]
#: What an input holds: drawn numbers, the same ones with a NaN and an infinity, or ones only.
DATA = ("drawn", "spoiled", "ones")
#: What lies somewhere in memory.
PARTS: tuple[str, ...] = ("input", "h", "c", "weights", "lengths", "mask", "gradients")


def laid_out(tensor: Tensor, way: str | None) -> Tensor:
    """Lay a tensor out in memory: one with the same numbers, in ways that are apart."""
    axes = tuple(range(tensor.dim()))
    if way in ("exchanged", "turned") and len(axes) > 1:
        order = axes[::-1] if way == "turned" else (1, 0, *axes[2:])
        return tensor.permute(order).contiguous().permute(order)
    if way == "cut out":
        around = torch.nan if tensor.is_floating_point() else 1
        large = tensor.new_full([2 * size + 1 for size in tensor.shape], around)
        return large[(slice(1, None, 2),) * len(axes)].copy_(tensor)
    if way == "of pairs":
        return torch.stack([tensor, tensor], -1)[..., 0]
    if way == "expanded":
        return tensor[:1].clone().expand_as(tensor)
    if way == "overlapping" and tensor.numel():
        first = tensor.shape[0]
        rest = tensor[0].numel()
        windows = tensor.reshape(-1)[: first + rest - 1].clone().unfold(0, rest, 1)
        return windows.unflatten(1, (*tensor.shape[1:], 1)).squeeze(-1)
    return tensor.contiguous()


#: How some of a case's tensors lie in memory; the others lie in one piece.
memories: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(PARTS, st.sampled_from(WAYS))
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One use of a module; for a cell ``seq`` and ``lengths`` say nothing."""

    name: str
    input_size: int
    hidden_size: int
    batch: int
    seq: int
    layout: str = "padded"
    lengths: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, str] = field(default_factory=dict)
    data: str = "drawn"
    seed: int = 0

    #: Whether it runs over a sequence, carries a pair, has a batch axis; axis 0 of a layer's state.
    is_layer = property(lambda self: self.name in LAYERS)
    is_lstm = property(lambda self: self.name.startswith("LSTM"))
    is_batched = property(lambda self: self.layout != "unbatched")
    rows = property(lambda self: rows_of(self.options))

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each tensor of the state, in torch's order."""
        front = ((self.rows,) if self.is_layer else ()) + ((self.batch,) if self.is_batched else ())
        visible = self.options.get("proj_size", 0) or self.hidden_size
        both = (*front, visible), (*front, self.hidden_size)
        return both if self.is_lstm else both[:1]

    def module(self, namespace, **more):
        """Make the module, of the class that the namespace has under its name."""
        torch.manual_seed(self.seed)
        make = getattr(namespace, self.name)
        module = make(self.input_size, self.hidden_size, dtype=self.dtype, **self.options, **more)
        for weight in module.parameters():
            # A weight is written into, so no number of it is in two places.
            if self.memory.get("weights") in APART:
                weight.data = self.laid_out("weights", weight.data)
        return module

    def laid_out(self, part: str, tensor: Tensor) -> Tensor:
        """Lay a tensor out in memory as this part of the call."""
        return laid_out(tensor, self.memory.get(part))

    def numbers(self) -> Tensor:
        """The numbers of the input, padded if the input is packed; a leaf that wants gradients."""
        front = (self.batch,) if self.is_batched else ()
        if self.is_layer:
            front = (self.seq, *front)
            if self.options.get("batch_first"):
                front = front[::-1]
        numbers = self._normal("input", (*front, self.input_size), 1).detach()
        if self.data == "ones":
            numbers = torch.ones_like(numbers)
        elif self.data == "spoiled":
            numbers = numbers.clone(memory_format=torch.contiguous_format)
            numbers.view(-1)[:1] = torch.nan
            numbers.view(-1)[-1:] = torch.inf
        return self.laid_out("input", numbers).requires_grad_()

    def packed(self, numbers: Tensor) -> Tensor | PackedSequence:
        """What the module takes: the numbers, packed if the layout says so."""
        if not self.layout.startswith("packed"):
            return numbers
        is_first = self.options.get("batch_first", False)
        is_sorted = self.layout == "packed"
        return pack_padded_sequence(numbers, [*self.lengths], is_first, is_sorted)

    def input(self):
        """What the module takes."""
        return self.packed(self.numbers())

    def padded(self, numbers: Tensor) -> Tensor:
        """The numbers of an input, its padding written: steps that are one in memory would all be that."""
        way = self.memory.get("input")
        return laid_out(numbers, way if way in APART else None).requires_grad_()

    def counts(self) -> st.SearchStrategy[list[int]]:
        """Lengths as a call takes them, any of which may be zero."""
        return st.lists(st.integers(0, self.seq), min_size=self.batch, max_size=self.batch)

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of a right state; leaves that want gradients."""
        parts = zip("hc", self.state_shapes, (2, 3), strict=False)
        return tuple(self._normal(*part) for part in parts)

    def state(self):
        """A right state as torch takes it: a tensor, or a tuple of two."""
        tensors = self.tensors()
        return tensors if self.is_lstm else tensors[0]

    def _normal(self, part: str, shape: Sequence[int], number: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + number)
        numbers = torch.randn(shape, generator=generator).to(self.dtype)
        return self.laid_out(part, numbers).requires_grad_()


def tensors_of(result) -> list[Tensor]:
    """The tensors of a module's result or state, in order; those of a PackedSequence too."""
    if isinstance(result, Tensor):
        return [result]
    return [tensor for part in result if part is not None for tensor in tensors_of(part)]


def assert_same(expected, actual):
    """Two results, states or inputs hold the same tensors, bit for bit."""
    torch.testing.assert_close(
        tensors_of(actual), tensors_of(expected), rtol=0, atol=0, equal_nan=True
    )


def gradients(result, leaves: Sequence[Tensor], way: str | None = None) -> list[Tensor]:
    """The gradients of a sum in which every number of a result has a weight of its own.

    They are zeros where nothing reaches a leaf; ``way`` says how the weights lie in memory.
    """
    generator = torch.Generator().manual_seed(7)
    outputs = []
    weights = []
    for one in tensors_of(result):
        numbers = torch.randn(one.shape, generator=generator).to(one.dtype)
        if one.requires_grad:
            outputs.append(one)
            weights.append(laid_out(numbers, way))
    options = {"allow_unused": True, "materialize_grads": True}
    return [*torch.autograd.grad(outputs, leaves, weights, **options)]


def rows_of(options: dict[str, Any]) -> int:
    """The size of axis 0 of the state of a layer with such options."""
    return options.get("num_layers", 1) * (1 + options.get("bidirectional", False))


def options_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw what a class is told beside its sizes."""
    layers = ("batch_first", "bidirectional") if name in LAYERS else ()
    flags: dict[str, Any] = dict.fromkeys(("bias", *layers), st.booleans())
    if name.startswith("RNN"):
        flags["nonlinearity"] = st.sampled_from(["tanh", "relu"])
    # torch warns of dropout in a single layer, where it has no place to act.
    single = st.fixed_dictionaries({}, optional=flags)
    stacked = {"num_layers": st.integers(2, 3), "dropout": st.sampled_from([0.0, 0.4, 1.0])}
    return single | st.fixed_dictionaries(stacked, optional=flags) if layers else single


def few(most: int) -> settings:
    """Draw no more than so many examples, where each makes many calls."""
    return settings(max_examples=min(settings().max_examples, most))


@st.composite
def cases(
    draw: st.DrawFn,
    names: Sequence[str] = CLASSES,
    layouts: Sequence[str] = LAYOUTS,
    dtypes: Sequence[torch.dtype] = DTYPES,
    data: Sequence[str] = DATA,
) -> Case:
    """Draw a case whose sizes all differ, so that a swapped axis cannot pass."""
    name = draw(st.sampled_from(names))
    is_layer = name in LAYERS
    options = draw(options_of(name))
    free = [size for size in range(1, 12) if not is_layer or size != rows_of(options)]
    batch, seq, input_size, hidden_size, proj_size = draw(
        st.lists(st.sampled_from(free), min_size=5, max_size=5, unique=True)
    )
    if name == "LSTM" and draw(st.booleans()):
        options["proj_size"], hidden_size = sorted((proj_size, hidden_size))
    layout = draw(st.sampled_from([one for one in layouts if is_layer or "packed" not in one]))
    lengths = draw(st.lists(st.integers(1, seq), min_size=batch, max_size=batch))
    # Steps that no sequence has are no part of a PackedSequence.
    lengths[draw(st.integers(0, batch - 1))] = seq
    if layout == "packed":
        lengths.sort(reverse=True)
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "batch": batch, "seq": seq}
    call = {"layout": layout, "lengths": tuple(lengths), "dtype": draw(st.sampled_from(dtypes))}
    more = {"memory": draw(memories), "data": draw(st.sampled_from(data))}
    return Case(
        name=name, options=options, seed=draw(st.integers(0, 10**6)), **sizes, **call, **more
    )
