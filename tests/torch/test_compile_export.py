"""Dynamo captures our modules as it captures torch's: no graph more, no false alarm.

By default Dynamo captures no graph of a function that reaches one of torch's layers; it looks inside
with `torch._dynamo.config.allow_rnn`. Both are tried, and graphs and recompilations counted.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils import _pytree as pytree

import rnnkit
from tests.compiles import Compiled, compiles
from tests.torch.side_by_side import (
    CELLS,
    HIDDEN,
    INPUT,
    LAYERS,
    assert_close,
    carried,
    layers,
    pair,
    sample,
    settings,
    settings_of_layers,
    six,
)

pytestmark = [
    pytest.mark.slow,
    compiles,
]

Call = tuple[Any, ...]


class Parent(nn.Module):
    """A model that has something before and something after its recurrent module."""

    def __init__(self, core: nn.Module) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.after = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """Run the recurrent module between two linear ones."""
        result = self.core(self.before(x), hx)
        if isinstance(self.core, nn.RNNBase):
            return self.after(result[0]), result[1]
        return result


SIZES = [(5, 2), (6, 4), (3, 3), (1, 1), (7, 5)]


@pytest.mark.covering(2)
@settings
@pytest.mark.parametrize("bare", [False, True])
def test_as_many_graphs(name: str, allow_rnn: bool, bare: bool) -> None:
    """Over many sizes, square ones too, ours costs no graph and no recompilation more than torch's."""
    torch.manual_seed(0)
    theirs, ours = pair(name, None if bare else Parent)
    inputs = [sample(name, *sizes) for sizes in SIZES]
    counts, results = [], []
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        for module in (theirs, ours):
            compiled = Compiled(module)
            results.append([compiled.call(x) for x in inputs])
            # With torch's default a layer makes no graph; how often Dynamo then looks is no cost.
            looked = allow_rnn or name in CELLS
            counts.append((compiled.graphs, compiled.breaks if looked else 0))

    # One graph of the first size, one of all others, and one of a single step and sample. Torch's
    # layers, unrolled, take one for each number of steps.
    whole = allow_rnn or name in CELLS
    assert not whole or counts[1] == (3, 0)
    assert counts[1] == counts[0] or (allow_rnn and name in LAYERS and counts[0] == (5, 0))
    assert_close(*results)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@settings
def test_as_many_graphs_with_a_state(name: str, allow_rnn: bool) -> None:
    """A state that is handed from call to call costs no graph more than with torch's module."""
    torch.manual_seed(0)
    inputs, graphs, results = [sample(name, seq) for seq in (5, 5, 6, 7)], [], []
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        for module in pair(name, Parent):
            compiled, state = Compiled(module), None
            for x in inputs:
                result = compiled.call(x, state)
                state = result if name in CELLS else result[1]
                results.append(result)
            graphs.append(compiled.graphs)

    # One graph without a state and one with it; of a layer, one more for any number of steps.
    whole = allow_rnn or name in CELLS
    assert not whole or graphs[1] == (2 if name in CELLS else 3)
    assert graphs[0] == (4 if name in LAYERS and allow_rnn else graphs[1])
    assert_close(results[: len(inputs)], results[len(inputs) :])


@pytest.mark.covering(2)
@settings_of_layers
@pytest.mark.parametrize("bare", [False, True])
def test_explained_as_torch(name: str, allow_rnn: bool, bare: bool) -> None:
    """torch._dynamo.explain reports as many graphs and graph breaks as for torch's layer."""
    reports = []
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        for module in pair(name, None if bare else Parent):
            torch._dynamo.reset()
            report = torch._dynamo.explain(module)(sample(name))
            reports.append((report.graph_count, report.graph_break_count))

    assert reports[1] == reports[0]
    assert not allow_rnn or reports[1][0] == 1


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@layers
@pytest.mark.parametrize("with_state", [False, True])
def test_no_compilation_after_the_first_calls(name: str, with_state: bool) -> None:
    """With torch's default a new size makes Dynamo look no more often at our layer than at torch's.

    Torch 2.13 gives a layer up for good by the second call, the first that shows an axis to vary.
    A later torch compiles what is around it, and then tries our functions, not its own, up to
    its limit.
    """
    torch.manual_seed(0)
    looks, graphs = [], []
    for module, kind in zip(pair(name, Parent), (tuple, rnnkit.LSTMState._make), strict=True):
        compiled, frames = Compiled(module), []
        for batch in range(1, 12):
            state = carried(name, batch, kind) if with_state else None
            compiled.call(sample(name, batch=batch), state)
            frames.append(counters["frames"]["total"])
        looks.append(frames[-1] - frames[1])
        graphs.append(compiled.graphs)

    limit = torch._dynamo.config.recompile_limit if graphs[0] else 0
    assert looks[1] <= looks[0] + limit


@layers
def test_fullgraph_is_refused_as_for_torch(name: str) -> None:
    """Without allow_rnn Dynamo refuses a full graph of a layer, be it torch's or ours."""
    for module in pair(name, Parent):
        with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
            Compiled(module, fullgraph=True).call(sample(name))


@six
def test_marked_axis_stays_free(name: str) -> None:
    """A batch axis that the user marks as dynamic is not pinned down by a guard of ours."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x = sample(name)
    torch._dynamo.mark_dynamic(x, 0 if name in CELLS else 1)

    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = Compiled(ours, fullgraph=True)
        assert_close(theirs(x), compiled.call(x))


def valid_calls(name: str) -> list[Call]:
    """Calls that torch computes correctly, each of another kind."""
    x, state = sample(name), carried(name, kind=rnnkit.LSTMState._make)
    alone = pytree.tree_map(lambda tensor: tensor.select(-2, 0), state)
    calls: list[Call] = [
        (x.select(-2, 0),),
        (x.select(-2, 0), alone),
        (sample(name, 1, 1),),
        (x.mT.contiguous().mT, state),
    ]
    return [*calls, (x, tuple(state)), (x, list(state))] if "LSTM" in name else calls


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@settings
def test_no_false_alarm(name: str, allow_rnn: bool) -> None:
    """Unbatched, single and non-contiguous input and each kind of state pass when compiled."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        compiled = Compiled(ours)
        for call in valid_calls(name):
            assert_close(theirs(*call), compiled.call(*call))


class Packing(nn.Module):
    """A model that packs its input and unpacks nothing."""

    def __init__(self, core: nn.Module) -> None:
        """Keep the parts."""
        super().__init__()
        self.core = core

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        """Run the layer on packed input."""
        output, state = self.core(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return output.data, state


@settings_of_layers
def test_packed(name: str, allow_rnn: bool) -> None:
    """A compiled model may pack inside; it gives what the eager one gives."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Packing, num_layers=2, bidirectional=True)
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        compiled = Compiled(ours)
        for lengths in ([5, 2], [3, 4, 6]):
            args = (sample(name, max(lengths), len(lengths)), torch.tensor(lengths))
            assert_close(theirs(*args), compiled.call(*args))
