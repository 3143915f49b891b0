"""One layer in one direction as an operator that a compiler leaves whole.

A compiler that looks into torch's kernels unrolls every step, and fails at oneDNN's derivative.
Here it sees two operators, ``rnnkit::layer`` and its backward, whose graph does not grow with the
steps. The forward pass is torch's own kernel, bit for bit. The backward pass is

- oneDNN's own, of a float32 LSTM on a CPU, from the workspace that its forward pass has left;
- by hand, of a GRU or an RNN on a CPU: the gates of all steps are computed again in two products;
- of everything else torch's: its kernel runs once more, recorded, and is differentiated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._kernels.gates import BACKWARD, gru_gates

#: oneDNN's recurrence and its backward pass, private to torch: None in a torch without them.
ONEDNN: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
ONEDNN_BACKWARD: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer_backward", None)
#: torch's number of the LSTM among oneDNN's recurrences.
ONEDNN_LSTM = 2

#: What both operators are told of the layer and of the call.
OPTIONS = "str mode, bool has_bias, bool reverse, ScalarType? lowered"

LIBRARY = torch.library.Library("rnnkit", "DEF")
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


class Options(NamedTuple):
    """What an operator is told beside tensors."""

    #: torch's name of the recurrence.
    mode: str
    #: Whether there are biases among the weights.
    has_bias: bool
    #: Whether it runs from the last step to the first.
    reverse: bool
    #: The dtype of the caller's autocast; None without.
    lowered: torch.dtype | None


def run_operator(
    mode: str,
    weights: Sequence[Tensor],
    input: Tensor,
    state: tuple[Tensor, ...],
    *,
    bias: bool,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer in one direction as one operator.

    Args:
        mode: torch's name of the recurrence.
        weights: the weights in the order of torch's kernels.
        input: ``(seq, batch, feature)``.
        state: the tensors of the first state, each ``(1, batch, hidden)``.
        bias: whether there are biases among the weights.
        reverse: whether to run from the last step to the first; the output stays in the input's
            order.

    Returns:
        The output ``(seq, batch, hidden)``, and the state after the step that is run last.
    """
    device = input.device.type
    lowered = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    tensors = (input, *state, *weights)
    train = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    h, *others = state
    output, *ends, _ = torch.ops.rnnkit.layer.default(
        input, h, others[0] if others else None, list(weights), mode, bias, reverse, lowered, train
    )
    return output, tuple(ends[: len(state)])


def _layer(
    input: Tensor, h: Tensor, c: Tensor | None, weights: list[Tensor], *rest: Any
) -> tuple[Tensor, ...]:
    options, train = Options(*rest[:-1]), rest[-1]
    input, *state = (tensor.contiguous() for tensor in (input, h, c) if tensor is not None)
    if _has_onednn(options, input, weights):
        return _run_onednn(options, input, state, weights, train=train)
    with torch.no_grad():
        output, *ends = _run_torch(options, input, state, weights)
    # An operator's outputs are no views, of each other or of an input.
    h_n, *others = (end.clone() for end in ends)
    return output.contiguous(), h_n, others[0] if others else _nothing(h), _nothing(h)


def _run_torch(
    options: Options, input: Tensor, state: Sequence[Tensor], weights: list[Tensor]
) -> list[Tensor]:
    mode, has_bias, reverse, lowered = options
    kernel = getattr(torch, mode.lower())
    if reverse:
        input = input.flip(0)
    hx: Any = tuple(state) if len(state) > 1 else state[0]
    # Without autocast's cache, which would hand a recorded run what was cast unrecorded.
    with torch.autocast(
        input.device.type, dtype=lowered, enabled=lowered is not None, cache_enabled=False
    ):
        train = torch.is_grad_enabled()
        output, *ends = kernel(input, hx, weights, has_bias, 1, 0.0, train, False, False)
    return [output.flip(0) if reverse else output, *ends]


def _has_onednn(options: Options, input: Tensor, weights: Sequence[Tensor]) -> bool:
    return (
        options.mode == "LSTM"
        and options.lowered is None
        and input.device.type == "cpu"
        and input.dtype is torch.float32
        and len(weights) == (4 if options.has_bias else 2)
        and input.numel() > 0
        and ONEDNN is not None
        and ONEDNN_BACKWARD is not None
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def _run_onednn(
    options: Options,
    input: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    train: bool,
) -> tuple[Tensor, ...]:
    # The kernel leaves a workspace where gradients are on, and only there.
    with torch.set_grad_enabled(train):
        output, h_n, c_n, workspace = ONEDNN.default(
            input, *_four(weights), *state, options.reverse, [], ONEDNN_LSTM, state[0].shape[-1],
            1, options.has_bias, False, False, train,
        )  # fmt: skip
    return output, h_n, c_n, _nothing(input) if workspace is None else workspace


def _four(weights: Sequence[Tensor]) -> list[Tensor]:
    return [*weights, *[weights[0].new_zeros(weights[0].shape[0])] * (4 - len(weights))]


def _nothing(like: Tensor) -> Tensor:
    return like.new_empty(0, dtype=torch.uint8)


def _layer_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    options = Options(*args[-len(Options._fields) :])
    gradients, (input, h, c, weights), results = args[:3], args[3:7], args[7:11]
    input, *state = (tensor.contiguous() for tensor in (input, h, c) if tensor is not None)
    run = _derive_torch
    if results[-1].numel():
        run = _derive_onednn
    elif _has_hand(options, input, state, weights):
        run = _derive_hand
    on_input, on_state, on_weights = run(options, gradients, input, state, weights, results)
    on_h, *others = (gradient.contiguous() for gradient in on_state)
    on_weights = [gradient.contiguous() for gradient in on_weights]
    return on_input.contiguous(), on_h, others[0] if others else _nothing(h), on_weights


#: Gradients of the input, of the first state and of the weights.
Derived = tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]


