"""Measures the kernel builds of Debian's archive and writes the table of kernels.

    python -m tools.kernel_table [--architecture NAME]... [--every N] [--every-flavour] [-o FILE]

Boots one build after the other as fleetaudit boots any kernel image, runs the shipped playbook in
it, and writes what each was seen to do. Without --architecture it is every architecture that the
probe can run on. --every 4 takes every fourth build. Of the flavours of one source version it takes
the smallest, with --every-flavour all.

Each boot that succeeds is kept in a cache folder, so that a table which was interrupted is
continued: the next call boots only what is missing. Builds that the archive does not have any more
stay in the table. --again boots what is kept, too. --list prints what would be booted, --minutes M
starts no guest after that time. --check boots again what the table has, writes nothing, and ends
with status 1 if an ending is another one than in the table.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from fleetaudit import __version__
from fleetaudit.analysis.kernel_table.model import (
    EMPTY,
    Call,
    KernelTable,
    NotBooted,
    Row,
    TableBuild,
    TableScenario,
    decode_table,
    encode_table,
    make_row,
    row_ending,
    row_id,
    steps_digest,
)
from fleetaudit.app.audit import audit_plan
from fleetaudit.engine import EngineSettings
from fleetaudit.model import (
    EXPECTABLE_ENDINGS,
    Audited,
    Ending,
    Family,
    Frozen,
    HostPlan,
    HostResult,
    Kernel,
    KernelTarget,
    Plan,
    Scenario,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.probe.native_program import has_native
from fleetaudit.probe.native_request import native_digest
from fleetaudit.probe.request import request_digest
from fleetaudit.text.debian_versions import debian_version_key

from .kernel_archive import KernelPackage, NoArchiveError, PrivateApt

TABLE = Path(__file__).parent.parent / "fleetaudit" / "data" / "kernel-table.json"
ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armhf": "armv7",
    "ppc64el": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""Debian's names of the architectures, and fleetaudit's."""
FLAVOURS = {"cloud": 0, "rt": 2}
"""The order of the flavours of one source version by size; any other one is 1."""
DEADLINE_S = 300.0
"""How long one guest may take: it is emulated, and the machine may be busy."""
OF_THIS_MACHINE = ("resolve",)
"""The stages that fail because of the machine that boots: a QEMU that is not installed."""
_DATE = re.compile(r"\((\d{4}-\d{2}-\d{2})\)")


class Boot(Frozen, frozen=True, kw_only=True):
    """What one boot showed, as it is kept: the endings, or else the stage and the reason.

    `scenarios` is the digest of what ran: a boot that ran something else is not used. `reasons`
    are those of endings that are unknown, by scenario and family, for whoever looks into them.
    """

    scenarios: str
    call: str
    made_by: Call
    kernel: Kernel | None = None
    endings: dict[str, dict[Family, Ending]] = {}
    reasons: dict[str, str] = {}
    stage: str = ""
    reason: str = ""
    elapsed_s: float = 0.0
    cpu_s: float = 0.0


