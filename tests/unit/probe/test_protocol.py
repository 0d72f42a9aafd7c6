"""The conversation with the probe: what is sent, what is accepted, and what the three witnesses add
up to.
"""

from __future__ import annotations

import ast
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit import __version__
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    HostPlan,
    Interpreter,
    Isolation,
    LocalTarget,
    PeerWitness,
    Scenario,
    SshTarget,
    Step,
)
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict


def scenario(
    name: str, expect: Ending, control: str | None = None, families: tuple[Family, ...] = ("ipv4",)
) -> Scenario:
    steps = (parse_step("peer sends 5 bytes"), parse_step("closer closes"))
    return Scenario(
        name=name, title=name, steps=steps, expect=(expect,), control=control, families=families
    )


UNREAD = scenario("unread-close", "RST", control="drained-close")
DRAINED = scenario("drained-close", "FIN")


def plan(*scenarios: Scenario, trials: int = 3, isolation: Isolation = "auto") -> HostPlan:
    return HostPlan(
        name="web-1",
        groups=("web",),
        target=LocalTarget(),
        scenarios=scenarios,
        trials=trials,
        isolation=isolation,
        sysctls_collect=("net.ipv4.tcp_*",),
        sysctls_expect={},
    )


SAW_RST = {"state": 7, "poll": ["ERR", "HUP"], "recv": ["ECONNRESET", "0"], "so_error": "0"}
SAW_FIN = {"state": 8, "poll": ["IN", "OUT", "RDHUP"], "recv": ["0"], "so_error": "0"}
SAW_BOTH = {"state": 7, "poll": ["ERR", "HUP", "RDHUP"], "recv": ["0"], "so_error": "EPIPE"}
SAW_NOTHING = {"state": 1, "poll": ["OUT"], "recv": ["EAGAIN"], "so_error": "0"}
HANDSHAKE = [
    [0, "peer", "S", 0, 0, 0, 0, "TS"],
    [9, "closer", "S.", 0, 1, 0, 0, "TS"],
    [12, "peer", ".", 1, 1, 0, 0, ""],
]
ABORT = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}


def wired(*closers: str) -> list[list[Any]]:
    return HANDSHAKE + [
        [100 + i, "closer", flags, 1, 6, 0, 0, ""] for i, flags in enumerate(closers)
    ]


def trial(
    wire_: Any = None, peer: Any = None, kernel: Any = None, count: int = 3, **more: Any
) -> dict[str, Any]:
    return {"count": count, "wire": wire_, "peer": peer, "kernel": kernel} | more


RESET = trial(wired("R."), SAW_RST, ABORT)
FINISHED = trial(wired("F."), SAW_FIN, {})


def reply(*observations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "protocol": 1,
        "digest": "DIGEST",
        "kernel": {"release": "6.12.43", "version": "#1 SMP", "machine": "x86_64"},
        "os": {"id": "debian", "version_id": "13", "pretty_name": "Debian"},
        "python": "3.11.2 CPython",
        "isolation": "namespace",
        "observations": list(observations),
        "sysctls": {"net.ipv4.tcp_rfc1337": {"value": "0", "default": "0"}},
        "exposure": None,
        "elapsed_s": 1.5,
    } | more


def saw(name: str, *trials: dict[str, Any], family: str = "ipv4", **more: Any) -> dict[str, Any]:
    return {"scenario": name, "family": family, "trials": list(trials)} | more


def line(body: Any) -> bytes:
    return protocol.REPLY_MARK + json.dumps(body).encode("ascii") + b"\n"


def decode(asked: HostPlan, stdout: bytes, *more: Any) -> Audited:
    """Returns what a host says that answers the call it got."""
    return verdict.result_from_output(
        asked, stdout.replace(b"DIGEST", protocol.request_digest(asked).encode()), *more
    )


def decide(
    one: dict[str, Any],
    *,
    isolation: Any = "namespace",
    family: Family = "ipv4",
    steps: tuple[Step, ...] = UNREAD.steps,
) -> tuple[str, str]:
    raw = protocol.parse_reply(line(reply(saw("unread-close", one)))).observations[0].trials[0]
    return verdict.trial_verdict(raw, steps, family, isolation)


# ---- out


def test_the_command_line_is_a_constant_that_a_sudoers_line_can_hold() -> None:
    assert protocol.COMMAND.startswith("/bin/sh -c '")
    assert protocol.COMMAND.count("'") == 2
    assert "\n" not in protocol.COMMAND
    assert "!" not in protocol.COMMAND  # csh would expand it


def test_a_request_is_ascii_python_and_calls_on_its_last_line() -> None:
    sent = protocol.make_request(plan(UNREAD, DRAINED), deadline_s=20).decode("ascii")
    assert ast.parse(sent)
    last = sent.rstrip("\n").rsplit("\n", 1)[1]
    assert last.startswith("main({")
    assert "'unread-close'" in last


def test_a_request_names_the_interpreter_to_try_first_in_a_comment() -> None:
    def of(value: str) -> HostPlan:
        named = Interpreter(value=value, origin="hosts.yml:3")
        return msgspec.structs.replace(
            plan(UNREAD), target=SshTarget(address="h", interpreter=named)
        )

    sent = protocol.make_request(plan(UNREAD), deadline_s=20)
    assert sent.startswith(b"#\nPROGRAM = ")
    assert protocol.make_request(of(""), deadline_s=20) == sent
    named = protocol.make_request(of("/opt/bin/pythön -I"), deadline_s=20)
    assert named == "# /opt/bin/pythön -I\n".encode() + sent.removeprefix(b"#\n")
    assert protocol.request_digest(of("/opt/bin/python")) == protocol.request_digest(plan(UNREAD))


