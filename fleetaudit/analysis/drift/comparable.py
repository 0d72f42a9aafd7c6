"""Whether two runs can be compared, and what a reader must know if they can. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fleetaudit.caching.shared_parts import distinct_objects
from fleetaudit.model import AuditRun, RunInfo, ScenarioRow

from .host_pairs import Pairs

_MAX_NAMES = 3


def selection(run: RunInfo) -> tuple[str | None, str | None]:
    """Returns what selects the hosts of a run from its inventory: the limit and the shard.

    Such as ("web", "1/2"); None stands for no limit and for no shard.
    """
    return run.limit, run.shard


def why_not_comparable(before: AuditRun, after: AuditRun, pairs: Pairs) -> str:
    """Returns why two runs cannot be compared, "" if they can.

    They can if the steps of their common scenarios are equal, if they share a scenario or a sysctl,
    and if they share a host, be it a rebuilt one. `pairs` are the hosts of the two runs. The text
    follows "cannot be compared: ", such as "the two runs have no host in common".
    """
    if names := _scenarios_with_other_steps(before, after):
        return f"the steps of {_list_names(names)} differ between the two runs"
    if not _have_subject_in_common(before, after):
        return (
            "the two runs have no scenario and no sysctl in common (playbooks:"
            f" {_list_playbooks(before)}; {_list_playbooks(after)})"
        )
    if not (*pairs.both, *pairs.rebuilt):
        return "the two runs have no host in common"
    return ""


def _list_playbooks(run: AuditRun) -> str:
    """Returns the playbooks of a run, "none" without one."""
    return ", ".join(run.run.playbooks) or "none"


def _scenarios_with_other_steps(before: AuditRun, after: AuditRun) -> list[str]:
    """Returns the names of the scenarios of both runs that have other steps now.

    A scenario of one run only is not among them.
    """
    earlier = before.scenarios_by_name()
    return [row.name for row in after.scenarios if earlier.get(row.name, row).steps != row.steps]


def _list_names(names: list[str]) -> str:
    """Returns the first names in quotes, and how many more there are.

    Of a, b, c and d it is "“a”, “b”, “c” and 1 more".
    """
    text = ", ".join(f"“{name}”" for name in names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    if more <= 0:
        return text
    return f"{text} and {more} more"


def _have_subject_in_common(before: AuditRun, after: AuditRun) -> bool:
    """Returns whether two runs share a scenario or a sysctl, or none of them has a scenario."""
    names_before = before.scenarios_by_name().keys()
    names_after = after.scenarios_by_name().keys()
    if not names_before | names_after:
        return True
    if not names_before.isdisjoint(names_after):
        return True
    return not _sysctl_keys(before).isdisjoint(_sysctl_keys(after))


def _sysctl_keys(run: AuditRun) -> set[str]:
    """Returns the sysctls that some host of a run has."""
    return set[str]().union(*distinct_objects(host.sysctls for host in run.hosts))


def comparison_notes(before: AuditRun, after: AuditRun, pairs: Pairs) -> Iterator[str]:
    """Yields a sentence for each thing that only one of the two runs has, or that differs.

    These are scenarios, expectations and the limit: "“unread-close” was not in the earlier run."
    There is also a note if the second run is the earlier one. The two can be compared, as
    `why_not_comparable` has found.
    """
    yield from _scenario_notes(before.scenarios_by_name(), after.scenarios_by_name())
    outside = len(pairs.gone) + len(pairs.new)
    if outside and selection(before.run) != selection(after.run):
        yield (
            f"The limit differs ({_describe_limit(before.run)}; {_describe_limit(after.run)}): "
            f"{_describe_left_out(outside)}"
        )
    if after.run.started < before.run.started:
        yield (
            "The second run is the earlier one: “before” and “after” follow the order of the"
            " command line."
        )


def _describe_left_out(hosts: int) -> str:
    """Returns how many hosts are not compared because the limit of one run excludes them."""
    if hosts == 1:
        return "1 host that was in one run only is left out."
    return f"{hosts} hosts that were in one run only are left out."


def _scenario_notes(
    earlier: Mapping[str, ScenarioRow], later: Mapping[str, ScenarioRow]
) -> Iterator[str]:
    """Yields a sentence for each scenario of one run only, and for each edited expectation.

    Both mappings are by the name of the scenario. First those of the later run, in its order.
    """
    for name, row in later.items():
        if name not in earlier:
            yield f"“{name}” was not in the earlier run."
        elif earlier[name].expect != row.expect:
            yield _edit_note(row, earlier[name])
    for name in earlier:
        if name not in later:
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
    if not run.shard:
        return run.limit or "none"
    return ", ".join(filter(None, (run.limit, f"shard {run.shard}")))


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
