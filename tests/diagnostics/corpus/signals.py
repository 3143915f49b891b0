"""Sensors, sounds and series: numbers along time."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tests.diagnostics.corpus.case import Net, Stream, Subject, mistake, right


@mistake("batch")
def heartbeat_baseline(nn: ModuleType, is_right: bool) -> Subject:
    """The baseline of an ECG is taken off: the mean of each recording, or over the patients."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.beat(m.gru(x - x.mean(1 if is_right else 0, keepdim=True))[0].amax(1))

    model = Net(compute, gru=nn.GRU(2, 7, batch_first=True), beat=nn.Linear(7, 4))
    return Subject(model, (torch.randn(5, 11, 2),))


@mistake("causal")
def smoothed_pressure(nn: ModuleType, is_right: bool) -> Subject:
    """A pressure is smoothed before it is forecast: over the last three values, or around each."""

    def compute(m: Any, x: Tensor) -> Tensor:
        channels = functional.pad(
            x.transpose(1, 2), (2, 0) if is_right else (1, 1), mode="replicate"
        )
        smooth = functional.avg_pool1d(channels, 3, stride=1).transpose(1, 2)
        return m.next(m.lstm(smooth)[0])

    model = Net(compute, lstm=nn.LSTM(3, 5, batch_first=True), next=nn.Linear(5, 3))
    return Subject(model, (torch.randn(4, 9, 3),), {"causal": True})


@mistake("causal")
def highest_since(nn: ModuleType, is_right: bool) -> Subject:
    """A price is set against the highest: up to now, or from now on."""

    def compute(m: Any, x: Tensor) -> Tensor:
        high = x.cummax(1).values if is_right else x.flip(1).cummax(1).values.flip(1)
        return m.trade(m.gru(torch.cat([x, high - x], 2))[0]).tanh()

    model = Net(compute, gru=nn.GRU(4, 6, batch_first=True), trade=nn.Linear(6, 1))
    return Subject(model, (torch.randn(3, 12, 2),), {"causal": True})


@mistake("causal")
def time_since_the_last_event(nn: ModuleType, is_right: bool) -> Subject:
    """Events come with the time since the last one; or, padded at the wrong end, to the next."""

    def compute(m: Any, marks: Tensor, times: Tensor) -> Tensor:
        gaps = functional.pad(times.diff(dim=1), (1, 0) if is_right else (0, 1))
        return m.rate(m.rnn(torch.cat([m.kinds(marks), gaps.unsqueeze(2)], 2))[0])

    model = Net(
        compute,
        kinds=nn.Embedding(6, 4),
        rnn=nn.RNN(5, 8, batch_first=True),
        rate=nn.Linear(8, 6),
    )
    times = torch.rand(4, 10).cumsum(1)
    return Subject(model, (torch.randint(0, 6, (4, 10)), times), {"causal": True})