def test_an_interpreter_that_does_not_work_is_a_note_and_part_of_the_reason() -> None:
    named = Interpreter(value="/opt/bin/python -I", origin="hosts.yml:3")
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    answer = line(reply(saw("unread-close", RESET), interpreter="/usr/bin/python3"))
    failed = b"fleetaudit-shell/1 0 root\nfleetaudit-python/1 127\n"
    why = (
        "ansible_python_interpreter /opt/bin/python -I (hosts.yml:3) does not work: there is no"
        " such program"
    )
    host = decode(asked, failed + answer)
    assert host.interpreter == "/usr/bin/python3"
    assert host.notes[-1] == f"{why}; /usr/bin/python3 was used instead"
    assert why not in " ".join(decode(asked, b"fleetaudit-shell/1 0 root\n" + answer).notes)
    assert why not in " ".join(decode(plan(UNREAD), failed + answer).notes)
    with pytest.raises(ReplyError) as e:
        decode(asked, failed, b"", protocol.NO_PYTHON)
    assert e.value.reason == f"{why}; nor does any other Python from 2.7 on"


def test_a_program_that_is_not_python_and_takes_its_options_is_named_if_no_reply_comes() -> None:
    named = Interpreter(value="/bin/true", origin="hosts.yml:3")
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    words = (
        "; ansible_python_interpreter /bin/true (hosts.yml:3) is tried first, and may be no Python"
    )
    for said, status in ((b"", 0), (b"usage", 1)):
        with pytest.raises(ReplyError) as caught:
            protocol.decode_reply(asked, said, exit_status=status)
        assert caught.value.reason.endswith(words)
    with pytest.raises(ReplyError) as caught:
        protocol.decode_reply(plan(UNREAD), b"")
    assert caught.value.reason == "no result line"


def test_an_interpreter_that_cannot_be_read_is_a_note() -> None:
    named = Interpreter(
        origin="hosts.yml:3", problem="ansible_python_interpreter in hosts.yml:3 has no end"
    )
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    host = decode(asked, line(reply(saw("unread-close", RESET))))
    assert host.notes[-1] == f"{named.problem}; another Python was used instead"


def test_a_request_that_is_cut_anywhere_never_calls_main() -> None:
    sent = protocol.make_request(plan(UNREAD), deadline_s=20).decode("ascii").rstrip("\n")
    end = sent.rindex("main({")
    for cut in [*range(0, end, max(1, end // 50)), *range(end, len(sent))]:
        try:
            tree = ast.parse(sent[:cut])
        except SyntaxError:  # the interpreter runs nothing of it
            continue
        calls = [
            ast.unparse(n.value.func)
            for n in tree.body
            if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
        ]
        assert "main" not in calls


# ---- back: bytes to a reply


def test_noise_around_the_result_line_is_ignored() -> None:
    noisy = (
        b"Welcome to \xff\xfe host\r\n$ echo\n"
        + line(reply(saw("unread-close", RESET)))
        + b"logout\n"
    )
    assert decode(plan(UNREAD), noisy).observations[0].ending == "RST"


@pytest.mark.parametrize(
    ("stdout", "status", "stage", "words"),
    [
        (
            line(reply(saw("unread-close", trial([[2**62, "closer", "R.", 1, 1, 0, 0, ""]])))),
            0,
            "decode",
            "<=",
        ),
        (b"", 86, "execute", "no Python"),
        (b"", 127, "execute", "status 127"),
        (
            b"fleetaudit-shell/1 0 root\nKilled\x1b[2J\n",
            137,
            "execute",
            "it printed “Killed\ufffd[2J”",
        ),
        (b"", 0, "decode", "no result line"),
        (line(reply()) + line(reply()), 0, "decode", "2 result lines"),
        (line(reply())[:-40], 0, "decode", "not what the probe sends"),
        (protocol.REPLY_MARK + b"[" * 5000 + b"\n", 0, "decode", "deeper"),
        (
            protocol.REPLY_MARK + b'"' + b"x" * (protocol.MAX_LINE + 1) + b'"\n',
            0,
            "decode",
            "bytes",
        ),
        (line({**reply(), "isolation": "none"}), 0, "decode", "isolation"),
        (line({**reply(), "python": "x" * 10_000}), 0, "decode", "length"),
        (line({**reply(), "protocol": 2}), 0, "decode", "protocol"),
        (line(reply(saw("not-asked", RESET))), 0, "decode", "not-asked"),
        (
            line(reply(saw("unread-close", RESET), saw("unread-close", RESET))),
            0,
            "decode",
            "two answers",
        ),
        (line(reply(saw("unread-close", {**RESET, "count": 99}))), 0, "decode", "trials"),
        (
            protocol.REPLY_MARK + b'{"protocol": 1, "kernel": {"release": "\xff"}}\n',
            0,
            "decode",
            "not what the probe sends",
        ),
    ],
)
def test_an_output_without_a_valid_reply_is_refused_with_a_reason(
    stdout: bytes, status: int, stage: str, words: str
) -> None:
    with pytest.raises(ReplyError) as caught:
        decode(plan(UNREAD, DRAINED), stdout, b"", status)
    assert caught.value.stage == stage
    assert words in caught.value.reason


def test_the_reason_says_that_the_output_was_cut() -> None:
    with pytest.raises(ReplyError, match="more on stdout than is read"):
        decode(plan(UNREAD), b"x" * 100, b"", None, "stdout")


@given(
    st.binary(max_size=400), st.sampled_from([b"", protocol.REPLY_MARK, protocol.REPLY_MARK + b"{"])
)
def test_hostile_bytes_give_a_reply_error_and_never_another_exception(
    noise: bytes, start: bytes
) -> None:
    with pytest.raises(ReplyError):
        decode(plan(UNREAD), start + noise)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=9), c),
    )
)
def test_hostile_json_gives_a_reply_error_and_never_another_exception(body: Any) -> None:
    with pytest.raises(ReplyError):
        decode(plan(UNREAD), line({**reply(), "observations": body} if body != [] else body))


