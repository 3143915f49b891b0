"""What a user's subclass adds to a module is in its TorchScript, or is told to be missing."""

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.torch.script_models import Parent
from tests.torch.side_by_side import HIDDEN, INPUT, assert_same, sample

# torch.jit announces in many places that it is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")


class WithMethod(Parent):
    """A model that calls a method which a user added to the cell."""

    def forward(self, x: Tensor):  # noqa: ANN201 - TorchScript infers it
        """Call the added method."""
        return self.core.doubled(self.before(x))


def doubled(self: nn.Module, x: Tensor) -> Tensor:
    """What a user's class adds."""
    return 2 * self.forward(x)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell"])
def test_method_of_a_user(name: str) -> None:
    """A method that a user's class adds to a cell is compiled along."""
    torch.manual_seed(0)
    results, x, weights = [], sample(name), None
    for module in (nn, rnnkit):
        cell = type("Users" + name, (getattr(module, name),), {"doubled": doubled})
        model = WithMethod(cell(INPUT, HIDDEN))
        weights = weights or model.state_dict()
        model.load_state_dict(weights)
        results.append(torch.jit.script(model)(x))

    assert_same(*results)


class Starts(rnnkit.GRUCell):
    """A cell with a first state of its own."""

    def initial_state(self, batch_size: int) -> Tensor:  # type: ignore[override]
        """Return ones."""
        return torch.ones(batch_size, self.hidden_size)


class GivesState(Parent):
    """A model that asks its cell for the first state itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Run one step from it."""
        return self.core(x, self.core.initial_state(x.size(0)))


def test_own_first_state() -> None:
    """TorchScript does not ask for it, which is told; who asks for it in the model gets it."""
    x, model = sample("GRUCell"), GivesState(Starts(INPUT, HIDDEN))
    expected = model(x)

    with pytest.warns(UserWarning, match="TorchScript does not ask Starts.initial_state"):
        scripted = torch.jit.script(model)

    assert_same(scripted(x), expected)
