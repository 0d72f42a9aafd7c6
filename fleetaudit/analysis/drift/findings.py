"""How all other findings of one host changed, and which of them somebody has accepted. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.model import Change

from .host_diff import HostDiff, expectation, untold


def other_findings(laid: HostDiff) -> Iterator[Change]:
    """Yields what became of the findings that are no scenario's, sysctl's nor failed control's;
    none is met.
    """
    before, after = laid.findings_before, laid.findings_after
    void = laid.before.void or laid.after.void
    for id_ in dict.fromkeys([*after, *before]):
        kind = id_.partition(":")[0]
        # A void host is not compared with the others of its kernel.
        if kind in ("scenario", "sysctl", "control") or (kind == "kernel" and void):
            continue
        old, new = before.get(id_), after.get(id_)
        words = (f"wanted {f.expected}, found {f.observed}" if f else "met" for f in (old, new))
        if not laid.wanted_in_both(id_):
            yield expectation(laid, id_)
        elif untold(old) != untold(new):
            yield laid.change(
                "told again" if untold(old) else "no longer told", "finding", id_, *words
            )
        elif (old is None) != (new is None):
            yield laid.change("regression" if new else "fix", "finding", id_, *words)


def waivers(laid: HostDiff) -> Iterator[Change]:
    """Yields a change for each finding of both runs that is waived in one of them only."""
    for id_, new in laid.findings_after.items():
        old = laid.findings_before.get(id_)
        if old is not None and (old.waived is None) != (new.waived is None):
            yield laid.change(
                "changed", "waiver", id_, old.waived or "not waived", new.waived or "not waived"
            )
