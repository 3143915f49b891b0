"""Why a tensor is of the wrong kind: no tensor, no numbers, another dtype, another device."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, DeviceError, DtypeError
from rnnkit._base.message import Cause, Row, Rows, brief, refusal, wanted
from rnnkit._checks.call_spec import (
    CallSpec,
    CheckedCell,
    agree,
    described,
)
from rnnkit._checks.guards import has_own_dtype
from rnnkit._checks.state_fixes import from_zeros


def refuse_type(
    module: CheckedCell, input: object, *, unrolled: bool = False, batch_first: bool = False
) -> NoReturn:
    """Refuse an input that is no tensor; of one step, or unrolled over many."""
    is_layer = isinstance(module, RNNBase)
    option = ", batch_first=True" if batch_first else ""
    fixes = _fix_type(module, input, option, is_step=not (is_layer or unrolled))
    refusal(
        ArgumentError,
        "input",
        f"input must be a Tensor, got {brief(input)}",
        described(module),
        ("input", wanted(f"a Tensor{' or a PackedSequence' * is_layer}", brief(input))),
        *zip(("fix", "", ""), fixes, strict=False),
        code="input-type",
    )


def _fix_type(module: Any, input: object, option: str, *, is_step: bool) -> list[str]:
    """Write what makes an input of this; ``option`` is that of a batch-first layout."""
    if isinstance(input, PackedSequence):
        padded = f"torch.nn.utils.rnn.pad_packed_sequence(input{option})"
        if is_step:
            return ["a cell takes one step: loop over a padded sequence, or use a layer"]
        return [f"input, lengths = {padded}, and lengths=lengths"]
    if input is None:
        return ["see what the line before returns"]
    if isinstance(input, tuple | list) and input and isinstance(input[0], Tensor | PackedSequence):
        return _fix_parts(module, input, option, is_step=is_step)
    try:
        torch.as_tensor(input, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return ["a floating-point tensor"]
    dtypes = [weight.dtype for weight in getattr(module, "parameters", list)()]
    return [f"torch.as_tensor(input, dtype={next(iter(dtypes), torch.float32)})"]


def _fix_parts(module: Any, parts: Sequence[Any], option: str, *, is_step: bool) -> list[str]:
    """Write what makes an input of several tensors: sequences, steps, or a layer's result."""
    fixes = []
    if isinstance(parts, tuple) and len(parts) == 2 and not isinstance(parts[1], int | float):
        result = "a recurrent layer returns (output, state), nn.Sequential passes both"
        fixes = [f"input[0]: {result}"]
    plain = all(isinstance(part, Tensor) for part in parts)
    shapes = {tuple(part.shape) for part in parts} if plain else set()
    ranks, widths = {len(shape) for shape in shapes}, {shape[-1:] for shape in shapes}
    width = getattr(module, "input_size", None)
    padded = f"torch.nn.utils.rnn.pad_sequence(input{option})"
    if shapes == {(width,)}:
        return [*fixes, "torch.stack(input)"]
    if ranks == {1} and width == 1:
        padded += ".unsqueeze(-1)"
    elif ranks != {2} or len(widths) > 1:
        return fixes or ["one tensor, made of these by torch.stack or torch.cat"]
    lengths = "lengths=[len(x) for x in input]"
    steps = f"torch.stack(input{', 1' if option else ''})"
    if is_step:
        padded = f"rnnkit.unroll(cell, {padded}, {lengths}): a cell takes one step"
        steps = "for x_t in input: hx = cell(x_t, hx)"
    else:
        padded = f"{padded} and {lengths}"
    sequences = f"{padded}, if each is a sequence"
    if len(shapes) > 1 or ranks == {1}:
        return [*fixes, sequences] if fixes else [padded]
    return [*fixes, sequences, f"{steps}, if each is a step of a batch"]


