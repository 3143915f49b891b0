"""Each tensor that rnnkit makes names its device: ``torch.set_default_device`` is not its affair."""

import ast

import torch

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
