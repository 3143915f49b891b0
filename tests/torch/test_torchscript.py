"""TorchScript compiles models that hold our modules, as with torch's."""

import io
import pathlib
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils import _pytree as pytree

import rnnkit
from tests.torch.script_models import LENGTHS, OneTensor, Packs, Parent, TwoTensors
from tests.torch.side_by_side import (
    CELLS,
    HIDDEN,
    INPUT,
    assert_same,
    carried,
    cells,
    layers,
    pair,
    sample,
    six,
)

ROOT = pathlib.Path(__file__).parents[2]

# torch.jit announces in many places that it is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.torch.jit")]


class TakesPacked(Parent):
    """A model that is given packed input."""

    def forward(self, packed: PackedSequence):  # noqa: ANN201 - TorchScript infers it
        """Run the layer on packed input."""
        output, state = self.core(packed)
        return output.data, state


@six
def test_scripted(name: str) -> None:
    """A scripted model computes what torch's eager model computes."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x = sample(name)

    assert_same(theirs(x), torch.jit.script(ours)(x))


@cells
def test_scripted_by_itself(name: str) -> None:
    """A bare cell can be scripted and stays what it was."""
    torch.manual_seed(0)
    ours = getattr(rnnkit, name)(INPUT, HIDDEN)
    x = sample(name)

    scripted = torch.jit.script(ours)

    assert_same(scripted(x), ours(x))
    assert type(ours) is getattr(rnnkit, name)


@layers
def test_bare_layer_of_torch_is_scripted_without_forward(name: str) -> None:
    """Torch compiles a layer's forward only for a model that calls it: a bare one has none."""
    scripted = torch.jit.script(getattr(nn, name)(INPUT, HIDDEN))

    with pytest.raises(AttributeError, match="forward"):
        scripted(sample(name))


@six
def test_scripted_with_a_state(name: str) -> None:
    """A scripted model takes a state and gives one back that it takes again."""
    torch.manual_seed(0)
    theirs, ours = pair(name, TwoTensors if "LSTM" in name else OneTensor)
    x, state = sample(name), carried(name)
    scripted = torch.jit.script(ours)

    once = scripted(x, state)
    again = scripted(x, once if name in CELLS else once[1])

    expected = theirs(x, state)
    assert_same(expected, once)
    assert_same(theirs(x, expected if name in CELLS else expected[1]), again)


@layers
@pytest.mark.parametrize("model", [Packs, TakesPacked])
def test_scripted_with_packing(name: str, model: type[nn.Module]) -> None:
    """A scripted model packs inside, or is given packed input."""
    torch.manual_seed(0)
    theirs, ours = pair(name, model, num_layers=2, bidirectional=True)
    lengths = torch.tensor(LENGTHS)
    args: tuple[object, ...] = (sample(name), lengths)
    if model is TakesPacked:
        args = (pack_padded_sequence(sample(name), lengths, enforce_sorted=False),)

    assert_same(theirs(*args), torch.jit.script(ours)(*args))


@six
def test_frozen(name: str) -> None:
    """A frozen model, its weights turned into constants, computes the same."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x = sample(name)

    frozen = torch.jit.freeze(torch.jit.script(ours.eval()))

    assert_same(theirs(x), frozen(x))
    assert list(frozen.parameters()) == []


@six
def test_scripted_and_read_from_a_file(name: str) -> None:
    """A scripted model is written and read, with torch's parameter names."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x, file = sample(name), io.BytesIO()

    torch.jit.save(torch.jit.script(ours), file)
    file.seek(0)
    read = torch.jit.load(file)

    assert_same(theirs(x), read(x))
    assert sorted(read.state_dict()) == sorted(theirs.state_dict())


@six
def test_scripted_model_shares_the_weights(name: str) -> None:
    """The eager model still works and trains the weights of the scripted one."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x = sample(name)
    scripted = torch.jit.script(ours)
    for model in (theirs, ours):
        pytree.tree_leaves(model(x))[0].square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()

    expected = theirs(x)

    assert_same(expected, ours(x))
    assert_same(expected, scripted(x))


@layers
def test_parametrized_layer_is_refused_as_for_torch(name: str) -> None:
    """TorchScript cannot hold a parametrized layer of torch; ours must not lose it in silence."""
    for model in pair(name, Parent):
        parametrizations.weight_norm(model.core, "weight_hh_l0")

        with pytest.raises((RuntimeError, rnnkit.RnnkitError)):
            torch.jit.script(model)

        assert "weight_hh_l0" in model.core.parametrizations


@cells
def test_no_warning_of_zeros(name: str) -> None:
    """Without a first state of its own a module is scripted in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        torch.jit.script(Parent(getattr(rnnkit, name)(INPUT, HIDDEN)))


def test_script_method() -> None:
    """A ScriptModule compiles our forward, which torch refuses in the words that the page quotes."""

    class Methods(torch.jit.ScriptModule):
        def __init__(self) -> None:
            super().__init__()
            self.core = rnnkit.GRU(INPUT, HIDDEN)

        @torch.jit.script_method
        def forward(self, x):  # noqa: ANN001, ANN202 - TorchScript infers them
            return self.core(x)

    with pytest.raises(torch.jit.frontend.NotSupportedError) as caught:
        Methods()

    said = str(caught.value).strip().partition("\n")[0]
    assert f"NotSupportedError: {said}\n" in (ROOT / "docs" / "limits.md").read_text()
