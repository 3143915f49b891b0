"""Each name of torch, jaxtyping and copy that rnnkit uses and that is not public is in one table."""

import ast
import importlib
import sys
import types
from collections.abc import Iterator

import torch

from rnnkit._checks import scope
from tests.places import FILES, PACKAGE

#: Packages whose names are looked at.
PACKAGES = ("torch", "jaxtyping", "beartype", "copy")

#: Marks that torch's compiler reads of functions.
MARKS = {"_dynamo_marked_constant", "_torchdynamo_disable"}

#: The torch modules whose private attributes of any object count: what these objects have.
OBJECTS = (
    torch.nn.LSTM(1, 1),
    torch.nn.LSTMCell(1, 1),
    torch.zeros(2, 1, 1),
    torch.autograd.Function,
)

#: Every private or unlisted name, and what its loss would break; ``any.`` stands for an attribute
#: of an object. The oldest torch that is claimed and the newest have all of them.
LOSS = {
    "any._all_weights": "layer.cells() fails",
    "any._backward_hooks": "unroll fails, since it asks whether a cell has hooks",
    "any._backward_pre_hooks": "unroll fails, as above",
    "any._base": "verify fails where it looks for a leak in functions",
    "any._dynamo_marked_constant": "a compiled layer fails on torch 2.8",
    "any._torchdynamo_disable": "compiled layers run in pieces; torch 2.15 gets some wrong",
    "any._flat_weight_refs": "each call of a layer searches its weights, a tenth of a small call",
    "any._flat_weights": "each call of a layer fails",
    "any._flat_weights_names": "each call of a layer fails",
    "any._forward_hooks": "unroll fails, as above",
    "any._forward_pre_hooks": "unroll fails, as above",
    "any._parameters": "each call fails: a weight is read where no property computes it",
    "any._sequence_nr": "rnnkit.trace fails",
    "any._version": "a cell that writes into its state is no longer refused",
    "torch._C.DisableTorchFunction": "verify fails where it looks for a leak in functions",
    "torch._C._DisableAutocast": "verify fails where it asks the float64 copy",
    "torch._C._dynamo.eval_frame": "rnnkit does not import",
    "torch._C._functorch": "rnnkit does not import",
    "torch._C._get_tracing_state": "each call fails",
    "torch._C._is_any_autocast_enabled": "a call of mixed dtypes fails instead of being refused",
    "torch._assert_async": "a graph with lengths, or with indices of states, cannot be made",
    "torch._dynamo.config": "a compiled model with a layer fails",
    "torch._higher_order_ops.scan.scan": "a loop over an open number of steps has no whole graph",
    "torch.autograd.forward_ad._current_level": "each call with lengths or resets fails",
    "torch.compiler._is_exporting_flag": "a compiled or exported layer fails",
    "torch.fx.experimental.symbolic_shapes.has_static_value": "a compiled layer fails",
    "torch.library.register_autograd": "rnnkit does not import where anything is compiled",
    "torch.nn.modules.module._global_forward_hooks_with_kwargs": "after trace, modules are slower",
    "torch.nn.modules.module._has_any_global_hook": "unroll fails, as above",
    "torch.ops.aten.mkldnn_rnn_layer": "a compiled LSTM on a CPU trains slower: it is recomputed",
    "torch.ops.aten.mkldnn_rnn_layer_backward": "as above",
    "torch.ops.mkldnn._is_mkldnn_bf16_supported": "an LSTM with lengths under autocast fails",
    "torch.ops.mkldnn._is_mkldnn_fp16_supported": "an LSTM with lengths under autocast fails",
    "torch.overrides.TorchFunctionMode": "rnnkit does not import",
    "torch.utils._pytree": "rnnkit does not import",
    "torch.utils.data.dataloader._BaseDataLoaderIter": "verify does not import",
    "jaxtyping._storage.get_shape_memo": "a message of axes= lacks the sizes that are bound",
}


def is_private(name: str) -> bool:
    """Return whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


ATTRIBUTES = {name for one in OBJECTS for name in dir(one) if is_private(name)}


def is_listed(path: str) -> bool:
    """Return whether each part of a path is public, and listed by the module that has it."""
    module, *names = path.split(".")
    if any(map(is_private, names)) or "experimental" in names:
        return False
    for name in names:
        there = module_at(module)
        if there is None:
            return True  # of a class, or of an operator
        listed = getattr(there, "__all__", [name])
        is_root = module == "torch"  # its dtypes and layouts are in no list
        module = f"{module}.{name}"
        if not is_root and name not in listed and module_at(module) is None:
            return False
    return True


def module_at(path: str) -> types.ModuleType | None:
    """Return what is imported by a path, if anything is."""
    try:
        return importlib.import_module(path)
    except ImportError:
        return None


def in_packages(path: str) -> bool:
    """Return whether a module is of a package whose names are looked at."""
    return path.partition(".")[0] in PACKAGES


def imports(tree: ast.Module) -> dict[str, str]:
    """Return the names that a file has from the packages, and what they are there."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                if in_packages(root):
                    found[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and in_packages(node.module or ""):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """Write ``torch._C._functorch`` as such, whatever it was imported as; else nothing."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
        before = dotted(node.args[0], names)
        name = node.args[1]
        is_told = before and isinstance(name, ast.Constant)
        return f"{before}.{name.value}" if is_told else before
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def used_in(tree: ast.Module, attributes: set[str]) -> Iterator[str]:
    """Yield each name of a file that is not public: by its path, or as an object's attribute."""
    names = imports(tree)
    paths = set(names.values())
    for node in ast.walk(tree):
        path = dotted(node, names) if isinstance(node, ast.Attribute | ast.Call) else ""
        if path:
            paths.add(path)
        elif isinstance(node, ast.Attribute) and node.attr in attributes:
            yield f"any.{node.attr}"
    marked = {getattr(x, "attr", getattr(x, "value", None)) for x in ast.walk(tree)} & MARKS
    yield from (f"any.{mark}" for mark in marked)
    told = {x.value for x in ast.walk(tree) if isinstance(x, ast.Constant) and x.value}
    for path in paths:
        operators = path in ("torch.ops.aten", "torch.ops.mkldnn")
        found = {f"{path}.{x}" for x in told if isinstance(x, str) and x.isidentifier()}
        yield from (x for x in found if operators and x in LOSS)
        if not is_listed(path) and not path.startswith("torch.ops.rnnkit"):  # which are ours
            yield path


def used() -> dict[str, str]:
    """Return each name that is not public, with a file that uses it, and no part of a longer one."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found = {
        name: str(path.relative_to(PACKAGE))
        for path, tree in trees.items()
        for name in used_in(tree, ATTRIBUTES - own)
    }
    return {
        name: path
        for name, path in found.items()
        if not any(other.startswith(f"{name}.") for other in found)
    }


def test_private_names():
    """Each that is used is in the table, with what its loss breaks, and each of these is used."""
    names = used()
    rows = {
        name: [row for row in LOSS if name == row or name.startswith(f"{row}.")] for name in names
    }

    assert {name: names[name] for name, found in rows.items() if not found} == {}
    assert {*LOSS} - {row for found in rows.values() for row in found} == set()
    assert all(LOSS.values())


def test_a_scope_without_jaxtypings_storage(monkeypatch):
    """Without jaxtyping's own memory of sizes, a message lacks the sizes that are bound."""
    monkeypatch.setitem(sys.modules, "jaxtyping._storage", None)

    assert scope._bindings() == {}
