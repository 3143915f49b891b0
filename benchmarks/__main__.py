"""``python -m benchmarks``: all tables; ``python -m benchmarks calls``: those of one topic."""

import argparse
import importlib
import pkgutil
from collections.abc import Callable, Sequence

import benchmarks
from benchmarks.report import Table, heading
from benchmarks.timing import QUICK, Effort


def topics() -> dict[str, Callable[[Effort], list[Table]]]:
    """The modules of this package that make tables, by name."""
    names = [found.name for found in pkgutil.iter_modules(benchmarks.__path__)]
    # Importing __main__ once more, under its full name, would find no tables there either.
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module.tables for name, module in modules.items() if hasattr(module, "tables")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables that were asked for as soon as each is made."""
    found = topics()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("topics", nargs="*", help=f"any of: {', '.join(found)} (default: all)")
    parser.add_argument("--seconds", type=float, default=Effort().seconds, help="per comparison")
    parser.add_argument(
        "--quick", action="store_true", help="make the tables, time next to nothing"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.topics) - set(found):
        parser.error(f"no topic {', '.join(sorted(unknown))}; there are {', '.join(found)}")

    effort = QUICK if options.quick else Effort(seconds=options.seconds)
    print(heading(), flush=True)
    for name in options.topics or found:
        for table in found[name](effort):
            print(table, flush=True)


if __name__ == "__main__":
    main()