def _derive_onednn(
    options: Options,
    gradients: Sequence[Tensor | None],
    input: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    results: Sequence[Tensor],
) -> Derived:
    *outputs, workspace = results
    whole = [
        torch.zeros_like(output) if gradient is None else gradient.contiguous()
        for gradient, output in zip(gradients, outputs, strict=True)
    ]
    on_input, *on_weights, on_h, on_c = ONEDNN_BACKWARD.default(
        input, *_four(weights), *state, *outputs, *whole, options.reverse, ONEDNN_LSTM,
        state[0].shape[-1], 1, options.has_bias, True, False, [], False, workspace,
    )  # fmt: skip
    # Both biases have the same gradient, and oneDNN gives it twice as one tensor.
    on_weights[3] = on_weights[3].clone()
    return on_input, (on_h, on_c), on_weights[: len(weights)]


def _has_hand(
    options: Options, input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]
) -> bool:
    return (
        options.mode != "LSTM"
        and options.lowered is None
        and input.device.type == "cpu"
        and input.dtype in (torch.float32, torch.float64)
    )


def _derive_hand(
    options: Options,
    gradients: Sequence[Tensor | None],
    input: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    results: Sequence[Tensor],
) -> Derived:
    on_output, on_h, _ = gradients
    output, data, (h,) = results[0], input.flatten(0, 1), state
    steps, batch = output.shape[:2]
    earlier = (output[1:], h) if options.reverse else (h, output[:-1])
    before, after = torch.cat(earlier).flatten(0, 1), output.flatten(0, 1)
    kept = gru_gates(data, before, weights) if options.mode == "GRU" else ()
    on_output = torch.zeros_like(output) if on_output is None else on_output.contiguous()
    now = torch.zeros_like(h) if on_h is None else on_h.clone()
    order = range(steps) if options.reverse else range(steps - 1, -1, -1)
    given, recurrent = BACKWARD[options.mode](
        on_output.flatten(0, 1), [now[0]], (after, before, *kept), weights[1],
        [batch] * steps, order,
    )  # fmt: skip
    on_weights = [given.t() @ data, recurrent.t() @ before]
    if options.has_bias:
        on_weights += [given.sum(0), recurrent.sum(0)]
    return (given @ weights[0]).view(input.shape), (now,), on_weights


def _derive_torch(
    options: Options,
    gradients: Sequence[Tensor | None],
    input: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    results: Sequence[Tensor],  # noqa: ARG001 - as the others
) -> Derived:
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (input, *state, *weights)]
        count = 1 + len(state)
        outputs = _run_torch(options, leaves[0], leaves[1:count], leaves[count:])
        # The engine takes None for zeros, but not for all outputs: those are not differentiated.
        given = list(zip(outputs, gradients, strict=False))
        reached = [output for output, gradient in given if gradient is not None]
        found = torch.autograd.grad(
            reached, leaves, [gradient for _, gradient in given if gradient is not None],
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
    return found[0], found[1:count], found[count:]


def _fake_layer(
    input: Tensor, h: Tensor, c: Tensor | None, weights: list[Tensor], *rest: Any
) -> tuple[Tensor, ...]:
    options, train = Options(*rest[:-1]), rest[-1]
    dtypes = [tensor.dtype for tensor in (input, h, c) if tensor is not None]
    if options.lowered is not None:
        # What autocast makes of each result only torch's kernel knows: one step tells.
        one = [input.new_empty(1, *input.shape[1:]), *(t for t in (h, c) if t is not None)]
        dtypes = [t.dtype for t in _run_torch(options, one[0], one[1:], weights)]
    output = input.new_empty(*input.shape[:2], h.shape[2], dtype=dtypes[0])
    h_n = h.new_empty(h.shape, dtype=dtypes[1])
    c_n = _nothing(h) if c is None else c.new_empty(c.shape, dtype=dtypes[2])
    workspace = _nothing(input)
    if train and _has_onednn(options, input, weights):
        size = torch.library.get_ctx().new_dynamic_size()
        workspace = input.new_empty(size, dtype=torch.uint8)
    return output, h_n, c_n, workspace


def _fake_layer_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    input, h, c, weights = args[3:7]
    on_c = _nothing(h) if c is None else c.new_empty(c.shape)
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


for _device in ("CPU", "CUDA"):
    LIBRARY.impl("layer", _layer, _device)
    LIBRARY.impl("layer_backward", _layer_backward, _device)
torch.library.register_fake("rnnkit::layer", _fake_layer, lib=LIBRARY)
torch.library.register_fake("rnnkit::layer_backward", _fake_layer_backward, lib=LIBRARY)
torch.library.register_autograd("rnnkit::layer", _derive, setup_context=_save, lib=LIBRARY)
