"""tools/kernel_table.py: which packages it chooses, and how it continues a table."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from fleetaudit.analysis.kernel_table.model import (
    EMPTY,
    Call,
    KernelTable,
    TableScenario,
    encode_table,
    row_ending,
)
from fleetaudit.model import Ending, Kernel
from tools import kernel_table
from tools.kernel_archive import KernelPackage, NoArchiveError, upstream_numbers
from tools.kernel_table import (
    Bench,
    Boot,
    add_boot,
    check,
    choose,
    in_table,
    spread,
    with_scenarios,
)


def package(version: str, flavour: str = "cloud-amd64", suite: str = "trixie") -> KernelPackage:
    build = f"{version.split('-')[0]}-{flavour}"
    return KernelPackage(
        name=f"linux-image-{build}",
        version=version,
        architecture="amd64",
        flavour=flavour,
        source="linux-signed-amd64",
        suites=(suite,),
    )


def boot(ending: Ending = "FIN", *, stage: str = "", reason: str = "") -> Boot:
    kernel = Kernel(
        release="6.12.43-cloud-amd64", version="#1 SMP Debian (2026-01-31)", machine="x86_64"
    )
    return Boot(
        scenarios="x",
        call="c0ffee",
        made_by=Call(fleetaudit="0.1.0"),
        kernel=None if stage else kernel,
        endings={"drained-close": {"ipv4": ending, "ipv6": ending}},
        stage=stage,
        reason=reason,
    )


def test_of_the_flavours_of_one_source_version_the_smallest_is_chosen() -> None:
    packages = [
        package(version, flavour)
        for version in ("6.12.43-1", "6.12.57-1")
        for flavour in ("amd64", "cloud-amd64", "rt-amd64")
    ]
    assert [p.flavour for p in choose(packages)] == ["cloud-amd64", "cloud-amd64"]
    assert [p.flavour for p in choose([packages[2], packages[0]])] == ["amd64"]
    assert choose(packages, every_flavour=True) == packages


def test_every_fourth_build_is_chosen_in_the_order_of_the_numbers() -> None:
    packages = [package(f"6.12.{n}-1") for n in (9, 100, 20, 43, 57, 60, 61, 70)]
    chosen = choose(packages, every=4)
    assert [p.version for p in chosen] == ["6.12.9-1", "6.12.60-1"]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_a_table_that_is_interrupted_has_builds_of_every_part(count: int) -> None:
    packages = [package(f"6.12.{n}-1") for n in range(count)]
    order = spread(packages)
    assert sorted(order, key=lambda p: p.numbers) == packages
    if count == 64:
        assert sorted(p.numbers[2] for p in order[:4]) == [0, 16, 32, 48]


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("6.12.43-1~bpo12+1", (6, 12, 43)),
        ("7.3~rc7-1~exp1", (7, 3, 7, -1)),
        ("5.10.218-1", (5, 10, 218)),
    ],
)
def test_the_numbers_of_a_source_version(version: str, numbers: tuple[int, ...]) -> None:
    found = upstream_numbers(version)
    assert found == numbers or (found[:2], found[-1]) == (numbers[:2], numbers[-1])


def test_a_boot_takes_the_place_of_an_earlier_one_of_the_same_package() -> None:
    one = package("6.12.43-1")
    table = add_boot(EMPTY, one, boot("RST"))
    failed = add_boot(table, one, boot(stage="connect", reason="guest did not boot"))
    assert (len(failed.builds), len(failed.not_booted), failed.endings) == (0, 1, {})
    again = add_boot(failed, one, boot("FIN"))
    assert (len(again.builds), len(again.not_booted), len(again.endings)) == (1, 0, 1)
    assert again.builds[0].date == "2026-01-31"


def test_equal_rows_are_stored_once_and_the_order_of_boots_does_not_matter() -> None:
    packages = [package(f"6.12.{n}-1") for n in (9, 43, 100)]
    tables = []
    for order in (packages, packages[::-1]):
        table = EMPTY
        for one in order:
            table = add_boot(table, one, boot())
        tables.append(table)
    assert encode_table(tables[0]) == encode_table(tables[1])
    assert len(tables[0].endings) == 1
    assert [b.package_version for b in tables[0].builds] == ["6.12.9-1", "6.12.43-1", "6.12.100-1"]


def test_endings_of_a_scenario_whose_steps_changed_are_not_kept() -> None:
    old = tuple(
        TableScenario(name=name, families=("ipv4",), steps=name)
        for name in ("drained-close", "unread-close")
    )
    new = (old[0], msgspec.structs.replace(old[1], steps="other"))
    both = msgspec.structs.replace(
        boot(), endings={"drained-close": {"ipv4": "FIN"}, "unread-close": {"ipv4": "RST"}}
    )
    table: KernelTable = with_scenarios(
        add_boot(with_scenarios(EMPTY, old), package("6.1-1"), both), new
    )
    row = table.endings[table.builds[0].endings]
    assert row_ending(row, "drained-close", "ipv4") == "FIN"
    assert row_ending(row, "unread-close", "ipv4") is None
    assert with_scenarios(table, new) == table


class FakeBoots(Bench):
    """Boots nothing: what one boot would show is set by the test. The rest is the tool itself."""

    def __init__(self, cache: Path) -> None:
        super().__init__(cache)
        self.booted = list[str]()
        self.interrupt_after = 99

    def boot(self, package: KernelPackage) -> Boot:
        if len(self.booted) == self.interrupt_after:
            raise KeyboardInterrupt
        self.booted.append(package.version)
        done = msgspec.structs.replace(boot(), scenarios=self._digest)
        self.keep(package, done)
        return done


def test_a_table_that_was_interrupted_boots_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = [package(f"6.12.{n}-1") for n in range(8)]
    bench = FakeBoots(tmp_path)
    bench.interrupt_after = 3
    monkeypatch.setattr(kernel_table, "Bench", lambda cache: bench)
    monkeypatch.setattr(kernel_table, "list_packages", lambda *_, **__: packages)
    arguments = ["--architecture", "amd64", "--cache", str(tmp_path), "-o", str(tmp_path / "t")]
    with pytest.raises(KeyboardInterrupt):
        kernel_table.main(arguments)
    assert len(kernel_table.read_table(tmp_path / "t").builds) == 3
    bench.interrupt_after = 99
    assert kernel_table.main(arguments) == 0
    assert sorted(bench.booted) == sorted(p.version for p in packages)
    assert "8 builds chosen: 3 kept, 5 to boot" in capsys.readouterr().out
    assert len(kernel_table.read_table(tmp_path / "t").builds) == 8
    assert kernel_table.main([*arguments, "--again", "--every", "4"]) == 0
    assert len(bench.booted) == 10


class OneBoot(Bench):
    """Measures nothing: each package is what the test says, or is not in the archive."""

    def __init__(self, cache: Path, boots: dict[str, Boot]) -> None:
        super().__init__(cache)
        self.boots = boots

    def measure(self, package: KernelPackage) -> Boot:
        if package.version not in self.boots:
            raise NoArchiveError("404 Not Found")
        return self.boots[package.version]


def test_a_check_names_each_ending_that_is_not_the_one_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = [package(f"6.12.{n}-1") for n in range(5)]
    table = EMPTY
    for one in packages:
        table = add_boot(table, one, boot("FIN"))
    boots = {
        "6.12.0-1": boot("FIN"),
        "6.12.1-1": boot("RST"),
        "6.12.2-1": boot("inconclusive"),
        "6.12.3-1": boot(stage="connect", reason="guest did not boot"),
    }
    new = package("6.12.99-1")
    assert in_table(table, [*packages, new]) == packages
    found = check(OneBoot(tmp_path, boots), table, packages, time.monotonic() + 60)
    assert {one.package: one.differences for one in found} == {
        packages[0].name: (),
        packages[1].name: (
            "drained-close/ipv4: RST, in the table FIN",
            "drained-close/ipv6: RST, in the table FIN",
        ),
        packages[2].name: (),
        packages[3].name: ("not audited: connect: guest did not boot",),
    }
    assert f"{packages[4].name} 6.12.4-1: 404 Not Found" in capsys.readouterr().err
    assert list(check(OneBoot(tmp_path, boots), table, packages, time.monotonic() - 1)) == []


def test_what_this_machine_lacks_is_neither_kept_nor_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [package("6.12.0-1"), package("6.12.1-1")]
    missing = boot(stage="resolve", reason="no qemu-system-x86_64 on PATH")
    bench = OneBoot(tmp_path, {p.version: missing for p in packages[:1]})
    monkeypatch.setattr(kernel_table, "Bench", lambda cache: bench)
    monkeypatch.setattr(kernel_table, "list_packages", lambda *_, **__: packages)
    assert kernel_table.main(["--cache", str(tmp_path), "-o", str(tmp_path / "t")]) == 0
    table = kernel_table.read_table(tmp_path / "t")
    assert [(row.package_version, row.stage) for row in table.not_booted] == [("6.12.1-1", "fetch")]
    assert bench.kept(packages[0]) is None


def test_without_an_archive_the_tool_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kernel_table.main(["--cache", str(tmp_path), "-o", str(tmp_path / "t")]) == 1
    assert "amd64: no apt-get: real kernels come out of" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
