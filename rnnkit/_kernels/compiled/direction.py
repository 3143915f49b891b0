"""One layer in one direction: torch's kernel, and its derivatives by one call each.

The forward pass is torch's own kernel, bit for bit, but for a GRU that is trained on a CPU: it is
written out, since torch's kernel keeps no gates, and its last bit may be another. The backward pass
is

- oneDNN's own, of a float32 LSTM on a CPU, from the workspace that its forward pass has left;
- written out, of a GRU or an RNN on a CPU;
- of everything else torch's: its kernel runs once more, recorded, and is differentiated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from rnnkit._base.torch_tools import lacks_kernel
from rnnkit._kernels.derivatives import BACKWARD, detached, differentiate_again, through_gates
from rnnkit._kernels.gates import FORWARD

#: oneDNN's recurrence and its backward pass, private to torch: None in a torch without them.
ONEDNN: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
ONEDNN_BACKWARD: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer_backward", None)
#: torch's number of the LSTM among oneDNN's recurrences.
ONEDNN_LSTM = 2
#: The workspaces that oneDNN has left and somebody still keeps: it reads no other memory as one.
WORKSPACES: WeakSet[torch.UntypedStorage] = WeakSet()


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


def run_single(
    input: Tensor, h: Tensor, c: Tensor | None, weights: list[Tensor], *rest: Any
) -> tuple[Tensor, ...]:
    options, train = _lowered(Options(*rest[:-1]), input, weights), rest[-1]
    state = [h] if c is None else [h, c]
    if options.lowered is None and _has_onednn(options.mode, input, weights):
        return _run_onednn(options, input, state, weights, train=train)
    if train and len(input) and _has_own_forward(options, input):  # no step is torch's to refuse
        return _run_gru(options, input, h, weights)
    with torch.no_grad():
        results = _run_torch(options, input, state, weights)
    # An operator's outputs are no views, of each other or of an input.
    found = [
        result.to(dtype, copy=bool(place)).contiguous()
        for place, (result, dtype) in enumerate(
            zip(results, dtypes_of(options, input, state, weights), strict=True)
        )
    ]
    return *found, *(nothing(h) for _ in range(4 - len(found)))


def _lowered(options: Options, input: Tensor, weights: Sequence[Tensor]) -> Options:
    """Leave autocast aside where it asks for a kernel that is not on this CPU."""
    if options.lowered is None:
        return options
    with torch.autocast(input.device.type, dtype=options.lowered):
        lacks = lacks_kernel(options.mode, len(weights) % 2, input)
    return options._replace(lowered=None) if lacks else options


def dtypes_of(
    options: Options, input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[torch.dtype]:
    """Return the dtypes of output and state, which autocast mixes."""
    lowered = _lowered(options, input, weights).lowered
    if lowered is None:
        return [tensor.dtype for tensor in (input, *state)]
    mixed = torch.promote_types(state[-1].dtype, lowered)
    one_kernel = input.device.type != "cpu" or _has_onednn(options.mode, input, weights)
    if one_kernel or options.mode.startswith("RNN"):
        mixed = lowered
    is_projected = len(weights) % 2 == 1
    return [lowered if is_projected else mixed] * len(state) + [mixed]


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


def workspace_of(options: Options, input: Tensor, h: Tensor, *, train: bool) -> Tensor:
    """Return a tensor as the one that goes from the forward pass to the backward one."""
    if train and _has_own_forward(options, input):
        return input.new_empty(4 * input.shape[0] * h.numel())
    return nothing(h)


def _has_onednn(mode: str, input: Tensor, weights: Sequence[Tensor]) -> bool:
    if mode != "LSTM" or input.device.type != "cpu" or input.dtype is not torch.float32:
        return False
    if None in (ONEDNN, ONEDNN_BACKWARD) or not torch.backends.mkldnn.enabled:
        return False
    is_projected = len(weights) % 2 == 1
    has = input.numel() > 0 and not is_projected
    return has and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _run_onednn(
    options: Options,
    input: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    train: bool,
) -> tuple[Tensor, ...]:
    # The kernel leaves a workspace where gradients are on, and only there. How large it is no
    # compiler could know: it goes on as the storage of a tensor without elements. A copy of that
    # tensor has a different storage, and the backward pass then runs torch's kernel once more.
    with torch.set_grad_enabled(train):
        output, h_n, c_n, workspace = ONEDNN.default(
            input.contiguous(), *_four(weights), *(tensor.contiguous() for tensor in state),
            options.reverse, [], ONEDNN_LSTM, state[0].shape[-1], 1, options.has_bias, False, False,
            train,
        )  # fmt: skip
    if workspace is None:
        return output, h_n, c_n, nothing(input)
    WORKSPACES.add(workspace.untyped_storage())
    return output, h_n, c_n, workspace[:0]


def _four(weights: Sequence[Tensor]) -> Sequence[Tensor]:
    if len(weights) == 4:
        return weights
    return [*weights, *[weights[0].new_zeros(weights[0].shape[0])] * 2]


def nothing(like: Tensor) -> Tensor:
    return like.new_empty(0, dtype=torch.uint8)


def derive_single(*args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    gradients, (input, h, c, weights), results = args[:3], args[3:7], args[7:11]
    options = _lowered(Options(*args[-len(Options._fields) :]), input, weights)
    state = [h] if c is None else [h, c]
    run = _derive_torch
    if options.mode == "LSTM" and results[-1].untyped_storage() in WORKSPACES:
        run = _derive_onednn
    elif _has_hand(options, input) and (options.mode != "GRU" or len(results[-1])):
        run = _derive_hand
    on_input, on_state, on_weights = run(options, gradients, input, state, weights, results)
    on_h, *others = (gradient.contiguous() for gradient in on_state)
    on_weights = [gradient.contiguous() for gradient in on_weights]
    return on_input.contiguous(), on_h, others[0] if others else nothing(h), on_weights


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
    *outputs, left = results
    workspace = left.new_empty(0).set_(left.untyped_storage())
    whole = [
        torch.zeros_like(output) if gradient is None else gradient.contiguous()
        for gradient, output in zip(gradients, outputs, strict=True)
    ]
    on_input, *on_weights, on_h, on_c = ONEDNN_BACKWARD.default(
        input.contiguous(), *_four(weights), *(tensor.contiguous() for tensor in state),
        *outputs, *whole, options.reverse, ONEDNN_LSTM, state[0].shape[-1], 1, options.has_bias,
        True, False, [], False, workspace,
    )  # fmt: skip
    # Both biases have the same gradient, and oneDNN gives it twice as one tensor.
    on_weights[3] = on_weights[3].clone()
    return on_input, (on_h, on_c), on_weights[: len(weights)]


def _has_hand(options: Options, input: Tensor) -> bool:
    return (
        options.mode != "LSTM"
        and options.lowered is None
        and input.device.type == "cpu"
        and input.dtype in {torch.float32, torch.float64}
    )


def _run_gru(
    options: Options, input: Tensor, h: Tensor, weights: list[Tensor]
) -> tuple[Tensor, ...]:
    steps, batch = input.shape[:2]
    weight_ih, weight_hh, *biases = weights
    bias_ih, bias_hh = biases or (None, None)
    order = range(steps)[::-1] if options.reverse else range(steps)
    output, _, (kept,) = FORWARD["GRU"](
        input.flatten(0, 1), (h[0],), (weight_ih, weight_hh, bias_ih, bias_hh),
        [batch] * steps, order, _entered, keep=True,
    )  # fmt: skip
    output = output.view(steps, batch, h.shape[2])
    return output, output[order[-1]].unsqueeze(0).clone(), nothing(h), kept


def _entered(_: int, state: Tensor, __: Tensor) -> Tensor:
    """Let a step begin with the state that the step before has left: all steps have one batch."""
    return state


def _has_own_forward(options: Options, input: Tensor) -> bool:
    return options.mode == "GRU" and _has_hand(options, input)


def _derive_hand(
    options: Options,
    gradients: Sequence[Tensor | None],
    input: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    results: Sequence[Tensor],
) -> Derived:
    on_output, on_h, _ = gradients
    (output, *_, workspace), (h,), reverse = results, state, options.reverse
    steps, batch = output.shape[:2]
    before = torch.cat([output[1:], h] if reverse else [h, output[:-1]]).flatten(0, 1)
    now = torch.zeros_like(h) if on_h is None else on_h.clone()
    on_output = torch.zeros_like(output) if on_output is None else on_output
    order = range(steps) if reverse else range(steps)[::-1]
    data, kept = input.flatten(0, 1), (workspace,) if options.mode == "GRU" else ()
    on_gates = BACKWARD[options.mode](
        on_output.flatten(0, 1).contiguous(), [now[0]], (output.flatten(0, 1), before, *kept),
        weights[1], [batch] * steps, order,
    )  # fmt: skip
    needed = (True, True, True, options.has_bias, options.has_bias)
    found = through_gates(on_gates, data, before, weights[0], needed)
    on_data, *on_weights = (part for part in found if part is not None)
    return on_data.view(input.shape), (now,), on_weights


def _derive_torch(
    options: Options,
    gradients: Sequence[Tensor | None],
    input: Tensor,
    state: Sequence[Tensor],
    weights: list[Tensor],
    results: Sequence[Tensor],  # noqa: ARG001 - as the others
) -> Derived:
    count = len(state)

    def run(input: Tensor, *rest: Tensor) -> list[Tensor]:
        return _run_torch(options, input, rest[:count], list(rest[count:]))

    found: Any = differentiate_again(run, detached([input, *state, *weights]), gradients)
    return found[0], found[1 : 1 + count], found[1 + count :]
