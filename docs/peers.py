"""Run verify and its peers on the gallery: ``nox -s peers`` writes the tables of ``peers.md``.

``nox -s peers -- FOLDER...`` prints the tables of the cases in folders instead, see
``docs/peer_cases.py``.

Each tool is given a wrong model and its correct twin, by the arguments that suit it best and that
need no code written for the model. A mistake is found if the wrong twin fails a check that the
right one passes.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest_torch
import torch
import torchtest2
from pytest_torch.training import assert_all_params_receive_grad, assert_gradients_finite
from torch import Tensor, nn

import rnnkit
from benchmarks.report import Table
from docs.mistakes import GALLERY, Mistake, mistakes
from docs.peer_cases import Pair, Subject, pairs_in
from rnnkit._demo.listening import listen
from rnnkit._diagnostics.run.outputs import leaves

#: A cell for what was tried, and found nothing.
NOTHING = "\N{EN DASH}"
PAGE = GALLERY.parent / "peers.md"
MARK = "<!-- What follows is written by `nox -s peers`. -->\n"


@dataclass(frozen=True)
class Said:
    """What a tool said of a model: checks that failed, and those that gave a hint."""

    failed: tuple[str, ...] = ()
    hinted: tuple[str, ...] = ()


def by_verify(subject: Subject) -> Said:
    """Run ``rnnkit.verify``."""
    report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **subject.options)
    return Said(
        tuple(found.probe for found in report.findings), tuple(["a note"] if report.notes else [])
    )


def out_batch_dim(subject: Subject) -> int | None:
    """Return the batch axis of the first output that has one."""
    report = rnnkit.verify(subject.model, *subject.inputs, raises=False, **subject.options)
    outputs = (axes for name, axes in report.axes.items() if name.startswith("output"))
    return next((axes.index("batch") for axes in outputs if "batch" in axes), None)


def by_torchtest2(subject: Subject) -> Said:
    """Run all checks that need no loss; it makes one of the outputs by itself."""
    report = torchtest2.check_model(
        subject.model,
        subject.inputs,
        batch_dim=subject.options.get("batch_dim", 0),
        output_batch_dim=out_batch_dim(subject),
    )
    by_status = {
        status: tuple(result.name for result in report.results if result.status.name == status)
        for status in ("FAIL", "WARN")
    }
    return Said(by_status["FAIL"], by_status["WARN"])


class BatchFirst(nn.Module):
    """A model whose batch is on another axis, for a tool that wants it on the first."""

    def __init__(self, model: nn.Module, *, inputs: bool, outputs: bool) -> None:
        """Wrap it; say whether inputs and outputs have the batch on axis 1."""
        super().__init__()
        self.model = model
        self.turns = (inputs, outputs)

    def forward(self, *inputs: Any) -> Any:
        """Call it with both axes turned."""
        before, after = self.turns
        output = self.model(*(map(turned, inputs) if before else inputs))
        return turned(output) if after else output


def turned(each: Any) -> Any:
    """Exchange the first two axes of tensors that have two."""
    if isinstance(each, tuple):
        return tuple(map(turned, each))
    return each.transpose(0, 1) if isinstance(each, Tensor) and each.dim() > 1 else each


def by_pytest_torch(subject: Subject) -> Said:
    """Run the contract, the layout of memory and the gradients, each with what a model needs."""
    model = subject.model
    inputs = subject.inputs
    before = subject.options.get("batch_dim") == 1
    after = out_batch_dim(subject) == 1
    inputs = tuple(map(turned, inputs)) if before else inputs
    model = BatchFirst(model, inputs=before, outputs=after) if before or after else model
    contract = pytest_torch.check_inference_contract(model.eval(), inputs, raise_on_failure=False)
    failed = [result.name for result in contract.failures]
    checks: dict[str, Callable[[], Any]] = {
        "layout": lambda: pytest_torch.assert_layout_invariant(model, inputs),
        "gradients_finite": lambda: assert_gradients_finite(model.train(), inputs, _loss),
    }
    # One part of the model at a time, so that an alarm about one hides no finding about another.
    parts = [name for name, _ in subject.model.named_children()]
    for part in parts or [""]:
        others = [f"*{name}.*" for name in parts if name != part]
        checks[f"params_receive_grad {part}".strip()] = lambda others=others: (
            assert_all_params_receive_grad(model.train(), inputs, _loss, ignore=others)
        )
    for name, check in checks.items():
        try:
            check()
        except AssertionError:
            failed.append(name)
        except Exception as error:  # noqa: BLE001 - whatever a model raises where a tool runs it
            failed.append(f"{name} ({type(error).__name__})")
    return Said(tuple(failed))


def _loss(output: Any, *_: Any) -> Tensor:
    """Return a weighted sum of an output; a plain one is constant where that is normed."""
    parts = [
        leaf for leaf in leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    generator = torch.Generator().manual_seed(0)
    return torch.stack(
        [(part * torch.rand(part.shape, generator=generator)).sum() for part in parts]
    ).sum()


TOOLS: dict[str, Callable[[Subject], Said]] = {
    "verify": by_verify,
    "torchtest2": by_torchtest2,
    "pytest-torch": by_pytest_torch,
}


def subject(mistake: Mistake) -> Subject | None:
    """Make the model of a section; None if it is no module."""
    options = f"dict({mistake.how.get('verify', '')})"
    how = f"(({mistake.how['model']}), ({mistake.how['inputs']},), {options})"
    model, inputs, known = mistake.ready(how, torch.nn)()
    return Subject(model, inputs, known) if isinstance(model, nn.Module) else None


def said_by(tool: Callable[[Subject], Said], make: Callable[[], Subject]) -> Said:
    """Let a tool judge a model; what it raises itself is a failed check."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        made = make()
        try:
            return tool(made)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises
            return Said((type(error).__name__,))


