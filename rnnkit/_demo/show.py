"""Run the demonstration and print it."""

import argparse
import importlib.util
import platform
import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch

from rnnkit._demo.listening import Outcome, listen, listen_in_child
from rnnkit._demo.mistakes import FEATURES, HIDDEN, MISTAKES, LastStep, Mistake
from rnnkit._demo.recordings import load
from rnnkit._diagnostics.verify import verify

PICTURE = "rnnkit-report.png"
#: The columns of a terminal, and the labels of a row, below whose text a longer line goes on.
COLUMNS = 80
LABELS = re.compile(r" *(?:\S+ {2,}){0,2}")


def say(text: str, style: str = "") -> None:
    """Print lines, in one of rich's styles if it is installed and this is a terminal."""
    text = "\n".join(map(folded, text.split("\n")))
    if importlib.util.find_spec("rich") is None:
        print(text, flush=True)
        return
    from rich.console import Console  # noqa: PLC0415 - an optional extra

    Console(highlight=False, markup=False, emoji=False).print(text, style=style, soft_wrap=True)


def folded(line: str) -> str:
    """Break a line that is longer than a terminal; it goes on below the text of its row."""
    labels = LABELS.match(line)
    indent = " " * len(labels[0] if labels else "")
    return textwrap.fill(
        line,
        COLUMNS,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Compared(NamedTuple):
    """What torch.nn and rnnkit do with a mistake, and what it costs if torch.nn says nothing."""

    number: int
    mistake: Mistake
    theirs: Outcome
    ours: Outcome
    cost: str = ""

    def tell(self) -> None:
        """Print the mistake in full."""
        say(f"\n\nMistake {self.number}: {self.mistake.title}\n", "bold")
        say(textwrap.indent(textwrap.fill(self.mistake.because, 78), "  "))
        say(f"\n  wrong:  {self.mistake.wrong}\n  right:  {self.mistake.right}")
        say(f"\n  torch.nn:  {self.theirs}{self.cost and f', {self.cost}'}", "red")
        say(f"\nrnnkit.{self.ours}", "green")


def show_silent(nn: ModuleType) -> Iterator[Compared]:
    """Print a row for each mistake that torch.nn trains on: its losses, and what it costs."""
    say(
        f"   {'mistake':<30}{'training loss':<14}{'accuracy':<9}{'corrected':<10}rnnkit",
        "bold",
    )
    for number, mistake in enumerate(MISTAKES, 1):
        if not mistake.silent:
            continue
        theirs = listen(partial(mistake.run, torch.nn))
        right = listen(partial(mistake.run, torch.nn, right=True)).value.accuracy
        ours = listen(partial(mistake.run, nn))
        first_loss, last_loss, accuracy = theirs.value
        losses = f"{first_loss:.2f} to {last_loss:.2f}"
        say(
            f"{number}  {mistake.title:<30}{losses:<14}{accuracy:<9.1%}{right:<10.1%}"
            f"{ours.kind or 'silence'}"
        )
        cost = f"accuracy {accuracy:.1%} instead of {right:.1%}"
        yield Compared(number, mistake, theirs, ours, cost)


def show_loud(nn: ModuleType) -> Iterator[Compared]:
    """Print a row for each mistake that ends a program with torch.nn."""
    say(f"   {'mistake':<38}{'torch.nn':<23}rnnkit", "bold")
    for number, mistake in enumerate(MISTAKES, 1):
        if mistake.silent:
            continue
        child = partial(listen_in_child, "--namespace", "torch.nn", "--mistake", str(number))
        theirs = child() if mistake.fatal else listen(partial(mistake.run, torch.nn))
        ours = listen(partial(mistake.run, nn))
        say(f"{number}  {mistake.title:<38}{theirs.kind or 'silence':<23}{ours.kind or 'silence'}")
        yield Compared(number, mistake, theirs, ours)


def show(nn: ModuleType, *, full: bool) -> None:
    """Print what torch.nn and ``nn`` do with each mistake, then one mistake in full, or all."""
    say("\nTwo mistakes show nowhere in torch.nn: no error, and the training loss falls.")
    say("Only the accuracy on the test recordings is lower than in the corrected program.\n")
    silent = [*show_silent(nn)]
    say("\nFour end the program: torch.nn names a symptom or crashes, rnnkit the cause.")
    say("The first runs in a child process, which will crash.\n")
    loud = [*show_loud(nn)]
    told = [*silent, *loud] if full else silent[1:]
    for compared in told:
        compared.tell()


def find(*, save: bool) -> None:
    """Print what ``verify`` reports of mistake 1, and draw it if asked to."""
    few = load()[0].take(slice(8))
    report = verify(LastStep(torch.nn.LSTM(FEATURES, HIDDEN, 2, True)), *few[:2], raises=False)
    say("\n\nNo shape shows mistake 1; rnnkit warned of how it is written. verify measures", "bold")
    say("on which recordings an answer depends (ok: right, !!: wrong, --: not checked):\n", "bold")
    say(">>> print(rnnkit.verify(model, recordings, lengths, raises=False))")
    say(str(report), "green")
    if save:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra

        mpl.use("Agg")
        report.plot().savefig(PICTURE, dpi=150)
        say(f"\nWhich sample depends on which, as a picture: {PICTURE}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        prog="python -m rnnkit",
        description="Make six mistakes with torch.nn and with rnnkit, on recorded speech.",
        epilog="python -m rnnkit explain CODE: what the code of an error means.",
    )
    add = parser.add_argument
    add("--all", action="store_true", help="show every mistake in full")
    add("--save", action="store_true", help=f"write {PICTURE} (needs matplotlib)")
    add("--mistake", type=int, choices=range(1, 7), help="make only this one, uncaught")
    add("--namespace", choices=("rnnkit.nn", "torch.nn"), default="rnnkit.nn")
    given = parser.parse_args(argv)
    if given.save and importlib.util.find_spec("matplotlib") is None:
        parser.error('--save needs matplotlib: pip install "rnnkit[plot]"')
    nn = importlib.import_module(given.namespace)
    # A bug report should name the versions.
    packages = map(importlib.import_module, ("rnnkit", "torch", "jaxtyping", "beartype"))
    versions = (f"{package.__name__} {package.__version__}" for package in packages)
    say(", ".join([*versions, f"python {platform.python_version()}"]))
    if given.mistake is not None:
        trained = MISTAKES[given.mistake - 1].run(nn)
        say("no error" if trained is None else f"no error; test accuracy {trained.accuracy:.1%}")
        return
    say("\nSix mistakes on recorded speech: a classifier of speakers trains on 270")
    say("recordings and is tested on 370.")
    show(nn, full=given.all)
    find(save=given.save)
    say("\n\nWhat a finding means:   python -m rnnkit explain batch")
    say("Every mistake in full:  python -m rnnkit --all")
    say("One of them, uncaught:  python -m rnnkit --mistake 3 --namespace torch.nn")
