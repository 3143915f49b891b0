"""A scope's error is composed without touching ``sys.stdout``, which all threads share."""

import contextlib
import io
import sys
import threading
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor

import rnnkit


@pytest.mark.unhooked("the hook is a scope of its own")
def test_errors_in_threads_leave_the_output_alone() -> None:
    """Whatever threads do, each sees the output that the program has set, and nothing is in it."""
    gru = rnnkit.GRU(3, 4, axes={"seq": "b", "batch": "time"})
    seen: list[Any] = []

    @jaxtyped(typechecker=beartype)
    def forward(x: Float[Tensor, "time b feat"]) -> None:
        for _ in range(30):
            with contextlib.suppress(rnnkit.LayoutError):
                gru(x)
            seen.append(sys.stdout)

    out, before = io.StringIO(), sys.stdout
    with contextlib.redirect_stdout(out):
        mine = sys.stdout
        threads = [threading.Thread(target=forward, args=(torch.ones(7, 5, 3),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {id(one) for one in seen} == {id(mine)}
    assert sys.stdout is before
    assert out.getvalue() == ""
