"""What comes of a program of the table: what rnnkit says, and what torch does with the same."""

import ast
import warnings

import torch

import rnnkit

CATCHABLE = (RuntimeError, ValueError, TypeError)
#: What the modules that a program makes print, and what else a message never has a reason to say.
TORCHS_INSIDES = ("mat1", "mkldnn", "tensor([", "7.81")


def filled(*shape, **options):
    """Return a tensor of a number that nobody would print, in the place of ones."""
    return (torch.ones(*shape) * 7.8125).to(**options)


def statements(program):
    """Split a program into its statements, as they are written."""
    tree = ast.parse(program)
    lines = [min([one.lineno, *(d.lineno for d in getattr(one, "decorator_list", ()))])
             for one in tree.body]  # fmt: skip
    rows = program.split("\n")
    ends = [*(line - 1 for line in lines[1:]), len(rows)]
    return ["\n".join(rows[a - 1 : b]) for a, b in zip(lines, ends, strict=True)]


def run(program, nn=rnnkit.nn, **names):
    """Run a program with the names that every program of the table has."""
    torch.manual_seed(0)
    known = {"__name__": __name__, "rnnkit": rnnkit, "torch": torch, "nn": nn, **names}
    exec(program, known)  # noqa: S102 - our own


def said(program, **names):
    """Return rnnkit's error or its first warning; None if it says nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run(program, **names)
        except rnnkit.RnnkitError as error:
            return error
    told = (each.message for each in caught if isinstance(each.message, rnnkit.RnnkitWarning))
    return next(told, None)


def of_torch(program):
    """Return torch's error; None if it takes the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(program, torch.nn)
        except Exception as error:  # noqa: BLE001 - whatever torch raises is compared
            return error
    return None


def kind(theirs, ours):
    """Return what torch did, beside what rnnkit says.

    It begins as ours does, says something else, takes the program, or has no such thing.
    """
    if theirs is None:
        return "accepts"
    first = str(theirs).partition("\n")[0]
    if first and str(ours).startswith(first):
        return "says"
    return "lacks" if "keyword argument" in first or "no attribute" in first else "mumbles"
