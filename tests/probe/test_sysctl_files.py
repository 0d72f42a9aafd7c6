"""Which line of which file sets a sysctl at boot: the answer of the probe, compared with the
real programs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.analysis.remediation import sysctl_remedy
from fleetaudit.model import (
    Audited,
    Kernel,
    Sysctl,
    SysctlExpectation,
)
from fleetaudit.probe import protocol
from tests.support import probe_runs

KEYS = ("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl")
"""Each network namespace has its own of these, so a test may set them in one."""
SYSTEMD = next(
    (
        path
        for path in ("/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl")
        if Path(path).exists()
    ),
    "",
)

# A private copy of every folder that the programs read. `files` are written into it; then both
# programs run, each after the sysctls were set to 11, and the functions of the probe say what they
# found.
INSIDE = r"""
import json, os, shutil, subprocess, sys
call = json.load(sys.stdin)
program = {}
exec(call["program"], program)
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d")

def write(files):
    for folder in FOLDERS:
        shutil.rmtree(folder, ignore_errors=True) if folder.startswith("/run") else [
            os.unlink(os.path.join(folder, name)) for name in os.listdir(folder)]
        os.makedirs(folder, exist_ok=True)
    if os.path.lexists("/etc/sysctl.conf"):
        os.unlink("/etc/sysctl.conf")
    for path, text in files.items():
        if text.startswith("-> "):
            os.symlink(text[3:], path)
        else:
            with open(path, "w") as file:
                file.write(text)

def value(key):
    with open("/proc/sys/" + key.replace(".", "/")) as file:
        return file.read().strip()

def effect(command):
    for key in call["keys"]:
        with open("/proc/sys/" + key.replace(".", "/"), "w") as file:
            file.write("11")
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {key: value(key) for key in call["keys"]}

for files, remedy in zip(call["configurations"], call["remedies"]):
    write(files)
    if remedy:
        subprocess.run(["sh", "-ec", remedy], stdout=subprocess.DEVNULL, check=True)
    print(json.dumps({
        "procps": effect(["sysctl", "--system"]),
        "systemd": effect([call["systemd"]]),
        "places": program["sysctl_places"](call["keys"]),
    }))
