"""Inputs whose steps are on different axes, and no lengths."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit


class Beside(nn.Module):
    """Numbers ``(batch, seq, 3)`` beside a spectrogram ``(batch, 4, seq)``, which may be reversed."""

    def __init__(self, *, flips: bool) -> None:
        """Make a layer over both."""
        super().__init__()
        self.flips, self.gru = flips, nn.GRU(7, 5, batch_first=True)

    def forward(self, x: Tensor, mels: Tensor) -> Tensor:
        """Read the two side by side."""
        mels = mels.view(len(mels), 4, -1)  # as a model may that counts on its memory
        frames = mels.mT.flip(1) if self.flips else mels.mT
        y: Tensor = self.gru(torch.cat([x, frames], 2))[0]
        return y


def test_steps_on_different_axes() -> None:
    """Each input may have its steps on an axis of its own, and the report shows which."""
    inputs = torch.randn(5, 7, 3), torch.randn(5, 4, 7)
    for seq_dim in ({1: 2}, {0: 1, 1: -1}, {0: -2, 1: -1}):
        report = rnnkit.verify(Beside(flips=False), *inputs, seq_dim=seq_dim, causal=True)
        assert "causal" in report.checked
        assert report.axes["input[1]"] == ("batch", 4, "seq")
        with pytest.raises(rnnkit.LeakError, match="depends on input of step"):
            rnnkit.verify(Beside(flips=True), *inputs, seq_dim=seq_dim, causal=True)

    def call(model: nn.Module, x: Tensor, mels: Tensor) -> Any:
        return model(x, mels.permute(1, 2, 0))

    for flips in (False, True):
        inputs = torch.randn(5, 7, 3), torch.randn(7, 5, 4)
        told: dict[str, Any] = {"seq_dim": {1: 0}, "causal": True, "raises": False}
        report = rnnkit.verify(Beside(flips=flips), *inputs, call=call, **told)
        assert report.axes["input[1]"] == ("seq", "batch", 4)
        assert report.found("causal") == flips
