"""Hosts that the workers of a Dask cluster audit: a real scheduler, real workers, a real sshd."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import Audited, NotAudited
from fleetaudit.store.run_file import read_run
from tests.commands.test_cli import MET, PLAYBOOK, Folder
from tests.support.dask_cluster import Cluster, copy_of_another_version, start_cluster
from tests.support.sshd import Server, free_port, wait_for

pytestmark = pytest.mark.commands

HOSTS = 8
"""Hosts of the fleet of a test, besides those that it adds."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.write("met.yml", PLAYBOOK.replace("{SENTENCE}", MET))
    return made


def variables(sshd: Server, **more: object) -> dict[str, object]:
    target = sshd.target()
    return {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_ssh_private_key_file": target.private_keys[0],
        **more,
    }


def write_inventory(folder: Folder, hosts: dict[str, dict[str, object]]) -> None:
    folder.write("inventory.yml", json.dumps({"all": {"hosts": hosts}}))


def options(sshd: Server, cluster: Cluster) -> tuple[str, ...]:
    known_hosts = sshd.target().known_hosts[0]
    return ("-p", "met.yml", "--known-hosts", known_hosts, "--engine", cluster.engine)


def start_shipped(folder: Folder, sshd: Server, cluster: Cluster) -> subprocess.Popen[str]:
    """Starts the shipped playbook, which takes seconds: time to be killed in the middle."""
    known_hosts = sshd.target().known_hosts[0]
    return folder.start("run", "--known-hosts", known_hosts, "--engine", cluster.engine)


def results(folder: Folder) -> dict[str, Any]:
    return {host.name: host for host in read_run(folder.path / "reports/latest").hosts}


def test_workers_audit_the_hosts_and_this_machine_audits_itself(
    folder: Folder, sshd: Server, three_workers: Cluster
) -> None:
    hosts = {f"web{n}": variables(sshd) for n in range(HOSTS)}
    hosts["here"] = {"ansible_connection": "local"}
    hosts["stranger"] = variables(sshd, ansible_user="nobody-of-that-name")
    hosts["secret"] = variables(sshd, ansible_password="hunter2hunter2")
    hosts["mars"] = variables(sshd, fleetaudit_site="mars")
    write_inventory(folder, hosts)
    done = folder.run("run", *options(sshd, three_workers), "-v")
    assert done.returncode == 4, done.stdout + done.stderr
    found = results(folder)
    assert list(found) == list(hosts)
    for name in (*(f"web{n}" for n in range(HOSTS)), "here"):
        assert isinstance(found[name], Audited), found[name]
        assert {o.scenario: o.ending for o in found[name].observations}["unread-close"] == "RST"
    assert (found["stranger"].stage, found["stranger"].kind) == (
        "authenticate",
        "permission denied",
    )
    assert found["secret"].kind == "password not sent"
    assert "not sent to workers" in found["secret"].reason
    assert found["mars"].kind == "worker missing"
    command = f"dask worker {three_workers.url} --nthreads 1 --resources site:mars=1"
    assert found["mars"].hint == command
    assert "3 workers, 1 of 1 batches" in done.stderr
    assert "hunter2hunter2" not in done.stdout + done.stderr


