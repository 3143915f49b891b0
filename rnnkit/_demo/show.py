"""Run the demonstration and print it."""

import argparse
import importlib.util
import platform
import textwrap
from collections.abc import Sequence
from functools import partial
from types import ModuleType

import torch

from rnnkit._demo.listening import listen, listen_in_child
from rnnkit._demo.mistakes import FEATURES, HIDDEN, MISTAKES, LastStep
from rnnkit._demo.recordings import load
from rnnkit._diagnostics.verify import verify

PICTURE = "rnnkit-report.png"


def say(text: str, style: str = "") -> None:
    """Print lines, in one of rich's styles if it is installed and this is a terminal."""
    if importlib.util.find_spec("rich") is None:
        print(text, flush=True)
        return
    from rich.console import Console  # noqa: PLC0415 - an optional extra

    Console(highlight=False, markup=False, emoji=False).print(text, style=style, soft_wrap=True)


def show(nn: ModuleType, *, full: bool) -> None:
    """Print a table of what torch.nn and ``nn`` do with each mistake, then one mistake or all."""
    say(f"   {'mistake':<38}{'torch.nn':<23}rnnkit", "bold")
    compared = []
    for number, mistake in enumerate(MISTAKES, 1):
        child = partial(listen_in_child, "--namespace", "torch.nn", "--mistake", str(number))
        theirs = child() if mistake.fatal else listen(partial(mistake.run, torch.nn))
        ours = listen(partial(mistake.run, nn))
        cost = ""
        say(f"{number}  {mistake.title:<38}{theirs.kind or 'silence':<23}{ours.kind or 'silence'}")
        if theirs.value is not None:
            right = mistake.run(torch.nn, right=True)
            cost = f"accuracy {theirs.value:.1%} instead of {right:.1%}"
            say(f"   {'':<38}{cost}")
        compared.append((number, mistake, theirs, ours, cost))
    shown = compared if full else compared[1:2]
    for number, mistake, theirs, ours, cost in shown:
        say(f"\n\nMistake {number}: {mistake.title}\n", "bold")
        say(textwrap.indent(textwrap.fill(mistake.because, 78), "  "))
        say(f"\n  wrong:  {mistake.wrong}\n  right:  {mistake.right}")
        say(f"\n  torch.nn:  {theirs}{cost and f', {cost}'}", "red")
        say("\n" + textwrap.indent(f"rnnkit.{ours}", "  "), "green")


def find(*, save: bool) -> None:
    """Print what ``verify`` reports of mistake 1, and draw it if asked to."""
    few = load()[0].take(slice(8))
    report = verify(LastStep(torch.nn.LSTM(FEATURES, HIDDEN, 2, True)), *few[:2], raises=False)
    say("\n\nNo shape shows mistake 1. verify finds it, before any training:\n", "bold")
    say("  >>> report = rnnkit.verify(model, recordings, lengths, raises=False)")
    for name, value in (("report.findings[0]", report.findings[0]), ("report", report)):
        say(f"  >>> print({name})")
        say(textwrap.indent(str(value), "  "), "green")
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
        share = MISTAKES[given.mistake - 1].run(nn)
        say("no error" if share is None else f"no error; test accuracy {share:.1%}")
        return
    say("\nSix mistakes on recorded speech: 270 recordings train a classifier of speakers,")
    say("370 test it. Mistake 3 runs in a child process, which will crash.\n")
    show(nn, full=given.all)
    find(save=given.save)
    say("\n\nEvery mistake in full:  python -m rnnkit --all")
    say("One of them, uncaught:  python -m rnnkit --mistake 3 --namespace torch.nn")
