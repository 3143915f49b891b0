"""One layer in one direction: torch's kernel, and its derivatives by one call each.

The forward pass is torch's own kernel, bit for bit, except for a GRU that is trained on a CPU: it
is written out, since torch's kernel keeps no gates, and its last bit may differ. The backward pass
is

- oneDNN's own for a float32 LSTM on a CPU, from the workspace that its forward pass has left;
- written out for a GRU or an RNN on a CPU;
- torch's for everything else: its kernel runs once more, recorded, and is differentiated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from rnnkit._base.torch_tools import lacks_kernel
from rnnkit._kernels.cudnn import in_one_block
from rnnkit._kernels.derivatives import derive_again, through_gates
from rnnkit._kernels.gates import Schedule, gru_forward
from rnnkit._kernels.recurrences import RECURRENCES

#: oneDNN's recurrence and its backward pass, private to torch: None in a torch without them.
ONEDNN: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
ONEDNN_BACKWARD: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer_backward", None)
#: torch's number of the LSTM among oneDNN's recurrences.
ONEDNN_LSTM = 2
#: The workspaces of oneDNN that are still alive: it must not read any other memory as one.
WORKSPACES: WeakSet[torch.UntypedStorage] = WeakSet()

#: Gradients of the input, of both members of the state and of the weights.
Derived = tuple[Tensor, Tensor, Tensor | None, Sequence[Tensor]]


class OperatorCall(NamedTuple):
    """The arguments of an operator, in its order; the state is ``(1, batch, hidden)``."""

    input: Tensor
    h: Tensor
    c: Tensor | None
    weights: Sequence[Tensor]
    #: torch's name of the recurrence.
    mode: str
    #: Whether there are biases among the weights.
    has_bias: bool
    #: Whether it runs from the last step to the first.
    reverse: bool
    #: The dtype of the caller's autocast; None without.
    lowered: torch.dtype | None
    #: Whether a backward pass will follow; the backward operator has no such argument.
    train: bool = False

    @property
    def state(self) -> list[Tensor]:
        """H, and an LSTM's c."""
        return [self.h] if self.c is None else [self.h, self.c]

    @property
    def is_projected(self) -> bool:
        """Whether an LSTM's h is projected: its weights are then one more."""
        return len(self.weights) % 2 == 1

    @property
    def is_by_hand(self) -> bool:
        """Whether rnnkit's own backward pass runs: of an RNN or GRU on a CPU, without autocast."""
        is_precise = self.input.dtype in {torch.float32, torch.float64}
        is_plain = self.mode != "LSTM" and self.lowered is None
        return is_plain and self.input.is_cpu and is_precise

    @property
    def has_onednn(self) -> bool:
        """Whether oneDNN runs this call: an LSTM on a CPU, without a projection.

        Without autocast (``lowered`` is None) it runs float32 only; under autocast torch converts
        any input to ``lowered``, so that the input's own dtype does not matter.
        """
        input = self.input
        mkldnn = torch.backends.mkldnn
        takes_dtype = self.lowered is not None or input.dtype is torch.float32
        if self.mode != "LSTM" or not input.is_cpu or not takes_dtype:
            return False
        if None in (ONEDNN, ONEDNN_BACKWARD) or not mkldnn.enabled:
            return False
        has = input.numel() > 0 and not self.is_projected
        return has and mkldnn.is_available()  # type: ignore[no-untyped-call]


def call_of(*args: Any) -> OperatorCall:
    """Return an operator's arguments as a record, ``lowered`` None where autocast cannot be obeyed.

    ``lowered`` is the dtype of the caller's autocast. It may ask for a fused LSTM in half precision
    that this CPU does not have: such a call runs in its own dtype.
    """
    call = OperatorCall(*args)
    if call.lowered is None:
        return call
    with torch.autocast(call.input.device.type, dtype=call.lowered):
        lacks = lacks_kernel(call.mode, call.is_projected, call.input)
    return call._replace(lowered=None) if lacks else call


def nothing(like: Tensor) -> Tensor:
    """Return a tensor without elements, which stands for None."""
    return like.new_empty(0, dtype=torch.uint8)


def run_single(*args: Any) -> tuple[Tensor, ...]:
    """Run one layer in one direction: what the operator ``rnnkit::layer`` does.

    ``args`` are the fields of ``OperatorCall``. Returns the output ``(seq, batch, hidden)``, the
    last h and c ``(1, batch, hidden)``, and a workspace for the backward pass: oneDNN's, or a GRU's
    gates. An empty tensor stands for what there is not.
    """
    call = call_of(*args)
    if call.lowered is None and call.has_onednn:
        return _run_onednn(call)
    has_steps = len(call.input) > 0  # without any, torch has the error to raise
    if call.train and has_steps and call.mode == "GRU" and call.is_by_hand:
        return _run_gru(call)
    with torch.no_grad():
        results = _run_torch(call)
    # An operator's outputs are no views, of each other or of an input.
    found = [
        result.to(dtype, copy=bool(place)).contiguous()
        for place, (result, dtype) in enumerate(zip(results, dtypes_of(call), strict=True))
    ]
    return *found, *(nothing(call.h) for _ in range(4 - len(found)))


