"""What the table of kernels says about the kernel builds of a run."""

from __future__ import annotations

from typing import Literal

from .base import Count, Frozen, LongText, ShortText
from .playbook import Ending, Family

TableMatch = Literal["exact", "same source", "series", "none"]
"""What of a kernel the table has: this very build; another flavour of the same source; other builds
of its series; none of these.
"""


class TableDifference(Frozen, frozen=True, kw_only=True):
    """Hosts of one build whose ending is not the one that the table has.

    `table` is the ending of the table, `measured` that of the hosts. `hosts` counts them,
    `names` has them folded, and `more` counts those that it leaves out. `settings` are texts about
    sysctls that differ from the defaults of the kernel, or were not read, and may be the reason; ()
    if there are none.
    """

    scenario: ShortText
    family: Family
    table: Ending
    measured: Ending
    hosts: Count
    names: tuple[str, ...] = ()
    more: Count = 0
    settings: tuple[LongText, ...] = ()


class KnownKernel(Frozen, frozen=True, kw_only=True):
    """What the table says about one kernel build of a run; `known` is a sentence for people."""

    release: ShortText
    version: ShortText
    machine: ShortText
    match: TableMatch
    known: LongText
    differences: tuple[TableDifference, ...] = ()
