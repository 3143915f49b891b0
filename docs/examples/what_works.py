"""What works on an LSTM of torch's, on rnnkit's, and on rnnkit's cell over the steps: tried here.

    python -m docs.examples.what_works

prints the table. Each attempt returns its result and what it should be; an exception or another
result is a no.
"""

import contextlib
import copy
import io
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

import rnnkit


class Layer(nn.Module):
    """A model that runs a layer of either namespace."""

    def __init__(self, lstm: Any) -> None:
        """Keep the layer."""
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        """Run over ``(seq, batch, feature)``."""
        output: Tensor = self.lstm(x, **options)[0]
        return output


class Unrolled(nn.Module):
    """A model that runs a cell over the steps."""

    def __init__(self, cell: rnnkit.LSTMCell) -> None:
        """Keep the cell."""
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        """Run over ``(seq, batch, feature)``."""
        return rnnkit.unroll(self.cell, x, **options)[0]


Pair = tuple[Any, Any]


def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
    """The gradients of the weights, by an output."""
    return list(torch.autograd.grad(output.square().sum(), list(model.parameters())))


def compiled(
    model: nn.Module,
    *,
    fullgraph: bool = True,
    train: bool = True,
    allow: bool = False,
    **options: Any,
) -> Pair:
    """A compiled model, and its training step if asked for."""
    torch._dynamo.reset()  # noqa: SLF001 - it has no public name
    x = sequences()
    with torch._dynamo.config.patch(allow_rnn=allow), torch.set_grad_enabled(train):  # noqa: SLF001
        output = torch.compile(model, backend="aot_eager", fullgraph=fullgraph)(x, **options)
        if not train:
            return output, model(x, **options)
        return gradients(model, output), gradients(model, model(x, **options))


def per_sample(model: nn.Module) -> Pair:
    """Each sample's gradients, all at once."""
    x = sequences()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
        output: Tensor = functional_call(model, weights, (sample.unsqueeze(1),))
        return output.square().sum()

    found = vmap(grad(loss), (None, 1))(weights, x)
    one = gradients(model, model(x[:, 2:3]))
    return [each[2] for each in found.values()], one


def ensemble(model: nn.Module) -> Pair:
    """Three models at once."""
    x = sequences()
    models = [copy.deepcopy(model) for _ in range(3)]
    state = stack_module_state(models)
    outputs = vmap(lambda *one: functional_call(model, one, (x,)))(*state)
    return outputs[0], model(x)


def second(model: nn.Module) -> Pair:
    """The gradient of a penalty on the gradient."""
    x = sequences().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    found = gradients(model, slope)
    return found, found


def forward_mode(model: nn.Module) -> Pair:
    """The directional derivative by forward-mode differentiation."""
    x = sequences()
    output, _ = jvp(model, (x,), (torch.ones_like(x),))
    return output, model(x)


def exported(model: nn.Module, axes: dict[int, Any], *, strict: bool = False) -> Pair:
    """An exported program, run on another number of steps if they were left open."""
    steps = 9 if axes else 7
    program = torch.export.export(
        Alone(model.eval()), (sequences(),), dynamic_shapes=(axes or None,), strict=strict
    )
    x = sequences(steps)
    return program.module()(x), model(x)


def to_onnx(model: nn.Module, *, steps: int, dynamo: bool) -> Pair:
    """What onnxruntime computes for so many steps of a model that was exported with seven."""
    import onnxruntime  # noqa: PLC0415 - only here

    file = io.BytesIO()
    free = {0: "seq"} if steps != 7 else None
    if dynamo:
        program: Any = torch.onnx.export(
            Alone(model.eval()), (sequences(),), dynamo=True, verbose=False,
            dynamic_shapes=free and ({0: Dim("steps", min=2, max=64)},),
        )  # fmt: skip
        program.save(file)
    else:
        torch.onnx.export(
            Alone(model.eval()), (sequences(),), file, dynamo=False, input_names=["x"],
            dynamic_axes=free and {"x": free},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue())
    x = sequences(steps)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(found), model(x)


