"""The other way of a call, which does not fit its guard: what is wrong with it.

It returns only if a tensor is not dense or not real: torch's class then takes the call, with its
own checks. Where guard and diagnosis disagree, the call is refused without a cause.
"""

from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.errors import ArgumentError, DtypeError, LengthsError, RnnkitError
from rnnkit._base.message import refusal
from rnnkit._checks.arrays import outlined_array
from rnnkit._checks.call_spec import (
    CallSpec,
    check_dense,
    described,
    is_not_strided,
    message_rows,
    parts_of,
    spec_of,
)
from rnnkit._checks.causes.inputs import check_dtype, check_input, check_shape, refuse_type
from rnnkit._checks.causes.states import check_batch, check_state
from rnnkit._checks.guards import fitting_fields
from rnnkit._checks.objects import check_cell_object


class ModuleCall(NamedTuple):
    """The call of a layer or a cell, as a whole; ``weight`` is the one that its guard has read."""

    module: Any
    input: Any
    hx: Any
    weight: Tensor | None


def diagnose(call: ModuleCall, *, has_pieces: bool = False) -> None:
    """Raise what is wrong with a call; return if torch's class takes it, which has no lengths."""
    module, input, hx, weight = call
    is_layer = issubclass(type(module), RNNBase)
    data: Any = input
    if is_layer and isinstance(input, PackedSequence):
        rule = fitting_fields(input, has_state=hx is not None)
        data = input.data
        if isinstance(rule, str):
            refuse_fields(module, input, rule)
    elif not isinstance(input, Tensor):
        refuse_type(module, input, first=is_layer and module.batch_first, many=is_layer)
    is_for_torch = goes_to_torch(module, data, hx) and not has_pieces
    spec = spec_of(module, input, "layer" if is_layer else "cell")
    judge = data if is_for_torch or weight is None else weight
    if is_layer and not is_for_torch:
        check_input(spec, data, judge)
    else:  # torch reads a cell's state before it compares dtypes
        check_shape(spec, data, judge)
    # Sizes, where torch's class takes the call: on packed input it would read beyond a state.
    check_state(spec, hx, data, only_sizes=is_for_torch)
    check_dtype(spec, data, judge)
    if not is_for_torch:
        refuse_without_cause(module, data, hx)


def refuse_without_cause(module: Any, input: Any, hx: Any) -> NoReturn:
    """Refuse a call that its guard refused, and that has nothing wrong: a mistake of our own."""
    state = ", ".join(map(outlined_array, parts_of(hx)))
    refusal(
        RnnkitError, "input",
        "rnnkit refused this call, and then found nothing that is wrong with it",
        f"{described(module)}: one of the two checks is wrong, so that nothing was computed",
        ("input", outlined_array(input)),
        ("hx", state),
        ("fix", "report this message, with the versions that python -m rnnkit prints"),
        ("", "until it is repaired, torch's own modules, without lengths: rnnkit.revert(model)"),
        code="no-cause",
    )  # fmt: skip


def refuse_fields(layer: Any, input: PackedSequence, rule: str) -> NoReturn:
    """Refuse packed input whose fields break a rule: often, lengths beyond the padded steps."""
    code = "packed-fields"
    sentence = f"the fields of packed input do not fit: {rule}"
    headline = described(layer)
    evidence = ""
    fix = "input._replace(data=...) keeps the others; pack_padded_sequence makes them all"
    if rule.startswith("batch_sizes count") and input.batch_sizes.sum() > len(input.data):
        counts = input.batch_sizes.tolist()
        steps = len(input.data)
        over = next(k for k in range(len(counts)) if sum(counts[: k + 1]) > steps)
        evidence = rule
        start = f"start ({sum(counts[:over])}) + length ({counts[over]})"  # as torch says it
        code = "lengths-packed-range"
        sentence = f"{start} exceeds dimension size ({steps})."
        headline += ": a length was larger than the number of steps that were packed"
        fix = "check how the lengths were counted; to cut them: lengths.clamp(max=steps)"
    refusal(LengthsError, "input", sentence, headline, *message_rows(evidence, [fix]), code=code)


def diagnose_unrolled(
    cell: Any, input: Any, hx: Any, weight: Tensor | None, caller: str, *,
    batch_first: bool, state: str, has_pieces: bool,
) -> None:  # fmt: skip
    """Raise what is wrong with a cell over a sequence; return if torch's class takes each step."""
    if weight is None:
        check_cell_object(cell)
    if not isinstance(input, Tensor):
        refuse_type(cell, input, first=batch_first, many=True)
    if input.is_nested:
        check_dense(cell, input)
    is_for_torch = weight is not None and goes_to_torch(cell, input, hx) and not has_pieces
    is_known = weight is not None and not is_for_torch
    spec = spec_of(
        cell,
        input,
        "unrolled",
        caller,
        batch_first=batch_first,
        is_known=is_known,
        state=state,
    )
    # A user's cell may take integers; of our own we know what they take.
    check_input(spec, input, weight if is_known and weight is not None else input)
    if is_known:
        check_state(spec, hx, input)
    elif hx is not None and spec.batch is not None:
        check_batch(spec, hx)
    if not is_for_torch:
        refuse_without_cause(cell, input, hx)


