"""Compares, reports and writes the results of all hosts; leaves out a host whose result makes that
fail.

Rules: a failure here is a bug in fleetaudit; its traceback goes to the log. Trying parts of the
fleet finds the hosts that cause it; each becomes "not audited" at stage "report", and the rest is
reported. If no host causes it, the error is raised unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.errors import FleetauditError, OutputError
from fleetaudit.log import get_logger
from fleetaudit.model import AuditRun, HostResult, NotAudited
from fleetaudit.report import registry
from fleetaudit.store.deduplication import reassign_evidence
from fleetaudit.store.disk import output_errors
from fleetaudit.store.names import OUTLINE_FILE, RUN_FILE
from fleetaudit.store.outline import encode_outline
from fleetaudit.store.store_file import encode_store

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.store.run_folder import RunFolder

T = TypeVar("T")
Hosts = tuple[HostResult, ...]
Finish = Callable[[AuditRun], AuditRun]

USUAL_OUTPUT = Path("reports")
"""The output folder whose runs are found by their ids alone."""
MAX_FAILING = 100
"""The most hosts to leave out; a bug that needs more is not caused by single hosts."""

MAX_EXPORTED = 250
"""The most hosts of a run that has a run.json without being asked for it."""

NOT_BUGS = (FleetauditError, OSError)
"""What is raised at once: no host causes an error of the disk."""

_log = get_logger(__name__)


class WrittenRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run in its folder: `reports` are its files, the first the one to open; `bugs` counts the
    hosts left out.
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
    finish: Finish = lambda run: run,
    render: Callable[[Comparison], object] = lambda _: None,
) -> WrittenRun:
    """Finishes and compares a run, and writes `formats` into its folder, its store last.

    run.json is written for a run of at most `MAX_EXPORTED` hosts, and whenever `formats` has it.

    `finish` adds what depends on all hosts. `render` uses the comparison as well, so that a bug in
    it is found. Both may be called several times, each time with fewer hosts. A bug that no single
    host causes is raised after everything else is written; `NotWrittenError` is raised at once, for
    an error of the disk.
    """
    writing = _Writing(folder, bare, formats, finish, render)
    try:
        (run, comparison, reports), bugs = leave_out_failing_hosts(
            bare.hosts, writing.write, writing.try_without_writing
        )
    except NOT_BUGS:
        raise
    except Exception:
        writing.save_despite_bug()
        raise
    return WrittenRun(run=run, comparison=comparison, reports=reports, bugs=bugs)


class NotWrittenError(OutputError):
    """A run cannot be written whole; `run` and `comparison` are what would have been."""

    def __init__(self, e: OutputError, run: AuditRun, comparison: Comparison) -> None:
        super().__init__(str(e))
        self.run, self.comparison = run, comparison


class _Writing(msgspec.Struct, frozen=True):
    """Writes the run of some of the hosts, or tries to."""

    folder: RunFolder
    bare: AuditRun
    formats: Collection[str]
    finish: Finish
    render: Callable[[Comparison], object]

    def _finish(self, hosts: Hosts) -> tuple[AuditRun, Comparison]:
        """Returns the finished run of these hosts, and its comparison."""
        run = self.finish(msgspec.structs.replace(self.bare, hosts=hosts))
        comparison = msgspec.structs.replace(compare(run), folder=self._unusual_folder())
        self.render(comparison)
        return run, comparison

    def _unusual_folder(self) -> str:
        """Returns the path of the run's folder, "" if it is in the usual output folder."""
        output = self.folder.output
        return "" if output == USUAL_OUTPUT else str(output / self.folder.id)

    def try_without_writing(self, hosts: Hosts) -> None:
        """Does everything that `write` does, and keeps nothing."""
        run, comparison = self._finish(hosts)
        registry.render_all(run, self.formats, comparison)
        encode_outline(outline_of(run))
        for _ in encode_store(run):
            pass

    def write(self, hosts: Hosts) -> tuple[AuditRun, Comparison, list[Path]]:
        """Writes the reports and then the store.

        A run whose reports cannot be written is not finished, so the next run reports the same
        changes again. Raises `NotWrittenError` then.
        """
        run, comparison = self._finish(hosts)
        try:
            with output_errors(self.folder.path):
                return run, comparison, self._write_files(run, comparison)
        except OutputError as e:
            raise NotWrittenError(e, run, comparison) from e

    def _write_files(self, run: AuditRun, comparison: Comparison) -> list[Path]:
        """Writes the files of a run, and returns those to open."""
        written_in = self.folder.path
        reports = registry.write_all(self.folder, run, self.formats, comparison)
        export = self._write_export(run)
        self._write_outline(run)
        store = self.folder.finish(run)  # which may give the folder its name
        names = [path.relative_to(written_in) for path in reports or export]
        return [self.folder.path / name for name in names] or [store]

    def _write_export(self, run: AuditRun) -> list[Path]:
        """Writes run.json if the run has one and returns its path; replaces one that is there."""
        is_small = len(run.hosts) <= MAX_EXPORTED
        if not (is_small or "json" in self.formats or (self.folder.path / RUN_FILE).exists()):
            return []
        return [self.folder.write(RUN_FILE, registry.render_in_chunks(run, "json"))]

    def _write_outline(self, run: AuditRun) -> None:
        """Writes what the history of the job needs of a run; before its store, so that every
        finished run has it.
        """
        self.folder.write(OUTLINE_FILE, encode_outline(outline_of(run)))

    def save_despite_bug(self) -> None:
        """Writes what can be written of a run despite a bug, its store first."""
        run = self.bare
        with _ignoring_bugs():
            run = self.finish(run)
        self.folder.finish(run)
        with _ignoring_bugs():
            self._write_export(run)
        with _ignoring_bugs():
            self._write_outline(run)
        for format_ in self.formats:
            with _ignoring_bugs():
                registry.write_all(self.folder, run, (format_,), compare(run))


