"""Each tensor that rnnkit makes names its device: ``torch.set_default_device`` is not its affair."""

import ast
import pathlib

import torch

import rnnkit

PACKAGE = pathlib.Path(str(rnnkit.__file__)).parent
#: The demonstration is a program of its own, and sets nothing.
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "_demo" not in path.parts]
#: What lays a tensor on the default device unless it is told another.
MAKERS = (
    *("arange", "as_tensor", "asarray", "empty", "eye", "full", "linspace", "logspace", "ones"),
    *("rand", "randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros", "Generator"),
)


def test_devices_are_named() -> None:
    """A call that makes a tensor has a device, or options that hold one."""
    calls = [
        (path.relative_to(PACKAGE), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MAKERS
        and ast.unparse(node.func.value) == "torch"
    ]

    nameless = [
        f"{path}: {ast.unparse(call)}"
        for path, call in calls
        if not {"device", None} & {keyword.arg for keyword in call.keywords}
        and not ast.unparse(call).startswith("torch.Generator('cpu')")
    ]

    assert calls
    assert not nameless
    assert all(callable(getattr(torch, maker)) for maker in MAKERS)