# ---- back: where sysctls are set

SET = {"net.ipv4.tcp_rfc1337": ["/etc/sysctl.d/9-a.conf:3"], "net.x": ["/etc/sysctl.conf:1"]}


def test_places_are_kept_of_sysctls_that_were_read_only() -> None:
    body = reply(saw("unread-close", RESET), sysctl_places=SET, sysctls_writable=False)
    got = decode(plan(UNREAD), line(body))
    assert got.sysctl_places == {"net.ipv4.tcp_rfc1337": ("/etc/sysctl.d/9-a.conf:3",)}
    assert not got.sysctls_writable
    of_before = decode(plan(UNREAD), line(reply(saw("unread-close", RESET))))
    assert (of_before.sysctl_places, of_before.sysctls_writable) == (None, True)


@pytest.mark.parametrize(
    "place",
    [
        "/etc/cron.d/job.conf:1",
        "/etc/sysctl.d/../cron.d/a.conf:1",
        "/etc/sysctl.d/a b.conf:1",
        "/etc/sysctl.conf",
        "/etc/sysctl.conf:1\n",
        "/etc/sysctl.d/$(reboot).conf:1",
        "x/etc/sysctl.conf:1",
        "/etc/sysctl.d/a.conf:1;id",
    ],
)
def test_a_place_is_a_line_of_a_sysctl_file_because_it_becomes_part_of_a_command(
    place: str,
) -> None:
    with pytest.raises(ReplyError, match="not what the probe sends"):
        decode(
            plan(UNREAD),
            line(
                reply(saw("unread-close", RESET), sysctl_places={"net.ipv4.tcp_rfc1337": [place]})
            ),
        )


# ---- back: which call a reply answers


def test_a_reply_answers_its_own_call_and_no_other() -> None:
    asked = plan(UNREAD, DRAINED)
    body = reply(
        saw("unread-close", RESET),
        saw("drained-close", FINISHED),
        digest=protocol.request_digest(asked),
    )
    assert verdict.result_from_output(asked, line(body)).observations[0].ending == "RST"
    other_steps = msgspec.structs.replace(
        UNREAD, steps=(parse_step("peer sends 6 bytes"), parse_step("closer closes"))
    )
    for other in (
        plan(other_steps, DRAINED),
        plan(UNREAD, DRAINED, trials=4),
        plan(UNREAD, DRAINED, isolation="host"),
        msgspec.structs.replace(asked, sysctls_collect=("net.ipv4.tcp_fin_timeout",)),
    ):
        with pytest.raises(ReplyError, match="answers another call") as caught:
            protocol.decode_reply(other, line({**body, "fleetaudit": __version__}))
        assert caught.value.stage == "decode"
    with pytest.raises(ReplyError, match="has no digest of the call"):
        protocol.decode_reply(asked, line({**body, "digest": ""}))


def test_a_reply_to_another_version_names_it() -> None:
    body = reply(saw("unread-close", RESET), digest="0" * 32)
    with pytest.raises(ReplyError, match=f"fleetaudit 0.0.1, and this is fleetaudit {__version__}"):
        protocol.decode_reply(plan(UNREAD), line({**body, "fleetaudit": "0.0.1"}))
    with pytest.raises(ReplyError, match="an unknown version"):
        protocol.decode_reply(plan(UNREAD), line(body))


def test_hosts_with_the_same_plan_share_one_digest_whatever_their_names_and_deadlines() -> None:
    one = plan(UNREAD)
    other = msgspec.structs.replace(one, name="db-1", groups=("db",))
    assert protocol.request_digest(one) == protocol.request_digest(other)
    for deadline in (1.0, 60.0):
        assert protocol.request_digest(one).encode() in protocol.make_request(
            other, deadline_s=deadline
        )


def test_the_expected_endings_are_sent_and_are_not_part_of_the_digest() -> None:
    one = plan(UNREAD)
    other = plan(msgspec.structs.replace(UNREAD, expect=("FIN", "FIN, then RST")))
    assert protocol.request_digest(one) == protocol.request_digest(other)
    assert b"'expect': ['FIN', 'FIN, then RST']" in protocol.make_request(other, deadline_s=9.0)


# ---- back: what three witnesses add up to


