"""Which path is chosen: what the table says, and what each call allows."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from rnnkit._kernels import choice
from rnnkit._kernels.costs import COSTS
from rnnkit._kernels.pieces import Rows, longest_of, pieces_of, whole_pieces
from rnnkit._modules.lengths import stack_of
from tests.kernels.paths import KINDS, case_of, kinds, layers, on
from tests.strategies import tensors_of

positive = st.floats(0.001, 1000)
#: Lengths from 0 to seq, evenly spread.
even = st.builds(
    lambda batch, seq: [seq * each // batch for each in range(1, batch + 1)],
    st.integers(1, 64),
    st.integers(1, 200),
)


@given(
    values=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    call=positive,
    by_step=positive,
    by_row=positive,
)
def test_groups_cost_no_more_than_one(
    values: list[int], call: float, by_step: float, by_row: float
) -> None:
    """Groups hold each sample once, in order, and no more is expected of them than of one group."""
    values.sort(reverse=True)

    def cost(start: int, stop: int) -> float:
        return call + values[start] * (by_step + by_row * (stop - start))

    groups = choice.grouped(values, call, by_step, by_row)

    assert [start for start, _ in groups] == [0, *(stop for _, stop in groups)][:-1]
    assert groups[-1][1] == len(values)
    total, whole = sum(cost(*group) for group in groups), cost(0, len(values))
    assert total <= whole * (1 + 1e-9)


def test_one_long_sample_among_short_ones_is_alone() -> None:
    """Padding that costs much is not computed."""
    assert choice.grouped([1000, 3, 3, 2], 10.0, 1.0, 1.0) == [(0, 1), (1, 4)]


def test_each_path_has_its_costs() -> None:
    """For every kind of CPU, layer and pass the table has the costs of all paths."""
    asked = []
    for kind, gradients in itertools.product(
        ("LSTM", "LSTM by steps", "GRU", "RNN"), (False, True)
    ):
        names = ["padded", "packed", "packed of pieces", "rows", "rows of pieces", "steps"]
        names += ["blank"] if kind.startswith("LSTM") else []
        asked += [(kind, gradients, name) for name in names]

    assert set(COSTS) == {"AVX512 Intel", "AVX512", "AVX2", "DEFAULT"}
    for table in COSTS.values():
        assert set(table) == set(asked)
        assert all(min(costs) >= 0 < max(costs) for costs in table.values())


def facts(kind: str, dtype: torch.dtype = torch.float32) -> choice.Facts:
    """What is known of a call."""
    case = case_of(kind, dtype)
    layer: Any = case.module(rnnkit)
    return choice.facts_of(stack_of(layer), case.numbers().detach(), ())


@kinds
def test_rows_by_hand_where_they_can_be(kind: str) -> None:
    """Rows by hand need a precise dtype, and know no projection."""
    projected = "proj" in kind

    assert (choice.ROWS in facts(kind).paths) != projected
    assert (choice.ROWS in facts(kind, torch.float64).paths) != projected
    assert choice.ROWS not in facts(kind, torch.bfloat16).paths
    with torch.autocast("cpu", torch.bfloat16):
        assert choice.ROWS not in facts(kind).paths


def test_the_fast_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    """An LSTM of another dtype, projected, or without oneDNN is another kind."""
    fast = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    assert facts("LSTM").kind == ("LSTM" if fast else "LSTM by steps")
    assert facts("LSTM", torch.float64).kind == "LSTM by steps"
    assert facts("LSTM proj").kind == "LSTM by steps"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert facts("LSTM").kind == "LSTM by steps"


@layers
def test_on_another_device_all_is_packed(name: str) -> None:
    """CuDNN takes packed input, and all layers at once."""
    paths = choice.paths_of(torch.empty(1, device="meta"), name, by_hand=True)

    assert paths == (choice.PACKED,)


def test_a_relu_stays_off_the_padding() -> None:
    """Where nothing but the padding would be left, a relu is packed."""
    with torch.autocast("cpu", torch.bfloat16):
        assert facts("RNN relu").paths == (choice.PACKED,)


@pytest.mark.parametrize("kind", KINDS)
def test_only_one_path(kind: str) -> None:
    """With one path left, no costs are asked for."""
    one = facts(kind)._replace(kind="none", paths=(choice.PACKED,))

    assert choice.for_lengths(one, [3, 5]).path == choice.PACKED
    none = one._replace(paths=(choice.PADDED, choice.BLANK, choice.STEPS))
    assert choice.for_resets(none, (3, 5), None, None, found=True) == choice.PACKED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradients", [False, True], ids=["forward", "both passes"])
@given(lengths=st.one_of(st.lists(st.integers(0, 200), min_size=1, max_size=40).filter(any), even))
def test_each_sample_is_in_one_group(kind: str, gradients: bool, lengths: list[int]) -> None:
    """Whatever is chosen; and but for padding there is one group, from the longest on."""
    wide = facts(kind)._replace(gradients=gradients, sizes=((64, 128),))
    for one in (wide, wide._replace(sizes=((8, 8),))):
        path, groups = choice.for_lengths(one, lengths)

        samples = [sample for group in groups for sample in group]
        assert sorted(samples) == list(range(len(lengths)))
        assert [lengths[sample] for sample in samples] == sorted(lengths, reverse=True)
        assert len(groups) == 1 or path == choice.PADDED


@pytest.mark.parametrize("batch", [7, 32])
@pytest.mark.parametrize("hidden", [16, 128])
def test_what_is_chosen_gives_what_packing_gives(batch: int, hidden: int) -> None:
    """At sizes that are close to each other in cost, on paths that nobody has forced."""
    layer = rnnkit.LSTM(64, hidden, bidirectional=True)
    x = torch.randn(50, batch, 64)
    lengths = (torch.randperm(batch) + 1) * 50 // batch
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)

    with torch.no_grad():
        output, state = layer(x, lengths=lengths)
        wanted, last = layer(packed)

    found = output, *state
    torch.testing.assert_close(found, (pad_packed_sequence(wanted, total_length=50)[0], *last))


@given(starts=st.lists(st.booleans(), min_size=1, max_size=30))
def test_the_longest_piece_of_a_sample_is_found(starts: list[bool]) -> None:
    """It is the longest of all that it is cut into."""
    flags = torch.tensor(starts)

    pieces = pieces_of(torch.tensor([len(starts)]), flags.unsqueeze(1))

    assert longest_of(flags) == int(pieces.steps[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_that_may_be_for_nothing_has_to_pay(kind: str) -> None:
    """Where pieces are not found yet they must save more than it takes to find them."""
    one = facts(kind)._replace(paths=(choice.STEPS, choice.PACKED))
    pieces = 3, 5
    by_pieces = choice.cost(one, choice.PACKED + choice.OF_PIECES, *pieces)
    call, by_step, _ = choice._terms(one, choice.STEPS)
    steps = round((by_pieces - call) / by_step + choice.LOOK / by_step / 2)
    whole = steps, 0

    assert choice.for_resets(one, pieces, None, whole, found=True) == choice.PACKED
    assert choice.for_resets(one, pieces, None, whole, found=False) == choice.STEPS


@pytest.mark.parametrize(
    ("capability", "cpu_name", "table"),
    [
        ("AVX512", "AMD EPYC", "AVX512"),
        ("AVX512", "Intel Xeon", "AVX512 Intel"),
        ("AVX2", "Intel Core i7-8550U", "AVX2"),
        # A CPU that was not measured is taken for a small one.
        ("SVE256", None, "DEFAULT"),
    ],
)
def test_a_cpu_has_its_own_costs(
    monkeypatch: pytest.MonkeyPatch, capability: str, cpu_name: str | None, table: str
) -> None:
    """By what it can do; and by its maker, if costs of that maker's CPUs were measured."""
    known = {} if cpu_name is None else {"cpu_name": cpu_name}
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    one = facts("GRU")
    choice._terms.cache_clear()
    call, call_weights, step, step_weights, *_ = COSTS[table]["GRU", one.gradients, choice.PACKED]
    (input_size, hidden), *_ = one.sizes
    once = call + call_weights * hidden * (input_size + hidden)

    assert choice.cost(one, choice.PACKED, 0, 0) == pytest.approx(once)
    after = once + step + step_weights * hidden**2
    assert choice.cost(one, choice.PACKED, 1, 0) == pytest.approx(after)
    choice._terms.cache_clear()


