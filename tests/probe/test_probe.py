"""The probe on this machine's kernel: what each way to close puts on the wire, and every Python
that it must run on.
"""

from __future__ import annotations

import ast
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fleetaudit.playbook import phrases
from fleetaudit.playbook.steps import SOCKET_OPTIONS
from fleetaudit.probe import protocol
from fleetaudit.probe.request import ALL_PARTS
from tests.support import probe_runs
from tests.support.probe_runs import (
    DRAINED,
    REREAD,
    UNREAD,
    notable_segments,
    request,
    run,
    scenario,
    trial_of,
)
from tests.support.timed_replies import TimedReply, parse_reply, with_times
from tests.support.timing import BUSY_S

FIN_PEER = (8, {"IN", "OUT", "RDHUP"}, ("0",), "0")
RST_PEER = (7, {"IN", "OUT", "ERR", "HUP", "RDHUP"}, ("ECONNRESET", "0"), "0")
RST_AFTER_FIN_PEER = (7, {"IN", "OUT", "ERR", "HUP", "RDHUP"}, ("0",), "EPIPE")
UNTOUCHED_PEER = (1, {"OUT"}, ("EAGAIN",), "0")
BASE = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}
BROKEN_OFF = {"OutRsts": 1, "EstabResets": 2}
LATE = {"OutRsts": 1, "EstabResets": 1}


class Row(NamedTuple):
    """A row of the matrix: the steps, the segments that end the connection, the peer's signature,
    the counters.
    """

    text: str
    wire: list[str]
    peer: tuple[int | None, set[str], tuple[str, ...], str] | None
    kernel: dict[str, int]


def rst(text: str, kernel: dict[str, int] = BASE, *before: str) -> Row:
    return Row(text, [*before, "closer R."], RST_PEER, kernel)


def fin(text: str, *before: str) -> Row:
    return Row(text, [*before, "closer F."], FIN_PEER, {})


FIVE = "peer sends 5 bytes; "
URGENT = "peer sends 1 urgent byte; "
PU = "peer P.U"

