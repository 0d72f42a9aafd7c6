"""A Dask cluster: its workers, the batches that they have, and what comes back from them.

Rules: only this module imports Dask. Nothing waits without a limit: a scheduler or a worker that
does not answer is given up. Dask runs a batch again on another worker if its own is lost, at most
`distributed.scheduler.allowed-failures` times (docs/workers.md). A worker's version is compared
before it gets a host, and again by the batch itself, because workers come and go.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple

import dask.config
from distributed import Client, get_worker

from fleetaudit.errors import ConfigError
from fleetaudit.log import get_logger
from fleetaudit.text.sanitize import printable_line

from .batch_audit import BatchWork, audit_batch, tell_version
from .messages import why_version_differs

CONNECT_S = 10.0
"""How long a scheduler has to answer, in seconds."""
VERSION_S = 20.0
"""How long a worker has to say which version it has, in seconds."""
RESULT_S = 120.0
"""How long the bytes of a finished batch may take to arrive, in seconds."""
_TLS_FILES = ("distributed.comm.tls.ca-file", "distributed.comm.tls.client.cert")
"""What Dask's client needs for TLS; the key may be in the file of the certificate."""
_CLOSE_S = 5.0
_MARGIN_S = 5.0
_LIBRARY_LOGS = (
    "distributed",
    "distributed.client",
    "distributed.gc",
    "tornado",
    "tornado.application",
    "asyncio",
)
"""The loggers that Dask gives handlers of their own, and the one of its loop."""

log = get_logger(__name__)


class BatchEvent(NamedTuple):
    """The end of a batch.

    `found` is what its worker sent, which is to be decoded, or the reason as text for "failed".
    """

    number: int
    kind: Literal["finished", "failed"]
    found: Any


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that may take part: its address, and the sites that it offers."""

    address: str
    sites: frozenset[str]


@dataclass(slots=True)
class Cluster:
    """The workers behind one scheduler; a context manager that cancels what still runs.

    `address` is host:port, `url` how Dask writes it. Raises `ConfigError` if nobody answers there.
    """

    url: str
    refused: dict[str, str] = field(default_factory=dict)
    _client: Any = None
    _futures: dict[int, Any] = field(default_factory=dict)
    _ended: queue.SimpleQueue[tuple[int, Any]] = field(default_factory=queue.SimpleQueue)
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def __enter__(self) -> Cluster:
        _check_tls(self.url)
        _silence_libraries()
        self._client = _connect(self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):  # it may be gone, and all is saved
            self._client.cancel(list(self._futures.values()), force=True)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CLOSE_S)

    # ---- workers -------------------------------------------------------------------------------

    def require_workers(self) -> None:
        """Raises `ConfigError` if no worker can take part."""
        if self.workers():
            return
        if not self.refused:
            raise ConfigError(
                f"--engine: the scheduler at {self.url} has no worker\n"
                f"  start one where the hosts can be reached:  dask worker {self.url} --nthreads 1"
            )
        listed = "".join(f"\n  {address}: {why}" for address, why in self.refused.items())
        raise ConfigError(f"--engine: no worker of {self.url} has this fleetaudit:{listed}")

    def workers(self) -> list[Worker]:
        """Returns the workers that have this version of fleetaudit; `refused` gets the others."""
        known = self._scheduler_workers()
        versions = _Versions(self._client, known).ask()
        for address in known:
            if why := why_version_differs(versions.get(address)):
                self.refused[address] = why
        return [
            Worker(address, _sites(description))
            for address, description in known.items()
            if address not in self.refused
        ]

    def _scheduler_workers(self) -> Mapping[str, Any]:
        """Returns the workers that the scheduler knows, by address; none if it is gone."""
        try:
            workers: Mapping[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        except Exception as e:
            log.info("the Dask scheduler does not answer: %s", printable_line(str(e)))
            return {}
        return workers

    def count_workers(self) -> int:
        """Returns how many workers the scheduler knows; none if it is gone."""
        return len(self._scheduler_workers())

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the scheduler."""
        return bool(self._client.status == "running")

    # ---- batches -------------------------------------------------------------------------------

    def submit(self, number: int, site: str, work: BatchWork, only: Iterable[str] = ()) -> None:
        """Gives a batch to a worker of its site.

        `only` are the addresses that may have it, any if there are none.
        """
        resources = {site_resource(site): 1} if site else None
        future = self._client.submit(
            run_batch,
            tell_version(),
            work,
            key=f"fleetaudit-{self._run}-{number}-{time.monotonic_ns()}",
            resources=resources,
            workers=list(only) or None,
            pure=False,
        )
        self._futures[number] = future
        future.add_done_callback(lambda done: self._ended.put((number, done)))

    def next_event(self, seconds: float) -> BatchEvent | None:
        """Returns the end of a batch, None if none ends within so many seconds."""
        try:
            number, future = self._ended.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if self._futures.get(number) is not future:
            return None  # it was abandoned, or submitted to another worker
        del self._futures[number]
        return _event_of(number, future)


