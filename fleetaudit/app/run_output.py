"""Compares, reports and writes the results of all hosts; leaves out a host whose result makes that
fail.

Rules: a failure here is a bug in fleetaudit; its traceback goes to the log. Trying parts of the
fleet finds the hosts that cause it; each becomes "not audited" at stage "report", and the rest is
reported. If no host causes it, the error is raised unchanged.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fleetaudit.analysis.compare import compare
from fleetaudit.errors import FleetauditError
from fleetaudit.model import AuditRun, HostResult, NotAudited
from fleetaudit.report import registry
from fleetaudit.store.deduplication import reassign_evidence
from fleetaudit.store.names import RUN_FILE
from fleetaudit.store.run_file import encode_run

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.store.run_folder import RunFolder

T = TypeVar("T")
Hosts = tuple[HostResult, ...]

MOST = 100
"""Maximum number of hosts to leave out; a bug that needs more is not caused by single hosts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRun:
    """A finished run: `reports` are its files, the first the one to open; `bugs` counts the hosts
    left out.
    """

    run: AuditRun
    comparison: Comparison
    reports: list[Path]
    bugs: int


def write_run(
    folder: RunFolder,
    bare: AuditRun,
    *,
    formats: Collection[str],
    settled: Callable[[AuditRun], AuditRun] = lambda run: run,
    show: Callable[[Comparison], object] = lambda _: None,
) -> WrittenRun:
    """Settles and compares a run, renders `formats` and writes them into its folder, run.json last.

    `show` also uses the comparison. A bug that no single host causes is raised after everything
    else is written.
    """

    def whole(hosts: Hosts) -> tuple[AuditRun, Comparison]:
        run = settled(msgspec.structs.replace(bare, hosts=hosts))
        comparison = compare(run)
        show(comparison)
        return run, comparison

    def trial(hosts: Hosts) -> None:
        run, comparison = whole(hosts)
        registry.render_all(run, formats, comparison)
        encode_run(run)

    def make(hosts: Hosts) -> tuple[AuditRun, Comparison, list[Path]]:
        run, comparison = whole(hosts)
        # run.json comes last: a run whose reports cannot be written is not finished, so the next
        # run reports the same changes again.
        reports = registry.write_all(folder, run, formats, comparison) or [folder.path / RUN_FILE]
        folder.finish(run)
        return run, comparison, reports

    try:
        (run, comparison, reports), bugs = leave_out_failing_hosts(bare.hosts, make, trial)
    except FleetauditError:
        raise
    except Exception:
        _save(folder, bare, settled, formats)
        raise
    return WrittenRun(run=run, comparison=comparison, reports=reports, bugs=bugs)


def _save(
    folder: RunFolder,
    run: AuditRun,
    settled: Callable[[AuditRun], AuditRun],
    formats: Collection[str],
) -> None:
    """Writes what can be written of a run despite a bug, run.json first."""
    with _passing_over_bugs():
        run = settled(run)
    folder.finish(run)
    for format_ in formats:
        with _passing_over_bugs():
            registry.write_all(folder, run, (format_,), compare(run))


@contextlib.contextmanager
def _passing_over_bugs() -> Iterator[None]:
    """Suppresses a bug that is logged already."""
    try:
        yield
    except FleetauditError:
        raise
    except Exception as e:
        _log.info("left out for a bug: %s: %s", type(e).__name__, e)


def leave_out_failing_hosts(
    hosts: Sequence[HostResult], make: Callable[[Hosts], T], trial: Callable[[Hosts], object]
) -> tuple[T, int]:
    """Returns `make` of the hosts, and how many of them had to be left out.

    `trial` does the same and keeps nothing. A `FleetauditError`, such as a full disk, is raised: no
    host causes it.
    """
    left, bugs = reassign_evidence(hosts), 0
    while True:
        try:
            return make(left), bugs
        except FleetauditError:
            raise
        except Exception as e:
            _log.error(
                "a bug in fleetaudit, met while %d hosts were compared and reported",
                len(left),
                exc_info=e,
            )
            found = _at_fault(left, trial) if _error((), trial) is None else {}
            if not found or len(found) > MOST:
                raise
            left = reassign_evidence([_left_out(host, found) for host in left])
            bugs += len(found)


def _left_out(host: HostResult, found: dict[str, Exception]) -> HostResult:
    error = found.get(host.name)
    if error is None:
        return host
    if isinstance(host, NotAudited) and host.stage == "report":
        raise error  # it fails without that result as well
    _log.error("a bug in fleetaudit, met at host %s", host.name, exc_info=error)
    return NotAudited(
        name=host.name,
        groups=host.groups,
        stage="report",
        kind="bug in fleetaudit",
        reason=(
            f"a bug in fleetaudit: what it answered could not be reported ({type(error).__name__})"
        ),
    )


def _error(hosts: Hosts, trial: Callable[[Hosts], object]) -> Exception | None:
    try:
        trial(hosts)
    except FleetauditError:
        return None
    except Exception as e:
        return e
    return None


def _at_fault(hosts: Hosts, trial: Callable[[Hosts], object]) -> dict[str, Exception]:
    """Returns the hosts with which `trial` fails, with the error; stops a few hosts after `MOST`."""
    error = _error(hosts, trial)
    if error is None:
        return {}
    if len(hosts) == 1:
        return {hosts[0].name: error}
    half = len(hosts) // 2
    found = _at_fault(hosts[:half], trial)
    if len(found) <= MOST:
        found |= _at_fault(hosts[half:], trial)
    return found or {_last_straw(hosts, trial): error}


def _last_straw(hosts: Hosts, trial: Callable[[Hosts], object]) -> str:
    """Returns the first host after which `trial` fails, if it fails for several hosts together and
    for none alone.
    """
    works, fails = 0, len(hosts)
    while fails - works > 1:
        middle = (works + fails) // 2
        if _error(hosts[:middle], trial) is None:
            works = middle
        else:
            fails = middle
    return hosts[fails - 1].name