@contextlib.contextmanager
def _ignoring_bugs() -> Iterator[None]:
    """Suppresses a bug whose traceback is in the log already."""
    try:
        yield
    except NOT_BUGS:
        raise
    except Exception as e:
        _log.info("left out because of a bug: %s: %s", type(e).__name__, e)


def leave_out_failing_hosts(
    hosts: Sequence[HostResult], make: Callable[[Hosts], T], trial: Callable[[Hosts], object]
) -> tuple[T, int]:
    """Returns `make` of the hosts, and how many of them had to be left out.

    `trial` does the same and keeps nothing. A host that is left out stays in the run as "not
    audited". A `FleetauditError`, such as a full disk, is raised: no host causes it. So is a bug
    that meets no hosts as well, or more than `MAX_FAILING` of them.
    """
    remaining, bugs = reassign_evidence(hosts), 0
    while True:
        try:
            return make(remaining), bugs
        except NOT_BUGS:
            raise
        except Exception as e:
            _log.error(
                "a bug in fleetaudit, met while %d hosts were compared and reported",
                len(remaining),
                exc_info=e,
            )
            failing = _find_failing(remaining, trial) if _error((), trial) is None else {}
            if not failing or len(failing) > MAX_FAILING:
                raise
            remaining = reassign_evidence([_without_result(host, failing) for host in remaining])
            bugs += len(failing)


def _without_result(host: HostResult, failing: dict[str, Exception]) -> HostResult:
    """Returns a host as it is, or as not audited if it is one of the failing ones."""
    error = failing.get(host.name)
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
            f"a bug in fleetaudit: the result of this host cannot be reported"
            f" ({type(error).__name__})"
        ),
    )


def _error(hosts: Hosts, trial: Callable[[Hosts], object]) -> Exception | None:
    """Returns the bug that `trial` of these hosts meets, None if it meets none."""
    try:
        trial(hosts)
    except NOT_BUGS:
        return None
    except Exception as e:
        return e
    return None


def _find_failing(hosts: Hosts, trial: Callable[[Hosts], object]) -> dict[str, Exception]:
    """Returns the hosts with which `trial` fails, with the error.

    Stops a few hosts after `MAX_FAILING`.
    """
    error = _error(hosts, trial)
    if error is None:
        return {}
    if len(hosts) == 1:
        return {hosts[0].name: error}
    half = len(hosts) // 2
    failing = _find_failing(hosts[:half], trial)
    if len(failing) <= MAX_FAILING:
        failing |= _find_failing(hosts[half:], trial)
    return failing or {_first_failing_with_earlier(hosts, trial): error}


def _first_failing_with_earlier(hosts: Hosts, trial: Callable[[Hosts], object]) -> str:
    """Returns the first host with which `trial` fails together with all hosts before it.

    It is for a bug that several hosts cause together and none alone.
    """
    works, fails = 0, len(hosts)
    while fails - works > 1:
        middle = (works + fails) // 2
        if _error(hosts[:middle], trial) is None:
            works = middle
        else:
            fails = middle
    return hosts[fails - 1].name
