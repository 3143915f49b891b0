"""What autocast asks for and oneDNN does not have on this CPU is said in our words."""

import pytest
import torch
from torch.testing import assert_close

import rnnkit
from rnnkit._base.torch_tools import lacks_kernel

INPUT = torch.randn(7, 5, 3)


def test_the_fixes_work():
    """Both lines run where the layer does not; torch's error is the cause of ours."""
    layer = rnnkit.LSTM(3, 4)
    expected = layer(INPUT)[0]

    with torch.autocast("cpu", torch.float16):
        with pytest.raises(rnnkit.DtypeError) as caught:
            layer(INPUT)
        with torch.autocast("cpu", enabled=False):
            assert_close(layer(INPUT)[0], expected)
        assert_close(layer(INPUT, lengths=[7] * 5)[0], expected)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("grad", [False, True])
def test_bfloat16_runs_or_says_why(*, grad):
    """On any CPU a bfloat16 LSTM under autocast gives torch's numbers, or the error."""
    theirs = torch.nn.LSTM(3, 4)
    layer = rnnkit.LSTM(3, 4)
    layer.load_state_dict(theirs.state_dict())

    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16):
        if lacks_kernel("LSTM", 0, INPUT):
            with pytest.raises(rnnkit.DtypeError, match="in bfloat16 with AVX-512"):
                layer(INPUT)
        else:
            assert torch.equal(layer(INPUT)[0], theirs(INPUT)[0])


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_only_these_layers_lack_a_kernel():
    """Autocast off, other layers, a projection, the lowered dtype itself and double never lack it."""
    assert not lacks_kernel("LSTM", 0, INPUT)
    with torch.autocast("cpu", torch.float16):
        assert lacks_kernel("LSTM", 0, INPUT)
        assert not lacks_kernel("GRU", 0, INPUT)
        assert not lacks_kernel("LSTM", 2, INPUT)
        assert not lacks_kernel("LSTM", 0, INPUT.half())
        assert not lacks_kernel("LSTM", 0, INPUT.double())
        with torch.backends.mkldnn.flags(enabled=False):
            assert not lacks_kernel("LSTM", 0, INPUT)
