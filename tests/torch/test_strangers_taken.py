"""What strangers' use found, B and C: what torch takes is taken."""

from typing import Any, Generic

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.strategies import CELLS, LAYERS, assert_same
from tests.torch.strangers import BATCH, HIDDEN, INPUT, X, cells, layers, state, twins


@cells
@pytest.mark.unhooked("the annotations say int and bool")
def test_b1_what_stands_for_a_size(name: str) -> None:
    """Sizes are what Python takes for an index, 0 too; bias is what is 0 or 1."""
    kind = getattr(rnnkit, name)

    for size in (torch.prod(torch.tensor([2, 2])), np.int64(4), torch.tensor(4, dtype=torch.int8)):
        assert kind(size, size)(torch.ones(2, 4))[0].shape[-1] == 4
    for bias in (0, 1, np.True_, np.False_):
        assert (kind(3, 4, bias).bias_ih is None) == (not bias)
    for wrong in (torch.tensor([4, 4]), torch.tensor(True), 4.0, "4", True):
        with pytest.raises(rnnkit.ArgumentError):
            kind(3, wrong)
    for wrong in ("no", 2, 0.0, None, np.int64(7)):
        with pytest.raises(rnnkit.ArgumentError):
            kind(3, 4, wrong)


@cells
@pytest.mark.filterwarnings("ignore:.*without hidden features:UserWarning")
@pytest.mark.parametrize("sizes", [(3, 0), (0, 4), (0, 0)], ids=str)
def test_b1_no_features_and_no_hidden_state(name: str, sizes: tuple[int, int]) -> None:
    """A cell without features or without a hidden state does what torch's does; unroll too."""
    theirs, ours = (getattr(space, name)(*sizes) for space in (nn, rnnkit))
    ours.load_state_dict(theirs.state_dict())
    x = torch.ones(6, 2, sizes[0])

    assert_same(theirs(x[0]), ours(x[0]))
    assert rnnkit.unroll(ours, x)[0].shape == (6, 2, sizes[1])


@pytest.mark.unhooked("the annotations say int")
def test_b1_counts_of_a_layer() -> None:
    """A layer takes for a count what torch takes, and refuses the sizes that torch refuses."""
    assert rnnkit.GRU(3, 4, torch.tensor(2)).num_layers == 2
    assert rnnkit.LSTM(3, 4, proj_size=torch.tensor(2))(X)[0].shape[-1] == 2
    with pytest.raises(TypeError, match="hidden_size should be of type int"):
        rnnkit.GRU(3, torch.tensor(4))


@layers
def test_b4_c_of_another_dtype_under_autocast(name: str) -> None:
    """Of a float64 layer under autocast, the member of a state that torch takes is taken."""
    theirs, ours = (module.double() for module in twins(name))
    x, h = X.double(), torch.randn(1, BATCH, HIDDEN)
    given: list[Any] = [h, h.double()]
    if name == "LSTM":
        given = [(one, other) for one in given for other in (*given, h.bfloat16())]

    with torch.autocast("cpu"):
        for hx in given:
            assert outcome(theirs, x, hx) == outcome(ours, x, hx)
            if outcome(theirs, x, hx):
                assert_same(theirs(x, hx), ours(x, hx))


def outcome(module: Any, *args: Any) -> bool:
    """Whether a call goes through; of ours, what does not is told by ours."""
    expected = rnnkit.RnnkitError if isinstance(module, OURS) else RuntimeError
    try:
        module(*args)
    except expected:
        return False
    return True


OURS = tuple(getattr(rnnkit, name) for name in (*LAYERS, *CELLS))


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
@pytest.mark.parametrize(
    "attribute",
    [
        *("mode", "proj_size", "kernel", "cell", "zeros", "weights", "set_options", "run", "split"),
        *("layers", "in_order", "forward_lengths", "forward_padded", "stack", "checked_state"),
    ],
)
def test_b5_names_of_a_subclass_are_its_own(name: str, attribute: str) -> None:
    """A subclass may put what it likes under a name with an underscore: numbers, parameters."""
    kind: Any = type("Own", (getattr(rnnkit, name),), {})
    results = []
    for value in (None, "x", nn.Parameter(torch.ones(2)), nn.Linear(2, 2)):
        torch.manual_seed(1)
        module = kind(INPUT, HIDDEN)
        if value is not None:
            setattr(module, f"_{attribute}", value)
        x = X if name in LAYERS else X[0]
        results.append(module(x, state_like(module)))
        if name in LAYERS:
            module(x, lengths=[7, 2, 0, 1, 4])
            module.cells()
        else:
            rnnkit.unroll(module, X)
        module.initial_state(2)

    for result in results[1:]:
        assert_same(results[0], result)


def state_like(module: Any) -> Any:
    """A state of ones."""
    return (
        tuple(map(torch.ones_like, module.initial_state(BATCH)))
        if isinstance(module, nn.LSTM | nn.LSTMCell)
        else torch.ones_like(module.initial_state(BATCH))
    )


