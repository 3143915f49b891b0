"""The probes *use* and *coverage*: loops that forget the state, twins that never run, other lengths."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

SOURCE, TARGET = numbers(BATCH, SEQ, FEATURE), numbers(BATCH, 5, FEATURE)


def caught(model: nn.Module, *inputs: Any, **options: Any) -> str:
    """Verify a wrong model; return what is said of it."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, *inputs, **options)
    return str(error.value)


def decoder(fixed: bool, kind: type[nn.Module] = nn.GRU, start: str = "none") -> nn.Module:
    """An attention decoder, whose layer is called for each step: with its state, or without."""

    def compute(m: Any, source: Tensor, target: Tensor) -> Tensor:
        memory, h = m.encoder(source)
        query, state = h[-1], None if start == "none" else torch.zeros_like(h)
        outputs = []
        for x_t in target.unbind(1):
            weights = (memory @ query.unsqueeze(2)).softmax(1)
            x = torch.cat([x_t, (weights * memory).sum(1)], 1)
            if kind is nn.GRU:
                output, new = m.decoder(x.unsqueeze(1), state)
                query = output.squeeze(1)
            else:
                query = m.decoder(x, None if state is None else state[-1])
                new = query.unsqueeze(0)
            state = new if fixed else state
            outputs.append(query)
        return torch.stack(outputs, 1)

    options = {"batch_first": True} if kind is nn.GRU else {}
    made = kind(FEATURE + HIDDEN, HIDDEN, **options)
    return Model(compute, encoder=nn.GRU(FEATURE, HIDDEN, batch_first=True), decoder=made)


@pytest.mark.parametrize("start", ["none", "zeros"])
@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_decoder_that_passes_its_state_on(kind: type[nn.Module], start: str) -> None:
    """A loop over steps is right if the state goes on, whatever the first one is."""
    report = rnnkit.verify(decoder(True, kind, start), SOURCE, TARGET)
    assert "use" in report.checked


def test_layer_for_sentences_of_one_word() -> None:
    """A layer that sees one step since the data have one is no loop that forgets."""

    def compute(m: Any, words: Tensor) -> Tensor:  # (batch, sentences, words, feature)
        sentences = [m.words(part)[1][-1] for part in words.unbind(1)]
        return m.sentences(torch.stack(sentences, 1))[0]

    model = Model(
        compute,
        words=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        sentences=nn.GRU(HIDDEN, HIDDEN, batch_first=True),
    )
    assert "use" in rnnkit.verify(model, numbers(BATCH, SEQ, 1, FEATURE)).checked


def test_sentences_are_encoded_one_by_one() -> None:
    """A layer that is called for each sentence starts afresh, as it should."""

    def compute(m: Any, words: Tensor) -> Tensor:  # (batch, sentences, words, feature)
        sentences = [m.words(part)[0][:, -1] for part in words.unbind(1)]
        return m.sentences(torch.stack(sentences, 1))[0]

    model = Model(
        compute,
        words=nn.LSTM(FEATURE, HIDDEN, batch_first=True),
        sentences=nn.GRU(HIDDEN, HIDDEN, batch_first=True),
    )
    assert "use" in rnnkit.verify(model, numbers(BATCH, SEQ, 3, FEATURE)).checked


def test_episodes_of_one_step() -> None:
    """Flags by which each step is a first one may be so by chance: nothing is accused."""

    def compute(m: Any, x: Tensor, first: Tensor) -> Tensor:
        state, outputs = x.new_zeros(len(x), HIDDEN), []
        for x_t, flag in zip(x.unbind(1), first.unbind(1), strict=True):
            state = m.cell(x_t, torch.where(flag.unsqueeze(1) > 0, 0.0, state))
            outputs.append(state)
        return torch.stack(outputs, 1)

    model = Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN))
    report = rnnkit.verify(model, SOURCE, torch.ones(BATCH, SEQ), skip=["memory"])
    assert report.checked


