"""A second opinion in float64: half precision rounds so much that a leak may hide behind it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import eps_of, is_number
from rnnkit._diagnostics.isolation import Session, session
from rnnkit._diagnostics.report import with_lines

#: Of more weights than this, a copy in float64 would be too large.
WEIGHTS = 2**25

#: What turns numbers into other ones, by the names of methods.
CASTS = {"half", "bfloat16", "float"}


class Widened(TorchFunctionMode):
    """Computes in float64 what would be computed in less; autocast leaves float64 alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function with float64 where it is asked for less."""
        if getattr(func, "__name__", "") in CASTS and args and isinstance(args[0], Tensor):
            return args[0].double()
        args, kwargs = pytree.tree_map_only(torch.dtype, _wide, (args, kwargs or {}))
        return pytree.tree_map_only(Tensor, _double, func(*args, **kwargs))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype.is_floating_point else dtype


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if is_number(tensor) and not tensor.is_nested else tensor


def second_opinion(baseline: Baseline, probe: Callable[[Baseline], None]) -> None:
    """Run a probe again on a copy in float64, if half precision hid a difference.

    A model that does not run so is left with the first opinion.

    Raises:
        LeakError: if the probe finds something there.
    """
    if not baseline.rounding.hidden or not _is_coarse(baseline):
        return
    try:
        with _opened(baseline.session) as opened:
            found = _judge(baseline, opened, probe)
            baseline.session.passes += opened.passes
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return
    if found is not None:
        text = "on a copy in float64: in half precision rounding alone may do as much"
        raise with_lines(found, [("seen", text)])


def _is_coarse(baseline: Baseline) -> bool:
    """Say whether the outputs, or what they were computed in, are coarser than float32.

    It costs no run: where nothing had to be measured, nothing was hidden by half precision.
    """
    measured = baseline.rounding.__dict__.get("computation")
    coarse = [measured.eps if measured else 0.0]
    coarse += [eps_of(baseline.normal[index]) for index, _ in baseline.judged()]
    return max(coarse) > torch.finfo(torch.float32).eps


@contextmanager
def _opened(opened: Session) -> Iterator[Session]:
    """Open a session on a copy in float64."""
    weights = [*opened.model.parameters(), *opened.model.buffers()]
    if sum(weight.numel() for weight in weights) > WEIGHTS:
        message = "too large for a copy in float64"
        raise MemoryError(message)
    copy, _ = opened.pristine.copy()
    with session(copy.double(), opened.call if opened.is_wrapped else None) as wide, Widened():
        yield wide


def _judge(
    baseline: Baseline, opened: Session, probe: Callable[[Baseline], None]
) -> LeakError | None:
    leaves = [_double(leaf) if isinstance(leaf, Tensor) else leaf for leaf in baseline.batch.leaves]
    batch = baseline.batch.with_leaves(leaves)
    wide = Baseline(opened, batch, post=baseline.post, out_batch_dim=None, out_seq_dim=None)
    if [_shape(leaf) for leaf in wide.normal] != [_shape(leaf) for leaf in baseline.normal]:
        return None
    wide.take_axes(baseline)
    wide.report.checks = list(baseline.report.checks)
    try:
        probe(wide)
    except LeakError as error:
        return error
    return None


def _shape(leaf: Any) -> Any:
    return tuple(leaf.shape) if isinstance(leaf, Tensor) else None
