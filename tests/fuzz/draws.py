"""A right call, drawn: of a module that was treated as people treat theirs, with any right tensors."""

import copy
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils import _pytree as pytree

import rnnkit
from tests.strategies import CLASSES, DTYPES, Case, cases, tensors_of


def moved(module, _: str):
    """Move a module to another dtype, and back."""
    dtype = next(module.parameters()).dtype
    return module.double().to(dtype)


#: What people do to a module and its weight of a name between its making and its call.
TREATMENTS = {
    "none": lambda module, _: module,
    "deepcopy": lambda module, _: copy.deepcopy(module),
    "pickle": lambda module, _: pickle.loads(pickle.dumps(module)),
    "eval": lambda module, _: module.eval(),
    "frozen": lambda module, _: module.requires_grad_(False),
    "pruned": lambda module, name: prune.l1_unstructured(module, name, 0.4),
    "weight_norm": parametrizations.weight_norm,
    "dropped": lambda m, name: parametrize.register_parametrization(m, name, nn.Dropout(0.3)),
    "dict": lambda m, name: vars(m).update({name: getattr(m, name).detach() * 2}) or m,
    "replaced": lambda m, name: setattr(m, name, nn.Parameter(getattr(m, name) * 2)) or m,
    "in place": lambda module, name: getattr(module, name).data.mul_(2) is None or module,
    "moved": moved,
    "hook": lambda module, _: module.register_forward_hook(lambda *_: None) and module,
}


class Odd(Tensor):
    """A tensor of a user's own class."""


def own(base, **body):
    """Derive a class, beside a mixin that has nothing to do with torch."""
    return type("Own", (type("Named", (), {"label": "mine"}), base), body)


def doubles(base):
    """Derive a class with a property before a weight, which is twice the parameter."""
    name = "weight_hh" if issubclass(base, nn.RNNCellBase) else "weight_hh_l0"
    return own(base, **{name: property(lambda self: self._parameters[name] * 2)})


#: What people derive from a class.
SUBCLASSES = {
    "none": lambda base: base,
    "empty": own,
    "names": lambda base: own(base, _mode="x", _cell=1),
    "torch's body": lambda base: own(base, forward=getattr(nn, base.__name__).forward),
    "super": lambda base: own(base, forward=lambda *given, **named: base.forward(*given, **named)),
    "lookup": lambda base: own(base, __getattr__=lambda self, name: base.__getattr__(self, name)),
    "property": doubles,
    "check": lambda base: own(base, check_input=lambda *given: nn.RNNBase.check_input(*given)),
}

#: What people make of a tensor that changes no number.
KINDS = {
    "leaf": lambda tensor: tensor,
    "plain": Tensor.detach,
    "subclass": lambda tensor: tensor.detach().as_subclass(Odd),
    "parameter": lambda tensor: nn.Parameter(tensor.detach()),
    "not a leaf": lambda tensor: tensor * 1,
    "negative view": lambda tensor: torch._neg_view(-tensor.detach()),
    "inference": torch.inference_mode()(lambda tensor: tensor.detach().clone()),
    "buffer": lambda tensor: nn.Buffer(tensor.detach()),
    "zeros": lambda tensor: tensor.detach() * 0,
}
MODES = {"none": nullcontext, "no_grad": torch.no_grad, "inference": torch.inference_mode}


@dataclass(frozen=True, kw_only=True)
class Draw(Case):
    """A use of a module: its treatment, its subclass, the kinds of its tensors, what is set around it."""

    treatment: str = "none"
    weight: str = "weight_hh"
    subclass: str = "none"
    kind: str = "leaf"
    kind_of_state: str = "leaf"
    state_dtypes: tuple[torch.dtype | None, ...] = (None, None)
    stateless: bool = False
    lowered: torch.dtype | None = None
    mode: str = "none"
    elsewhere: bool = False

    def module(self, namespace, **more):
        """Make the module, of torch's class or of ours, and treat it."""
        kind = SUBCLASSES[self.subclass](getattr(namespace, self.name))
        made = super().module(type("Space", (), {self.name: kind}), **more)
        return TREATMENTS[self.treatment](made, self.weight + "_l0" * self.is_layer)

    def input(self):
        """Make the input."""
        return self.packed(KINDS[self.kind](self.numbers()))

    def state(self):
        """Make a right state, or none."""
        kind = KINDS[self.kind_of_state]
        each = zip(self.tensors(), self.state_dtypes, strict=False)
        tensors = [kind(tensor).to(dtype or self.dtype) for tensor, dtype in each]
        if self.stateless or not self.is_lstm:
            return None if self.stateless else tensors[0]
        return rnnkit.LSTMState(*tensors) if self.seed % 3 == 0 else tuple(tensors)

    def run(self, namespace, *call, **options):
        """Call a module: return the tensors, what they depend on, the output's type; or the error."""
        lower = torch.autocast("cpu", self.lowered, enabled=self.lowered is not None)
        device = torch.device("meta") if self.elsewhere else nullcontext()
        try:
            module = self.module(namespace)
            call = call or (self.input(), self.state())
            torch.manual_seed(self.seed)
            with MODES[self.mode](), lower, device:
                result = module(*call, **options)
        except Exception as error:
            return error
        wanted = [*module.parameters(), *filter(torch.is_tensor, pytree.tree_leaves(call))]
        return tensors_of(result), [one for one in wanted if one.requires_grad], type(result[0])


ODD = {"subclass": SUBCLASSES, "kind": KINDS, "kind_of_state": KINDS, "mode": MODES}
#: What is drawn beside a case: most of what is odd is rare, so that it is seen beside what is usual.
CHOICES = {
    **{name: [*[*values][:1] * len(values), *values] for name, values in ODD.items()},
    "treatment": [*TREATMENTS],
    "weight": ["weight_ih", "weight_hh"],
    "stateless": [False, False, True],
    "elsewhere": [False] * 9 + [True],
    "lowered": [None] * 6 + [torch.bfloat16, torch.float16],
}


@st.composite
def draws(draw: st.DrawFn, names: Sequence[str] = CLASSES) -> Draw:
    """Draw a right call."""
    case = draw(cases(names))
    dtypes = (None, None)
    more = {name: draw(st.sampled_from(values)) for name, values in CHOICES.items()}
    if more["lowered"] and case.is_layer:
        dtypes = draw(st.tuples(*[st.sampled_from((None, None, *DTYPES))] * 2))
    elif case.name == "LSTMCell":
        dtypes = None, draw(st.sampled_from((*[None] * 6, torch.float32, torch.float64)))
    return Draw(**vars(case), state_dtypes=dtypes, **more)
