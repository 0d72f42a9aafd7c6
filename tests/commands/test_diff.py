"""`fleetaudit diff`, --baseline and --waivers through the real command; a sysctl that drifts in a
namespace.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.model import AuditRun, NotAudited
from fleetaudit.store.names import RUN_FILE
from fleetaudit.store.run_file import encode_run, read_run
from tests.support.runs import (
    K510,
    Fleet,
    by_name,
    observe,
    small_fleet,
)

PLAYBOOK = """\
- name: A quick one
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout, net.ipv4.tcp_rfc1337]
    expect:
      net.ipv4.tcp_fin_timeout: {at_most: 60}
"""
WAIVER = """\
- finding: sysctl:net.ipv4.tcp_fin_timeout
  hosts: localhost
  owner: ann
  reason: The balancer wants it.
  expiry: EXPIRY
"""
FINDING = "sysctl:net.ipv4.tcp_fin_timeout"


class Folder:
    """A folder of a user's, and the command run in it, in whatever network namespace `enter`
    enters.
    """

    def __init__(self, path: Path, enter: tuple[str, ...] = ()) -> None:
        self.path, self.enter = path, enter
        self.write("play.yml", PLAYBOOK)

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def run(self, *arguments: str | Path, day: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs the command; `day` stops its clock at that day of January 2026."""
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("FLEETAUDIT_")
        }
        env |= {"HOME": str(self.path), "COLUMNS": "150", "NO_COLOR": "1"}
        if day:
            env["SOURCE_DATE_EPOCH"] = str(1767232800 + (day - 1) * 86400)  # 2026-01-01T02:00:00Z
        command = [*self.enter, sys.executable, "-m", "fleetaudit", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.path, env=env, capture_output=True, text=True, timeout=300
        )

    def audit(self, *arguments: str, day: int) -> subprocess.CompletedProcess[str]:
        return self.run(
            "run", "localhost,", "-p", "play.yml", "--format", "html", *arguments, day=day
        )

    def sysctl(self, name: str, value: str) -> None:
        subprocess.run([*self.enter, "sysctl", "-qw", f"{name}={value}"], check=True, timeout=300)

    def latest(self) -> AuditRun:
        return read_run(self.path / "reports/latest")


