"""A run as JSON: exactly the bytes of its run.json (schema: fleetaudit/schema/run.schema.json)."""

from __future__ import annotations

from fleetaudit.model import AuditRun
from fleetaudit.store.run_file import encode_run


def render(run: AuditRun) -> str:
    """Returns the text of run.json, format "fleetaudit-run/1"."""
    return encode_run(run).decode()