def default_cache() -> Path:
    """Returns the folder of the boots and of apt's lists."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetaudit-kernel-table"


class Bench:
    """Boots kernel packages, each once, and keeps what they did."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        play = load_playbook(None).plays[0]
        self._plan = HostPlan(
            name="",
            groups=(),
            target=KernelTarget(image=""),
            scenarios=play.scenarios,
            trials=play.trials,
            isolation=play.isolation,
            sysctls_collect=play.sysctls_collect,
            sysctls_expect={},
        )
        self.scenarios = tuple(map(_table_scenario, play.scenarios))
        names = (f"{scenario.name} {scenario.steps}" for scenario in self.scenarios)
        self._digest = steps_digest([str(play.trials), *names])

    def apt(self, architecture: str) -> PrivateApt:
        """Returns apt for one architecture."""
        return PrivateApt(self.cache / "apt" / architecture, architecture)

    def _path(self, package: KernelPackage) -> Path:
        """Returns the file of the boot of a package."""
        name = f"{package.name}_{package.version}.json"
        return self.cache / "boots" / package.architecture / name

    def kept(self, package: KernelPackage) -> Boot | None:
        """Returns the boot of a package that was kept, None if it has to be booted."""
        path = self._path(package)
        if not path.exists():
            return None
        boot = msgspec.json.decode(path.read_bytes(), type=Boot)
        return boot if boot.scenarios == self._digest else None

    def boot(self, package: KernelPackage) -> Boot:
        """Fetches a package, boots its kernel and keeps what it did; raises as `measure`.

        What failed is tried again the next time: a busy machine may be the reason.
        """
        boot = self.measure(package)
        if boot.kernel is not None:
            self.keep(package, boot)
        return boot

    def measure(self, package: KernelPackage) -> Boot:
        """Fetches a package, boots its kernel and returns what it did.

        Raises `NoArchiveError` if it cannot be fetched.
        """
        image = self._path(package).with_suffix(".vmlinuz")
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(self.apt(package.architecture).fetch_image(package.name, package.version))
        try:
            return self.boot_image(image, package.architecture)
        finally:
            image.unlink()

    def keep(self, package: KernelPackage, boot: Boot) -> None:
        """Keeps a boot, in one step."""
        path = self._path(package)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        written.write_bytes(msgspec.json.format(msgspec.json.encode(boot)))
        written.rename(path)

    def boot_image(self, image: Path, architecture: str) -> Boot:
        """Boots a kernel image of one of `ARCHITECTURES`, and returns what it did."""
        target = KernelTarget(image=str(image))
        host = msgspec.structs.replace(self._plan, name=image.stem, target=target)
        settings = EngineSettings(forks=1, host_deadline_s=DEADLINE_S, retries=0)
        began, cpu = time.monotonic(), os.times()
        plan = Plan(playbooks=("unread-close",), hosts=(host,))
        outcome = audit_plan(plan, settings=settings, on_result=lambda _: None)
        used = _child_seconds() - (cpu.children_user + cpu.children_system)
        boot = self._boot_of(outcome.results[0], architecture)
        return msgspec.structs.replace(
            boot, elapsed_s=round(time.monotonic() - began, 1), cpu_s=round(used, 1)
        )

    def failed(self, architecture: str, stage: str, reason: str) -> Boot:
        """Returns a boot without endings."""
        return self._with_call(has_native(ARCHITECTURES[architecture]), stage, reason)

    def _with_call(self, is_native: bool, stage: str = "", reason: str = "") -> Boot:
        """Returns a boot by one of the two probes, without endings."""
        digest, made_by = request_digest, Call(fleetaudit=__version__, probe="python")
        if is_native:
            digest, made_by = native_digest, Call(fleetaudit=__version__, probe="native")
        call = digest(self._plan)
        return Boot(scenarios=self._digest, call=call, made_by=made_by, stage=stage, reason=reason)

    def _boot_of(self, result: HostResult, architecture: str) -> Boot:
        """Returns what one result shows."""
        if not isinstance(result, Audited):
            return self.failed(architecture, result.stage or "execute", result.reason)
        if result.void:
            return self.failed(architecture, "execute", result.void)
        boot = self._with_call(is_native=result.probe == "native")
        endings = dict[str, dict[Family, Ending]]()
        reasons = dict[str, str]()
        for o in result.observations:
            endings.setdefault(o.scenario, {})[o.family] = o.ending
            if o.reason:
                reasons[f"{o.scenario}/{o.family}"] = o.reason
        return msgspec.structs.replace(boot, kernel=result.kernel, endings=endings, reasons=reasons)