@pytest.mark.parametrize("kind", ["some steps", "all steps of one length", "packed"])
def test_calls_that_are_no_loop_over_time(kind: str) -> None:
    """Calls without a state that do not follow the steps, or are of whole sequences, are right."""

    def compute(m: Any, x: Tensor) -> Tensor:
        if kind == "packed":
            lengths = torch.full((len(x),), x.shape[1])
            calls = [m.gru(pack_padded_sequence(x * k, lengths, True))[1][-1] for k in (1, 2, 3)]
        else:
            assert kind == "some steps" or x.shape[1] == SEQ
            steps = range(3) if kind == "some steps" else range(x.shape[1])
            calls = [m.cell(x[:, k]) for k in steps]
        return m.last(torch.stack(calls, 1))[0]

    model = Model(
        compute,
        cell=nn.GRUCell(FEATURE, HIDDEN),
        gru=nn.GRU(FEATURE, HIDDEN, batch_first=True),
        last=nn.GRU(HIDDEN, HIDDEN, batch_first=True),
    )
    assert "use" in rnnkit.verify(model, SOURCE).checked


@pytest.mark.parametrize("start", ["none", "zeros"])
@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_decoder_that_forgets_its_state(kind: type[nn.Module], start: str) -> None:
    """A loop that starts each step afresh is found, though the encoder remembers."""
    text = caught(decoder(False, kind, start), SOURCE, TARGET)
    assert "is called for 5 steps, and starts each of them afresh" in text


