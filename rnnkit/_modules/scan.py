"""A cell over a sequence by torch's scan, where a compiler leaves the number of steps open."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.state import LSTMState, map_state
from rnnkit._base.torch_tools import is_exporting, is_open
from rnnkit._kernels.formulas import ByParts
from rnnkit._kernels.lengths import Lengths


class UnrollArgs(NamedTuple):
    """What a cell is run over, laid out ``(seq, batch, feature)``, and how."""

    input: Tensor
    #: The state before the first step, a cell's ``(batch, hidden)``; None if the cell makes it.
    hx: Any
    #: The samples' valid steps; None for all.
    lengths: Lengths | None = None
    #: ``(seq, batch)``, true where a sample is reset before that step; None: nowhere.
    reset: Tensor | None = None
    #: The state that a reset returns to.
    initial: Any = None
    #: Whether it runs from the last valid step to the first.
    reverse: bool = False
    #: Whether the state after every step is returned instead of the last one.
    return_states: bool = False
    #: Whether a step of the cell may be computed by its formula.
    plain: bool = False


def needs_scan(steps: Any, *, plain: bool) -> bool:
    """Return whether a compiler leaves a number of steps open, and scan may run the cell.

    A user's cell may do what scan forbids: only an exporter has no other way.
    """
    return is_open(steps) and (plain or is_exporting())


def where_state(mask: Tensor, new: Any, old: Any) -> Any:
    """Return the new state where a mask ``(batch,)`` or ``(seq, batch)`` is true, else the old."""

    def pick(one: Tensor, other: Tensor) -> Tensor:
        # By an index, without sizes: torch saves no exported program that asks for them here.
        return torch.where(mask[(..., *[None] * (one.dim() - mask.dim()))], one, other)

    return map_state(pick, new, old)


def run_scan(
    cell: Any, args: UnrollArgs, input: Tensor, valid: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is no public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    hx, initial, return_states = args.hx, args.initial, args.return_states
    if isinstance(cell, ByParts) and isinstance(hx, tuple):
        hx = LSTMState(*hx)  # what our cells return, whatever pair they begin with
    leaves, spec = pytree.tree_flatten(hx)

    def step(carry: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        x_t, *masks = now
        old = pytree.tree_unflatten(carry, spec)
        if reset is not None:
            old = where_state(masks[-1], initial, old)
        new = cell(x_t, old)
        output = new if isinstance(new, Tensor) else new[0]
        end = pytree.tree_leaves(new if valid is None else where_state(masks[0], new, old))
        # scan refuses results that share their memory.
        results = [output, *(end if return_states else ())]
        return [t.clone() for t in end], [t.clone() for t in results]

    over = [tensor for tensor in (input, valid, reset) if tensor is not None]
    ends, (output, *states) = scan(
        step,
        [t.clone() for t in leaves],
        [t.clone() for t in over],
        dim=0,
        reverse=args.reverse,
    )
    states = states if return_states else ends
    return without_padding(output, valid), pytree.tree_unflatten(states, spec)


def without_padding(output: Tensor, valid: Tensor | None) -> Tensor:
    """Return an output that is zero on padding."""
    if valid is None:
        return output
    return output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)
