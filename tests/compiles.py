"""What tests that compile or export share: marks, a switch, a training step."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

#: A compiler reads ``.grad`` of what it traces, and torch warns of that whoever reads it.
compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

#: Of tests that make one whole graph.
WHOLE = [
    pytest.mark.slow,
    pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning"),
    # Inductor imports what is deprecated.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method`"),
    compiles,
]


def trained(model: nn.Module, call: Any, *args: Any, **kwargs: Any) -> tuple[list[Any], list[Any]]:
    """Results and gradients of a training step, dropout drawn alike each time."""
    torch.manual_seed(1)
    model.zero_grad()
    leaves = [x.detach().requires_grad_() for x in pytree.tree_leaves(args) if x is not None]
    given = iter(leaves)
    args = pytree.tree_map(lambda x: None if x is None else next(given), args)
    results = pytree.tree_leaves(call(*args, **kwargs))
    weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape) for x in results]
    sum((x * w).sum() for x, w in zip(results, weights, strict=True)).backward()
    return results, [x.grad for x in (*model.parameters(), *leaves)]
