"""What TorchScript makes of our modules beside their numbers: the twin of torch's class, and what it lacks."""

import warnings

import pytest
import torch
from torch import Tensor, jit, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence
from torch.testing import assert_close
from torch.utils import _pytree as pytree

import rnnkit
from tests.places import ROOT
from tests.strategies import CELLS
from tests.torch.interop import HIDDEN, INPUT, carried, cells, layers, pair, same, sample, six
from tests.torch.script_models import LENGTHS, Packs, Parent, TakesPacked

# torch.jit announces in many places that it is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.torch.jit")]


@six
def test_a_twin_shares_the_weights(name):
    """A bare cell, a model, and one whose module stands in torch's place; training changes both."""
    theirs, ours = pair(name, Parent)
    x = sample(name)
    if name in CELLS:
        same(jit.script(ours.core)(x), ours.core(x))
    assert type(ours.core) is getattr(rnnkit, name)
    scripted = [jit.script(ours)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, name, getattr(rnnkit, name))
        patch.setattr(nn.modules.rnn, name, getattr(rnnkit, name))
        scripted.append(jit.script(ours))
    assert sorted(scripted[0].state_dict()) == sorted(theirs.state_dict())

    for model in (theirs, ours):
        pytree.tree_leaves(model(x))[0].square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()

    for model in (ours, *scripted):
        same(theirs(x), model(x))


@pytest.mark.parametrize(("name", "model"), [("GRU", Packs), ("LSTM", TakesPacked), ("RNN", Packs)])
def test_packing(name, model):
    """A model packs inside, or is given packed input; where it may be traced, ours may."""
    theirs, ours = pair(name, model, num_layers=2, bidirectional=True)
    args = (sample(name), torch.tensor(LENGTHS))
    if model is TakesPacked:
        args = (pack_padded_sequence(*args, enforce_sorted=False),)
    else:
        same(theirs(*args), jit.trace(ours, args)(*args))

    same(theirs(*args), jit.script(ours)(*args))


@six
def test_a_trace_warns_of_no_more(name):
    """A trace warns of nothing that torch's does not, and follows the weights."""
    kinds = []
    traces = []
    for model in pair(name, Parent):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            jit.trace(model, (sample(name),))
            traces.append(jit.trace(model.core, (sample(name), carried(name))))
        kinds.append({f"{each.category.__name__}: {str(each.message)[:50]}" for each in caught})
        for parameter in model.parameters():
            parameter.detach().mul_(0.5)

    assert kinds[1] <= kinds[0]
    args = (sample(name, batch=9), carried(name, 9))
    same(*(trace(*args) for trace in traces))


@layers
@pytest.mark.parametrize("lowered", [None, torch.bfloat16, torch.float16])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_keeps_no_lengths(name, lowered):
    """What the example's lengths were is no part of it: full ones do not stand for shorter ones.

    Nor is it whether the CPU has the kernel for which autocast asks.
    """
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, bidirectional=True)
    x = sample(name)

    def run(x: Tensor, lengths: Tensor) -> Tensor:
        return layer(x, lengths=lengths)[0]

    layer.requires_grad_(False)
    tolerance = {"rtol": 0.05, "atol": 0.05} if lowered else {}
    with torch.autocast("cpu", dtype=lowered, enabled=lowered is not None):
        trace = jit.trace(run, (x, torch.tensor([6] * 5)), check_trace=False)
    for lengths in (torch.tensor(LENGTHS), torch.tensor([0, 6, 1, 1, 2])):
        # Under autocast it would ask for the kernel again.
        assert_close(trace(x, lengths).float(), run(x, lengths), **tolerance)


@layers
def test_a_parametrized_module_is_not_lost_in_silence(name):
    """TorchScript cannot hold a parametrized layer of torch; nor can it one of ours."""
    for model in pair(name, Parent):
        parametrizations.weight_norm(model.core, "weight_hh_l0")

        with pytest.raises((RuntimeError, rnnkit.RnnkitError)):
            jit.script(model)


class Own(rnnkit.GRUCell):
    """A cell with a method and a first state of a user's."""

    def doubled(self, x: Tensor, hx: Tensor) -> Tensor:
        """Double a step."""
        return 2 * self.forward(x, hx)

    def initial_state(self, batch_size: int) -> Tensor:  # type: ignore[override]
        """Return ones."""
        return torch.ones(batch_size, self.hidden_size)


class UsesOwn(Parent):
    """A model that calls both."""

    def forward(self, x: Tensor):
        """Double a step from the first state."""
        return self.core.doubled(self.before(x), self.core.initial_state(x.size(0)))


@cells
def test_methods_of_a_user(name):
    """They are compiled along. TorchScript asks for no first state, which is told; zeros are silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        jit.script(Parent(getattr(rnnkit, name)(INPUT, HIDDEN)))
    x = sample("GRUCell")
    model = UsesOwn(Own(INPUT, HIDDEN))
    expected = model(x)

    with pytest.warns(UserWarning, match="TorchScript does not call Own.initial_state"):
        scripted = jit.script(model)

    same(scripted(x), expected)


def test_script_method():
    """A ScriptModule compiles our forward, which torch refuses in the words that the page quotes."""

    class Methods(jit.ScriptModule):
        def __init__(self):
            super().__init__()
            self.core = rnnkit.GRU(INPUT, HIDDEN)

        @jit.script_method
        def forward(self, x):
            return self.core(x)

    with pytest.raises(jit.frontend.NotSupportedError) as caught:
        Methods()

    said = str(caught.value).strip().partition("\n")[0]
    assert f"NotSupportedError: {said}\n" in (ROOT / "docs" / "limits.md").read_text()
