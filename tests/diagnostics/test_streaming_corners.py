"""Streams at the edges: states in odd containers, models that take no chunks, parts that do not fit."""

import inspect
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import rnnkit
import rnnkit.testing
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers, reason
from tests.diagnostics.models_that_stream import STREAMING, Apart, Named, gru, head, lstm

X = numbers(BATCH, SEQ, FEATURE)


class Chunk(NamedTuple):
    """What a model takes as one argument."""

    x: Tensor
    state: Tensor


def caught(model: nn.Module, *inputs: Any, **options: Any) -> rnnkit.LeakError:
    """Verify a model that does not stream; return what is said of it."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, *inputs, streaming=True, **options)
    assert error.value.probe == "streaming"
    return error.value


def unjudged(model: nn.Module, *inputs: Any, **options: Any) -> str:
    """Verify a model whose chunks cannot be compared; return the reason."""
    return reason(rnnkit.verify(model, *inputs, streaming=True, **options), "streaming")


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("kind", ["tuple", "dictionary", "keyword"])
def test_where_a_state_is_given(kind: str, fixed: bool) -> None:
    """A state is found beside the input in a tuple with names, a dictionary, or by keyword."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = gru()

        def forward(self, chunk: Any = None, *, state: Any = None) -> Any:
            x = chunk
            if isinstance(chunk, Chunk):
                x, state = chunk
            elif isinstance(chunk, dict):
                x, state = chunk["x"], chunk["state"]
            output, new = self.gru(x, state)
            return output, new if fixed else state

    state = numbers(1, BATCH, HIDDEN)
    inputs: dict[str, Any] = {"tuple": Chunk(X, state), "dictionary": {"x": X, "state": state}}
    options: dict[str, Any] = {"kwargs": {"state": state}} if kind == "keyword" else {}
    given = inputs.get(kind, X)
    if fixed:
        report = rnnkit.verify(Whole(), given, streaming=True, **options)
        assert "streaming" in report.checked
    else:
        assert "in chunks of 3 and 4" in str(caught(Whole(), given, **options))


def test_state_in_a_pair_and_two_arguments() -> None:
    """A pair is not passed on twice, as a whole and as its parts, where two arguments are free."""

    def compute(m: Any, x: Tensor, h: Any, c: Any) -> Any:
        return m.lstm(x, None if h is None else (h, c))

    model = Apart(compute, lstm=lstm())
    assert "streaming" in rnnkit.verify(model, X, streaming=True).checked


def test_a_state_for_each_of_many_layers() -> None:
    """States that fit each other are passed on in their order; others are not even tried."""
    count = 14

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.GRU(HIDDEN, HIDDEN, batch_first=True) for _ in range(count)]
            self.layers = nn.ModuleList(layers)

        def forward(self, x: Tensor, *states: Tensor) -> Any:
            new = []
            for layer, state in zip(self.layers, states, strict=True):
                x, last = layer(x, state)
                new.append(last)
            return x, *new

    states = [numbers(1, BATCH, HIDDEN) for _ in range(count)]
    assert (
        "streaming"
        in rnnkit.verify(Layers(), numbers(BATCH, SEQ, HIDDEN), *states, streaming=True).checked
    )


def test_a_state_among_many_arguments_and_outputs() -> None:
    """The argument that is called like a state comes first, however many others there are."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, new = m.gru(x, state)
        return {"output": output, "state": new, **{f"part {k}": new + k for k in range(30)}}

    class Many(Named):
        def forward(self, x: Tensor, state: Any = None, **_: Any) -> Any:
            return super().forward(x, state)

    names = inspect.signature(Many.forward).parameters
    free = [
        inspect.Parameter(f"a{k}", inspect.Parameter.KEYWORD_ONLY, default=0) for k in range(30)
    ]
    told = [*names.values()][:-1] + free
    Many.forward.__signature__ = inspect.Signature(told)  # type: ignore[attr-defined]
    found = rnnkit.verify(Many(compute, gru=gru()), X, streaming=True, raises=False)
    assert "streaming" in found.checked


def test_forward_without_a_signature() -> None:
    """Of a forward that is no function of Python's, no arguments are known, and none is accused."""

    class Tanh(nn.Module):
        forward = staticmethod(torch.tanh)

    assert unjudged(Tanh(), X) == "the model returns no state that it takes"


