"""A run that was interrupted or killed at any moment is finished, and is then what it would have
been.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from fleetaudit.model import (
    Audited,
    AuditRun,
    Expectation,
    ExposureExpectation,
    NotAudited,
    Plan,
)
from fleetaudit.playbook.shards import select_shard
from fleetaudit.store.journal import read_journal
from fleetaudit.store.manifest import (
    ManifestHost,
    decode_manifest,
    manifest_hosts,
    merge_results,
    remaining_plan,
    results_to_keep,
)
from fleetaudit.store.names import name_order
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_folder import read_results
from tests import ROOT
from tests.support.commands import Workspace, until
from tests.support.stored_runs import as_killed, host_lines, replace_line
from tests.unit.engine.test_scheduler import host_plan, plan_of

# The command, with a transport that answers at once: what is tested is the folder, at 20 kills a
# test.
FAKE = """
import sys, time
from fleetaudit.cli import main
from fleetaudit.transport import registry
from tests.unit.engine.test_scheduler import reply, to_call
def run(self, target, command, stdin, deadline, limits, passed=None):
    time.sleep(0.002)
    return to_call(stdin, reply())
registry.Transports.run = run
main(sys.argv[1:])
"""
HOSTS = "web[001:200],"
SYSCTLS = "- name: sysctls\n  hosts: all\n  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}\n"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.write("sysctls.yml", SYSCTLS)
    return place


def fake(place: Workspace, *arguments: str, before: str = "") -> subprocess.Popen[str]:
    _, env = place.command()
    command = [sys.executable, "-c", before + FAKE, *arguments]
    env = env | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=place.path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str], status: int = 0) -> str:
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == status, stdout + stderr
    return stdout + stderr


RUN = ("run", HOSTS, "-p", "sysctls.yml", "--format", "json", "--baseline", "none", "-f", "8")


def like_any_other(run: AuditRun) -> AuditRun:
    """The run without what no two runs share: when it was, its place among others, and what each
    host took.
    """
    info = msgspec.structs.replace(run.run, id="", started="", finished="", sequence=0)
    hosts = [
        msgspec.structs.replace(h, elapsed_s=0) if not isinstance(h, NotAudited) else h
        for h in run.hosts
    ]
    return msgspec.structs.replace(run, run=info, hosts=tuple(hosts))


def test_a_run_that_is_killed_twenty_times_at_random_moments_is_finished_as_if_undisturbed(
    place: Workspace,
) -> None:
    finished(fake(place, *RUN))
    (undisturbed,) = place.runs()
    chance, kills = random.Random(20), 0
    arguments: tuple[str, ...] = RUN
    while kills < 20:
        process = fake(place, *arguments)
        # From before it has read its own modules to after it has written its last file.
        time.sleep(chance.uniform(0.1, 1.4))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate(timeout=300)
        folders = place.runs()
        assert len(folders) <= 2  # a killed beginning leaves nothing, or a run that can be resumed
        if len(folders) == 2:
            arguments = ("run", "--resume", str(folders[1].name), "-f", "8", "--baseline", "none")
            assert decode_manifest(
                (folders[1] / "plan.json").read_bytes(), source=""
            ).inventory == (HOSTS,)
            read_results(folders[1], lambda _: None)
    finished(fake(place, *arguments))
    _, disturbed = place.runs()
    one, other = read_run(undisturbed), read_run(disturbed)
    assert len(other.hosts) == 200
    assert like_any_other(one) == like_any_other(other)
    assert (place.path / "reports/latest").readlink().name == disturbed.name
    assert not [path for path in disturbed.iterdir() if path.name.endswith(".part")] or kills


def test_a_resumed_run_audits_only_the_hosts_that_are_missing_or_were_interrupted(
    place: Workspace,
) -> None:
    place.locals(6)
    process = place.start("run", "-p", "quick.yml", "--format", "text", "-f", "1")
    until(lambda: any(len(host_lines(path)) >= 2 for path in journals(place)), "two hosts")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 143, stdout + stderr
    (folder,) = place.runs()
    assert f"fleetaudit run --resume reports/{folder.name}" in stderr
    before = read_run(folder)
    done = {host.name for host in before.hosts if host.stage != "interrupted"}
    assert 2 <= len(done) < 6
    assert not (place.path / "reports/latest").exists()
    journal = {host.name for host in read_journal(folder / "hosts.jsonl")}
    assert journal >= done

    resumed = place.run("run", "--resume", "reports/" + folder.name)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    after = read_run(place.path / "reports/latest")
    assert (after.run.id, after.run.started) == (before.run.id, before.run.started)
    assert [host.name for host in after.hosts] == [f"host{n:02}" for n in range(6)]
    assert not any(isinstance(host, NotAudited) for host in after.hosts)
    kept = [host for host in before.hosts if host.name in done]
    assert [host for host in after.hosts if host.name in done] == kept  # and their seconds
    assert not (folder / "hosts.jsonl").exists()
    assert (folder / "report.txt").exists()  # --format is remembered


def journals(place: Workspace) -> list[Path]:
    return list((place.path / "reports").glob("2*/hosts.jsonl"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four hosts."""
    place = Workspace(tmp_path_factory.mktemp("begun"))
    place.write("sysctls.yml", SYSCTLS)
    finished(fake(place, "run", "web[1:4],", "-p", "sysctls.yml", "--format", "json"))
    (folder,) = place.runs()
    return folder


