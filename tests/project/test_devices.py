"""Each tensor that rnnkit makes names its device: ``torch.set_default_device`` is not its affair."""

import ast
import pathlib

import pytest
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_devices_are_named(path: pathlib.Path) -> None:
    """A call that makes a tensor has a device, or options that hold one."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"torch.{m}" for m in MAKERS}
    ]

    nameless = [
        ast.unparse(call)
        for call in calls
        if not {"device", None} & {keyword.arg for keyword in call.keywords}
        and not ast.unparse(call).startswith("torch.Generator('cpu')")
    ]

    assert not nameless


@pytest.mark.parametrize("maker", [name for name in MAKERS if name != "Generator"])
def test_makers_have_a_device(maker: str) -> None:
    """The table above has names of torch's functions."""
    assert callable(getattr(torch, maker))
