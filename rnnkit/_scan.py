"""Any cell over a number of steps that a compiler or an exporter leaves open."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._state import map_state


def needs_scan(steps: Any, *, plain: bool) -> bool:
    """Say whether a number of steps is open, and a cell may be run by scan.

    A user's cell may do what scan forbids: only an exporter has no other way.
    """
    from torch.fx.experimental import symbolic_shapes  # noqa: PLC0415 - as below

    # torch 2.6 has none, and fixes every number of steps.
    is_static: Any = getattr(symbolic_shapes, "has_static_value", bool)
    return not is_static(steps) and (plain or torch.compiler.is_exporting())


def choose(mask: Tensor, new: Any, old: Any) -> Any:
    """Take the new state where the mask ``(batch,)`` is true, else the old one."""

    def pick(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (one.dim() - 1)), one, other)

    return map_state(pick, new, old)


def run_scan(
    cell: Any,
    input: Tensor,
    hx: Any,
    valid: Tensor | None,
    reset: Tensor | None,
    initial: Any,
    *,
    reverse: bool,
    return_states: bool,
) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is no public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    leaves, spec = pytree.tree_flatten(hx)

    # A compiler reads it, and runs what it made of it.
    def step(  # pragma: no cover
        carry: list[Tensor], now: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        x_t, *masks = now
        old = pytree.tree_unflatten(carry, spec)
        if reset is not None:
            old = choose(masks[-1], initial, old)
        new = cell(x_t, old)
        output = new if isinstance(new, Tensor) else new[0]
        end = pytree.tree_leaves(new if valid is None else choose(masks[0], new, old))
        # scan refuses results that share their memory.
        results = [output, *(end if return_states else ())]
        return [t.clone() for t in end], [t.clone() for t in results]

    over = [tensor for tensor in (input, valid, reset) if tensor is not None]
    ends, (output, *states) = scan(
        step, [t.clone() for t in leaves], [t.clone() for t in over], dim=0, reverse=reverse
    )
    if valid is not None:
        output = output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)
    return output, pytree.tree_unflatten(states if return_states else ends, spec)