@pytest.fixture
def left(place: Workspace, begun: Path) -> Path:
    """A run of two of four hosts, as kill -9 leaves it."""
    folder = place.path / "reports" / begun.name
    shutil.copytree(begun, folder)
    plan = json.loads((folder / "plan.json").read_bytes())
    (folder / "plan.json").write_text(json.dumps(plan | {"folder": str(place.path)}))
    journal = as_killed(folder, 3)
    journal.write_bytes(journal.read_bytes()[:-9])
    return folder


def test_a_last_line_that_was_cut_is_audited_again(place: Workspace, left: Path) -> None:
    finished(fake(place, "run", "--resume", left.name))
    assert [host.name for host in read_run(left).hosts] == ["web1", "web2", "web3", "web4"]
    assert not (left / "hosts.jsonl").exists()


def test_the_host_of_a_poisoned_line_is_audited_again_with_a_note_and_the_run_finishes(
    place: Workspace, left: Path
) -> None:
    journal = left / "hosts.jsonl"
    first, *_ = host_lines(journal)
    line = journal.read_bytes().splitlines()[first]
    replace_line(journal, first, line.replace(b'"elapsed_s":', b'"elapsed_s":1e999,"old":', 1))
    said = finished(fake(place, "run", "--resume", left.name))
    assert f"hosts.jsonl:{first + 1}: not a valid result; that host is audited again: " in said
    assert "$[1].elapsed_s" in said
    assert [host.name for host in read_run(left).hosts] == ["web1", "web2", "web3", "web4"]
    assert all(isinstance(host, Audited) for host in read_run(left).hosts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("web[1:5],",), "new hosts: web5"),
        (("web[1:3],",), "removed hosts: web4"),
        (("web4,web[1:3],",), "the order of its hosts is different"),
        (("-u", "somebody"), "these hosts would be reached differently: web[1-4]"),
        (("-l", "web1:web2"), "removed hosts: web[3-4]"),
    ],
)
def test_another_inventory_is_refused_with_the_hosts_that_differ(
    place: Workspace, left: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = {path.name: path.read_bytes() for path in left.iterdir()}
    said = finished(fake(place, "run", "--resume", left.name, *arguments), 65)
    assert words in said
    assert "Traceback" not in said
    assert {path.name: path.read_bytes() for path in left.iterdir()} == before


def test_a_password_file_that_is_typed_takes_the_place_of_the_recorded_question(
    place: Workspace,
) -> None:
    place.write("secret", "x\n").chmod(0o600)
    files = ("--become-password-file", "secret", "--connection-password-file", "secret")
    finished(fake(place, "run", "web[1:4],", "-p", "sysctls.yml", "--format", "json", "-b", *files))
    (folder,) = place.runs()
    # As -b -k -K would have begun it, and kill -9 left it.
    plan = json.loads((folder / "plan.json").read_bytes())
    plan["words"] |= {"ask_pass": True, "ask_become_pass": True}
    plan["words"] |= {"connection_password_file": None, "become_password_file": None}
    (folder / "plan.json").write_text(json.dumps(plan))
    as_killed(folder, 1)
    finished(fake(place, "run", "--resume", folder.name, *files))
    assert [host.name for host in read_run(folder).hosts] == [
        "web1",
        "web2",
        "web3",
        "web4",
    ]


def test_a_last_run_that_is_damaged_does_not_cost_the_next_one(
    place: Workspace, begun: Path
) -> None:
    earlier = place.path / "reports" / begun.name
    shutil.copytree(begun, earlier)
    file = earlier / "store.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"elapsed_s":', b'"elapsed_s":1e999,"old":', 1))
    finished(fake(place, "run", "web[1:4],", "-p", "sysctls.yml", "--format", "json,text"))
    _, folder = place.runs()
    run = read_run(folder)
    assert len(run.hosts) == 4
    assert run.drift is not None
    assert "it cannot be read: " in run.drift.refused
    assert "it cannot be read:" in finished(
        fake(place, "run", "--resume", folder.name, "--fail-on", "drift"), 8
    )


BROKEN = """
from fleetaudit.analysis.compare import host_index
def about(host, honest=host_index._about):
    if host.name == "web3" and host.kernel:
        raise IndexError("a bug of ours")
    return honest(host)
host_index._about = about
"""


def test_a_bug_while_hosts_are_compared_costs_the_one_host_and_no_other(place: Workspace) -> None:
    said = finished(
        fake(
            place, "run", "web[1:20],", "-p", "sysctls.yml", "--format", "html,csv", before=BROKEN
        ),
        4,
    )
    (folder,) = place.runs()
    hosts = {host.name: host for host in read_run(folder).hosts}
    assert [name for name, host in hosts.items() if not isinstance(host, Audited)] == ["web3"]
    assert hosts["web3"].stage == "report"
    assert "met at host web3" in said
    assert "IndexError: a bug of ours" in said
    assert "1 of the hosts not audited failed because of a bug in fleetaudit" in said
    assert "19 audited" in said or "19 of 20" in said
    assert all((folder / name).exists() for name in ("report.html", "report.csv"))
    assert (place.path / "reports/latest").readlink().name == folder.name


def test_a_changed_playbook_is_refused(place: Workspace, left: Path) -> None:
    place.write("sysctls.yml", SYSCTLS.replace("fin_timeout", "rfc1337"))
    problem = "the playbook has changed: these hosts would run different scenarios: web[1-4]"
    assert problem in finished(fake(place, "run", "--resume", left.name), 65)


def test_another_version_is_refused(place: Workspace, left: Path) -> None:
    plan = json.loads((left / "plan.json").read_bytes())
    (left / "plan.json").write_text(json.dumps(plan | {"fleetaudit": "0.0.1"}))
    assert "begun by fleetaudit 0.0.1" in finished(fake(place, "run", "--resume", left.name), 65)


def test_resuming_from_another_folder_prints_the_cd_command(place: Workspace, left: Path) -> None:
    (place.path / "elsewhere").mkdir()
    there = Workspace(place.path / "elsewhere")
    said = finished(fake(there, "run", "--resume", str(left)), 65)
    assert f"cd {place.path} && fleetaudit run --resume {left}" in said
    plan = json.loads((left / "plan.json").read_bytes())
    (left / "plan.json").write_text(json.dumps(plan | {"folder": "/tmp/a b;id"}))
    assert "cd '/tmp/a b;id' && fleetaudit run --resume" in finished(
        fake(there, "run", "--resume", str(left)), 65
    )


def test_a_run_without_a_plan_cannot_be_resumed_and_says_so(place: Workspace, left: Path) -> None:
    (left / "plan.json").unlink()
    assert "has no plan.json" in finished(fake(place, "run", "--resume", left.name), 65)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b'{"format":"\xff"}', b"[" * 100_000, b'{"format":"fleetaudit-plan/9"}'],
    ids=len,
)
def test_a_file_that_is_not_a_plan_is_refused(place: Workspace, left: Path, text: bytes) -> None:
    (left / "plan.json").write_bytes(text)
    assert "not the plan of a run" in finished(fake(place, "run", "--resume", left.name), 65)