#: The note of an error about a state that no caller gave.
FROM_INITIAL_STATE = "hx is what initial_state returned"


def diagnose_initial_state(spec: CallSpec, initial: Any, like: Tensor) -> NoReturn:
    """Raise what is wrong with the state that a module's own ``initial_state`` returned."""
    try:
        if spec.is_known:
            check_state(spec, initial, like)
        else:
            check_batch(spec, initial)
    except RnnkitError as error:
        # The caller may have given a state, which is right.
        error.add_note(FROM_INITIAL_STATE)
        raise
    refuse_without_cause(spec.module, like, initial)


def goes_to_torch(module: Any, data: Any, hx: Any) -> bool:
    """Return whether torch's class takes a call as it is, since a tensor is not dense or real."""
    tensors = [part for part in (data, *parts_of(hx)) if isinstance(part, Tensor)]
    for tensor in [part for part in tensors if part.is_nested]:
        check_dense(module, tensor, "input" if tensor is data else "hx")
    # torch has no projected cell, and a compiler traces no such call.
    if is_compiling() or (isinstance(module, torch.nn.RNNCellBase) and proj_size_of(module)):
        return False
    return any(is_not_strided(part) or part.is_complex() or part.is_quantized for part in tensors)


def explain_layer_step(layer: Any, x_t: Tensor, state: Any) -> None:
    """Refuse a step of a layer; return if only the layer's call finds what is wrong."""
    called = spec_of(layer, x_t.unsqueeze(int(layer.batch_first and x_t.dim() > 1)), "layer")
    axes = tuple([axis for axis in called.input_axes if axis.name != "seq"])
    spec = called._replace(kind="step", actual=tuple(x_t.shape), input_axes=axes, seq=None)
    check_input(spec, x_t, layer._flat_weights[0])  # noqa: SLF001
    check_state(spec, state, x_t)


#: How torch begins what these functions explain.
CONSTANT = "Cannot insert a Tensor that requires grad as a constant"
NO_KERNEL = "could not create a primitive"


def explain_torchs_error(call: ModuleCall, error: Exception) -> None:
    """Explain an error of torch's that does not tell what to do; return for any other error."""
    text = str(error)
    if text.startswith(CONSTANT):
        _explain_constant(call, error)
    elif text.startswith(NO_KERNEL):
        _explain_missing_kernel(call, error)


def _explain_constant(call: ModuleCall, error: Exception) -> NoReturn:
    """Explain that torch.jit.trace of a function takes the weights for constants."""
    layer = call.module
    refusal(
        ArgumentError,
        "input",
        CONSTANT,
        f"{described(layer)}: torch.jit.trace of a function makes constants of its weights",
        ("fix", "torch.jit.trace(model, ...), of a module that holds the layer"),
        ("", "or layer.requires_grad_(False) before it"),
        code="trace-function",
        source=error,
    )


def _explain_missing_kernel(call: ModuleCall, error: Exception) -> NoReturn:
    """Explain that this CPU has no kernel for autocast's dtype."""
    text = str(error)
    layer, input, hx, _ = call
    lowered = torch.get_autocast_dtype("cpu")
    level = torch.backends.cpu.get_cpu_capability()
    dtype = next(layer.parameters()).dtype
    evidence = f"oneDNN has a bfloat16 LSTM only on CPUs with AVX-512; torch sees {level} here"
    if lowered is torch.float16:
        evidence = "oneDNN has a float16 LSTM on few CPUs"
    # Without autocast input and state must have the dtype of the weights.
    data = input if isinstance(input, Tensor) else input.data
    arguments = "input" if data.dtype == dtype else f"input.to({dtype})"
    if hx is not None:
        arguments += f", rnnkit.states.to(hx, {dtype})"
    refusal(
        DtypeError, "input", text.partition(". ")[0],
        f"{described(layer)}: autocast asks for an LSTM in {lowered}, which this CPU does not have",
        ("evidence", evidence),
        ("fix", f"with torch.autocast('cpu', enabled=False): output, state = layer({arguments})"),
        ("", "or lengths=[...], each sample's valid steps, which takes a different kernel"),
        code="kernel-missing", source=error,
    )  # fmt: skip