def fake_single(*args: Any) -> tuple[Tensor, ...]:
    """Return tensors as ``run_single`` does, without computing them: a compiler reads their shapes.

    ``args`` are the fields of ``OperatorCall``. The fourth, the workspace, is empty, except of a
    GRU whose gates are kept.
    """
    call = call_of(*args)
    input = call.input
    h = call.h
    shapes = [(*input.shape[:2], h.shape[2]), *(tensor.shape for tensor in call.state)]
    pairs = zip(shapes, dtypes_of(call), strict=True)
    found = [input.new_empty(shape, dtype=dtype) for shape, dtype in pairs]
    found += [nothing(h) for _ in range(4 - len(found))]
    if call.train and call.mode == "GRU" and call.is_by_hand:
        found[3] = input.new_empty(4 * input.shape[0] * h.numel())
    return tuple(found)


def dtypes_of(call: OperatorCall) -> list[torch.dtype]:
    """Return the dtypes of output, h and, for an LSTM, c, as torch's kernels return them.

    They are those of the arguments, unless autocast lowers them (``call.lowered``).
    """
    lowered = call.lowered
    if lowered is None:
        return [tensor.dtype for tensor in (call.input, *call.state)]
    is_fused = not call.input.is_cpu or call.has_onednn
    if is_fused or call.mode.startswith("RNN"):
        return [lowered] * (1 + len(call.state))
    # On a CPU each step of a GRU or an LSTM mixes what autocast lowers with the state.
    mixed = torch.promote_types(call.state[-1].dtype, lowered)
    if call.is_projected:  # output and h are a product, which is lowered; c is mixed
        return [lowered, lowered, mixed]
    return [mixed] * (1 + len(call.state))


def _run_torch(call: OperatorCall) -> list[Tensor]:
    """Return output, h and, for an LSTM, c by torch's kernel, under the caller's autocast.

    torch has no layer that runs only backward: with ``reverse`` the input is flipped, and so is the
    output.
    """
    input = call.input.flip(0) if call.reverse else call.input
    recurrence = RECURRENCES[call.mode]
    train = torch.is_grad_enabled()
    hx: Any = call.h if call.c is None else (call.h, call.c)
    weights = call.weights
    if input.is_cuda:
        weights = in_one_block(weights, recurrence)
    # Without autocast's cache, which would hand a recorded run what was cast unrecorded.
    with torch.autocast(
        input.device.type, call.lowered, enabled=call.lowered is not None, cache_enabled=False
    ):
        output, *ends = recurrence.kernel(
            input, hx, weights, call.has_bias, 1, 0.0, train, False, False
        )
    return [output.flip(0) if call.reverse else output, *ends]


def _run_onednn(call: OperatorCall) -> tuple[Tensor, ...]:
    """Return output, h, c and the workspace of oneDNN's LSTM, which its backward pass reads.

    Without ``call.train`` there is none, and an empty tensor stands for it.
    """
    # The kernel leaves a workspace only where gradients are on. A compiler cannot know its size: it
    # is returned as the storage of a tensor without elements. A copy of that tensor has a different
    # storage, and the backward pass then runs torch's kernel once more.
    with torch.set_grad_enabled(call.train):
        output, h_n, c_n, workspace = ONEDNN.default(
            *_for_onednn(call), call.reverse, [], ONEDNN_LSTM, call.h.shape[-1], 1, call.has_bias,
            False, False, call.train,
        )  # fmt: skip
    if workspace is None:
        return output, h_n, c_n, nothing(call.input)
    WORKSPACES.add(workspace.untyped_storage())
    return output, h_n, c_n, workspace[:0]


def _for_onednn(call: OperatorCall) -> list[Tensor]:
    """Return the input, four weights, h and c, contiguous, as oneDNN takes them.

    It knows no LSTM without biases: zeros stand for them.
    """
    weights = [*call.weights]
    if not call.has_bias:
        weights += [weights[0].new_zeros(weights[0].shape[0])] * 2
    return [call.input.contiguous(), *weights, *(tensor.contiguous() for tensor in call.state)]


