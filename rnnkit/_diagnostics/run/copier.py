"""A deep copy of whatever a model holds: each object is copied entirely, or not at all.

Python's deepcopy refuses a tensor on a graph, stops at the first lock, follows no weak reference,
calls itself for each level, and takes longer than the forward of a small model.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType, proxy

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from rnnkit._diagnostics.run.objects import copied_by_its_class, empty_objects, without_del
from rnnkit._diagnostics.run.uncopied import (
    CONSTANT,
    DATA,
    PROXIES,
    REGISTERED,
    WEAK,
    Place,
    UncopiedError,
    last_name,
    refuse_to_copy,
    tensors_in,
    unwrapped,
)
from rnnkit._diagnostics.tell.report import without_frames

#: Puts a part into what holds it.
Put = Callable[[Any, Any], Any]
#: Copies a tensor; None if it is shared.
CopyTensor = Callable[[Tensor, Place | None, dict[int, Any]], Tensor | None]
#: What is being filled: how, with which parts by name or index, and where it is.
Unfilled = tuple[Put, Iterator[tuple[Any, Any]], Place | None, str]


class Copier:
    """Copies a model, with a memo of copies by the id of what was copied.

    Anything that holds other things (a module, a list, an object) is first made empty, put on a
    stack of what is still unfilled, and filled later: nesting of any depth needs no recursion. A
    copy is called a twin.
    """

    def __init__(
        self, memo: dict[int, Any], copy_tensor: CopyTensor, names: Mapping[int, str]
    ) -> None:
        """Take the copies that exist already, by id; what copies a tensor; and module names by id.

        ``copy_tensor(tensor, place, memo)`` returns the copy, or None if the tensor is to be
        shared.
        """
        self.memo = memo
        # What was not copied, and the name that led there; no name if nobody needs to know.
        self.shared: list[tuple[str, Any]] = []
        self.modules: dict[int, str] = {}  # what to call those that were copied, by id
        self.made: list[ReferenceType[Any]] = []  # new modules and objects
        self._copy_tensor = copy_tensor
        self._names = names
        self._unfilled: list[Unfilled] = []  # the last one comes first
        self._weak: list[tuple[Put, Any, Any]] = []  # weak references, and where they are put
        self.alive: list[Any] = []  # so that no other object gets the id of one of these
        self.quiet: dict[type, type] = {}  # see :func:`without_del`

    def model(self, model: nn.Module) -> Any:
        """Return the copy of a model.

        Refuse a model if a part cannot be copied, and leave no copy.
        """
        try:
            twin = self._copied(model, None)
            self.finish(0)
        except Exception as error:
            empty_objects(self.made)
            self.memo.clear()
            self._unfilled.clear()
            if isinstance(error, UncopiedError):
                raise
            refuse_to_copy(None, "holds what cannot be copied", "leave that out", error)
        # What these refer to may have been copied after them.
        for put, name, reference in self._weak:
            put(name, self.follow(reference))
        return twin

    def tensor(self, x: Tensor, place: Place | None, copy_tensor: CopyTensor) -> Tensor:
        """Copy a tensor with ``copy_tensor``, and the attributes that a user gave it.

        ``place`` says where in the model it is held, for the message if it cannot be copied. If
        ``copy_tensor`` returns None, the tensor is noted as shared, and returned itself.
        """
        try:
            twin = copy_tensor(x, place, self.memo)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - a subclass refuses, or memory has run out
            fix = "use a plain tensor instead, or a smaller model if memory has run out"
            refuse_to_copy(place, f"({type(x).__name__}) cannot be copied", fix, error)
        if twin is None:
            self._share(x, place)
            return x
        self.memo[id(x)] = twin
        if held := getattr(x, "__dict__", None):
            own = vars(twin)  # a subclass may have copied what it holds
            parts = [(name, part) for name, part in held.items() if name not in own]
            self.fill_later(own.__setitem__, parts, place, ".")
        return twin

    def copy_fully(self, x: Any, place: Place | None) -> Any:
        """Copy an object and fill it at once, since a constructor or hash is about to read it."""
        unfilled_count = self.unfilled_count
        twin = self._copied(x, place)
        self.finish(unfilled_count)
        return twin

    @property
    def unfilled_count(self) -> int:
        """How many containers were made empty, and are not filled yet."""
        return len(self._unfilled)

    def finish(self, unfilled_count: int) -> None:
        """Fill containers, the last one first, until only so many are unfilled."""
        unfilled = self._unfilled
        while len(unfilled) > unfilled_count:
            last = unfilled[-1]
            self._fill(last)
            if unfilled[-1] is last:  # else what it holds has to be filled first
                unfilled.pop()

    def fill_later(
        self, put: Put, parts: Iterable[tuple[Any, Any]], place: Place | None, mark: str
    ) -> None:
        """Copy parts, pairs of key and value, into a container later, by ``put(key, copy)``.

        ``place`` says where the container is held; ``mark``, ``"."`` or ``"["``, how a message
        writes the way from it to a part.
        """
        self._unfilled.append((put, iter(parts), place, mark))

    def _fill(self, last: Unfilled) -> None:
        """Put copies of parts into a container, up to the first that has to be filled itself."""
        put, parts, place, mark = last
        unfilled_count = self.unfilled_count
        for name, part in parts:
            kind = type(part)
            key = name if type(name) in CONSTANT else self.copy_fully(name, place)
            if kind in CONSTANT:
                put(key, part)
            elif kind in WEAK:
                put(key, part)
                self._weak.append((put, key, part))
            else:
                put(key, self._copied(part, (place, name, mark)))
                if self.unfilled_count > unfilled_count:
                    return

    def _copied(self, x: Any, place: Place | None) -> Any:
        """Return the copy of any object, which may be filled later.

        Constants are returned as they are.
        """
        twin = self.memo.get(id(x))
        if twin is not None:
            return twin
        kind = type(x)
        if kind in CONSTANT or isinstance(x, type | ModuleType):
            return x
        if kind in WEAK:
            return self.follow(x)
        if kind in BY_PARTS:
            twin = BY_PARTS[kind](self, x, place)
        elif isinstance(x, nn.Module):
            twin = self._module(x, place)
        elif isinstance(x, Tensor):
            twin = self.tensor(x, place, self._copy_tensor)
        elif isinstance(x, DATA):
            twin = self._share(x, place)
        else:
            twin = self._object(x, place)
        self.memo[id(x)] = twin
        return twin

    def _share(self, x: Any, place: Place | None) -> Any:
        """Note that an object is not copied, but used by the copy as well, and return it."""
        self.shared.append((last_name(place) or type(x).__name__, x))
        return x

    def follow(self, x: Any) -> Any:
        """Return a weak reference to the copy of its target; ``x`` itself if that has no copy."""
        is_proxy = type(x) in PROXIES
        try:
            # A proxy tells what it stands for only by what is bound to that.
            one = x.__reduce_ex__.__self__ if is_proxy else x()
        except (AttributeError, ReferenceError):  # such as an object that is gone
            return x
        twin = self.memo.get(id(one))
        if twin is None and id(one) in self._names:  # a module that the model has elsewhere
            name = self._names[id(one)].removeprefix("model.")
            twin = self._copied(one, (None, name, "."))
        if twin is None or twin is one:
            return x
        return proxy(twin) if is_proxy else ReferenceType(twin)

    def copy_tuple(self, x: tuple[Any, ...], place: Place | None) -> Any:
        """Return a tuple of copies of its members."""
        return tuple([self._copied(part, (place, at, "[")) for at, part in enumerate(x)])

    def copy_set(self, x: Any, place: Place | None) -> Any:
        """Return a set of copies, each filled at once, since hashes read them."""
        return type(x)([self.copy_fully(part, place) for part in x])

    def copy_method(self, x: MethodType, place: Place | None) -> Any:
        """Return the method of the copy of the object that a bound method belongs to."""
        return MethodType(x.__func__, self._copied(x.__self__, place))

    def copy_function(self, x: FunctionType, place: Place | None) -> Any:
        """Return a function over copies of the modules that it closes over, or ``x`` itself."""
        cells = x.__closure__ or ()
        held = [_content(cell) for cell in cells]
        if not any(isinstance(one, nn.Module) for one in held):
            return x
        closure = [
            CellType(self._copied(one, place)) if isinstance(one, nn.Module) else cell
            for one, cell in zip(held, cells, strict=True)
        ]
        twin = FunctionType(x.__code__, x.__globals__, x.__name__, x.__defaults__, tuple(closure))
        twin.__kwdefaults__ = x.__kwdefaults__
        vars(twin).update(vars(x))
        return twin

    def copy_dict(self, x: dict[Any, Any], place: Place | None) -> dict[Any, Any]:
        """Return a dictionary that is filled with copies later, or now if it has constants only."""
        if CONSTANT.issuperset(map(type, x.values())) and CONSTANT.issuperset(map(type, x)):
            return x.copy()
        twin = type(x)()
        is_registered = place is not None and place[1:] in [(name, ".") for name in REGISTERED]
        # Another thread may write it meanwhile.
        self.fill_later(twin.__setitem__, [*x.items()], place, "." if is_registered else "[")
        return twin

    def copy_list(self, x: list[Any], place: Place | None) -> list[Any]:
        """Return a list to be filled with copies later; at once if it holds constants only."""
        twin = [*x]
        if not CONSTANT.issuperset(map(type, twin)):
            self.fill_later(twin.__setitem__, [*enumerate(twin)], place, "[")
        return twin

    def _module(self, x: nn.Module, place: Place | None) -> Any:
        """Return the copy of a module without its wrappers; its attributes are copied later."""
        inner = unwrapped(x)
        if inner is not x:
            return self._copied(inner, place)
        kind = type(x)
        self.modules[id(x)] = self._names.get(id(x), f"a {kind.__name__} of the model")
        try:
            if hasattr(kind, "__deepcopy__") and not is_parametrized(x):
                return self._copied_by_its_own_method(x, place)
            # Not by a __getstate__ of its class: that is for files, and may leave things out.
            twin: Any = object.__new__(without_del(kind, self.quiet))
        except (UncopiedError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - it may refuse as it likes
            fix = "pass the model as it was before it was wrapped or sharded"
            refuse_to_copy(place, f"({kind.__name__}) cannot be copied", fix, error)
        self.made.append(ReferenceType(twin))
        parts = [(name, part) for name, part in vars(x).items() if name != "_compiled_call_impl"]
        self.fill_later(vars(twin).__setitem__, parts, place, ".")
        return twin

    def _copied_by_its_own_method(self, x: nn.Module, place: Place | None) -> Any:
        """Return what a module's ``__deepcopy__`` returns; the memo has copies of its tensors."""
        for name, tensor in (*x.named_parameters(), *x.named_buffers()):
            self._copied(tensor, (place, name, "."))
        is_script = isinstance(x, torch.jit.ScriptModule)  # which would put its copy on a graph
        with torch.set_grad_enabled(torch.is_grad_enabled() and not is_script):
            twin = copy.deepcopy(x, self.memo)
        if is_script:
            for mine, its in zip(x.parameters(), twin.parameters(), strict=True):
                its.requires_grad_(mine.requires_grad)
        own = {id(part) for part in (*x.modules(), *x.parameters(), *x.buffers())}
        if not own.isdisjoint(map(id, (*twin.modules(), *twin.parameters(), *twin.buffers()))):
            message = "its __deepcopy__ returns what the model holds"
            raise TypeError(message)
        return twin

    def _object(self, x: Any, place: Place | None) -> Any:
        """Copy an object as its class says.

        If it refuses, share it, unless it holds a tensor or module.
        """
        kind = type(x)
        twin: Any = None
        error: Exception | None = None
        try:
            twin = copied_by_its_class(self, x, place)
        except (UncopiedError, RecursionError):
            raise
        except Exception as caught:  # noqa: BLE001 - it may refuse as it likes
            error = without_frames(caught)
        if twin is None or twin is x or hasattr(kind, "__deepcopy__"):
            own = tensors_in(x)
            if own and (twin is None or not own.keys().isdisjoint(tensors_in(twin))):
                what = f"({kind.__name__}) holds tensors and cannot be copied"
                refuse_to_copy(place, what, "register the tensors in the model itself", error)
        if twin is x:  # which its class says
            self.shared.append(("", x))
        return self._share(x, place) if twin is None else twin


#: How to copy objects of Python's own classes.
def _content(cell: CellType) -> Any:
    """Return what a cell of a closure holds; None if nothing is in it yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


BY_PARTS: dict[type, Callable[[Copier, Any, Place | None], Any]] = {
    dict: Copier.copy_dict,
    OrderedDict: Copier.copy_dict,
    list: Copier.copy_list,
    tuple: Copier.copy_tuple,
    set: Copier.copy_set,
    frozenset: Copier.copy_set,
    MethodType: Copier.copy_method,
    FunctionType: Copier.copy_function,
}
