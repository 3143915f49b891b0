"""``unroll`` equals the loop that it stands for, on whichever path it runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.kernels.paths import close
from tests.strategies import APART, gradients, laid_out, memories, tensors_of

CELLS = ("tanh", "relu", "LSTM", "GRU", "projected")
Mask = tuple[tuple[bool, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Use:
    """One call of unroll: numbers alone, so that it prints well."""

    name: str
    batch: int
    seq: int
    width: int
    hidden: int
    bias: bool
    lengths: tuple[int, ...] | None
    resets: Mask | None
    given: str
    options: dict[str, bool]
    memory: dict[str, str]
    seed: int

    @property
    def batch_first(self) -> bool:
        """Whether the batch is on axis 0."""
        return self.options["batch_first"]

    def layer(self, **options: Any) -> Any:
        """Make the layer that the cell is a step of."""
        torch.manual_seed(self.seed)
        options |= {"bias": self.bias, "batch_first": self.batch_first, "dtype": torch.float64}
        if self.name in ("tanh", "relu"):
            return rnnkit.RNN(self.width, self.hidden, nonlinearity=self.name, **options)
        if self.name == "projected":
            return rnnkit.LSTM(self.width, self.hidden + 2, proj_size=self.hidden, **options)
        return getattr(rnnkit, self.name)(self.width, self.hidden, **options)

    def input(self) -> Tensor:
        """Make the input, in its layout; a leaf."""
        front = (self.batch, self.seq) if self.batch_first else (self.seq, self.batch)
        return self._normal("input", *front, self.width, place=1)

    def state(self, cell: Any) -> Any:
        """Make the state that is given; leaves."""
        if self.given == "none":
            return None
        zeros = tensors_of(cell.initial_state(self.batch))
        h, *c = [self._normal("hc"[n], *zero.shape, place=2 + n) for n, zero in enumerate(zeros)]
        if not c:
            return h
        return (h, None) if self.given == "half" else (h, *c)

    def reset(self) -> Any:
        """Make the mask, in the layout of the input: booleans, or integers by the seed."""
        if self.resets is None:
            return None
        mask = torch.tensor(self.resets)
        mask = mask.int() if self.seed % 2 else mask
        return self.laid_out("mask", mask.T if self.batch_first else mask)

    def counts(self) -> Any:
        """Make the lengths that are given."""
        if self.lengths is None or self.memory.get("lengths") not in APART:
            return self.lengths
        return self.laid_out("lengths", torch.tensor(self.lengths))

    def laid_out(self, part: str, tensor: Tensor) -> Tensor:
        """Lay a tensor out in memory as this part of the call."""
        return laid_out(tensor, self.memory.get(part))

    def _normal(self, part: str, *shape: int, place: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + place)
        numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.laid_out(part, numbers).requires_grad_()


@st.composite
def uses(draw: st.DrawFn, names: Sequence[str] = CELLS) -> Use:
    """Draw a call whose sizes all differ."""
    batch, seq, width, hidden = draw(
        st.lists(st.integers(1, 7), min_size=4, max_size=4, unique=True)
    )
    counts = st.lists(st.integers(0, seq), min_size=batch, max_size=batch).map(tuple)
    row = st.lists(st.booleans(), min_size=batch, max_size=batch).map(tuple)
    mask = st.lists(row, min_size=seq, max_size=seq).map(tuple)
    return Use(
        name=draw(st.sampled_from(names)),
        batch=batch,
        seq=seq,
        width=width,
        hidden=hidden,
        bias=draw(st.booleans()),
        lengths=draw(st.none() | counts),
        resets=draw(st.none() | mask),
        given=draw(st.sampled_from(["none", "half", "all"])),
        options={name: draw(st.booleans()) for name in ("batch_first", "reverse", "return_states")},
        memory=draw(memories),
        seed=draw(st.integers(0, 10**6)),
    )


def by_hand(use: Use, cell: Any, x: Tensor, hx: Any) -> tuple[Tensor, Any]:
    """Run each sample alone, step by step, as the documentation says."""
    reset = use.reset()
    if use.batch_first:
        x, reset = x.transpose(0, 1), None if reset is None else reset.T
    samples = []
    for i in range(use.batch):
        zeros = tensors_of(cell.initial_state(1))
        parts = [None] * len(zeros) if hx is None else hx if isinstance(hx, tuple) else [hx]
        state = [z if p is None else p[i : i + 1] for z, p in zip(zeros, parts, strict=True)]
        count = use.seq if use.lengths is None else use.lengths[i]
        outputs = list(zeros[0].new_zeros(use.seq, *zeros[0].shape[1:]))
        states = [state] * use.seq
        order = range(use.seq)
        back = use.options["reverse"]
        for t in reversed(order) if back else order:
            if t < count:
                # A reset at t cuts between t - 1 and t, from whichever side the cut is met.
                cut = t + 1 if back else t
                if reset is not None and cut < count and reset[cut, i]:
                    state = zeros
                state = tensors_of(cell(x[t, i : i + 1], state if len(state) > 1 else state[0]))
                outputs[t] = state[0][0]
            states[t] = state
        end = [torch.stack(each) for each in zip(*states, strict=True)]
        samples.append((torch.stack(outputs), end if use.options["return_states"] else state))
    output = torch.stack([output for output, _ in samples], dim=0 if use.batch_first else 1)
    axis = 1 if use.options["return_states"] else 0
    return output, [torch.cat(p, axis) for p in zip(*(end for _, end in samples), strict=True)]


def differentiated(use: Use, result: Any, cell: Any, *given: Any) -> list[Tensor]:
    """The gradients of the cell's weights and of what was given."""
    leaves = [*cell.parameters(), *tensors_of(leaf for leaf in given if leaf is not None)]
    return gradients(result, leaves, use.memory.get("gradients"))


