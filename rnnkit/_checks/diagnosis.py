"""The other way of a call, which does not fit its guard: what is wrong with it.

It returns only if a tensor is not dense: torch's class then takes the call, with its own checks.
Where guard and diagnosis disagree, the call is refused without a cause.
"""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, DtypeError, LengthsError, RnnkitError
from rnnkit._base.message import refuse
from rnnkit._base.state import tensors_of
from rnnkit._checks.arrays import outlined_array
from rnnkit._checks.call_spec import CallSpec, check_dense, described, is_dense, spec_of
from rnnkit._checks.causes.inputs import check_dtype, check_shape, refuse_type
from rnnkit._checks.causes.states import check_batch, check_sizes, check_state_tensors
from rnnkit._checks.guards import broken_rule
from rnnkit._checks.objects import UnrollCall, check_cell_object


class ModuleCall(NamedTuple):
    """The call of a layer or a cell, as a whole; ``weight`` is the one that its guard has read."""

    module: Any
    input: Any
    hx: Any
    weight: Tensor | None


def diagnose(call: ModuleCall, *, has_pieces: bool = False) -> None:
    """Raise what is wrong with a call of a layer or cell that did not fit its guard.

    Nothing is raised only if a tensor is not dense and ``has_pieces`` is False: torch's class then
    takes the call. With ``has_pieces`` it has lengths or resets, which torch's class has not. A
    call with nothing wrong is refused too, as a mistake of rnnkit's.
    """
    module, input, hx, weight = call
    is_layer = issubclass(type(module), RNNBase)
    data: Any = input
    if is_layer and isinstance(input, PackedSequence):
        rule = broken_rule(input)
        data = input.data
        if rule:
            refuse_fields(module, input, rule)
    elif not isinstance(input, Tensor):
        refuse_type(module, input, first=is_layer and module.batch_first, many=is_layer)
    refuse_nested(module, data, hx)
    spec = spec_of(module, input, "layer" if is_layer else "cell")
    # Sizes, whoever takes the call: on packed input torch's class would read beyond a state.
    check_shape(spec, data, weight)
    check_sizes(spec, hx)
    if has_pieces or all(map(is_dense, tensors_of_call(data, hx))):
        check_tensors(spec, data, hx, weight)
        refuse_without_cause(module, data, hx)


def tensors_of_call(input: Any, hx: Any) -> list[Tensor]:
    """Return the tensors of an input and a state."""
    return [part for part in (input, *tensors_of(hx)) if isinstance(part, Tensor)]


def refuse_nested(module: Any, input: Any, hx: Any) -> None:
    """Refuse nested tensors, of an input or in a state ``hx``, whose shapes cannot be read."""
    for tensor in tensors_of_call(input, hx):
        if tensor.is_nested:
            check_dense(module, tensor, "input" if tensor is input else "hx")


def check_tensors(spec: CallSpec, input: Tensor, hx: Any, weight: Tensor | None) -> None:
    """Refuse an input or a state of the right sizes for its layout, dtype or device.

    None as ``hx`` is zeros; None as ``weight``: no weight is known that the input must be like.
    """
    check_dense(spec.module, input)
    if weight is not None:
        check_dtype(spec, input, weight)
    if hx is not None:
        check_state_tensors(spec, hx, input)


def refuse_without_cause(module: Any, input: Any, hx: Any) -> NoReturn:
    """Refuse a call that its guard refused, and in which nothing wrong was found: always raises.

    One of the two checks is then a mistake of our own.
    """
    refuse(
        RnnkitError,
        "input",
        "rnnkit refused this call, but then found nothing wrong with it",
        f"{described(module)}: two checks of rnnkit disagree, so nothing was computed",
        ("input", outlined_array(input)),
        ("hx", ", ".join(map(outlined_array, tensors_of(hx)))),
        fix=[
            "report this message, with the versions that python -m rnnkit prints",
            "until rnnkit is fixed, use torch's own modules, without lengths: rnnkit.revert(model)",
        ],
        code="no-cause",
    )


