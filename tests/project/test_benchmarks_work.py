"""What the benchmarks time: candidates do the same work, and verify finds what is there."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks import gpu, lengths, unrolling, verifying
from benchmarks.passes import cases

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit.script_method`")]
SHAPE = (4, 6, 3, 5)


def test_lengths_fill_the_batch():
    """Lengths are between 1 and seq, the longest is seq, and their mean is what was asked for."""
    for fill in (0.1, 0.25, 0.5, 0.75, 1.0):
        made_up = lengths.lengths_of(1000, 50, fill)

        assert made_up.min() >= 1
        assert made_up.max() == 50
        assert made_up.double().mean() == pytest.approx(50 * fill, abs=1.0)
    assert lengths.lengths_of(4, 6, 1.0).tolist() == [6, 6, 6, 6]


def test_packing_and_lengths_do_the_same_work():
    """What is timed as packing by hand and as lengths gives the same results."""
    for (kind, backward), directions in product(cases(lengths.KINDS).values(), (1, 2)):
        paths = lengths.made(kind, SHAPE, fill=0.5, directions=directions, backward=backward)

        assert_close(paths["lengths"](), paths["pack"]())


def test_layer_unroll_and_loops_do_the_same_work():
    """What is timed as a layer, as unroll and as loops over cells gives the same results."""
    for kind, backward in cases(unrolling.KINDS).values():
        paths = unrolling.made(kind, SHAPE, backward=backward)
        layer = paths["layer"]()
        if not backward:
            output, state = layer
            layer = (output, state[0] if isinstance(state, Tensor) else [h[0] for h in state])

        for name in ("unroll", "loop", "unfused"):
            assert_close(paths[name](), layer)


def test_verify_finds_what_is_there():
    """Of the models that are verified the last one has a leak, and the others have none."""
    for name, case in verifying.CASES.items():
        torch.manual_seed(0)
        found = [finding.probe for finding in case(verifying.BASE).verify().findings]

        assert found == (["causal"] if name == "bidirectional LSTM, causal" else []), name


@pytest.mark.parametrize("kind", gpu.KINDS)
@pytest.mark.parametrize("backward", [False, True])
def test_calls_of_a_gpu_do_the_work_that_they_are_beside(kind, backward):
    """What does not reset computes what torch's call beside it computes."""
    for name, (theirs, ours) in gpu.made(kind, SHAPE, "cpu", backward=backward).items():
        found, expected = (tree_leaves(call()) for call in (ours, theirs))
        if "reset" in name or "both" in name:
            assert len(found) == len(expected)
            continue
        for one, other in zip(found, expected, strict=True):
            assert_close(one.view_as(other), other)