def _child_seconds() -> float:
    """Returns the CPU seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _table_scenario(scenario: Scenario) -> TableScenario:
    """Returns a scenario of the playbook as the table names it."""
    steps = steps_digest(step.text for step in scenario.steps)
    return TableScenario(name=scenario.name, families=scenario.families, steps=steps)


# ---- choosing


def choose(
    packages: Sequence[KernelPackage], *, every: int = 1, every_flavour: bool = False
) -> list[KernelPackage]:
    """Returns the packages to boot, in the order of their numbers.

    By default it is one for each source version, that of the smallest flavour; of these every
    `every`th.
    """
    chosen = list(packages) if every_flavour else _smallest_flavours(packages)
    return chosen[::every]


def _smallest_flavours(packages: Iterable[KernelPackage]) -> list[KernelPackage]:
    """Returns one package for each source version."""
    best = dict[str, KernelPackage]()
    for package in packages:
        rival = best.setdefault(package.version, package)
        if _size_order(package) < _size_order(rival):
            best[package.version] = package
    return sorted(best.values(), key=lambda package: debian_version_key(package.version))


def _size_order(package: KernelPackage) -> tuple[int, int, str]:
    """Returns the sort key of a flavour, the smallest first."""
    return FLAVOURS.get(package.flavour.split("-")[0], 1), len(package.flavour), package.flavour


def spread(packages: Sequence[KernelPackage]) -> list[KernelPackage]:
    """Returns the packages in an order whose every beginning is spread over all of them.

    So a table that is interrupted has builds of every series.
    """
    bits = max(1, (len(packages) - 1).bit_length())
    return sorted(packages, key=lambda p: f"{packages.index(p):0{bits}b}"[::-1])


# ---- the table


def add_boot(table: KernelTable, package: KernelPackage, boot: Boot) -> KernelTable:
    """Returns the table with what a package did, in place of what it had of it."""
    builds = {_key(build): build for build in table.builds}
    failures = {_key(failure): failure for failure in table.not_booted}
    endings = dict(table.endings)
    key = package.architecture, package.name, package.version
    builds.pop(key, None)
    failures.pop(key, None)
    if boot.kernel is None:
        failures[key] = _not_booted(package, boot)
    else:
        row = make_row(boot.endings)
        endings[row_id(row)] = row
        builds[key] = _table_build(package, boot, boot.kernel, row_id(row))
    table = msgspec.structs.replace(
        table,
        calls={**table.calls, boot.call: boot.made_by},
        endings=endings,
        builds=tuple(sorted(builds.values(), key=_order)),
        not_booted=tuple(sorted(failures.values(), key=_order)),
    )
    return without_unused(table)


def _not_booted(package: KernelPackage, boot: Boot) -> NotBooted:
    """Returns the row of a package without endings."""
    return NotBooted(
        architecture=package.architecture,
        flavour=package.flavour,
        package=package.name,
        package_version=package.version,
        source=package.source,
        suites=tuple(sorted(package.suites)),
        call=boot.call,
        stage=boot.stage,
        reason=boot.reason,
    )


def _table_build(package: KernelPackage, boot: Boot, kernel: Kernel, row: str) -> TableBuild:
    """Returns the row of a package that was measured."""
    date = _DATE.search(kernel.version)
    return TableBuild(
        release=kernel.release,
        version=kernel.version,
        machine=kernel.machine,
        architecture=package.architecture,
        flavour=package.flavour,
        package=package.name,
        package_version=package.version,
        source=package.source,
        date=date[1] if date else "",
        suites=tuple(sorted(package.suites)),
        call=boot.call,
        endings=row,
    )


def _key(build: TableBuild | NotBooted) -> tuple[str, str, str]:
    """Returns what identifies a package of the table."""
    return build.architecture, build.package, build.package_version


def _order(build: TableBuild | NotBooted) -> tuple[object, ...]:
    """Returns the sort key of the builds: architecture, source version, flavour."""
    return build.architecture, debian_version_key(build.package_version), build.flavour


def without_unused(table: KernelTable) -> KernelTable:
    """Returns the table without rows and calls that no build uses."""
    rows = {build.endings for build in table.builds}
    calls = {build.call for build in table.builds}
    calls |= {failure.call for failure in table.not_booted}
    return msgspec.structs.replace(
        table,
        endings={key: row for key, row in table.endings.items() if key in rows},
        calls={key: call for key, call in table.calls.items() if key in calls},
    )


def with_scenarios(table: KernelTable, scenarios: tuple[TableScenario, ...]) -> KernelTable:
    """Returns the table with the scenarios of today's playbook.

    Endings of a scenario whose steps have changed since are removed: nobody measured the new ones.
    """
    before = {scenario.name: scenario for scenario in table.scenarios}
    same = {each.name for each in scenarios if before.get(each.name) == each}
    rows, renamed = {}, {}
    for key, row in table.endings.items():
        narrowed = {name: ending for name, ending in row.items() if name in same}
        renamed[key] = row_id(narrowed)
        rows[renamed[key]] = narrowed
    builds = tuple(
        msgspec.structs.replace(build, endings=renamed[build.endings]) for build in table.builds
    )
    return msgspec.structs.replace(table, scenarios=scenarios, endings=rows, builds=builds)


def read_table(path: Path) -> KernelTable:
    """Returns the table in a file, an empty one without the file."""
    return decode_table(path.read_bytes()) if path.exists() else EMPTY


def write_table(path: Path, table: KernelTable) -> None:
    """Writes the table under another name, and renames it."""
    written = path.with_suffix(".new")
    written.write_bytes(encode_table(table))
    written.rename(path)


# ---- checking


class Check(Frozen, frozen=True, kw_only=True):
    """What a build did that is in the table: `differences` are texts, () if it did the same."""

    package: str
    differences: tuple[str, ...] = ()


def in_table(table: KernelTable, packages: Iterable[KernelPackage]) -> list[KernelPackage]:
    """Returns the packages that the table has endings of, in their order."""
    measured = {_key(build) for build in table.builds}
    return [p for p in packages if (p.architecture, p.name, p.version) in measured]


def check(
    bench: Bench, table: KernelTable, chosen: Sequence[KernelPackage], ends: float
) -> Iterator[Check]:
    """Boots builds of the table again, and yields how each compares with it.

    No guest is started after the moment `ends` of `time.monotonic`. A package whose file the
    archive does not have any more is left out.
    """
    builds = {_key(build): build for build in table.builds}
    for package in spread(chosen):
        if time.monotonic() > ends:
            return
        try:
            boot = bench.measure(package)
        except NoArchiveError as e:
            print(f"{package.name} {package.version}: {e}", file=sys.stderr, flush=True)
            continue
        row = table.endings[builds[package.architecture, package.name, package.version].endings]
        yield Check(package=package.name, differences=tuple(_differences(row, boot)))


def _differences(row: Row, boot: Boot) -> Iterator[str]:
    """Yields where a boot differs from a row of the table: endings that both know."""
    if boot.kernel is None:
        yield f"not audited: {boot.stage}: {boot.reason}"
    for scenario, by_family in boot.endings.items():
        for family, ending in by_family.items():
            known = row_ending(row, scenario, family)
            if known != ending and {known, ending} <= set(EXPECTABLE_ENDINGS):
                yield f"{scenario}/{family}: {ending}, in the table {known}"


# ---- the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit status: 1 if no package was found, or one differs."""
    options = _parse(arguments)
    bench = Bench(options.cache)
    table = with_scenarios(read_table(options.output), bench.scenarios)
    ends = time.monotonic() + 60 * options.minutes
    listed = differing = 0
    for architecture in options.architecture or _bootable():
        try:
            packages = list_packages(bench, architecture, update=not options.no_update)
        except NoArchiveError as e:
            print(f"{architecture}: {e}", file=sys.stderr)
            continue
        if options.check:
            packages = in_table(table, packages)
        chosen = choose(packages, every=options.every, every_flavour=options.every_flavour)
        listed += len(chosen)
        if options.check:
            differing += _print_checks(bench, table, chosen, ends)
            continue
        for package, boot in _boots(bench, chosen, options, ends):
            table = add_boot(table, package, boot)
            write_table(options.output, table)
    if not listed:
        print("no kernel package was found: nothing was booted", file=sys.stderr)
        return 1
    if options.check:
        return min(1, differing)
    print(f"{options.output}: {len(table.builds)} builds, {len(table.not_booted)} not booted")
    return 0