def refuse_fields(layer: Any, input: PackedSequence, rule: str) -> NoReturn:
    """Refuse packed input whose fields break a ``rule``, in the words of ``broken_rule``.

    If they count more steps than there are, the lengths went beyond the padded steps.
    """
    code = "packed-fields"
    sentence = f"packed input has an invalid field: {rule}"
    headline = described(layer)
    fix = "build it with pack_padded_sequence; to change only its data: input._replace(data=...)"
    if rule.startswith("batch_sizes count") and input.batch_sizes.sum() > len(input.data):
        code = "lengths-packed-range"
        sentence = f"a length exceeds dimension size: {rule}"  # as torch says it
        headline += ": a length given to pack_padded_sequence exceeds the steps of its input"
        fix = "check how the lengths were counted; to cut them: lengths.clamp(max=steps)"
    refuse(LengthsError, "input", sentence, headline, fix=fix, code=code)


def diagnose_unrolled(call: UnrollCall, weight: Tensor | None) -> NoReturn:
    """Raise what is wrong with a cell over a sequence; it always raises.

    ``weight`` is one of the cell's; None of a user's cell, whose batch alone is known.
    """
    cell, input, hx, *_ = call
    is_known = weight is not None
    if not is_known:
        check_cell_object(cell)
    if not isinstance(input, Tensor):
        refuse_type(cell, input, first=call.batch_first, many=True)
    refuse_nested(cell, input, hx)
    spec = call.spec(is_known=is_known)
    check_shape(spec, input, weight)
    if is_known:
        check_sizes(spec, hx)
        check_tensors(spec, input, hx, weight)
    elif hx is not None and spec.batch is not None:
        check_batch(spec, hx)
    refuse_without_cause(cell, input, hx)


#: The note of an error about a state that no caller gave.
FROM_INITIAL_STATE = "hx is what initial_state returned"


def diagnose_initial_state(spec: CallSpec, initial: Any, like: Tensor) -> NoReturn:
    """Raise what is wrong with ``initial``, which a module's own ``initial_state`` returned.

    ``like`` is the input, whose dtype and device it must have.
    """
    try:
        if spec.is_known:
            check_sizes(spec, initial)
            check_state_tensors(spec, initial, like)
        else:
            check_batch(spec, initial)
    except RnnkitError as error:
        # The caller may have given a state, which is right.
        error.add_note(FROM_INITIAL_STATE)
        raise
    refuse_without_cause(spec.module, like, initial)


def explain_layer_step(layer: Any, x_t: Tensor, state: Any) -> None:
    """Refuse a step of a layer; return if only the layer's call finds what is wrong."""
    spec = spec_of(layer, x_t, "step")
    weight = layer._flat_weights[0]  # noqa: SLF001
    check_shape(spec, x_t, weight)
    check_sizes(spec, state)
    check_tensors(spec, x_t, state, weight)


#: How torch begins what these functions explain.
CONSTANT = "Cannot insert a Tensor that requires grad as a constant"
NO_KERNEL = "could not create a primitive"


def explain_torchs_error(layer: Any, error: Exception) -> None:
    """Raise instead of an error of torch's that does not tell what to do; return for any other.

    ``layer`` is the one whose call raised ``error``.
    """
    text = str(error)
    if text.startswith(CONSTANT):
        _explain_constant(layer, error)
    elif text.startswith(NO_KERNEL):
        _explain_missing_kernel(layer, error)


def _explain_constant(layer: Any, error: Exception) -> NoReturn:
    """Raise that torch.jit.trace of a function takes a called layer's weights for constants.

    ``error`` is what torch raised.
    """
    refuse(
        ArgumentError,
        "input",
        CONSTANT,
        f"{described(layer)}: torch.jit.trace of a function makes the weights constants",
        fix=[
            "torch.jit.trace(model, ...), where model is a module that holds the layer",
            "or layer.requires_grad_(False) before the trace, to keep the weights as constants",
        ],
        code="trace-function",
        source=error,
    )


def _explain_missing_kernel(layer: Any, error: Exception) -> NoReturn:
    """Raise that this CPU has no kernel for autocast's dtype; ``error`` is what torch raised."""
    lowered = torch.get_autocast_dtype("cpu")
    level = torch.backends.cpu.get_cpu_capability()
    refuse(
        DtypeError,
        "input",
        str(error).partition(". ")[0],
        f"{described(layer)}: autocast asks for an LSTM in {lowered}, which this CPU does not have",
        evidence="in training, no CPU has it in float16, and only CPUs with AVX-512 have it in "
        f"bfloat16; torch reports {level} here",
        fix=[
            "with torch.autocast('cpu', enabled=False): around the call, in the weights' dtype",
            "or lengths=[...], each sample's valid steps, which uses a different kernel",
        ],
        code="kernel-missing",
        source=error,
    )
