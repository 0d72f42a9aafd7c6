"""A run as JSON: exactly the bytes of its run.json (schema: fleetaudit/schema/run.schema.json)."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.model import AuditRun
from fleetaudit.store.run_file import encode_run, encode_run_in_chunks


def render(run: AuditRun) -> str:
    """Returns the text of run.json, format "fleetaudit-run/1"."""
    return encode_run(run).decode()


def render_in_chunks(run: AuditRun) -> Iterator[bytes]:
    """Yields the bytes of run.json, a host at a time."""
    return encode_run_in_chunks(run)
