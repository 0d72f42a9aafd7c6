"""The table of kernels in the reports: what each build is known for, and which hosts differ."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.kernel_table.statements import describe_kernels
from fleetaudit.model import AuditRun, KnownKernel, Sysctl, TableDifference
from fleetaudit.report import registry
from fleetaudit.report.html import render
from fleetaudit.report.terminal import summary
from fleetaudit.store.run_file import read_run
from fleetaudit.store.store_file import encode_store, read_store
from tests.support.kernel_tables import defaults, table_of_fleet
from tests.support.runs import K510, K612, Fleet, by_name, observe, run_of, small_fleet

PATCHED = "a local patch, a module or BPF program of these hosts, or a fault of fleetaudit"


def differing_run(**sysctls: str) -> AuditRun:
    """Returns a run whose hosts web1 and web2 do not end unread-close as the table has it."""
    values = defaults()
    values["net.ipv4.tcp_stdurg"] = Sysctl(value=sysctls.get("stdurg", "0"), default="0")
    unread = by_name("unread-close")
    other = [observe(unread, family, "FIN") for family in unread.families]
    hosts = [
        *(Fleet().host(f"web{n}", K612, sysctls=values, instead=other) for n in (1, 2)),
        Fleet().host("db1", K510),
    ]
    return with_known(run_of(hosts))


def with_known(run: AuditRun) -> AuditRun:
    known = describe_kernels(run, table_of_fleet({}))
    return msgspec.structs.replace(run, known_kernels=known)


def text_of(run: AuditRun, **options: bool) -> str:
    """Returns the text for a terminal, with single spaces."""
    return " ".join(summary(compare(run), **options).split())


def test_the_terminal_has_every_difference_with_its_hosts_also_when_quiet() -> None:
    expected = (
        "Not as the table of kernels has it for the very build:"
        f" {K612.release}: unread-close (IPv4 and IPv6) ended in FIN, in the table in RST;"
        f" {PATCHED}: please report it: web[1-2]"
    )
    assert expected in text_of(differing_run())
    assert expected in text_of(differing_run(), problems_only=True)


def test_a_setting_that_may_be_the_reason_is_named_instead_of_a_patch() -> None:
    text = text_of(differing_run(stdurg="1"))
    assert "their settings may be the reason: net.ipv4.tcp_stdurg is 1, by default 0" in text
    assert "local patch" not in text


def test_without_a_difference_and_in_an_old_run_the_terminal_has_nothing_of_it() -> None:
    same = run_of([Fleet().host("db1", K510), Fleet().host("db2", K612)])
    assert "table of kernels" not in text_of(with_known(same))
    assert "table of kernels" not in text_of(small_fleet())


def test_the_page_says_what_each_build_is_known_for() -> None:
    page = render(compare(differing_run()))
    assert 'id="known-kernels"' in page
    assert "known; the table has no earlier build of 5.10" in page
    assert PATCHED in page
    assert 'id="known-kernels"' not in render(compare(small_fleet()))


def test_builds_about_which_the_table_says_the_same_are_one_row() -> None:
    run = small_fleet()
    known = [
        KnownKernel(
            release=k.release, version=k.version, machine=k.machine, match="none", known="unknown"
        )
        for k in (K510, K612)
    ]
    view = compare(msgspec.structs.replace(run, known_kernels=tuple(known))).known_builds
    assert [(row.known, len(row.builds)) for row in view] == [("unknown", 2)]


def test_run_json_and_the_store_keep_what_is_known(tmp_path: Path) -> None:
    run = differing_run()
    data = registry.render(run, "json")
    assert json.loads(data)["known_kernels"][0]["differences"][0]["names"] == ["web[1-2]"]
    assert "known_kernels" not in json.loads(registry.render(small_fleet(), "json"))
    (tmp_path / "run.json").write_bytes(data)
    assert read_run(tmp_path / "run.json").known_kernels == run.known_kernels
    (tmp_path / "store.jsonl").write_bytes(b"".join(encode_store(run)))
    assert read_store(tmp_path / "store.jsonl").known_kernels == run.known_kernels


def test_many_differences_are_counted_on_the_page_and_at_the_terminal() -> None:
    difference = TableDifference(
        scenario="unread-close", family="ipv4", table="RST", measured="FIN", hosts=1, names=("w1",)
    )
    names = [f"s{n}" for n in range(50)]
    many = [msgspec.structs.replace(difference, scenario=name) for name in names]
    run = differing_run()
    kernel = msgspec.structs.replace(run.known_kernels[0], differences=tuple(many))
    run = msgspec.structs.replace(run, known_kernels=(kernel,))
    assert "and 38 more differences: see the report" in text_of(run)
    assert "And 30 more differences" in render(compare(run))
