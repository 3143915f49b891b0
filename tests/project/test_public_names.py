"""The names that users import: complete, sorted, at home in ``rnnkit``, and cheap to import."""

import importlib
import inspect
import json
import subprocess
import sys
import types

import pytest
import torch

import rnnkit
from rnnkit import nn
from tests.strategies import CLASSES

#: What jaxtyping's import hook writes into a module, when the suite runs with it.
OF_THE_HOOK = {"jaxtyping"}


def public(module: types.ModuleType) -> set[str]:
    """The names of a module that have no underscore in front."""
    return {name for name in vars(module) if not name.startswith("_")} - OF_THE_HOOK


def rank(name: str) -> tuple[int, str]:
    """Where a name stands: constants, then classes, then the rest; each by the alphabet."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_all_is_complete() -> None:
    """Every public name is in ``__all__``, and nothing else is, imported or not."""
    listed = {name for name in dir(rnnkit) if not name.startswith("_")} - OF_THE_HOOK

    assert set(rnnkit.__all__) == listed
    assert public(rnnkit) <= listed


def test_all_is_sorted() -> None:
    """The names stand in the order that a reader looks for them, and once."""
    assert list(rnnkit.__all__) == sorted(set(rnnkit.__all__), key=rank)


@pytest.mark.parametrize("name", rnnkit.__all__)
def test_a_name_is_at_home_in_rnnkit(name: str) -> None:
    """A traceback or a repr says ``rnnkit.LSTM``, whichever file the class is in."""
    value = getattr(rnnkit, name)
    if isinstance(value, types.ModuleType):
        assert value.__name__ == f"rnnkit.{name}"
        return

    assert value.__module__ == "rnnkit"
    assert value.__qualname__ == name


def test_nn_is_torch_nn_with_six_classes_replaced() -> None:
    """Each public name of torch.nn is in rnnkit.nn, and all but six are torch's objects."""
    names = [name for name in dir(torch.nn) if not name.startswith("_")]

    assert {name for name in names if getattr(nn, name) is not getattr(torch.nn, name)} == {
        *CLASSES
    }


@pytest.mark.parametrize("name", CLASSES)
def test_nn_has_the_classes_of_rnnkit(name: str) -> None:
    """The six of rnnkit.nn are those of rnnkit, and torch's are their bases."""
    assert getattr(nn, name) is getattr(rnnkit, name)
    assert issubclass(getattr(nn, name), getattr(torch.nn, name))


def test_nn_brings_no_name_of_its_own() -> None:
    """A star import from rnnkit.nn brings the names that one from torch.nn brings."""
    assert public(nn) <= set(dir(torch.nn))


def test_nn_lists_what_torch_nn_lists() -> None:
    """Completion in an editor offers every name."""
    assert {name for name in dir(torch.nn) if not name.startswith("_")} <= set(dir(nn))


def test_nn_has_the_modules_inside_torch_nn() -> None:
    """What is deeper in torch.nn is reached by the same path."""
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 2, 3), [5, 4])
    _, (h, _) = nn.LSTM(3, 7)(packed)

    assert nn.functional.relu(nn.Linear(7, 4)(h)).shape == (1, 2, 4)
    assert nn.init is torch.nn.init
    assert nn.Module is torch.nn.Module


@pytest.mark.parametrize("name", ["functional", "utils.rnn"])
def test_nn_makes_no_second_torch_nn(name: str) -> None:
    """Imported by a path of ours, torch.nn's files would run again, with other classes in them."""
    with pytest.raises(ModuleNotFoundError, match="not a package"):
        importlib.import_module(f"rnnkit.nn.{name}")


def test_nn_has_the_private_names_of_torch_nn() -> None:
    """A private name of torch.nn is found too, since programs use some."""
    assert nn._reduction is torch.nn._reduction


def test_nn_has_no_name_that_torch_nn_lacks() -> None:
    """An unknown name is an AttributeError that tells the module."""
    with pytest.raises(AttributeError, match="LTSM"):
        _ = nn.LTSM


@pytest.mark.parametrize("name", CLASSES)
def test_constructor_has_the_parameters_of_torch(name: str) -> None:
    """The parameters are torch's in torch's order; what is ours comes after, by name only."""
    ours = list(inspect.signature(getattr(rnnkit, name)).parameters.values())
    own = [one.name for one in ours if one.kind is inspect.Parameter.KEYWORD_ONLY]
    theirs = {
        "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first dropout "
        "bidirectional device dtype",
        "LSTM": "input_size hidden_size num_layers bias batch_first dropout bidirectional "
        "proj_size device dtype",
        "GRU": "input_size hidden_size num_layers bias batch_first dropout bidirectional "
        "device dtype",
        "RNNCell": "input_size hidden_size bias nonlinearity device dtype",
        "LSTMCell": "input_size hidden_size bias device dtype",
        "GRUCell": "input_size hidden_size bias device dtype",
    }[name].split()

    assert [one.name for one in ours if one.name not in own] == theirs
    assert set(own) <= {"state_batch_first", "axes"}
    assert all(one.default is not inspect.Parameter.empty for one in ours[2:])


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    return set(json.loads(done.stdout))


def test_import_loads_nothing_that_it_does_not_need() -> None:
    """Importing rnnkit loads no test tool, no extra, and beartype at the first module only."""
    loaded = modules_after("import rnnkit")

    assert "torch" in loaded
    assert not loaded & {"pytest", "hypothesis", "beartype", "matplotlib", "rich"}
    assert not loaded & {"torch._dynamo", "sympy"}
    assert not any(name.startswith("rnnkit._diagnostics") for name in loaded)


@pytest.mark.parametrize("code", ["import rnnkit; rnnkit.verify", "import rnnkit.testing"])
def test_a_diagnostic_is_imported_when_asked_for(code: str) -> None:
    """Each way to the diagnostics imports them, and tells pytest to leave our frames out."""
    ours = "[m for name, m in sys.modules.items() if name.startswith('rnnkit._diagnostics.')]"
    hidden = f"import sys; [vars(module)['__tracebackhide__'] for module in {ours}]"

    assert "rnnkit._diagnostics.report" in modules_after(f"{code}\n{hidden}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is told with the module."""
    with pytest.raises(AttributeError, match="module 'rnnkit' has no attribute 'proof'") as caught:
        _ = rnnkit.proof  # type: ignore[attr-defined]
    assert (caught.value.name, caught.value.obj) == ("proof", rnnkit)
