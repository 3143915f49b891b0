"""Never a false alarm for how numbers are rounded, and no leak that hides behind that."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)
LIBRARIES = [torch.nn, rnnkit.nn]


def inside(dtype: torch.dtype, head: bool, leak: float, library: ModuleType) -> Model:
    """Make a model that computes in another precision inside."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x.to(dtype))[0]
        y = m.head(y).float() if head else y.float()
        return y + leak * y.sum(0)

    layer = library.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True, bidirectional=True)
    return Model(compute, gru=layer, head=nn.Linear(2 * HIDDEN, 5)).to(dtype)


def around(dtype: torch.dtype, head: bool, leak: float, library: ModuleType) -> Model:
    """Make a model that computes under autocast."""

    def compute(m: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            y = m.gru(x)[0]
            y = m.head(y) if head else y
        return y + leak * y.sum(0)

    layer = library.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True)
    return Model(compute, gru=layer, head=nn.Linear(2 * HIDDEN, 5))


def leaked(y: Tensor, leak: float) -> Tensor:
    """Add a little of the other samples."""
    return y + leak * y.sum(0)


PRECISIONS: dict[str, tuple[Callable[..., Model], torch.dtype]] = {
    "bfloat16 inside": (inside, torch.bfloat16),
    "float16 inside": (inside, torch.float16),
    "float64 inside": (inside, torch.float64),
    "autocast": (around, torch.bfloat16),
}