def silent() -> Iterator[Pair]:
    """Yield the mistakes of the gallery that torch runs without a word, and computes wrongly.

    What torch says only on a GPU costs time there, and the numbers are right.
    """
    for there in mistakes().values():
        for mistake in there:
            runs = not listen(mistake.ready(mistake.call, torch.nn)).kind
            if runs and "on_gpu" not in mistake.how and subject(mistake) is not None:
                yield Pair(mistake.link, _maker(mistake), _maker(mistake.fixed()))


def _maker(mistake: Mistake) -> Callable[[], Subject]:
    """Return what makes the model of a section, which is a module."""

    def make() -> Subject:
        made = subject(mistake)
        if made is None:
            message = f"{mistake.link} is no module"
            raise TypeError(message)
        return made

    return make


@dataclass(frozen=True)
class Verdict:
    """What a tool said of a pair: what tells the twins apart, and alarms on the right one."""

    found: tuple[str, ...]
    hinted: tuple[str, ...]
    alarms: tuple[str, ...]

    def __str__(self) -> str:
        """Write a cell of the table."""
        cell = NOTHING
        if self.hinted:
            cell = f"hint: {', '.join(self.hinted)}"
        if self.found:
            cell = f"✓ {', '.join(self.found)}"
        return f"{cell}; correct twin: {', '.join(self.alarms)}" if self.alarms else cell


def judge(tool: Callable[[Subject], Said], pair: Pair) -> Verdict:
    """Let a tool judge a mistake and its correct twin."""
    wrong = said_by(tool, pair.wrong)
    right = said_by(tool, pair.right)
    return Verdict(
        tuple(name for name in wrong.failed if name not in right.failed),
        tuple(name for name in wrong.hinted if name not in right.hinted),
        right.failed,
    )


def tables(pairs: Iterable[Pair]) -> str:
    """Judge all pairs with all tools; write what came out."""
    rows = [
        (pair.name, {name: judge(tool, pair) for name, tool in TOOLS.items()}) for pair in pairs
    ]
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("rnnkit", "torchtest2", "pytest-torch")
    )
    made = f"{datetime.now(UTC):%Y-%m-%d}, {versions}, torch {torch.__version__}"
    counts = [
        (
            name,
            str(sum(bool(row[name].found) for _, row in rows)),
            str(sum(bool(row[name].hinted and not row[name].found) for _, row in rows)),
            str(sum(bool(row[name].alarms) for _, row in rows)),
        )
        for name in TOOLS
    ]
    ours = []
    for link, row in rows:
        if not any(row[name].found for name in TOOLS):
            ours.append(f"{link} (`verify` prints a note)" if row["verify"].hinted else link)
    theirs = [
        f"- {link}: {name}, {', '.join(row[name].found)}"
        for link, row in rows
        for name in TOOLS
        if name != "verify" and row[name].found and not row["verify"].found
    ]
    summary = Table(
        f"{len(rows)} pairs", f"Made {made}.", ("tool", "found", "hinted", "alarms"), counts
    )
    each = Table(
        "Pair by pair",
        "Each cell lists the checks that fail on the wrong model only; after 'correct twin' it\n"
        "lists the checks that fail on the correct model.",
        ("mistake", *TOOLS),
        [(link, *(str(row[name]) for name in TOOLS)) for link, row in rows],
    )
    left = ["## Found by a peer, and not by verify\n", *(theirs or ["None of these."]), ""]
    none = ["## Found by none\n", *(f"- {link}" for link in ours), ""]
    return "\n".join([str(summary), str(each), *left, *none]).replace("](", "](gallery/")


def main() -> None:
    """Print the tables of folders, or write those of the gallery into its page."""
    folders = [Path(name) for name in sys.argv[1:]]
    for folder in folders:
        sys.stdout.write(f"# {folder.name}\n\n{tables(pairs_in(folder))}\n")
    if not folders:
        written = tables(silent())
        PAGE.write_text(f"{PAGE.read_text().partition(MARK)[0]}{MARK}\n{written}")
        sys.stdout.write(written)


if __name__ == "__main__":
    main()