@pytest.mark.parametrize(("capability", "sizes"), [("AVX512", 2), ("AVX2", 32)])
def test_onednn_computes_whole_vectors(
    monkeypatch: pytest.MonkeyPatch, capability: str, sizes: int
) -> None:
    """With AVX-512 it takes as long for 17 hidden units as for 32; by hand each unit counts."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    hidden = range(1, 33)

    padded = {choice.computed_units("LSTM", choice.PADDED, size) for size in hidden}
    by_hand = {choice.computed_units("LSTM", choice.ROWS, size) for size in hidden}

    assert (len(padded), len(by_hand), max(padded)) == (sizes, 32, 32)


def test_an_older_torch_does_not_name_the_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is known to newer ones only; what it can do is known to all."""
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert choice.names_of_cpu() == (torch.backends.cpu.get_cpu_capability(),)


def test_rows_lie_on_the_device_of_the_input() -> None:
    """Where pieces are is worked out on the CPU, and moved once."""
    starts = torch.zeros(5, 3, dtype=torch.bool)
    starts[4, 2] = True
    for pieces, sizes in (
        (whole_pieces([3, 0, 5], [2, 0, 1]), [2, 2, 2, 1, 1]),
        (pieces_of(torch.tensor([3, 0, 5]), starts), [3, 2, 2, 1]),
    ):
        rows = Rows(pieces, 3, torch.device("meta"))

        moved = [rows.places, rows.mirror, *tensors_of(rows.pieces)]
        assert {tensor.device.type for tensor in moved} == {"meta"}
        assert rows.batch_sizes.tolist() == rows.sizes == sizes


@pytest.mark.parametrize("lengths", [[9, 1, 1, 2, 1], [9, 8, 9, 8, 8]])
def test_groups_give_what_the_whole_gives(lengths: list[int]) -> None:
    """Cut into groups or not, outputs, states and the order of the batch are the same."""
    layer = rnnkit.LSTM(3, 4, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(9, 5, 3, dtype=torch.float64)

    with on("padded"):
        whole = layer(x, lengths=lengths)
    with pytest.MonkeyPatch.context() as patch:
        found = choice.Choice(choice.PADDED, [[2], [4, 0], [3, 1]])
        patch.setattr(choice, "for_lengths", lambda *_: found)
        groups = layer(x, lengths=lengths)

    torch.testing.assert_close(tensors_of(groups), tensors_of(whole), rtol=1e-12, atol=1e-12)