@pytest.mark.parametrize(
    ("one", "ending"),
    [
        (RESET, "RST"),
        (FINISHED, "FIN"),
        (trial(wired("F.", "R."), SAW_BOTH, {"OutRsts": 1}), "FIN, then RST"),
        (trial(wired("F.", "F.", "R"), None, {"OutRsts": 1}), "FIN, then RST"),
        (trial(wired(), SAW_NOTHING, {}), "nothing"),
        (trial(wired("R."), None, ABORT), "RST"),  # the peer was gone
        (trial(None, SAW_RST, ABORT, wire_note="no packet socket"), "RST"),
        (trial(None, SAW_FIN, {}), "FIN"),
        (trial(None, {**SAW_RST, "recv": ["11", "ECONNRESET", "0"]}, ABORT), "RST"),
        (trial(wired("R."), SAW_RST, None), "RST"),  # counters unreadable
    ],
)
def test_witnesses_that_agree_decide_the_ending(one: dict[str, Any], ending: str) -> None:
    assert decide(one) == (ending, "")


@pytest.mark.parametrize(
    ("one", "ending", "words"),
    [
        (trial(wired("R."), SAW_NOTHING, ABORT), "sent, not delivered", "INPUT"),
        (trial(wired("F.", "R."), SAW_FIN, {"OutRsts": 1}), "sent, not delivered", "INPUT"),
        (
            trial(wired(), SAW_NOTHING, {**ABORT, "TCPAbortFailed": 1}),
            "sent, not delivered",
            "OUTPUT",
        ),
        (trial(None, SAW_NOTHING, {**ABORT, "TCPAbortFailed": 1}), "sent, not delivered", "OUTPUT"),
        (
            trial(wired("R."), SAW_FIN, ABORT),
            "inconclusive",
            "the wire says RST and the peer says FIN",
        ),
        (
            trial(wired("F."), SAW_RST, {}),
            "inconclusive",
            "the wire says FIN and the peer says RST",
        ),
        (trial(wired("R."), SAW_RST, {}), "inconclusive", "OutRsts did not move"),
        (
            trial(wired("F."), SAW_FIN, {"TCPAbortOnClose": 1}),
            "inconclusive",
            "TCPAbortOnClose moved",
        ),
        (
            trial(wired("R."), SAW_RST, {**ABORT, "OutRsts": 2}),
            "inconclusive",
            "the wire has 1 RST of the closer",
        ),
        (trial(None, None, {}, wire_note="no right"), "inconclusive", "no right"),
        (
            trial(wired("R."), SAW_RST, ABORT, error="step 2: EPIPE"),
            "inconclusive",
            "step 2: EPIPE",
        ),
    ],
)
def test_a_disagreement_of_witnesses_is_inconclusive_and_named(
    one: dict[str, Any], ending: str, words: str
) -> None:
    got, reason = decide(one)
    assert got == ending
    assert words in reason


LATE = "MPTCP has not told the peer's socket of it"
OVER_MPTCP = (parse_step("peer connects over MPTCP"), *UNREAD.steps)


@pytest.mark.parametrize(
    ("one", "steps", "ending", "words"),
    [
        (
            trial(wired("F."), SAW_FIN, {}, outstanding="x"),
            UNREAD.steps,
            "inconclusive",
            "more may come: x",
        ),
        (
            trial(wired(), SAW_NOTHING, {}, outstanding="x"),
            UNREAD.steps,
            "inconclusive",
            "more may come: x",
        ),
        (trial(wired("R."), SAW_RST, ABORT, outstanding="x"), UNREAD.steps, "RST", ""),
        # A FIN that a firewall drops is not acknowledged either.
        (
            trial(wired("F."), SAW_NOTHING, {}, outstanding="x"),
            UNREAD.steps,
            "sent, not delivered",
            "INPUT",
        ),
        # mptcp_worker() may be later than the probe waits, and earlier than the peer's socket is
        # asked.
        (trial(wired("R."), SAW_RST, {}, outstanding=LATE), OVER_MPTCP, "RST", ""),
        (
            trial(wired("R."), SAW_NOTHING, {}, outstanding=LATE),
            OVER_MPTCP,
            "inconclusive",
            "more may come",
        ),
    ],
)
def test_an_ending_that_may_not_be_final_is_inconclusive(
    one: dict[str, Any], steps: tuple[Step, ...], ending: str, words: str
) -> None:
    got, reason = decide(one, steps=steps)
    assert got == ending
    assert words in reason


def test_segments_with_a_wrong_checksum_are_not_blamed_on_a_firewall() -> None:
    one = trial(wired("R."), SAW_NOTHING, {**ABORT, "InCsumErrors": 3})
    assert decide(one) == (
        "sent, not delivered",
        (
            "the wire says RST and the peer says nothing: it left and did not arrive; "
            "3 segments had a wrong checksum (InCsumErrors)"
        ),
    )


def test_a_trial_that_failed_names_the_step_as_the_playbook_has_it() -> None:
    failed = trial(wired("R."), SAW_RST, ABORT, error="Broken pipe (EPIPE)", failed_step=1)
    assert decide(failed) == ("inconclusive", "step 2 “closer closes”: Broken pipe (EPIPE)")
    seen = decode(plan(UNREAD), line(reply(saw("unread-close", failed)))).observations[0]
    assert seen.reason == "step 2 “closer closes”: Broken pipe (EPIPE)"


@pytest.mark.parametrize(
    ("index", "words"), [(2, "number the steps"), (64, "not what the probe sends"), (-1, "not")]
)
def test_a_failed_step_that_the_scenario_does_not_have_is_refused(index: int, words: str) -> None:
    failed = trial(wired("R."), SAW_RST, ABORT, error="EPIPE", failed_step=index)
    with pytest.raises(ReplyError, match=words):
        decode(plan(UNREAD), line(reply(saw("unread-close", failed))))