def changed(run: AuditRun) -> list[tuple[str, str, str, str]]:
    assert run.drift is not None
    return [(c.effect, c.what, c.before, c.after) for c in run.drift.changes]


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Folder]:
    """Runs in a network namespace of its own, so that the machine's settings stay as they are."""
    missing = [
        tool for tool in ("unshare", "nsenter", "ip", "sysctl") if shutil.which(tool) is None
    ]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"not installed: {', '.join(missing)}")
        pytest.skip(f"not installed: {', '.join(missing)}")
    script = "ip link set lo up && echo ready && exec cat"
    as_root = [] if os.geteuid() == 0 else ["-r"]
    holder = subprocess.Popen(
        ["unshare", *as_root, "-n", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip("no network namespace is available here")
        users = ["-U", "--preserve-credentials"] if as_root else []
        yield Folder(tmp_path, ("nsenter", "-t", str(holder.pid), *users, "-n", "--"))
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()


# ---- two real runs
# -------------------------------------------------------------------------------------------------


def test_a_sysctl_that_changes_between_two_runs_is_a_regression_dated_and_fixed_again(
    private: Folder,
) -> None:
    first = private.audit(day=1)
    assert first.returncode == 0, first.stdout + first.stderr
    assert private.latest().run.baseline is None
    assert private.latest().drift is None

    private.sysctl("net.ipv4.tcp_fin_timeout", "120")
    private.sysctl("net.ipv4.tcp_rfc1337", "1")
    second = private.audit("--fail-on", "warning,drift", day=2)
    assert second.returncode == 2 + 8, second.stdout + second.stderr
    assert (
        "Changed since 2026-01-01T020000Z: 1 host regressed (net.ipv4.tcp_fin_timeout on 1), 1 host"
        " changed" in second.stdout
    )
    run = private.latest()
    assert run.run.baseline == "2026-01-01T020000Z"
    assert changed(run) == [
        ("regression", FINDING, "60", "120"),
        ("changed", "sysctl:net.ipv4.tcp_rfc1337", "0", "1"),
    ]
    page = (private.path / "reports/latest/report.html").read_text()
    assert "What changed since 2026-01-01T02:00:00Z" in page

    third = private.audit("--fail-on", "drift", day=3)
    assert third.returncode == 0, third.stdout + third.stderr  # no drift since yesterday
    assert "Nothing changed since 2026-01-02T020000Z on 1 host." in third.stdout
    assert [f.since for f in private.latest().hosts[0].findings] == ["2026-01-02"]

    back = private.audit("--baseline", "2026-01-01T020000Z", "--fail-on", "drift", day=4)
    assert back.returncode == 8, back.stdout + back.stderr
    run = private.latest()
    assert run.run.baseline == "2026-01-01T020000Z"
    assert run.drift is not None
    assert [c.since for c in run.drift.changes] == [
        "2026-01-02",
        "2026-01-04",
    ]  # a finding knows its first day

    private.sysctl("net.ipv4.tcp_fin_timeout", "60")
    fifth = private.audit("-q", day=5)
    assert fifth.returncode == 0, fifth.stdout + fifth.stderr
    assert changed(private.latest()) == [("fix", FINDING, "120", "60")]
    assert "not met since 2026-01-02" in fifth.stdout

    told = private.run("diff", "reports/2026-01-01T020000Z", "reports/2026-01-02T020000Z")
    assert told.returncode == 8, told.stderr
    assert (
        "regression (warning)  net.ipv4.tcp_fin_timeout: 60 → 120, first seen 2026-01-02: localhost"
        in told.stdout
    )
    assert (
        private.run("diff", "reports/2026-01-01T020000Z", "reports/2026-01-05T020000Z").returncode
        == 8
    )
    assert (
        private.run("diff", "reports/2026-01-02T020000Z", "reports/2026-01-03T020000Z").returncode
        == 0
    )


def test_a_waiver_excuses_until_its_day_and_the_day_after_it_is_reported_as_expired(
    private: Folder,
) -> None:
    private.sysctl("net.ipv4.tcp_fin_timeout", "120")
    unused = WAIVER.replace("EXPIRY", "2026-01-09").replace(FINDING, "sysctl:net.ipv4.tcp_sack")
    private.write("waivers.yml", WAIVER.replace("EXPIRY", "2026-01-02") + unused)
    held = private.audit("--waivers", "waivers.yml", day=2)
    assert held.returncode == 0, held.stdout + held.stderr
    assert "1 waived" in held.stdout
    assert "ann until 2026-01-02: The balancer wants it." in held.stdout
    run = private.latest()
    assert [f.waived for f in run.hosts[0].findings] == [
        "ann until 2026-01-02: The balancer wants it."
    ]
    assert len(run.run.notes) == 1
    assert "unused" in run.run.notes[0]
    assert "tcp_sack" in run.run.notes[0]
    page = (private.path / "reports/latest/report.html").read_text()
    assert "<s><bdi>120</bdi></s>" in page
    assert "ann until 2026-01-02" in page

    late = private.audit("--waivers", "waivers.yml", "--fail-on", "warning,drift", day=3)
    assert late.returncode == 2 + 8, late.stdout + late.stderr
    assert "Waiver expired on 2026-01-02" in late.stdout
    assert changed(private.latest()) == [
        ("changed", FINDING, "ann until 2026-01-02: The balancer wants it.", "not waived")
    ]


# ---- what was named
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--waivers", "none.yml"], 66, "none.yml"),
        (
            ["--waivers", "bad.yml"],
            65,
            "bad.yml:5:3: unknown key “expires”; did you mean “expiry”?",
        ),
        (["--waivers", "pattern.yml"], 65, "pattern.yml:1: "),
        (["--baseline", "2025-01-01T000000Z"], 66, "no such run"),
        (["--baseline", "play.yml"], 65, "not a run of fleetaudit"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_host_is_audited(
    folder: Folder, arguments: list[str], status: int, words: str
) -> None:
    folder.write("bad.yml", WAIVER.replace("expiry: EXPIRY", "expires: 2027-01-01"))
    folder.write(
        "pattern.yml", WAIVER.replace("localhost", '"web["').replace("EXPIRY", "2027-01-01")
    )
    done = folder.audit(*arguments, day=1)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr
    assert not list((folder.path).glob("reports/2*"))


def stored(folder: Folder, day: int, **about: Any) -> Path:
    """Writes the small fleet as a finished run of that day of January 2026."""
    moment = f"2026-01-{day:02}T02:00:00Z"
    run = small_fleet()
    info = msgspec.structs.replace(
        run.run,
        id=moment.replace(":", ""),
        started=moment,
        inventory=("localhost,",),
        playbooks=("play.yml",),
    )
    run = msgspec.structs.replace(run, run=msgspec.structs.replace(info, **about))
    path = folder.path / "reports" / run.run.id
    path.mkdir(parents=True)
    (path / RUN_FILE).write_bytes(encode_run(run))
    return path


def test_last_is_the_newest_finished_run_of_the_same_job(folder: Folder) -> None:
    assert folder.audit(day=1).returncode == 0
    stored(folder, 2, inventory=("other.yml",))
    stored(folder, 3, playbooks=("strict.yml",))
    stored(folder, 4, limit="web*")
    stored(folder, 5, shard="1/2")
    interrupted = stored(folder, 6)
    run = read_run(interrupted)
    rest = NotAudited(name="later", stage="interrupted", reason="interrupted")
    (interrupted / RUN_FILE).write_bytes(
        encode_run(msgspec.structs.replace(run, hosts=(*run.hosts, rest)))
    )
    golden = shutil.copytree(
        folder.path / "reports/2026-01-01T020000Z", folder.path / "reports/golden"
    )
    broken = folder.path / "reports/2026-01-07T020000Z"
    broken.mkdir()
    (broken / RUN_FILE).write_text("{}")
    done = folder.audit(day=8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert folder.latest().run.baseline == "2026-01-01T020000Z"
    assert "2026-01-07T020000Z" in done.stderr  # left out, with a note
    (golden / RUN_FILE).unlink()  # the store is all that is needed
    assert folder.audit("--baseline", "golden", day=9).returncode == 0
    assert folder.latest().run.baseline == "2026-01-01T020000Z"
    assert folder.audit("--baseline", "none", day=10).returncode == 0
    assert folder.latest().run.baseline is None


def test_a_baseline_that_cannot_be_compared_is_reported_and_the_run_is_whole(
    folder: Folder,
) -> None:
    stored(folder, 1, inventory=("other.yml",))
    done = folder.audit("--baseline", "reports/2026-01-01T020000Z", day=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not compared with 2026-01-01T020000Z" in done.stdout
    drift = folder.latest().drift
    assert drift is not None
    assert drift.refused
    page = (folder.path / "reports/latest/report.html").read_text()
    assert "The runs cannot be compared" in page


# ---- diff
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(folder: Folder) -> tuple[Folder, Path, Path]:
    """Two runs of the small fleet, one host of which stopped resetting."""
    one, two = stored(folder, 1), stored(folder, 2)
    run = read_run(two)
    unread = by_name("unread-close")
    worse = Fleet().host(
        "web002",
        K510,
        groups=("web",),
        instead=[observe(unread, f, "FIN") for f in unread.families],
    )
    hosts = tuple(worse if h.name == "web002" else h for h in run.hosts)
    (two / RUN_FILE).write_bytes(encode_run(msgspec.structs.replace(run, hosts=hosts)))
    return folder, one, two


def test_diff_of_runs_that_differ_ends_with_8_and_of_the_same_with_0(
    pair: tuple[Folder, Path, Path],
) -> None:
    folder, one, two = pair
    told = folder.run("diff", one, two)
    assert told.returncode == 8, told.stderr
    assert (
        told.stdout.splitlines()[0]
        == "Changed since 2026-01-01T020000Z: 1 host regressed (unread-close on 1)"
    )
    assert "unread-close (IPv4 and IPv6): RST → FIN, first seen 2026-01-02: web002" in told.stdout
    same = folder.run("diff", one, one / "run.json")
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("Nothing changed")


def test_diff_as_json_is_the_same_to_the_byte_on_the_screen_and_in_a_file(
    pair: tuple[Folder, Path, Path],
) -> None:
    folder, one, two = pair
    told = folder.run("diff", one, two, "--format", "json")
    assert told.returncode == 8, told.stderr
    assert folder.run("diff", one, two, "--format", "json", "-o", "drift.json").returncode == 8
    assert (folder.path / "drift.json").read_text() == told.stdout
    found = json.loads(told.stdout)
    assert found["format"] == "fleetaudit-drift/1"
    assert {(c["effect"], c["host"]) for c in found["changes"]} == {("regression", "web002")}


def test_diff_of_runs_that_cannot_be_compared_ends_with_65_and_says_why(
    pair: tuple[Folder, Path, Path],
) -> None:
    folder, one, two = pair
    run = read_run(two)
    scenarios = tuple(
        msgspec.structs.replace(s, steps=(*s.steps, "closer closes")) for s in run.scenarios
    )
    (two / RUN_FILE).write_bytes(encode_run(msgspec.structs.replace(run, scenarios=scenarios)))
    told = folder.run("diff", one, two)
    assert told.returncode == 65, told.stdout
    assert told.stdout == ""
    assert "the steps of “" in told.stderr
    assert "differ between the two runs" in told.stderr
    assert folder.run("diff", one, folder.path / "reports/nothing").returncode == 66


def test_diff_as_a_page_names_the_regression_and_the_command_and_keeps_the_exit_status(
    pair: tuple[Folder, Path, Path],
) -> None:
    folder, one, two = pair
    latest = folder.path / "reports/latest"
    latest.symlink_to(two.name)
    arguments = ("diff", one, "reports/latest", "--format", "html")
    told = folder.run(*arguments, "-o", "diff.html")
    assert (told.returncode, told.stdout, told.stderr) == (8, "", "")
    page = (folder.path / "diff.html").read_text()
    assert "Regressions: " in page
    command = f"fleetaudit diff --format html -o diff.html {one} reports/{two.name}"
    (shown,) = re.findall("again: (<code.*</code>)", page)
    assert re.sub("<[^>]*>", "", shown) == command
    on_the_screen = folder.run(*arguments)
    assert on_the_screen.returncode == 8
    plain = on_the_screen.stdout.replace("<wbr>", "")
    assert plain == page.replace("<wbr>", "").replace(" -o diff.html", "")
    same = folder.run("diff", one, one, "--format", "html")
    assert same.returncode == 0, same.stderr
    assert "Nothing changed, as far as both runs know it." in same.stdout


def test_a_page_of_runs_that_cannot_be_compared_is_written_and_says_why(
    pair: tuple[Folder, Path, Path],
) -> None:
    folder, one, two = pair
    run = read_run(two)
    hosts = tuple(msgspec.structs.replace(host, name=f"new-{host.name}") for host in run.hosts)
    (two / RUN_FILE).write_bytes(encode_run(msgspec.structs.replace(run, hosts=hosts)))
    told = folder.run("diff", one, two, "--format", "html", "-o", "diff.html")
    assert (told.returncode, told.stdout) == (65, "")
    assert "the two runs have no host in common" in told.stderr
    page = (folder.path / "diff.html").read_text()
    assert "The two runs cannot be compared: <bdi>the two runs have no host in common" in page


def test_the_help_of_diff_says_what_its_exit_status_means(folder: Folder) -> None:
    told = folder.run("diff", "--help")
    assert told.returncode == 0
    assert "0 nothing changed, 8 something did, 65 the two cannot be compared" in " ".join(
        told.stdout.split()
    )


def test_a_page_that_is_rendered_again_still_says_what_changed(folder: Folder) -> None:
    assert folder.audit(day=1).returncode == 0
    assert folder.audit(day=2).returncode == 0
    again = folder.run("report", "reports/latest", "--format", "html")
    assert again.returncode == 0, again.stderr
    assert again.stdout == (folder.path / "reports/latest/report.html").read_text()
    assert "What changed since 2026-01-01T02:00:00Z" in again.stdout
