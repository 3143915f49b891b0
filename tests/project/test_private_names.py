"""Each private name of torch that rnnkit uses is in one table, with its reason."""

import ast
import pathlib
from collections.abc import Iterator

import torch

import rnnkit
from rnnkit._base.torch_tools import PRIVATE_NAMES

PACKAGE = pathlib.Path(str(rnnkit.__file__)).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def of_modules() -> set[str]:
    """The private attributes of torch's modules, and of what people pack for them."""
    x = torch.zeros(2, 1, 1)
    objects = (torch.nn.LSTM(1, 1), torch.nn.LSTMCell(1, 1), x, torch.autograd.Function)
    return {name for one in objects for name in dir(one) if is_private(name)}


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """Write ``torch._C._functorch`` as such, whatever it was imported as; else nothing."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def imports(tree: ast.Module) -> dict[str, str]:
    """The names that a file has from torch, and what they are there."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "torch":
                    found[alias.asname or "torch"] = alias.name if alias.asname else "torch"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def own_names(trees: list[ast.Module]) -> set[str]:
    """The private names that rnnkit's own classes and functions define."""
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def used_in(tree: ast.Module, attributes: set[str]) -> Iterator[str]:
    """Yield each private name of torch in a file: by its path, or as a module's attribute."""
    names = imports(tree)
    for path in names.values():
        if any(map(is_private, path.split("."))):
            yield path
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What is looked up by its name.
            yield from (known for known in PRIVATE_NAMES if known.endswith(f".{node.value}"))
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            path = dotted(node, names)
            if path:
                yield path
            elif node.attr in attributes:
                yield f"Module.{node.attr}"


def used() -> dict[str, str]:
    """Each private name of torch in the package, with a file that uses it."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    attributes = of_modules() - own_names(list(trees.values()))
    found = {
        name: str(path.relative_to(PACKAGE))
        for path, tree in trees.items()
        for name in used_in(tree, attributes)
    }
    return {
        name: path
        for name, path in found.items()
        if not any(other.startswith(f"{name}.") for other in found)
    }


def test_each_private_name_is_in_the_table() -> None:
    """What torch may take away without notice is known, with what it is for."""
    missing = {
        name: path
        for name, path in used().items()
        if not any(name == known or name.startswith(f"{known}.") for known in PRIVATE_NAMES)
    }

    assert missing == {}


def test_each_name_of_the_table_is_used() -> None:
    """A name that nothing uses any more leaves the table."""
    names = used()

    assert {
        known
        for known in PRIVATE_NAMES
        if not any(name == known or name.startswith(f"{known}.") for name in names)
    } == set()


def test_each_name_has_a_reason() -> None:
    """The table says why no public name will do."""
    assert all(PRIVATE_NAMES.values())