def test_a_window_that_did_not_reach_zero_is_the_reason_of_the_ending() -> None:
    blocked = (parse_step("peer sends until blocked"), parse_step("closer closes"))
    assert decide(
        trial(wired("R."), SAW_RST, ABORT, queue={"closer window": 0}), steps=blocked
    ) == ("RST", "")
    ending, reason = decide(
        trial(wired("R."), SAW_RST, ABORT, queue={"closer window": 15360}), steps=blocked
    )
    assert ending == "RST"
    assert (
        "“peer sends until blocked”: the window of the closer did not reach zero, 15360 bytes"
        in reason
    )


def test_a_trial_whose_window_did_not_reach_zero_is_shown() -> None:
    steps = (parse_step("peer sends until blocked"), parse_step("closer closes"))
    asked = plan(msgspec.structs.replace(UNREAD, steps=steps))
    shut = trial(wired("R."), SAW_RST, ABORT, count=2, queue={"closer window": 0})
    left = trial(wired("R."), SAW_RST, ABORT, count=1, queue={"closer window": 93})
    (seen,) = decode(asked, line(reply(saw("unread-close", shut, left)))).observations
    assert (seen.ending, seen.endings) == ("RST", {"RST": 3})
    assert "93 bytes" in seen.reason
    assert seen.evidence.queue == {"closer window": 93}


def test_a_lossy_capture_is_no_witness() -> None:
    assert decide(trial(wired(), SAW_RST, ABORT, wire_lost=4)) == ("RST", "")
    ending, reason = decide(trial(wired("R."), None, ABORT, wire_lost=4))
    assert ending == "inconclusive"
    assert "4 packets found no room" in reason


def test_a_lossy_capture_is_noted_although_the_peer_decides_the_ending() -> None:
    seen = decode(
        plan(UNREAD), line(reply(saw("unread-close", {**RESET, "wire_lost": 4})))
    ).observations[0]
    assert seen.ending == "RST"
    assert "4 packets found no room" in seen.evidence.wire_note


def test_in_the_hosts_namespace_counters_may_move_by_more_but_not_by_less() -> None:
    assert decide(trial(None, SAW_FIN, {"TCPAbortOnClose": 7, "OutRsts": 9}), isolation="host") == (
        "FIN",
        "",
    )
    assert decide(trial(None, SAW_RST, {}), isolation="host")[0] == "inconclusive"


def test_a_peer_that_was_reset_after_a_fin_is_not_taken_for_a_fin() -> None:
    raw = protocol.RawTrial(
        count=1,
        wire=None,
        peer=PeerWitness(state=7, poll=("ERR", "HUP"), recv=("0",), so_error="EPIPE"),
        kernel=None,
    )
    assert verdict.trial_verdict(raw, UNREAD.steps, "ipv4", "namespace") == ("FIN, then RST", "")


def test_a_send_that_failed_with_the_reset_is_evidence_of_it() -> None:
    first = {
        "state": 7,
        "poll": ["IN", "HUP", "RDHUP"],
        "recv": ["send: ECONNRESET", "11", "0"],
        "so_error": "0",
    }
    assert decide(trial(wired("R."), first, ABORT)) == ("RST", "")


def test_silence_of_a_peer_with_forged_segments_is_no_witness() -> None:
    for step in ("peer resends 5 bytes with FIN", "peer sends 5 bytes out of order"):
        forged = (parse_step(step), parse_step("closer closes"))
        assert decide(trial(wired("F."), SAW_NOTHING, {}), steps=forged) == ("FIN", "")
        assert decide(trial(wired("R."), SAW_RST, ABORT), steps=forged) == ("RST", "")
        assert decide(trial(wired("F."), SAW_RST, {}), steps=forged)[0] == "inconclusive"


def test_silence_of_a_peer_whose_data_was_sent_again_is_a_witness() -> None:
    again = (parse_step("peer resends 5 bytes"), parse_step("closer closes"))
    assert decide(trial(wired("F."), SAW_NOTHING, {}), steps=again)[0] == "sent, not delivered"


def test_a_peer_whose_connection_is_over_shows_no_reset() -> None:
    over = {**SAW_FIN, "state": 7, "poll": ["IN", "OUT", "HUP", "RDHUP"]}
    assert decide(trial(wired("F.", "R"), over, {"OutRsts": 1})) == ("FIN, then RST", "")
    assert decide(trial(wired("F.", "R"), SAW_FIN, {"OutRsts": 1}))[0] == "sent, not delivered"


def test_over_af_unix_the_peer_is_the_only_witness() -> None:
    assert decide(trial(None, {**SAW_RST, "state": None}, None), family="unix") == ("RST", "")
    assert decide(trial(None, {**SAW_FIN, "state": None}, None), family="unix") == ("FIN", "")
    assert decide(trial(None, None, None), family="unix")[0] == "inconclusive"


UNIX_HUP = {"poll": ["IN", "OUT", "RDHUP", "HUP"], "recv": ["0"], "so_error": "0"}
SHUT = (parse_step("peer shuts reading"), parse_step("closer closes"))