def _print_checks(
    bench: Bench, table: KernelTable, chosen: Sequence[KernelPackage], ends: float
) -> int:
    """Prints each check, and returns how many builds differ from the table."""
    differing = 0
    for one in check(bench, table, chosen, ends):
        print(f"{one.package}: {'; '.join(one.differences) or 'as in the table'}", flush=True)
        differing += bool(one.differences)
    return differing


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command."""
    parser = argparse.ArgumentParser(
        prog="make kernel-table ARGS=…",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--architecture", action="append", choices=sorted(ARCHITECTURES))
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--every-flavour", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--no-update", action="store_true", help="do not read apt's lists again")
    parser.add_argument("--minutes", type=float, default=1e6, metavar="M")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    return parser.parse_args(arguments)


def _bootable() -> Sequence[str]:
    """Returns the architectures that the probe can run on, Debian's names."""
    native = [debian for debian, name in ARCHITECTURES.items() if has_native(name)]
    return list(dict.fromkeys(("amd64", *native)))


def list_packages(bench: Bench, architecture: str, *, update: bool = True) -> list[KernelPackage]:
    """Returns the kernel packages of the archive.

    Raises `NoArchiveError` if there is none or the archive cannot be read.
    """
    apt = bench.apt(architecture)
    apt.configure()
    why = apt.update() if update else ""
    packages = apt.packages()
    if not packages:
        raise NoArchiveError(f"apt lists no kernel packages: {why or 'the archive has none'}")
    return packages


