"""Made-up tables of kernels: a series whose endings change, and the kernels of a made-up fleet."""

from __future__ import annotations

from collections.abc import Mapping

from fleetaudit.analysis.kernel_table.index import TableIndex
from fleetaudit.analysis.kernel_table.model import (
    Call,
    KernelTable,
    Row,
    TableBuild,
    TableScenario,
    row_id,
    steps_digest,
)
from fleetaudit.analysis.kernel_table.statements import NEEDED_SYSCTLS
from fleetaudit.model import Ending, Family, Sysctl

from .runs import K510, K612, SCENARIOS


def defaults() -> dict[str, Sysctl]:
    """Returns the settings of a host that changed none of those that may change an ending."""
    needed = {key: Sysctl(value="0", default="0") for key in NEEDED_SYSCTLS}
    return {**needed, "net.ipv4.tcp_rfc1337": Sysctl(value="0", default="0")}


def row_of(changed: Mapping[str, Ending | dict[Family, Ending]] | None = None) -> Row:
    """Returns the endings of a kernel with all fixes, except those that are `changed`."""
    usual: Row = {s.name: s.expect[0] if s.expect else "FIN" for s in SCENARIOS}
    return {**usual, **(changed or {})}


def build_of(version: str, row: Row, *, release: str = "", flavour: str = "amd64") -> TableBuild:
    """Returns a build of a source version, with the release and version that Debian gives it."""
    date = "2026-01-31"
    return TableBuild(
        release=release or f"{version.split('-')[0]}-{flavour}",
        version=f"#1 SMP PREEMPT_DYNAMIC Debian {version} ({date})",
        machine="x86_64",
        architecture="amd64",
        flavour=flavour,
        package=f"linux-image-{version.split('-')[0]}-{flavour}",
        package_version=version,
        source="linux-signed-amd64",
        date=date,
        suites=("trixie",),
        call="c0ffee",
        endings=row_id(row),
    )


def table_of(*builds: tuple[TableBuild, Row]) -> TableIndex:
    """Returns a table of builds with their rows, ready for look-ups."""
    return TableIndex(
        KernelTable(
            scenarios=tuple(
                TableScenario(
                    name=s.name,
                    families=s.families,
                    steps=steps_digest(step.text for step in s.steps),
                )
                for s in SCENARIOS
            ),
            calls={"c0ffee": Call(fleetaudit="0.1.0")},
            endings={row_id(row): row for _, row in builds},
            builds=tuple(build for build, _ in builds),
        )
    )


def table_with_fix() -> TableIndex:
    """Returns four builds of 6.12; reread-fin-close ends in FIN from the third on."""
    before, after = row_of({"reread-fin-close": "RST"}), row_of()
    versions = {"6.12.9-1": before, "6.12.43-1": before, "6.12.57-1": after, "6.12.60-1": after}
    return table_of(*((build_of(version, row), row) for version, row in versions.items()))


def table_of_fleet(changed: Mapping[str, Ending | dict[Family, Ending]]) -> TableIndex:
    """Returns a table with the kernels 5.10 and 6.12 of `tests.support.runs`.

    That of 6.12 has other endings than its hosts where `changed` says so.
    """
    rows = {
        K510: row_of({"reread-fin-close": "RST", "unread-mptcp-close": "not run"}),
        K612: row_of(changed),
    }
    builds = []
    for kernel, row in rows.items():
        build = TableBuild(
            release=kernel.release,
            version=kernel.version,
            machine=kernel.machine,
            architecture="amd64",
            flavour="amd64",
            package="linux-image-amd64",
            package_version=kernel.release,
            source="linux",
            call="c0ffee",
            endings=row_id(row),
        )
        builds.append((build, row))
    return table_of(*builds)
