"""Pairs the hosts of two runs: by name, unless a machine-id contradicts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from fleetaudit.model import Audited, HostResult


class Pair(msgspec.Struct, frozen=True):
    """One host in both runs."""

    before: HostResult
    after: HostResult


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Every host of two runs once, in the later run's order.

    Those in `both` are compared, `rebuilt` ones are not.
    """

    both: tuple[Pair, ...]
    rebuilt: tuple[Pair, ...]
    gone: tuple[HostResult, ...]
    new: tuple[HostResult, ...]


def pair_hosts(before: Sequence[HostResult], after: Sequence[HostResult]) -> Pairs:
    """Returns every host of either run once: paired, rebuilt, gone or new.

    A name is one machine unless the machine-ids of machine-id(5) differ: then the host is rebuilt.
    A new name with the machine-id of a host that is gone is that host under another name. An id
    that several hosts of a run share does not count.
    """
    pairing = _Pairing.of(before, after)
    for host in after:
        pairing.add(host)
    gone = (host for host in pairing.missing.values() if host.name not in pairing.renamed)
    return Pairs(
        both=tuple(pairing.both),
        rebuilt=tuple(pairing.rebuilt),
        gone=tuple(gone),
        new=tuple(pairing.new),
    )


class _Pairing(msgspec.Struct):
    """The pairs found so far.

    `machines_before` and `machines_after` are machine-ids by name. `missing` are the earlier hosts
    by name whose name the later run does not have, `missing_by_machine` the same by machine-id.
    Only a name that is gone can have become a new one: two names of both runs never swap.
    """

    earlier: dict[str, HostResult]
    missing: dict[str, HostResult]
    missing_by_machine: dict[str, HostResult]
    machines_before: dict[str, str]
    machines_after: dict[str, str]
    both: list[Pair] = msgspec.field(default_factory=list)
    rebuilt: list[Pair] = msgspec.field(default_factory=list)
    new: list[HostResult] = msgspec.field(default_factory=list)
    renamed: set[str] = msgspec.field(default_factory=set)

    @classmethod
    def of(cls, before: Sequence[HostResult], after: Sequence[HostResult]) -> _Pairing:
        """Returns the pairing of two runs before the first pair."""
        names_after = {host.name for host in after}
        missing = {host.name: host for host in before if host.name not in names_after}
        machines = _machine_ids(before)
        return cls(
            earlier={host.name: host for host in before},
            missing=missing,
            missing_by_machine={
                machine: missing[name] for name, machine in machines.items() if name in missing
            },
            machines_before=machines,
            machines_after=_machine_ids(after),
        )

    def add(self, host: HostResult) -> None:
        """Pairs one host of the later run.

        A host whose name the earlier run has is that host, unless both have machine-ids and these
        differ: then it is rebuilt. A new name with the machine-id of a host that is gone is a
        renamed host.
        """
        machine = self.machines_after.get(host.name, "")
        if old := self.earlier.get(host.name):
            before = self.machines_before.get(host.name, machine)
            is_rebuilt = machine not in ("", before)
            (self.rebuilt if is_rebuilt else self.both).append(Pair(old, host))
        elif old := self.missing_by_machine.get(machine):
            self.both.append(Pair(old, host))
            self.renamed.add(old.name)
        else:
            self.new.append(host)


def _machine_ids(hosts: Iterable[HostResult]) -> dict[str, str]:
    """Returns the machine-id of each host that has one of its own, by name.

    An id that several hosts of the run share is that of an image, and says nothing about a host.
    """
    audited = (host for host in hosts if isinstance(host, Audited))
    ids = {host.name: host.machine_id for host in audited if host.machine_id}
    counts = Counter(ids.values())
    return {name: machine for name, machine in ids.items() if counts[machine] == 1}
