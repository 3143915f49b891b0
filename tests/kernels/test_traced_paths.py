"""The functions that run while a compiler traces, called without one: they give what a call gives."""

from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from rnnkit._base import torch_tools
from rnnkit._kernels import stack
from rnnkit._modules import lengths as layer_paths
from rnnkit._modules import unroll

BATCH, SEQ, FEATURE, HIDDEN = 3, 5, 2, 4
LENGTHS = torch.tensor([4, 5, 2])
X = torch.linspace(-1, 1, SEQ * BATCH * FEATURE).sin().reshape(SEQ, BATCH, FEATURE)


def test_what_is_no_tensor_takes_no_operator() -> None:
    """Packed input is left to torch."""
    packed = torch.nn.utils.rnn.pack_sequence(list(X.unbind(1)))
    assert not layer_paths.uses_operator(rnnkit.GRU(FEATURE, HIDDEN), packed)


@pytest.mark.covering(3)
@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("with_reset", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_cell(
    name: str,
    lengths: Tensor | None,
    with_reset: bool,
    reverse: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cell over a sequence, which starts again on the way, or not."""
    cell = getattr(rnnkit, name)(FEATURE, HIDDEN)
    options: dict[str, Any] = {"lengths": lengths, "reverse": reverse}
    if with_reset:
        options["reset"] = torch.arange(SEQ * BATCH).reshape(SEQ, BATCH) % 4 == 0
    expected = rnnkit.unroll(cell, X, **options)
    taken: list[str] = []
    for one in ("run_padded", "run_reset_operators"):
        run = getattr(unroll, one)
        counted = lambda *args, run=run, one=one, **rest: taken.append(one) or run(*args, **rest)  # noqa: E731
        monkeypatch.setattr(unroll, one, counted)
    for module in (unroll, stack):
        monkeypatch.setattr(module, "is_one_graph", lambda _: True)
    monkeypatch.setattr(unroll, "takes_reset_operator", lambda _: True)

    torch.testing.assert_close(rnnkit.unroll(cell, X, **options), expected, check_stride=False)
    assert taken == ["run_reset_operators" if with_reset else "run_padded"]


def test_what_a_transform_sees_is_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is not taken in torch.func, nor of an exported program with a known length."""
    monkeypatch.setattr(torch_tools, "is_compiling", lambda: True)
    seen: list[bool] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(torch_tools.is_one_graph(SEQ))
        return x

    watched(X)
    torch.func.vmap(watched)(X)
    monkeypatch.setattr(torch_tools, "is_exporting", lambda: True)
    watched(X)
    assert seen == [True, False, False]
