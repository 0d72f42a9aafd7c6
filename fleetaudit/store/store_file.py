"""Reads and writes store.jsonl, the file of a finished run, whole or in part.

    {"format":"fleetaudit-store/1","run":…,"hosts":…}    the head: what lists need
    ["scenarios",[…]]  ["changes",[…]] …                 what the run has besides its hosts
    ["kernel",0,{…}]  ["host",{…}] …                     parts and hosts (`part_types`)
    ["index of hosts",[["web1",8192],…]]                 name and offset, sorted by name, in blocks
    ["index of parts",0,[2048,…]]                        offsets by number, in blocks
    ["index",…]                                          the offsets of the blocks
    ["end","000000000000008192"]                       the offset of the index

Rules: the file is written whole and renamed, so a file without its last line was cut. Lines are
bounded, and long lists take several, so a run of any size that was written can be read. Offsets are
a help and not trusted: the line at an offset must be the one that was looked for.
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from fleetaudit.errors import InputError
from fleetaudit.model import (
    DECODE_ERRORS,
    AuditRun,
    Change,
    Drift,
    HostPosition,
    HostResult,
    KnownKernel,
    Location,
    PastRun,
    ResetRate,
    RunInfo,
    ScenarioRow,
)
from fleetaudit.text.json_schema import encode_json

from .disk import open_regular
from .part_reader import Interner, PartReader
from .part_types import MAX_LINE, AnyPart, HostLine, Part, UnknownPartError
from .part_writer import PartWriter
from .run_head import RunHead, head_of

T = TypeVar("T")

_PER_LINE = 1000
"""How many items of a long list are in one line."""
_END = b'["end","%018d"]\n'
_END_BYTES = len(_END % 0)
_CUT_HINT = "copy the folder of the run again; if it has a run.json, name that file instead"
_READ_ERRORS = (*DECODE_ERRORS, UnknownPartError)
_Offset = Annotated[int, Meta(ge=0, le=1 << 62)]


class _Line(msgspec.Struct, frozen=True, array_like=True):
    """A line that is neither a part nor a host: its name and its content."""


class _Scenarios(_Line, frozen=True, array_like=True, tag="scenarios"):
    items: tuple[ScenarioRow, ...]


class _History(_Line, frozen=True, array_like=True, tag="history"):
    items: tuple[PastRun, ...]


class _Positions(_Line, frozen=True, array_like=True, tag="positions"):
    items: tuple[HostPosition, ...]


class _Locations(_Line, frozen=True, array_like=True, tag="locations"):
    items: tuple[tuple[str, Location], ...]


class _KnownKernels(_Line, frozen=True, array_like=True, tag="known kernels"):
    items: tuple[KnownKernel, ...]


class _Drift(_Line, frozen=True, array_like=True, tag="drift"):
    items: tuple[Drift, ...]


class _Changes(_Line, frozen=True, array_like=True, tag="changes"):
    items: tuple[Change, ...]


class _Rates(_Line, frozen=True, array_like=True, tag="rates"):
    items: tuple[ResetRate, ...]


class _HostBlock(_Line, frozen=True, array_like=True, tag="index of hosts"):
    items: tuple[tuple[str, _Offset], ...]


class _PartBlock(_Line, frozen=True, array_like=True, tag="index of parts"):
    first: _Offset
    items: tuple[_Offset, ...]


class _Index(_Line, frozen=True, array_like=True, tag="index"):
    """`hosts` are the first name and the offset of each block, `parts` the offsets of theirs."""

    hosts: tuple[tuple[str, _Offset], ...]
    parts: tuple[_Offset, ...]


class _End(_Line, frozen=True, array_like=True, tag="end"):
    offset: Annotated[str, Meta(pattern="^[0-9]{18}$")]


_RunLine = (
    _Scenarios | _History | _Positions | _Locations | _KnownKernels | _Drift | _Changes | _Rates
)
_IndexLine = _HostBlock | _PartBlock | _Index | _End
_INDEX_LINES = (_HostBlock, _PartBlock, _Index, _End)

_head_decoder = msgspec.json.Decoder(RunHead)
_line_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    AnyPart | HostLine | _RunLine | _IndexLine
)


# ---- writing -------------------------------------------------------------------------------------


def encode_store(run: AuditRun) -> Iterator[bytes]:
    """Yields the bytes of store.jsonl, a host at a time; raises as `PartWriter.lines`."""
    offset = 0
    for chunk in (encode_json(head_of(run)) + b"\n", *_run_lines(run)):
        yield chunk
        offset += len(chunk)
    index = _IndexWriter(offset)
    writer = PartWriter()
    for host in run.hosts:
        lines = writer.lines(host)
        writer.written()
        index.add(host.name, lines)
        yield b"".join(lines)
    yield from index.lines()


def _run_lines(run: AuditRun) -> Iterator[bytes]:
    """Yields the lines of what a run has besides its hosts."""
    drifts: tuple[Drift, ...] = ()
    changes: tuple[Change, ...] = ()
    rates: tuple[ResetRate, ...] = ()
    if run.drift is not None:
        changes, rates = run.drift.changes, run.drift.rates
        drifts = (replace(run.drift, changes=(), rates=()),)
    yield from _long_line(_Scenarios, run.scenarios)
    yield from _long_line(_History, run.history)
    yield from _long_line(_Positions, run.positions)
    yield from _long_line(_Locations, tuple(run.locations.items()))
    yield from _long_line(_KnownKernels, run.known_kernels)
    yield from _long_line(_Drift, drifts)
    yield from _long_line(_Changes, changes)
    yield from _long_line(_Rates, rates)


def _long_line(type_: Callable[[Any], _Line], items: Sequence[object]) -> Iterator[bytes]:
    """Yields as many lines as the items need, none without any."""
    for first in range(0, len(items), _PER_LINE):
        yield encode_json(type_(items[first : first + _PER_LINE])) + b"\n"


class _IndexWriter:
    """The offsets of the parts and hosts of a file; `offset` is that of the next line."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._hosts = list[tuple[str, int]]()
        self._parts = list[int]()

    def add(self, host: str, lines: Sequence[bytes]) -> None:
        """Takes note of the lines of new parts and of the host that is the last of them."""
        *parts, own = lines
        for part in parts:
            self._parts.append(self._offset)
            self._offset += len(part)
        self._hosts.append((host, self._offset))
        self._offset += len(own)

    def lines(self) -> Iterator[bytes]:
        """Yields the lines of the index, and the end."""
        self._hosts.sort()
        hosts, parts = list[tuple[str, int]](), list[int]()
        for first in range(0, len(self._hosts), _PER_LINE):
            block = self._hosts[first : first + _PER_LINE]
            hosts.append((block[0][0], self._offset))
            yield self._encode(_HostBlock(tuple(block)))
        for first in range(0, len(self._parts), _PER_LINE):
            parts.append(self._offset)
            yield self._encode(_PartBlock(first, tuple(self._parts[first : first + _PER_LINE])))
        end = _END % self._offset
        yield self._encode(_Index(tuple(hosts), tuple(parts)))
        yield end

    def _encode(self, line: _Line) -> bytes:
        """Returns the bytes of a line, and moves the offset past them."""
        data = encode_json(line) + b"\n"
        self._offset += len(data)
        return data


