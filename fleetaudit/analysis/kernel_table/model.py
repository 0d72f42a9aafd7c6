"""The table of kernels: what each kernel build of a distribution was measured to do. Pure.

Rules: `KernelTable` is the file `fleetaudit/data/kernel-table.json` as it stands (format
"fleetaudit-kernel-table/1", schema in `fleetaudit/schema/`), so renaming a key is a breaking
change. Every ending in it was measured; nothing follows from the number of a release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from fleetaudit.model import Ending, Family, Frozen
from fleetaudit.text.json_schema import encode_json, json_schema_of

TABLE_FORMAT: Literal["fleetaudit-kernel-table/1"] = "fleetaudit-kernel-table/1"

Row = dict[str, Ending | dict[Family, Ending]]
"""The ending of each scenario: one for all of its families, or one for each."""
_ID_LENGTH = 8


class TableScenario(Frozen, frozen=True, kw_only=True):
    """A scenario of the table.

    `steps` is the digest of its steps (`steps_digest`): a scenario of the same name with other
    steps is another scenario.
    """

    name: str
    families: tuple[Family, ...]
    steps: str


class Call(Frozen, frozen=True, kw_only=True):
    """What measured a build: the version of fleetaudit, and which of its two probes."""

    fleetaudit: str
    probe: Literal["python", "native"] = "python"


class TableBuild(Frozen, frozen=True, kw_only=True):
    """One kernel build that was measured.

    `release`, `version` and `machine` are what the kernel itself reports (uname -r, -v, -m).
    `package` and `package_version` are Debian's, and `source` is the source package; `date` (RFC
    3339 full-date) is that in the version, "" without one. `suites` had the package when the table
    was made. `call` and `endings` are keys of the table's `calls` and `endings`.
    """

    release: str
    version: str
    machine: str
    architecture: str
    flavour: str
    package: str
    package_version: str
    source: str
    date: str = ""
    suites: tuple[str, ...] = ()
    call: str
    endings: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What identifies the build on a host: release, version and machine."""
        return self.release, self.version, self.machine


class NotBooted(Frozen, frozen=True, kw_only=True):
    """A kernel build without endings: at which stage it failed, and why."""

    architecture: str
    flavour: str
    package: str
    package_version: str
    source: str
    suites: tuple[str, ...] = ()
    call: str
    stage: str
    reason: str


class KernelTable(Frozen, frozen=True, kw_only=True):
    """The whole table.

    `scenarios` are those of the shipped playbook, in its order. `calls` are what measured the
    builds, by the digest of the probe's call. `endings` are the different rows of endings, by a
    digest of each. `builds` are sorted by architecture, then by source version.
    """

    format: Literal["fleetaudit-kernel-table/1"] = TABLE_FORMAT
    playbook: str = "unread-close"
    scenarios: tuple[TableScenario, ...] = ()
    calls: dict[str, Call] = {}
    endings: dict[str, Row] = {}
    builds: tuple[TableBuild, ...] = ()
    not_booted: tuple[NotBooted, ...] = ()


EMPTY = KernelTable()


def steps_digest(steps: Iterable[str]) -> str:
    """Returns the digest of the steps of a scenario, as its playbook has them."""
    return hashlib.sha256("\n".join(steps).encode()).hexdigest()[:_ID_LENGTH]


def row_id(row: Row) -> str:
    """Returns the digest of a row of endings, which does not depend on the order of its keys."""
    text = encode_json({name: row[name] for name in sorted(row)})
    return hashlib.sha256(text).hexdigest()[:_ID_LENGTH]


def make_row(endings: Mapping[str, Mapping[Family, Ending]]) -> Row:
    """Returns the row of endings by scenario and family: one ending where all families share it."""
    return {name: _compact(by_family) for name, by_family in endings.items()}


def _compact(by_family: Mapping[Family, Ending]) -> Ending | dict[Family, Ending]:
    """Returns the ending that all families share, or the ending of each."""
    first, *others = dict.fromkeys(by_family.values())
    return dict(by_family) if others else first


def row_ending(row: Row, scenario: str, family: Family) -> Ending | None:
    """Returns the ending of a scenario over a family, None if the row does not have it."""
    found = row.get(scenario)
    if isinstance(found, dict):
        return found.get(family)
    return found


def encode_table(table: KernelTable) -> bytes:
    """Returns the table as its file has it: one build a line, one scenario of a row a line.

    Whoever reads the difference of two tables sees which builds and which endings changed.
    """
    parts: list[tuple[str, bytes]] = [
        ("format", encode_json(table.format)),
        ("playbook", encode_json(table.playbook)),
        ("scenarios", _lines(b"[]", map(encode_json, table.scenarios))),
        ("calls", _lines(b"{}", _members(table.calls))),
        ("endings", _lines(b"{}", map(_row_member, sorted(table.endings.items())))),
        ("builds", _lines(b"[]", map(encode_json, table.builds))),
        ("not_booted", _lines(b"[]", map(encode_json, table.not_booted))),
    ]
    members = (encode_json(name) + b": " + value for name, value in parts)
    return b"{\n" + b",\n".join(members) + b"\n}\n"


def _members(values: Mapping[str, object]) -> Iterable[bytes]:
    """Yields the members of an object, sorted by key."""
    for key, value in sorted(values.items()):
        yield encode_json(key) + b": " + encode_json(value)


def _row_member(item: tuple[str, Row]) -> bytes:
    """Returns a row of endings as a member of an object, a line for each scenario."""
    key, row = item
    return encode_json(key) + b": " + _lines(b"{}", _members(row))


def _lines(brackets: bytes, items: Iterable[bytes]) -> bytes:
    """Returns an array or an object with one item a line."""
    return brackets[:1] + b"\n" + b",\n".join(items) + b"\n" + brackets[1:]


def decode_table(data: bytes) -> KernelTable:
    """Returns the table in a file; raises `msgspec.DecodeError` for another file."""
    return msgspec.json.decode(data, type=KernelTable)


def json_schema() -> bytes:
    """Returns the JSON Schema of the file, as in `fleetaudit/schema/kernel-table.schema.json`."""
    return json_schema_of(KernelTable, TABLE_FORMAT)
