"""Why a tensor is of the wrong kind: no tensor, no numbers, another dtype, another device."""

from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, DeviceError, DtypeError
from rnnkit._base.message import Cause, Row, Rows, brief, refusal, wanted
from rnnkit._checks.call_spec import (
    CallSpec,
    CheckedCell,
    CheckedLayer,
    agree,
    described,
    is_autocast,
)


def refuse_type(module: CheckedCell, input: object, *, unrolled: bool = False) -> NoReturn:
    """Refuse an input that is no tensor; of one step, or unrolled over many."""
    takes = "a Tensor or a PackedSequence" if isinstance(module, RNNBase) else "a Tensor"
    fix = _fix_type(input)
    if unrolled and isinstance(input, PackedSequence):
        fix = "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input), and lengths=lengths"
    refusal(
        ArgumentError,
        "input",
        f"input must be a Tensor, got {brief(input)}",
        described(module),
        ("input", wanted(takes, brief(input))),
        ("fix", fix),
        code="input-type",
    )


def _fix_type(input: object) -> str:
    if isinstance(input, PackedSequence):
        return "a cell takes one step: loop over a padded sequence, or use a layer"
    if input is None:
        return "see what the line before returns"
    if isinstance(input, tuple | list) and input and isinstance(input[0], Tensor | PackedSequence):
        if isinstance(input, tuple) and len(input) == 2 and not isinstance(input[1], int | float):
            return "input[0]: a recurrent layer returns (output, state), nn.Sequential passes both"
        return "torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths"
    try:
        torch.as_tensor(input, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return "a floating-point tensor"
    return "torch.as_tensor(input, dtype=torch.float32)"


def diagnose_dtype_and_device(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause | None:
    """Find what is wrong with an input's dtype or device: a DtypeError or a DeviceError.

    An input that is not strided is an ArgumentError.
    """
    if not agree(input.dtype, weight.dtype):
        return _other_dtype(spec, input, weight)
    if input.layout is not torch.strided and spec.kind != "cell":
        dense = "input.to_dense()"
        if spec.kind == "packed":
            dense = "input._replace(data=input.data.to_dense())"
        return Cause(
            "input-layout",
            ArgumentError,
            "input",
            f"input must be a dense tensor, got {input.layout}",
            f"{spec.described}: torch has no recurrent kernels for other layouts",
            (("fix", dense),),
        )
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
                ("fix", f"input.to({str(weight.device)!r}), or move the model to the input"),
            ),
        )
    return None


def explain_missing_kernel(layer: CheckedLayer, error: Exception) -> None:
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
    refusal(
        DtypeError,
        "input",
        text.partition(". ")[0],
        f"{described(layer)}: autocast asks for a {name} LSTM, which this CPU does not have",
        ("evidence", evidence),
        ("fix", "with torch.autocast('cpu', enabled=False): output, state = layer(input)"),
        ("", f"or both in {name}: layer.to({lowered}) and input.to({lowered})"),
        ("", "or lengths=[...], each sample's valid steps, which takes another kernel"),
        code="kernel-missing",
        source=error,
    )


def _dtype_sentence(input: Tensor, weight: Tensor) -> str:
    return f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype})."


def no_numbers(spec: CallSpec, input: Tensor, weight: Tensor) -> Cause:
    """Say that an input holds integers, booleans or complex numbers."""
    # torch's sentence goes on to advise model.to(torch.int64), which no model survives.
    return Cause(
        "input-numbers",
        DtypeError,
        "input",
        _dtype_sentence(input, weight),
        f"{spec.described}: the input holds no real floating-point numbers",
        (
            ("input", wanted(f"{weight.dtype}", f"{input.dtype}")),
            ("fix", _fix_numbers(input, weight)),
            *_embedding(spec, input),
        ),
    )


def _fix_numbers(input: Tensor, weight: Tensor) -> str:
    if input.is_complex():
        return "torch.view_as_real(input).flatten(-2), twice as many features"
    number = "input.float()" if weight.dtype == torch.float32 else f"input.to({weight.dtype})"
    return f"numbers: {number}"


def _embedding(spec: CallSpec, input: Tensor) -> Rows:
    """Advise an embedding where its output would have the rank that is read."""
    rank = input.dim()
    ids = "input.data" if spec.kind == "packed" else "input"
    if rank + 1 not in spec.ranks():
        ids += ".squeeze(-1)"
        if rank not in spec.ranks() or input.shape[-1] != 1:
            return []
    if input.is_complex() or input.dtype is torch.bool:
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


def state_dtype_or_device(spec: CallSpec, name: str, tensor: Tensor, input: Tensor) -> Cause | None:
    """Find what is wrong with one tensor of a state beside its shape: its dtype or its device."""
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
        where = f"input tensor at {input.device} and hidden tensor at {tensor.device}"
        return Cause(
            "state-device",
            DeviceError,
            "hx",
            f"Input and hidden tensors are not at the same device, found {where}",
            f"{spec.described}: state and input are on different devices",
            (
                (name, wanted(f"on {input.device}", f"{tensor.device}")),
                ("fix", "rnnkit.states.to(hx, input.device)"),
            ),
        )
    return None


def has_own_dtype(c: Tensor, dtype: torch.dtype, *, is_cell: bool) -> bool:
    """Say whether torch's kernel takes this c beside an input of another dtype.

    Of a cell it does; of a layer it does under autocast, which leaves float64 alone and brings
    other floats together, and c is only multiplied.
    """
    return (
        c.is_floating_point()
        and c.device.type == "cpu"
        and (is_cell or (dtype is torch.float64 and is_autocast()))
    )
