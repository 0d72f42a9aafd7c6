"""The table of kernels: what it says about builds, and which hosts differ from it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from msgspec.structs import replace

from fleetaudit.analysis.kernel_table.index import TableIndex
from fleetaudit.analysis.kernel_table.model import (
    EMPTY,
    decode_table,
    encode_table,
    make_row,
    row_ending,
    row_id,
    steps_digest,
)
from fleetaudit.analysis.kernel_table.sentences import describe_build, describe_series
from fleetaudit.analysis.kernel_table.statements import (
    AT_LIMIT,
    changed_settings,
    describe_kernels,
)
from fleetaudit.app.kernel_table import shipped_table
from fleetaudit.model import EXPECTABLE_ENDINGS, AuditRun, Kernel, KnownKernel, Scenario, Sysctl
from tests import SCHEMAS
from tests.support.kernel_tables import (
    build_of,
    defaults,
    row_of,
    table_of,
    table_of_fleet,
    table_with_fix,
)
from tests.support.runs import K510, K612, SCENARIOS, Fleet, by_name, observe, run_of, scenario

DEFAULTS = defaults()


def known(run: AuditRun, table: TableIndex) -> KnownKernel:
    (kernel,) = describe_kernels(run, table)
    return kernel


def host_run(*names: str, scenarios: tuple[Scenario, ...] = SCENARIOS, **host: object) -> AuditRun:
    """Returns a run of hosts with the kernel 6.12 that ends unread-close in FIN over IPv4."""
    other = [observe(by_name("unread-close"), "ipv4", "FIN")]
    options = {"sysctls": DEFAULTS, "instead": other} | host
    hosts = [Fleet().host(name, K612, **options) for name in names]  # type: ignore[arg-type]
    return run_of(hosts, scenarios)


# ---- the file


def test_the_shipped_table_matches_its_schema_and_is_written_as_it_was_read() -> None:
    table = shipped_table().table
    data = encode_table(table)
    schema = json.loads((SCHEMAS / "kernel-table.schema.json").read_text())
    jsonschema.validate(json.loads(data), schema)
    assert decode_table(data) == table
    assert shipped_table() is shipped_table()


def test_every_build_of_the_shipped_table_has_its_endings_and_its_call_once() -> None:
    table = shipped_table().table
    assert len({build.identity for build in table.builds}) == len(table.builds) > 10
    assert {build.endings for build in table.builds} == set(table.endings)
    assert {build.call for build in table.builds} <= set(table.calls)
    assert all(row_id(row) == key for key, row in table.endings.items())
    for build in table.builds:
        assert build.package_version.split("-")[0].split("~")[0] in build.version
        assert build.date in build.version


def test_the_controls_end_in_every_build_of_the_shipped_table_as_they_must() -> None:
    index = shipped_table()
    for build in index.table.builds:
        row = index.row(build)
        assert row_ending(row, "unread-close", "ipv4") == "RST", build
        assert row_ending(row, "drained-close", "ipv4") == "FIN", build
        endings = [row_ending(row, *cell) for cell in index.cells]
        assert sum(ending in EXPECTABLE_ENDINGS for ending in endings) > 100, build


def test_a_row_has_one_ending_where_families_agree_and_its_name_ignores_the_order() -> None:
    row = make_row({"a": {"ipv4": "FIN", "ipv6": "FIN"}, "b": {"ipv4": "FIN", "ipv6": "RST"}})
    assert row == {"a": "FIN", "b": {"ipv4": "FIN", "ipv6": "RST"}}
    assert row_id(row) == row_id({"b": row["b"], "a": row["a"]})
    assert row_id(row) != row_id({**row, "a": "RST"})
    assert (row_ending(row, "b", "ipv6"), row_ending(row, "c", "ipv4")) == ("RST", None)


def test_another_build_is_one_more_line_of_the_file() -> None:
    one = table_with_fix().table
    build = build_of("6.12.61-1", row_of())
    more = table_of(
        *((b, one.endings[b.endings]) for b in one.builds), (build, one.endings[build.endings])
    )
    before, after = (encode_table(table).splitlines() for table in (one, more.table))
    # The line that was the last of the list has a comma now.
    assert len(after) == len(before) + 1
    assert len([line for line in after if line not in before]) == 2


# ---- what is known of a build


def test_a_build_behaves_as_it_does_since_the_last_change_before_it() -> None:
    index = table_with_fix()
    texts = [describe_build(index, build) for build in index.table.builds]
    assert texts == [
        "known; the table has no earlier build of 6.12",
        "known to behave like every earlier build of 6.12 in the table, from Debian 6.12.9-1 on",
        "known to behave like this since Debian 6.12.57-1 (2026-01-31); before that,"
        " reread-fin-close: RST up to 6.12.43-1, not FIN",
        "known to behave like this since Debian 6.12.57-1 (2026-01-31); before that,"
        " reread-fin-close: RST up to 6.12.43-1, not FIN",
    ]


def test_an_unknown_ending_between_two_builds_is_no_change_and_hides_none() -> None:
    rows = [row_of({"reread-fin-close": e}) for e in ("RST", "inconclusive", "not run", "FIN")]
    index = table_of(*((build_of(f"6.12.{n}-1", row), row) for n, row in enumerate(rows, 1)))
    texts = [describe_build(index, build) for build in index.table.builds]
    assert (
        texts[2]
        == "known to behave like every earlier build of 6.12 in the table, from Debian 6.12.1-1 on"
    )
    assert "since Debian 6.12.4-1" in texts[3]
    assert "RST up to 6.12.1-1, not FIN" in texts[3]


def test_a_change_over_one_family_names_it_and_many_changes_are_counted() -> None:
    over_ipv6 = row_of({"unread-close": {"ipv4": "RST", "ipv6": "FIN"}})
    every = row_of({s.name: "nothing" for s in SCENARIOS})
    rows = (over_ipv6, row_of(), every)
    index = table_of(*((build_of(f"6.12.{n}-1", row), row) for n, row in enumerate(rows, 1)))
    second, third = (describe_build(index, build) for build in index.table.builds[1:])
    assert second.endswith("unread-close over IPv6: FIN up to 6.12.1-1, not RST")
    assert third.endswith(f"; and {len(SCENARIOS) - 3} more")


def test_builds_are_in_the_order_of_their_numbers_and_flavours_are_apart() -> None:
    before, after = row_of({"reread-fin-close": "RST"}), row_of()
    index = table_of(
        (build_of("6.12.100-1", after), after),
        (build_of("6.12.9-1", before), before),
        (build_of("6.12.50-1", before, flavour="rt-amd64"), before),
    )
    line = index.line_of(index.table.builds[0])
    assert [build.package_version for build in line] == ["6.12.9-1", "6.12.100-1"]
    assert describe_series(index, line) == (
        "not in the table; of 6.12 it has 2 builds, Debian 6.12.9-1 to Debian 6.12.100-1;"
        " reread-fin-close: RST up to 6.12.9-1, FIN from 6.12.100-1 on"
    )


@pytest.mark.parametrize(
    ("kernel", "match", "text"),
    [
        (("6.12.57-amd64", "6.12.57-1 (2026-01-31)", "x86_64"), "exact", "known to behave"),
        (
            ("6.12.57-cloud-amd64", "6.12.57-1 (2026-01-31)", "x86_64"),
            "same source",
            "not in the table; another flavour of its source, Debian 6.12.57-1, is: amd64, known",
        ),
        (
            ("6.12.57-amd64", "6.12.57-1.local (2026-01-31)", "x86_64"),
            "series",
            "not in the table; of 6.12 it has 4 builds, Debian 6.12.9-1 to Debian 6.12.60-1",
        ),
        (
            ("6.12.57-amd64", "6.12.57-1 (2026-01-31)", "aarch64"),
            "none",
            "not in the table, which has no build of 6.12 for this machine",
        ),
        (("6.9.1", "#1 SMP Debian", "x86_64"), "none", "no build of 6.9 for this machine"),
        (("", "\x1b[2J", "toaster"), "none", "which has no build of its series"),
    ],
)
def test_the_nearest_true_statement_about_a_kernel(
    kernel: tuple[str, str, str], match: str, text: str
) -> None:
    release, version, machine = kernel
    version = f"#1 SMP PREEMPT_DYNAMIC Debian {version}"
    one = Kernel(release=release, version=version, machine=machine)
    found = known(run_of([Fleet().host("web1", one)]), table_with_fix())
    assert found.match == match
    assert text in found.known


def test_an_empty_table_says_nothing() -> None:
    assert describe_kernels(host_run("web1"), TableIndex(EMPTY)) == ()


# ---- hosts that differ


def test_hosts_that_differ_from_their_very_build_are_counted_and_named() -> None:
    (difference,) = known(host_run("web1", "web2"), table_of_fleet({})).differences
    assert (difference.scenario, difference.family) == ("unread-close", "ipv4")
    assert (difference.table, difference.measured) == ("RST", "FIN")
    assert (difference.hosts, difference.names, difference.more) == (2, ("web[1-2]",), 0)
    assert difference.settings == ()


def test_a_host_that_ends_everything_as_the_table_has_it_does_not_differ() -> None:
    run = host_run("web1", instead=[])
    assert known(run, table_of_fleet({})).differences == ()
    assert known(run, table_of_fleet({"unread-close": "FIN"})).differences


@pytest.mark.parametrize(
    "host",
    [{"void": "the control failed"}, {"isolation": "host"}],
    ids=["void", "in the host's namespace"],
)
def test_a_host_whose_endings_are_not_those_of_its_kernel_alone_is_not_compared(
    host: dict[str, Any],
) -> None:
    found = known(host_run("web1", **host), table_of_fleet({}))
    assert (found.match, found.differences) == ("exact", ())


@pytest.mark.parametrize("ending", ["inconclusive", "not run", "sent, not delivered"])
def test_an_unknown_ending_of_either_side_is_no_difference(ending: str) -> None:
    other = [observe(by_name("unread-close"), "ipv4", ending)]  # type: ignore[arg-type]
    run = host_run("web1", instead=other)
    assert known(run, table_of_fleet({})).differences == ()
    changed = {"unread-close": {"ipv4": ending, "ipv6": "RST"}}
    unknown = table_of_fleet(changed)  # type: ignore[arg-type]
    assert known(host_run("web1"), unknown).differences == ()


def test_a_scenario_of_the_same_name_with_other_steps_is_not_compared() -> None:
    steps = "peer sends 5 bytes;closer reads all;closer closes"
    mine = scenario("unread-close", "Mine", steps, "FIN", control=None)
    others = tuple(s for s in SCENARIOS if s.name != "unread-close")
    run = host_run("web1", scenarios=(*others, mine))
    assert known(run, table_of_fleet({})).differences == ()


def test_a_host_with_changed_settings_is_never_called_patched() -> None:
    changed = {**DEFAULTS, "net.ipv4.tcp_stdurg": Sysctl(value="1", default="0")}
    other = [observe(by_name("unread-close"), "ipv4", "FIN")]
    hosts = [
        Fleet().host("web1", K612, sysctls=DEFAULTS, instead=other),
        Fleet().host("web2", K612, sysctls=changed, instead=other),
    ]
    plain, with_setting = known(run_of(hosts), table_of_fleet({})).differences
    assert (plain.names, plain.settings) == (("web1",), ())
    assert with_setting.names == ("web2",)
    assert with_setting.settings == ("net.ipv4.tcp_stdurg is 1, by default 0",)


@pytest.mark.parametrize(
    ("sysctl", "expected"),
    [
        (Sysctl(value="0", default="0"), ()),
        (Sysctl(value="1", default="0"), ("net.ipv4.tcp_stdurg is 1, by default 0",)),
        (Sysctl(value="1", default="0", used="0"), ()),
        (Sysctl(state="absent"), ()),
        (Sysctl(state="unreadable: EACCES"), ("net.ipv4.tcp_stdurg was not read",)),
        (Sysctl(value="0"), ("net.ipv4.tcp_stdurg was not read",)),
        (Sysctl(), ("net.ipv4.tcp_stdurg was not read",)),
    ],
)
def test_what_of_a_setting_may_explain_a_difference(
    sysctl: Sysctl, expected: tuple[str, ...]
) -> None:
    assert changed_settings({**DEFAULTS, "net.ipv4.tcp_stdurg": sysctl}) == expected


def test_a_host_at_the_limit_of_its_orphans_is_never_called_patched() -> None:
    other = observe(by_name("unread-close"), "ipv4", "FIN")
    evidence = replace(other.evidence, kernel={"TCPAbortOnMemory": 1})
    run = host_run("web1", instead=[replace(other, evidence=evidence)])
    (difference,) = known(run, table_of_fleet({})).differences
    assert difference.settings == (AT_LIMIT,)


def test_settings_that_follow_from_memory_or_are_not_of_tcp_explain_nothing() -> None:
    rmem = Sysctl(value="4096 131072\t6291456", default="4096\t131072\t3000000")
    others = {
        "net.ipv4.tcp_rmem": rmem,
        "net.ipv4.tcp_mem": Sysctl(value="1 2 3"),
        "net.core.somaxconn": Sysctl(value="9", default="4096"),
    }
    assert changed_settings({**DEFAULTS, **others}) == ()


def test_what_a_hostile_host_sends_is_bounded() -> None:
    many = {f"net.ipv4.tcp_{n}": Sysctl(value="x" * 4096, default="0") for n in range(500)}
    (difference,) = known(
        host_run("web1", sysctls={**DEFAULTS, **many}), table_of_fleet({})
    ).differences
    assert len(difference.settings) == 5
    assert max(map(len, difference.settings)) < 200


def test_the_digest_of_steps_depends_on_their_order() -> None:
    assert steps_digest(["a", "b"]) != steps_digest(["b", "a"])
    assert steps_digest(iter(["a", "b"])) == steps_digest(["a", "b"])


def test_every_build_of_a_run_has_one_statement_in_the_order_of_its_hosts() -> None:
    hosts = [Fleet().host(f"h{n}", kernel) for n, kernel in enumerate((K612, K510, K612))]
    found = describe_kernels(run_of(hosts), table_of_fleet({}))
    assert [kernel.release for kernel in found] == [K612.release, K510.release]
