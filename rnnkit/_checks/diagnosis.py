"""The other way of a call, which does not fit its guard: what is wrong with it.

``diagnose`` gets the whole call once and raises. If it finds nothing, a tensor is not dense:
torch's class takes the call as it is, with torch's own checks. A compiler traces this, so that the
same error is raised.
"""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.errors import DtypeError, RnnkitError
from rnnkit._base.message import refusal
from rnnkit._checks.call_spec import (
    Axis,
    CallSpec,
    described,
    is_odd,
    parts_of,
    refuse_odd,
    spec_of_cell,
    spec_of_layer,
    spec_of_unrolled,
)
from rnnkit._checks.causes.inputs import (
    check_dtype_and_device,
    check_input,
    check_shape,
    refuse_type,
)
from rnnkit._checks.causes.states import check_batch, check_state
from rnnkit._checks.objects import check_cell_object
from rnnkit._checks.packed_fields import fitting_fields, refuse_fields


def diagnose(module: Any, input: Any, hx: Any, weight: Tensor | None) -> None:
    """Raise what is wrong with the call of a layer or a cell; return if torch's class takes it."""
    is_layer = issubclass(type(module), RNNBase)
    data: Any = input
    if is_layer and isinstance(input, PackedSequence):
        rule, data = fitting_fields(input, given=hx is not None), input.data
        if isinstance(rule, str):
            refuse_fields(module, input, rule)
    elif not isinstance(input, Tensor):
        refuse_type(module, input, batch_first=is_layer and module.batch_first)
    odd = goes_to_torch(module, data, hx)
    spec_of: Any = spec_of_layer if is_layer else spec_of_cell
    spec = spec_of(module, input)
    judge = data if odd or weight is None else weight
    # torch reads a cell's state before it compares dtypes.
    (check_shape if odd or not is_layer else check_input)(spec, data, judge)
    # Sizes, where torch's class takes the call: on packed input it would read beyond a state.
    check_state(spec, hx, data, only_sizes=odd)
    check_dtype_and_device(spec, data, judge)


def diagnose_unrolled(
    cell: Any, input: Any, hx: Any, weight: Tensor | None, caller: str, *,
    batch_first: bool, state: str,
) -> None:  # fmt: skip
    """Raise what is wrong with a cell that is run over a sequence; return if it runs by steps.

    ``weight`` is None for a cell of a user's, ``caller`` the name of the caller in messages, and
    ``state`` how it writes the state.
    """
    if weight is None:
        check_cell_object(cell, input)
    if not isinstance(input, Tensor):
        refuse_type(cell, input, unrolled=True, batch_first=batch_first)
    if input.is_nested:
        refuse_odd(cell, input)
    known = weight is not None and not goes_to_torch(cell, input, hx)
    spec = spec_of_unrolled(cell, input, caller, known=known, batch_first=batch_first, state=state)
    # A user's cell may take integers; of our own we know what they take.
    check_input(spec, input, weight if known and weight is not None else input)
    if known:
        check_state(spec, hx, input)
    elif hx is not None and spec.batch is not None:
        check_batch(spec, hx)


def diagnose_initial_state(spec: CallSpec, initial: Any, like: Tensor) -> None:
    """Raise what is wrong with the state that a module's own ``initial_state`` returned."""
    try:
        check_state(spec, initial, like)
    except RnnkitError as error:
        # The caller may have given a state, which is right.
        error.add_note("hx is what initial_state returned")
        raise


def goes_to_torch(module: Any, data: Any, hx: Any) -> bool:
    """Return whether torch's class takes a call as it is, since a tensor is not dense or not real.

    Nested tensors are refused. torch has no projected cell, and a compiler traces no such call.
    """
    tensors = [part for part in (data, *parts_of(hx)) if isinstance(part, Tensor)]
    for tensor in tensors:
        if tensor.is_nested:
            refuse_odd(module, tensor, "input" if tensor is data else "hx")
    if is_compiling() or (isinstance(module, torch.nn.RNNCellBase) and proj_size_of(module)):
        return False
    return any(is_odd(part) or part.is_complex() or part.is_quantized for part in tensors)


def explain_layer_step(layer: Any, x_t: Tensor, state: Any) -> None:
    """Refuse a step of a layer; return if only the layer's call finds what is wrong."""
    axes = (Axis("batch"), Axis("input_size", layer.input_size))[-x_t.dim() :]
    called = spec_of_layer(layer, x_t.unsqueeze(1 if layer.batch_first and x_t.dim() > 1 else 0))
    spec = called._replace(kind="step", actual=tuple(x_t.shape), input_axes=axes, seq=None)
    check_input(spec, x_t, layer._flat_weights[0])  # noqa: SLF001
    check_state(spec, state, x_t)


def explain_cells_step(cells: list[Any], x_t: Tensor, state: Any) -> None:
    """Refuse a step of a ``Recurrent``; of a cell that is None nothing is known."""
    for place, (cell, hx) in enumerate(zip(cells, state, strict=True)):
        if cell is not None:
            spec = spec_of_cell(cell, x_t)._replace(state=f"hx[{place}]")
            if place == 0:
                check_input(spec, x_t, next(cell.parameters()))
            check_state(spec, hx, x_t)


def explain_missing_kernel(layer: Any, input: Any, hx: Any, error: Exception) -> None:
    """Explain that this CPU has no kernel for autocast's dtype; return for any other error."""
    text = str(error)
    if not text.startswith("could not create a primitive"):
        return
    lowered, dtype = torch.get_autocast_dtype("cpu"), next(layer.parameters()).dtype
    level = torch.backends.cpu.get_cpu_capability()
    evidence = f"oneDNN has a bfloat16 LSTM only on CPUs with AVX-512; torch sees {level} here"
    if lowered is torch.float16:
        evidence = "oneDNN trains no LSTM in float16, and runs one on few CPUs"
    # Without autocast input and state must have the dtype of the weights.
    data = input if isinstance(input, Tensor) else input.data
    given = "input" if data.dtype == dtype else f"input.to({dtype})"
    if hx is not None:
        alike = all(part is None or part.dtype == dtype for part in hx)
        given += ", hx" if alike else f", rnnkit.states.to(hx, {dtype})"
    name = str(lowered).removeprefix("torch.")
    refusal(
        DtypeError, "input", text.partition(". ")[0],
        f"{described(layer)}: autocast asks for a {name} LSTM, which this CPU does not have",
        ("evidence", evidence),
        ("fix", f"with torch.autocast('cpu', enabled=False): output, state = layer({given})"),
        ("", f"or both in {name}: layer.to({lowered}) and input.to({lowered})"),
        ("", "or lengths=[...], each sample's valid steps, which takes a different kernel"),
        code="kernel-missing", source=error,
    )  # fmt: skip
