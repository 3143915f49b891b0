"""What autocast asks for and oneDNN does not have on this CPU is said in our words."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit._base.torch_tools import lacks_kernel
from rnnkit._checks.causes.kernel import explain_missing_kernel


def test_the_fixes_work() -> None:
    """Each of the three lines runs where the layer does not."""
    layer, input = rnnkit.LSTM(3, 4), torch.randn(7, 5, 3)
    expected = layer(input)[0]

    with torch.autocast("cpu", torch.float16):
        with torch.autocast("cpu", enabled=False):
            torch.testing.assert_close(layer(input)[0], expected)
        torch.testing.assert_close(layer(input, lengths=[7] * 5)[0], expected)
        half = layer.to(torch.float16)(input.to(torch.float16))[0]
    torch.testing.assert_close(half.float(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "h", "given"),
    [
        (torch.float32, None, "input"),
        (torch.float32, torch.float32, "input, hx"),
        (torch.bfloat16, None, "input.to(torch.float32)"),
        (
            torch.bfloat16,
            torch.bfloat16,
            "input.to(torch.float32), rnnkit.states.to(hx, torch.float32)",
        ),
    ],
)
def test_the_first_fix_works_for_halves_too(
    dtype: torch.dtype, h: torch.dtype | None, given: str, *, packed: bool
) -> None:
    """Without autocast input and state have the dtype of the weights; the state is not left out."""
    layer, input = rnnkit.LSTM(3, 4), torch.randn(7, 5, 3, dtype=dtype)
    if packed:
        input = torch.nn.utils.rnn.pack_padded_sequence(input, [7] * 5)
    hx = None if h is None else (torch.randn(1, 5, 4, dtype=h), None)
    said = RuntimeError("could not create a primitive")

    with torch.autocast("cpu", torch.float16), pytest.raises(rnnkit.DtypeError) as caught:
        explain_missing_kernel(layer, input, hx, said)
    assert f"enabled=False): output, state = layer({given})\n" in str(caught.value)
    with torch.autocast("cpu", torch.float16):
        names = {"rnnkit": rnnkit, "layer": layer, "input": input, "hx": hx, "torch": torch}
        exec(f"with torch.autocast('cpu', enabled=False): layer({given})", names)  # noqa: S102


@pytest.mark.parametrize("grad", [False, True])
def test_bfloat16_runs_or_says_why(*, grad: bool) -> None:
    """On any CPU a bfloat16 LSTM under autocast gives torch's numbers, or the error."""
    theirs, input = torch.nn.LSTM(3, 4), torch.randn(7, 5, 3)
    layer = rnnkit.LSTM(3, 4)
    layer.load_state_dict(theirs.state_dict())

    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16):
        if lacks_kernel("LSTM", 0, input):
            with pytest.raises(rnnkit.DtypeError, match="bfloat16 LSTM on CPUs with AVX-512 alone"):
                layer(input)
        else:
            assert torch.equal(layer(input)[0], theirs(input)[0])


def test_the_message_of_bfloat16() -> None:
    """It has the first sentence of torch's, and names what torch found of this CPU."""
    said = RuntimeError("could not create a primitive. Not here. Nor there")

    with torch.autocast("cpu", torch.bfloat16), pytest.raises(rnnkit.DtypeError) as caught:
        explain_missing_kernel(rnnkit.LSTM(3, 4), torch.zeros(7, 5, 3), None, said)
    assert caught.value.argument == "input"
    level = torch.backends.cpu.get_cpu_capability()
    assert str(caught.value).replace(f" {level} ", " LEVEL ") == snapshot("""\
could not create a primitive
  LSTM(3, 4): autocast asks for a bfloat16 LSTM, which this CPU does not have
  evidence  oneDNN has a bfloat16 LSTM only on CPUs with AVX-512; torch sees LEVEL here
  fix       with torch.autocast('cpu', enabled=False): output, state = layer(input)
            or both in bfloat16: layer.to(torch.bfloat16) and input.to(torch.bfloat16)
            or lengths=[...], each sample's valid steps, which takes a different kernel
  more      python -m rnnkit explain kernel-missing\
""")


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_only_these_layers_lack_a_kernel() -> None:
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("argument", ["lengths", "reset"])
def test_packed_input_is_refused_first(argument: str, dtype: torch.dtype) -> None:
    """Under autocast too, packed input beside lengths or resets gets the error that it has without."""
    packed = torch.nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    given = {"lengths": [4, 2], "reset": torch.zeros(4, 2, dtype=torch.bool)}[argument]

    with torch.autocast("cpu", dtype), pytest.raises(rnnkit.ShapeError) as caught:
        rnnkit.LSTM(3, 5)(packed, **{argument: given})
    assert caught.value.argument == argument