def _boots(
    bench: Bench, chosen: Sequence[KernelPackage], options: argparse.Namespace, ends: float
) -> Iterator[tuple[KernelPackage, Boot]]:
    """Yields what each package did: first what is kept, then what is booted now."""
    kept = {} if options.again else _kept(bench, chosen)
    missing = [package for package in spread(chosen) if package not in kept]
    print(f"{len(chosen)} builds chosen: {len(kept)} kept, {len(missing)} to boot", flush=True)
    if not options.list:
        yield from kept.items()
    for number, package in enumerate(missing, 1):
        title = f"{number}/{len(missing)} {package.architecture} {package.name} {package.version}"
        if options.list or time.monotonic() > ends:
            print(f"{title}: not booted", flush=True)
            continue
        try:
            boot = bench.boot(package)
        except NoArchiveError as e:
            boot = bench.failed(package.architecture, "fetch", str(e))
        print(f"{title}: {_describe(boot)}", flush=True)
        if boot.stage in OF_THIS_MACHINE:
            continue
        yield package, boot


def _kept(bench: Bench, chosen: Iterable[KernelPackage]) -> dict[KernelPackage, Boot]:
    """Returns the boots that were kept."""
    found = ((package, bench.kept(package)) for package in chosen)
    return {package: boot for package, boot in found if boot is not None}


def _describe(boot: Boot) -> str:
    """Returns one boot in a few words."""
    if boot.kernel is None:
        return f"{boot.stage}: {boot.reason}"
    key = row_id(make_row(boot.endings))
    return f"{key} {len(boot.reasons)} unknown, {boot.elapsed_s:g} s, {boot.cpu_s:g} s of CPU"


if __name__ == "__main__":
    sys.exit(main())