def test_a_finished_run_that_is_resumed_stays_what_it_is_and_latest_does_not_go_back(
    place: Workspace,
) -> None:
    for _ in range(2):
        finished(fake(place, "run", "web[1:3],", "-p", "sysctls.yml", "--format", "text"))
    first, second = sorted(place.runs(), key=lambda path: name_order(path.name))
    (first / "report.txt").unlink()  # as if it had been killed before it wrote this
    before = read_run(first)
    finished(fake(place, "run", "--resume", first.name))
    assert (first / "report.txt").exists()
    assert like_any_other(read_run(first)).hosts == like_any_other(before).hosts
    assert (place.path / "reports/latest").readlink().name == second.name


# ---- pure
# ------------------------------------------------------------------------------------------------


def test_a_hosts_digests_differ_exactly_if_its_connection_or_experiment_does() -> None:
    plan = plan_of("a", "b")
    same = Plan(
        playbooks=("other.yml",),
        hosts=(host_plan("a"), msgspec.structs.replace(host_plan("b"), trials=2)),
    )
    (a, b), (c, d) = manifest_hosts(plan), manifest_hosts(same)
    assert a == c == ManifestHost("a", a.connection, a.experiment)
    assert (b.connection, b.experiment == d.experiment) == (d.connection, False)
    assert a.connection != b.connection  # another address
    moved = msgspec.structs.replace(host_plan("a"), origin="hosts.yml:99")
    assert manifest_hosts(Plan(playbooks=("other.yml",), hosts=(moved,))) == (a,)
    for name, rule in (
        ("exposure_expect", ExposureExpectation(at_most=5)),
        ("kernels_expect", Expectation()),
    ):
        wanted = msgspec.structs.replace(host_plan("a"), **{name: {"some": (rule,)}})
        (other,) = manifest_hosts(Plan(playbooks=("other.yml",), hosts=(wanted,)))
        assert (other.connection, other.experiment == a.experiment) == (a.connection, False), name


