"""The names that users import: complete, sorted, at home in ``rnnkit``, and cheap to import."""

import importlib
import json
import pkgutil
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


def rank(name: str) -> tuple[bool, bool, str]:
    """Where a name stands: constants, then classes, then the rest; each by the alphabet."""
    return (not name.isupper(), not name[0].isupper(), name)


def test_all_is_complete_and_sorted():
    """Every public name is in ``__all__`` once, in a reader's order; nothing else is, imported or not."""
    listed = {name for name in dir(rnnkit) if not name.startswith("_")} - OF_THE_HOOK

    assert set(rnnkit.__all__) == listed
    assert public(rnnkit) <= listed
    assert list(rnnkit.__all__) == sorted(set(rnnkit.__all__), key=rank)


def test_a_name_is_at_home_in_rnnkit():
    """A traceback or a repr says ``rnnkit.LSTM``, whichever file the class is in."""
    for name in rnnkit.__all__:
        value = getattr(rnnkit, name)
        if isinstance(value, types.ModuleType):
            assert value.__name__ == f"rnnkit.{name}"
        else:
            assert (value.__module__, value.__qualname__) == ("rnnkit", name)


def below(kind: type) -> list[type]:
    """Return a class and all that are derived from it."""
    return [kind, *(one for child in kind.__subclasses__() for one in below(child))]


def test_an_error_is_found_by_the_name_that_is_printed():
    """What a traceback says of an error can be imported, so that a program can catch it."""
    for module in pkgutil.walk_packages(rnnkit.__path__, "rnnkit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = [kind for base in (rnnkit.RnnkitError, rnnkit.RnnkitWarning) for kind in below(base)]
    ours = [kind for kind in kinds if kind.__module__.partition(".")[0] == "rnnkit"]

    assert len(ours) > 10
    for kind in ours:
        assert getattr(sys.modules[kind.__module__], kind.__qualname__, None) is kind


def test_nn_is_torch_nn_with_six_classes_replaced():
    """Each public name of torch.nn is in rnnkit.nn; all but six are torch's objects; none is more.

    Its modules are reached by the same path, but are not imported by it.
    """
    names = {name for name in dir(torch.nn) if not name.startswith("_")}
    replaced = {name for name in names if getattr(nn, name) is not getattr(torch.nn, name)}

    assert replaced == {*CLASSES}
    assert public(nn) <= names <= set(dir(nn))
    for name in CLASSES:
        assert getattr(nn, name) is getattr(rnnkit, name)
        assert issubclass(getattr(nn, name), getattr(torch.nn, name))
    assert {"functional", "init", "utils"} <= names
    # Imported by a path of ours, torch.nn's files would run again, with other classes in them.
    for name in ("functional", "utils.rnn"):
        with pytest.raises(ModuleNotFoundError, match="not a package"):
            importlib.import_module(f"rnnkit.nn.{name}")


#: What a fresh interpreter has loaded after the import, and after the diagnostics were asked for.
LOADED = """
import json, sys
import rnnkit
before = sorted(sys.modules)
rnnkit.verify
after = [name for name in sys.modules if name.startswith("rnnkit._diagnostics.")]
[vars(sys.modules[name])["__tracebackhide__"] for name in after]
import rnnkit.testing
print(json.dumps([before, after, [*sys.modules]]))
"""


@pytest.mark.slow
def test_import_loads_nothing_that_it_does_not_need():
    """Importing rnnkit loads no extra, beartype at the first module, and no diagnostic.

    Whoever asks for one imports them, and they tell pytest to leave their frames out. Nor does
    ``rnnkit.testing`` load a test tool or an extra.
    """
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=300, check=True
    )
    before, after, tested = map(set, json.loads(done.stdout))

    assert "torch" in before
    assert not before & {"beartype", "rich"}
    assert not tested & {"pytest", "hypothesis", "matplotlib"}
    assert not before & {"torch._dynamo", "sympy"}
    assert not any(name.startswith("rnnkit._diagnostics") for name in before)
    assert "rnnkit._diagnostics.tell.report" in after


def test_other_names():
    """A private name of torch.nn, which programs use, is found; an unknown one is told with its module."""
    assert nn._reduction is torch.nn._reduction
    with pytest.raises(AttributeError, match="LTSM"):
        _ = nn.LTSM
    with pytest.raises(AttributeError, match="module 'rnnkit' has no attribute 'proof'") as caught:
        _ = rnnkit.proof  # type: ignore[attr-defined]
    assert (caught.value.name, caught.value.obj) == ("proof", rnnkit)
