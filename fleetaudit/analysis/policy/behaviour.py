"""The behaviour of one host, or of most hosts of a run, as an expectation of others. Pure.

Rules: nothing is expected that was not observed. What is unknown, what depends on one host's memory
or modules and what the hosts do not agree on is omitted, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fleetaudit.analysis.memory_sysctls import BY_MEMORY
from fleetaudit.errors import NothingToDoError
from fleetaudit.model import (
    EXPECTABLE_ENDINGS,
    Audited,
    AuditRun,
    Ending,
    Family,
    Observation,
    Sysctl,
    by_name,
    conclusive_hosts,
)
from fleetaudit.text.host_ranges import count_of_hosts

# Why a sysctl is not expected of other hosts.
FROM_MEMORY = "its default follows from the memory of the host"
_BY_MODULES = "it lists the modules that happen to be loaded"
LEFT_OUT: Mapping[str, str] = {
    **dict.fromkeys(sorted(BY_MEMORY), FROM_MEMORY),
    "net.ipv4.tcp_ehash_entries": f"a size of a table; {FROM_MEMORY}",
    "net.ipv4.tcp_fastopen_key": "a secret of the host",
    "net.ipv4.tcp_available_congestion_control": _BY_MODULES,
    "net.ipv4.tcp_available_ulp": _BY_MODULES,
}
MAX_TEXT = 4000
"""The longest text that a playbook is given."""
_MAX_TRIALS = 20
_MAX_COUNTED = 5

K = TypeVar("K")
T = TypeVar("T")
Place = tuple[str, Family]
"""A scenario and a family."""


class Omitted(NamedTuple):
    """Why something is not expected."""

    reason: str


class Behaviour(NamedTuple):
    """What hosts are expected to do; `source` names the host or hosts that did it."""

    source: str
    endings: dict[Place, Ending | Omitted]
    trials: dict[str, int]
    sysctls: dict[str, Sysctl | Omitted]


def behaviour_of_host(run: AuditRun, name: str) -> Behaviour:
    """Returns the behaviour of one host, which others are to follow.

    `name` is its name in the inventory of the run. The source is such as "web1 (kernel 6.12.40)".
    Raises `NothingToDoError` if the host is not in the run, was not audited or is void.
    """
    host = by_name(run.hosts).get(name)
    if host is None:
        raise NothingToDoError(f"no host “{name}” in the run {run.run.id}")
    if not isinstance(host, Audited):
        raise NothingToDoError(f"{name} was not audited in the run {run.run.id}: {host.reason}")
    if host.void:
        raise NothingToDoError(f"{name} proves nothing in the run {run.run.id}: {host.void}")
    return _agree([host], f"{name} (kernel {host.kernel.release})")


def behaviour_of_majority(run: AuditRun) -> Behaviour:
    """Returns the behaviour of more than half of the hosts for which it is known.

    Each ending and each sysctl is counted for itself, among the hosts that have it; without such a
    majority it is omitted. The source is such as "most of 12 hosts". Void hosts do not count.
    Raises `NothingToDoError` if no other host was audited.
    """
    hosts = [*conclusive_hosts(run.hosts)]
    if not hosts:
        raise NothingToDoError(
            f"no host of the run {run.run.id} was audited with controls that held"
        )
    return _agree(hosts, f"most of {count_of_hosts(len(hosts))}")


def _agree(hosts: Sequence[Audited], source: str) -> Behaviour:
    """Returns what at least one host did, as far as most of them agree.

    An ending or a sysctl on which they do not agree is there with the reason why it is omitted.
    """
    observations = _collect(host.observations_by_scenario() for host in hosts)
    sysctls = _collect(host.sysctls for host in hosts)
    return Behaviour(
        source=source,
        endings={place: _agree_on_ending(some) for place, some in observations.items()},
        trials=_max_trials(observations.values()),
        sysctls={key: _agree_on_sysctl(key, some) for key, some in sorted(sysctls.items())},
    )


def _collect(mappings: Iterable[Mapping[K, T]]) -> dict[K, list[T]]:
    """Returns the values of several mappings by key, in their order.

    [{a: 1}, {a: 2, b: 3}] becomes {a: [1, 2], b: [3]}.
    """
    values = dict[K, list[T]]()
    for mapping in mappings:
        for key, value in mapping.items():
            values.setdefault(key, []).append(value)
    return values


def _max_trials(observations: Iterable[Sequence[Observation]]) -> dict[str, int]:
    """Returns the greatest number of trials of each scenario, within a playbook's limits.

    It is the greatest over all hosts and families; more than `_MAX_TRIALS` become `_MAX_TRIALS`,
    and 0 becomes 1.
    """
    trials = dict[str, int]()
    for some in observations:
        name, most = some[0].scenario, max(o.trials for o in some)
        trials[name] = min(_MAX_TRIALS, max(trials.get(name, 1), most))
    return trials


def _agree_on_ending(observations: Sequence[Observation]) -> Ending | Omitted:
    """Returns the ending of most hosts of which it is known.

    If it is known of none, the first host's ending and reason say why it is omitted.
    """
    known = [o.ending for o in observations if _is_known(o)]
    if not known:
        return Omitted(_describe_unknown(observations[0]))
    return _majority(known) or _disagreement(known)


def _describe_unknown(observation: Observation) -> str:
    """Returns an ending that is unknown, with the reason: "not run: no IPv6"."""
    if not observation.reason:
        return observation.ending
    return f"{observation.ending}: {observation.reason}"


def _is_known(observation: Observation) -> bool:
    """Returns whether every trial had the same expectable ending.

    If one trial ended otherwise, the ending is unknown, however many trials agree.
    """
    ending = observation.ending
    return ending in EXPECTABLE_ENDINGS and set(observation.endings) <= {ending}


def _agree_on_sysctl(key: str, sysctls: Sequence[Sysctl]) -> Sysctl | Omitted:
    """Returns the sysctl of most hosts.

    It is omitted if it depends on one host (LEFT_OUT), and if the hosts do not agree.
    """
    if key in LEFT_OUT:
        return Omitted(LEFT_OUT[key])
    values = [sysctl.text for sysctl in sysctls]
    most = _majority(values)
    if most is None:
        return _disagreement(values)
    return _expectable(sysctls[values.index(most)])


def _expectable(sysctl: Sysctl) -> Sysctl | Omitted:
    """Returns the sysctl, or why a playbook cannot expect it.

    It cannot if it was not read, and if its value is too long. A sysctl that the hosts do not have
    is expected to be absent.
    """
    length = len(sysctl.value or "")
    if length > MAX_TEXT:
        return Omitted(f"{length} characters long")
    if sysctl.value is None and sysctl.state != "absent":
        return Omitted(sysctl.text)
    return sysctl


def _majority(values: Sequence[T]) -> T | None:
    """Returns the value that more than half of the values are.

    None if there is none: 6 of 12 is no majority. There is at least one value.
    """
    value, count = Counter(values).most_common(1)[0]
    if 2 * count <= len(values):
        return None
    return value


def _disagreement(values: Iterable[str]) -> Omitted:
    """Returns that the hosts do not agree, with their most frequent values.

    Such as "the hosts do not agree: “1” on 3, “2” on 2". At most `_MAX_COUNTED` values are named,
    equally frequent ones in the order of their text.
    """
    most_first = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"“{value}” on {n}" for value, n in most_first[:_MAX_COUNTED])
    return Omitted(f"the hosts do not agree: {counts}")
