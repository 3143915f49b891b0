"""Sensors, sounds and series: numbers along time."""

import torch
from torch import Tensor
from torch.nn import functional

from tests.diagnostics.corpus.forward import drawn, fine, gru, gru_cell, linear, lstm, pair, part


@pair("causal", lstm=lstm(3, 5), next=linear(5, 3), inputs=drawn(4, 9, 3), causal=True)
def smoothed_pressure(m, x):
    """A pressure is smoothed before it is forecast: over the last three values, or around each."""
    channels = functional.pad(x.transpose(1, 2), (2, 0) if m.right else (1, 1), mode="replicate")
    smooth = functional.avg_pool1d(channels, 3, stride=1).transpose(1, 2)
    return m.next(m.lstm(smooth)[0])


@pair("causal", gru=gru(4, 6), trade=linear(6, 1), inputs=drawn(3, 12, 2), causal=True)
def highest_since(m, x):
    """A price is set against the highest: up to now, or from now on."""
    high = x.cummax(1).values if m.right else x.flip(1).cummax(1).values.flip(1)
    return m.trade(m.gru(torch.cat([x, high - x], 2))[0]).tanh()


@pair(
    missed="steps at the ends may be left out: a target, a chunk",
    gru=gru(),
    label=linear(6, 5),
    inputs=drawn(4, 15, 3),
)
def tail_of_the_recording(m, x):
    """A recording is cut into blocks of four; what is left over is padded, or dropped."""
    rest = -x.shape[1] % 4
    whole = functional.pad(x, (0, 0, 0, rest)) if m.right else x[:, : x.shape[1] // 4 * 4]
    blocks = whole.unflatten(1, (-1, 4)).mean(2)
    return m.label(m.gru(blocks)[1][-1])


@pair(
    "gradient",
    ears=gru(4, 5),
    notes=gru(4, 6),
    onset=linear(5, 1),
    pitch=linear(6, 8),
    inputs=drawn(3, 7, 4),
)
def onsets_as_a_gate(m, x):
    """Notes are gated by their onsets: by how likely they are, or by a hard yes or no."""
    onset = m.onset(m.ears(x)[0]).sigmoid()
    gate = onset if m.right else (onset > 0.5).float()
    return m.pitch(m.notes(x)[0]) * gate


@pair(
    "streaming",
    conv=part("Conv1d", 3, 5, 3),
    gru=gru(5, 4),
    alarm=linear(4, 2),
    inputs=drawn(3, 8, 3),
    causal=True,
    streaming=True,
)
def convolution_without_its_buffer(m, x, state=None):
    """A detector takes chunks; its causal convolution starts from what was before, or from zeros."""
    h, tail = (None, x.new_zeros(len(x), 3, 2)) if state is None else state
    if not m.right:
        tail = torch.zeros_like(tail)
    channels = torch.cat([tail, x.transpose(1, 2)], 2)
    y, h = m.gru(m.conv(channels).transpose(1, 2), h)
    return m.alarm(y), (h, channels[..., -2:])


def visits():
    """Draw numbers, which of them were measured, and the time between."""
    return torch.randn(4, 7, 3), torch.rand(4, 7, 3) > 0.4, torch.rand(4, 7, 1)


@fine(
    cell=gru_cell(6, 6),
    rate=linear(1, 9),
    risk=linear(6, 1),
    mean=lambda: torch.nn.Parameter(torch.randn(3)),
    inputs=visits,
    causal=True,
)
def decay_between_visits(m, x, seen, gaps):
    """GRU-D: what was last measured decays to the mean, and the state with the time between."""
    h = x.new_zeros(len(x), 6)
    last = m.mean.expand(len(x), -1)
    outputs = []
    for x_t, s_t, g_t in zip(x.unbind(1), seen.unbind(1), gaps.unbind(1), strict=True):
        rate = (-m.rate(g_t).relu()).exp()
        last = torch.where(s_t, x_t, last)
        value = torch.where(s_t, x_t, rate[:, :3] * last + (1 - rate[:, :3]) * m.mean)
        h = m.cell(torch.cat([value, s_t.to(x.dtype)], 1), rate[:, 3:] * h)
        outputs.append(h)
    return m.risk(torch.stack(outputs, 1)).squeeze(2)


class Patches(torch.nn.Module):
    """A convolutional LSTM cell over images, with peepholes."""

    def __init__(self, channels: int, hidden: int):
        """Make the gates."""
        super().__init__()
        self.gates = torch.nn.Conv2d(channels + hidden, 4 * hidden, 3, padding=1)
        self.peep = torch.nn.Parameter(torch.randn(3, hidden, 1, 1))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Advance by an image."""
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        i, f = (i + self.peep[0] * c).sigmoid(), (f + self.peep[1] * c).sigmoid()
        c = f * c + i * g.tanh()
        return (o + self.peep[2] * c).sigmoid() * c.tanh(), c


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