@pytest.mark.parametrize(
    ("added", "ending"),
    [([[1, ["HUP"]]], "FIN"), ([[1, []]], "nothing"), ([], "nothing"), ([[1, ["IN"]]], "nothing")],
)
def test_over_af_unix_only_what_the_closer_added_counts_at_a_peer_that_shut_reading(
    added: list[Any], ending: str
) -> None:
    assert decide(trial(None, UNIX_HUP | {"poll_added": added}), family="unix", steps=SHUT) == (
        ending,
        "",
    )


def test_over_af_unix_a_failed_send_is_no_reset_and_counters_count_for_nothing() -> None:
    late = UNIX_HUP | {"recv": ["send: EPIPE", "0"], "poll_added": [[1, ["HUP", "RDHUP"]]]}
    others = {"OutRsts": 3, "TCPAbortOnClose": 1, "TCPAbortFailed": 1}
    assert decide(trial(None, late, others), family="unix", isolation="host") == ("FIN", "")
    silent = {"poll": ["OUT"], "recv": ["EAGAIN"], "so_error": "0", "poll_added": [[1, []]]}
    assert decide(trial(None, silent, others), family="unix", isolation="host") == ("nothing", "")


@pytest.mark.parametrize(
    "odd",
    [
        {"poll": ["ERR", "HUP"], "recv": ["0"], "so_error": "0"},
        {"recv": ["0"], "so_error": "0", "poll_added": [[1, ["ERR", "HUP"]]]},
        {"recv": ["EAGAIN"], "so_error": "0", "poll_added": [[1, ["RDHUP"]]]},
        {"recv": ["ECONNRESET", "EAGAIN"], "so_error": "0", "poll_added": [[1, ["ERR"]]]},
    ],
)
def test_over_af_unix_a_peer_that_contradicts_itself_gives_no_verdict(odd: dict[str, Any]) -> None:
    ending, reason = decide(trial(None, odd), family="unix")
    assert ending == "inconclusive"
    assert "contradicts itself" in reason


def test_a_change_by_a_step_that_the_scenario_does_not_have_is_refused() -> None:
    peer = UNIX_HUP | {"poll_added": [[2, ["HUP"]]]}
    with pytest.raises(ReplyError, match="tells of a step that unix-close does not have"):
        decode(plan(UNIX), line(reply(saw("unix-close", trial(None, peer), family="unix"))))
    for wrong in ([[64, ["HUP"]]], [[-1, []]], [[0, ["HUP"] * 17]], [[0, []]] * 65):
        with pytest.raises(ReplyError, match="not what the probe sends"):
            decode(
                plan(UNIX),
                line(reply(saw("unix-close", trial(None, UNIX_HUP | {"poll_added": wrong})))),
            )


def test_trials_that_disagree_are_inconclusive_with_the_odd_one_as_evidence() -> None:
    got = decode(
        plan(UNREAD),
        line(reply(saw("unread-close", {**RESET, "count": 2}, {**FINISHED, "count": 1}))),
    )
    seen = got.observations[0]
    assert (seen.ending, seen.endings, seen.trials) == ("inconclusive", {"FIN": 1, "RST": 2}, 3)
    assert "RST ×2, FIN ×1" in seen.reason
    assert seen.evidence.wire is not None
    assert seen.evidence.wire[-1].flags == "F."


def test_the_reason_says_that_fewer_trials_ran_than_planned() -> None:
    seen = decode(
        plan(UNREAD), line(reply(saw("unread-close", {**RESET, "count": 1})))
    ).observations[0]
    assert (seen.ending, seen.reason) == ("RST", "1 of 3 trials ran")


def test_a_scenario_without_an_answer_is_inconclusive_rather_than_missing() -> None:
    got = decode(plan(UNREAD, DRAINED), line(reply(saw("drained-close", FINISHED))))
    assert {o.scenario: o.ending for o in got.observations} == {
        "unread-close": "inconclusive",
        "drained-close": "FIN",
    }


def test_a_scenario_that_a_host_cannot_run_is_not_run_and_one_that_failed_is_inconclusive() -> None:
    drained = saw("drained-close", FINISHED)
    lacks = decode(
        plan(UNREAD, DRAINED), line(reply(drained, saw("unread-close", not_run="no MPTCP")))
    )
    fails = decode(
        plan(UNREAD, DRAINED),
        line(reply(drained, saw("unread-close", not_run="time ran out", failed=True))),
    )
    assert [o.ending for o in lacks.observations] == ["not run", "FIN"]
    assert [o.ending for o in fails.observations] == ["inconclusive", "FIN"]
    assert fails.observations[0].reason == "time ran out"
    assert fails.void == ""


def test_a_host_on_which_nothing_ran_is_not_audited() -> None:
    for observations in ([], [saw("unread-close", not_run="time ran out", failed=True)]):
        with pytest.raises(ReplyError, match="no scenario ran") as caught:
            decode(plan(UNREAD, DRAINED), line(reply(*observations)))
        assert caught.value.stage == "execute"


def test_end_of_file_by_the_peers_own_shutdown_is_not_a_fin() -> None:
    for state in (1, 4, 5):
        own = {"state": state, "poll": ["IN", "OUT", "RDHUP"], "recv": ["0"], "so_error": "0"}
        assert decide(trial(None, own, {})) == ("nothing", "")
        assert decide(trial(wired(), own, {})) == ("nothing", "")