def test_b5_recurrent_too() -> None:
    """And of Recurrent."""

    class Own(rnnkit.Recurrent):
        def __init__(self) -> None:
            super().__init__(rnnkit.GRUCell(INPUT, HIDDEN))
            self._run = self._layers = self._in_order = self._split = self._cells = "mine"

    assert Own()(X)[0].shape == (7, BATCH, HIDDEN)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_b5_all_that_is_ours_has_public_names(name: str) -> None:
    """Beside torch's names a class of ours has the public ones and ``__rnnkit__`` alone."""
    ours, theirs = getattr(rnnkit, name), getattr(nn, name)
    added = {key for key in dir(ours) if key not in dir(theirs)}

    public = {"axes", "initial_state", "__rnnkit__", "__prepare_scriptable__"}
    if name in LAYERS:
        public |= {"state_batch_first", "step", "cells", "last_hidden", "split_state"}
    assert added - set(dir(Generic)) - {"__orig_bases__", "__parameters__"} == public


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
def test_b6_nested_input(layout: torch.layout) -> None:
    """Nested input is told what makes a padded one of it, and its lengths."""
    pieces = [torch.ones(2, 3), torch.ones(4, 3)]
    nested = torch.nested.nested_tensor(pieces, layout=layout)
    gru = rnnkit.GRU(3, 4, batch_first=True)

    with pytest.raises(rnnkit.ArgumentError, match=r"to_padded_tensor\(0.0\) and lengths="):
        gru(nested)
    lengths = [len(one) for one in nested.unbind()]
    output, _ = gru(nested.to_padded_tensor(0.0), lengths=lengths)
    torch.testing.assert_close(output[1], gru(pieces[1])[0])
    for module in (rnnkit.GRUCell(3, 4), lambda x: rnnkit.unroll(rnnkit.GRUCell(3, 4), x)):
        if layout is torch.strided:
            with pytest.raises(rnnkit.ArgumentError, match="to_padded_tensor"):
                module(nested)


@layers
def test_b8_packed_calls_are_torchs(name: str) -> None:
    """Packed input, sorted or not, from a state or none: torch's numbers."""
    theirs, ours = twins(name)
    for lengths in ([7, 5, 3, 2, 1], [3, 7, 2, 1, 5]):
        packed = pack_padded_sequence(X, lengths, enforce_sorted=False)
        for hx in (None, state(name)):
            assert_same(theirs(packed, hx), ours(packed, hx))


class Wrapper:
    """Stands in for a tensor by ``__torch_function__`` alone."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        """Run anything."""
        return torch.ones(1)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
@pytest.mark.parametrize("options", [{}, {"lengths": [7, 5, 3, 2, 1]}], ids=str)
def test_b10_what_stands_in_for_tensors(name: str, options: dict[str, Any]) -> None:
    """What has only ``__torch_function__`` is no tensor: it is refused, and no option is lost."""
    _, ours = twins(name)
    x = X if name in LAYERS else X[0]
    call = ours if name in LAYERS else lambda *args, **given: rnnkit.unroll(ours, *args, **given)

    with pytest.raises(rnnkit.ArgumentError, match="input must be a Tensor, got a Wrapper"):
        ours(Wrapper())
    for hx in (Wrapper(), (Wrapper(), Wrapper())):
        with pytest.raises(rnnkit.StateError):
            ours(x, hx)
        with pytest.raises(rnnkit.StateError):
            call(X, hx, **options)


class Shapeless(Tensor):
    """A tensor of which nobody learns the shape."""

    @property
    def shape(self) -> Any:
        """Refuse."""
        raise RuntimeError(type(self).__name__)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_what_a_strange_tensor_says_is_not_changed(name: str) -> None:
    """A tensor of a subclass refuses in its own words."""
    _, ours = twins(name)
    x = X if name in LAYERS else X[0]
    with pytest.raises(RuntimeError, match="Shapeless"):
        ours(x.as_subclass(Shapeless))


def test_a_lack_of_memory_is_no_wrong_argument() -> None:
    """What moves a state says that memory is short in torch's words."""

    class Large(Tensor):
        def to(self, *_: Any, **__: Any) -> Any:
            raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        rnnkit.states.to(torch.ones(1, 2, 4).as_subclass(Large), "cpu")


def test_packed_input_in_a_sparse_order_is_refused() -> None:
    """The order of packed samples is dense, as torch makes it."""
    packed = pack_padded_sequence(X, torch.arange(BATCH) % len(X) + 1, enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert back is not None
    sparse = packed._replace(sorted_indices=order.to_sparse(), unsorted_indices=back.to_sparse())
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.GRU(INPUT, HIDDEN)(sparse)
    assert error.value.code == "packed-fields"
