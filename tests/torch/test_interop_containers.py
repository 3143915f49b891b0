"""Where a module lives: in torch's containers, below a user's class, in place of torch's."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.torch.side_by_side import CELLS, HIDDEN, INPUT, LAYERS, assert_same, sample, six

# Bound before any test puts ours in the place of torch's.
THEIRS = {name: getattr(nn, name) for name in LAYERS + CELLS}


@six
def test_is_a_module_of_torch(name: str) -> None:
    """Code that asks for torch's class finds ours, and both print the same."""
    ours = getattr(rnnkit, name)(INPUT, HIDDEN, bias=False)

    assert isinstance(ours, THEIRS[name])
    assert repr(ours) == repr(THEIRS[name](INPUT, HIDDEN, bias=False))


@six
def test_sequential(name: str) -> None:
    """In a Sequential ours has torch's parameter names, prints the same and gives the same."""
    torch.manual_seed(0)
    theirs, ours = (
        nn.Sequential(nn.Linear(INPUT, INPUT), getattr(module, name)(INPUT, HIDDEN))
        for module in (nn, rnnkit)
    )
    ours.load_state_dict(theirs.state_dict())
    x = sample(name)

    assert_same(theirs(x), ours(x))
    assert repr(ours) == repr(theirs)


@six
def test_lists_and_dicts_of_modules(name: str) -> None:
    """ModuleList and ModuleDict register ours under torch's names."""
    keys = [
        list(
            nn.ModuleDict(
                {
                    "one": getattr(module, name)(INPUT, HIDDEN),
                    "many": nn.ModuleList(getattr(module, name)(INPUT, HIDDEN) for _ in range(2)),
                }
            ).state_dict()
        )
        for module in (nn, rnnkit)
    ]

    assert keys[0] == keys[1]


@six
def test_apply_finds_it(name: str) -> None:
    """`Module.apply` with a test for torch's class, the usual initialisation, reaches ours."""
    model = nn.Sequential(getattr(rnnkit, name)(INPUT, HIDDEN))

    def initialise(module: nn.Module) -> None:
        if isinstance(module, THEIRS[name]):
            for parameter in module.parameters():
                nn.init.constant_(parameter, 0.25)

    model.apply(initialise)

    assert all(bool((parameter == 0.25).all()) for parameter in model.parameters())


@six
def test_subclass_of_a_user(name: str) -> None:
    """A user's class below ours, with its own constructor and forward, works as below torch's."""
    torch.manual_seed(0)
    results, weights, x = [], None, sample(name)
    for base in (THEIRS[name], getattr(rnnkit, name)):

        class Scaled(base):
            """A class with a constructor of its own."""

            def __init__(self, width: int, scale: float) -> None:
                """Fix the sizes."""
                super().__init__(INPUT, hidden_size=width)
                self.scale = scale

            def forward(self, input: Tensor, hx: Tensor | None = None) -> object:
                """Scale the input."""
                return super().forward(self.scale * input, hx)

        module = Scaled(HIDDEN, 0.5)
        weights = weights or module.state_dict()
        module.load_state_dict(weights)
        results.append(copy.deepcopy(module)(x))

    assert_same(*results)


@six
@pytest.mark.parametrize("bias", [False, True])
def test_subclass_with_parameters_of_its_own(name: str, bias: bool) -> None:
    """Parameters that a user's class adds do not get into the call."""
    torch.manual_seed(0)
    results, weights, x = [], None, sample(name)
    for base in (THEIRS[name], getattr(rnnkit, name)):

        class Extended(base):
            """A class with more parameters."""

            def __init__(self) -> None:
                """Fix the sizes."""
                super().__init__(INPUT, HIDDEN, bias=bias)
                self.first, self.second = (nn.Parameter(torch.randn(2)) for _ in range(2))

        module = Extended()
        weights = weights or module.state_dict()
        module.load_state_dict(weights)
        results.append(module(x, module(x)[1] if name in LAYERS else module(x)))

    assert_same(*results)


@pytest.fixture
def _patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's names lead to our classes, as in a program that patches torch at its start."""
    for name in THEIRS:
        monkeypatch.setattr(nn, name, getattr(rnnkit, name))
        monkeypatch.setattr(nn.modules.rnn, name, getattr(rnnkit, name))


@six
@pytest.mark.usefixtures("_patched")
def test_in_place_of_the_class_of_torch(name: str) -> None:
    """`torch.nn.LSTM = rnnkit.LSTM` gives checked modules, and no call goes round in circles."""
    torch.manual_seed(0)
    theirs, patched, x = THEIRS[name](INPUT, HIDDEN), getattr(nn, name)(INPUT, HIDDEN), sample(name)
    patched.load_state_dict(theirs.state_dict())

    assert type(patched) is getattr(rnnkit, name)
    for copied in (patched, copy.deepcopy(patched), pickle.loads(pickle.dumps(patched))):
        expected = theirs(x)
        assert_same(expected, copied(x))
        state = expected[1] if name in LAYERS else expected
        assert_same(theirs(x, state), copied(x, state))


@six
@pytest.mark.usefixtures("_patched")
def test_refusal_in_place_of_the_class_of_torch(name: str) -> None:
    """A patched program gets the refusals too."""
    with pytest.raises(rnnkit.ShapeError):
        getattr(nn, name)(INPUT, HIDDEN)(sample(name)[..., :-1])


@six
@pytest.mark.usefixtures("_patched")
# torch.jit announces in many places that it is deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_script_in_place_of_the_class_of_torch(name: str) -> None:
    """A patched program can still be scripted."""
    torch.manual_seed(0)
    theirs, x = THEIRS[name](INPUT, HIDDEN), sample(name)
    model = nn.Sequential(getattr(nn, name)(INPUT, HIDDEN))
    model[0].load_state_dict(theirs.state_dict())

    assert_same(theirs(x), torch.jit.script(model)(x))
