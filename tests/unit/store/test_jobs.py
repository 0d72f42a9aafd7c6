"""Which runs are of one job: only other hosts or scenarios make another job."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from fleetaudit.model import RunInfo
from fleetaudit.store.jobs import describe_job, job_name, takes_over_latest

INFO = RunInfo(
    id="2026-01-31T020000Z",
    started="2026-01-31T02:00:00Z",
    finished="2026-01-31T02:00:09Z",
    fleetaudit="0.1.0",
    playbooks=("unread-close.yml",),
    controller="Python 3.11.2",
    inventory=("inventories/fleet.yml",),
)


def test_a_job_is_named_after_its_inventory_and_its_name_never_changes() -> None:
    """A changed name would break the history, and every dashboard that selects it."""
    assert job_name(INFO) == "fleet-6fd63c10"


@pytest.mark.parametrize(
    "changes",
    [
        {"inventory": ("inventories/other.yml",)},
        {"inventory": ("inventories/fleet.yml", "more.yml")},
        {"playbooks": ("unread-close.yml", "ours.yml")},
        {"limit": "web"},
        {"shard": "1/2"},
        {"tags": ("slow",)},
        {"skip_tags": ("slow",)},
    ],
    ids=str,
)
def test_other_hosts_or_other_scenarios_are_another_job(changes: dict[str, object]) -> None:
    assert job_name(replace(INFO, **changes)) != job_name(INFO)


def test_time_version_and_spelling_of_names_do_not_change_the_job() -> None:
    later = {
        "id": "x",
        "started": "2027",
        "finished": "2027",
        "fleetaudit": "9",
        "controller": "x",
        "notes": ("x",),
    }
    assert job_name(replace(INFO, **later, baseline="y", job="z")) == job_name(INFO)
    typed = replace(
        INFO, inventory=("./inventories//fleet.yml",), playbooks=("./unread-close.yml",)
    )
    assert job_name(typed) == job_name(INFO)
    assert job_name(replace(INFO, tags=("a", "b"))) == job_name(replace(INFO, tags=("b", "a")))


@pytest.mark.parametrize(
    ("inventory", "name"),
    [
        (("localhost,",), "localhost"),
        (("web[001:240],",), "web-001-240"),
        (("/srv/prod/",), "prod"),
        (("a/b.yml", "c.yml"), "b"),
        (("\N{SNOWMAN}",), "fleet"),
        ((), "fleet"),
        (("x" * 300,), "x" * 32),
    ],
)
def test_the_readable_part_of_a_job_is_short_and_plain(
    inventory: tuple[str, ...], name: str
) -> None:
    job = job_name(replace(INFO, inventory=inventory))
    assert job.rpartition("-")[0] == name
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,41}", job)


def test_a_name_that_is_not_utf_8_is_the_same_job_after_reading_its_run() -> None:
    typed = replace(
        INFO, inventory=("fleet\udcff.yml",), playbooks=("p\udcff.yml",), limit="all:!w\udcff"
    )
    read = replace(
        INFO, inventory=("fleet\ufffd.yml",), playbooks=("p\ufffd.yml",), limit="all:!w\ufffd"
    )
    assert job_name(typed) == job_name(read)


def test_another_command_makes_another_job_and_never_takes_latest_from_a_run() -> None:
    plain = INFO
    services = replace(plain, command="services")
    assert job_name(services) != job_name(plain) != job_name(replace(plain, command="watch"))
    assert describe_job(services) == f"services {describe_job(plain)}"
    assert not takes_over_latest(services, plain, None)
    assert takes_over_latest(plain, services, None)
