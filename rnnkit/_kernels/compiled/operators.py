"""``rnnkit::layer`` and its backward, and how an operator is registered."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.torch_tools import is_exporting
from rnnkit._kernels.compiled.direction import derive_single, fake_single, nothing, run_single

#: Arguments of both operators that are not tensors.
SCHEMA_OPTIONS = "str mode, bool has_bias, bool reverse, ScalarType? lowered"

#: A compiler's cache on disk and a saved program know an operator only by its name. Who changes
#: what one takes or returns, its sizes included, renames it: both would fail otherwise.
#: The workspace is an exception: a graph only passes it along, and the kernel knows its size.
#: torch's word for a kernel that is made of operators which each device has.
ON_ANY_DEVICE = "CompositeExplicitAutograd"
#: Whoever loads rnnkit again in a process, as a reload or torch.package does, finds the operators
#: of the first load, which the namespace of the process keeps.
OF_PROCESS: Any = torch.ops.rnnkit
LIBRARY: Any = getattr(OF_PROCESS, "library", None) or torch.library.Library("rnnkit", "DEF")  # type: ignore[no-untyped-call]
OF_PROCESS.library = LIBRARY


def define(schema: str) -> bool:
    """Define an operator of torch, and return true; return false if it is defined already.

    ``schema`` is ``name(arguments) -> results``. Whoever loads rnnkit twice in a process finds the
    operators of the first load in ``OF_PROCESS``, ``torch.ops.rnnkit``.
    """
    if hasattr(OF_PROCESS, schema.partition("(")[0]):
        return False
    LIBRARY.define(schema)
    return True


IS_NEW = define(
    f"layer(Tensor input, Tensor h, Tensor? c, Tensor[] weights, {SCHEMA_OPTIONS}, bool train)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
define(
    "layer_backward(Tensor? on_output, Tensor? on_h, Tensor? on_c,"
    " Tensor input, Tensor h, Tensor? c, Tensor[] weights,"
    f" Tensor output, Tensor h_n, Tensor c_n, Tensor workspace, {SCHEMA_OPTIONS})"
    " -> (Tensor, Tensor, Tensor, Tensor[])"
)


def run_operator(
    mode: str,
    weights: Sequence[Tensor],
    input: Tensor,
    state: tuple[Tensor, ...],
    *,
    bias: bool,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer in one direction over ``(seq, batch, feature)``, as one operator.

    ``mode`` is torch's name of the recurrence, such as ``"LSTM"``; ``state`` is h and an LSTM's c,
    ``(1, batch, hidden)``; ``bias``: there are biases among the weights. With ``reverse`` it runs
    from the last step to the first. Returns the output and the last states.
    """
    device = input.device.type
    lowered = None
    if torch.is_autocast_enabled(device) and input.dtype is not torch.float64:
        lowered = torch.get_autocast_dtype(device)
    tensors = (input, *state, *weights)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    # An exported program is run more than it is trained, and returns torch's very numbers.
    train = train and not is_exporting()
    h, c = (*state, None)[:2]
    output, *ends, _ = torch.ops.rnnkit.layer.default(
        input, h, c, list(weights), mode, bias, reverse, lowered, train
    )
    return output, tuple(ends[: len(state)])


# complexipy: ignore - five short functions that share its arguments
def register(
    name: str, run: Any, fake: Any, backward: Any, *, derived: int, results: int, others: int
) -> None:
    """Register an operator and its backward, which is also an operator.

    ``run`` computes the operator ``name``, ``fake`` returns its results without numbers, and
    ``backward`` computes the gradients. The backward operator takes gradients of the first three
    results (output, h, c), the first ``derived`` arguments, the first ``results`` of the results,
    and ``others`` of the arguments after the derived ones; it returns a gradient for each derived
    argument, an empty tensor for None. ``on_`` is short for the gradient of.
    """

    def run_backward(on_output: Any, on_h: Any, on_c: Any, input: Tensor, *args: Any) -> Any:
        """Return the gradients: no operator returns None, and an empty tensor stands for it."""
        return pytree.tree_map(
            lambda each: nothing(input) if each is None else each.contiguous(),
            backward(on_output, on_h, on_c, input, *args),
        )

    def fake_backward(on_output: Any, on_h: Any, on_c: Any, input: Tensor, *args: Any) -> Any:  # noqa: ARG001
        """Return tensors in the shapes of the derived arguments, which gradients have."""
        return pytree.tree_map(
            lambda each: nothing(input) if each is None else each.new_empty(each.shape),
            (input, *args)[:derived],
        )

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep on ``ctx`` what the backward operator takes, tensors apart from all else."""
        needed = inputs[:derived], output[:results], inputs[derived : derived + others]
        leaves, ctx.spec = pytree.tree_flatten(needed)
        ctx.options = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        ctx.save_for_backward(*(leaf if isinstance(leaf, Tensor) else None for leaf in leaves))
        ctx.surplus = len(inputs) - derived
        ctx.set_materialize_grads(value=False)
        ctx.mark_non_differentiable(*output[3:])

    def derive(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Return a gradient for each argument of the operator: None of those not derived."""
        pairs = zip(ctx.saved_tensors, ctx.options, strict=True)
        leaves = [option if tensor is None else tensor for tensor, option in pairs]
        given, returned, rest = pytree.tree_unflatten(leaves, ctx.spec)
        run = getattr(torch.ops.rnnkit, f"{name}_backward").default
        both = zip(given, run(*gradients[:3], *given, *returned, *rest), strict=True)
        return *(None if one is None else on_it for one, on_it in both), *[None] * ctx.surplus

    LIBRARY.impl(name, run, ON_ANY_DEVICE)
    LIBRARY.impl(f"{name}_backward", run_backward, ON_ANY_DEVICE)
    torch.library.register_fake(f"rnnkit::{name}", fake, lib=LIBRARY)
    torch.library.register_fake(f"rnnkit::{name}_backward", fake_backward, lib=LIBRARY)
    torch.library.register_autograd(f"rnnkit::{name}", derive, setup_context=save, lib=LIBRARY)


if IS_NEW:
    register("layer", run_single, fake_single, derive_single, derived=4, results=4, others=4)