@given(use=uses())
def test_both_roads_equal_the_loop(use: Use):
    """Fused or not, outputs, states and gradients are those of each sample run alone."""
    cell = use.layer().cells()[0]
    x = use.input()
    hx = use.state(cell)
    expected = by_hand(use, cell, x, hx)
    wanted = differentiated(use, expected, cell, x, hx)

    for fused in (True, False):
        actual = rnnkit.unroll(
            cell, x, hx, lengths=use.counts(), reset=use.reset(), fused=fused, **use.options
        )
        close(actual, expected, 1e-10)
        close(differentiated(use, actual, cell, x, hx), wanted, 1e-10)


@given(use=uses(), fused=st.booleans())
def test_one_sequence_without_batch(use: Use, fused: bool):
    """A sequence without a batch axis gives what it gives in a batch of one."""
    one = replace(
        use, batch=1, lengths=None, resets=use.resets and tuple(r[:1] for r in use.resets)
    )
    cell = one.layer().cells()[0]
    x = one.input()
    hx = one.state(cell)
    reset = one.reset()
    axis = 0 if one.batch_first else 1
    alone = (
        hx.squeeze(0)
        if isinstance(hx, Tensor)
        else hx and tuple(t if t is None else t[0] for t in hx)
    )

    output, state = rnnkit.unroll(cell, x, hx, reset=reset, fused=fused, **one.options)
    actual, end = rnnkit.unroll(
        cell, x.squeeze(axis), alone, reset=None if reset is None else reset.squeeze(axis),
        fused=fused, **one.options,
    )  # fmt: skip

    close(actual, output.squeeze(axis), 1e-10)
    axis = 1 if one.options["return_states"] else 0
    close(end, [tensor.squeeze(axis) for tensor in tensors_of(state)], 1e-10)


@given(use=uses(), fused=st.booleans())
def test_padding_may_hold_anything(use: Use, fused: bool):
    """NaN beyond the lengths reaches neither a result nor a gradient, of which it has none."""
    lengths = use.lengths or tuple(range(use.batch))
    lengths = tuple(min(length, use.seq) for length in lengths)
    cell = use.layer().cells()[0]
    clean = use.input()
    beyond = torch.arange(use.seq).unsqueeze(1) >= torch.tensor(lengths)
    beyond = (beyond.T if use.batch_first else beyond).unsqueeze(-1)
    dirty = clean.detach().masked_fill(beyond, math.nan).requires_grad_()
    results = [
        rnnkit.unroll(cell, x, lengths=lengths, fused=fused, **use.options) for x in (clean, dirty)
    ]

    close(results[1], results[0], 1e-10)
    found = [differentiated(use, r, cell, x) for r, x in zip(results, (clean, dirty), strict=True)]
    close(found[1], found[0], 1e-10)
    assert not found[1][-1].masked_select(beyond).any()


def test_autocast_without_a_kernel():
    """Where autocast asks for a kernel that oneDNN does not have, unroll runs the loop."""
    cell = rnnkit.LSTMCell(3, 4)
    x = torch.randn(7, 5, 3)

    with torch.autocast("cpu", torch.float16):
        output, _ = rnnkit.unroll(cell, x)

    torch.testing.assert_close(output.float(), rnnkit.unroll(cell, x)[0], rtol=0.01, atol=0.01)
