"""Each private name of torch that rnnkit uses is in one table, with its reason."""

import ast
import pathlib
from collections.abc import Iterator

import torch

import rnnkit

PACKAGE = pathlib.Path(str(rnnkit.__file__)).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: Every private name of torch that rnnkit uses, and why no public one will do; ``Module.`` stands
#: for an attribute of a module. torch 2.8, the oldest that is claimed, has all.
PRIVATE_NAMES = {
    "Module._all_weights": "the names of a layer's weights, by layer and direction",
    "Module._backward_hooks": "whether a cell has hooks",
    "Module._backward_pre_hooks": "whether a cell has hooks",
    "Module._base": "the tensor of which another is a part",
    "Module._buffers": "the buffers of one module by name, those that are None too",
    "Module._dynamo_marked_constant": (
        "a function's mark that a compiler takes its result for a constant"
    ),
    "Module._flat_weight_refs": "whether a layer's list of weights is up to date, without a search",
    "Module._flat_weights": "a layer's weights as torch's kernels take them",
    "Module._flat_weights_names": "the names of those weights, in the same order",
    "Module._forward_hooks": "whether a cell has hooks",
    "Module._forward_pre_hooks": "whether a cell has hooks",
    "Module._parameters": (
        "a weight itself: an attribute costs a search in three places, and computes what is "
        "parametrized"
    ),
    "Module._sequence_nr": "whether a tensor's graph was there before a run that is traced",
    "Module._version": "whether a tensor was written into, for which torch has no public name",
    "torch._C._DisableAutocast": "autocast is off in float64, whichever device it is on for",
    "torch._C._functorch": (
        "whether torch.func transforms the call, whose values then cannot be looked at"
    ),
    "torch._C._get_tracing_state": "whether torch.jit.trace runs, asked at each call",
    "torch._C._is_any_autocast_enabled": (
        "whether autocast is on for any device; the public function asks for one"
    ),
    "torch._assert_async": "a check that a graph makes when it runs, and that waits for no GPU",
    "torch.compiler._is_exporting_flag": (
        "whether torch exports; a compiler of torch 2.8 takes the public function for true"
    ),
    "torch._higher_order_ops.scan.scan": "a loop over an open number of steps in one graph",
    "torch.autograd.forward_ad._current_level": (
        "whether derivatives run forward, for which the fused kernels have no rules"
    ),
    "torch.nn.modules.module._global_forward_hooks_with_kwargs": (
        "the mark of a hook that torch leaves behind when the hook is removed"
    ),
    "torch.nn.modules.module._has_any_global_hook": "whether someone listens to every module",
    "torch.ops.mkldnn._is_mkldnn_bf16_supported": "whether oneDNN has a bfloat16 LSTM on this CPU",
    "torch.ops.mkldnn._is_mkldnn_fp16_supported": "whether oneDNN has a float16 LSTM on this CPU",
    "torch.utils.data.dataloader._BaseDataLoaderIter": (
        "whether an object reads data, which is shared, as a DataLoader is"
    ),
    "torch.utils._pytree": ("the tensors in nested inputs and outputs, as torch itself finds them"),
}


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


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


def used_in(tree: ast.Module, attributes: set[str]) -> Iterator[str]:
    """Yield each private name of torch in a file: by its path, or as a module's attribute."""
    names = imports(tree)
    yield from (path for path in names.values() if any(map(is_private, path.split("."))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What is looked up by its name.
            yield from (known for known in PRIVATE_NAMES if known.endswith(f".{node.value}"))
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            path = dotted(node, names)
            if path or node.attr in attributes:
                yield path or f"Module.{node.attr}"


def used() -> dict[str, str]:
    """Each private name of torch in the package, with a file that uses it."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    x = torch.zeros(2, 1, 1)
    objects = (torch.nn.LSTM(1, 1), torch.nn.LSTMCell(1, 1), x, torch.autograd.Function)
    attributes = {name for one in objects for name in dir(one) if is_private(name)} - own
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


def test_private_names() -> None:
    """Each that is used is in the table, with its reason, and each of the table is used."""
    names = used()
    known = {
        name: [row for row in PRIVATE_NAMES if name == row or name.startswith(f"{row}.")]
        for name in names
    }

    assert {name: names[name] for name, rows in known.items() if not rows} == {}
    assert {*PRIVATE_NAMES} - {row for rows in known.values() for row in rows} == set()
    assert all(PRIVATE_NAMES.values())
