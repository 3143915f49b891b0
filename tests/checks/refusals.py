"""Tables of wrong calls: what rnnkit and torch say to each, and what the message says to type."""

import copy
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import rnnkit
from tests.codes import CODES

#: No message has more characters, whatever was given.
LONGEST = 2000

#: A number that no message has a reason to print.
CONTENT = 7.8125
TORCHS_INSIDES = ("mat1", "mkldnn", "primitive", "tensor([", "7.81")

#: What torch.nn does with a call that rnnkit refuses. It says what is wrong, in a sentence that
#: ours begins with; mumbles something else; accepts it in silence. It is not asked where it may
#: end the process, and lacks the options that are our own.
Torch = Literal["says", "mumbles", "accepts", "unsafe", "lacks"]
CATCHABLE = (RuntimeError, ValueError, TypeError)


def filled(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor of one number, never zeros."""
    return torch.full(shape, CONTENT).to(dtype)


def packed(*lengths: int, width: int = 3) -> PackedSequence:
    """Return sequences of these lengths, packed in the order in which they come."""
    padded = filled(max(lengths), len(lengths), width)
    return pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=False)


class Embedded(torch.nn.Module):
    """A user's cell that reads whole numbers, and has a weight named as ours."""

    def __init__(self) -> None:
        """Make a table of ten rows."""
        super().__init__()
        self.weight_ih = torch.nn.Parameter(torch.ones(10, 4))

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add the rows that are named."""
        return hx + self.weight_ih[input].sum(-2)

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 4)


class Sums(torch.nn.Module):
    """A user's cell that adds up what it reads, three features wide."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 3)


class Counter(torch.nn.Module):
    """A cell that returns what it is told to."""

    def __init__(self, returns: Any) -> None:
        """Take what makes a result of a state."""
        super().__init__()
        self.returns = returns

    def initial_state(self, batch_size: int) -> Tensor:
        """Return ones."""
        return torch.ones(batch_size, 4)

    def forward(self, input: Tensor, hx: Any) -> Any:
        """Return what is made of the state."""
        del input
        return self.returns(hx)


#: What a call or a fix may name beside its own arguments.
KNOWN: dict[str, object] = {name: getattr(rnnkit, name) for name in rnnkit.__all__} | {
    "rnnkit": rnnkit,
    "torch": torch,
    "np": np,
    "pack_padded_sequence": pack_padded_sequence,
    "filled": filled,
}


class Call(NamedTuple):
    """A wrong call as it is typed, and what its names stand for."""

    text: str
    names: dict[str, object]

    def __call__(self, nn: ModuleType, **instead: object) -> object:
        """Make the call with the layers of ``nn``, and other values for some names."""
        return eval(self.text, KNOWN | self.names | instead | {"nn": nn})  # noqa: S307 - our own

    def anew(self) -> "Call":
        """Return the same with copies of its modules: a fix may change them."""
        return self._replace(
            names={
                name: copy.deepcopy(value) if isinstance(value, torch.nn.Module) else value
                for name, value in self.names.items()
            }
        )

    def __str__(self) -> str:
        """Show it as it is typed."""
        return self.text


def call(text: str, **names: object) -> Call:
    """Describe a call; a tuple of numbers is the shape of a tensor that is never zeros."""
    return Call(text, {name: _tensor_if_shape(value) for name, value in names.items()})


def _tensor_if_shape(value: object) -> object:
    if isinstance(value, tuple) and value and all(type(size) is int for size in value):
        return filled(*value)
    return value


class Refused(NamedTuple):
    """How rnnkit refuses a call: the class, what torch does, and what the error knows beside it.

    A row with the message of another one has no message of its own: its fix, or a part, will do.
    """

    error: type[rnnkit.RnnkitError]
    torchs: Torch
    argument: str | None = None
    expected: tuple[int | None, ...] | None = None
    actual: tuple[int, ...] | None = None
    code: str | None = None
    annotated: bool = False  # the import hook refuses it first, by the annotation


class Fix(NamedTuple):
    """What a message says to type, and where it goes in the call."""

    text: str
    dots: str  # what stands for the three dots
    into: str | None  # the name whose value it is, None for the one that it mentions
    gives: object  # its value as a list, if the call is not made again with it
    names: dict[str, object]  # of the fix; where the call has them, other values
    where: str  # the call that it is typed into, at the @; that runs, and is not made again


def fix(
    text: str,
    dots: str = "",
    into: str | None = None,
    gives: object = None,
    where: str = "",
    **names: object,
) -> Fix:
    """Describe a fix that needs more than its text; a tuple of numbers is the shape of a tensor."""
    shaped = {name: _tensor_if_shape(value) for name, value in names.items()}
    return Fix(text, dots, into, gives, shaped, where)


class Case(NamedTuple):
    """A row of a table."""

    call: Call | str
    refused: Refused
    message: str | None = None  # the whole of it
    fix: Fix | str | tuple[Fix | str, ...] = ()
    has: str = ""  # a part of the message
    ends: str = ""  # its end
    lacks: str | None = None  # what it does not say

    def check(self) -> None:
        """Make the call with rnnkit and torch, read what both say, and type the fixes."""
        act = (call(self.call) if isinstance(self.call, str) else self.call).anew()
        error = refusal(self.refused.error, self.refused.torchs, act)
        for name in ("argument", "expected", "actual", "code"):
            known = getattr(self.refused, name)
            assert known is None or getattr(error, name) == known
        if self.message is not None:
            assert str(error) == self.message
        assert self.has in str(error)
        assert str(error).endswith(self.ends)
        assert self.lacks is None or self.lacks not in str(error)
        several = self.fix if type(self.fix) is tuple else (self.fix,)
        for one in several:
            _type(error, act, fix(one) if isinstance(one, str) else one)


def table(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    """Run a test for each case, under the sentence that says what is refused."""
    hidden = pytest.mark.unhooked("the annotation refuses it first")
    rows = [
        pytest.param(case, id=sentence, marks=[hidden] if case.refused.annotated else [])
        for sentence, case in cases.items()
    ]
    return pytest.mark.parametrize("case", rows)


def refusal(
    expected: type[rnnkit.RnnkitError], torchs: Torch, act: Callable[[ModuleType], object]
) -> Any:
    """Make a wrong call with ``rnnkit.nn``, and with ``torch.nn`` where that is safe.

    Returns:
        rnnkit's error, of exactly the expected class, which code written for torch catches too.
    """
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act(rnnkit.nn)
    ours = caught.value
    assert type(ours) is expected
    assert not any(inside in str(ours) for inside in TORCHS_INSIDES)
    assert len(str(ours)) < LONGEST
    assert ours.code in CODES
    assert re.search(rf"\n  more +python -m rnnkit explain {ours.code}$", str(ours))
    if torchs not in ("unsafe", "lacks"):
        _compare(ours, torchs, act)
    return ours


def _compare(ours: rnnkit.RnnkitError, torchs: Torch, act: Callable[[ModuleType], object]) -> None:
    found: Torch = "accepts"
    try:
        act(torch.nn)
    except Exception as theirs:  # noqa: BLE001 - whatever torch raises is compared
        kinds = [kind for kind in CATCHABLE if isinstance(theirs, kind)]
        assert all(isinstance(ours, kind) for kind in kinds)
        same = bool(kinds) and _first_line(ours).startswith(_first_line(theirs))
        found = "says" if same else "mumbles"
    if torch.__version__ >= "2.13":  # an older torch says less, and other things
        closed = torchs == "accepts" and torch.__version__ >= "2.14"
        assert torchs == found or closed  # a newer torch refuses more


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def sizes(error: rnnkit.ShapeError) -> tuple[str, tuple[int | None, ...], tuple[int, ...]]:
    """Return what an error knows beside its text."""
    return error.argument, error.expected, error.actual


def fixed(
    error: rnnkit.RnnkitError, fix: str, dots: str = "", where: str = "@", **names: object
) -> Any:
    """Type what a message says to type, with ``dots`` for its three dots; return what comes."""
    advice = re.split(r"^  fix +", str(error), flags=re.MULTILINE)[1]
    assert fix in advice
    typed, known = where.replace("@", fix.replace("...", dots)), KNOWN | {"nn": rnnkit.nn} | names
    if " = " in typed:
        exec(typed, known)  # noqa: S102 - the text is our own
        return known[re.findall(r"(\w+) = ", typed)[0]]
    return eval(typed, known)  # noqa: S307 - the text is our own


def _type(error: rnnkit.RnnkitError, act: Call, advised: Fix) -> None:
    """Type a fix, and make the call again with what comes of it: the program then runs."""
    if advised.where:
        fixed(error, advised.text, advised.dots, advised.where, **act.names | advised.names)
        return
    act = _with_whole_state(act)
    value = fixed(error, advised.text, advised.dots, **act.names | advised.names)
    if advised.gives is not None:
        assert torch.as_tensor(value).tolist() == advised.gives
        return
    mentioned = (name for name in act.names if re.search(rf"\b{name}\b", advised.text))
    into = advised.into or next(mentioned, None)
    if into is not None:
        act(rnnkit.nn, **advised.names | {into: value})
        return
    layer, arguments = "layer", act.text.index(")(") + 1
    Call(layer + act.text[arguments:], act.names | advised.names | {layer: value})(rnnkit.nn)


def _with_whole_state(act: Call) -> Call:
    """Name the pair of a call ``hx``, as messages do."""
    pair = re.search(r"\(h, [hc]\)", act.text)
    if pair is None or "hx" in act.names:
        return act
    hx = Call(pair.group(), act.names)(rnnkit.nn)
    return Call(act.text.replace(pair.group(), "hx"), act.names | {"hx": hx})
