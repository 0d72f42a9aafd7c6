"""`fleetaudit bisect` up to the first boot: errors, results of earlier calls, a machine without
QEMU.

The boots of real kernels are in tests/kernels.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from fleetaudit.app.bisect import BisectRequest, Followed, PreparedBisection, prepare_bisection
from fleetaudit.app.command_line import CommandLine
from fleetaudit.cli.reporter import ConsoleReporter
from fleetaudit.store.bisection_state import BisectionState, KernelResult, hold_state, write_state
from tests import SCHEMAS
from tests.support.commands import Workspace
from tests.support.debian_packages import bzimage

ENDINGS = {"unread-close/ipv4": "RST", "drained-close/ipv4": "FIN"}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Returns a folder with nine kernels, which would boot nothing."""
    workspace = Workspace(tmp_path)
    (tmp_path / "kernels").mkdir()
    for number in range(1, 10):
        data = bzimage(f"6.1.{number}-amd64 (x) #1 SMP Debian 6.1.{number}-1 (2026-01-02)")
        (tmp_path / "kernels" / f"vmlinuz-{number}").write_bytes(data)
    return workspace


def prepared(place: Workspace, *, state: Path | None = None) -> PreparedBisection:
    """Returns the bisection of the nine kernels as the command prepares it."""
    request = BisectRequest(
        images=(str(place.path / "kernels"),),
        series=None,
        playbooks=(str(place.path / "quick.yml"),),
        tags=(),
        skip_tags=(),
        extra_vars={},
        followed=Followed(),
        forks=1,
        host_deadline_s=300,
        output=place.path / "reports",
        state=state,
        command_line=CommandLine("bisect", ("kernels",)),
    )
    return prepare_bisection(request, ConsoleReporter(quiet=True))


def keep_results(place: Workspace, endings: str, *, state: Path | None = None) -> PreparedBisection:
    """Writes a result for each kernel: R resets, F does not, "-" was not audited, "?" has none."""
    bisection = prepared(place, state=state)
    results = {
        image: RESULTS[letter]
        for image, letter in zip(bisection.images, endings, strict=True)
        if letter != "?"
    }
    bisection.state.parent.mkdir(exist_ok=True)
    write_state(
        bisection.state,
        BisectionState(call=bisection.call, kernels=bisection.images, results=results),
    )
    return bisection


RESULTS = {
    "R": KernelResult(status="audited", endings=ENDINGS),
    "F": KernelResult(status="audited", endings=ENDINGS | {"unread-close/ipv4": "FIN"}),
    "-": KernelResult(status="not audited", stage="connect", reason="it panicked", hint="boot it"),
}


def test_kept_results_answer_without_a_boot(place: Workspace) -> None:
    keep_results(place, "R?R-FF??F")
    done = place.run("bisect", "kernels", "-p", "quick.yml", PATH="")
    assert done.returncode == 4, done.stderr
    assert re.search(r"Between 6\.1\.3-amd64 \(6\.1\.3-1\) and 6\.1\.5-amd64", done.stdout)
    assert "  unread-close (IPv4): RST → FIN\n" in done.stdout
    assert "one of these: 6.1.4-amd64 (6.1.4-1)," in done.stdout
    assert "not audited: it panicked\n  next:  boot it\n" in done.stdout
    assert "6 results of earlier boots" in done.stderr


def test_neighbours_are_status_0_and_json_follows_its_schema(place: Workspace) -> None:
    keep_results(place, "RR?FF???F")
    again = place.run("bisect", "kernels", "-p", "quick.yml", "--format", "json", PATH="")
    assert again.returncode == 4  # 6.1.3 is between, and without QEMU it cannot be booted
    assert "not audited: resolve" in again.stderr
    keep_results(place, "RRFFF???F")
    done = place.run("bisect", "kernels", "-p", "quick.yml", "--format", "json", PATH="")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((SCHEMAS / "bisect.schema.json").read_text()))
    (change,) = found["changes"]
    assert (change["before"], change["after"]) == ("6.1.2-amd64 (6.1.2-1)", "6.1.3-amd64 (6.1.3-1)")
    assert found["complete"]
    assert [k["status"] for k in found["kernels"]].count("not booted") == 3


def test_a_scenario_that_did_not_change_is_followed_alone(place: Workspace) -> None:
    keep_results(place, "R???????F")
    done = place.run(
        "bisect", "kernels", "-p", "quick.yml", "--scenario", "drained-close/ipv4", PATH=""
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing changed between 6.1.1-amd64 (6.1.1-1) and" in done.stdout
    assert "1 ending compared" in done.stdout.replace("\n    ", " ")


def test_a_machine_that_boots_nothing_says_why_and_keeps_nothing(
    place: Workspace,
) -> None:
    done = place.run("bisect", "kernels", "-p", "quick.yml", "--state", "mine.json", PATH="")
    assert done.returncode == 4
    assert "No two of the kernels can be compared" in done.stdout
    assert "; 0 booted." in done.stdout
    assert "  next:  apt install " in done.stdout
    assert "6.1.2" not in done.stderr, "no further kernel is tried"
    assert not (place.path / "mine.json").exists()


def test_results_of_another_list_or_call_are_refused(place: Workspace) -> None:
    state = place.path / "mine.json"
    keep_results(place, "RRRRRFFFF", state=state)
    same = place.run("bisect", "kernels", "-p", "quick.yml", "--state", "mine.json", PATH="")
    assert same.returncode == 0, same.stderr
    for arguments, reason in (
        (
            ("kernels/vmlinuz-1", "kernels/vmlinuz-2", "-p", "quick.yml"),
            "0 kernels added, 7 removed",
        ),
        (("kernels",), "another call"),
        (("kernels", "-p", "quick.yml", "-e", "kernel_memory=512"), "another call"),
    ):
        done = place.run("bisect", *arguments, "--state", "mine.json", PATH="")
        assert done.returncode == 65
        assert reason in done.stderr
        assert "rm mine.json" in done.stderr


def test_a_second_bisection_of_the_same_call_is_status_75(place: Workspace) -> None:
    with hold_state(prepared(place).state):
        done = place.run("bisect", "kernels", "-p", "quick.yml")
    assert done.returncode == 75
    assert "another bisection holds this file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        ((), 64, "Missing argument"),
        (("kernels", "--series", "6.12"), 66, "of the series 6.12; there are: 6.1 (9)"),
        (("kernels/vmlinuz-1",), 66, "1 kernel image; name at least two"),
        (("kernels", "missing"), 66, "missing: no such file"),
        (("quick.yml", "kernels"), 65, "not a kernel image"),
        (("kernels", "--scenario", "unraed-close"), 66, "did you mean unread-close"),
        (
            ("kernels", "--scenario", "unread-close", "--family", "unix"),
            66,
            "no such scenario over",
        ),
        (("kernels", "-e", "kernel_memory=1"), 65, "64 to 65536"),
        (("kernels", "-p", "nothing.yml"), 66, "nothing.yml"),
        (("kernels", "-o", "quick.yml"), 73, "cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_first_boot(
    place: Workspace, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    done = place.run("bisect", *arguments, PATH="")
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_several_series_name_the_option(place: Workspace) -> None:
    (place.path / "kernels" / "next").write_bytes(bzimage("6.12.1 (x) #1"))
    done = place.run("bisect", "kernels")
    assert done.returncode == 64
    assert "6.1 (9), 6.12 (1)" in done.stderr
    assert "--series 6.1\n" in done.stderr
