"""The native probe under the address and the undefined-behaviour sanitizer: no report, whatever it
is asked.

The system's compiler builds it, with its own C library: other warnings and another library than
those of `make native`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from fleetaudit.model import HostPlan
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol
from fleetaudit.probe.native_request import FIRST_LINE, native_request
from fleetaudit.probe.result_line import find_result
from tests.support import step_texts
from tests.support.native import built
from tests.support.probe_runs import plan_of
from tools.native import SOURCES, WARNINGS

pytestmark = [pytest.mark.slow, pytest.mark.probe]

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
NOT_UNDERSTOOD = 2
A_SHARE = 2_000_000
"""Bytes that a request of bad lines may have here: the whole bound is tried once."""
ODD_NUMBERS = (
    *("-1", "0", "1", "-0", "+5", "00005", "65535", "65536", "16777217", "2147483647"),
    *("2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807"),
    *("-9223372036854775808", "99999999999999999999999", "1e3", "0x10", "1.5", "nan", " 5", "5 "),
    *("", "-", "x", "x" * 5000, "%s%n", "../../etc/passwd", "\x1b[2J", "\u20ac"),
)


class Sanitized(NamedTuple):
    """The sanitized program, and the folder where it reports what it finds."""

    program: bytes
    folder: Path

    def run(
        self, request: bytes, *, prefix: tuple[str, ...] = (), seconds: float = 120
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a request; fails the test with the report if there is one."""
        file = self.folder / "probe"
        file.unlink(missing_ok=True)
        file.write_bytes(self.program + request)
        file.chmod(0o755)
        options = f"log_path={self.folder}/report:exitcode=99:detect_leaks=0"
        environment = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": options}
        environment["UBSAN_OPTIONS"] = f"{options}:print_stacktrace=1"
        done = subprocess.run(
            [*prefix, file],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=seconds,
            check=False,
        )
        reports = [path.read_text() for path in self.folder.glob("report.*")]
        assert not reports, reports[0]
        assert done.returncode in (0, 1, NOT_UNDERSTOOD), (done.returncode, done.stderr)
        assert b"runtime error" not in done.stderr
        return done


