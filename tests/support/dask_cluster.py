"""A real Dask scheduler with real workers, as processes on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

from .sshd import free_port, listens, running, wait_for


@dataclass
class Cluster:
    """A scheduler on loopback; `workers` has the pid of each worker by its address."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    pid: int = 0
    workers: dict[str, int] = field(default_factory=dict)

    @property
    def engine(self) -> str:
        """The text of --engine."""
        return f"dask://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address as Dask writes it."""
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """Starts the scheduler and waits until it listens."""
        argv = _dask("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        log = self.folder / "scheduler.log"
        self.pid = self.stack.enter_context(running(argv, log, lambda: listens(self.port)))

    def start_worker(self, *options: str, environment: Mapping[str, str] | None = None) -> str:
        """Starts one worker, waits until the scheduler knows it, and returns its address."""
        argv = _dask("worker", self.url, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard")
        local = str(self.folder / f"local-{len(self.workers)}")
        argv = ["env", *(f"{k}={v}" for k, v in (environment or {}).items()), *argv]
        argv += ["--nthreads", "1", "--local-directory", local, *options]
        before = set(self.known())
        log = self.folder / f"worker-{len(self.workers)}.log"
        pid = self.stack.enter_context(running(argv, log, lambda: len(self.known()) > len(before)))
        (address,) = set(self.known()) - before
        self.workers[address] = pid
        return address

    def known(self) -> list[str]:
        """Returns the addresses of the workers that the scheduler knows."""
        with _client(self.url) as client:
            return list(client.scheduler_info(n_workers=-1)["workers"])

    def busy_worker(self) -> str:
        """Returns the address of a worker that has a task, once one has."""
        with _client(self.url) as client:
            busy = list[str]()

            def find() -> bool:
                processing: dict[str, Any] = client.processing()
                busy[:] = [address for address, tasks in processing.items() if tasks]
                return bool(busy)

            wait_for(find, "no worker has a task")
            return busy[0]

    def kill(self, pid: int) -> None:
        """Kills one process of the cluster, without a chance to say goodbye."""
        os.kill(pid, signal.SIGKILL)


def _client(url: str) -> Any:
    """Returns a client of a scheduler; Dask takes a second to import, which other tests save."""
    from distributed import Client

    return Client(url, set_as_default=False, timeout=60)  # type: ignore[no-untyped-call]


def _dask(*arguments: str) -> list[str | Path]:
    """Returns the command line of Dask's own program."""
    return [Path(sys.executable).parent / "dask", *arguments]


@contextlib.contextmanager
def start_cluster(folder: Path, workers: int, *options: str) -> Iterator[Cluster]:
    """Yields a scheduler with so many workers, and ends all of it."""
    with ExitStack() as stack:
        cluster = Cluster(folder, stack)
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker(*options)
        yield cluster


@pytest.fixture
def three_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with three workers, for one test."""
    with start_cluster(tmp_path_factory.mktemp("dask"), 3) as cluster:
        yield cluster


def copy_of_another_version(folder: Path) -> dict[str, str]:
    """Returns the environment of a worker that imports another version of fleetaudit."""
    package = folder / "fleetaudit"
    shutil.copytree(ROOT / "fleetaudit", package, ignore=shutil.ignore_patterns("__pycache__"))
    init = package / "__init__.py"
    text = init.read_text("utf-8")
    changed = text.replace('__version__ = "', '__version__ = "99.')
    assert changed != text
    init.write_text(changed, "utf-8")
    return {"PYTHONPATH": str(folder)}
