"""Which path is chosen: what the rule says, and what each call allows."""

import pytest
import torch

import rnnkit
from rnnkit._kernels.choice import (
    BLANK,
    PACKED,
    PADDED,
    ROWS,
    STEPS,
    Facts,
    facts_of,
    for_lengths,
    for_resets,
)
from rnnkit._kernels.pieces import Rows, pieces_of, whole_pieces
from rnnkit._kernels.recurrences import recurrence_of
from rnnkit._modules.layer_run import stack_of
from tests.kernels.paths import case_of, each_kind
from tests.strategies import DTYPES


def facts(kind: str, dtype: torch.dtype = torch.float32) -> Facts:
    """What is known of a call."""
    case = case_of(kind, dtype)
    layer = case.module(rnnkit)
    x = case.numbers().detach()
    return facts_of(stack_of(layer, recurrence_of(layer), x), x, ())


@each_kind
def test_what_is_known_of_a_call(kind, monkeypatch):
    """Rows by hand need a precise dtype, and know no projection; oneDNN runs one kind of LSTM."""
    allows_own_loop = "proj" not in kind
    assert [facts(kind, dtype).allows_own_loop for dtype in DTYPES] == [
        allows_own_loop,
        allows_own_loop,
        False,
    ]
    with torch.autocast("cpu", torch.bfloat16):
        assert not facts(kind).allows_own_loop

    fast = kind == "LSTM" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    assert (facts(kind).has_onednn_kernel, facts(kind, torch.float64).has_onednn_kernel) == (
        fast,
        False,
    )
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not facts(kind).has_onednn_kernel


SMALL = Facts(
    "LSTM",
    10,
    trains=True,
    has_onednn_kernel=True,
    allows_own_loop=True,
    is_traced=False,
    device="cpu",
)
AUTOCAST = SMALL._replace(allows_own_loop=False, is_traced=True)
LARGE = SMALL._replace(hidden_size=2000)
GRU = SMALL._replace(mode="GRU", has_onednn_kernel=False)
FOREIGN = GRU._replace(allows_own_loop=False)
GPU = SMALL._replace(device="cuda")
MPS = SMALL._replace(device="mps")


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        (SMALL, PADDED), (LARGE, ROWS), (LARGE._replace(trains=False), PACKED),
        (GRU, ROWS), (GRU._replace(trains=False), PACKED), (FOREIGN, PACKED),
        (AUTOCAST, PADDED), (GPU, PACKED), (MPS, PADDED),
    ],
)  # fmt: skip
def test_the_path_of_lengths(facts, path):
    """The padding where it costs little, rows for training, else torch's packed kernel."""
    assert for_lengths(facts, [9, 5, 1]) == path


@pytest.mark.parametrize(
    ("facts", "cuts", "is_full", "from_zeros", "path"),
    [
        (SMALL, 1, True, True, BLANK), (SMALL, 1, False, True, BLANK),
        (SMALL, 1, True, False, ROWS), (AUTOCAST, 1, True, True, BLANK),
        (AUTOCAST, 1, True, False, PACKED), (AUTOCAST._replace(mode="RNN_RELU"), 1, True, True, PACKED),
        (GRU, 1, True, True, STEPS), (GRU, 33, True, True, ROWS),
        (GRU, 1, False, True, ROWS), (GRU, 1, True, False, ROWS),
        (FOREIGN, 1, True, True, PACKED), (GPU, 1, True, True, PACKED),
    ],
)  # fmt: skip
def test_the_path_of_resets(facts, cuts, is_full, from_zeros, path):
    """Blank steps for oneDNN's LSTM; pieces of few samples that are cut often; else all steps."""
    assert for_resets(facts, 16, cuts, is_full=is_full, from_zeros=from_zeros) == path


def test_rows_lie_on_the_device_of_the_input():
    """Where pieces are is worked out on the CPU, and what is read there is moved, at once."""
    starts = torch.zeros(5, 3, dtype=torch.bool)
    starts[4, 2] = True
    for pieces, sizes in (
        (whole_pieces([3, 0, 5]), [2, 2, 2, 1, 1]),
        (pieces_of(torch.tensor([3, 0, 5]), starts), [3, 2, 2, 1]),
    ):
        rows = Rows(pieces, 3, torch.device("meta"))

        laid = rows.pieces
        moved = [rows.places, rows.mirror, laid.sample, *laid.first_pieces, *laid.last_pieces]
        assert {tensor.device.type for tensor in moved} == {"meta"}
        assert rows.batch_sizes.tolist() == rows.sizes == sizes