def diagnose_dtype_and_device(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input's dtype or device: a DtypeError or a DeviceError."""
    if not agree(input.dtype, weight.dtype):
        return _other_dtype(spec, input, weight)
    if input.device != weight.device:
        return Cause(
            "input-device",
            DeviceError,
            "input",
            f"Input and parameter tensors are not at the same device, found input tensor at "
            f"{input.device} and parameter tensor at {weight.device}",
            f"{spec.described}: input and weights are on different devices",
            (
                ("input", wanted(f"on {weight.device}", f"{input.device}")),
                ("fix", _fix_device(spec, input, weight)),
            ),
        )
    return None


def _fix_device(spec: CallSpec, input: Tensor, weight: Tensor) -> str:
    device = repr(str(weight.device))
    if input.is_meta and spec.kind == "packed":
        return f"pack a tensor on {device}: one on meta has no numbers"
    if input.is_meta:
        return f"a tensor that has numbers, such as torch.zeros_like(input, device={device})"
    if weight.is_meta:
        name = "layer" if spec.has_rows else "cell"
        empty = f"{name}.to_empty(device={str(input.device)!r})"
        return f"{empty}, then load its weights, or {name}.reset_parameters()"
    return f"input.to({device}), or move the model to the input"


def explain_missing_kernel(layer: Any, input: Any, hx: Any, error: Exception) -> None:
    """Say in our words that this CPU has no kernel for what autocast makes of a layer.

    Returns for every other error of torch's.
    """
    text = str(error)
    if not text.startswith("could not create a primitive"):
        return
    lowered = torch.get_autocast_dtype("cpu")
    name = str(lowered).removeprefix("torch.")
    level = torch.backends.cpu.get_cpu_capability()
    evidence = f"oneDNN has a bfloat16 LSTM on CPUs with AVX-512 alone; torch sees {level} here"
    if lowered is torch.float16:
        evidence = "oneDNN trains no LSTM in float16, and runs one on few CPUs"
    # Without autocast input and state must have the dtype of the weights.
    dtype = next(layer.parameters()).dtype
    data = input if isinstance(input, Tensor) else input.data
    given = "input" if data.dtype == dtype else f"input.to({dtype})"
    if hx is not None:
        alike = all(part is None or part.dtype == dtype for part in hx)
        given += ", hx" if alike else f", rnnkit.states.to(hx, {dtype})"
    refusal(
        DtypeError,
        "input",
        text.partition(". ")[0],
        f"{described(layer)}: autocast asks for a {name} LSTM, which this CPU does not have",
        ("evidence", evidence),
        ("fix", f"with torch.autocast('cpu', enabled=False): output, state = layer({given})"),
        ("", f"or both in {name}: layer.to({lowered}) and input.to({lowered})"),
        ("", "or lengths=[...], each sample's valid steps, which takes another kernel"),
        code="kernel-missing",
        source=error,
    )


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def no_numbers(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause:
    """Say that an input holds integers or booleans."""
    numbers = "input.float()" if weight.dtype == torch.float32 else f"input.to({weight.dtype})"
    # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
    return Cause(
        "input-numbers",
        DtypeError,
        "input",
        _dtype_sentence(input, weight),
        f"{spec.described}: the input holds no real floating-point numbers",
        (
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
            ("fix", f"numbers: {numbers}"),
            *_embedding(spec, input),
        ),
    )


def _embedding(spec: CallSpec, input: Tensor) -> Rows:
    """Advise an embedding where its output would have the rank that is read."""
    rank = input.dim()
    ids = "input.data" if spec.kind == "packed" else "input"
    if rank + 1 not in spec.ranks():
        ids += ".squeeze(-1)"
        if rank not in spec.ranks() or input.shape[-1] != 1:
            return []
    if input.dtype is torch.bool:
        return []
    if input.dtype not in (torch.int32, torch.int64):  # an embedding takes no others
        ids += ".long()"
    embedded = f"torch.nn.Embedding(vocabulary, {spec.input_size})({ids})"
    if spec.kind == "packed":
        embedded = f"input._replace(data={embedded})"
    return [("", f"token ids: {embedded}")]


def _other_dtype(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause:
    evidence: tuple[Row, ...] = ()
    if input.dtype == torch.float64:
        evidence = (("evidence", "float64 is what NumPy makes of Python's numbers"),)
    elif input.dtype in (torch.float16, torch.bfloat16):
        evidence = (("evidence", f"{input.dtype} is what autocast leaves; it is off here"),)
    advice = f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
    return Cause(
        "input-dtype",
        DtypeError,
        "input",
        f"{_dtype_sentence(input, weight)} {advice}",
        f"{spec.described}: input and weights differ in dtype",
        (
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
            *evidence,
            ("fix", f"input.to({weight.dtype}), or model.to({input.dtype})"),
        ),
    )


def state_dtype_or_device(
    spec: CallSpec, hx: Sequence[Tensor], place: int, input: Tensor
) -> Cause | None:
    """Find what is wrong with one tensor of a state beside its shape: its dtype or its device."""
    name, tensor = spec.state_names[place], hx[place]
    is_cell = spec.kind == "cell"
    own_dtype = name == "c" and has_own_dtype(tensor, input.dtype, is_cell=is_cell)
    if not (own_dtype or agree(tensor.dtype, input.dtype)):
        return Cause(
            "state-dtype",
            DtypeError,
            "hx",
            f"hx dtype ({tensor.dtype}) does not match input dtype ({input.dtype})",
            f"{spec.described}: state and input differ in dtype",
            (
                (name, wanted(f"{input.dtype}", f"{tensor.dtype}")),
                ("fix", f"rnnkit.states.to(hx, {input.dtype})"),
            ),
        )
    if tensor.device != input.device:
        fix = "rnnkit.states.to(hx, input.device)"
        if spec.kind == "packed":
            fix = "rnnkit.states.to(hx, input.data.device)"
        if tensor.is_meta:
            fix = f"{from_zeros(spec, hx, place)}; a tensor on meta has no numbers"
        where = f"input tensor at {input.device} and hidden tensor at {tensor.device}"
        return Cause(
            "state-device",
            DeviceError,
            "hx",
            f"Input and hidden tensors are not at the same device, found {where}",
            f"{spec.described}: state and input are on different devices",
            (
                (name, wanted(f"on {input.device}", f"{tensor.device}")),
                ("fix", fix),
            ),
        )
    return None
