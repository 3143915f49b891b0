"""``python -m benchmarks``: all tables; ``python -m benchmarks calls``: those of one topic."""

import argparse
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmarks
from benchmarks.report import Table, heading, page
from benchmarks.timing import QUICK, Effort


def topics() -> dict[str, Callable[[Effort], list[Table]]]:
    """The modules of this package that make tables, by name."""
    names = [found.name for found in pkgutil.iter_modules(benchmarks.__path__)]
    # Importing __main__ once more, under its full name, would find no tables there either.
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module.tables for name, module in modules.items() if hasattr(module, "tables")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables that were asked for as soon as each is made; write them when all are."""
    found = topics()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("topics", nargs="*", help=f"any of: {', '.join(found)} (default: all)")
    parser.add_argument("--seconds", type=float, default=Effort().seconds, help="per comparison")
    parser.add_argument("--quick", action="store_true", help="a few rows, timed next to nothing")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write all tables to a page too")
    options = parser.parse_args(arguments)
    if unknown := set(options.topics) - set(found):
        parser.error(f"no topic {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    if options.write and options.topics:
        parser.error("a page has all topics: give --write without any")

    effort = QUICK if options.quick else Effort(seconds=options.seconds)
    tables: list[Table] = []
    print(heading(effort), flush=True)
    for name in options.topics or found:
        for table in found[name](effort):
            tables.append(table)
            print(table, flush=True)
    if options.write:
        before = options.write.read_text(encoding="utf-8") if options.write.exists() else ""
        options.write.write_text(page(before, effort, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
