"""Reads a run, from the store of its folder or from a run.json, and writes run.json.

Rules: the store is what fleetaudit itself reads; run.json is an export for other programs. A folder
of an earlier version has only its run.json, which is read in the place of the store, as is a
run.json alone. What is read is bounded and typed before it is used.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import DECODE_ERRORS, Audited, AuditRun, HostResult, Observation, RunInfo
from fleetaudit.text.host_ranges import count_of_hosts
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of

from .deduplication import restore_evidence, strip_evidence, strip_shared_evidence
from .disk import input_errors, read_bounded
from .journal import read_journal
from .names import JOURNAL_FILE, RUN_FILE, STORE_FILE
from .part_reader import Interner
from .removal import ABSENT
from .run_head import HostOutline, RunHead, head_of_outlines
from .store_file import (
    decode_head,
    read_store,
    read_store_head,
    read_store_hosts,
    read_store_names,
)

INFO_BYTES = 256 * 1024
"""Bytes at the beginning of a run's file that are read for its `RunInfo`."""
_BEGINNING = b'{"format":"fleetaudit-run/1","run":'


Decoded = TypeVar("Decoded")


class _RunOutline(msgspec.Struct, frozen=True):
    """The parts of a run.json that its head needs."""

    run: RunInfo
    hosts: tuple[HostOutline, ...]


_outline_decoder = msgspec.json.Decoder(_RunOutline)
_run_decoder = msgspec.json.Decoder(AuditRun)


# ---- writing run.json ----------------------------------------------------------------------------


def encode_run(run: AuditRun) -> bytes:
    """Returns the bytes of run.json, with a line feed at the end."""
    return b"".join(encode_run_in_chunks(run))


def encode_run_in_chunks(run: AuditRun) -> Iterator[bytes]:
    """Yields the bytes of run.json, a host at a time.

    Evidence that several hosts share is written once. The keys are in the order of the types, so
    that `RunInfo` is in the first INFO_BYTES. What cannot be seen is escaped.
    """
    return map(escape_json, _chunks(run))


def _chunks(run: AuditRun) -> Iterator[bytes]:
    """Yields the bytes of run.json as msgspec encodes them."""
    encoder = _HostEncoder()
    separator = b""
    yield _BEGINNING + encode_json(run.run)
    yield b',"scenarios":' + encode_json(run.scenarios) + b',"hosts":['
    for host in run.hosts:
        yield separator + encoder.encode(host)
        separator = b","
    yield b'],"drift":' + encode_json(run.drift)
    yield b',"history":' + encode_json(run.history)
    yield b',"locations":' + encode_json(run.locations)
    if run.known_kernels:
        yield b',"known_kernels":' + encode_json(run.known_kernels)
    if run.positions:
        yield b',"positions":' + encode_json(run.positions)
    yield b"}\n"


