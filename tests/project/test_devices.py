"""Each tensor that rnnkit makes names its device: ``torch.set_default_device`` is not its affair."""

import ast

import torch

from rnnkit._base.torch_tools import moved
from tests.places import FILES

#: The demonstration is a program of its own, and sets nothing.
OURS = [path for path in FILES if "_demo" not in path.parts]
#: What lays a tensor on the default device unless it is told another.
MAKERS = (
    "arange", "as_tensor", "asarray", "empty", "eye", "full", "linspace", "logspace", "ones",
    "rand", "randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros", "Generator",
)  # fmt: skip


def test_devices_are_named():
    """A call that makes a tensor has a device, or options that hold one."""
    makers = {f"torch.{maker}" for maker in MAKERS}
    calls = [
        (path.name, ast.unparse(node), {keyword.arg for keyword in node.keywords})
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in makers
    ]
    nameless = [
        (name, call)
        for name, call, given in calls
        if not {"device", None} & given and not call.startswith("torch.Generator('cpu')")
    ]

    assert calls
    assert not nameless
    assert all(callable(getattr(torch, maker)) for maker in MAKERS)


class OfGpu:
    """A tensor of a GPU, as far as a copy asks it."""

    is_cpu = False

    def to(self, _, *, non_blocking):
        """Return whether the copy is waited for."""
        return not non_blocking


def test_a_copy_from_a_gpu_is_waited_for():
    """Its numbers are read before they are there otherwise; one function decides, for all copies."""
    assert moved(OfGpu(), torch.device("cpu"))
    assert [path.name for path in OURS if "non_blocking" in path.read_text()] == ["torch_tools.py"]
