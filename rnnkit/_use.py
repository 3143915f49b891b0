"""How a model uses what its recurrent layers return: found by disturbing that, not the input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._locate import Place
from rnnkit._session import same
from rnnkit._subject import Subject

#: How many calls of layers are looked at, and how many runs that may take.
CALLS = 4
RUNS = 16

Disturb = Callable[[RNNBase, Any], Any]


@dataclass(frozen=True)
class Misuse:
    """What is used wrongly, and where."""

    what: str
    place: Place


def has_recurrence(model: torch.nn.Module) -> bool:
    """Say whether a model has a recurrent module: torch's kinds, or one with a first state."""
    kinds = (RNNBase, RNNCellBase)
    return any(isinstance(m, kinds) or hasattr(m, "initial_state") for m in model.modules())


def find_misuse(subject: Subject) -> tuple[Misuse | None, int]:
    """Look at the model's layers, call by call; return what is wrong, and how many were seen."""
    calls = _calls(subject)
    start = subject.session.passes
    for seen, (name, number) in enumerate(calls[:CALLS]):
        if subject.session.passes - start >= RUNS:
            return None, seen
        misuse = _Call(subject, name, number).misuse()
        if misuse is not None:
            return misuse, seen + 1
    return None, min(len(calls), CALLS)


def _calls(subject: Subject) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def watch(model: torch.nn.Module) -> list[Any]:
        def note(name: str) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                found.append((name, sum(seen == name for seen, _ in found)))

            return hook

        return [
            module.register_forward_hook(note(name))
            for name, module in model.named_modules()
            if isinstance(module, RNNBase)
        ]

    subject.session.run(subject.batch.tree(), watch=watch)
    return found


class _Call:
    """One call of one layer, whose result can be disturbed."""

    def __init__(self, subject: Subject, name: str, number: int) -> None:
        self.subject, self.name, self.number = subject, name, number
        self.module: Any = subject.session.model.get_submodule(name)
        self.directions = 2 if self.module.bidirectional else 1

    def misuse(self) -> Misuse | None:
        """Try what is known to go wrong."""
        if self.directions == 2 and self._matters(_backward_half(self.subject, last=True)):
            rest = _backward_half(self.subject, last=False)
            if not self._matters(rest) and self._has_more_steps():
                return self._found(
                    f"of the output of {self.name}, the backward half is used at the last step "
                    "only, where it has read one step",
                    "last_hidden(state), or torch.cat([h_n[-2], h_n[-1]], dim=1)",
                )
        if not self._matters(_state("h")) and not self._matters(_output):
            if self.module.mode == "LSTM" and self._matters(_state("c")):
                return self._found(
                    f"of what {self.name} returns, only the cell state c is used",
                    "output, (h_n, c_n) = layer(input): h_n is the hidden state",
                )
            return None
        if self.directions == 2 and self.module.num_layers > 1 and self._matters(_state("h")):
            return self._mixed_rows()
        return None

    def _has_more_steps(self) -> bool:
        """Say whether the output has steps before the last valid ones."""
        found = []

        def look(module: RNNBase, result: Any) -> Any:
            found.append(bool((~_last_rows(self.subject, module, result[0])).any()))
            return result

        self._matters(look)
        return any(found)

    def _mixed_rows(self) -> Misuse | None:
        count = self.module.num_layers * 2
        used = [row for row in range(count) if self._matters(_row(row))]
        layers = {row // 2 for row in used}
        if len(used) == 2 and len(layers) == 2 and used[0] % 2 != used[1] % 2:
            rows = " and ".join(f"h_n[{row}]" for row in used)
            return self._found(
                f"of the state of {self.name}, {rows} are used: directions of different layers",
                f"h_n[{count - 2}] and h_n[{count - 1}], the last layer's; or last_hidden(state)",
            )
        return None

    def _found(self, what: str, fix: str) -> Misuse:
        lines = (f"first     {self.name} ({type(self.module).__name__})", f"fix       {fix}")
        return Misuse(what, Place(self.name, lines))

    def _matters(self, disturb: Disturb) -> bool:
        count = 0

        def hook(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
            nonlocal count
            count += 1
            return disturb(module, output) if count - 1 == self.number else output

        def watch(model: torch.nn.Module) -> list[Any]:
            return [model.get_submodule(self.name).register_forward_hook(hook)]

        output = self.subject.session.run(self.subject.batch.tree(), watch=watch)
        return any(
            isinstance(before, Tensor) and not same(before, after)
            for before, after in zip(self.subject.normal, output, strict=True)
        )


def _noise(tensor: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)


def _output(_: RNNBase, result: Any) -> Any:
    output, state = result
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data + _noise(output.data)), state
    return output + _noise(output), state


def _state(member: str) -> Disturb:
    def disturb(_: RNNBase, result: Any) -> Any:
        output, state = result
        if isinstance(state, Tensor):
            return output, state + _noise(state) if member == "h" else state
        h, c = state
        changed = (h + _noise(h), c) if member == "h" else (h, c + _noise(c))
        return output, type(state)(*changed) if hasattr(state, "_fields") else changed

    return disturb


def _row(row: int) -> Disturb:
    def disturb(module: RNNBase, result: Any) -> Any:
        output, state = result
        h = state if isinstance(state, Tensor) else state[0]
        axis = 1 if getattr(module, "state_batch_first", False) and h.dim() == 3 else 0
        at = torch.arange(h.shape[axis], device=h.device) == row
        shape = [1] * h.dim()
        shape[axis] = -1
        changed = torch.where(at.view(shape), h + _noise(h), h)
        if isinstance(state, Tensor):
            return output, changed
        pair = (changed, state[1])
        return output, type(state)(*pair) if hasattr(state, "_fields") else pair

    return disturb


def _backward_half(subject: Subject, *, last: bool) -> Disturb:
    """Disturb the backward half of the output at the last valid steps, or at all others."""

    def disturb(module: RNNBase, result: Any) -> Any:
        output, state = result
        data = output.data if isinstance(output, PackedSequence) else output
        at_last = _last_rows(subject, module, output)
        half = torch.arange(data.shape[-1], device=data.device) >= data.shape[-1] // 2
        where = half & (at_last if last else ~at_last).unsqueeze(-1)
        changed = torch.where(where, data + _noise(data), data)
        if isinstance(output, PackedSequence):
            return output._replace(data=changed), state
        return changed, state

    return disturb


def _last_rows(subject: Subject, module: RNNBase, output: Any) -> Tensor:
    """Return a mask over the rows of an output that is true at each sample's last valid step."""
    if isinstance(output, PackedSequence):
        sizes = output.batch_sizes
        ends = torch.cat([sizes[1:], sizes.new_zeros(1)])
        rows = [torch.arange(int(size)) >= int(end) for size, end in zip(sizes, ends, strict=True)]
        return torch.cat(rows).to(output.data.device)
    seq = 1 if output.dim() == 3 and module.batch_first else 0
    steps = output.shape[seq]
    step = torch.arange(steps, device=output.device)
    if output.dim() == 2:
        only: Tensor = step == steps - 1
        return only
    batch = output.shape[1 - seq]
    counts = subject.counts if subject.counts and len(subject.counts) == batch else None
    ends = torch.tensor(counts or [steps] * batch, device=output.device) - 1
    mask = step.unsqueeze(1) == ends if subject.post else (step == steps - 1).unsqueeze(1)
    both: Tensor = mask.expand(steps, batch)
    return both.t() if seq == 1 else both