"""
WITHIN = (
    "mount --make-rprivate /; mkdir /tmp/copy-$$ && mount -t tmpfs none /tmp/copy-$$; cp -a /etc"
    " /tmp/copy-$$/; mkdir -p /tmp/copy-$$/etc/sysctl.d; mount --bind /tmp/copy-$$/etc /etc; mount"
    " -t tmpfs none /run; mount -t tmpfs none /usr/lib/sysctl.d; umount /tmp/copy-$$ && rmdir"
    " /tmp/copy-$$; "
)


def private_files(*more: str) -> list[str]:
    """Returns a command that runs what follows with a network and files of its own, so that it may
    change both.
    """
    probe_runs.need_root()
    probe_runs.need_program("unshare", "sysctl", "mount")
    if not SYSTEMD:
        pytest.skip("needs systemd-sysctl")
    return [
        "unshare",
        "--mount",
        "--net",
        "--",
        "sh",
        "-ec",
        WITHIN + "; ".join([*more, 'exec "$@"']),
        "sh",
    ]


def told(*configurations: dict[str, str], remedies: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Returns what both programs and the probe make of each set of files, by path, each after its
    remedy was typed.
    """
    call = {
        "program": protocol.probe_text(),
        "keys": KEYS,
        "systemd": SYSTEMD,
        "configurations": configurations,
        "remedies": remedies or [""] * len(configurations),
    }
    command = [*private_files(), probe_runs.public_python(), "-c", INSIDE]
    done = subprocess.run(
        command, input=json.dumps(call), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def value_at(files: dict[str, str], place: str) -> str:
    """Returns the value that the line of a place assigns."""
    path, _, number = place.rpartition(":")
    return files[path].splitlines()[int(number) - 1].partition("=")[2].strip()


def check(files: dict[str, str], answer: dict[str, Any]) -> None:
    for key in KEYS:
        places = answer["places"].get(key, [])
        expected = [value_at(files, place) for place in places] or ["11"]
        found = answer["procps"][key], answer["systemd"][key]
        kept = "-net.ipv4.tcp_keepalive_intvl" in files.get("/etc/sysctl.conf", "").splitlines()
        assert found[0] == expected[0] or (kept and found[0] == "11"), (key, files, answer)
        # systemd-sysctl may find nothing where sysctl finds a line: it does not read
        # /etc/sysctl.conf by itself.
        assert found[1] in (expected[-1], "11"), (key, files, answer)


LINES = (
    "net.ipv4.tcp_fin_timeout = {v}",
    "net/ipv4/tcp_fin_timeout={v}",
    "  -net.ipv4.tcp_fin_timeout =  {v} ",
    "net.ipv4.tcp_keepalive_* = {v}",
    "net.ipv4.tcp_keepalive_time={v}",
    "net/ipv4/tcp_keepalive_intvl = {v}",
    "-net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_fin_timeou? = {v}",
    "# net.ipv4.tcp_fin_timeout = {v}",
    "; a comment",
    "",
    "net/ipv4.tcp_fin_timeout = {v}",
    "net.ipv4.tcp_fin_timeout {v}",
    "net.*.tcp_fin_timeout = {v}",
)
PATHS = (
    "/etc/sysctl.conf",
    "/etc/sysctl.d/10-a.conf",
    "/etc/sysctl.d/60-fleetaudit.conf",
    "/etc/sysctl.d/zz.conf",
    "/etc/sysctl.d/Z.conf",
    "/run/sysctl.d/10-a.conf",
    "/run/sysctl.d/50-b.conf",
    "/usr/lib/sysctl.d/50-b.conf",
    "/usr/lib/sysctl.d/99-c.conf",
    "/etc/sysctl.d/readme",
)


def made_up(chance: random.Random) -> dict[str, str]:
    """Returns files with lines of every kind, each value once, so that a value tells the line that
    it is from.
    """
    values = iter(range(100, 10_000))
    files = {}
    for path in chance.sample(PATHS, chance.randint(1, 6)):
        lines = [
            line.format(v=next(values)) for line in chance.choices(LINES, k=chance.randint(0, 5))
        ]
        files[path] = "\n".join(lines) + chance.choice(["", "\n"])
    if chance.random() < 0.7:
        files["/etc/sysctl.d/99-sysctl.conf"] = "-> ../sysctl.conf"
    if chance.random() < 0.2:
        files["/etc/sysctl.d/50-b.conf"] = "-> /dev/null"
    return files


def test_the_line_that_wins_at_boot_is_the_one_that_the_real_programs_obey() -> None:
    chance = random.Random(11)
    configurations = [made_up(chance) for _ in range(60)]
    answers = told(*configurations)
    assert len(answers) == len(configurations)
    for files, answer in zip(configurations, answers, strict=True):
        check(files, answer)
    assert any(len(places) == 2 for answer in answers for places in answer["places"].values())


FIN = KEYS[0]
WANTED = "60"


def remedy(places: dict[str, list[str]] | None) -> str:
    """Returns what a finding on `FIN` says to type."""
    known = None if places is None else {key: tuple(some) for key, some in places.items()}
    audited = Audited(
        name="a",
        kernel=Kernel(release="6.12.0", version="#1", machine="x86_64"),
        isolation="namespace",
        sysctls={FIN: Sysctl(value="300")},
        sysctl_places=known,
    )
    return sysctl_remedy(FIN, [SysctlExpectation(equals=WANTED)], audited)


@pytest.mark.parametrize("read", [True, False], ids=["files read", "files not read"])
def test_the_remedy_as_it_is_printed_holds_after_a_boot_whichever_program_sets_sysctls(
    read: bool,
) -> None:
    chance = random.Random(12)
    configurations = [made_up(chance) for _ in range(40)]
    before = told(*configurations)
    remedies = [remedy(answer["places"] if read else None) for answer in before]
    after = told(*configurations, remedies=remedies)
    for files, typed, answer in zip(configurations, remedies, after, strict=True):
        found = answer["procps"][FIN], answer["systemd"][FIN]
        assert found == (WANTED, WANTED), (typed, files)
    assert any(answer["procps"][FIN] not in ("11", WANTED) for answer in before), (
        "no file ever set it"
    )


def test_the_remedy_of_before_lost_against_sysctl_conf() -> None:
    """The case that this is about: 60-… is read before 99-sysctl.conf and /etc/sysctl.conf."""
    files = {
        "/etc/sysctl.conf": f"{FIN} = 300\n",
        "/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
    }
    old = f"sysctl -w {FIN}=60 && echo '{FIN} = 60' >>/etc/sysctl.d/60-fleetaudit.conf"
    before, after = told(files, files, remedies=[old, remedy({FIN: ["/etc/sysctl.conf:1"]})])
    assert before["places"][FIN] == ["/etc/sysctl.conf:1"]
    assert (before["procps"][FIN], before["systemd"][FIN]) == ("300", "300")
    assert (after["procps"][FIN], after["systemd"][FIN]) == ("60", "60")


SETTING = f"echo '{FIN} = 300' >/etc/sysctl.d/zz-mine.conf"


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.14"])
def test_every_python_reports_the_same_place(version: str) -> None:
    python = probe_runs.interpreter(version)
    reply = probe_runs.run(
        probe_runs.request(sysctls=[FIN]), python=python, within=private_files(SETTING)
    )
    assert reply.sysctl_places == {FIN: ("/etc/sysctl.d/zz-mine.conf:1",)}
    assert reply.sysctls_writable


@pytest.mark.parametrize(
    "odd",
    [
        "chmod 600 /etc/sysctl.d/zz-mine.conf",
        "head -c 70000 /dev/zero | tr '\\0' x >>/etc/sysctl.d/10-long.conf",
        "for n in $(seq 600); do : >/etc/sysctl.d/$n.conf; done",
        (
            "printf 'net.ipv4.tcp_fin_timeout = 1\\n' >\"/etc/sysctl.d/$(printf"
            " '\\303\\251\\033').conf\""
        ),
    ],
)
def test_files_that_are_not_world_readable_or_too_many_leave_it_unknown(odd: str) -> None:
    reply = probe_runs.run(probe_runs.request(sysctls=[FIN]), within=private_files(SETTING, odd))
    assert reply.sysctl_places is None
    assert reply.sysctls[FIN].value
    assert reply.notes == ()


def test_what_is_no_file_is_skipped() -> None:
    odd = (
        "cd /etc/sysctl.d; mkfifo 10.conf; mkdir 11.conf; ln -s /dev/zero 12.conf; ln -s nowhere"
        " 13.conf; cd /"
    )
    reply = probe_runs.run(probe_runs.request(sysctls=[FIN]), within=private_files(SETTING, odd))
    assert reply.sysctl_places == {FIN: ("/etc/sysctl.d/zz-mine.conf:1",)}


def test_a_read_only_proc_sys_is_reported() -> None:
    read_only = "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys"
    assert not probe_runs.run(
        probe_runs.request(sysctls=[FIN]), within=private_files(read_only)
    ).sysctls_writable


def test_a_run_shows_the_line_and_a_remedy_that_survives_a_boot(tmp_path: Path) -> None:
    (tmp_path / "fin.yml").write_text(
        f"- {{name: a, hosts: all, sysctls: {{expect: {{{FIN}: {{at_most: 60}}}}}}}}\n"
    )
    setting = (
        f"echo '{FIN} = 300' >/etc/sysctl.conf; ln -sf ../sysctl.conf /etc/sysctl.d/99-sysctl.conf"
    )
    script = f"""
        sysctl --system >/dev/null 2>&1
        {sys.executable} -m fleetaudit run localhost, -p fin.yml -o out --format json || [ $? = 2 ]
        sh -ec "$({sys.executable} -c "$FIX")"
        for program in 'sysctl --system' {SYSTEMD}; do
            echo 300 >/proc/sys/net/ipv4/tcp_fin_timeout
            $program >/dev/null 2>&1 || true
            echo "after $program: $(cat /proc/sys/net/ipv4/tcp_fin_timeout)"
        done
    """
    fix = (
        "import json;"
        " print(json.load(open('out/latest/run.json'))['hosts'][0]['findings'][0]['fix'])"
    )
    command = [*private_files("rm -f /etc/sysctl.d/*.conf", setting), "sh", "-ec", script]
    env = {**os.environ, "FIX": fix}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "observed 300 (set at boot by /etc/sysctl.conf:1)" in " ".join(done.stdout.split())
    assert f"after sysctl --system: 60\nafter {SYSTEMD}: 60" in done.stdout