def test_text_of_a_loop_that_forgets() -> None:
    """The message names the module, and what shows it."""
    assert caught(decoder(False), SOURCE, TARGET) == snapshot("""\
decoder (GRU) is called for 5 steps, and starts each of them afresh
  evidence   each call is given no state or zeros: what one step returned is not passed on
  fix        y, state = layer(x, state), or state = cell(x, state), in the loop
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")
    # The fix that it says.
    assert rnnkit.verify(decoder(True), SOURCE, TARGET).checked


def both_ways(fixed: bool, kind: type[nn.Module] = nn.GRUCell) -> nn.Module:
    """A bidirectional layer by hand, of two modules; wrong: the first one is called twice."""

    def run(module: nn.Module, x: Tensor) -> Tensor:
        if isinstance(module, nn.GRU):
            return module(x)[0]
        h, outputs = x.new_zeros(len(x), HIDDEN), []
        for x_t in x.unbind(1):
            h = module(x_t, h)
            outputs.append(h)
        return torch.stack(outputs, 1)

    def compute(m: Any, x: Tensor) -> Tensor:
        backward = m.backward_ if fixed else m.forward_
        return torch.cat([run(m.forward_, x), run(backward, x.flip(1)).flip(1)], 2)

    options = {"batch_first": True} if kind is nn.GRU else {}
    two = (kind(FEATURE, HIDDEN, **options) for _ in range(2))
    return Model(compute, **dict(zip(("forward_", "backward_"), two, strict=True)))


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_twin_that_is_never_called(kind: type[nn.Module]) -> None:
    """One module that reads both ways, beside a twin that never runs, is a mistake; two are right."""
    assert "use" in str(rnnkit.verify(both_ways(True, kind), SOURCE))
    text = caught(both_ways(False, kind), SOURCE)
    assert text.startswith("forward_ reads the steps in both directions, and backward_ is never")


def test_text_of_a_twin_that_is_never_called() -> None:
    """The message names both, and what shows it."""
    assert caught(both_ways(False), SOURCE) == snapshot("""\
forward_ reads the steps in both directions, and backward_ is never called
  evidence   both are a GRUCell with weights of the same sizes
  fix        call backward_ for one of the directions
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")


def test_one_module_for_both_directions() -> None:
    """Weights that the directions share are right where nothing else is left over."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.cat([m.gru(x)[0], m.gru(x.flip(1))[0].flip(1)], 2)

    gru, other = (nn.GRU(FEATURE, size, batch_first=True) for size in (HIDDEN, HIDDEN + 1))
    assert rnnkit.verify(Model(compute, gru=gru, decoder=other), SOURCE).checked


def test_two_inputs_of_one_encoder() -> None:
    """An encoder that is called for two inputs is right, also beside a decoder of its sizes."""

    def compute(m: Any, one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([m.encoder(one)[1][-1], m.encoder(other)[1][-1]], 1)

    two = {name: nn.GRU(FEATURE, HIDDEN, batch_first=True) for name in ("encoder", "decoder")}
    model = Model(compute, **two)
    assert rnnkit.verify(model, SOURCE, numbers(BATCH, SEQ, FEATURE).flip(0)).checked


def packed(first: bool) -> nn.Module:
    """A translator that packs its source: by the source's lengths, or the target's."""

    def compute(m: Any, x: Tensor, n: Tensor, y: Tensor, k: Tensor) -> Tensor:
        lengths = n if first else k
        state = m.encoder(pack_padded_sequence(x, lengths, True, enforce_sorted=False))[1]
        return m.decoder(y, state)[0]

    two = {name: nn.GRU(FEATURE, HIDDEN, batch_first=True) for name in ("encoder", "decoder")}
    return Model(compute, **two)


LENGTHS = torch.tensor([7, 3, 5, 2]), torch.tensor([4, 5, 2, 3])


@pytest.mark.parametrize(
    "pair",
    [
        LENGTHS,
        ([7, 3, 5, 2], [4, 5, 2, 3]),
        (torch.tensor([3, 7, 4, 6]), torch.tensor([5, 2, 5, 3])),
    ],
)
def test_lengths_of_another_input(pair: tuple[Tensor, Tensor]) -> None:
    """Steps that are read up to the lengths of another input are found; the right ones are not."""
    sizes, others = pair
    inputs = SOURCE, sizes, TARGET, others
    options = {"lengths": sizes, "skip": ["alone", "padding"]}
    assert "coverage" in rnnkit.verify(packed(first=True), *inputs, **options).checked
    text = caught(packed(first=False), *inputs, **options)
    assert "that is its length in input 3" in text


def test_text_of_lengths_of_another_input() -> None:
    """The message names a sample, both its lengths, and the input that they belong to."""
    sizes, others = LENGTHS
    text = caught(packed(first=False), SOURCE, sizes, TARGET, others, lengths=sizes, skip=["alone"])
    assert text == snapshot("""\
of sample 0, which has 7 steps, 4 are read
  cause      that is its length in input 3: each sample is read so far
  fix        the lengths that belong to this input
  intended?  rnnkit.verify(..., skip=['coverage'])
  more       python -m rnnkit explain coverage\
""")


def test_a_horizon_of_each_sample() -> None:
    """Steps that are left out on purpose, never more than a sample has, are no other lengths."""
    sizes, horizons = torch.tensor([7, 3, 5, 6]), torch.tensor([4, 2, 3, 5])

    def compute(m: Any, x: Tensor, n: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        return m.gru(pack_padded_sequence(x, k, True, enforce_sorted=False))[1][-1]

    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    assert rnnkit.verify(model, SOURCE, sizes, horizons, lengths=sizes).checked


def test_cell_state_that_is_forgotten() -> None:
    """An LSTM's cell that is given h, and each time a c of zeros, is found; c passed on is right."""

    def made(fixed: bool) -> nn.Module:
        def compute(m: Any, x: Tensor) -> Tensor:
            h = c = x.new_zeros(len(x), HIDDEN)
            outputs = []
            for x_t in x.unbind(1):
                h, new = m.cell(x_t, (h, c))
                c = new if fixed else c
                outputs.append(h)
            return torch.stack(outputs, 1)

        return Model(compute, cell=nn.LSTMCell(FEATURE, HIDDEN))

    assert "memory" in rnnkit.verify(made(fixed=True), SOURCE).checked
    assert "starts each of them with zeros for c" in caught(made(fixed=False), SOURCE)


def test_strict_is_about_the_target_of_a_decoder() -> None:
    """Where the first input is a source, the target's own step must not be read, and was not tried."""

    def made(fixed: bool) -> nn.Module:
        def compute(m: Any, x: Tensor, y: Tensor) -> Tensor:
            shifted = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
            return m.decoder(shifted if fixed else y, m.encoder(x)[1])[0]

        two = {k: nn.GRU(FEATURE, HIDDEN, batch_first=True) for k in ("encoder", "decoder")}
        return Model(compute, **two)

    assert "causal" in rnnkit.verify(made(True), SOURCE, TARGET, causal="strict").checked
    text = caught(made(False), SOURCE, TARGET, causal="strict")
    first = text.splitlines()[0]
    assert first.startswith("output of step ")
    assert first.endswith(" of input 1")
