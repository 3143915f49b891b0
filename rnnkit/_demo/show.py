"""Run the demonstration and print it."""

import argparse
import functools
import importlib.metadata
import importlib.util
import os
import platform
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType

import torch

from rnnkit._demo.listening import Outcome, listen, listen_in_child
from rnnkit._demo.mistakes import FEATURES, HIDDEN, MISTAKES, LastStep, Mistake
from rnnkit._demo.recordings import load
from rnnkit._diagnostics.dependency_map import dependency_map
from rnnkit._diagnostics.verify import verify

COLUMNS = 80
#: The mistake that is shown in full without ``--all``.
SHOWN = 2
PICTURE = "rnnkit-map.png"


def say(text: str, style: str = "") -> None:
    """Print lines; on a terminal that has rich, in one of its styles."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    if plain or importlib.util.find_spec("rich") is None:
        print(text, flush=True)
        return
    from rich.console import Console  # noqa: PLC0415 - an optional extra

    Console(highlight=False, markup=False, emoji=False).print(text, style=style, soft_wrap=True)


def versions() -> str:
    """Return the versions that a bug report should name."""
    found = []
    for name in ("rnnkit", "torch", "jaxtyping", "beartype"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            found.append(f"{name} (not installed)")
    return ", ".join([*found, f"python {platform.python_version()}"])


def compare(number: int, mistake: Mistake, nn: ModuleType) -> tuple[Outcome, Outcome, str]:
    """Make a mistake with torch.nn and with ``nn``; return the outcomes and the accuracies."""
    if mistake.fatal:
        say(f"{number}  {mistake.title}: in a child process, which will crash")
        theirs = listen_in_child("--namespace", "torch.nn", "--mistake", str(number))
    else:
        theirs = listen(functools.partial(mistake.run, torch.nn))
    ours = listen(functools.partial(mistake.run, nn))
    cost = ""
    if theirs.value is not None:
        right = mistake.run(torch.nn, right=True)
        cost = f"accuracy {theirs.value:.1%} instead of {right:.1%}"
    return theirs, ours, cost


def show(nn: ModuleType, *, full: bool) -> None:
    """Print a table of what torch.nn and ``nn`` do with each mistake, then one mistake or all."""
    say(f"   {'mistake':<38}{'torch.nn':<23}rnnkit", "bold")
    compared = []
    for number, mistake in enumerate(MISTAKES, 1):
        theirs, ours, cost = compare(number, mistake, nn)
        compared.append((number, mistake, theirs, ours, cost))
        say(f"{number}  {mistake.title:<38}{theirs.kind or 'silence':<23}{ours.kind or 'silence'}")
        if cost:
            say(f"   {'':<38}{cost}")
    for number, mistake, theirs, ours, cost in compared if full else compared[SHOWN - 1 : SHOWN]:
        say(f"\n\nMistake {number}: {mistake.title}\n", "bold")
        say(textwrap.fill(mistake.because, COLUMNS, initial_indent="  ", subsequent_indent="  "))
        say(f"\n  wrong:  {mistake.wrong}\n  right:  {mistake.right}")
        say(f"\n  torch.nn:  {theirs}{cost and f', {cost}'}", "red")
        say("\n" + textwrap.indent(f"rnnkit.{ours}", "  "), "green")


def find(*, save: bool) -> None:
    """Print what ``verify`` finds in mistake 1, and save its picture if asked to."""
    train, _ = load()
    few = train.take(slice(8))
    model = LastStep(torch.nn.LSTM(FEATURES, HIDDEN, 2, True))
    say("\n\nNo shape shows mistake 1. The dependencies do:\n", "bold")
    say("  >>> rnnkit.verify(model, recordings, lengths)")
    found = listen(functools.partial(verify, model, few.input, few.lengths))
    say(textwrap.indent(f"rnnkit.{found}", "  "), "green")
    if save:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra

        mpl.use("Agg")
        axes = dependency_map(model, few.input, few.lengths).plot(
            "independent", "LSTM(12, 40, 2, True): samples read samples"
        )
        axes.figure.savefig(PICTURE, dpi=150)
        say(f"\nWhich sample depends on which, as a picture: {PICTURE}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        prog="python -m rnnkit",
        description="Make six mistakes with torch.nn and with rnnkit, on recorded speech.",
        epilog="python -m rnnkit explain CODE: what the code of an error means.",
    )
    parser.add_argument("--all", action="store_true", help="show every mistake in full")
    parser.add_argument("--save", action="store_true", help=f"write {PICTURE} (needs matplotlib)")
    numbers = range(1, len(MISTAKES) + 1)
    parser.add_argument("--mistake", type=int, choices=numbers, help="make only this one, uncaught")
    parser.add_argument("--namespace", choices=("rnnkit.nn", "torch.nn"), default="rnnkit.nn")
    given = parser.parse_args(argv)
    if given.save and importlib.util.find_spec("matplotlib") is None:
        parser.error('--save needs matplotlib: pip install "rnnkit[plot]"')
    nn = importlib.import_module(given.namespace)
    say(textwrap.fill(versions(), COLUMNS))
    if given.mistake is not None:
        share = MISTAKES[given.mistake - 1].run(nn)
        say("no error" if share is None else f"no error; test accuracy {share:.1%}")
        return
    train, test = load()
    say(
        f"\nSix mistakes on recorded speech: {len(train.lengths)} recordings to train a classifier "
        f"of speakers,\n{len(test.lengths)} to test it.\n"
    )
    show(nn, full=given.all)
    find(save=given.save)
    say(
        "\n\nEvery mistake in full: python -m rnnkit --all"
        "\nOne of them, uncaught:    python -m rnnkit --mistake 3 --namespace torch.nn"
    )