def test_a_send_after_the_peers_own_half_close_is_no_evidence_of_a_reset() -> None:
    failed = {
        "state": 6,
        "poll": ["IN", "OUT", "RDHUP", "HUP"],
        "recv": ["send: EPIPE", "0"],
        "so_error": "0",
    }
    shut = (
        parse_step("peer half-closes"),
        parse_step("closer closes"),
        parse_step("peer sends 1 byte"),
    )
    assert decide(trial(wired("F."), failed, {}), steps=shut) == ("FIN", "")
    assert (
        decide(trial(wired("F.", "R"), {**failed, "state": 7}, {"OutRsts": 1}))[0]
        == "FIN, then RST"
    )


def test_a_capture_without_the_beginning_is_no_witness() -> None:
    assert decide(trial([], None, {}))[0] == "inconclusive"
    assert decide(trial([[5, "peer", "S", 0, 0, 0, 0, ""]], SAW_RST, None)) == ("RST", "")


def test_a_note_says_that_counters_could_not_be_read() -> None:
    got = decode(plan(UNREAD), line(reply(saw("unread-close", {**RESET, "kernel": None}))))
    assert any("counters could not be read" in note for note in got.notes)


@pytest.mark.parametrize(
    "others",
    [{"TCPAbortFailed": 1}, {"TCPAbortFailed": 1, "TCPAbortOnClose": 1}, {"TCPAbortFailed": 3}],
)
def test_in_the_hosts_namespace_a_failed_reset_of_others_does_not_change_a_fin(
    others: dict[str, int],
) -> None:
    assert decide(trial(wired("F."), SAW_FIN, others), isolation="host") == ("FIN", "")


def test_in_the_hosts_namespace_a_failed_reset_counts_only_if_the_counters_fit_one() -> None:
    ours = {"TCPAbortOnClose": 1, "TCPAbortFailed": 1, "OutRsts": 1}
    assert decide(trial(wired(), SAW_NOTHING, ours), isolation="host")[0] == "sent, not delivered"
    assert decide(trial(wired(), SAW_NOTHING, {**ours, "TCPAbortFailed": 4}), isolation="host") == (
        "nothing",
        "",
    )


# ---- back: controls


ZERO = scenario("zero-linger-close", "RST", families=("ipv4", "ipv6"))
UNREAD_6 = scenario("unread-close", "RST", control="drained-close", families=("ipv4", "ipv6"))
DRAINED_6 = scenario("drained-close", "FIN", families=("ipv4", "ipv6"))
OTHER = scenario("other-close", "RST", control="other-drained-close")
OTHER_DRAINED = scenario("other-drained-close", "FIN")
UNIX = scenario("unix-close", "RST", control="unix-drained-close", families=("unix",))
UNIX_DRAINED = scenario("unix-drained-close", "FIN", families=("unix",))
UNTOLD = trial(None, None, {}, wire_note="no right")
UNIX_RESET = trial(None, {**SAW_RST, "state": None}, None)
UNIX_FINISHED = trial(None, {**SAW_FIN, "state": None}, None)


def endings(got: Audited) -> dict[str, str]:
    return {f"{o.scenario}/{o.family}": o.ending for o in got.observations}


def reason(got: Audited, name: str) -> str:
    return next(o.reason for o in got.observations if f"{o.scenario}/{o.family}" == name)


def test_a_control_that_ends_the_wrong_way_voids_only_its_scenarios_over_its_family() -> None:
    got = decode(
        plan(ZERO, UNREAD_6, DRAINED_6, OTHER, OTHER_DRAINED),
        line(
            reply(
                *(saw("zero-linger-close", RESET, family=family) for family in ("ipv4", "ipv6")),
                *(saw("unread-close", RESET, family=family) for family in ("ipv4", "ipv6")),
                saw("drained-close", RESET),
                saw("drained-close", FINISHED, family="ipv6"),
                saw("other-close", RESET),
                saw("other-drained-close", FINISHED),
            )
        ),
    )
    assert got.void == ""
    assert endings(got) == {
        "zero-linger-close/ipv4": "RST",
        "zero-linger-close/ipv6": "RST",
        "unread-close/ipv4": "inconclusive",
        "unread-close/ipv6": "RST",
        "drained-close/ipv4": "RST",
        "drained-close/ipv6": "FIN",
        "other-close/ipv4": "RST",
        "other-drained-close/ipv4": "FIN",
    }
    assert got.observations[2].endings == {"RST": 3}
    words = "void: its control drained-close over ipv4 ended RST where it must end FIN"
    assert reason(got, "unread-close/ipv4") == words


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ({"trials": [UNTOLD]}, "its control drained-close was inconclusive: no witness"),
        (
            {"trials": [], "not_run": "IPv4 is off"},
            "its control drained-close was not run: IPv4 is off",
        ),
        (
            {"trials": [], "not_run": "time ran out", "failed": True},
            "its control drained-close was not run: time ran",
        ),
        (
            {"trials": [{**RESET, "count": 1}, {**FINISHED, "count": 2}]},
            "was inconclusive: trials disagree",
        ),
    ],
)
def test_a_control_without_a_verdict_voids_the_scenarios_that_name_it(
    control: Any, words: str
) -> None:
    got = decode(
        plan(UNREAD, DRAINED, OTHER, OTHER_DRAINED),
        line(
            reply(
                saw("unread-close", RESET),
                {"scenario": "drained-close", "family": "ipv4", **control},
                saw("other-close", RESET),
                saw("other-drained-close", FINISHED),
            )
        ),
    )
    assert got.void == ""
    assert (endings(got)["unread-close/ipv4"], endings(got)["other-close/ipv4"]) == (
        "inconclusive",
        "RST",
    )
    assert words in reason(got, "unread-close/ipv4")


