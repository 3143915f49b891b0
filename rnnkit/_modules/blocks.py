"""A user's cell in blocks of steps that torch compiles: a block once, for any number of steps."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.state import map_state
from rnnkit._base.torch_tools import is_jit_traced, is_transformed
from rnnkit._checks.objects import versions
from rnnkit._modules.cell_steps import check_block
from rnnkit._modules.sequence import CellFunction, StepInputs, UnrollArgs, parameters_of

#: What runs steps one after the other, and is compiled for a block of them.
Loop = Callable[[CellFunction, UnrollArgs, StepInputs], tuple[Tensor, Any]]

#: The compiled loop of each cell. A cell that is copied or saved knows nothing of it.
COMPILED: weakref.WeakKeyDictionary[Any, Loop] = weakref.WeakKeyDictionary()
#: Each cell has its own few graphs, where torch can count them so; else all share a limit of eight.
APART = "isolate_recompiles" in inspect.signature(torch.compile).parameters


def takes_blocks(args: UnrollArgs) -> bool:
    """Return whether steps may run in blocks: of a user's cell, forward, for its last state."""
    if args.block is None or args.is_known or args.reverse or args.return_states:
        return False
    return not is_transformed() and not is_jit_traced()


def run_blocks(
    loop: Loop, cell: CellFunction, args: UnrollArgs, steps: StepInputs
) -> tuple[Tensor, Any]:
    """Run the steps that fill no block as they are, then whole blocks."""
    size: Any = args.block
    count = steps.input.shape[0]
    first = count % size
    if first == 0 and steps.hx is None:  # the cell makes its state at the first step
        first = size
    begin, *blocks = _cut(steps, [first] + [size] * ((count - first) // size))
    # Not the lengths: a graph would hold for these alone.
    args = UnrollArgs(steps.input, None, initial=args.initial)

    hx = steps.hx
    outputs = []
    if first:
        output, hx = loop(cell, args, begin._replace(hx=hx))
        outputs.append(output)
    compiled = _compiled(loop, cell)
    for number, block in enumerate(blocks):
        start = _alike(cell, block.input, hx)
        before = versions(start)
        output, hx = compiled(cell, args, block._replace(hx=start))
        check_block(cell, hx, start, before, first + number * size, block)
        outputs.append(output)
    return torch.cat(outputs), hx


def _cut(steps: StepInputs, sizes: list[int]) -> list[StepInputs]:
    """Cut what the steps read into pieces of so many; one backward step is for all of them."""
    inputs = torch.split(steps.input, sizes)
    nothing = [None] * len(sizes)
    valid = nothing if steps.valid is None else torch.split(steps.valid, sizes)
    reset = nothing if steps.reset is None else torch.split(steps.reset, sizes)
    return [StepInputs(x, None, *masks) for x, *masks in zip(inputs, valid, reset, strict=True)]


def _compiled(loop: Loop, cell: CellFunction) -> Loop:
    """Return the compiled loop of a cell."""
    if cell not in COMPILED:
        options: Any = {"isolate_recompiles": True} if APART else {}
        COMPILED[cell] = torch.compile(loop, **options)
    return COMPILED[cell]


def _alike(cell: CellFunction, input: Tensor, hx: Any) -> Any:
    """Return the state before a block as later blocks are given theirs: one that has a gradient.

    Zeros have none, and a compiler would make one more graph for the first block.
    """
    if not torch.is_grad_enabled():
        return hx
    if not any(tensor.requires_grad for tensor in (input, *parameters_of(cell))):
        return hx

    def with_gradient(tensor: Tensor) -> Tensor:
        if tensor.requires_grad or not tensor.is_floating_point():
            return tensor
        return tensor.detach().requires_grad_()

    return map_state(with_gradient, hx)
