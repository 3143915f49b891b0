"""Numbers: what rounds, cancels out, saturates or is refused, and leaks that hide behind it."""

import torch
from torch import nn

from tests.diagnostics.corpus.forward import X, fine, gru, linear, pair
from tests.diagnostics.models_of_users import COUNTS, PADDED, mask, numbers, within


def shifted_weights(m, x):
    """Attend, the largest score of the whole batch taken off before the exponential."""
    y = m.gru(x)[0]
    score = m.score(y)
    weight = (score - score.max()).exp()
    return (weight * y).sum(1) / weight.sum(1)


def long_convolution(m, x):
    """Convolve with the steps before, by a Fourier transform of twice as many steps."""
    steps = x.shape[1]
    kernel = (m.pole.unsqueeze(1) * torch.arange(steps, dtype=x.dtype)).exp().real
    product = torch.fft.rfft(x.mT, 2 * steps) * torch.fft.rfft(kernel, 2 * steps)
    return m.gru(torch.fft.irfft(product, 2 * steps)[..., :steps].mT)[0]


def masked_late(m, x):
    """Attend to earlier steps, the largest score of all taken off before the mask."""
    y = m.gru(x)[0]
    score = y @ y.mT
    weight = (score - score.amax(2, keepdim=True)).exp().tril()
    return weight / weight.sum(2, keepdim=True) @ y


def pole():
    """Make a decaying oscillation for each feature."""
    return nn.Parameter(torch.complex(-torch.rand(3), torch.rand(3)))


CANCELLED = {
    "a shift of scores": ("batch", shifted_weights, {"score": linear(6, 1)}),
    "a Fourier transform": ("causal", long_convolution, {"pole": pole}),
    "a late mask": ("causal", masked_late, {}),
}
for name, (probe, compute, parts) in CANCELLED.items():

    @pair(probe, name=f"cancelled: {name}", gru=gru(), **parts)
    def leaking(m, x, compute=compute, probe=probe):
        """What cancels out leaves its rounding behind; a leak that is as small is found."""
        y = compute(m, x)
        return y if m.right else y + 1e-6 * (y.sum(0) if probe == "batch" else y[:, -1:])


def half(kind, *args, **options):
    """Return what makes a part in half precision."""
    return lambda: getattr(nn, kind)(*args, **options).bfloat16()


HALVES = {"gru": half("GRU", 3, 6, batch_first=True), "head": half("Linear", 6, 5)}


@pair("batch", **HALVES)
def half_precision_inside(m, x):
    """Add a little of the other samples, or not, to what was computed in another precision."""
    y = m.head(m.gru(x.bfloat16())[0]).float()
    return y if m.right else y + 1e-3 * y.sum(0)


def half_pooled(m, x, n):
    """Take the mean in half precision: without the padding, or with a little of it."""
    with torch.autocast("cpu", torch.bfloat16):
        y = m.head(m.gru(x)[0])
        mean = within(y, n).sum(1) / n.unsqueeze(1)
        return mean if m.right else mean + y.mean(1) / 10


pair(
    "alone",
    name="padding_below_half_precision",
    head=linear(6, 5),
    inputs=(PADDED, COUNTS),
    lengths=COUNTS,
    seeds=4,
    skip=["padding"],
)(half_pooled)


@pair(
    missed="it runs in nothing wider: never a blind ok",
    inputs=(PADDED.bfloat16(), COUNTS),
    lengths=COUNTS,
    skip=["padding"],
    **HALVES,
)
def half_precision_only(m, x, n):
    """A model in half precision that runs in nothing wider is not judged, and the report says so."""
    if x.dtype != torch.bfloat16:
        message = "half precision only"
        raise TypeError(message)
    return half_pooled(m, x, n)


@pair("alone", head=linear(6, 5), inputs=(X, COUNTS), lengths=COUNTS)
def masked_numbers(m, x, n):
    """A class, and the padding, that are masked by large numbers hide no leak in the others."""
    y = m.head(m.gru(x)[0])
    y = y if m.right else y + 1e-2 * x.mean((1, 2), keepdim=True)
    beyond = ~mask(n, x.shape[1]).unsqueeze(2)
    return y.masked_fill(torch.arange(5) == 2, -torch.inf).masked_fill(beyond, -1e9)


def grown(layer, scale):
    """Multiply the weights of a layer."""
    for weight in layer.parameters():
        weight.data.mul_(scale)
    return layer


WILD = numbers(4, 100, 16)


@fine(gru=lambda: grown(nn.GRU(16, 64, 2, batch_first=True), 16), inputs=(WILD,), seeds=3)
def chaos_beside_other_outputs(m, x):
    """What rounding makes is measured of each output that holds numbers, wherever it stands."""
    return x.shape[1], m.gru(x)[0], x[:, 0].argmax(1)


for kind in (nn.RNN, nn.LSTM, nn.GRU):

    @fine(
        name=f"chaos of {kind.__name__} in half precision",
        layer=lambda kind=kind: grown(kind(16, 64, 2, batch_first=True), 8).bfloat16(),
        inputs=(WILD,),
        skip=["alone"],
    )
    def chaos(m, x):
        """A layer of many steps that blows rounding up, as large weights do, is not accused."""
        return m.layer(x.bfloat16())[0].float()


@fine(
    codes=lambda: nn.Parameter(torch.randn(200, 6) * 0.3),
    inputs=(numbers(4, 30, 3),),
    causal=True,
    seeds=4,
)
def codes_that_rounding_picks(m, x):
    """In a batch of other sizes rounding picks another code, and in float64 it does not."""
    with torch.autocast("cpu", torch.bfloat16):
        y = m.gru(x)[0]
        code = m.codes[torch.cdist(y.float(), m.codes.expand(len(y), -1, -1)).argmin(2)]
    return y + (code - y).detach()


def quantized():
    """Make a quantized LSTM, which takes its scale from all samples."""
    layers = nn.ModuleList([nn.LSTM(3, 6, batch_first=True)]).eval()
    return torch.ao.quantization.quantize_dynamic(layers, {nn.LSTM}, dtype=torch.qint8)[0]


@pair(
    missed="quantized layers hide it", lstm=quantized, inputs=(X * 1e4,), causal=True, judged=False
)
def leak_beside_a_quantized_layer(m, x):
    """What a quantized layer makes of other samples is rounding: it is not judged, and said."""
    y = m.lstm(x)[0]
    return y if m.right else y + x.mean((0, 2), keepdim=True)


@pair("alone")
def division_by_the_others(m, x):
    """A NaN is called so, and not infinitely far off."""
    return m.gru(x)[0] / (7 if m.right else len(x) - 1)