def test_a_control_over_af_unix_voids_no_segments() -> None:
    for control in (UNIX_RESET, trial(None, None, None, wire_note="no right")):
        got = decode(
            plan(UNREAD, DRAINED, UNIX, UNIX_DRAINED),
            line(
                reply(
                    saw("unread-close", RESET),
                    saw("drained-close", FINISHED),
                    saw("unix-close", UNIX_RESET, family="unix"),
                    saw("unix-drained-close", control, family="unix"),
                )
            ),
        )
        assert got.void == ""
        assert (endings(got)["unread-close/ipv4"], endings(got)["unix-close/unix"]) == (
            "RST",
            "inconclusive",
        )


def test_a_positive_control_over_af_unix_voids_af_unix_alone() -> None:
    positive = scenario("unix-zero-close", "RST", families=("unix",))
    got = decode(
        plan(UNREAD, DRAINED, positive, UNIX_DRAINED),
        line(
            reply(
                saw("unread-close", RESET),
                saw("drained-close", FINISHED),
                saw("unix-zero-close", UNIX_FINISHED, family="unix"),
                saw("unix-drained-close", UNIX_FINISHED, family="unix"),
            )
        ),
    )
    assert got.void == ""
    assert endings(got)["unread-close/ipv4"] == "RST"
    assert (
        reason(got, "unix-drained-close/unix") == "void: control unix-zero-close over unix failed"
    )


def test_the_reason_of_a_void_host_is_short_enough_to_be_read_back() -> None:
    many = [scenario(f"c{i}", "RST") for i in range(200)]
    failed = [
        saw(s.name, {**FINISHED, "peer": SAW_BOTH, "wire": None, "kernel": None}) for s in many
    ]
    got = decode(plan(*many), line(reply(*failed)))
    assert "and 197 more controls" in got.void
    assert msgspec.json.decode(msgspec.json.encode(got), type=Audited) == got


def test_a_failed_positive_control_voids_the_host_and_keeps_the_observed_endings() -> None:
    linger = scenario("zero-linger-close", "RST")
    assert linger.is_positive_control
    got = decode(
        plan(linger, UNREAD, DRAINED, UNIX_DRAINED),
        line(
            reply(
                saw("zero-linger-close", FINISHED),
                saw("unread-close", RESET),
                saw("drained-close", FINISHED),
                saw("unix-drained-close", UNIX_FINISHED, family="unix"),
            )
        ),
    )
    assert "zero-linger-close over ipv4 ended FIN where it must end RST" in got.void
    assert set(endings(got).values()) == {"inconclusive"}
    assert got.observations[1].endings == {"RST": 3}
    assert got.observations[1].reason == "void: control zero-linger-close over ipv4 failed"


@pytest.mark.parametrize(
    "control", [{"trials": [UNTOLD]}, {"trials": [], "not_run": "no SO_LINGER here"}]
)
def test_a_positive_control_without_a_verdict_leaves_a_note_on_the_host(
    control: Any,
) -> None:
    got = decode(
        plan(scenario("zero-linger-close", "RST"), UNREAD, DRAINED),
        line(
            reply(
                {"scenario": "zero-linger-close", "family": "ipv4", **control},
                saw("unread-close", RESET),
                saw("drained-close", FINISHED),
            )
        ),
    )
    assert got.void == ""
    assert (endings(got)["unread-close/ipv4"], endings(got)["drained-close/ipv4"]) == ("RST", "FIN")
    assert any("the positive control zero-linger-close over ipv4" in note for note in got.notes)


def test_over_mptcp_a_data_fin_is_the_fin() -> None:
    wire_ = [*HANDSHAKE, [100, "closer", ".", 1, 6, 0, 0, "DATA_FIN"]]
    steps = (parse_step("peer connects over MPTCP"), parse_step("closer closes"))
    assert decide(trial(wire_, {**SAW_FIN, "state": 1}, {}), steps=steps) == ("FIN", "")


def test_an_unmet_expectation_of_a_scenario_that_is_not_a_control_voids_nothing() -> None:
    got = decode(
        plan(UNREAD, DRAINED),
        line(reply(saw("unread-close", FINISHED), saw("drained-close", FINISHED))),
    )
    assert got.void == ""
    assert got.observations[0].ending == "FIN"


def test_without_its_control_a_verdict_is_inconclusive() -> None:
    got = decode(
        plan(UNREAD, DRAINED),
        line(reply(saw("unread-close", RESET), saw("drained-close", not_run="IPv4 is off"))),
    )
    assert got.observations[0].ending == "inconclusive"
    assert "its control drained-close was not run: IPv4 is off" in got.observations[0].reason


# ---- the depth of a reply


json_values = st.recursive(
    st.sampled_from([1, None, "a", "[{", '\\"[', "]}", '"""', "\\", "\t]", "\u2028{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["k", '"[', "\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(value=json_values, more=st.integers(0, 14), ascii_only=st.booleans())
def test_the_depth_of_any_json_is_measured_outside_of_its_strings(
    value: Any, more: int, ascii_only: bool
) -> None:
    for level in range(more):
        value = [value] if level % 2 else {"x": value}
    line = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert protocol._nests_too_deep(line) is (depth_of(value) > protocol.MAX_DEPTH)