def test_a_group_is_audited_by_a_worker_of_its_site(
    folder: Folder, sshd: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_inventory(folder, {"web1": variables(sshd, fleetaudit_site="eu")})
    with start_cluster(tmp_path_factory.mktemp("dask"), 2) as cluster:
        elsewhere = set(cluster.workers)
        eu = cluster.start_worker("--resources", "site:eu=1")
        for address in elsewhere:
            cluster.kill(cluster.workers[address])
        done = folder.run("run", *options(sshd, cluster))
        assert done.returncode == 0, done.stdout + done.stderr
        assert eu not in elsewhere
    assert isinstance(results(folder)["web1"], Audited)


def test_the_batch_of_a_killed_worker_runs_again_elsewhere(
    folder: Folder, sshd: Server, three_workers: Cluster
) -> None:
    hosts = {f"web{n}": variables(sshd) for n in range(HOSTS)}
    write_inventory(folder, hosts)
    with start_shipped(folder, sshd, three_workers) as process:
        killed = three_workers.busy_worker()
        three_workers.kill(three_workers.workers[killed])
        out, err = process.communicate()
    assert process.returncode in (0, 2), out + err
    found = results(folder)
    assert list(found) == list(hosts)
    assert all(isinstance(host, Audited) for host in found.values())


def test_hosts_that_a_dead_scheduler_leaves_are_not_audited(
    folder: Folder, sshd: Server, three_workers: Cluster
) -> None:
    hosts = {f"web{n}": variables(sshd) for n in range(HOSTS)}
    write_inventory(folder, hosts)
    with start_shipped(folder, sshd, three_workers) as process:
        three_workers.busy_worker()
        three_workers.kill(three_workers.pid)
        out, err = process.communicate()
    assert process.returncode == 4, out + err
    found = results(folder)
    assert list(found) == list(hosts)
    for host in found.values():
        assert isinstance(host, NotAudited)
        assert host.kind == "worker lost"
        gone = f"worker lost: the Dask scheduler at {three_workers.url} is gone"
        assert host.reason == gone
        assert f"-l {host.name}" in host.hint
    assert "Traceback" not in out + err


def test_a_worker_of_another_version_gets_no_host(
    folder: Folder, sshd: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_inventory(folder, {f"web{n}": variables(sshd) for n in range(HOSTS)})
    with start_cluster(tmp_path_factory.mktemp("dask"), 1) as cluster:
        environment = copy_of_another_version(tmp_path_factory.mktemp("other"))
        other = cluster.start_worker(environment=environment)
        mixed = folder.run("run", *options(sshd, cluster))
        assert mixed.returncode == 0, mixed.stdout + mixed.stderr
        assert f"{other} gets no host: it has fleetaudit 99." in mixed.stderr
        (good,) = cluster.workers.keys() - {other}
        cluster.kill(cluster.workers[good])
        wait_for(lambda: good not in cluster.known(), "the scheduler still knows the worker")
        refused = folder.run("run", *options(sshd, cluster))
    assert refused.returncode == 78, refused.stdout + refused.stderr
    assert f"{other}: it has fleetaudit 99." in refused.stderr


def test_a_scheduler_that_is_not_there_is_refused_before_a_run_begins(folder: Folder) -> None:
    port = free_port()
    done = folder.run("run", "localhost,", "-p", "met.yml", "--engine", f"dask://127.0.0.1:{port}")
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"no Dask scheduler answers at tcp://127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((folder.path / "reports").glob("2*"))


def test_tls_without_certificates_is_refused_at_once(folder: Folder) -> None:
    engine = f"dask+tls://127.0.0.1:{free_port()}"
    done = folder.run("run", "localhost,", "-p", "met.yml", "--engine", engine)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "Dask's configuration lacks distributed.comm.tls.ca-file" in done.stderr
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE=FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_on_which_nobody_answers_is_refused_in_time(
    folder: Folder, silent_port: int
) -> None:
    engine = f"dask://127.0.0.1:{silent_port}"
    done = folder.run("run", "localhost,", "-p", "met.yml", "--engine", engine)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "nobody answers as Dask does" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scheduler_without_workers_is_refused(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with start_cluster(tmp_path_factory.mktemp("dask"), 0) as cluster:
        done = folder.run("run", "localhost,", "-p", "met.yml", "--engine", cluster.engine)
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"dask worker {cluster.url}" in done.stderr


@pytest.mark.parametrize("text", ["dask://", "dask://host", "tcp://host:1", "dask://host:1/x y"])
def test_an_engine_that_is_no_address_is_a_usage_error(folder: Folder, text: str) -> None:
    done = folder.run("run", "localhost,", "--engine", text)
    assert done.returncode == 64, done.stdout + done.stderr
    assert "dask://HOST:8786" in done.stderr


def test_a_worker_ends_its_batch_when_the_run_is_killed(
    folder: Folder, sshd: Server, three_workers: Cluster
) -> None:
    write_inventory(folder, {f"web{n}": variables(sshd) for n in range(HOSTS)})
    with start_shipped(folder, sshd, three_workers) as process:
        busy = three_workers.workers[three_workers.busy_worker()]
        wait_for(lambda: _connections(busy, sshd.port) > 0, "the worker connects to no host")
        process.kill()
        process.communicate()
        wait_for(lambda: _connections(busy, sshd.port) == 0, "the worker keeps its connections")


def _connections(pid: int, port: int) -> int:
    """Returns how many connections a process has to a port of loopback."""
    done = subprocess.run(
        ["ss", "-Htnp", "state", "established", f"dport = :{port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.count(f"pid={pid},")