# ---- reading -------------------------------------------------------------------------------------


def read_store(path: Path, interner: Interner | None = None) -> AuditRun:
    """Returns the run in a store.jsonl; hosts with equal observations share one object.

    So do the hosts of two runs that are read with one `interner`. Raises `NothingToDoError` if
    there is no such file, and `InputError`, with the line, if it was cut or is no store.
    """
    with _open_store(path) as store:
        store.check_end()
        head = store.read_head()
        content, parts = _Content(), PartReader(interner)
        hosts = list[HostResult]()
        for line in store.lines_before_index():
            if isinstance(line, HostLine):
                hosts.append(store.make(parts.host, line))
            elif isinstance(line, Part):
                store.make(parts.add, line)
            else:
                content.add(line)
    if len(hosts) != head.hosts.selected:
        raise InputError(
            f"it has {len(hosts)} hosts, but its first line counts {head.hosts.selected}",
            source=str(path),
        )
    return content.run(head.run, hosts)


def read_store_hosts(path: Path, names: Collection[str]) -> AuditRun:
    """Returns a run with only those of the named hosts that it has; raises as `read_store`.

    Besides these hosts it reads the head and the index.
    """
    with _open_store(path) as store:
        index = _IndexReader(store, store.check_end())
        head = store.read_head()
        content = _Content()
        for line in store.lines_before_index():
            if isinstance(line, HostLine | Part):
                break
            content.add(line)
        parts = PartReader(load=index.load_part)
        lines = filter(None, map(index.find_host, names))
        hosts = [store.make(parts.host, line) for line in lines]
    return content.run(head.run, hosts)


def read_store_names(path: Path) -> list[str]:
    """Returns the names of the hosts of a store in the order of the run; raises as `read_store`."""
    with _open_store(path) as store:
        return _IndexReader(store, store.check_end()).names()


def read_store_head(path: Path) -> RunHead:
    """Returns the head of a run, from the first line; raises as `read_store`."""
    with _open_store(path) as store:
        return store.read_head()


def decode_head(line: bytes) -> RunHead:
    """Returns the head in the first line of a store; raises one of `DECODE_ERRORS`."""
    return _head_decoder.decode(line)


class _Content:
    """What a run has besides its hosts, line by line."""

    def __init__(self) -> None:
        self.items = dict[type[_Line], list[Any]]()

    def add(self, line: Any) -> None:
        """Takes one line."""
        self.items.setdefault(type(line), []).extend(line.items)

    def run(self, info: RunInfo, hosts: Iterable[HostResult]) -> AuditRun:
        """Returns the run with these hosts."""
        drift = next(iter(self._of(_Drift)), None)
        if drift is not None:
            drift = replace(drift, changes=self._of(_Changes), rates=self._of(_Rates))
        return AuditRun(
            run=info,
            scenarios=self._of(_Scenarios),
            hosts=tuple(hosts),
            drift=drift,
            history=self._of(_History),
            locations=dict(self._of(_Locations)),
            positions=self._of(_Positions),
            known_kernels=self._of(_KnownKernels),
        )

    def _of(self, type_: type[_Line]) -> tuple[Any, ...]:
        """Returns the items of one kind of line."""
        return tuple(self.items.get(type_, ()))


