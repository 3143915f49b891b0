"""What both fuzzers draw from a seed: a module of torch's and ours, and a right call of it."""

import copy
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
DTYPES = (torch.float32, torch.float32, torch.float64, torch.bfloat16)


class Halved(nn.Module):
    """A parametrization of a user's."""

    def forward(self, weight: Tensor) -> Tensor:
        """Halve the weight."""
        return weight * 0.5


class Dropped(nn.Module):
    """A parametrization that draws random numbers."""

    def forward(self, weight: Tensor) -> Tensor:
        """Drop some of the weight."""
        return nn.functional.dropout(weight, 0.3)


def put(module: Any, name: str) -> Any:
    """Put a weight before a parameter."""
    module.__dict__[name] = getattr(module, name).detach() * 2
    return module


#: What people do to a module between its making and its call.
TREATMENTS: dict[str, Callable[[Any, str], Any]] = {
    "none": lambda module, _: module,
    "deepcopy": lambda module, _: copy.deepcopy(module),
    "pickle": lambda module, _: pickle.loads(pickle.dumps(module)),
    "eval": lambda module, _: module.eval(),
    "frozen": lambda module, _: module.requires_grad_(requires_grad=False),
    "pruned": lambda module, name: prune.l1_unstructured(module, name, 0.4),
    "weight_norm": parametrizations.weight_norm,
    "halved": lambda m, name: nn.utils.parametrize.register_parametrization(m, name, Halved()),
    "dropped": lambda m, name: nn.utils.parametrize.register_parametrization(m, name, Dropped()),
    "dict": put,
    "replaced": lambda m, name: m.__setattr__(name, nn.Parameter(getattr(m, name) * 2)) or m,
    "in place": lambda module, name: getattr(module, name).data.mul_(2) is None or module,
    "moved": lambda module, _: module.to("cpu"),
    "hook": lambda module, _: module.register_forward_hook(lambda *_: None) and module,
}


class Odd(Tensor):
    """A tensor of a user's own class."""


class Named:
    """A mixin that has nothing to do with torch."""

    label = "mine"


def calls_super(base: Any) -> dict[str, Any]:
    """A forward that passes on what it gets."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return base.forward(self, *args, **kwargs)

    return {"forward": forward}


def looks_up(base: Any) -> dict[str, Any]:
    """A lookup of attributes of a user's own, which finds what torch's finds."""

    def find(self: Any, name: str) -> Any:
        return base.__getattr__(self, name)

    return {"__getattr__": find}


def doubles(base: Any) -> dict[str, Any]:
    """A property before a weight, which is twice the parameter."""
    name = "weight_hh" if issubclass(base, nn.RNNCellBase) else "weight_hh_l0"
    return {name: property(lambda self: self._parameters[name] * 2)}


def checks(base: Any) -> dict[str, Any]:
    """A check of a user's own, which asks torch's."""
    if not hasattr(base, "check_input"):
        return {}

    def check_input(self: Any, *args: Any) -> None:
        nn.RNNBase.check_input(self, *args)

    return {"check_input": check_input}


#: What people derive from a class.
SUBCLASSES: dict[str, Callable[[Any], Any]] = {
    "none": lambda base: base,
    "empty": lambda base: type("Own", (base,), {}),
    "mixin": lambda base: type("Own", (Named, base), {"_mode": "x", "_cell": 1}),
    "torch's body": lambda base: type("Own", (base,), {"forward": torchs(base).forward}),
    "super": lambda base: type("Own", (base,), calls_super(base)),
    "lookup": lambda base: type("Own", (base,), looks_up(base)),
    "property": lambda base: type("Own", (base,), doubles(base)),
    "check": lambda base: type("Own", (base,), checks(base)),
}


def torchs(base: Any) -> Any:
    """Torch's class of a name."""
    return getattr(nn, base.__name__)


def under_inference(tensor: Tensor) -> Tensor:
    """A tensor that autograd cannot save."""
    with torch.inference_mode():
        return tensor.detach().clone()


#: What people make of a tensor that changes no number.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda tensor: tensor,
    "subclass": lambda tensor: tensor.as_subclass(Odd),  # type: ignore[arg-type,return-value]
    "parameter": lambda tensor: nn.Parameter(tensor.detach()),
    "not a leaf": lambda tensor: tensor.detach().requires_grad_() * 1,
    "negative view": lambda tensor: torch._neg_view(-tensor),
    "reversed": lambda tensor: tensor.flip(0).flip(0),
    "inference": under_inference,
    "buffer": lambda tensor: nn.Buffer(tensor.detach()),
}


