"""Reads and writes run.json. What is read is bounded and typed before it is used."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import InputError
from fleetaudit.model import DECODE_ERRORS, AuditRun, RunInfo, Severity
from fleetaudit.text.host_ranges import count_of_hosts
from fleetaudit.text.json_schema import encode_json, json_schema_of

from .deduplication import restore_evidence, strip_shared_evidence
from .disk import read_bounded
from .journal import read_journal
from .names import JOURNAL_FILE, RUN_FILE

INFO_BYTES = 256 * 1024
"""Bytes at the beginning of a run.json that are read for its `RunInfo`."""
_BEGINNING = b'{"format":"fleetaudit-run/1","run":'


class FindingHead(msgspec.Struct, frozen=True):
    """The severity of one finding, and whether it is waived."""

    severity: Severity
    waived: str | None = None


class HostHead(msgspec.Struct, frozen=True):
    """The status of one host, the stage at which its audit failed, and its findings."""

    status: str
    stage: str | None = None
    findings: tuple[FindingHead, ...] = ()


class RunHead(msgspec.Struct, frozen=True):
    """The parts of a run.json that lists and summaries need."""

    run: RunInfo
    hosts: tuple[HostHead, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run ended before every host was audited."""
        return any(host.stage == "interrupted" for host in self.hosts)


_head_decoder = msgspec.json.Decoder(RunHead)
_run_decoder = msgspec.json.Decoder(AuditRun)


def encode_run(run: AuditRun) -> bytes:
    """Returns the bytes of run.json, with a line feed at the end.

    Evidence that several hosts share is written once. The keys are in the order of the types, so
    that `RunInfo` is in the first INFO_BYTES.
    """
    return encode_json(replace(run, hosts=tuple(map(strip_shared_evidence, run.hosts)))) + b"\n"


def run_schema() -> bytes:
    """Returns the JSON Schema of run.json, as in `fleetaudit/schema/run.schema.json`."""
    return json_schema_of(AuditRun, "fleetaudit-run/1")


def read_run(path: Path) -> AuditRun:
    """Returns the run in a folder or in a run.json.

    The evidence of each host is whole again. Raises `NothingToDoError` if there is none, and
    `InputError` if the file is larger than `disk.MAX_READ`, is not a run of fleetaudit, has a host
    twice or an observation of an unknown scenario, or if the run was never finished.
    """
    file = _run_file(path)
    text = read_bounded(file)
    try:
        run = _run_decoder.decode(text)
    except DECODE_ERRORS as e:
        raise _not_a_run(e, file) from e
    _check_unique_hosts(run, file)
    _check_known_scenarios(run, file)
    return replace(run, hosts=restore_evidence(run.hosts))


def _check_unique_hosts(run: AuditRun, file: Path) -> None:
    """Raises `InputError` if a host is in the run twice."""
    names = set[str]()
    for host in run.hosts:
        if host.name in names:
            raise InputError(f"the host {host.name!r} is in it twice", source=str(file))
        names.add(host.name)


def _check_known_scenarios(run: AuditRun, file: Path) -> None:
    """Raises `InputError` if an observation is of a scenario that the run does not have.

    Every output looks up the scenario of an observation, so a file that was edited by hand is
    refused here.
    """
    observed = {o.scenario for host in run.hosts for o in host.observations}
    unknown = observed - run.scenarios_by_name().keys()
    if unknown:
        raise InputError(
            f"it has observations of {min(unknown)!r}, but no such scenario", source=str(file)
        )


def read_head(path: Path) -> RunHead:
    """Returns the head of a run, without its observations; raises as `read_run`.

    It is read several times faster than the whole run. Hosts and scenarios are not checked against
    each other.
    """
    file = _run_file(path)
    try:
        return _head_decoder.decode(read_bounded(file))
    except DECODE_ERRORS as e:
        raise _not_a_run(e, file) from e


def _not_a_run(e: Exception, file: Path) -> InputError:
    """Returns the error for a file that does not decode as a run."""
    return InputError(
        f"not a run of fleetaudit: {e}", source=str(file), hint=f"expected: the {RUN_FILE} of a run"
    )


def read_info(path: Path) -> RunInfo:
    """Returns the `RunInfo` of a run, from the beginning of the file if possible.

    Raises as `read_run`.
    """
    file = _run_file(path)
    return _info_at_the_beginning(read_bounded(file, INFO_BYTES)) or read_head(file).run


def read_info_in(folder: int) -> RunInfo | None:
    """Returns the `RunInfo` of the run in an open folder, or None; follows no symbolic link.

    `folder` is a file descriptor. It is None if there is no run.json, if it cannot be read, and if
    another program wrote it.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        fd = os.open(RUN_FILE, flags, dir_fd=folder)
        with os.fdopen(fd, "rb") as file:
            return _info_at_the_beginning(file.read(INFO_BYTES))
    except OSError:
        return None


def _info_at_the_beginning(text: bytes) -> RunInfo | None:
    """Returns the `RunInfo` in the first bytes of a run.json, None if `encode_run` did not write
    them.
    """
    if not text.startswith(_BEGINNING):
        return None
    try:
        info, _ = json.JSONDecoder().raw_decode(text[len(_BEGINNING) :].decode(errors="ignore"))
        return msgspec.convert(info, RunInfo)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _run_file(path: Path) -> Path:
    """Returns the run.json of a folder, or `path` itself.

    Raises `InputError` if the run was never finished: the folder has a journal and no run.json.
    """
    if not path.is_dir():
        return path
    file, journal = path / RUN_FILE, path / JOURNAL_FILE
    if file.exists() or not journal.exists():
        return file
    hosts = count_of_hosts(len(read_journal(journal)))
    raise InputError(
        f"never finished: its journal has {hosts}, and there is no {RUN_FILE}",
        source=str(path),
        hint=f"finish it:  fleetaudit run --resume {shlex.quote(str(path))}",
    )