def test_input_that_no_name_tells() -> None:
    """An input without a state's name is judged where it streams, and accused of nothing else."""

    class Unnamed(Model):
        def forward(self, x: Tensor, z: Tensor) -> Any:
            output, new = self.gru(x, z)
            return output, new * self.factor

    wrong, right = (Unnamed(lambda: None, gru=gru()) for _ in range(2))
    wrong.factor, right.factor = 2.0, 1.0
    state = numbers(1, BATCH, HIDDEN)
    assert "streaming" in rnnkit.verify(right, X, state, streaming=True).checked
    assert unjudged(wrong, X, state) == "an input has the sizes of an output, but may be no state"


def test_one_step() -> None:
    """A sequence of one step has no chunks."""
    model = Named(lambda m, x, state: m.gru(x, state), gru=gru())
    assert unjudged(model, X[:, :1]) == "the input has no two steps"


def test_no_steps() -> None:
    """An input without an axis for steps has no chunks either."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        new = m.cell(x.unsqueeze(1), state)
        return m.head(new), new

    model = Named(compute, cell=nn.GRUCell(1, HIDDEN), head=head())
    assert unjudged(model, numbers(BATCH)) == "the input has no two steps"


def test_padding_without_lengths() -> None:
    """Steps of zeros that end a sample are padding: the steps before it are judged."""
    x = X.clone()
    x[1, 5:] = 0
    model = Named(lambda m, x, state: m.gru(x, state), gru=gru())
    report = rnnkit.verify(model, x, streaming=True)
    assert "5 steps at once" in str(report)


def test_outputs_beside_the_numbers() -> None:
    """What is no tensor among the outputs is no obstacle."""
    model = Named(lambda m, x, state: (*m.gru(x, state), "a note"), gru=gru())
    assert "streaming" in rnnkit.verify(model, X, streaming=True).checked


def test_output_of_other_steps() -> None:
    """Where the output has steps of its own, chunks of it are not the whole."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, state = m.gru(x, state)
        return output.repeat_interleave(2, 1), state

    assert unjudged(Named(compute, gru=gru()), X) == (
        "no output has the steps of the input; give out_seq_dim"
    )


def test_one_step_without_its_axis() -> None:
    """A model that leaves the axis out for a single step streams."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, state = m.gru(x, state)
        return output.squeeze(1), state

    report = rnnkit.verify(Named(compute, gru=gru()), X, streaming=True)
    assert "step by step" in str(report)


def test_chunks_of_other_shapes() -> None:
    """A model that gives all outputs for a long sequence alone is not judged by chunks."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        output, state = m.gru(x, state)
        return output if x.shape[1] > 4 else output[:, -1:], state

    assert (
        unjudged(Named(compute, gru=gru()), X) == "chunks of 3 steps give outputs of other shapes"
    )


def test_outputs_with_steps_are_no_state() -> None:
    """What has the steps of each chunk is no cache, though an argument is called like one."""

    class Reader(Model):
        def forward(self, x: Tensor, memory: Any = None) -> Any:
            output, _ = self.gru(x)
            read = output if memory is None else output + memory.mean(1, keepdim=True)
            return self.head(read), output

    assert unjudged(Reader(lambda: None, gru=gru(), head=nn.Linear(HIDDEN, 5)), X) == (
        "the model returns no state that it takes"
    )


def test_state_that_is_never_read_and_no_memory() -> None:
    """A model without any memory has nothing to read in a state, and is not accused."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        return m.head(x), x.new_zeros(1, len(x), HIDDEN) if state is None else state

    model = Named(compute, head=nn.Linear(FEATURE, 5))
    assert "streaming" not in [c.probe for c in rnnkit.verify(model, X, streaming=True).findings]


def test_tokens_that_are_all_alike() -> None:
    """Where no other input can be drawn, a state is not said to be ignored."""
    twin = STREAMING["words"]
    x = torch.full((SEQ, BATCH), 3)
    assert "streaming" in rnnkit.verify(twin.make(True), x, batch_dim=1, streaming=True).checked


def test_chunk_that_takes_no_other_values() -> None:
    """Where a chunk takes no changed values, a state is not said to be ignored."""

    def compute(m: Any, x: Tensor, state: Any) -> Any:
        assert x.shape[1] != 3 or bool((x == X[: len(x), :3]).all())
        return m.gru(x, state)

    assert "streaming" in rnnkit.verify(Named(compute, gru=gru()), X, streaming=True).checked


def test_data_parallel() -> None:
    """On a CPU DataParallel stands for its model; a caller of verify may reach through it."""
    model = nn.DataParallel(STREAMING["a tagger"].make(True)).cpu()
    model.device_ids = []  # as where there is no GPU

    assert "streaming" in rnnkit.verify(model, X, streaming=True).checked
    assert rnnkit.verify(model, X, call=lambda model, x: model.module(x)).judged
