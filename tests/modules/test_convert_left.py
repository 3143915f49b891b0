"""What ``convert`` and ``revert`` leave alone, and what they serve: wrappers and quantization."""

import pickle
import warnings
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import nn

import rnnkit
from tests.strategies import CELLS, CLASSES

WIDTH, HIDDEN = 3, 4

#: The classes that torch's dynamic quantization knows by default: RNN is not among them.
QUANTIZED = tuple(name for name in CLASSES if name != "RNN")


class OverTorch(nn.LSTM):
    """Somebody's subclass of torch's class."""


class OverOurs(rnnkit.LSTM):
    """Somebody's subclass of rnnkit's class."""


def test_subclasses_of_torchs_classes_are_left_and_named() -> None:
    """What somebody built on torch's class may rely on it."""
    model = nn.ModuleList([OverTorch(WIDTH, HIDDEN), nn.GRU(WIDTH, HIDDEN)])

    done = rnnkit.convert(model)

    assert type(model[0]) is OverTorch
    assert done.changed == ["1"]
    assert done.left == {"0": "OverTorch is a subclass of torch.nn.LSTM, whose forward may differ"}


def test_subclasses_of_rnnkits_classes_are_left_by_convert() -> None:
    """They are checked already: nothing to change, nothing to report."""
    model = nn.ModuleList([OverOurs(WIDTH, HIDDEN)])

    done = rnnkit.convert(model)

    assert type(model[0]) is OverOurs
    assert not done.changed
    assert not done.left


def test_subclasses_of_rnnkits_classes_are_named_by_revert() -> None:
    """What cannot become torch's class is named: a tool that compares classes will pass it by."""
    model = nn.ModuleList([OverOurs(WIDTH, HIDDEN)])

    undone = rnnkit.revert(model)

    assert type(model[0]) is OverOurs
    assert undone.left == {"0": "OverOurs is a subclass of rnnkit.LSTM, whose forward may differ"}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("option", [{"axes": {"batch": "b"}}, {"state_batch_first": True}])
def test_options_that_torch_lacks_are_left_by_revert(name: str, option: dict[str, Any]) -> None:
    """A module that torch's class could not run as it is stays rnnkit's, and is named."""
    if name in CELLS and "axes" not in option:
        return
    model = nn.Sequential(getattr(rnnkit, name)(WIDTH, HIDDEN, **option))

    undone = rnnkit.revert(model)

    assert type(model[0]) is getattr(rnnkit, name)
    assert undone.left == {"0": f"torch's class has no {next(iter(option))}"}


def test_what_revert_left_is_printed() -> None:
    """The result says why."""
    model = nn.ModuleDict(
        {
            "encoder": rnnkit.LSTM(WIDTH, HIDDEN, state_batch_first=True),
            "cell": rnnkit.GRUCell(WIDTH, HIDDEN, axes={"batch": "b"}),
            "decoder": rnnkit.GRU(WIDTH, HIDDEN),
        }
    )

    assert str(rnnkit.revert(model)) == snapshot("""\
1 module changed, 2 left
  changed  decoder
  left     encoder: torch's class has no state_batch_first
  left     cell: torch's class has no axes\
""")


def test_a_data_parallel_model() -> None:
    """Names are those of the wrapper, as state_dict has them."""
    model = nn.DataParallel(nn.Sequential(nn.LSTM(WIDTH, HIDDEN)))

    assert rnnkit.convert(model).changed == ["module.0"]


def test_a_compiled_model() -> None:
    """A model that was compiled and has run is converted, and gives what it gave."""
    model = nn.Sequential(nn.GRUCell(WIDTH, HIDDEN))
    compiled: Any = torch.compile(model, backend="eager")
    x = torch.randn(2, WIDTH)
    before = compiled(x)

    done = rnnkit.convert(compiled)

    assert done.changed == ["_orig_mod.0"]
    assert type(model[0]) is rnnkit.GRUCell
    torch.testing.assert_close(compiled(x), before)


def quantized(model: nn.Module) -> Any:
    """The model with its recurrent modules quantized, as far as torch finds them."""
    with warnings.catch_warnings():
        # torch announces the end of eager quantization, and of its tensors, at each call.
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model)


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantization_finds_what_revert_has_reverted(name: str) -> None:
    """Eager dynamic quantization passes rnnkit's class by in silence, and takes the reverted."""
    model = nn.Sequential(getattr(rnnkit, name)(WIDTH, HIDDEN))
    assert type(quantized(model)[0]) is getattr(rnnkit, name)

    rnnkit.revert(model)
    done = quantized(model)

    assert type(done[0]).__module__.startswith("torch.ao.nn.quantized.dynamic")
    x = torch.randn(*((2,) if name in CELLS else (5, 2)), WIDTH)
    exact, rounded = model(x), done(x)
    while isinstance(exact, tuple):
        exact, rounded = exact[0], rounded[0]
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_what_convert_did_can_be_kept() -> None:
    """The result of a conversion can be pickled, as by a tool that logs it."""
    done = rnnkit.convert(nn.ModuleList([OverTorch(WIDTH, HIDDEN), nn.GRU(WIDTH, HIDDEN)]))

    assert isinstance(done, rnnkit.Converted)
    assert pickle.loads(pickle.dumps(done)) == done


def test_a_name_that_reads_as_a_number_is_quoted() -> None:
    """A module called 0 is no count of modules."""
    model = nn.Sequential(nn.GRU(WIDTH, HIDDEN), nn.Sequential(OverTorch(WIDTH, HIDDEN)))

    assert str(rnnkit.convert(model)) == snapshot("""\
1 module changed, 1 left
  changed  '0'
  left     '1.0': OverTorch is a subclass of torch.nn.LSTM, whose forward may differ\
""")
