"""Fixtures that more than one test file uses, and the markers: what a test needs besides Python.

The folder of a test brings its marker (`FOLDERS`), and so does a fixture (`NEEDS`). A test that
starts a program of `PROGRAMS` without the marker fails, and a test of tests/unit may start no
program at all: `make fast`, which is tests/unit, cannot come to need a server, a kernel or a
browser.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fleetaudit.log import get_logger

from .support.kernels import Kernel, NoKernelsError, kernels

# On a busy machine an example may take any time.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

pytest_plugins = (
    "tests.support.browser",
    "tests.support.commands",
    "tests.support.sshd",
    "tests.support.dask_cluster",
    "tests.support.accounts",
    "tests.support.sudoers",
    "tests.support.inventory_score",
)
"""browser: chromium. commands: closed_port and silent_port. sshd: sshd, dropbear, start_sshd, agent
and keys, which are real SSH servers and agents on loopback. accounts, sudoers: hosts made by the
tests, with accounts, passwords, PAM and sudo, in mount namespaces. inventory_score: counts the
inventories that are read as Ansible reads them, and prints one line at the end.
"""

FOLDERS = {
    "commands": "commands",
    "conformance": "conformance",
    "fuzz": "slow",
    "hostile": "hostile",
    "kernels": "kernels",
    "page": "browser",
    "probe": "probe",
    "services": "slow",
    "slow": "slow",
    "transport": "ssh",
}
"""The marker of every test in a folder. tests/unit brings none."""

NEEDS = {
    "keys": "ssh",
    "dropbear": "ssh",
    "agent": "ssh",
    "start_accounts": "sudo",
    "real": "kernels",
    "chromium": "browser",
    "ansible": "conformance",
}
"""The marker of every test that uses a fixture, directly or through another fixture."""

PROGRAMS = {
    "ssh": "ssh",
    "sshd": "ssh",
    "ssh-agent": "ssh",
    "ssh-keygen": "ssh",
    "dropbear": "ssh",
    "sudo": "sudo",
    "doas": "sudo",
    "su": "sudo",
    "qemu-system-x86_64": "kernels",
    "chromium": "browser",
    "ansible": "conformance",
    "ansible-inventory": "conformance",
    "prometheus-node-exporter": "commands",
    "node_exporter": "commands",
}
"""The marker of a test that starts one of these programs."""

SLOWEST_FIRST = (
    "kernels",
    "hostile",
    "slow",
    "probe",
    "sudo",
    "ssh",
    "commands",
    "conformance",
    "browser",
)
"""Every marker, in the order in which files run: files that take minutes run first, so that no
worker ends long after the others.
"""

_running: pytest.Item | None = None

# Programs that are tested run as on a user's machine: output is buffered, and what was compiled
# once is kept, which also saves most of the time that collecting the tests takes.
for _name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(_name, None)
sys.dont_write_bytecode = False

# A shell starts what it puts in the background with ^C ignored, and every program that is tested
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by its folder and its fixtures, and puts the files with long tests first."""
    for item in items:
        _mark(item)
    ranks = dict[str, int]()
    for item in items:
        ranks[_file(item)] = min(_rank(item), ranks.get(_file(item), len(SLOWEST_FIRST)))
    items.sort(key=lambda item: ranks[_file(item)])


def _mark(item: pytest.Item) -> None:
    """Adds the markers of a test's folder and fixtures; refuses any marker in tests/unit."""
    if (folder := _folder(item)) in FOLDERS:
        item.add_marker(FOLDERS[folder])
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in NEEDS:
            item.add_marker(NEEDS[fixture])
    found = {marker.name for marker in item.iter_markers()} & set(SLOWEST_FIRST)
    if folder == "unit" and found:
        raise pytest.UsageError(
            f"{item.nodeid} is marked {', '.join(sorted(found))}: move it out of tests/unit"
        )


def _folder(item: pytest.Item) -> str:
    """Returns the folder of tests/ that a test is in: "unit", "probe" …"""
    return item.path.relative_to(Path(__file__).parent).parts[0]


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _rank(item: pytest.Item) -> int:
    marked = {marker.name for marker in item.iter_markers()}
    places = (n for n, name in enumerate(SLOWEST_FIRST) if name in marked)
    return next(places, len(SLOWEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Remembers which test runs, for the check below."""
    global _running
    _running = item
    try:
        return (yield)
    finally:
        _running = None


@pytest.fixture(autouse=True)
def _restore_logger() -> Iterator[None]:
    """Restores the logger after each test: a command sets it up for the whole process."""
    logger = get_logger("fleetaudit")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture
def turn_to_watch(request: pytest.FixtureRequest) -> Iterator[None]:
    """Holds a lock that tests in other processes share: a watch sees the whole machine, so a test
    that is marked "storm" waits until no other test watches, and the others wait for its end.
    """
    path = Path(tempfile.gettempdir()) / f"fleetaudit-tests-{os.getuid()}-watch.lock"
    is_storm = request.node.get_closest_marker("storm") is not None
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_storm else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def real() -> dict[str, Kernel]:
    """Returns the real kernels by name. Without any, the test is skipped; in CI it fails."""
    try:
        return {kernel.name: kernel for kernel in kernels()}
    except NoKernelsError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no real kernels: {e}")


def _check_program(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuses a program of `PROGRAMS` to a test without its marker, and any program to tests/unit.

    An audit hook: Python calls it before each program is started.
    """
    if event != "subprocess.Popen" or _running is None:
        return
    executable, argv = arguments[:2]
    # The executable may be named apart from the first argument.
    names = {PurePath(os.fsdecode(name)).name for name in (executable, *argv[:1]) if name}
    if _folder(_running) == "unit":
        raise RuntimeError(
            f"{_running.nodeid} starts {', '.join(sorted(names))}: move it out of tests/unit"
        )
    marked = {marker.name for marker in _running.iter_markers()}
    for name in names & set(PROGRAMS):
        if PROGRAMS[name] not in marked:
            raise RuntimeError(f"{_running.nodeid} starts {name}: mark it {PROGRAMS[name]}")


sys.addaudithook(_check_program)
