"""Under the flag that compilers set, a call gives what it gives without: numbers, and refusals."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from rnnkit._base import torch_tools
from tests.kernels.paths import BATCH, LENGTHS, SEQ, case_of, close, kinds, mask
from tests.strategies import Case

Make = Callable[[Case], Callable[..., Any]]


def unrolled(case: Case, *, reverse: bool = False) -> Callable[..., Any]:
    """The first cell of a layer, over a sequence."""
    (cell,) = case.module(rnnkit).cells()
    return lambda x, **options: rnnkit.unroll(cell, x, reverse=reverse, **options)


MAKES: dict[str, Make] = {
    "layer": lambda case: case.module(rnnkit),
    "unroll": unrolled,
    "unroll, backward": partial(unrolled, reverse=True),
    "Recurrent": lambda case: rnnkit.Recurrent(case.module(rnnkit).cells()),
}


@pytest.fixture(params=["compiles", "exports"])
def flag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Raise the flags that a compiler, or an exporter, raises while it traces."""
    names = ["_is_compiling_flag", *["_is_exporting_flag"] * (request.param == "exports")]

    def rise() -> None:
        for name in names:
            monkeypatch.setattr(torch.compiler, name, True, raising=False)

    return rise


@pytest.mark.covering(3)
@kinds
@pytest.mark.parametrize("how", MAKES)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("reset", [None, mask()], ids=["whole", "resets"])
def test_numbers(
    kind: str, how: str, lengths: Any, reset: Tensor | None, flag: Callable[[], None]
) -> None:
    """Output and state are the same, with lengths and resets too."""
    run, x = MAKES[how](case_of(kind)), case_of(kind).numbers()
    options = {"lengths": None if lengths is None else torch.tensor(lengths), "reset": reset}
    expected = run(x, **options)

    flag()

    close(run(x, **options), expected)


REFUSED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a state for another batch": (
        rnnkit.GRU(3, 4),
        (torch.ones(SEQ, BATCH, 3), torch.ones(1, BATCH - 1, 4)),
    ),
    "a list for a tensor": (rnnkit.GRU(3, 4), (torch.ones(SEQ, BATCH, 3), [torch.ones(1, 5, 4)])),
    "another width": (rnnkit.LSTMCell(3, 4), (torch.ones(BATCH, 2),)),
    "a pair for a tensor": (rnnkit.GRUCell(3, 4), (torch.ones(BATCH, 3), (torch.ones(5, 4),) * 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str, flag: Callable[[], None]) -> None:
    """What is refused is refused in the same words."""
    module, arguments = REFUSED[name]
    said = []
    for change in (lambda: None, flag):
        change()
        with pytest.raises(rnnkit.RnnkitError) as caught:
            module(*arguments)
        said.append(str(caught.value))

    assert said[0] == said[1]


@kinds
def test_packed_input(kind: str, flag: Callable[[], None]) -> None:
    """What packed input holds cannot be looked at, and is run."""
    case = case_of(kind)
    packed = pack_padded_sequence(case.numbers(), [5, 4, 3, 2, 1])
    run = case.module(rnnkit)
    expected = run(packed)

    flag()

    close(run(packed), expected)


def test_what_a_transform_sees_is_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is not taken in torch.func, nor of an exported program with a known length."""
    monkeypatch.setattr(torch_tools, "is_compiling", lambda: True)
    seen: list[bool] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(torch_tools.uses_custom_op(SEQ))
        return x

    watched(torch.ones(SEQ))
    torch.func.vmap(watched)(torch.ones(SEQ))
    monkeypatch.setattr(torch_tools, "is_exporting", lambda: True)
    watched(torch.ones(SEQ))
    assert seen == [True, False, False]