@mistake("batch")
def stacked_frames(nn: ModuleType, is_right: bool) -> Subject:
    """Two frames of speech become one: side by side, or across the batch by a reshape."""

    def compute(m: Any, x: Tensor) -> Tensor:
        b, t, f = x.shape
        pairs = x.reshape(b, t // 2, 2 * f) if is_right else x.reshape(t // 2, b, 2 * f)
        pairs = pairs.transpose(0, 1) if is_right else pairs
        return m.ctc(m.lstm(pairs)[0]).log_softmax(2).transpose(0, 1)

    model = Net(compute, lstm=nn.LSTM(6, 5, bidirectional=True), ctc=nn.Linear(10, 7))
    return Subject(model, (torch.randn(4, 10, 3),))


@mistake(missed="steps at the ends may be left out: a target, a chunk")
def tail_of_the_recording(nn: ModuleType, is_right: bool) -> Subject:
    """A recording is cut into blocks of four; what is left over is padded, or dropped."""

    def compute(m: Any, x: Tensor) -> Tensor:
        rest = -x.shape[1] % 4
        whole = functional.pad(x, (0, 0, 0, rest)) if is_right else x[:, : x.shape[1] // 4 * 4]
        blocks = whole.unflatten(1, (-1, 4)).mean(2)
        return m.label(m.gru(blocks)[1][-1])

    model = Net(compute, gru=nn.GRU(3, 6, batch_first=True), label=nn.Linear(6, 5))
    return Subject(model, (torch.randn(4, 15, 3),))


@mistake("gradient")
def onsets_as_a_gate(nn: ModuleType, is_right: bool) -> Subject:
    """Notes are gated by their onsets: by how likely they are, or by a hard yes or no."""

    def compute(m: Any, x: Tensor) -> Tensor:
        onset = m.onset(m.ears(x)[0]).sigmoid()
        gate = onset if is_right else (onset > 0.5).float()
        return m.pitch(m.notes(x)[0]) * gate

    model = Net(
        compute,
        ears=nn.GRU(4, 5, batch_first=True),
        notes=nn.GRU(4, 6, batch_first=True),
        onset=nn.Linear(5, 1),
        pitch=nn.Linear(6, 8),
    )
    return Subject(model, (torch.randn(3, 7, 4),))


@mistake("gradient")
def second_cell_reads_the_load(nn: ModuleType, is_right: bool) -> Subject:
    """Two cells for an electric load: the upper reads the lower, or the load again."""

    def compute(m: Any, x: Tensor) -> Tensor:
        low = high = x.new_zeros(len(x), 5)
        for load in x.unbind(1):
            low = m.low(load, low)
            high = m.high(low if is_right else load, high)
        return m.tomorrow(high)

    model = Net(compute, low=nn.GRUCell(5, 5), high=nn.GRUCell(5, 5), tomorrow=nn.Linear(5, 2))
    return Subject(model, (torch.randn(4, 6, 5),))


@mistake("streaming", ask=True)
def convolution_without_its_buffer(nn: ModuleType, is_right: bool) -> Subject:
    """A detector takes chunks; its causal convolution starts from what was before, or from zeros."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, tail = (None, x.new_zeros(len(x), 3, 2)) if state is None else state
        if not is_right:
            tail = torch.zeros_like(tail)
        channels = torch.cat([tail, x.transpose(1, 2)], 2)
        y, h = m.gru(m.conv(channels).transpose(1, 2), h)
        return m.alarm(y), (h, channels[..., -2:])

    model = Stream(
        compute,
        conv=nn.Conv1d(3, 5, 3),
        gru=nn.GRU(5, 4, batch_first=True),
        alarm=nn.Linear(4, 2),
    )
    return Subject(model, (torch.randn(3, 8, 3),), {"causal": True})


@mistake("streaming", ask=True)
def clock_that_starts_again(nn: ModuleType, is_right: bool) -> Subject:
    """A step knows how late it is: its count goes on with the state, or begins with each chunk."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        h, count = (None, torch.zeros(len(x), 1)) if state is None else state
        begin = count if is_right else torch.zeros_like(count)
        late = begin + torch.arange(x.shape[1]).to(begin)
        y, h = m.lstm(torch.cat([x, late.mul(0.3).sin().unsqueeze(2).to(x.dtype)], 2), h)
        return m.out(y), (h, count + x.shape[1])

    model = Stream(compute, lstm=nn.LSTM(4, 6, batch_first=True), out=nn.Linear(6, 3))
    return Subject(model, (torch.randn(4, 9, 3),), {"causal": True})


@right
def decay_between_visits(nn: ModuleType) -> Subject:
    """GRU-D: what was last measured decays to the mean, and the state with the time between."""

    def compute(m: Any, x: Tensor, seen: Tensor, gaps: Tensor) -> Tensor:
        h, last, outputs = x.new_zeros(len(x), 6), m.mean.expand(len(x), -1), []
        for x_t, s_t, g_t in zip(x.unbind(1), seen.unbind(1), gaps.unbind(1), strict=True):
            rate = (-m.rate(g_t).relu()).exp()
            last = torch.where(s_t, x_t, last)
            value = torch.where(s_t, x_t, rate[:, :3] * last + (1 - rate[:, :3]) * m.mean)
            h = m.cell(torch.cat([value, s_t.to(x.dtype)], 1), rate[:, 3:] * h)
            outputs.append(h)
        return m.risk(torch.stack(outputs, 1)).squeeze(2)

    model = Net(
        compute,
        cell=nn.GRUCell(6, 6),
        rate=nn.Linear(1, 9),
        risk=nn.Linear(6, 1),
        mean=nn.Parameter(torch.randn(3)),
    )
    inputs = torch.randn(4, 7, 3), torch.rand(4, 7, 3) > 0.4, torch.rand(4, 7, 1)
    return Subject(model, inputs, {"causal": True})


class Patches(torch.nn.Module):
    """A convolutional LSTM cell over images, with peepholes."""

    def __init__(self, channels: int, hidden: int) -> None:
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


@right
def radar_images(nn: ModuleType) -> Subject:
    """Rain is forecast from radar images, the last of them first in the output's sum."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 3, *x.shape[3:])
        maps = []
        for image in x.unbind(1):
            h, c = m.cell(image, (h, c))
            maps.append(m.rain(h))
        return torch.stack(maps, 1)

    model = Net(compute, cell=Patches(2, 3), rain=nn.Conv2d(3, 1, 1))
    return Subject(model, (torch.randn(3, 5, 2, 4, 6),), {"causal": True})


@right
def echo_state(nn: ModuleType) -> Subject:
    """A reservoir whose weights are drawn once and never trained; only the readout is."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.readout(torch.cat([m.reservoir(x)[0], x], 2))

    reservoir = nn.RNN(2, 9, batch_first=True).requires_grad_(requires_grad=False)
    model = Net(compute, reservoir=reservoir, readout=nn.Linear(11, 2))
    return Subject(model, (torch.randn(4, 13, 2),), {"causal": True})


@right
def reversed_autoencoder(nn: ModuleType) -> Subject:
    """A machine's vibration is coded into one vector and told from its end to its beginning."""

    def compute(m: Any, x: Tensor) -> Tensor:
        _, (h, c) = m.encoder(x)
        h, c, step, steps = h[-1], c[-1], x.new_zeros(len(x), 3), []
        for _ in range(x.shape[1]):
            h, c = m.decoder(step, (h, c))
            step = m.out(h)
            steps.append(step)
        return torch.stack(steps[::-1], 1)

    model = Net(
        compute,
        encoder=nn.LSTM(3, 5, batch_first=True),
        decoder=nn.LSTMCell(3, 5),
        out=nn.Linear(5, 3),
    )
    return Subject(model, (torch.randn(4, 8, 3),))


@right
def mixture_of_futures(nn: ModuleType) -> Subject:
    """Where a person walks next, as a mixture of normal distributions for each step."""

    def compute(m: Any, x: Tensor) -> Any:
        weight, place, spread = m.head(m.gru(x)[0]).split([4, 8, 8], 2)
        parts = torch.distributions.Independent(
            torch.distributions.Normal(
                place.unflatten(2, (4, 2)), spread.unflatten(2, (4, 2)).float().exp().to(x.dtype)
            ),
            1,
        )
        kinds = torch.distributions.Categorical(logits=weight)
        return torch.distributions.MixtureSameFamily(kinds, parts)

    model = Net(compute, gru=nn.GRU(2, 6, 2, batch_first=True, dropout=0.3), head=nn.Linear(6, 20))
    return Subject(model, (torch.randn(5, 6, 2),), {"causal": True})