def compile_sanitized(sources: Iterable[Path], program: Path) -> None:
    """Builds a program with the sanitizers, and every warning an error."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("missing on this CI machine: gcc")
        pytest.skip("needs gcc or clang")
    command = [compiler, *WARNINGS, "-O1", "-g", *SANITIZE, *map(str, sources), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Sanitized:
    folder = tmp_path_factory.mktemp("sanitized")
    compile_sanitized(sorted(SOURCES.glob("*.c")), folder / "program")
    folder.chmod(0o777)
    return Sanitized((folder / "program").read_bytes(), folder)


@pytest.mark.parametrize(
    "fault", ["char *a = calloc(1, 4); return a[n + 3];", "int a = 2147483647; return a + n > 0;"]
)
def test_a_fault_is_reported(tmp_path: Path, fault: str) -> None:
    source = tmp_path / "main.c"
    source.write_text(f"#include <stdlib.h>\nint main(int n, char **w) {{ (void)w; {fault} }}\n")
    compile_sanitized([source], tmp_path / "program")
    found = Sanitized((tmp_path / "program").read_bytes(), tmp_path)
    with pytest.raises(AssertionError, match=r"overflow|runtime error"):
        found.run(b"")


def shipped(**changes: object) -> HostPlan:
    """Returns the plan of the whole shipped playbook."""
    scenarios = tuple(load_playbook(None).plays[0].scenarios)
    plan = replace(plan_of("unread-close"), scenarios=scenarios, sysctls_collect=("net.ipv4.*",))
    return replace(plan, **changes)


AS_ANYBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
FEW_FILES = ("sh", "-c", 'ulimit -n 20; exec "$0"')


@pytest.mark.parametrize(
    ("prefix", "changes"),
    [
        ((), {}),
        ((), {"isolation": "host", "trials": 2}),
        (AS_ANYBODY, {}),
        (AS_ANYBODY, {"isolation": "host"}),
        (FEW_FILES, {}),
    ],
    ids=["namespace", "host", "anybody", "anybody-host", "few-files"],
)
def test_the_shipped_playbook_runs_without_a_report(
    sanitized: Sanitized, prefix: tuple[str, ...], changes: dict[str, object]
) -> None:
    if prefix == AS_ANYBODY and (os.geteuid() != 0 or not shutil.which("setpriv")):
        pytest.skip("needs root and setpriv")
    plan = shipped(**changes)
    done = sanitized.run(bytes(native_request(plan, deadline_s=60)), prefix=prefix)
    assert done.returncode == 0, done.stderr
    reply = protocol.parse_reply(done.stdout)
    assert len(reply.observations) > len(plan.scenarios)


@pytest.mark.parametrize(
    "prefix", [(), AS_ANYBODY, FEW_FILES], ids=["root", "anybody", "few-files"]
)
def test_a_watch_runs_without_a_report(sanitized: Sanitized, prefix: tuple[str, ...]) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    request = whole("watch\t2.0\tpeers", *UNREAD, deadline="20")
    watched = protocol.parse_reply(sanitized.run(request, prefix=prefix).stdout).watch
    assert watched is not None
    assert bool(watched.problem) == (prefix == AS_ANYBODY)
    short = protocol.parse_reply(sanitized.run(whole("watch\t60\tpeers", deadline="1")).stdout)
    assert short.watch is not None
    assert short.watch.seconds < 2


def test_a_short_time_ends_every_run_without_a_report(sanitized: Sanitized) -> None:
    for seconds in (0.1, 0.2, 0.5, 1):
        done = sanitized.run(bytes(native_request(shipped(trials=5), deadline_s=seconds)))
        assert done.returncode == 0
        protocol.parse_reply(done.stdout)


def whole(*lines: str, deadline: str = "5.0") -> bytes:
    """Returns a request of these lines, with the deadline and the last line added."""
    text = "\n".join([FIRST_LINE, *lines, f"deadline\t{deadline}", "nonce\t", ""])
    data = text.encode("utf-8")
    return data + b"end %08d\n" % (len(data) + len(b"end 00000000\n"))


UNREAD = ("scenario\tunread\t1\tipv4\tipv6", "step\tpeer\tsend\t5", "step\tcloser\tclose")


def test_a_request_that_is_cut_is_refused(sanitized: Sanitized) -> None:
    text = bytes(native_request(plan_of("unread-close"), deadline_s=5))
    cuts = [*range(0, len(text), 37), *range(len(text) - 16, len(text))]
    for cut in cuts:
        done = sanitized.run(text[:cut])
        assert done.returncode == NOT_UNDERSTOOD, cut
        assert b"not whole" in done.stderr
        assert done.stdout == b""


@pytest.mark.parametrize("length", ["00000000", "00000012", "00000014", "99999999", "-0000001"])
def test_a_wrong_length_is_refused(sanitized: Sanitized, length: str) -> None:
    request = whole(*UNREAD)[:-9] + length.encode() + b"\n"
    done = sanitized.run(request)
    assert (done.returncode, done.stdout) == (NOT_UNDERSTOOD, b"")


def bad_requests() -> Iterator[tuple[str, bytes]]:
    """Yields requests that are whole and make no sense, each with a name."""
    yield "a million empty words", whole("\t" * A_SHARE)
    yield "a long word", whole("digest\t" + "x" * A_SHARE)
    yield "many lines", whole(*["fleetaudit\t1"] * 100_000)
    yield "a line of no kind", whole("x")
    yield "an empty line", whole("", "")
    yield "10,000 steps", whole(UNREAD[0], *[UNREAD[1]] * 10_000, UNREAD[2])
    yield "100,000 scenarios", whole(*["scenario\ta\t1\tipv4"] * 100_000)
    yield "100,000 sysctls", whole(*["sysctl\tnet.ipv4.*"] * 100_000)
    yield "100 words", whole(UNREAD[0], "step\tpeer\tsend" + "\t5" * 100)
    yield "a step of no scenario", whole(*UNREAD[1:])
    yield "an expectation of no scenario", whole("expect\tRST")
    yield "1,000 endings", whole(UNREAD[0], *["expect\tRST"] * 1000)
    yield "four families", whole("scenario\ta\t1\tipv4\tipv4\tipv4\tipv4")
    yield "no name", whole("scenario")
    yield "no verb", whole(UNREAD[0], "step\tpeer")
    yield "another verb", whole(UNREAD[0], "step\tpeer\tremove")
    yield "another actor", whole(UNREAD[0], "step\tsomebody\tclose")
    yield "another isolation", whole("isolation\tsome")
    yield "another family", whole("scenario\ta\t1\tipx")
    yield "another first line", b"fleetaudit-request/2\n" + whole(*UNREAD)[len(FIRST_LINE) + 1 :]
    yield "bytes of no text", whole(*UNREAD).replace(b"unread", b"un\0\xffad")
    for number in (*ODD_NUMBERS, "86401", "1e-9", "inf", "0x1p3"):
        yield f"watch {number[:30]!r}", whole(f"watch\t{number}\tpeers", *UNREAD, deadline="0.5")
        yield f"peers {number[:30]!r}", whole(f"watch\t1.0\t{number}", *UNREAD)
    yield "watch with a word too many", whole("watch\t1.0\tpeers\t1")
    for number in ODD_NUMBERS:
        yield f"trials {number[:30]!r}", whole(f"scenario\ta\t{number}\tipv4", *UNREAD[1:])
    for number in ("-1", "0", "1e400", "-1e400", "nan", "inf", "86401", "", "1x", "0x1p3"):
        yield f"deadline {number!r}", whole(*UNREAD, deadline=number)


def test_a_request_that_makes_no_sense_is_refused_or_answered(sanitized: Sanitized) -> None:
    for name, request in bad_requests():
        done = sanitized.run(request, seconds=60)
        if done.returncode == NOT_UNDERSTOOD:
            assert done.stdout == b"", name
            assert len(done.stderr) < 300, name
        else:
            assert json.loads(find_result(done.stdout) or b""), name


def test_many_patterns_end_with_the_time(sanitized: Sanitized) -> None:
    done = sanitized.run(whole(*["sysctl\tnet.*.*.*"] * 4000, *UNREAD, deadline="1"), seconds=60)
    reply = protocol.parse_reply(done.stdout)
    assert any("the alarm rang after 1.0 s" in note for note in reply.notes)


def test_the_largest_requests_take_bounded_memory(sanitized: Sanitized) -> None:
    """More than its text (16 MiB) and the scenarios (20 MB) is never needed."""
    large = "\n".join([f"scenario\t{'n' * 200}\t0\tipv4", *["step\tpeer\tsend\t5"] * 60])
    bounded = sanitized._replace(program=built())
    for lines in (["sysctl\t" + "x" * 15_000_000], [large] * 2000):
        limited = ("sh", "-c", 'ulimit -v 65536; exec "$0"')
        assert bounded.run(whole(*lines), prefix=limited).returncode == 0


@pytest.mark.parametrize("kind", ["fleetaudit", "digest", "nonce"])
def test_a_long_word_that_the_reply_would_repeat_is_refused(
    sanitized: Sanitized, kind: str
) -> None:
    done = sanitized.run(whole(f"{kind}\t{'x' * 201}", *UNREAD))
    assert (done.returncode, done.stdout) == (NOT_UNDERSTOOD, b"")
    assert b"line 2 of the request is not understood" in done.stderr
    done = sanitized.run(whole(f"{kind}\t{'x' * 200}", *UNREAD))
    assert done.returncode == 0, done.stderr


def test_the_shipped_playbook_needs_little_memory(sanitized: Sanitized) -> None:
    request = bytes(native_request(shipped(trials=3), deadline_s=60))
    done = sanitized._replace(program=built()).run(
        request, prefix=("sh", "-c", 'ulimit -v 8192; exec "$0"')
    )
    assert len(protocol.parse_reply(done.stdout).observations) > 100


def test_a_request_of_more_than_its_bound_is_refused(sanitized: Sanitized) -> None:
    done = sanitized.run(whole(*["digest\t" + "x" * 1000] * 17_000))
    assert done.returncode == NOT_UNDERSTOOD
    assert b"not whole" in done.stderr


def steps_of_the_playbook() -> list[tuple[object, ...]]:
    """Returns one step of each verb and actor of the playbooks; what only waits is last."""
    steps = {
        (*step.call[:2], len(step.call)): step.call
        for scenario in (*step_texts.of_playbooks(), *shipped().scenarios)
        for step in scenario.steps
    }
    return sorted(steps.values(), key=lambda call: ("wait" in call, call[:2]))


@pytest.mark.parametrize("word", ODD_NUMBERS, ids=[ascii(word[:25]) for word in ODD_NUMBERS])
def test_every_step_takes_every_odd_word(sanitized: Sanitized, word: str) -> None:
    lines = []
    for number, (actor, verb, *words) in enumerate(steps_of_the_playbook()):
        for place in range(len(words)):
            odd = [*map(str, words[:place]), word, *map(str, words[place + 1 :])]
            lines += [
                f"scenario\tnumber-{number}-{place}\t1\tipv4\tipv6\tunix",
                "step\tpeer\tsend\t50",
                "\t".join(("step", str(actor), str(verb), *odd)),
                "step\tcloser\tclose",
            ]
    assert len(lines) > 60
    done = sanitized.run(whole(*lines, deadline="4"))
    assert done.returncode == 0, done.stderr
    protocol.parse_reply(done.stdout)


def test_requests_with_changed_words_and_lines_give_no_report(sanitized: Sanitized) -> None:
    """A seed that finds something is kept here."""
    for seed in range(60):
        changed = _changed(bytes(native_request(shipped(), deadline_s=3)), random.Random(seed))
        done = sanitized.run(changed)
        assert done.returncode in (0, NOT_UNDERSTOOD), seed


def _changed(text: bytes, chance: random.Random) -> bytes:
    """Returns a request with some of its steps moved, doubled, dropped or with other words."""
    lines = text.decode().splitlines()[1:-3]
    for _ in range(chance.randrange(1, 30)):
        at = chance.randrange(len(lines))
        words = lines[at].split("\t")
        words[-1] = chance.choice([chance.choice(ODD_NUMBERS), "close", "send", "ipv6", words[-1]])
        other = chance.randrange(len(lines))
        lines[at] = chance.choice(["\t".join(words), lines[other]])
        if words[0] == "step" and chance.random() < 0.3:
            lines.insert(other, lines[at])
    return whole(*lines, deadline="3")


def test_the_stories_of_the_other_playbooks_run_without_a_report(sanitized: Sanitized) -> None:
    usual = {each.name for each in shipped().scenarios} - {"drained-close"}
    scenarios = tuple(each for each in step_texts.of_playbooks() if each.name not in usual)
    request = bytes(native_request(replace(shipped(), scenarios=scenarios), deadline_s=60))
    done = sanitized.run(request)
    assert done.returncode == 0, done.stderr
    observed = protocol.parse_reply(done.stdout).observations
    assert {each.scenario for each in observed} == {each.name for each in scenarios}
    assert not [trial.error for each in observed for trial in each.trials if trial.error]
