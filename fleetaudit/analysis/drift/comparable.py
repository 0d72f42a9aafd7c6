"""Whether two runs can be compared, and what a reader must know where they can. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.model import AuditRun, RunInfo, ScenarioRow

from .host_pairs import Pairs


def selected(run: RunInfo) -> tuple[str | None, str | None]:
    """Returns what tells which hosts of its inventory a run was about: the limit and the shard."""
    return run.limit, run.shard


def refused(before: AuditRun, after: AuditRun, pairs: Pairs) -> str:
    """Returns why two runs cannot be compared, "" where they can."""
    earlier = {row.name: row for row in before.scenarios}
    shared = [(earlier[row.name], row) for row in after.scenarios if row.name in earlier]
    if other := [new.name for old, new in shared if old.steps != new.steps]:
        names = ", ".join(f"“{name}”" for name in other[:3]) + (
            f" and {len(other) - 3} more" if len(other) > 3 else ""
        )
        return f"the two runs mean different experiments by {names}: the steps differ"
    if (
        (before.scenarios or after.scenarios)
        and not shared
        and not _sysctl_keys(before) & _sysctl_keys(after)
    ):
        return (
            "the two runs have no scenario and no sysctl in common (playbooks:"
            f" {', '.join(before.run.playbooks) or 'none'};"
            f" {', '.join(after.run.playbooks) or 'none'})"
        )
    if not pairs.both and not pairs.rebuilt:
        return "the two runs have no host in common"
    return ""


def _sysctl_keys(run: AuditRun) -> set[str]:
    return {key for host in run.hosts for key in host.sysctls}


def notes(before: AuditRun, after: AuditRun, pairs: Pairs) -> Iterator[str]:
    """Yields a sentence for each thing that is in one of the two runs only, or means something else
    there.
    """
    earlier, later = ({row.name: row for row in run.scenarios} for run in (before, after))
    for name, row in later.items():
        if name not in earlier:
            yield f"“{name}” was not asked in the earlier run."
        elif earlier[name].expect != row.expect:
            yield (
                f"“{name}” {_edited(row, earlier[name])}; both runs are measured by what is wanted"
                " now."
            )
    for name in earlier:
        if name not in later:
            yield f"“{name}” was not asked in the later run."
    if selected(before.run) != selected(after.run) and (
        outside := len(pairs.gone) + len(pairs.new)
    ):
        yield (
            f"The limit differs ({_limit_words(before.run)}; {_limit_words(after.run)}): "
            f"{outside} host{' that was' if outside == 1 else 's that were'} in one run only "
            f"{'is' if outside == 1 else 'are'} left out."
        )
    if after.run.started < before.run.started:
        yield (
            "The second run is the earlier one: before and after are as named, not as they"
            " happened."
        )


def _limit_words(run: RunInfo) -> str:
    shard = f"shard {run.shard}" if run.shard else ""
    return ", ".join(filter(None, (run.limit, shard))) or "none"


def _edited(now: ScenarioRow, before: ScenarioRow) -> str:
    new, old = " or ".join(now.expect), " or ".join(before.expect)
    if not now.expect:
        return f"has no expectation now, and was expected to end in {old}"
    return f"is expected to end in {new} now, and " + (
        f"was in {old}" if before.expect else "had no expectation"
    )
