"""The view of changes since an earlier run."""

from __future__ import annotations

import msgspec

from fleetaudit.model import (
    ChangeKind,
    Effect,
    ResetRate,
    Severity,
)
from fleetaudit.text.host_ranges import HostRanges


class ChangeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One change and all hosts with it.

    `effect_text` is `effect` as the report prints it. `subject` is the scenario, the sysctl or
    another noun, `detail` its families, `link` its anchor ("" without one); `since` is the date
    first seen. `waived` is the reason of the waiver that holds now. `label` names the row in
    addresses.
    """

    effect: Effect
    effect_text: str
    kind: ChangeKind
    subject: str
    detail: str
    link: str
    before: str
    after: str
    since: str
    severity: Severity | None
    waived: str | None
    hosts: HostRanges
    label: str = ""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Changes since the run `before`, which started at `since`.

    `refused` says why the runs cannot be compared, "" if they can; `compared` counts the hosts.
    `counts` are (hosts, effect in words), regressions first; `regressed` are (scenario or sysctl,
    hosts) of the regressions. `omitted` more rows are not listed. `rates` are the hosts with most
    aborts between the runs; `unrated` are (reason, hosts) where the rate is unknown.
    """

    before: str
    since: str
    refused: str
    notes: tuple[str, ...]
    compared: int
    counts: tuple[tuple[int, str], ...]
    regressed: tuple[tuple[str, int], ...]
    rows: tuple[ChangeRow, ...]
    omitted: int
    rates: tuple[ResetRate, ...]
    unrated: tuple[tuple[str, HostRanges], ...]

    @property
    def needs_attention(self) -> bool:
        """Whether something changed, or the runs cannot be compared."""
        return bool(self.rows or self.refused)