def _run_gru(call: OperatorCall) -> tuple[Tensor, ...]:
    """Run a GRU by rnnkit's own loop, which keeps its gates; torch's kernel does not.

    Returns the output ``(seq, batch, hidden)``, the last h ``(1, batch, hidden)``, an empty tensor
    for c, and the gates as one flat buffer, which the backward pass reads.
    """
    steps, batch = call.input.shape[:2]
    schedule = Schedule([batch] * steps, call.reverse)
    weights: Any = (*call.weights, None, None)[:4]  # None for each bias that there is not
    output, _, (kept,) = gru_forward(
        call.input.flatten(0, 1), (call.h[0],), weights, schedule, keep=True
    )
    output = output.view(steps, batch, call.h.shape[2])
    return output, output[schedule.order[-1]].unsqueeze(0).clone(), nothing(call.h), kept


def derive_single(
    on_output: Tensor | None,
    on_h: Tensor | None,
    on_c: Tensor | None,
    input: Tensor,
    h: Tensor,
    c: Tensor | None,
    weights: Sequence[Tensor],
    output: Tensor,
    h_n: Tensor,
    c_n: Tensor,
    workspace: Tensor,
    *options: Any,
) -> Derived:
    """Return gradients of the input, h, c and the weights: what ``rnnkit::layer_backward`` does.

    ``on_`` is short for the gradient of: the first three are those of the results, None for zeros.
    Then come the arguments ``(input, h, c, weights)`` and results ``(output, h_n, c_n, workspace)``
    of the forward operator, and its options. oneDNN's workspace is known by its memory; a GRU's
    gates may be missing (empty). Then torch's kernel runs once more, and is differentiated.
    """
    gradients = (on_output, on_h, on_c)
    call = call_of(input, h, c, weights, *options)
    if call.mode == "LSTM" and workspace.untyped_storage() in WORKSPACES:
        return _derive_onednn(call, gradients, output, h_n, c_n, left=workspace)
    if call.is_by_hand and (call.mode != "GRU" or len(workspace)):
        return _derive_hand(call, gradients, output, workspace)

    def run(input: Tensor, h: Tensor, c: Tensor | None, weights: Sequence[Tensor]) -> list[Tensor]:
        return _run_torch(call._replace(input=input, h=h, c=c, weights=weights))

    derived: Derived = derive_again(run, (input, h, c, weights), gradients)
    return derived


def _derive_onednn(
    call: OperatorCall, gradients: Sequence[Tensor | None], *outputs: Tensor, left: Tensor
) -> Derived:
    """Return gradients of the input, h, c and the weights by oneDNN's backward pass.

    ``gradients`` are those of ``outputs``: output, h and c; None for zeros. ``left`` is an empty
    tensor in whose memory the forward pass has left its workspace.
    """
    workspace = left.new_empty(0).set_(left.untyped_storage())
    whole = [
        torch.zeros_like(output) if gradient is None else gradient.contiguous()
        for gradient, output in zip(gradients, outputs, strict=True)
    ]
    on_input, *on_weights, on_h, on_c = ONEDNN_BACKWARD.default(
        *_for_onednn(call), *outputs, *whole, call.reverse, ONEDNN_LSTM, call.h.shape[-1], 1,
        call.has_bias, True, False, [], False, workspace,
    )  # fmt: skip
    # Both biases have the same gradient, and oneDNN returns it twice as one tensor.
    on_weights[3] = on_weights[3].clone()
    return on_input, on_h, on_c, on_weights[: len(call.weights)]


def _derive_hand(
    call: OperatorCall, gradients: Sequence[Tensor | None], output: Tensor, kept_gates: Tensor
) -> Derived:
    """Return gradients of the input, h, no c, and the weights of an RNN or a GRU.

    ``gradients`` are those of output and last h, None for zeros; ``output`` is ``(seq, batch,
    hidden)``. ``kept_gates`` is the flat buffer that a GRU's forward pass has kept.
    """
    on_output, on_h, _ = gradients
    h = call.h
    steps, batch = output.shape[:2]
    before = torch.cat([output[1:], h] if call.reverse else [h, output[:-1]]).flatten(0, 1)
    now = torch.zeros_like(h) if on_h is None else on_h.clone()
    on_output = torch.zeros_like(output) if on_output is None else on_output
    data = call.input.flatten(0, 1)
    kept = (kept_gates,) if call.mode == "GRU" else ()
    backward = RECURRENCES[call.mode].backward
    on_gates = backward(
        on_output.flatten(0, 1).contiguous(), [now[0]], (output.flatten(0, 1), before, *kept),
        call.weights[1], Schedule([batch] * steps, call.reverse),
    )  # fmt: skip
    needed = (True, True, True, call.has_bias, call.has_bias)
    found = through_gates(on_gates, data, before, call.weights[0], needed)
    on_data, *on_weights = (part for part in found if part is not None)
    return on_data.view(call.input.shape), now, None, on_weights
