"""A kernel of torch's that this CPU does not have."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import DtypeError
from rnnkit._base.message import refusal
from rnnkit._checks.call_spec import described


def explain_missing_kernel(layer: Any, input: Any, hx: Any, error: Exception) -> None:
    """Explain that this CPU has no kernel for autocast's dtype; return for any other error."""
    text = str(error)
    if not text.startswith("could not create a primitive"):
        return
    lowered = torch.get_autocast_dtype("cpu")
    name = str(lowered).removeprefix("torch.")
    level = torch.backends.cpu.get_cpu_capability()
    evidence = f"oneDNN has a bfloat16 LSTM only on CPUs with AVX-512; torch sees {level} here"
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
        DtypeError, "input", text.partition(". ")[0],
        f"{described(layer)}: autocast asks for a {name} LSTM, which this CPU does not have",
        ("evidence", evidence),
        ("fix", f"with torch.autocast('cpu', enabled=False): output, state = layer({given})"),
        ("", f"or both in {name}: layer.to({lowered}) and input.to({lowered})"),
        ("", "or lengths=[...], each sample's valid steps, which takes a different kernel"),
        code="kernel-missing", source=error,
    )  # fmt: skip
