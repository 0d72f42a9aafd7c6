"""Who resets: the rows of a host and of the fleet, from what the hosts saw."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from fleetaudit.analysis.production import ProgramPort, WatchTable, host_resets, watch_table
from fleetaudit.model import Audited, Owner, Resets, Watched
from tests.support.runs import K612, Fleet
from tests.support.watches import (
    CURL,
    HAPROXY,
    NGINX,
    NOT_ROOT,
    owner,
    resets,
    unread,
    watched,
    watched_host,
)


def table_of(*watches: Watched) -> WatchTable:
    """Returns the table of the hosts web1, web2 and so on."""
    return watch_table(watched_host(f"web{n}", watch) for n, watch in enumerate(watches, 1))


def test_a_run_without_a_watch_has_no_rows() -> None:
    table = watch_table([Fleet().host("web1", K612)])
    assert (table.asked, table.rows, table.hosts, table.not_watched) == (0, (), (), ())


def test_equal_programs_of_the_fleet_are_one_row() -> None:
    nginx = owner(NGINX)
    table = table_of(
        watched(resets(30), resets(2, 80, of=nginx)),
        watched(resets(12), seconds=30.0),
        watched(resets(4, reason="linger 0")),
    )
    rows = [(str(r.program), r.reason, r.count, r.per_minute, r.hosts.ranges) for r in table.rows]
    assert rows == [
        ("haproxy:8443", "unread data", 42, 54.0, ("web[1-2]",)),
        ("haproxy:8443", "linger 0", 4, 4.0, ("web3",)),
        ("nginx:80", "unread data", 2, 2.0, ("web1",)),
    ]
    assert table.resets == 48
    assert [host.host for host in table.hosts] == ["web1", "web2", "web3"]


def test_units_and_containers_of_one_program_are_listed_in_its_row() -> None:
    web, other = owner(unit="haproxy.service"), owner(unit="docker-0123456789ab")
    (row,) = table_of(watched(resets(1, of=web), resets(2, of=other))).rows
    assert (row.count, row.units) == (3, ("docker-0123456789ab", "haproxy.service"))


def test_a_program_that_was_upgraded_while_it_runs_is_the_same_program() -> None:
    (row,) = host_resets(watched(resets(1), resets(2, of=owner(f"{HAPROXY} (deleted)"))))
    assert (row.program, row.count) == (ProgramPort(HAPROXY, 8443), 3)


def test_a_program_without_a_path_has_the_name_of_its_task_or_none() -> None:
    task, nothing = owner("", command="worker"), owner("", command="")
    rows = host_resets(watched(resets(2, of=task), resets(1, of=nothing)))
    assert [str(row.program) for row in rows] == ["worker:8443", "unknown program:8443"]


def test_ports_that_the_kernel_chose_are_one_row() -> None:
    curl = owner(CURL)
    rows = host_resets(watched(resets(3, 0, of=curl), resets(7, 50051, of=curl)))
    assert [(str(row.program), row.program.port, row.count) for row in rows] == [
        ("curl:50051", 50051, 7),
        ("curl:ephemeral", None, 3),
    ]


def test_what_a_reply_had_no_room_for_is_a_row_of_other_programs() -> None:
    (row,) = host_resets(watched(resets(9, 0, "other", Owner(command="other"))))
    assert str(row.program) == "other programs:ephemeral"


def test_a_host_that_could_not_be_watched_has_no_count_and_keeps_its_reason() -> None:
    table = table_of(NOT_ROOT, watched(), NOT_ROOT)
    assert (table.asked, len(table.hosts), table.rows) == (3, 1, ())
    (failed,) = table.not_watched
    assert failed.problem == "watching needs root"
    assert failed.hint == "set become: true"
    assert failed.hosts.ranges == ("web[1,3]",)


@pytest.mark.parametrize("change", [{"sampled": True}, {"lost": 3}])
def test_counts_are_at_least_that_if_events_are_missing(change: dict[str, int]) -> None:
    whole, partial = watched(resets(1)), replace(watched(resets(1, 80)), **change)
    table = table_of(whole, partial)
    assert {row.program.port: row.is_partial for row in table.rows} == {80: True, 8443: False}
    assert table.is_partial


def test_a_watch_without_a_length_has_no_rate() -> None:
    (row,) = table_of(watched(resets(1), seconds=0.0)).rows
    assert row.per_minute is None


def test_networks_of_peers_are_added_up_and_bounded() -> None:
    one = replace(resets(3), peers={"192.0.2.0/24": 2, "198.51.100.0/24": 1})
    other = replace(resets(40, of=owner(unit="a")), peers={f"10.0.{n}.0/24": 1 for n in range(40)})
    (row,) = host_resets(watched(one, replace(one, peers={"192.0.2.0/24": 9}), other))
    assert len(row.peers) == 32
    assert next(iter(row.peers.items())) == ("192.0.2.0/24", 11)


def test_sockets_with_unread_data_are_folded_by_program() -> None:
    some = replace(watched(), unread=(unread(2), unread(1, 0, owner(CURL))))
    table = table_of(some, replace(some, unread=(unread(5),)), replace(some, unread=None))
    rows = [(str(r.program), r.sockets, r.bytes, r.hosts.ranges) for r in table.unread]
    assert rows == [
        ("haproxy:8443", 7, 70, ("web[1-2]",)),
        ("curl:ephemeral", 1, 10, ("web1",)),
    ]
    assert table.has_unread
    assert not table_of(replace(some, unread=None)).has_unread


def test_notes_of_hosts_are_listed_once() -> None:
    noted = replace(watched(), notes=("3 events were lost", "3 events were lost"))
    ((note, hosts),) = table_of(noted, watched(), noted).notes
    assert (note, hosts.ranges) == ("3 events were lost", ("web[1,3]",))


def test_the_order_of_what_a_host_reports_does_not_matter() -> None:
    found = (resets(2), resets(2, 80), resets(2, reason="linger 0"), resets(2, of=owner(NGINX)))

    def rows_of(order: tuple[Resets, ...]) -> object:
        host: Audited = watched_host("web1", watched(*order))
        return watch_table([host]).rows

    first, *others = map(rows_of, itertools.permutations(found))
    assert all(rows == first for rows in others)
