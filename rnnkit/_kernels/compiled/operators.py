"""``rnnkit::layer`` and its backward, and how an operator is registered."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.torch_tools import is_exporting
from rnnkit._kernels.compiled.direction import (
    Options,
    derive_single,
    dtypes_of,
    nothing,
    run_single,
    workspace_of,
)

#: What both operators are told of the layer and of the call.
OPTIONS = "str mode, bool has_bias, bool reverse, ScalarType? lowered"

#: A compiler's cache on disk and a saved program know an operator by its name alone. Who changes
#: what one takes or returns, its sizes included, gives it another name: both would fail otherwise.
#: The workspace is an exception: a graph hands it on unread, and its size is the kernel's own.
LIBRARY: Any = torch.library.Library("rnnkit", "DEF")  # type: ignore[no-untyped-call]
LIBRARY.define(
    f"layer(Tensor input, Tensor h, Tensor? c, Tensor[] weights, {OPTIONS}, bool train)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
LIBRARY.define(
    "layer_backward(Tensor? on_output, Tensor? on_h, Tensor? on_c,"
    " Tensor input, Tensor h, Tensor? c, Tensor[] weights,"
    f" Tensor output, Tensor h_n, Tensor c_n, Tensor workspace, {OPTIONS})"
    " -> (Tensor, Tensor, Tensor, Tensor[])"
)


def run_operator(
    mode: str,
    weights: Sequence[Tensor],
    input: Tensor,
    state: tuple[Tensor, ...],
    *,
    bias: bool,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer in one direction over ``(seq, batch, feature)``, as one operator."""
    device, lowered = input.device.type, None
    if torch.is_autocast_enabled(device) and input.dtype is not torch.float64:
        lowered = torch.get_autocast_dtype(device)
    tensors = (input, *state, *weights)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    # An exported program is run more than it is trained, and gives torch's very numbers.
    train = train and not is_exporting()
    h, *others = state
    output, *ends, _ = torch.ops.rnnkit.layer.default(
        input, h, others[0] if others else None, list(weights), mode, bias, reverse, lowered, train
    )
    return output, tuple(ends[: len(state)])


def _fake_layer(
    input: Tensor, h: Tensor, c: Tensor | None, weights: list[Tensor], *rest: Any
) -> tuple[Tensor, ...]:
    options = Options(*rest[:-1])
    state = [h] if c is None else [h, c]
    shapes = [(*input.shape[:2], h.shape[2]), *(tensor.shape for tensor in state)]
    found = [
        input.new_empty(shape, dtype=dtype)
        for shape, dtype in zip(shapes, dtypes_of(options, input, state, weights), strict=True)
    ]
    found += [nothing(h) for _ in range(4 - len(found))]
    found[3] = workspace_of(options, input, h, train=rest[-1])
    return tuple(found)


def _fake_layer_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    input, h, c, weights = args[3:7]
    on_c = nothing(h) if c is None else c.new_empty(c.shape)
    on_weights = [weight.new_empty(weight.shape) for weight in weights]
    return input.new_empty(input.shape), h.new_empty(h.shape), on_c, on_weights


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    input, h, c, weights, *options, _ = inputs
    ctx.options = options
    ctx.set_materialize_grads(value=False)
    ctx.mark_non_differentiable(output[3], *(() if c is not None else output[2:3]))
    ctx.save_for_backward(input, h, c, *weights, *output)


def _derive(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
    input, h, c, *rest = ctx.saved_tensors
    weights, results = rest[:-4], rest[-4:]
    ignored = (None,) * (len(ctx.options) + 1)
    on_input, on_h, on_c, on_weights = torch.ops.rnnkit.layer_backward.default(
        *gradients[:3], input, h, c, weights, *results, *ctx.options
    )
    return on_input, on_h, None if c is None else on_c, on_weights, *ignored


def register(name: str, forward: Any, backward: Any, save: Any, derive: Any) -> None:
    """Register an operator and its backward, an operator too: each runs, and has a fake."""
    for each, (run, fake) in ((name, forward), (f"{name}_backward", backward)):
        for device in ("CPU", "CUDA"):
            LIBRARY.impl(each, run, device)
        torch.library.register_fake(f"rnnkit::{each}", fake, lib=LIBRARY)
    torch.library.register_autograd(f"rnnkit::{name}", derive, setup_context=save, lib=LIBRARY)


register("layer", (run_single, _fake_layer), (derive_single, _fake_layer_backward), _save, _derive)
