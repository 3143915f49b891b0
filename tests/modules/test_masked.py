"""``rnnkit.masked``: each sample by itself, cut to its length, wherever its steps stand."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import rnnkit
from rnnkit import masked
from tests.compiles import compiles

#: What torch does to the valid steps of one sample, on axis 0.
BY_TORCH = {
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.amax(0),
    "softmax": lambda x: x.softmax(0),
}
functions = pytest.mark.parametrize("name", BY_TORCH)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16])


def padded(data: st.DataObject) -> tuple[Tensor, list[int], int]:
    """Draw a batch, its lengths and the axis of its steps; its padding is NaN or inf."""
    batch = data.draw(st.integers(1, 5))
    seq = data.draw(st.integers(1, 6))
    others = data.draw(SIZES)
    lengths = data.draw(st.lists(st.integers(0, seq), min_size=batch, max_size=batch))
    x = torch.randn(batch, seq, *others, dtype=torch.float64)
    for sample, length in zip(x, lengths, strict=True):
        sample[length:] = data.draw(st.sampled_from([torch.nan, torch.inf, 1e30]))
    x = x.to(data.draw(DTYPES))
    axis = data.draw(st.integers(0, x.dim() - 1))
    if axis == 0:
        return x.transpose(0, 1), lengths, 0
    return x.movedim(1, axis), lengths, axis


@functions
@given(data=st.data(), backwards=st.booleans())
def test_a_sample_is_as_alone(name, data, *, backwards):
    """A result is that of the sample alone, cut; of no step it is zero; gradients are finite."""
    x, lengths, axis = padded(data)
    x.requires_grad_()
    dim = axis - x.dim() if backwards else axis
    result = getattr(masked, name)(x, lengths, dim=dim)
    result.float().square().sum().backward()

    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert result.dtype is x.dtype
    batch_axis = 1 if axis == 0 else 0
    samples = x.detach().movedim((batch_axis, axis), (0, 1))
    results = result
    if name == "softmax":
        results = result.movedim((batch_axis, axis), (0, 1))
    for k, length in enumerate(lengths):
        expected = torch.zeros_like(results[k])
        if length and name == "softmax":
            expected[:length] = BY_TORCH[name](samples[k, :length])
        elif length:
            expected = BY_TORCH[name](samples[k, :length])
        assert_close(results[k], expected)


@given(data=st.data())
def test_mask(data):
    """A mask is true on the first steps of each sample, on the device of its lengths."""
    lengths = data.draw(st.lists(st.integers(0, 6), max_size=5))
    found = masked.mask(lengths, 6)

    assert found.tolist() == [[step < length for step in range(6)] for length in lengths]
    assert masked.mask(torch.tensor(lengths, dtype=torch.int32), 6).equal(found)


def test_half_precision_adds_up_in_single():
    """A mean of half precision does not overflow, as torch's own does not."""
    x = torch.full((1, 4), 6e4, dtype=torch.float16)

    assert masked.mean(x, [4], dim=1).equal(x.mean(1))


@compiles
@pytest.mark.slow
@functions
def test_compiled(name):
    """One graph has any sizes, and refuses lengths beyond them as it runs."""
    function: Any = getattr(masked, name)
    run = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, seq in ((4, 7), (3, 5)):
        x = torch.randn(batch, seq, 2)
        lengths = torch.arange(batch)
        assert_close(run(x, lengths, 1), function(x, lengths, 1))
    with pytest.raises((RuntimeError, rnnkit.RnnkitError), match="lengths must be"):
        run(x, lengths + 5, 1)