@dataclass
class Draw:
    """A right call, drawn from a seed."""

    seed: int
    name: str = ""
    sizes: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    treatment: str = "none"
    weight: str = ""
    layout: str = "padded"
    batch: int = 1
    seq: int = 1
    autocast: bool = False
    lowered: torch.dtype = torch.bfloat16
    grad: str = "grad"
    subclass: str = "none"
    kind: str = "plain"
    elsewhere: bool = False

    @property
    def is_layer(self) -> bool:
        """Whether it runs over a sequence."""
        return self.name in LAYERS

    @property
    def is_lstm(self) -> bool:
        """Whether it carries a pair."""
        return "LSTM" in self.name

    def module(self, space: Any) -> Any:
        """Make the module, of torch's class or of ours, and treat it."""
        torch.manual_seed(self.seed)
        kind = SUBCLASSES[self.subclass](getattr(space, self.name))
        made = kind(*self.sizes, **self.options).to(self.dtype)
        torch.manual_seed(self.seed + 1)
        return TREATMENTS[self.treatment](made, self.weight)

    def input(self) -> Any:
        """Make the input."""
        torch.manual_seed(self.seed + 2)
        rng = random.Random(self.seed + 2)
        front = [self.batch] if self.layout != "unbatched" else []
        if self.is_layer:
            front = [self.seq, *front]
            if self.options.get("batch_first") and len(front) > 1:
                front.reverse()
        x = torch.randn(*front, self.sizes[0]).to(self.dtype)
        how = rng.choice(("plain", "strided", "transposed", "expanded"))
        if how == "strided":
            x = torch.stack([x, x], -1)[..., 0]
        elif how == "transposed" and x.dim() > 1:
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        elif how == "expanded" and x.dim() > 1:
            x = x[:1].expand(x.shape)
        if self.layout.startswith("packed"):
            lengths = [rng.randint(1, self.seq) for _ in range(self.batch)]
            lengths[rng.randrange(self.batch)] = self.seq
            if self.layout == "packed sorted":
                lengths.sort(reverse=True)
            first = bool(self.options.get("batch_first"))
            return pack_padded_sequence(
                x, lengths, first, enforce_sorted=self.layout == "packed sorted"
            )
        if self.kind != "plain":
            return KINDS[self.kind](x)
        return x.detach().requires_grad_() if rng.random() < 0.5 else x

    def state_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each tensor of a state."""
        front: tuple[int, ...] = (self.batch,) if self.layout != "unbatched" else ()
        if self.is_layer:
            rows = self.options.get("num_layers", 1)
            front = (rows * (2 if self.options.get("bidirectional") else 1), *front)
        widths = [self.options.get("proj_size") or self.sizes[1], self.sizes[1]]
        return [(*front, width) for width in widths[: 2 if self.is_lstm else 1]]

    def state(self) -> Any:
        """Make a right state, or none."""
        rng = random.Random(self.seed + 3)
        torch.manual_seed(self.seed + 3)
        if rng.random() < 0.3:
            return None
        dtypes = [self.dtype, self.dtype]
        if self.autocast and self.is_layer and rng.random() < 0.4:
            dtypes = [rng.choice(DTYPES), rng.choice(DTYPES)]
        tensors = [
            torch.randn(shape).to(dtype)
            for shape, dtype in zip(self.state_shapes(), dtypes, strict=False)
        ]
        how = rng.choice(("plain", "parameter", "strided", "leaf", "zeros"))
        if how == "parameter":
            tensors = [nn.Parameter(tensor) for tensor in tensors]
        elif how == "strided":
            tensors = [torch.stack([tensor, tensor], -1)[..., 0] for tensor in tensors]
        elif how == "leaf":
            tensors = [tensor.requires_grad_() for tensor in tensors]
        elif how == "zeros":
            tensors = [tensor * 0 for tensor in tensors]
        if rng.random() < 0.3:
            tensors = [KINDS[self.kind](tensor) for tensor in tensors]
        if self.is_lstm and not self.is_layer and rng.random() < 0.2:
            tensors[1] = tensors[1].detach().to(rng.choice((torch.float32, torch.float64)))
        if not self.is_lstm:
            return tensors[0]
        # torch itself takes no list for packed input.
        kinds: tuple[Any, ...] = (tuple, rnnkit.LSTMState._make, tuple)
        return rng.choice(kinds)(tensors)


def draw(seed: int) -> Draw:
    """Draw a right call."""
    rng = random.Random(seed)
    drawn = Draw(seed, rng.choice(LAYERS + CELLS))
    least = 1 if drawn.is_layer else rng.choice((0, 1, 1, 1, 1))
    drawn.sizes = (rng.randint(least, 9), rng.randint(least or rng.choice((0, 1)), 9))
    options = drawn.options
    if rng.random() < 0.3:
        options["bias"] = rng.random() < 0.5
    if "RNN" in drawn.name and rng.random() < 0.5:
        options["nonlinearity"] = rng.choice(("tanh", "relu"))
    drawn.batch, drawn.seq = rng.choice((1, 1, 2, 3, 5, 8)), rng.choice((1, 2, 3, 4, 7, 11))
    if drawn.is_layer:
        options["num_layers"] = rng.choice((1, 1, 2, 3))
        options["bidirectional"] = rng.random() < 0.4
        options["batch_first"] = rng.random() < 0.4
        if options["num_layers"] > 1 and rng.random() < 0.5:
            options["dropout"] = rng.choice((0.0, 0.3, 1.0))
        if drawn.is_lstm and drawn.sizes[1] > 1 and rng.random() < 0.25:
            options["proj_size"] = rng.randint(1, drawn.sizes[1] - 1)
        drawn.layout = rng.choice(
            ("padded", "padded", "unbatched", "packed sorted", "packed unsorted")
        )
    else:
        drawn.layout = rng.choice(("padded", "padded", "unbatched"))
    drawn.dtype = rng.choice(DTYPES)
    drawn.treatment = rng.choice(list(TREATMENTS)) if min(drawn.sizes) else "none"
    end = "_l0" if drawn.is_layer else ""
    drawn.weight = rng.choice(("weight_ih", "weight_hh")) + end
    drawn.autocast = rng.random() < 0.15
    drawn.grad = rng.choice(("grad", "grad", "no_grad", "inference"))
    more = random.Random(seed + 7)
    drawn.lowered = more.choice((torch.bfloat16, torch.bfloat16, torch.float16))
    drawn.subclass = more.choice(["none"] * 6 + list(SUBCLASSES))
    drawn.kind = more.choice(["plain"] * 6 + list(KINDS))
    drawn.elsewhere = more.random() < 0.1
    return drawn
