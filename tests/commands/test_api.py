"""The Python API: the page that shows it, and what a caller can rely on."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path

import pytest

import fleetaudit
from fleetaudit.errors import InputError, NothingToDoError, UsageError
from tests import ROOT
from tests.support.commands import PLAYBOOK
from tests.support.runs import run_of

PAGE = ROOT / "docs/api.md"
LOCAL = {"ansible_connection": "local"}


@pytest.fixture
def playbook(tmp_path: Path) -> fleetaudit.Playbook:
    (tmp_path / "quick.yml").write_text(PLAYBOOK)
    return fleetaudit.load_playbook(tmp_path / "quick.yml")


def hosts(*names: str) -> fleetaudit.LoadedInventory:
    return fleetaudit.load_inventory("".join(f"{name}," for name in names), extra_vars=LOCAL)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) > 5
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "localhost done" in done.stdout
    assert "no such run" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["before.json"]


def test_the_page_names_every_function_and_type() -> None:
    text = PAGE.read_text()
    missing = [name for name in fleetaudit.__all__ if name not in text]
    assert not missing


def test_every_name_can_be_imported_and_is_listed() -> None:
    for name in fleetaudit.__all__:
        assert getattr(fleetaudit, name) is getattr(fleetaudit, name)
    assert set(fleetaudit.__all__) <= set(dir(fleetaudit))
    assert fleetaudit.audit.__name__ == "audit"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fleetaudit.nothing  # noqa: B018


def test_the_package_is_typed() -> None:
    assert resources.files("fleetaudit").joinpath("py.typed").is_file()


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, fleetaudit; fleetaudit.FleetauditError; "
        "print({'msgspec', 'paramiko', 'jinja2', 'click', 'yaml'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_every_host_has_exactly_one_result(playbook: fleetaudit.Playbook) -> None:
    seen = list[fleetaudit.HostResult]()
    run = fleetaudit.audit(hosts("a", "b", "c"), playbook, limit="a:c", on_result=seen.append)
    assert [host.name for host in run.hosts] == ["a", "c"]
    assert sorted(host.name for host in seen) == ["a", "c"]
    assert all(isinstance(host, fleetaudit.Audited) for host in run.hosts)
    assert run.run.limit == "a:c"
    assert fleetaudit.compare(run).run.id == run.run.id


def test_an_audit_writes_prints_and_changes_nothing_of_its_caller(
    playbook: fleetaudit.Playbook,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    handlers = list(logging.getLogger().handlers), list(logging.getLogger("fleetaudit").handlers)
    fleetaudit.audit(hosts("a"), playbook)
    assert [signal.getsignal(number) for number in numbers] == before
    after = list(logging.getLogger().handlers), list(logging.getLogger("fleetaudit").handlers)
    assert after == handlers
    assert capfd.readouterr() == ("", "")
    assert not list(folder.iterdir())


def test_a_stop_request_leaves_the_other_hosts_not_audited(playbook: fleetaudit.Playbook) -> None:
    stop = fleetaudit.StopRequest()
    run = fleetaudit.audit(
        hosts("a", "b", "c"),
        playbook,
        settings=fleetaudit.EngineSettings(forks=1),
        on_result=lambda _: stop.request("one is enough"),
        stop=stop,
    )
    first, *others = run.hosts
    assert isinstance(first, fleetaudit.Audited)
    assert len(others) == 2
    for host in others:
        assert isinstance(host, fleetaudit.NotAudited)
        assert host.reason == "one is enough before this host answered"


def test_an_exception_of_on_result_ends_the_audit_and_is_raised(
    playbook: fleetaudit.Playbook,
) -> None:
    calls = list[str]()

    def fail(result: fleetaudit.HostResult) -> None:
        calls.append(result.name)
        raise LookupError(result.name)

    with pytest.raises(LookupError):
        fleetaudit.audit(hosts("a", "b", "c"), playbook, on_result=fail)
    assert len(calls) == 1


def test_an_interrupt_is_raised(playbook: fleetaudit.Playbook) -> None:
    def interrupt(_: fleetaudit.HostResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleetaudit.audit(hosts("a"), playbook, on_result=interrupt)


def test_an_audit_runs_outside_the_main_thread(playbook: fleetaudit.Playbook) -> None:
    runs = list[fleetaudit.AuditRun]()
    thread = threading.Thread(target=lambda: runs.append(fleetaudit.audit(hosts("a"), playbook)))
    thread.start()
    thread.join(300)
    assert [len(run.hosts) for run in runs] == [1]


def test_a_host_that_cannot_be_reached_has_a_command_that_can_be_pasted(
    playbook: fleetaudit.Playbook, closed_port: int
) -> None:
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": str(closed_port)}
    inventory = fleetaudit.load_inventory("web1,", extra_vars=unreachable)
    (host,) = fleetaudit.audit(
        inventory, playbook, settings=fleetaudit.EngineSettings(retries=0)
    ).hosts
    assert isinstance(host, fleetaudit.NotAudited)
    assert (host.stage, host.kind) == ("connect", "connection refused")
    assert "…" not in host.hint


def test_a_run_is_the_same_after_it_is_rendered_and_read(
    playbook: fleetaudit.Playbook, tmp_path: Path
) -> None:
    run = fleetaudit.audit(hosts("a"), playbook)
    (tmp_path / "run.json").write_bytes(fleetaudit.render(run, "json"))
    assert fleetaudit.load_run(tmp_path / "run.json") == run
    assert fleetaudit.render(run, "html").startswith(b"<!doctype html>")
    assert fleetaudit.render(run, "text") == fleetaudit.render(run)
    assert fleetaudit.diff(run, run).is_unchanged
    assert fleetaudit.merge(run) == run


def test_wrong_arguments_are_errors_of_fleetaudit(
    playbook: fleetaudit.Playbook, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="name an inventory"):
        fleetaudit.load_inventory()
    with pytest.raises(NothingToDoError):
        fleetaudit.load_inventory(tmp_path / "missing.yml")
    with pytest.raises(NothingToDoError):
        fleetaudit.load_playbook(tmp_path / "missing.yml")
    with pytest.raises(fleetaudit.FleetauditError):
        fleetaudit.audit(hosts("a"), playbook, limit="nobody")
    with pytest.raises(NothingToDoError):
        fleetaudit.load_run(tmp_path / "missing")
    run = run_of(())
    with pytest.raises(UsageError, match="is none of html, json"):
        fleetaudit.render(run, "pdf")
    with pytest.raises(UsageError, match="at least one run"):
        fleetaudit.merge()
    (tmp_path / "broken.yml").write_text("- hosts: [")
    with pytest.raises(InputError):
        fleetaudit.load_playbook(tmp_path / "broken.yml")