class _HostEncoder:
    """Encodes the hosts of one run; what the last hosts had is encoded only once.

    Hosts share the objects of equal observations and sysctls. An object is kept with its bytes, so
    that no other object gets its identity.
    """

    def __init__(self) -> None:
        self._known = dict[int, tuple[object, msgspec.Raw]]()

    def encode(self, host: HostResult) -> bytes:
        """Returns a host as in run.json; evidence of another host is only named."""
        if not isinstance(host, Audited):
            return encode_json(host)
        try:
            observations = tuple(map(self._observation, host.observations))
            sysctls = self._once(host.sysctls, lambda: host.sysctls)
            changed: Any = replace(host, observations=observations, sysctls=sysctls)
            return msgspec.json.encode(changed)
        except UnicodeEncodeError:
            return encode_json(strip_shared_evidence(host))

    def _observation(self, observation: Observation) -> msgspec.Raw:
        """Returns the bytes of an observation."""
        return self._once(observation, lambda: strip_evidence(observation))

    def _once(self, value: object, written: Callable[[], object]) -> msgspec.Raw:
        """Returns the bytes of a value; `written` returns the value as it is written."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        raw = msgspec.Raw(msgspec.json.encode(written()))
        self._known[id(value)] = value, raw
        return raw


_MAX_KNOWN = 10_000


def run_schema() -> bytes:
    """Returns the JSON Schema of run.json, as in `fleetaudit/schema/run.schema.json`."""
    return json_schema_of(AuditRun, "fleetaudit-run/1")


# ---- reading -------------------------------------------------------------------------------------


def read_run(path: Path, interner: Interner | None = None) -> AuditRun:
    """Returns the run in a folder, in a store.jsonl or in a run.json.

    The evidence of each host is whole again. Hosts of a store that have equal observations,
    sysctls, findings or the like share one object for them, so that what is computed for one can be
    kept by its identity. Runs that are read with the same `interner` share all but evidence, which
    has times; so two runs have few distinct pairs of lists of observations, however many hosts.

    Raises `NothingToDoError` if there is none, and `InputError` if the file is a run.json larger
    than `disk.MAX_READ`, is not a run of fleetaudit, has a host twice or an observation of an
    unknown scenario, or if the run was never finished.
    """
    file = _file_of_run(path)
    run = read_store(file, interner) if _is_store(file) else _read_export(file)
    _check_unique_hosts(run, file)
    _check_known_scenarios(run, file)
    return run


def read_hosts(path: Path, names: Collection[str]) -> AuditRun:
    """Returns a run with only those of the named hosts that it has; raises as `read_run`.

    Of a store only these hosts are read, and what they share with others.
    """
    file = _file_of_run(path)
    if not _is_store(file):
        run = read_run(file)
        return replace(run, hosts=tuple(host for host in run.hosts if host.name in names))
    run = read_store_hosts(file, names)
    _check_known_scenarios(run, file)
    return run


def read_host_names(path: Path) -> list[str]:
    """Returns the names of the hosts of a run, in its order; raises as `read_run`."""
    file = _file_of_run(path)
    if _is_store(file):
        return read_store_names(file)
    return [host.name for host in read_run(file).hosts]


def _read_export(file: Path) -> AuditRun:
    """Returns the run in a run.json; raises as `read_run`."""
    run = _decode_export(_run_decoder, file)
    return replace(run, hosts=restore_evidence(run.hosts))


def _decode_export(decoder: msgspec.json.Decoder[Decoded], file: Path) -> Decoded:
    """Returns what a run.json holds; raises `InputError` if it is not a run."""
    try:
        return decoder.decode(read_bounded(file))
    except DECODE_ERRORS as e:
        raise _not_a_run(e, file) from e


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
    distinct = {id(host.observations): host.observations for host in run.hosts}
    observed = {o.scenario for observations in distinct.values() for o in observations}
    unknown = observed - run.scenarios_by_name().keys()
    if unknown:
        raise InputError(
            f"it has observations of {min(unknown)!r}, but no such scenario", source=str(file)
        )


def read_head(path: Path) -> RunHead:
    """Returns the head of a run, without its hosts; raises as `read_run`.

    Of a store only the first line is read. Hosts and scenarios are not checked.
    """
    file = _file_of_run(path)
    if _is_store(file):
        return read_store_head(file)
    outline = _decode_export(_outline_decoder, file)
    return head_of_outlines(outline.run, outline.hosts)


def _not_a_run(e: Exception, file: Path) -> InputError:
    """Returns the error for a file that does not decode as a run."""
    return InputError(
        f"not a run of fleetaudit: {e}", source=str(file), hint=f"expected: the {RUN_FILE} of a run"
    )


def read_info(path: Path) -> RunInfo:
    """Returns the `RunInfo` of a run, from the beginning of the file if possible.

    Raises as `read_run`.
    """
    file = _file_of_run(path)
    if _is_store(file):
        return read_store_head(file).run
    return _info_at_the_beginning(read_bounded(file, INFO_BYTES)) or read_head(file).run


def read_info_in(folder: int) -> RunInfo | None:
    """Returns the `RunInfo` of the run in an open folder, or None; follows no symbolic link.

    `folder` is a file descriptor. It is None if there is no finished run, if this user may not read
    it, and if another program wrote it. Raises `OSError` if the disk fails.
    """
    for name, info_in in ((STORE_FILE, _info_of_store), (RUN_FILE, _info_at_the_beginning)):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        try:
            fd = os.open(name, flags, dir_fd=folder)
            with os.fdopen(fd, "rb") as file:
                return info_in(file.read(INFO_BYTES))
        except OSError as e:
            if e.errno not in ABSENT:
                raise
    return None


def _info_of_store(text: bytes) -> RunInfo | None:
    """Returns the `RunInfo` in the first bytes of a store, None if they are not of one."""
    try:
        return decode_head(text.partition(b"\n")[0]).run
    except DECODE_ERRORS:
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


def _is_store(file: Path) -> bool:
    """Returns whether a file of a run is a store, by its name."""
    return file.suffix == ".jsonl"


def _check_exported(path: Path) -> None:
    """Raises `NothingToDoError` for the run.json of a run that has only a store."""
    folder = path.parent
    if path.name != RUN_FILE or path.exists() or not (folder / STORE_FILE).exists():
        return
    quoted = shlex.quote(str(folder))
    raise NothingToDoError(
        f"{path}: this run has no {RUN_FILE}; name its folder, {quoted}, or write the file:"
        f"  fleetaudit report {quoted} --format json -o {shlex.quote(str(path))}"
    )


def _file_of_run(path: Path) -> Path:
    """Returns the file of a run folder, or `path` itself.

    Raises `NothingToDoError` for a run.json that is missing while its folder has a store, and
    `InputError` if the run was never finished: the folder has a journal and neither a store nor a
    run.json.
    """
    with input_errors(path):
        return _find_file_of_run(path)


def _find_file_of_run(path: Path) -> Path:
    """Returns the file of a run folder, as `_file_of_run`; raises `OSError`, too."""
    if not path.is_dir():
        _check_exported(path)
        return path
    store, file, journal = path / STORE_FILE, path / RUN_FILE, path / JOURNAL_FILE
    if store.exists():
        return store
    if file.exists() or not journal.exists():
        return file
    hosts = count_of_hosts(len(read_journal(journal)))
    raise InputError(
        f"never finished: its journal has {hosts}, and there is no {STORE_FILE}",
        source=str(path),
        hint=f"finish it:  fleetaudit run --resume {shlex.quote(str(path))}",
    )
