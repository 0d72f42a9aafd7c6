"""Remedies for resets that were seen while a host was watched. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .exposure import CLOSE_REMEDY

_BY_REASON = (
    "What helps depends on the reason of each program: “fleetaudit explain HOST” lists them."
)

WATCH_REMEDIES: Mapping[str, str] = {
    "resets": _BY_REASON,
    "resets_per_minute": _BY_REASON,
    "unread_data_resets": CLOSE_REMEDY,
}
"""The remedy of each number of a watch, by its name in a playbook."""
