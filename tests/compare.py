"""What another checkout says differently: ``python -m tests.compare ../other``.

It asks both checkouts for the reports of ``verify`` on the corpus, right models and wrong ones, and on
the cases in ``--cases FOLDER``, and for the messages of ``--calls 8000`` random wrong calls. It prints
a table of the differences by kind, then each of them.

A case of a folder is a file with ``model(nn, fixed)``, which returns a dictionary of ``net``,
``inputs`` and ``options``; or with classes ``Wrong`` and ``Right`` and ``told(caller, model)``, which
calls ``caller.verify`` as ``rnnkit.verify``.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]

#: What is said of a case: texts by kind.
Said = dict[str, list[str]]

#: Kinds of what a report says, in the order of the table.
KINDS = ("crash", "finding", "cause", "fix", "outcome", "skipped", "note", "passes", "message")
#: What changes with a line elsewhere, or from run to run.
VARYING = (r"\.py:\d+", r"(?<=difference )[\d.e+-]+")


def said_of(verify: Callable[[], Any]) -> Said:
    """Return what a report says, by kind."""
    try:
        report = verify()
    except Exception as error:  # noqa: BLE001 - whatever it raises is compared
        return {"crash": [f"{type(error).__name__}: {str(error).splitlines()[0]}"]}
    rows = [line.split(maxsplit=1) for one in report.findings for line in str(one).splitlines()[1:]]
    labels = [(row[0], row[-1]) for row in rows if row]
    return {
        "finding": [str(one).splitlines()[0] for one in report.findings],
        "cause": [text for label, text in labels if label in ("cause", "likely")],
        "fix": [text for label, text in labels if label == "fix"],
        "outcome": [f"{one.probe} {one.outcome}" for one in report.checks],
        "skipped": [f"{one.probe}: {one.detail}" for one in report.checks if one.gap],
        "note": list(report.notes),
        "passes": [str(report.passes)],
    }


def of_corpus() -> Iterator[tuple[str, Said]]:
    """Yield what is said of each model of the project's own corpus."""
    from tests.diagnostics.corpus.case import CASES  # noqa: PLC0415 - of the checkout that is asked
    from tests.diagnostics.corpus.runner import ask  # noqa: PLC0415

    for case in CASES:
        sides = (True, False) if case.is_pair else (True,)
        for right in sides:
            name = f"{case.name} ({'right' if right else 'wrong'})"
            yield name, said_of(lambda case=case, right=right: ask(case, right=right).report)


def of_folder(folder: pathlib.Path) -> Iterator[tuple[str, Said]]:
    """Yield what is said of each case of a folder."""
    import torch  # noqa: PLC0415 - as rnnkit, of the checkout that is asked

    import rnnkit  # noqa: PLC0415

    sys.path.insert(0, str(folder))
    for path in sorted(folder.glob("[a-z0-9]*.py")):
        spec: Any = importlib.util.spec_from_file_location(path.stem, path)
        module: Any = importlib.util.module_from_spec(spec)
        text = path.read_text("utf-8")
        if "def model(" not in text and "class Right" not in text:
            continue
        spec.loader.exec_module(module)
        for right in (True, False):
            torch.manual_seed(0)

            def verify(module=module, right: bool = right):
                if hasattr(module, "model"):
                    made = module.model(torch.nn, right)
                    options = {**made["options"], "raises": False}
                    return rnnkit.verify(made["net"], *made["inputs"], **options)
                return module.told(Quiet, (module.Right if right else module.Wrong)())

            yield f"{folder.name}/{path.stem} ({'right' if right else 'wrong'})", said_of(verify)


class Quiet:
    """What a case of a folder calls ``verify`` by: findings are in the report."""

    @staticmethod
    def verify(*args, **options):
        """Verify a model."""
        import rnnkit  # noqa: PLC0415

        return rnnkit.verify(*args, **{**options, "raises": False})


def of_calls(count: int) -> Iterator[tuple[str, Said]]:
    """Yield the message of each of so many random wrong calls, the same ones each time."""
    from tests.fuzz.wrong_calls import messages  # noqa: PLC0415 - of the checkout that is asked

    for call, message in messages(count):
        yield call, {"message": [message]}


def collect(folders: list[pathlib.Path], calls: int, *, corpus: bool) -> dict[str, Said]:
    """Return all that this checkout says, by case."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    found: dict[str, Said] = {}
    sources = [*map(of_folder, folders), of_calls(calls)]
    if corpus:
        sources.append(of_corpus())
    for source in sources:
        found.update(source)
    return found


def asked(checkout: pathlib.Path, arguments: list[str]) -> dict[str, Said]:
    """Return what a checkout says, asked in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-W", "ignore", __file__, "--collect", *arguments]
    result = subprocess.run(command, env=env, cwd=checkout, capture_output=True, check=False)  # noqa: S603
    if result.returncode:
        sys.exit(f"{checkout}: {result.stderr.decode()[-2000:]}")
    found: dict[str, Said] = json.loads(result.stdout.decode().splitlines()[-1])
    return found


def differences(
    before: dict[str, Said], after: dict[str, Said]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield case, kind, and what it was and is, of each text that differs."""
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            yield name, "crash", *("there" if name in one else "-" for one in (before, after))
            continue
        for kind in KINDS:
            pair = [list(map(_steady, one[name].get(kind, []))) for one in (before, after)]
            gone = [text for text in pair[0] if text not in pair[1]]
            new = [text for text in pair[1] if text not in pair[0]]
            if gone or new:
                yield name, kind, "; ".join(gone) or "-", "; ".join(new) or "-"


def _steady(text: str) -> str:
    """Return a text without what varies."""
    for pattern in VARYING:
        text = re.sub(pattern, "...", text)
    return text


def main():
    """Compare two checkouts, and print what differs."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("other", nargs="?", type=pathlib.Path)
    parser.add_argument("--cases", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--calls", default=0, type=int)
    parser.add_argument("--no-corpus", action="store_true", help="leave out the project's own")
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    folders = [folder.resolve() for folder in given.cases]
    if given.collect:
        warnings.simplefilter("ignore")
        print(json.dumps(collect(folders, given.calls, corpus=not given.no_corpus)))
        return
    if given.other is None:
        parser.error("which checkout is the other one?")
    arguments = [part for folder in folders for part in ("--cases", str(folder))]
    arguments += ["--calls", str(given.calls)]
    if given.no_corpus:
        arguments.append("--no-corpus")
    before, after = (asked(one, arguments) for one in (given.other.resolve(), ROOT))
    found = list(differences(before, after))
    counts = Counter(kind for _, kind, *_ in found)
    print(f"{len(after)} cases and calls, {len({name for name, *_ in found})} differ")
    for kind in KINDS:
        print(f"  {kind:<8} {counts[kind]:>5}")
    for name, kind, was, now in found:
        print(f"\n{name}: {kind}\n  - {was}\n  + {now}")


if __name__ == "__main__":
    main()
