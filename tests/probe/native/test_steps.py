"""Steps that fail, do nothing or have odd numbers: both probes do the same, in the same words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from fleetaudit.model import Isolation, Scenario
from fleetaudit.playbook.step_order import order_problem, step_families
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe.native_request import native_request
from tests.support import probe_runs
from tests.support.two_probes import (
    STAYING,
    compare,
    explain,
    host_differences,
    in_world,
    native_program,
    plan_of,
    run_probe,
    without_times,
)
from tools.native import SOURCES

pytestmark = pytest.mark.probe

FAST_OPEN = "namespace sets net.ipv4.tcp_fastopen 519; "
FAIL = {  # the steps, and the words of the failure; "" for one that this kernel or user may lack
    "peer sends 5 bytes; closer reads 10 bytes; closer closes": "only 5 of 10 bytes came in time",
    "peer sends 5 bytes; peer half-closes; closer reads 9 bytes; closer closes": (
        "end of file after 5 of 9 bytes"
    ),
    "peer sends 5 bytes; closer peeks at 6 bytes; closer closes": "fewer than 6 bytes to peek at",
    "peer sends 5 bytes; closer splices 9 bytes; closer closes": ("only 5 of 9 bytes were spliced"),
    "peer sends 5 bytes; peer half-closes; closer splices 9 bytes; closer closes": (
        "end of file after 5 of 9 bytes"
    ),
    "closer reads 10 bytes with MSG_WAITALL; closer closes": "none of 10 bytes came",
    "peer sends 5 bytes; closer reads 10 bytes with MSG_WAITALL; closer closes": (
        "5 of 10 bytes within N s"
    ),
    "peer sends 5 bytes; closer reads to the end; closer closes": (
        "no end of file and no error within N s"
    ),
    "closer reads the urgent byte; closer closes": "Invalid argument (EINVAL)",
    "closer closes the other reference; closer closes": (
        "there is no other reference to the socket"
    ),
    "closer accepts; closer closes": "no connection waits to be accepted",
    "closer disconnects; closer sends 5 bytes": "",
    "closer connects; closer accepts; closer closes": "no connection waits to be accepted",
    "closer shuts both ways; closer sends 5 bytes": "Broken pipe (EPIPE)",
    "peer sets SO_LINGER 1 0; peer closes; closer reads 5 bytes; closer closes": (
        "Connection reset by peer (ECONNRESET) after 0 of 5 bytes"
    ),
    "peer sets SO_LINGER 1 0; peer closes; closer reads 5 bytes with MSG_WAITALL; closer closes": (
        "Connection reset by peer (ECONNRESET), none of 5 bytes came"
    ),
    "peer sets SO_LINGER 1 0; peer closes; closer peeks at 5 bytes; closer closes": (
        "Connection reset by peer (ECONNRESET)"
    ),
    "listener has a backlog of 100; others fill the accept queue; closer closes": (
        "18 connections do not fill the accept queue"
    ),
    "closer sets TCP_MAXSEG 1; closer closes": "Invalid argument (EINVAL)",
    "closer sets SO_RCVBUF -2147483649; closer closes": "SO_RCVBUF takes integers of 32 bits",
    "listener sets SO_RCVBUF 2147483648; peer sends 5 bytes; closer closes": (
        "the two sides could not be connected: SO_RCVBUF takes integers of 32 bits"
    ),
    "listener sets TCP_MAXSEG 1; peer connects; closer closes": "Invalid argument (EINVAL)",
    "closer sets TCP_REPAIR 7; closer closes": "",
    "peer connects with 10 bytes in the SYN; closer closes": "",
    f"{FAST_OPEN}peer connects with 0 bytes in the SYN; closer closes": "",
    f"{FAST_OPEN}peer connects with 70000 bytes in the SYN; closer closes": "",
    f"{FAST_OPEN}listener sets TCP_FASTOPEN 0; peer connects with 1 byte in the SYN;"
    " closer closes": "",
    "namespace sets net.ipv4.tcp_no_such 1; closer closes": "",
    "namespace sets net.ipv4.tcp_sack word; closer closes": "",
    "namespace sets net.ipv4.tcp_sack 00; closer closes": "",
    "namespace sets net.ipv4.tcp_rmem 4096; closer closes": "",
    "peer sends 10 bytes; peer resends 11 bytes; closer closes": "",
    "peer resends 0 bytes; closer closes": "",
    "others fill the accept queue; peer connects; peer sends 5 bytes; closer closes": "",
    "listener closes; closer connects; peer sends 5 bytes; closer closes": "",
    "both enable kTLS; peer sends 5 bytes; closer closes": "",
    "peer connects over MPTCP; peer sends 5 urgent bytes; closer closes": "",
    "peer connects over MPTCP; closer is destroyed": "",
    "peer connects over AF_UNIX; peer sends 5 bytes; closer reads 9 bytes; closer closes": (
        "only 5 of 9 bytes came in time"
    ),
    "peer connects over AF_UNIX; closer reads the urgent byte; closer closes": "",
    "peer connects over AF_UNIX; peer closes; closer closes": "",
    "peer connects over AF_UNIX SOCK_SEQPACKET; peer sends 5 bytes; closer reads 3 bytes;"
    " closer reads 2 bytes; closer closes": "only 0 of 2 bytes came in time",
    "peer connects over AF_UNIX SOCK_SEQPACKET; peer sends 1000000 bytes; closer closes": (
        "Message too long (EMSGSIZE)"
    ),
    "peer connects over AF_UNIX SOCK_SEQPACKET; peer sends 10 bytes; closer splices 3 bytes;"
    " closer closes": "",
}
WORK = (
    "peer sends 0 bytes; closer closes",
    "peer sends 0 urgent bytes; closer reads 0 bytes; closer closes",
    "closer peeks at 0 bytes; closer reads 0 bytes with MSG_WAITALL; closer closes",
    "peer sends 70000 urgent bytes; closer closes",
    "peer sends 100000 bytes; closer reads 100000 bytes with MSG_WAITALL; closer closes",
    "peer sends 50000 bytes; closer splices 50000 bytes; closer closes",
    "peer sends 5 bytes; closer discards 3 bytes; closer closes",
    "closer closes; peer tries to read; peer tries to read",
    "peer sends 5 bytes; closer closes; peer sends 5 bytes; peer sends 5 bytes; peer tries to read",
    "closer sends 5 bytes; closer half-closes; peer reads 3 bytes; peer reads 2 bytes",
    "closer sends 5 bytes; closer half-closes; peer discards 5 bytes; peer tries to read",
    "closer sends 1 urgent byte; closer half-closes; peer reads the urgent byte; peer reads all",
    "closer closes; peer sends until blocked",
    "closer execs",
    "peer sends 5 bytes; peer execs; closer closes",
    "peer sends 5 bytes; closer duplicates its socket; closer shares its socket with a child;"
    " closer passes its socket on; closer closes; closer closes the other reference;"
    " closer closes the other reference; closer closes the other reference",
    "closer duplicates its socket; closer exits",
    "closer shuts both ways; closer shuts both ways; closer closes",
    "peer sets SO_LINGER 1 0; peer closes; closer half-closes; closer closes",
    "closer sets SO_LINGER -1 -1; closer closes",
    "closer sets SO_RCVBUF 0; peer sends until blocked; closer closes",
    "peer connects; listener closes; peer sends 5 bytes; closer closes",
    "peer sends 40000 bytes; closer reads all; peer resends 32768 bytes with FIN; closer closes",
    "peer sends 10 bytes; closer reads all; peer resends 0 bytes with FIN; closer closes",
    "peer sends 5 bytes out of order; peer sends 5 bytes out of order; peer sends 20 bytes;"
    " closer closes",
    "peer connects over AF_UNIX; closer half-closes; peer sends 5 bytes; closer closes",
    "peer connects over AF_UNIX SOCK_SEQPACKET; peer sends 99999 bytes; closer discards 3 bytes;"
    " closer closes",
)
OWN_WORDS = (  # bounds that Python's lists do not have, and requests that no controller sends
    "a socket has at most %s references",
    "a trial has at most %s processes",
    "a trial has at most %s things to clean up",
    "only the closer and the peer have a socket",
    "the probe knows no option %s",
    "the probe knows no rule for %s",
    "the value of %s is too long to restore",
    "there is no room to restore %s",
    "this connection has no listener of its own",
)


def scenario_of(text: str) -> Scenario:
    """Returns a scenario with these steps, over IPv4, or over IPv6 or AF_UNIX if it needs that."""
    steps = tuple(parse_step(line) for line in text.split(";"))
    assert order_problem(steps) == "", text
    return Scenario(
        name=re.sub(r"[^a-z0-9]+", "-", text.lower()),
        title=text,
        steps=steps,
        expect=(),
        families=step_families(steps, ("ipv4", "ipv6"))[:1],
    )


@pytest.mark.parametrize("world", ["root", "nobody", STAYING])
def test_both_probes_do_the_same_with_odd_steps(world: str) -> None:
    isolation: Isolation = "host" if world == STAYING else "auto"
    plan = plan_of([scenario_of(text) for text in (*FAIL, *WORK)], trials=1, isolation=isolation)
    pair, compared = compare(plan, in_world(world))
    assert [*host_differences(pair)] == []
    assert [explain(each) for each in compared if not each.are_equal] == []


def test_a_step_that_fails_says_so_in_the_words_of_the_python_probe() -> None:
    probe_runs.need_root()
    texts = {scenario_of(text).name: words for text, words in FAIL.items() if words}
    plan = plan_of([scenario_of(text) for text, words in FAIL.items() if words], trials=1)
    request = bytes(native_request(plan, deadline_s=120.0))
    for observation in run_probe([str(native_program())], request).observations:
        (trial,) = observation.trials
        assert without_times(trial.error) == texts[observation.scenario], observation.scenario


def test_a_step_that_works_has_no_error() -> None:
    probe_runs.need_root()
    plan = plan_of([scenario_of(text) for text in WORK], trials=1)
    request = bytes(native_request(plan, deadline_s=120.0))
    for observation in run_probe([str(native_program())], request).observations:
        assert [trial.error for trial in observation.trials] == [""], observation.scenario


def test_every_reason_of_the_native_probe_has_the_words_of_the_python_probe() -> None:
    python = "\n".join(python_texts())
    reasons = set(native_reasons())
    assert len(reasons) > 50
    missing = {reason for reason in reasons if words_of(reason) not in python}
    assert sorted(missing) == sorted(OWN_WORDS)


def native_reasons() -> Iterator[str]:
    """Yields the formats of all failures in the C sources, each conversion as %s."""
    call = re.compile(
        r"\b(?:fail_with|fail_unsupported|unsupported_if)\([^\"]*?((?:\"(?:[^\"\\]|\\.)*\"\s*)+)"
    )
    for path in sorted(SOURCES.glob("*.c")):
        for found in call.finditer(path.read_text("ascii")):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))
            yield conversions_as_s(text)


def python_texts() -> Iterator[str]:
    """Yields the strings of the Python probe, each conversion as %s."""
    for path in sorted((SOURCES.parent / "remote").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("ascii"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield conversions_as_s(node.value)


def conversions_as_s(text: str) -> str:
    """Returns a format of printf(3) or of Python with %s for each conversion."""
    return re.sub(r"%[.0-9]*l*[a-z]", "%s", text)


def words_of(reason: str) -> str:
    """Returns what of a format is one string in Python: without what it may be joined to."""
    return reason.removeprefix("%s").removesuffix("%s")