def _connect(url: str) -> Any:
    """Returns a client of the scheduler at an address; raises `ConfigError`.

    In a thread: Dask's own timeout does not end a connection on which nobody answers.
    """
    answer = queue.SimpleQueue[Any]()

    def connect() -> None:
        try:
            client = Client(  # type: ignore[no-untyped-call]
                url, timeout=CONNECT_S, set_as_default=False, name="fleetaudit"
            )
            answer.put(client)
        except Exception as e:  # Dask raises OSError, TimeoutError, ValueError and its own
            answer.put(e)

    threading.Thread(target=connect, daemon=True).start()
    try:
        found = answer.get(timeout=CONNECT_S + _MARGIN_S)
    except queue.Empty:
        found = TimeoutError("the port is open, and nobody answers as Dask does")
    if isinstance(found, Exception):
        raise _no_scheduler(url, found) from found
    return found


def _no_scheduler(url: str, error: Exception) -> ConfigError:
    """Returns the error if no scheduler answers at an address."""
    reason = ": " + printable_line(str(error) or type(error).__name__)
    if reason.startswith(": Timed out"):
        reason = ""
    port = url.rpartition(":")[2]
    return ConfigError(
        f"--engine: no Dask scheduler answers at {url} within {CONNECT_S:g} s{reason}\n"
        f"  start it there:  dask scheduler --port {port}"
    )


def _silence_libraries() -> None:
    """Keeps Dask's own log, with its tracebacks, out of the output of the command.

    The reason of every batch that fails is in our own log. A worker's log stays as Dask has it.
    """
    for name in _LIBRARY_LOGS:
        logger = get_logger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False


def _check_tls(url: str) -> None:
    """Raises `ConfigError` if Dask's configuration and the address do not agree on TLS.

    Dask refuses it, too, but only after its client has waited for nothing.
    """
    place = url.partition("://")[2]
    if dask.config.get("distributed.comm.require-encryption", False) and url.startswith("tcp:"):
        raise ConfigError(
            "--engine: Dask's configuration requires TLS (distributed.comm.require-encryption)\n"
            f"  write --engine dask+tls://{place}"
        )
    missing = [name for name in _TLS_FILES if not dask.config.get(name, None)]
    if missing and url.startswith("tls:"):
        raise ConfigError(
            f"--engine: TLS needs certificates, and Dask's configuration lacks {missing[0]}\n"
            f"  expected in the environment:  {_dask_variable(missing[0])}=FILE"
        )


def _dask_variable(name: str) -> str:
    """Returns the environment variable of a key of Dask's configuration."""
    return "DASK_" + name.replace(".", "__").replace("-", "_").upper()


def _event_of(number: int, future: Any) -> BatchEvent:
    """Returns the end of a batch with what it brought."""
    try:
        found = future.result(timeout=RESULT_S)
    except BaseException as e:  # whatever a worker raised, it is text
        if isinstance(e, KeyboardInterrupt | SystemExit):
            raise
        return BatchEvent(number, "failed", printable_line(f"{type(e).__name__}: {e}"))
    if isinstance(found, list | tuple):
        worker, why = map(str, (*found, "", "")[:2])
        return BatchEvent(number, "failed", printable_line(f"{worker}: {why}"))
    return BatchEvent(number, "finished", found)


def site_resource(site: str) -> str:
    """Returns the name of the Dask resource that a worker of a site offers: "site:eu"."""
    return f"site:{site}"


def _sites(description: Mapping[str, Any]) -> frozenset[str]:
    """Returns the sites that a worker offers, from its resources."""
    names = map(str, description.get("resources", {}))
    return frozenset(name.removeprefix("site:") for name in names if name.startswith("site:"))


class _Versions:
    """Asks every worker for its version, each in a thread: one that does not answer costs only
    itself.
    """

    def __init__(self, client: Any, addresses: Iterable[str]) -> None:
        self._client, self._addresses = client, tuple(addresses)
        self._found = dict[str, object]()

    def ask(self) -> dict[str, object]:
        """Returns what each worker answered in time, by address."""
        threads = [
            threading.Thread(target=self._ask, args=(address,), daemon=True)
            for address in self._addresses
        ]
        until = time.monotonic() + VERSION_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return dict(self._found)

    def _ask(self, address: str) -> None:
        """Asks one worker; it raises nothing."""
        with contextlib.suppress(Exception):  # it is gone, or has no fleetaudit
            self._found.update(self._client.run(tell_version, workers=[address]))


# ---- on a worker -------------------------------------------------------------------------------


def run_batch(version: bytes, work: BatchWork) -> bytes | tuple[str, str]:
    """Runs one batch on the worker that calls it, as long as somebody waits for it.

    `version` is that of the run. A worker with another one returns its address, and why it does not
    take part.
    """
    worker = get_worker()
    if why := why_version_differs(version):
        return str(worker.address), why
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state not in ("cancelled", "released", "forgotten")

    return audit_batch(work, is_wanted)
