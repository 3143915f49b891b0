"""The probes of ``verify``: what is changed, and what must not (or must) change with it."""

from collections.abc import Callable

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.probes.alone import probe_alone
from rnnkit._diagnostics.probes.batch import probe_batch
from rnnkit._diagnostics.probes.causal import probe_causal
from rnnkit._diagnostics.probes.coverage import probe_coverage
from rnnkit._diagnostics.probes.gradient import probe_gradient
from rnnkit._diagnostics.probes.memory import probe_memory
from rnnkit._diagnostics.probes.padding import probe_padding
from rnnkit._diagnostics.probes.repeatable import probe_repeatable
from rnnkit._diagnostics.probes.streaming import probe_streaming
from rnnkit._diagnostics.probes.use import probe_use

#: Each returns what holds, or raises. What is not repeatable would look like something else, so
#: that comes first.
PROBES: dict[str, Callable[[Baseline], str]] = {
    "repeatable": probe_repeatable,
    "batch": probe_batch,
    "alone": probe_alone,
    "padding": probe_padding,
    "causal": probe_causal,
    "memory": probe_memory,
    "coverage": probe_coverage,
    "use": probe_use,
    "gradient": probe_gradient,
    "streaming": probe_streaming,
}