class Alone(nn.Module):
    """A model without options, which exporters would write into a program's signature."""

    def __init__(self, model: nn.Module) -> None:
        """Keep the model."""
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Run over ``(seq, batch, feature)``."""
        output: Tensor = self.model(x)
        return output


def scripted(model: nn.Module) -> Pair:
    """A model compiled by TorchScript."""
    x = sequences()
    scripted_model = torch.jit.script(Scriptable(model.lstm) if isinstance(model, Layer) else model)
    return scripted_model(x), model(x)


class Scriptable(nn.Module):
    """A model as TorchScript takes it: without options."""

    def __init__(self, lstm: Any) -> None:
        """Keep the layer."""
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> Tensor:
        """Run over ``(seq, batch, feature)``."""
        output: Tensor = self.lstm(x)[0]
        return output


def sequences(steps: int = 7) -> Tensor:
    """Return five sequences, the same ones at every call."""
    return torch.linspace(-1, 1, steps * 15).view(steps, 5, 3)


OPEN = {0: Dim("steps", min=2, max=64)}
LENGTHS = torch.tensor([7, 5, 0, 1, 3])
RESET = torch.arange(35).view(7, 5) % 3 == 0

ATTEMPTS: dict[str, Callable[[nn.Module], Pair]] = {
    "torch.compile, a training step": lambda m: compiled(m, fullgraph=False),
    "fullgraph=True": lambda m: compiled(m, train=False),
    "fullgraph=True, a training step": compiled,
    "  with lengths=": lambda m: compiled(m, lengths=LENGTHS),
    "  with reset=": lambda m: compiled(m, reset=RESET),
    "  with allow_rnn": lambda m: compiled(m, train=False, allow=True),
    "  with allow_rnn, a training step": lambda m: compiled(m, allow=True),
    "  with allow_rnn and lengths=": lambda m: compiled(m, allow=True, lengths=LENGTHS),
    "  with allow_rnn and reset=": lambda m: compiled(m, allow=True, reset=RESET),
    "torch.export": lambda m: exported(m, {}),
    "torch.export, any number of steps": lambda m: exported(m, OPEN),
    "  the same, strict=True": lambda m: exported(m, OPEN, strict=True),
    "ONNX, the older exporter, any steps": lambda m: to_onnx(m, steps=9, dynamo=False),
    "ONNX, the newer exporter": lambda m: to_onnx(m, steps=7, dynamo=True),
    "  the same, any number of steps": lambda m: to_onnx(m, steps=9, dynamo=True),
    "torch.jit.script": scripted,
    "per-sample gradients (vmap of grad)": per_sample,
    "an ensemble (vmap over weights)": ensemble,
    "double backward": second,
    "forward-mode derivative": forward_mode,
}


def works(attempt: Callable[[nn.Module], Pair], model: nn.Module) -> bool:
    """Return whether an attempt gives what it should."""
    try:
        found, expected = attempt(model)
        torch.testing.assert_close(found, expected)
    except Exception:  # noqa: BLE001 - any exception is a no
        return False
    return True


@contextlib.contextmanager
def quiet() -> Any:
    """Keep what compilers say of their failures away: it is in the table."""
    logging.disable(logging.CRITICAL)
    with (
        open(os.devnull, "w") as nowhere,  # noqa: PTH123
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            torch._dynamo.reset()  # noqa: SLF001


HEAD = f"{'':<36}{'torch.nn.LSTM':<16}{'rnnkit.LSTM':<14}unroll(LSTMCell)"


def line(name: str) -> str:
    """Try one thing and write its line of the table."""
    torch.manual_seed(0)
    ours = rnnkit.LSTM(3, 4)
    models = (Layer(nn.LSTM(3, 4)), Layer(ours), Unrolled(ours.cells()[0]))
    with quiet():
        first, middle, last = ("yes" if works(ATTEMPTS[name], model) else "no" for model in models)
    return f"{name:<36}{first:<16}{middle:<14}{last}"


def table() -> str:
    """Try everything and write the table."""
    return "\n".join([HEAD, *map(line, ATTEMPTS)])


if __name__ == "__main__":
    print(table())  # noqa: T201 - what it is for
