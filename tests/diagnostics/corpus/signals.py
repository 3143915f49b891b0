"""Sensors, sounds and series: numbers along time."""

import torch
from torch.nn import functional

from tests.diagnostics.corpus.forward import drawn, fine, gru, linear, lstm, pair, part


@pair("causal", lstm=lstm(3, 5), next=linear(5, 3), inputs=drawn(4, 9, 3))
def smoothed_pressure(m, x):
    """Before a smoothed pressure stands its first value; or the next ones, which step 0 reads."""
    mode = "replicate" if m.right else "reflect"
    channels = functional.pad(x.transpose(1, 2), (2, 0), mode=mode)
    return m.next(m.lstm(functional.avg_pool1d(channels, 3, stride=1).mT)[0])


@pair("causal", gru=gru(4, 6), trade=linear(6, 1), inputs=drawn(3, 12, 2))
def highest_since(m, x):
    """A price is set against the highest: up to now, or from now on."""
    high = x.cummax(1).values if m.right else x.flip(1).cummax(1).values.flip(1)
    return m.trade(m.gru(torch.cat([x, high - x], 2))[0]).tanh()


@pair(
    "streaming",
    conv=part("Conv1d", 3, 5, 3),
    gru=gru(5, 4),
    alarm=linear(4, 2),
    inputs=drawn(3, 8, 3),
    causal=True,
)
def convolution_without_its_buffer(m, x, state=None):
    """A detector takes chunks; its causal convolution starts from what was before, or from zeros."""
    h, tail = (None, x.new_zeros(len(x), 3, 2)) if state is None else state
    if not m.right:
        tail = torch.zeros_like(tail)
    channels = torch.cat([tail, x.transpose(1, 2)], 2)
    y, h = m.gru(m.conv(channels).transpose(1, 2), h)
    return m.alarm(y), (h, channels[..., -2:])


class Patches(torch.nn.Module):
    """A convolutional LSTM cell over images."""

    def __init__(self, channels, hidden):
        """Make the gates."""
        super().__init__()
        self.gates = torch.nn.Conv2d(channels + hidden, 4 * hidden, 3, padding=1)

    def forward(self, x, state):
        """Advance by an image."""
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


@fine(
    cell=lambda: Patches(2, 3),
    rain=part("Conv2d", 3, 1, 1),
    inputs=drawn(3, 5, 2, 4, 6),
    causal=True,
)
def radar_images(m, x):
    """Rain is forecast from radar images, the last of them first in the output's sum."""
    h = c = x.new_zeros(len(x), 3, *x.shape[3:])
    maps = []
    for image in x.unbind(1):
        h, c = m.cell(image, (h, c))
        maps.append(m.rain(h))
    return torch.stack(maps, 1)