@pytest.mark.covering(2)
@pytest.mark.parametrize("library", LIBRARIES, ids=["torch", "rnnkit"])
@pytest.mark.parametrize("head", [True, False], ids=["head", "no head"])
@pytest.mark.parametrize("name", PRECISIONS)
def test_precision_inside(name: str, head: bool, library: ModuleType) -> None:
    """What is computed in another precision, and returned in float32, is no leak; a leak is."""
    make, dtype = PRECISIONS[name]
    for seed in range(1 + settings().max_examples // 30):
        torch.manual_seed(seed)
        report = rnnkit.verify(make(dtype, head, 0.0, library), X)

        assert {"batch", "alone", "memory"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(make(dtype, head, 1e-3, library), X)


@pytest.mark.parametrize("library", LIBRARIES, ids=["torch", "rnnkit"])
def test_precision_around(library: ModuleType) -> None:
    """So it is where the caller has autocast on, and where all is in bfloat16 or float64."""
    for leak in (0.0, 1e-3):
        layer = library.GRU(FEATURE, HIDDEN, 2, batch_first=True, bidirectional=True)
        plain = Model(lambda m, x, leak=leak: leaked(m.gru(x)[0], leak), gru=layer)
        runs: list[Callable[[], Any]] = [
            lambda: rnnkit.verify(plain.float(), X),  # noqa: B023
            lambda: rnnkit.verify(plain.bfloat16(), X.bfloat16()),  # noqa: B023
            lambda: rnnkit.verify(plain.double(), X.double()),  # noqa: B023
        ]
        for run in runs:
            if leak:
                with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
                    run()
            else:
                assert {"batch", "alone"} <= {*run().checked}
    with torch.autocast("cpu", torch.bfloat16):
        assert {"batch", "alone"} <= {
            *rnnkit.verify(around(torch.bfloat16, True, 0.0, library), X).checked
        }


@pytest.mark.parametrize("masked", [-1e9, -1e4, -torch.inf])
@pytest.mark.parametrize("whole", [True, False], ids=["a class", "some steps"])
def test_masked_numbers_hide_nothing(masked: float, whole: bool) -> None:
    """A class, or steps, masked by a large number hide no leak in the others."""
    lengths = torch.tensor([3, 7, 5, 2])
    beyond = torch.arange(SEQ) >= lengths.unsqueeze(1)

    def compute(m: Any, x: Tensor, n: Tensor, leak: float) -> Tensor:
        # A mean over all steps, padding too, is what a sample alone does not give.
        y = m.head(m.gru(x)[0]) + leak * x.mean((1, 2), keepdim=True)
        where = torch.arange(5) == 2 if whole else (beyond.unsqueeze(2) & (n > 0).view(-1, 1, 1))
        return y.masked_fill(where if whole else where[:, : x.shape[1]], masked)

    for leak in (0.0, 1e-2):
        model = Model(
            lambda m, x, n, leak=leak: compute(m, x, n, leak),
            gru=nn.GRU(FEATURE, HIDDEN, batch_first=True),
            head=nn.Linear(HIDDEN, 5),
        )
        if not leak and whole:
            assert "alone" in rnnkit.verify(model, X, lengths, lengths=lengths).checked
        elif whole:
            with pytest.raises(rnnkit.LeakError):
                rnnkit.verify(model, X, lengths, lengths=lengths)


def test_amplified_rounding() -> None:
    """A model that makes much of the last digit is accused of nothing."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h, (_, c) = m.lstm(x)
        return 1e4 * (h - h.mean(1, keepdim=True)).tanh() + c[0].unsqueeze(1) * 1e-3

    for seed in range(5):
        torch.manual_seed(seed)
        model = Model(compute, lstm=nn.LSTM(FEATURE, HIDDEN, batch_first=True))
        assert {"batch", "alone"} <= {*rnnkit.verify(model, X).checked}


#: How a model reads two columns of ids that stand beside the numbers of a float tensor.
LOOK_UPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "an embedding": lambda m, ids: m.embed(ids[..., 0]) + m.embed(ids[..., 1]),
    "rows of a table": lambda m, ids: m.embed.weight[ids].sum(2),
}


def looked_up(name: str, digits: int, **options: Any) -> Model:
    """Make a model over ids among numbers, that are told apart by so many digits."""

    def compute(m: Any, x: Tensor, *_: Any) -> Tensor:
        ids = (x[..., FEATURE:] * 10**digits).long()
        return m.head(m.gru(torch.cat([x[..., :FEATURE], LOOK_UPS[name](m, ids)], 2))[0])

    layer = nn.GRU(FEATURE + 4, HIDDEN, **options)
    head = nn.Linear(HIDDEN * (1 + layer.bidirectional), 1)
    return Model(compute, embed=nn.Embedding(10, 4), gru=layer, head=head)


@pytest.mark.parametrize("name", LOOK_UPS)
def test_ids_among_numbers_hide_nothing(name: str) -> None:
    """An id that is a float is not made a smaller one in order to see what rounding does."""
    for seed in range(2 + settings().max_examples // 30):
        torch.manual_seed(seed)
        x = torch.cat([X, torch.randint(10, (BATCH, SEQ, 2)).float()], 2)

        assert "batch" in rnnkit.verify(looked_up(name, 0, batch_first=True), x).checked
        with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
            rnnkit.verify(looked_up(name, 0), x)


@pytest.mark.parametrize("probe", ["batch", "alone", "padding", "causal"])
def test_digits_that_pick_rows_hide_nothing(probe: str) -> None:
    """Where the last digit picks the row of a table, float64 tells what leaks from what does not."""
    torch.manual_seed(0)
    x = torch.cat([X, torch.randint(10, (BATCH, SEQ, 2)) / 10], 2)
    lengths = torch.tensor([7, 2, 5, 3])
    right = probe == "padding"
    rows = {} if probe == "batch" else {"batch_first": True, "bidirectional": not right}
    options: dict[str, Any] = {"causal": True} if probe == "causal" else {"lengths": lengths}
    model = looked_up("rows of a table", 1, **rows)
    report = rnnkit.verify(model, x, lengths, raises=False, **options)

    assert report.found(probe) is not right


def within(x: Tensor) -> Tensor:
    """Refuse what is no probability."""
    if not bool(((x >= 0) & (x <= 1)).all()):
        message = "probabilities are from 0 to 1"
        raise ValueError(message)
    return x


#: What is held to its range: what goes into a model, and what a module of it returns.
HELD: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "input": lambda m, x: m.gru(within(x))[0],
    "module": lambda m, x: m.gru(within(m.rise(100 * x)))[0],
    "both": lambda m, x: m.gru(within(m.rise(100 * within(x))))[0],
}


@pytest.mark.parametrize("name", HELD)
def test_numbers_that_are_held_to_a_range(name: str) -> None:
    """Rounding is measured without a step beyond what a model takes, and what leaks is found."""
    lengths = torch.tensor([7, 2, 5, 3])
    x = (X > 0).float() * (torch.arange(SEQ) < lengths.unsqueeze(1)).unsqueeze(2)

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:  # noqa: ARG001
        return HELD[name](m, x).mean(1)

    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True), rise=nn.Sigmoid())
    with pytest.raises(rnnkit.LeakError, match="alone, cut to its"):
        rnnkit.verify(model, x, lengths, lengths=lengths)


def forgetting(module: Any, read: float) -> Any:
    """Make a layer or cell that keeps nothing of its state, and reads so much of it."""
    weight, bias = (
        next(one for name, one in module.named_parameters() if name.startswith(start))
        for start in ("weight_hh", "bias_hh")
    )
    with torch.no_grad():
        bias[HIDDEN : 2 * HIDDEN] = -60.0
        weight *= read
    return module


def test_steps_between_that_are_forgotten() -> None:
    """A layer that forgets at once reads all steps: its end state is not one that ran backwards."""
    # It remembers the last step but one, and not the one before.
    layer = forgetting(nn.GRU(FEATURE, HIDDEN, batch_first=True), 1e-5)

    def compute(m: Any, x: Tensor) -> Tensor:
        y, h = m.gru(x)
        first = torch.where(torch.arange(x.shape[1]) == 0, 1000.0, 0.0)  # hides that one there
        return y + h[-1].unsqueeze(1) + first.view(1, -1, 1)

    report = rnnkit.verify(Model(compute, gru=layer), numbers(BATCH, 12, FEATURE))

    assert "use" in report.checked


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loop_that_forgets(dtype: torch.dtype) -> None:
    """A cell that forgets is given its state: that is no loop that passes on the first one."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(len(x), HIDDEN), []
        for y in x.unbind(1):
            h = m.cell(y, h)
            outputs.append(h)
        return torch.stack(outputs, 1)

    model = Model(compute, cell=forgetting(nn.GRUCell(FEATURE, HIDDEN), 1e-12)).to(dtype)

    assert "memory" in rnnkit.verify(model, X.to(dtype)).checked


def test_attention_that_looks_at_the_end() -> None:
    """Where attention gives all weight to the last step, the others are read all the same."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0]
        scores = 1000.0 * torch.arange(x.shape[1], device=x.device).view(1, -1, 1)
        return (scores.softmax(1) * y).sum(1)

    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True)

    assert "use" in rnnkit.verify(Model(compute, gru=layer), X).checked


def test_steps_that_cannot_be_shown_to_be_unread() -> None:
    """Of a model that refuses NaN it is not known what it reads: no layer is said to run backwards."""

    def compute(m: Any, x: Tensor) -> Tensor:
        if x.isnan().any():
            raise FloatingPointError
        return torch.cat([m.one(x)[0], m.two(x.flip(1))[0]], 2)  # and never flipped back

    layers = {name: nn.GRU(FEATURE, HIDDEN, batch_first=True) for name in ("one", "two")}
    report = rnnkit.verify(Model(compute, **layers), numbers(BATCH, 12, FEATURE))

    assert "use" in report.checked
