"""What autocast asks for and oneDNN does not have on this CPU is said in our words."""

import pytest
import torch

import rnnkit
from rnnkit._base.torch_tools import lacks_kernel


def test_the_fixes_work():
    """Both lines run where the layer does not; torch's error is the cause of ours."""
    layer = rnnkit.LSTM(3, 4)
    input = torch.randn(7, 5, 3)
    expected = layer(input)[0]

    with torch.autocast("cpu", torch.float16):
        with pytest.raises(rnnkit.DtypeError) as caught:
            layer(input)
        with torch.autocast("cpu", enabled=False):
            torch.testing.assert_close(layer(input)[0], expected)
        torch.testing.assert_close(layer(input, lengths=[7] * 5)[0], expected)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("grad", [False, True])
def test_bfloat16_runs_or_says_why(*, grad):
    """On any CPU a bfloat16 LSTM under autocast gives torch's numbers, or the error."""
    theirs = torch.nn.LSTM(3, 4)
    input = torch.randn(7, 5, 3)
    layer = rnnkit.LSTM(3, 4)
    layer.load_state_dict(theirs.state_dict())

    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16):
        if lacks_kernel("LSTM", 0, input):
            with pytest.raises(rnnkit.DtypeError, match="in bfloat16 with AVX-512"):
                layer(input)
        else:
            assert torch.equal(layer(input)[0], theirs(input)[0])


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_only_these_layers_lack_a_kernel():
    """Autocast off, other layers, a projection, the lowered dtype itself and double never lack it."""
    input = torch.randn(7, 5, 3)

    assert not lacks_kernel("LSTM", 0, input)
    with torch.autocast("cpu", torch.float16):
        assert lacks_kernel("LSTM", 0, input)
        assert not lacks_kernel("GRU", 0, input)
        assert not lacks_kernel("LSTM", 2, input)
        assert not lacks_kernel("LSTM", 0, input.half())
        assert not lacks_kernel("LSTM", 0, input.double())
        with torch.backends.mkldnn.flags(enabled=False):
            assert not lacks_kernel("LSTM", 0, input)
