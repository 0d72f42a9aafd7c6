"""The shipped table of kernels: read once, when a run is made, and never by other commands."""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from fleetaudit.analysis.kernel_table.index import TableIndex
    from fleetaudit.model import AuditRun

FILE = "kernel-table.json"


def add_known_kernels(run: AuditRun) -> AuditRun:
    """Returns a run with what the shipped table says about its kernel builds."""
    from fleetaudit.analysis.kernel_table.statements import describe_kernels

    return replace(run, known_kernels=describe_kernels(run, shipped_table()))


@functools.cache
def shipped_table() -> TableIndex:
    """Returns the table that comes with this version of fleetaudit."""
    from fleetaudit.analysis.kernel_table.index import TableIndex
    from fleetaudit.analysis.kernel_table.model import decode_table

    file = importlib.resources.files("fleetaudit") / "data" / FILE
    return TableIndex(decode_table(file.read_bytes()))