def test_a_later_result_replaces_an_interruption_and_never_the_reverse() -> None:
    gone = NotAudited(name="a", stage="interrupted", reason="stopped")
    refused = NotAudited(name="a", stage="connect", reason="refused")
    assert results_to_keep([gone]) == {}
    assert results_to_keep([gone, refused]) == results_to_keep([refused, gone]) == {"a": refused}
    plan = plan_of("a", "b")
    assert [host.name for host in remaining_plan(plan, {"a": refused}).hosts] == ["b"]
    other = NotAudited(name="b", stage="connect", reason="refused")
    assert merge_results(plan, {"a": refused}, [other]) == (refused, other)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_every_host_is_in_exactly_one_shard_whatever_the_order_of_the_inventory(parts: int) -> None:
    names = [f"web{n}" for n in range(40)]
    shuffled = random.Random(1).sample(names, len(names))
    shards = [
        [h.name for h in select_shard(plan_of(*names), n, parts).hosts] for n in range(1, parts + 1)
    ]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for n, shard in enumerate(shards, 1):
        assert set(shard) == {h.name for h in select_shard(plan_of(*shuffled), n, parts).hosts}


def test_shards_that_ran_apart_merge_into_the_run_of_the_whole(place: Workspace) -> None:
    for part in ("1/2", "2/2"):
        finished(
            fake(place, "run", "web[1:5],", "-p", "sysctls.yml", "--shard", part, "-o", part[0])
        )
    merged = place.run("merge", "1/latest", "2/latest", "--format", "json,pcap")
    assert merged.returncode == 0, merged.stderr
    run = read_run(place.path / "reports/latest")
    assert [host.name for host in run.hosts] == [f"web{n}" for n in range(1, 6)]
    assert len(list((place.path / "reports/latest/traces").glob("*.pcap"))) == 5
    twice = place.run("merge", "1/latest", "2/latest", "reports/latest")
    assert twice.returncode == 65
    assert "also in 1/latest: web" in twice.stderr


def test_a_check_has_the_status_of_a_run_in_which_a_host_cannot_be_audited(
    place: Workspace,
) -> None:
    place.locals(1)
    (place.path / "switch.yml").write_text("all: {hosts: {sw1: {ansible_connection: winrm}}}")
    done = place.run("run", "-C", "inventory.yml", "switch.yml", "-p", "quick.yml")
    assert done.returncode == 4, done.stderr
    assert done.stdout.splitlines()[1].startswith("sw1  cannot be audited: inventory  ")
    assert not (place.path / "reports").exists()


def test_a_check_says_what_would_run_where_and_connects_and_writes_nothing(
    place: Workspace,
) -> None:
    place.locals(1)
    done = place.run("run", "-C", "inventory.yml", "gone.invalid,", "-p", "quick.yml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("host00  this machine  ")
    assert done.stdout.splitlines()[1].startswith(
        "gone.invalid  ssh gone.invalid  "
    )  # the port is ssh_config's to say
    assert not (place.path / "reports").exists()
