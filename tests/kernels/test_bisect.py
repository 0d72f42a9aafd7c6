"""The kernel that brought the fix of 2025 is found among real packages of one series.

At least eight versions of Debian's 6.12, read as packages: killed in the middle, interrupted, and
as the command of `git bisect run`.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.text.debian_versions import debian_version_key
from fleetaudit.transport.kernel import qemu
from fleetaudit.transport.kernel.package import read_package
from tests import ROOT
from tests.support import kernel_series
from tests.support.commands import Workspace, until
from tests.support.debian_packages import bzimage
from tests.support.kernels import NoKernelsError, numbers, side_of

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        shutil.which(qemu.PROGRAM) is None and not os.environ.get("CI"),
        reason=f"no {qemu.PROGRAM}",
    ),
]
PAGE = (ROOT / "docs" / "bisect.md").read_text("utf-8")
GOOD = re.findall(r"```yaml\n(- name: What a good kernel does\n.*?)```", PAGE, re.DOTALL)[0]
"""The playbook of the page: the endings before the fix are expected."""
SCRIPT = re.findall(r"```sh\n(fleetaudit run .*?)```", PAGE, re.DOTALL)[0]


@pytest.fixture(scope="module")
def packages() -> tuple[Path, ...]:
    """Returns the packages, oldest first. Without them, the test is skipped; in CI it fails."""
    try:
        found = kernel_series.packages()
    except NoKernelsError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no kernels of one series: {e}")
    return tuple(sorted(found, key=lambda file: debian_version_key(version_of(file))))


@pytest.fixture
def place(tmp_path: Path, packages: tuple[Path, ...]) -> Workspace:
    """Returns a folder with the playbook, and with links to the packages in kernels/."""
    workspace = Workspace(tmp_path)
    workspace.write("good.yml", GOOD)
    (tmp_path / "kernels").mkdir()
    for file in packages:
        (tmp_path / "kernels" / file.name).symlink_to(file)
    return workspace


def version_of(file: Path) -> str:
    """Returns the version in the name of a package's file; apt writes ":" as %3a."""
    return file.name.split("_")[1].replace("%3a", ":")


def is_fixed(label: str) -> bool:
    """Returns whether the kernel of a label, "RELEASE (VERSION)", is on the later side."""
    return side_of(numbers(label.split("(")[1])) == "after"


def kept(place: Workspace) -> dict[str, Any]:
    """Returns the results in mine.json by image."""
    file = place.path / "mine.json"
    if not file.exists():
        return {}
    results: dict[str, Any] = json.loads(file.read_text())["results"]
    return results


CALL = ("bisect", "kernels", "-p", "good.yml", "--state", "mine.json")


def test_a_bisection_that_was_killed_continues_and_finds_the_fix(
    place: Workspace, packages: tuple[Path, ...]
) -> None:
    process = place.start(*CALL)
    until(lambda: len(kept(place)) >= 2 or process.poll() is not None, "two results", 1200)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = kept(place)
    assert 2 <= len(before) < len(packages)
    done = place.run(*CALL, "--scenario", "reread-fin-close", "--format", "json")
    after = kept(place)
    assert {image: after[image] for image in before} == before, "no kernel is booted twice"
    found = json.loads(done.stdout)
    assert [change["family"] for change in found["changes"]] == ["ipv4", "ipv6"]
    for change in found["changes"]:
        assert (change["ending_before"], change["ending_after"]) == ("RST", "FIN")
        assert not is_fixed(change["before"])
        assert is_fixed(change["after"])
        labels = [kernel["label"] for kernel in found["kernels"]]
        between = labels[labels.index(change["before"]) + 1 : labels.index(change["after"])]
        assert between == [skipped["label"] for skipped in change["skipped"]]
    skipped = [k for k in found["kernels"] if k["status"] == "not audited"]
    assert done.returncode == (0 if found["complete"] else 4), done.stderr
    assert len(after) <= 2 + math.ceil(math.log2(len(packages) - 1)) + len(skipped)


def test_an_interrupt_keeps_the_results_and_names_how_to_continue(place: Workspace) -> None:
    process = place.start(*CALL)
    until(lambda: bool(kept(place)) or process.poll() is not None, "a result", 600)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    kept_now = len(kept(place))
    assert re.search(rf"{kept_now} results? kept in mine\.json; the same command cont", stderr)
    assert "Traceback" not in stderr
    assert kept_now


def test_two_kernels_that_do_not_boot_leave_nothing_to_compare(place: Workspace) -> None:
    for number in (1, 2):
        (place.path / f"dead-{number}").write_bytes(bzimage(f"6.1.{number} (x) #1"))
    done = place.run("bisect", "dead-1", "dead-2", "--host-deadline", "30", "-o", "out")
    assert done.returncode == 4, done.stderr
    assert "No two of the kernels can be compared" in done.stdout
    assert len(re.findall(r"^6\.1\.[12]: not audited: ", done.stdout, re.MULTILINE)) == 2
    again = place.run("bisect", "dead-1", "dead-2", "--host-deadline", "30", "-o", "out")
    assert again.stdout == done.stdout
    assert "2 results of earlier boots" in again.stderr


def test_git_bisect_run_finds_the_commit_with_the_fixed_kernel(
    place: Workspace, packages: tuple[Path, ...]
) -> None:
    repository = place.path / "repository"
    commits = commit_images(repository, packages)
    place.write("audit.sh", SCRIPT)
    place.write(
        "kernel.yml",
        "all: {hosts: {kernel: {ansible_connection: kernel, kernel_image: repository/vmlinuz}}}\n",
    )
    shims = place.path / "bin"
    shims.mkdir()
    shim = shims / "fleetaudit"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m fleetaudit "$@"\n')
    shim.chmod(0o755)
    path = f"{shims}:{os.environ['PATH']}"
    git(repository, "bisect", "start", commits[-1], commits[0])
    log = git(repository, "bisect", "run", "sh", "../audit.sh", path=path, timeout=3000)
    first_bad = git(repository, "rev-parse", "refs/bisect/bad").strip()
    index = commits.index(first_bad)
    skipped = {line.split("skip-")[1] for line in git(repository, "for-each-ref").splitlines()
               if "skip-" in line}  # fmt: skip
    first_fixed = next(n for n, file in enumerate(packages) if is_fixed(f"({version_of(file)}"))
    assert index == first_fixed or {*commits[first_fixed:index]} <= skipped, log
    git(repository, "bisect", "reset")
    missing = subprocess.run(
        ["sh", "../audit.sh"],
        cwd=repository,
        env=dict(os.environ, PATH=path, FLEETAUDIT_TIMEOUT="never"),
        check=False,
    )
    assert missing.returncode == 255, "what is no answer stops git"


def commit_images(repository: Path, packages: tuple[Path, ...]) -> list[str]:
    """Makes a repository whose every commit has the image of one package; returns the commits."""
    repository.mkdir()
    git(repository, "init", "-q")
    commits = []
    for file in packages:
        (repository / "vmlinuz").write_bytes(read_package(file.read_bytes()).image)
        git(repository, "add", "vmlinuz")
        git(repository, "commit", "-q", "-m", version_of(file))
        commits.append(git(repository, "rev-parse", "HEAD").strip())
    return commits


def git(folder: Path, *arguments: str, path: str = "", timeout: int = 60) -> str:
    """Runs git, and returns its output; an error of `git bisect run` is left to the caller."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=dict(os.environ, PATH=path or os.environ["PATH"], GIT_CONFIG_GLOBAL=os.devnull),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=not path,
    )
    return done.stdout
