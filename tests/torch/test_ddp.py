"""Data-parallel training on two processes gives the gradients of one process on the whole batch.

Run as a script, this file is one of the two processes.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree

import rnnkit
from tests.torch.two_processes import PROCESSES, meet, part, run_both

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without processes"),
]

BATCH, SEQ, INPUT, HIDDEN = 6, 5, 3, 7
NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


class Model(nn.Module):
    """A model that is given a state and gives one back, with a part that is never used."""

    def __init__(self, core: nn.Module) -> None:
        """Hold the parts."""
        super().__init__()
        self.core = core
        self.head = nn.Linear(HIDDEN, 2)
        self.unused = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor, hx: object) -> tuple[Tensor, object]:
        """Run from a state; return the scores and the state."""
        result = self.core(x, hx)
        output, state = result if isinstance(self.core, nn.RNNBase) else (None, result)
        if output is None:
            output = pytree.tree_leaves(state)[0]
        return self.head(output), state


def a_model(name: str, package: object = rnnkit) -> Model:
    """The model that every process and the test build alike."""
    torch.manual_seed(0)
    return Model(getattr(package, name)(INPUT, HIDDEN))


def a_batch(name: str) -> tuple[Tensor, Tensor | rnnkit.LSTMState]:
    """The whole batch, input and state, with the batch on the last axis but one."""
    torch.manual_seed(1)
    cell = name.endswith("Cell")
    size = (BATCH, HIDDEN) if cell else (1, BATCH, HIDDEN)
    x = torch.randn((BATCH, INPUT) if cell else (SEQ, BATCH, INPUT))
    if "LSTM" in name:
        return x, rnnkit.LSTMState(torch.randn(size), torch.randn(size))
    return x, torch.randn(size)


def train(model: nn.Module, batch: tuple[Tensor, object]) -> tuple[object, object]:
    """Two steps, the second from the state of the first; the last state and all gradients."""
    x, state = batch
    scores, state = model(x, state)
    scores, state = model(x, state)
    loss = sum(leaf.square().mean() for leaf in pytree.tree_leaves((scores, state)))
    loss.backward()
    gradients = {
        key.removeprefix("module."): value.grad
        for key, value in model.named_parameters()
        if "unused" not in key
    }
    return pytree.tree_map(lambda leaf: leaf.detach(), state), gradients


def work(rank: int, folder: Path) -> None:
    """Train on this process's share of each batch and write down what came out."""
    meet(rank, folder)
    results = {}
    for name in NAMES:
        model = DistributedDataParallel(a_model(name), find_unused_parameters=True)
        share = pytree.tree_map(
            lambda leaf: leaf.chunk(PROCESSES, dim=-2)[rank].clone(), a_batch(name)
        )
        results[name] = train(model, share)
    part(rank, folder, results)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[object, object]]]:
    """What each process came to, for each class."""
    return run_both(__file__, tmp_path_factory.mktemp("ddp"))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_whole_batch(
    name: str, results: list[dict[str, tuple[object, object]]]
) -> None:
    """Both processes hold the gradients of torch's module on the joined batch."""
    _, expected = train(a_model(name, nn), a_batch(name))

    for result in results:
        torch.testing.assert_close(result[name][1], expected)


@pytest.mark.parametrize("name", NAMES)
def test_states_are_shares_of_the_whole_state(
    name: str, results: list[dict[str, tuple[object, object]]]
) -> None:
    """A state that went into the wrapped model comes out with its type, and as a share."""
    whole, _ = train(a_model(name), a_batch(name))
    states = [result[name][0] for result in results]

    assert {type(state) for state in states} == {type(whole)}
    joined = [
        torch.cat(shares, dim=-2) for shares in zip(*map(pytree.tree_leaves, states), strict=True)
    ]
    torch.testing.assert_close(joined, pytree.tree_leaves(whole))


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
