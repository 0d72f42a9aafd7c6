"""The time of day. Nothing else asks for it, so that a run can be repeated byte for byte."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from fleetaudit.errors import ConfigError


def current_time() -> datetime:
    """Returns the time in UTC, in whole seconds.

    The environment variable SOURCE_DATE_EPOCH, in seconds since 1970, replaces it, as the
    specification of reproducible-builds.org has it. Raises `ConfigError` if that is not a time.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if not fixed:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(fixed), UTC)
    except (ValueError, OverflowError, OSError) as e:
        raise ConfigError(f"SOURCE_DATE_EPOCH={fixed!r}: not a number of seconds since 1970") from e


def format_rfc3339(moment: datetime) -> str:
    """Returns a time as run.json has it, "2026-01-31T02:00:00Z" (RFC 3339, section 5.6).

    `moment` may have any time zone; text of this form sorts by time.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
