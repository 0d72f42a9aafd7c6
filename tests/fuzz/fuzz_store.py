"""Files of a run: store.jsonl, run.json, journal.jsonl, plan.json and outline.json.

The first byte says which. A success is a run that is the same when it was written and read again.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    import msgspec

    from fleetaudit.analysis.history import encode, history_of
    from fleetaudit.analysis.history.outline import outline_of
    from fleetaudit.errors import FleetauditError, InputError
    from fleetaudit.model import AuditRun
    from fleetaudit.store.journal import read_journal
    from fleetaudit.store.manifest import decode_manifest
    from fleetaudit.store.outline import RunOutline, encode_outline, read_outline
    from fleetaudit.store.run_file import (
        read_head,
        read_host_names,
        read_hosts,
        read_info,
        read_run,
    )
    from fleetaudit.store.store_file import encode_store
    from tests.support.runs import small_fleet

_folder = tempfile.TemporaryDirectory(prefix="fleetaudit-fuzz-")
atexit.register(_folder.cleanup)
STORE = Path(_folder.name) / "store.jsonl"
EXPORT = Path(_folder.name) / "run.json"
JOURNAL = Path(_folder.name) / "journal.jsonl"
OUTLINE = Path(_folder.name) / "outline.json"
RUN = small_fleet()
WORDS = (
    "store", "host", "index", "end", "scenarios", "history", "positions", "locations", "drift",
    "changes", "rates", "index of hosts", "index of parts", '["', "null", "1e400", "-1",
    "18446744073709551616", "\\ud800", *AuditRun.__struct_fields__,
    *RunOutline.__struct_fields__,
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads one file in every way in which it is read."""
    kind, body = data[:1], data[1:]
    if kind == b"j":
        _read_journal(body)
    elif kind == b"o":
        _read_outline(body)
    elif kind == b"p":
        _refused(lambda: decode_manifest(body, source="plan.json"))
    else:
        _read_run(EXPORT if kind == b"r" else STORE, body)


def _read_outline(body: bytes) -> None:
    """Reads an outline; one that is used gives a history, and is the same when it is read again."""
    OUTLINE.write_bytes(body)
    outline = read_outline(OUTLINE.parent, RUN.run)
    if outline is not None:
        assert encode(history_of([outline_of(RUN), outline]))
        OUTLINE.write_bytes(encode_outline(outline))
        assert read_outline(OUTLINE.parent, RUN.run) == outline


def _read_journal(body: bytes) -> None:
    """Reads a journal; whatever is damaged in it is a note."""
    JOURNAL.write_bytes(body)
    notes = list[str]()
    hosts = read_journal(JOURNAL, notes.append)
    assert len(hosts) + len(notes) <= body.count(b"\n") + 1


def _read_run(path: Path, body: bytes) -> None:
    """Reads a run whole, by its head, and one of its hosts."""
    path.write_bytes(body)
    for read in (read_head, read_info, read_host_names):
        _refused(lambda read=read: read(path))
    run = _refused(lambda: read_run(path))
    if run is None:
        return
    names = [host.name for host in run.hosts]
    for name in names[:3]:
        _refused(lambda name=name: read_hosts(path, [name]))
    STORE.write_bytes(b"".join(encode_store(run)))
    again = read_run(STORE)
    assert msgspec.json.encode(again) == msgspec.json.encode(run)


def _refused(read: object) -> AuditRun | None:
    """Returns what a function returns, None for an error about the file."""
    try:
        result: AuditRun | None = read()  # type: ignore[operator]
    except InputError as e:
        assert len(str(e)) < 4000
        return None
    except FleetauditError:
        return None
    return result


def seeds() -> Iterable[bytes]:
    """Yields the files of a small run, and parts of them."""
    hosts = msgspec.structs.replace(RUN, hosts=RUN.hosts[:2])
    store = b"".join(encode_store(hosts))
    yield b"s" + store
    yield b"r" + msgspec.json.encode(hosts)
    lines = [line for line in store.splitlines(keepends=True)[1:] if b'["index' not in line[:8]]
    yield b"j" + b"".join(lines[:-1])
    yield b"j" + msgspec.json.encode(hosts.hosts[0]) + b"\n"
    yield b"o" + encode_outline(outline_of(RUN))
    yield b'p{"format":1,"hosts":[]}'


if __name__ == "__main__":
    fuzz(TestOneInput)