@contextlib.contextmanager
def _open_store(path: Path) -> Iterator[_OpenStore]:
    """Opens a store; raises as `disk.open_regular`."""
    with open_regular(path) as file:
        yield _OpenStore(path, file)


class _OpenStore(msgspec.Struct):
    """An open store; `number` is that of the last line that was read in their order, from 1, and
    `place` names the last line that was read, in any order.
    """

    path: Path
    file: IO[bytes]
    number: int = 0
    place: str = ""
    size: int = 0

    def check_end(self) -> int:
        """Returns the offset of the index; raises `InputError` for a file that was cut."""
        self.size = self.file.seek(0, os.SEEK_END)
        self.file.seek(max(0, self.size - _END_BYTES))
        try:
            end = msgspec.json.decode(self.file.read(_END_BYTES), type=_End)
        except DECODE_ERRORS as e:
            raise InputError(
                "cut: its last line is missing", source=str(self.path), hint=_CUT_HINT
            ) from e
        self.file.seek(0)
        return int(end.offset)

    def read_head(self) -> RunHead:
        """Returns the head, from the first line; raises `InputError`."""
        return self.make(decode_head, self._next_line())

    def lines_before_index(self) -> Iterator[Any]:
        """Yields the lines after the first one, up to the index; raises `InputError`."""
        while True:
            line = self.make(_line_decoder.decode, self._next_line())
            if isinstance(line, _INDEX_LINES):
                return
            yield line

    def line_at(self, offset: int) -> Any:
        """Returns the line at an offset; raises `InputError`."""
        self.file.seek(min(offset, self.size))
        return self.make(_line_decoder.decode, self._read_line())

    def make(self, function: Callable[[Any], T], argument: object) -> T:
        """Returns what a function makes of the last line; raises `InputError` if it is invalid."""
        try:
            return function(argument)
        except _READ_ERRORS as e:
            raise self.error(f"not a line of a run: {e}") from e

    def error(self, message: str) -> InputError:
        """Returns an error at the last line."""
        hint = "expected: the store.jsonl of a run"
        return InputError(message, source=f"{self.path}{self.place}", hint=hint)

    def _next_line(self) -> bytes:
        """Returns the next line."""
        self.number += 1
        self.place = f":{self.number}"
        return self._read_line()

    def _read_line(self) -> bytes:
        """Returns the line at the position of the file; raises `InputError` for a longer one."""
        line = self.file.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise self.error(f"a line is longer than {MAX_LINE} bytes")
        return line


class _IndexReader:
    """Looks up hosts and parts of an open store; blocks are read when they are needed."""

    def __init__(self, store: _OpenStore, offset: int) -> None:
        self._store = store
        self._blocks = dict[int, Any]()
        self._index = self._expect(_Index, offset)
        store.file.seek(0)

    def names(self) -> list[str]:
        """Returns the names of all hosts in the order of their lines."""
        entries = list[tuple[int, str]]()
        for offset in {offset for _, offset in self._index.hosts}:
            entries += [(at, name) for name, at in self._expect(_HostBlock, offset).items]
        return [name for _, name in sorted(entries)]

    def find_host(self, name: str) -> HostLine | None:
        """Returns the line of a host, None if the run does not have it; raises `InputError`."""
        number = bisect.bisect_right(self._index.hosts, name, key=itemgetter(0)) - 1
        if number < 0:
            return None
        offset = dict(self._expect(_HostBlock, self._index.hosts[number][1]).items).get(name)
        if offset is None:
            return None
        line: HostLine = self._expect(HostLine, offset)
        if line.value.name != name:
            raise self._store.error(f"this line is not that of the host {name!r}")
        return line

    def load_part(self, kind: str, number: int) -> Part:
        """Returns the line of a part; raises `UnknownPartError` or `InputError`."""
        block, place = divmod(number, _PER_LINE)
        if block >= len(self._index.parts):
            raise UnknownPartError(f"it needs {kind} {number}, which the index does not have")
        offsets = self._expect(_PartBlock, self._index.parts[block]).items
        if place >= len(offsets):
            raise UnknownPartError(f"it needs {kind} {number}, which the index does not have")
        part: Part = self._expect(Part, offsets[place])
        if (part.kind, part.id) != (kind, number):
            raise UnknownPartError(f"the line at byte {offsets[place]} is not {kind} {number}")
        return part

    def _expect(self, type_: type[Any], offset: int) -> Any:
        """Returns the line of a type at an offset; raises `InputError` if it is another one."""
        self._store.place = f" at byte {offset}"
        if offset not in self._blocks:
            self._blocks[offset] = self._store.line_at(offset)
        line = self._blocks[offset]
        if not isinstance(line, type_):
            raise self._store.error("this line is not the one that the index names")
        return line