MATRIX = {
    "unread": rst(FIVE + "closer closes"),
    "partly read": rst("peer sends 10 bytes; closer reads 4 bytes; closer closes"),
    "peeked": rst(FIVE + "closer peeks at 5 bytes; closer closes"),
    "below SO_RCVLOWAT": rst("closer sets SO_RCVLOWAT 100; " + FIVE + "closer closes"),
    "window zero": rst("peer sends until blocked; closer closes"),
    "window zero, killed": rst("peer sends until blocked; closer is killed"),
    "reading shut": rst(FIVE + "closer shuts reading; closer closes"),
    "over a mapped address": rst("peer connects over IPv4-mapped IPv6; " + FIVE + "closer closes"),
    "deferred accept": rst(
        "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; "
        + FIVE
        + "closer accepts; closer closes"
    ),
    "deferred accept, put off by itself": rst(
        "listener sets TCP_DEFER_ACCEPT 5; peer connects; " + FIVE + "closer closes"
    ),
    "fast open": rst(
        "namespace sets net.ipv4.tcp_fastopen 519; peer connects with 5 bytes in the SYN;"
        " closer closes"
    ),
    "exit": rst(FIVE + "closer exits"),
    "SIGTERM": rst(FIVE + "closer is terminated"),
    "SIGKILL": rst(FIVE + "closer is killed"),
    "exec": rst(FIVE + "closer execs"),
    "exec, drained": fin(FIVE + "closer reads all; closer execs"),
    "last duplicate": rst(
        FIVE + "closer duplicates its socket; closer closes; closer closes the other reference"
    ),
    "last in a child": rst(
        FIVE
        + "closer shares its socket with a child; closer closes; closer closes the other reference"
    ),
    "last in flight": rst(
        FIVE + "closer passes its socket on; closer closes; closer closes the other reference"
    ),
    "duplicate left": Row(
        FIVE + "closer duplicates its socket; closer closes", [], UNTOUCHED_PEER, {}
    ),
    "child left": Row(
        FIVE + "closer shares its socket with a child; closer closes", [], UNTOUCHED_PEER, {}
    ),
    "in flight left": Row(
        FIVE + "closer passes its socket on; closer closes", [], UNTOUCHED_PEER, {}
    ),
    "all read": fin(FIVE + "closer reads all; closer closes"),
    "nothing sent": fin("peer connects; closer closes"),
    "closer connected": fin("closer connects; " + FIVE + "closer reads 5 bytes; closer closes"),
    "peer's FIN unread": Row(
        "peer sends 5 bytes; peer half-closes; closer reads 5 bytes; closer closes",
        ["peer F.", "closer F."],
        (7, {"IN", "OUT", "HUP", "RDHUP"}, ("0",), "0"),
        {},
    ),
    "discarded": fin(FIVE + "closer discards 5 bytes; closer closes"),
    "spliced": fin(FIVE + "closer splices 5 bytes; closer closes"),
    "killed with nothing unread": fin(FIVE + "closer reads all; closer is killed"),
    "urgent unread": rst(URGENT + "closer closes", BASE, PU),
    "urgent read with MSG_OOB": rst(
        URGENT + "closer reads the urgent byte; closer closes", BASE, PU
    ),
    "urgent in line, unread": rst(
        "closer sets SO_OOBINLINE 1; " + URGENT + "closer closes", BASE, PU
    ),
    "urgent in line, read": fin(
        "closer sets SO_OOBINLINE 1; " + URGENT + "closer reads all; closer closes", PU
    ),
    "urgent, then a recv": fin(
        URGENT + "closer reads the urgent byte; closer tries to read; closer closes", PU
    ),
    "urgent, only a recv": fin(URGENT + "closer tries to read; closer closes", PU),
    "chat, killed": rst(
        "closer connects; closer sends 1 urgent byte; peer reads the urgent byte;"
        " peer sends 1 urgent byte; "
        "closer reads the urgent byte; closer is killed",
        BASE,
        "closer P.U",
        PU,
    ),
    "half-closed, then closed": Row(
        FIVE + "closer half-closes; closer closes",
        ["closer F.", "closer R."],
        RST_AFTER_FIN_PEER,
        {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    "shut both ways": Row(FIVE + "closer shuts both ways", ["closer F."], FIN_PEER, {}),
    "unread, peer's FIN here": Row(
        FIVE + "peer closes; closer closes",
        ["peer F.", "closer R."],
        None,
        {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    "drained, then late data": Row(
        FIVE + "closer reads all; closer closes; peer sends 5 bytes",
        ["closer F.", "closer R"],
        RST_AFTER_FIN_PEER,
        LATE,
    ),
    "late data after TCP_LINGER2 100": Row(
        "closer sets TCP_LINGER2 100; closer closes; peer sends 5 bytes",
        ["closer F.", "closer R"],
        RST_AFTER_FIN_PEER,
        {**LATE, "TCPAbortOnData": 1},
    ),
    "zero linger, drained": rst(
        FIVE + "closer reads all; closer sets SO_LINGER 1 0; closer closes",
        {"TCPAbortOnData": 1, "OutRsts": 1, "EstabResets": 2},
    ),
    "zero linger, unread": rst(FIVE + "closer sets SO_LINGER 1 0; closer closes"),
    "linger of 5 s, unread": rst(FIVE + "closer sets SO_LINGER 1 600; closer closes"),
    "TCP_LINGER2 -1": Row(
        "closer sets TCP_LINGER2 -1; closer half-closes; closer closes",
        ["closer F.", "closer R."],
        RST_AFTER_FIN_PEER,
        {"TCPAbortOnLinger": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    "TCP_REPAIR": Row(
        FIVE + "closer sets TCP_REPAIR 1; closer closes", [], UNTOUCHED_PEER, {"EstabResets": 1}
    ),
    "connect(AF_UNSPEC)": rst(FIVE + "closer disconnects", BROKEN_OFF),
    "SOCK_DESTROY": rst(FIVE + "closer is destroyed", BROKEN_OFF),
    "listener closed": rst("peer connects without being accepted; listener closes", BROKEN_OFF),
    "listener closed, deferred": Row(
        "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; listener closes",
        [],
        UNTOUCHED_PEER,
        {},
    ),
    "listener closed, deferred, first byte": Row(
        "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; listener closes;"
        " peer sends 1 byte",
        ["closer R"],
        RST_PEER,
        LATE,
    ),
    "early response": Row(
        "peer sends 100 bytes; closer sends 11 bytes; closer closes",
        ["closer R."],
        (7, {"IN", "OUT", "ERR", "HUP", "RDHUP"}, ("11", "ECONNRESET", "0"), "0"),
        BASE,
    ),
    "early response, written to first": Row(
        "peer sends 100 bytes; closer sends 11 bytes; closer closes; peer sends 5 bytes",
        ["closer R."],
        (7, {"IN", "OUT", "HUP", "RDHUP"}, ("send: ECONNRESET", "11", "0"), "0"),
        BASE,
    ),
    "the cure": Row(
        "peer sends 100 bytes; closer sends 11 bytes; closer half-closes; peer reads 11 bytes;"
        " peer half-closes; "
        "closer reads to the end; closer closes",
        ["closer F.", "peer F."],
        (7, {"IN", "OUT", "HUP", "RDHUP"}, ("11", "0"), "0"),
        {},
    ),
    "reread FIN": Row(
        "peer sends 10 bytes; closer reads all; peer resends 10 bytes with FIN; closer closes",
        ["peer FP.", "closer F."],
        UNTOUCHED_PEER,
        {},
    ),
    "reread urgent FIN": Row(
        "peer sends 10 urgent bytes; closer reads the urgent byte; closer reads all; "
        "peer resends 10 urgent bytes with FIN; closer closes",
        [PU, "peer FP.U", "closer F."],
        UNTOUCHED_PEER,
        {},
    ),
    "MPTCP, unread": rst(
        "peer connects over MPTCP; " + FIVE + "closer closes",
        {"MPFastcloseTx": 1, "MPRstTx": 1, "OutRsts": 1, "EstabResets": 2},
    ),
    "AF_UNIX, unread": Row(
        "peer connects over AF_UNIX; " + FIVE + "closer closes", [], (None, *RST_PEER[1:]), {}
    ),
    "AF_UNIX, read": Row(
        "peer connects over AF_UNIX; " + FIVE + "closer reads all; closer closes",
        [],
        (None, {"IN", "OUT", "HUP", "RDHUP"}, ("0",), "0"),
        {},
    ),
    "AF_UNIX, messages unread": Row(
        "peer connects over AF_UNIX SOCK_SEQPACKET; closer sends 7 bytes; peer sends 200000 bytes;"
        " closer closes",
        [],
        (None, {"IN", "OUT", "ERR", "HUP", "RDHUP"}, ("ECONNRESET", "7", "0"), "0"),
        {},
    ),
}


@pytest.fixture(scope="module")
def here() -> TimedReply:
    """What the probe answers on this machine to the whole matrix, run once."""
    call = request(
        *[scenario(name, row.text, trials=2) for name, row in MATRIX.items()],
        sysctls=[
            "net.ipv4.tcp_*",
            "net.core.somaxconn",
            "net.ipv4.no_such_thing",
            "net.ipv4.conf.l*.rp_filter",
        ],
    )
    return run(call, python=probe_runs.public_python())


@pytest.mark.parametrize("name", MATRIX)
def test_every_witness_of_a_row_says_what_the_matrix_says(here: TimedReply, name: str) -> None:
    row = MATRIX[name]
    observations = [o for o in here.observations if o.scenario == name]
    assert observations
    for observation in observations:
        if observation.not_run:
            pytest.skip(observation.not_run)
        trial = trial_of(here, name, observation.family)
        assert trial.count == 2
        assert trial.wire_lost == 0
        if trial.wire is not None:
            assert notable_segments(trial) == row.wire
        peer = trial.peer
        assert (peer and (peer.state, set(peer.poll), peer.recv, peer.so_error)) == row.peer
        assert trial.kernel == row.kernel


def test_a_trace_is_numbered_as_tcpdump_numbers_it(here: TimedReply) -> None:
    rows = trial_of(here, "unread").wire
    assert rows is not None
    assert [(s.sender, s.flags, s.seq, s.ack, s.length, s.urgent, s.options) for s in rows] == [
        ("peer", "S", 0, 0, 0, 0, "TS"),
        ("closer", "S.", 0, 1, 0, 0, "TS"),
        ("peer", ".", 1, 1, 0, 0, ""),
        ("peer", "P.", 1, 1, 5, 0, ""),
        ("closer", ".", 1, 6, 0, 0, ""),
        ("closer", "R.", 1, 6, 0, 0, ""),
    ]
    assert [s.at_us for s in rows] == sorted(s.at_us for s in rows)


def test_the_reset_lies_between_the_marks_of_the_step_that_caused_it(here: TimedReply) -> None:
    trial = trial_of(here, "listener closed, deferred, first byte")
    assert trial.wire is not None
    began = {index: at for at, index in trial.steps}
    (reset,) = [s.at_us for s in trial.wire if "R" in s.flags]
    assert began[3] <= reset <= began[3] + 50_000


def test_an_unread_urgent_byte_is_seen_by_rx_queue_and_not_by_fionread(
    here: TimedReply,
) -> None:
    assert trial_of(here, "urgent unread").queue == {"fionread": 0, "rx_queue": 1}
    assert trial_of(here, "partly read").queue == {"fionread": 6, "rx_queue": 6}


def test_bytes_are_counted_as_they_were_handed_over(here: TimedReply) -> None:
    assert trial_of(here, "early response").bytes == {
        "closer sent": 11,
        "closer received": 0,
        "peer sent": 100,
        "peer received": 11,
    }


def test_over_seqpacket_one_send_is_one_message(here: TimedReply) -> None:
    trial = trial_of(here, "AF_UNIX, messages unread", "unix")
    assert trial.queue == {"fionread": 200_000}
    assert trial.peer is not None
    assert trial.peer.poll_added == ((3, ("ERR", "HUP", "RDHUP")),)


def test_a_message_larger_than_the_send_buffer_names_its_step() -> None:
    text = "peer connects over AF_UNIX SOCK_SEQPACKET; peer sends 16000000 bytes; closer closes"
    (observation,) = run(
        request(scenario("large", text)), python=probe_runs.public_python()
    ).observations
    assert "EMSGSIZE" in observation.trials[0].error


def test_the_peers_last_read_is_reported_however_often_it_tried_before() -> None:
    """The evidence of a trial is bounded; what happened often must not keep out what decides."""
    tries = "peer tries to read; " * 6 + "peer sends 5 bytes; " * 6
    before = "peer connects over AF_UNIX; closer duplicates its socket; closer closes; "
    text = before + tries + "closer closes the other reference"
    trial = trial_of(
        run(request(scenario("often", text)), python=probe_runs.public_python()), "often", "unix"
    )
    assert trial.peer is not None
    assert trial.peer.recv == ("EAGAIN", "ECONNRESET", "0")


def test_mptcp_segments_carry_the_names_of_their_options(here: TimedReply) -> None:
    (observation,) = [
        o for o in here.observations if o.scenario == "MPTCP, unread" and o.family == "ipv4"
    ]
    if observation.not_run:
        pytest.skip(observation.not_run)
    rows = observation.trials[0].wire
    assert rows is not None
    assert "MP_CAPABLE" in rows[0].options
    assert "MP_FASTCLOSE" in rows[-1].options


def test_the_host_is_described_as_it_is(here: TimedReply) -> None:
    told = os.uname()
    assert (here.kernel.release, here.kernel.version, here.kernel.machine) == (
        told[2],
        told[3],
        told[4],
    )
    assert here.python.endswith(" CPython")
    assert here.cpu_s > 0
    assert here.elapsed_s > 0
    assert here.exposure is not None
    assert here.exposure.counters["TCPAbortOnClose"] >= 0
    assert here.exposure.uptime_s is not None


def test_the_machine_id_never_leaves_the_host_as_it_is(here: TimedReply) -> None:
    path = Path("/etc/machine-id")
    if not path.exists() or not path.read_text().strip():
        pytest.skip("needs /etc/machine-id")
    assert re.fullmatch("[0-9a-f]{32}", here.machine_id)
    assert path.read_text().strip() not in (here.machine_id, "")


def test_sysctls_are_read_by_name_and_by_glob_and_absent_ones_are_marked(
    here: TimedReply,
) -> None:
    timeout = here.sysctls["net.ipv4.tcp_fin_timeout"]
    assert timeout.value == Path("/proc/sys/net/ipv4/tcp_fin_timeout").read_text().strip()
    assert here.sysctls["net.ipv4.no_such_thing"].state == "absent"
    assert here.sysctls["net.ipv4.no_such_thing"].value is None
    assert here.sysctls["net.ipv4.conf.lo.rp_filter"].value is not None
    assert re.fullmatch(r"\d+ \d+ \d+", here.sysctls["net.ipv4.tcp_rmem"].value or "")


def test_the_key_of_fast_open_is_never_read(here: TimedReply) -> None:
    if not Path("/proc/sys/net/ipv4/tcp_fastopen_key").exists():
        pytest.skip("needs net.ipv4.tcp_fastopen_key")
    key = here.sysctls["net.ipv4.tcp_fastopen_key"]
    assert key.value is None
    assert key.state.startswith("unreadable")


def test_defaults_come_from_a_new_namespace_but_not_those_that_it_copies(
    here: TimedReply,
) -> None:
    if here.isolation != "namespace":
        pytest.skip(here.isolation_note)
    assert here.sysctls["net.ipv4.tcp_fin_timeout"].default == "60"
    assert here.sysctls["net.ipv4.tcp_rmem"].default is None
    assert here.sysctls["net.ipv4.tcp_mem"].default is None


@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_every_python_sees_the_same(here: TimedReply, version: str) -> None:
    names = ["unread", "all read", "chat, killed", "reread FIN", "fast open", "exec", "child left"]
    names += ["AF_UNIX, unread", "AF_UNIX, messages unread"]
    call = request(
        *[scenario(name, MATRIX[name].text) for name in names], sysctls=["net.ipv4.tcp_fin_timeout"]
    )
    reply = run(call, python=probe_runs.interpreter(version))
    assert reply.python.startswith(version + ".")
    for observation in reply.observations:
        ours = trial_of(reply, observation.scenario, observation.family)
        theirs = trial_of(here, observation.scenario, observation.family)
        assert (ours.peer, ours.kernel, ours.bytes) == (theirs.peer, theirs.kernel, theirs.bytes)
        if ours.wire is not None and theirs.wire is not None:
            assert notable_segments(ours) == notable_segments(theirs)


def test_on_python_2_passing_a_socket_is_not_run() -> None:
    reply = run(
        request(scenario("pass", MATRIX["last in flight"].text)),
        python=probe_runs.interpreter("2.7"),
    )
    assert {o.not_run for o in reply.observations} == {"needs sendmsg, which Python 2 lacks"}


def test_every_phrase_of_the_step_language_has_its_verb_and_every_option_its_number() -> None:
    program: dict[str, Any] = {"__name__": "fleetaudit-probe"}
    exec(compile(protocol.probe_text(ALL_PARTS), "fleetaudit-probe", "exec"), program)
    assert {str(phrase.call[1]) for phrase in phrases.PHRASES} == set(program["VERBS"])
    assert set(SOCKET_OPTIONS) == set(program["OPTIONS"])


def test_the_text_can_be_sent_inside_quotes_and_is_ascii() -> None:
    text = protocol.probe_text()
    assert text.isascii()
    assert "'''" not in text
    assert not text.endswith("\\")
    assert len(text) < 160 * 1024  # see MAX_TEXT in tests/unit/probe/test_joiner.py
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_every_supported_python_compiles_the_text(version: str) -> None:
    code = "import sys; compile(sys.stdin.read(), 'fleetaudit-probe', 'exec')"
    subprocess.run(
        [probe_runs.interpreter(version), "-c", code],
        input=protocol.probe_text(ALL_PARTS),
        text=True,
        check=True,
    )


WITHOUT = {
    "all": "",
    "no zlib": "import sys\nsys.modules['zlib'] = None\n",
    "no binascii": "import sys\nsys.modules['binascii'] = None\n",
    "neither": "import sys\nsys.modules['zlib'] = sys.modules['binascii'] = None\n",
}
"""Lines before the program that make a Python as poor as one built without these modules."""


@pytest.mark.parametrize("lacks", WITHOUT)
@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_every_supported_python_expands_what_is_sent_and_runs_it(version: str, lacks: str) -> None:
    asked = probe_runs.plan_of("unread-close", "drained-close")
    sent = protocol.make_request(asked, deadline_s=30).decode("ascii")
    printed = probe_runs.run_text(
        sent, before=WITHOUT[lacks], python=probe_runs.interpreter(version)
    )
    reply = with_times(protocol.decode_reply(asked, printed))
    assert notable_segments(trial_of(reply, "unread-close")) == ["closer R."]
    assert notable_segments(trial_of(reply, "drained-close")) == ["closer F."]


def test_a_request_that_was_damaged_on_its_way_runs_nothing() -> None:
    sent = protocol.make_request(probe_runs.plan_of("unread-close"), deadline_s=30)
    start = sent.index(b"unpack('''\n") + 12
    for place in range(start, len(sent) - 60, 2503):
        damaged = sent[:place] + (b"B" if sent[place] != 66 else b"C") + sent[place + 1 :]
        done = subprocess.run(
            [sys.executable, "-B", "-E", "-s", "-"], input=damaged, capture_output=True, check=False
        )
        assert done.stdout == b""
        assert b"zlib.error" in done.stderr


def test_nothing_but_the_core_is_imported_without_a_guard() -> None:
    names = set()
    for node in ast.parse(protocol.probe_text()).body:
        assert not isinstance(node, ast.ImportFrom)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    # marshal is built into every Python: it reads .pyc files.
    core = {"errno", "fcntl", "marshal", "os", "select", "signal", "socket", "struct", "sys"}
    assert names == {*core, "time"}


def test_a_watch_imports_more_that_every_python_has() -> None:
    """python3-minimal and python2.7-minimal have these modules."""
    of_all, of_watch = (
        {
            alias.name
            for node in ast.parse(protocol.probe_text(parts)).body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        for parts in ((), ("watch",))
    )
    assert of_watch - of_all == {"collections", "itertools", "re"}


@pytest.mark.parametrize("share", [random.Random(5).random() for _ in range(8)])
def test_a_transfer_that_is_cut_gives_no_result_line(share: float) -> None:
    printed = protocol.make_script(request(scenario(*UNREAD)))
    sent = protocol.make_request(probe_runs.plan_of("unread-close"), deadline_s=30)
    for script in (printed, sent):
        done = subprocess.run(
            [sys.executable, "-B", "-E", "-s", "-"],
            input=script[: int(len(script) * share)],
            capture_output=True,
            check=False,
        )
        assert protocol.REPLY_MARK not in done.stdout


def test_the_alarm_leaves_what_was_seen_and_names_what_was_not() -> None:
    slow = "closer sends until blocked; closer sets SO_LINGER 1 600; closer closes"
    call = request(
        scenario(*UNREAD),
        scenario("slow", slow, families=["ipv4"]),
        scenario(*DRAINED),
        deadline=4.0,
    )
    reply = run(call)
    assert trial_of(reply, "unread-close").peer is not None
    missing = {o.scenario: o.not_run for o in reply.observations if not o.trials}
    assert missing == {
        "slow": "the probe's time ran out",
        "drained-close": "the probe's time ran out",
    }
    assert any("alarm" in note for note in reply.notes)
    assert reply.elapsed_s < 4 + BUSY_S


def test_a_probe_that_is_stuck_after_its_alarm_is_ended_by_the_next() -> None:
    stuck = "while True:\n\t\tpass\n\t"
    script = protocol.make_script(request(scenario(*UNREAD), deadline=0.5)).decode()
    cut = script.replace("\tadd_not_run(call,", "\t" + stuck + "add_not_run(call,", 1)
    assert cut != script
    done = subprocess.run(
        [sys.executable, "-B", "-E", "-s", "-"],
        input=cut.encode(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGALRM
    assert protocol.REPLY_MARK not in done.stdout


def test_one_scenario_that_breaks_the_probe_does_not_cost_the_others() -> None:
    broken = {
        "name": "broken",
        "steps": [("peer", "no-such-verb")],
        "families": ["ipv4"],
        "trials": 3,
    }
    reply = run(request(scenario(*UNREAD), broken, scenario(*DRAINED)))
    assert trial_of(reply, "unread-close").kernel == BASE
    assert notable_segments(trial_of(reply, "drained-close", "ipv6")) == ["closer F."]
    (observation,) = [o for o in reply.observations if o.scenario == "broken"]
    assert observation.trials[0].error.startswith("the probe failed: KeyError")


def test_a_probe_that_fails_as_a_whole_still_reports_what_it_saw() -> None:
    call = request(scenario(*UNREAD))
    script = protocol.make_script(call).replace(b" Laboratory(private", b" NoLaboratory(private", 1)
    done = subprocess.run(
        [sys.executable, "-B", "-E", "-s", "-"], input=script, capture_output=True, check=True
    )
    reply = parse_reply(done.stdout)
    assert reply.kernel.release == os.uname().release
    assert all(o.not_run.startswith("the probe failed: NameError") for o in reply.observations)
    assert len(reply.observations) == 2


WRONG = {  # steps that cannot be carried out: which of them fails, and why
    "peer sends 5 bytes; closer reads 6 bytes; closer closes": (
        1,
        "only 5 of 6 bytes came in time",
    ),
    "closer closes the other reference; closer closes": (
        0,
        "there is no other reference to the socket",
    ),
    "peer sends 5 bytes; peer half-closes; peer sends 5 bytes; closer closes": (
        2,
        "Broken pipe (EPIPE)",
    ),
    "peer sends 5 bytes; closer sets TCP_MAXSEG 1; closer closes": (1, "Invalid argument (EINVAL)"),
}


@pytest.mark.parametrize("steps", WRONG)
def test_a_step_that_fails_is_reported_by_its_index_and_reason(steps: str) -> None:
    reply = run(request(scenario("wrong", steps)))
    for observation in reply.observations:
        trial = observation.trials[0]
        why = trial.error.partition("; the host stalled")[0]  # added on a busy machine
        assert (trial.failed_step, why) == WRONG[steps]


def test_no_message_of_the_probe_names_a_verb_of_its_own() -> None:
    """The step's words are added by who has the playbook; `resend-fin` is a name that no user has
    ever seen.
    """
    inner = {phrase.call[1] for phrase in phrases.PHRASES if "-" in str(phrase.call[1])}
    raised = [
        node
        for node in ast.walk(ast.parse(protocol.probe_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
    ]
    texts = [
        n.value
        for r in raised
        for n in ast.walk(r)
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    assert len(texts) > 40
    assert [
        text for text in texts if any(str(verb) in text for verb in inner) or "()" in text
    ] == []


ZERO = {  # who has to have a window of zero when the step is over
    "peer sends until blocked; closer closes": "closer",
    "peer sends until blocked; closer is killed": "closer",
    "peer sends 100 bytes; closer sends until blocked; closer closes; peer reads to the end": (
        "peer"
    ),
    "peer sets SO_SNDBUF 4096; peer sends until blocked; closer closes": "closer",
    "peer sets TCP_MAXSEG 500; peer sends until blocked; closer closes": "closer",
    "closer sets SO_RCVBUF 100000; peer sends until blocked; closer closes": "closer",
    "peer connects without being accepted; peer sends until blocked; listener closes": "closer",
    "peer connects over MPTCP; peer sends until blocked; closer closes": "closer",
}
A_KERNEL_BEFORE_5_4 = ("TCP_INFO, 256", "TCP_INFO, 192")
NO_CAPTURE = ("\t\tself.open_capture()\n", "")


@pytest.mark.parametrize(
    "poor", [(), (A_KERNEL_BEFORE_5_4,), (A_KERNEL_BEFORE_5_4, NO_CAPTURE)], ids=len
)
def test_a_sender_is_blocked_when_the_window_is_zero(poor: tuple[tuple[str, str], ...]) -> None:
    text = protocol.make_script(
        request(*[scenario(name, name, trials=2) for name in ZERO])
    ).decode()
    for old, new in poor:
        assert old in text
        text = text.replace(old, new, 1)
    reply = parse_reply(probe_runs.run_text(text))
    for observation in reply.observations:
        for trial in observation.trials:
            assert trial.error == ""
            window = {name: left for name, left in trial.queue.items() if "window" in name}
            assert window == {f"{ZERO[observation.scenario]} window": 0}, observation.scenario


def test_tcpdump_sees_a_window_of_zero_before_the_reset() -> None:
    text = "peer sends until blocked; closer closes"
    beside = probe_runs.run_with_tcpdump(
        request(scenario("zero", text, trials=2), isolation="host")
    )
    for observation in beside.reply.observations:
        for trial in observation.trials:
            assert trial.connection is not None
            port = trial.connection.ports[0]
            closers = [(p.bits & 0x04, p.window) for p in beside.of(trial) if p.source == port]
            assert [closers[-2], closers[-1][0]] == [
                (0, 0),
                4,
            ]  # the queue is empty again when the RST is made
            assert trial.wire is not None
            assert [s.window for s in trial.wire if s.sender == "closer"][-2] == 0


def test_sending_until_blocked_to_a_closed_connection_ends_with_its_error() -> None:
    text = "peer sends 5 bytes; closer closes; peer sends until blocked"
    reply = run(request(scenario("late", text)))
    for family in ("ipv4", "ipv6"):
        peer = trial_of(reply, "late", family).peer
        assert peer is not None
        assert peer.recv[0] == "send: ECONNRESET"


def test_equal_trials_are_counted_rather_than_repeated() -> None:
    reply = run(request(scenario(UNREAD[0], UNREAD[1], trials=12)))
    assert [trial_of(reply, UNREAD[0], family).count for family in ("ipv4", "ipv6")] == [12, 12]


def test_a_bulk_transfer_keeps_a_bounded_trace_with_every_segment_that_matters() -> None:
    bulk = "closer sends 2000000 bytes; peer reads 2000000 bytes; " * 4
    reply = run(
        request(scenario("bulk", "closer sets SO_SNDBUF 8000000; " + bulk + "closer closes"))
    )
    for family in ("ipv4", "ipv6"):
        (observation,) = [o for o in reply.observations if o.family == family]
        trial = observation.trials[0]
        if trial.error.startswith("step") and "blocked" in trial.error:
            pytest.skip("needs a send buffer of 2 MB: " + trial.error)
        assert trial.wire is not None
        assert len(trial.wire) <= 200
        assert trial.wire[0].flags == "S"
        assert notable_segments(trial)[-1].startswith("closer F")
        assert trial.bytes["peer received"] == 8_000_000


def test_what_a_resent_segment_holds_was_all_read_before(here: TimedReply) -> None:
    trial = trial_of(here, "reread FIN")
    assert trial.wire is not None
    ((seq, length),) = [
        (s.seq, s.length) for s in trial.wire if "F" in s.flags and s.sender == "peer"
    ]
    assert (seq, length) == (1, 10)
    assert REREAD[0] == "reread-fin-close"


def test_the_next_step_waits_for_the_ack_of_a_side_that_has_sent_nothing_yet() -> None:
    """In FIN_WAIT1 the closer would count the peer's bytes as TCPAbortOnData, in FIN_WAIT2 it does
    not.
    """
    reply = run(
        request(
            scenario(
                "late",
                "closer connects; closer closes; peer sends 5 bytes",
                families=["ipv4"],
                trials=5,
            )
        )
    )
    (found,) = reply.observations
    assert [(t.count, t.kernel) for t in found.trials] == [(5, LATE)]


@pytest.mark.parametrize(
    "text",
    [
        "closer connects; closer closes; peer closes",
        "peer connects without being accepted; peer closes; closer closes",
        (
            "peer connects without being accepted; peer sends 5 bytes; peer closes; closer reads"
            " all; closer closes"
        ),
    ],
)
def test_a_closed_peer_leaves_a_final_ending(text: str) -> None:
    trial = trial_of(run(request(scenario("gone", text, families=["ipv4"]))), "gone")
    assert trial.outstanding == ""
    assert "closer F." in [word.replace("P", "") for word in notable_segments(trial)]


def test_an_urgent_byte_that_nobody_read_is_still_shown_after_a_fin() -> None:
    trial = trial_of(
        run(request(scenario("urgent", "closer sends 1 urgent byte; closer closes"))), "urgent"
    )
    assert trial.peer is not None
    assert {"PRI", "RDHUP"} <= {*trial.peer.poll}
    text = "closer sends 1 urgent byte; peer reads the urgent byte; closer closes; peer closes"
    trial = trial_of(run(request(scenario("urgent", text, families=["ipv4"]))), "urgent")
    assert notable_segments(trial)[1:] == [
        "closer F.",
        "peer R.",
    ]  # the byte is unread, so the peer's own close resets


@pytest.mark.parametrize(
    "text",
    [
        "peer sends 5 bytes out of order; peer sends 1 byte; peer closes; closer half-closes",
        (
            "peer sends 5 bytes out of order; peer sends 1 byte; peer closes; closer reads all;"
            " closer closes"
        ),
    ],
)
def test_what_a_raw_segment_left_behind_sends_nothing_into_the_next_trial(text: str) -> None:
    """The peer's kernel drops what acknowledges bytes that it never sent, and sends its FIN again
    after 0.2 s.
    """
    probe_runs.need_root()
    after = scenario("after", "closer disconnects; wait 400 ms", families=["ipv4"])
    reply = run(request(scenario("before", text, families=["ipv4"]), after, isolation="namespace"))
    assert trial_of(reply, "after").kernel == BROKEN_OFF


def test_bytes_for_a_closer_that_resets_are_no_reason_to_wait() -> None:
    text = "closer shuts both ways; closer duplicates its socket; closer closes; peer sends 5 bytes"
    trial = trial_of(run(request(scenario("reset", text, families=["ipv4"]))), "reset")
    assert notable_segments(trial) == ["closer F.", "closer R"]
