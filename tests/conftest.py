"""Fixtures that more than one test file uses, and the markers that divide the tests by what they
need.

A test that uses one of the fixtures of `NEEDS` is marked by it; one that starts a program of
`PROGRAMS` itself carries the marker in its file, and fails without it. So `make fast` cannot come
to need a server, a kernel or a browser.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from .support.kernels import Kernel, NoKernelsError, kernels

# On a busy machine an example may take any time.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

pytest_plugins = (
    "tests.support.commands",
    "tests.support.sshd",
    "tests.support.accounts",
    "tests.support.sudoers",
    "tests.support.inventory_score",
)
"""commands: closed_port and silent_port. sshd: sshd, dropbear, start_sshd, agent and keys, which
are real SSH servers and agents on loopback. accounts, sudoers: hosts of the tests' own with
accounts, passwords, PAM and sudo, in mount namespaces. inventory_score: how many inventories are
read as Ansible reads them, in one line at the end.
"""

NEEDS = {
    "keys": "ssh",
    "dropbear": "ssh",
    "agent": "ssh",
    "start_accounts": "sudo",
    "real": "kernels",
    "chromium": "browser",
    "ansible": "conformance",
}
"""The marker that a fixture brings with it, also where another fixture uses it."""

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
    "slow",
    "probe",
    "sudo",
    "ssh",
    "commands",
    "conformance",
    "browser",
)
"""Every marker, in the order of the files: what takes minutes begins first, so that no worker ends
long after the others. A test with none of them is fast.
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
    """Marks each test by its fixtures and puts the files with long tests first."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
    ranks = dict[str, int]()
    for item in items:
        ranks[_file(item)] = min(_rank(item), ranks.get(_file(item), len(SLOWEST_FIRST)))
    items.sort(key=lambda item: ranks[_file(item)])


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
def _log_as_it_was() -> Iterator[None]:
    """Gives each test the logger as it is before any command has set it up: what a command sets up
    stays set up.
    """
    logger = logging.getLogger("fleetaudit")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(scope="session")
def real() -> dict[str, Kernel]:
    """Returns the real kernels that can be had, by name; without any the test is skipped, and in CI
    it fails.
    """
    try:
        return {kernel.name: kernel for kernel in kernels()}
    except NoKernelsError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no real kernels: {e}")


def _check_marker(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuses to start a program of `PROGRAMS`, or Python, for a test that is not marked for it."""
    if event != "subprocess.Popen" or _running is None:
        return
    argv = [
        arguments[0],
        *arguments[1][:1],
    ]  # the executable where it is named apart, and the first word
    marked = {marker.name for marker in _running.iter_markers()}
    for name in {PurePath(str(word)).name for word in argv if word}:
        if name in PROGRAMS and PROGRAMS[name] not in marked:
            raise RuntimeError(f"{_running.nodeid} starts {name}: mark it {PROGRAMS[name]}")
        if name.startswith("python") and not marked & set(SLOWEST_FIRST):
            raise RuntimeError(f"{_running.nodeid} starts {name}: mark it commands, or probe")


sys.addaudithook(_check_marker)
