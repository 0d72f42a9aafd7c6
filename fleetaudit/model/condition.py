"""Where an expectation applies."""

from __future__ import annotations

from .base import Frozen


class Condition(Frozen, frozen=True, kw_only=True):
    """Where an expectation applies. It decides what is judged, never what runs.

    `groups` are inventory groups, any of which is enough; empty means every host. `kernel` has
    comparisons of the kernel release, such as ">=6.1, <6.12"; "" means every kernel.
    """

    groups: tuple[str, ...] = ()
    kernel: str = ""
