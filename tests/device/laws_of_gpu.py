"""What holds on a GPU beside ``laws.py``: calls in CUDA graphs, and verify over the whole corpus.

``nox -s gpu`` collects this file.
"""

import copy

import pytest
import torch
from torch.utils import _pytree as pytree

import rnnkit
from tests.device.waiting import IS_SIMULATED
from tests.diagnostics.corpus.case import CASES
from tests.diagnostics.corpus.runner import ask
from tests.strategies import CELLS, LAYERS, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of nested, quantized and scripted things
#: Calls that never wait, so that a CUDA graph can hold them.
CAPTURED = {
    "layer(x)": LAYERS,
    "layer.step(x[0])": LAYERS,
    "layer(x, layer.initial_state(x.shape[1]))": LAYERS,
    "cell(x[0])": CELLS,
    "rnnkit.unroll(cell, x)": CELLS,
    "rnnkit.unroll(cell, x, fused=False)": CELLS,
    "rnnkit.Recurrent(cell)(x)": CELLS,
}


@pytest.mark.skipif(IS_SIMULATED, reason="the simulated device has no graphs")
@pytest.mark.parametrize(
    ("call", "kind"), [(call, kind) for call, kinds in CAPTURED.items() for kind in kinds]
)
def test_captured_in_a_graph(call, kind):
    """A CUDA graph of a call computes what the call does, of numbers that are put into its input."""
    module = getattr(rnnkit, kind)(6, 10).to("cuda")
    x = torch.randn(9, 5, 6, device="cuda")
    words = {"rnnkit": rnnkit, "layer": module, "cell": module, "x": x}
    run = compile(call, "<a call>", "eval")
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.no_grad():
        with torch.cuda.stream(beside):
            eval(run, words)  # noqa: S307 - our own calls; the first lays out weights
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = tensors_of(eval(run, words))  # noqa: S307
        x.copy_(torch.randn_like(x))
        graph.replay()
        torch.testing.assert_close(found, tensors_of(eval(run, words)))  # noqa: S307


def moved(made):
    """Return a case's model and inputs on the device; None if the model does not run there."""
    subject = copy.deepcopy(made)
    try:
        subject.model.to("cuda")
        inputs, options = pytree.tree_map_only(
            torch.Tensor, lambda x: x.to("cuda"), (subject.inputs, subject.options)
        )
        with torch.random.fork_rng(devices=[]):
            copy.deepcopy(subject.model)(*inputs, **options.get("kwargs", {}))
    except Exception:  # noqa: BLE001 - some models of the corpus make tensors on the CPU
        return None
    return type(made)(subject.model, inputs, options)


@pytest.fixture(params=["highest", "high"])
def _digits(request, monkeypatch):
    """Compute with all digits of float32, or with those of TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", request.param == "high")
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("_digits")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verify(case):
    """No right model is accused, and each mistake is found that is found on the CPU."""
    for right in (True, False)[: 1 + case.is_pair]:
        torch.manual_seed(0)
        subject = moved(case.make(torch.nn, right))
        if subject is None:
            pytest.skip("the model does not run on the device")
        expected = ask(case, right=right).probes
        report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **subject.options)

        assert {one.probe for one in report.findings} == expected
