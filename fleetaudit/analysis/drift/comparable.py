"""Whether two runs can be compared, and what a reader must know if they can. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fleetaudit.model import AuditRun, RunInfo, ScenarioRow

from .host_pairs import Pairs

_MAX_NAMES = 3


def selection(run: RunInfo) -> tuple[str | None, str | None]:
    """Returns what selects the hosts of a run from its inventory: the limit and the shard."""
    return run.limit, run.shard


def why_not_comparable(before: AuditRun, after: AuditRun, pairs: Pairs) -> str:
    """Returns why two runs cannot be compared, "" if they can.

    They can if the steps of their common scenarios are equal, if they share a scenario or a sysctl,
    and if they share a host.
    """
    if names := _scenarios_with_other_steps(before, after):
        return f"the steps of {_list_names(names)} differ between the two runs"
    if not _have_subject_in_common(before, after):
        playbooks = (", ".join(run.run.playbooks) or "none" for run in (before, after))
        return (
            "the two runs have no scenario and no sysctl in common (playbooks:"
            f" {'; '.join(playbooks)})"
        )
    if not pairs.both and not pairs.rebuilt:
        return "the two runs have no host in common"
    return ""


def _scenarios_with_other_steps(before: AuditRun, after: AuditRun) -> list[str]:
    """Returns the names of the scenarios of both runs that have other steps now."""
    earlier = _rows_by_name(before)
    return [row.name for row in after.scenarios if earlier.get(row.name, row).steps != row.steps]


def _rows_by_name(run: AuditRun) -> dict[str, ScenarioRow]:
    """Returns the scenarios of a run by name."""
    return {row.name: row for row in run.scenarios}


def _list_names(names: list[str]) -> str:
    """Returns the first names in quotes, and how many more there are."""
    text = ", ".join(f"“{name}”" for name in names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return f"{text} and {more} more" if more > 0 else text


def _have_subject_in_common(before: AuditRun, after: AuditRun) -> bool:
    """Returns whether two runs share a scenario or a sysctl, or none of them has a scenario."""
    names_before, names_after = _rows_by_name(before).keys(), _rows_by_name(after).keys()
    if names_before & names_after or not names_before | names_after:
        return True
    return bool(_sysctl_keys(before) & _sysctl_keys(after))


def _sysctl_keys(run: AuditRun) -> set[str]:
    """Returns the sysctls that some host of a run has."""
    return set[str]().union(*(host.sysctls for host in run.hosts))


def comparison_notes(before: AuditRun, after: AuditRun, pairs: Pairs) -> Iterator[str]:
    """Yields a sentence for each thing that only one of the two runs has, or that differs.

    These are scenarios, expectations and the limit. There is also a note if the second run is the
    earlier one.
    """
    yield from _scenario_notes(_rows_by_name(before), _rows_by_name(after))
    outside = len(pairs.gone) + len(pairs.new)
    if outside and selection(before.run) != selection(after.run):
        hosts = "host that was" if outside == 1 else "hosts that were"
        yield (
            f"The limit differs ({_describe_limit(before.run)}; {_describe_limit(after.run)}): "
            f"{outside} {hosts} in one run only {'is' if outside == 1 else 'are'} left out."
        )
    if after.run.started < before.run.started:
        yield (
            "The second run is the earlier one: “before” and “after” follow the order of the"
            " command line."
        )


def _scenario_notes(
    earlier: Mapping[str, ScenarioRow], later: Mapping[str, ScenarioRow]
) -> Iterator[str]:
    """Yields a sentence for each scenario of one run only, and for each edited expectation."""
    for name, row in later.items():
        if name not in earlier:
            yield f"“{name}” was not in the earlier run."
        elif earlier[name].expect != row.expect:
            yield _edit_note(row, earlier[name])
    for name in filter(lambda name: name not in later, earlier):
        yield f"“{name}” was not in the later run."


def _edit_note(now: ScenarioRow, before: ScenarioRow) -> str:
    """Returns the sentence about an edited expectation.

    Such as "“unread-close” is expected to end in FIN now, and was in RST; both runs are measured by
    the present expectation."
    """
    edit = _describe_edit(now, before)
    return f"“{now.name}” {edit}; both runs are measured by the present expectation."


def _describe_limit(run: RunInfo) -> str:
    """Returns the limit and the shard of a run: "web, shard 1/2", "none" without both."""
    shard = f"shard {run.shard}" if run.shard else ""
    return ", ".join(filter(None, (run.limit, shard))) or "none"


def _describe_edit(now: ScenarioRow, before: ScenarioRow) -> str:
    """Returns how the expectation of a scenario was edited.

    Such as "is expected to end in FIN now, and was in RST".
    """
    new, old = " or ".join(now.expect), " or ".join(before.expect)
    if not now.expect:
        return f"has no expectation now, and was expected to end in {old}"
    if not before.expect:
        return f"is expected to end in {new} now, and had no expectation"
    return f"is expected to end in {new} now, and was in {old}"
