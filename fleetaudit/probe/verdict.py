"""From a typed reply to verdicts: the ending of every trial, and what the controls make of them.
Pure.

Three witnesses speak of an ending, and no two of them may contradict each other:

- The wire decides if it was captured: the closer's own FIN and RST (over MPTCP DATA_FIN for FIN,
  RFC 8684 3.3.3).
- The peer's socket shows what arrived. Without a capture it decides. What it shows less than the
  wire was sent and not delivered. tcp_reset() (net/ipv4/tcp_input.c) sets ECONNRESET, in CLOSE_WAIT
  EPIPE: then a FIN had come first.
- Over AF_UNIX the peer's socket is the only witness, and has a function of its own: `_unix_ending`.
- The counters count for both sides: tcp_send_active_reset() and tcp_v4_send_reset() each count
  OutRsts, tcp_close() TCPAbortOnClose. In a namespace of their own they must be what both sides
  sent by the wire.

An ending must be final: that nothing more can come is decided on the host, where the kernel can be
asked (probe/remote/trial.py, "When an ending is final"). If it cannot, the trial says what is
outstanding, and a FIN, or nothing, is "inconclusive: more may come". So is any ending whose
witnesses disagree; the disagreement is spelled out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Literal

import msgspec

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    NO_CAPTURE,
    Audited,
    Ending,
    Evidence,
    Family,
    HostPlan,
    Observation,
    PeerWitness,
    Scenario,
    Segment,
    Step,
)

from .protocol import (
    RawObservation,
    RawTrial,
    Reply,
    decode_reply,
)

NO_COUNTERS = "the kernel's counters could not be read: two witnesses at most speak for a verdict"


def result_from_output(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Audited:
    """Returns what a host's output says of it, with a verdict on every scenario that was asked;
    raises `ReplyError`.

    The arguments are those of `wire.decode`.
    """
    return result_from_reply(plan, decode_reply(plan, stdout, stderr, exit_status, cut))


def result_from_reply(plan: HostPlan, reply: Reply) -> Audited:
    """Returns the host as audited: a verdict on each scenario asked, in the order asked; raises
    `ReplyError` where the reply answers what was not asked.
    """
    asked = {(s.name, family): s for s in plan.scenarios for family in s.families}
    given = dict[tuple[str, Family], RawObservation]()
    for raw in reply.observations:
        key = (raw.scenario, raw.family)
        if key not in asked or key in given:
            what = "two answers to" if key in given else "an answer to"
            raise ReplyError(
                f"the reply has {what} {raw.scenario} over {raw.family}; expected at most one"
            )
        given[key] = raw
    if not plan.trials:
        seen = {key: _could_run(key, given.get(key)) for key in asked}
        return _host(plan, reply, seen)
    seen = {
        key: _observation(key[1], s, given.get(key), s.trials or plan.trials, reply.isolation)
        for key, s in asked.items()
    }
    if asked and not any(o.trials for o in seen.values()):
        raise _ran_nothing(plan, reply, next(iter(seen.values())))
    seen, void, doubts = _beside_controls(plan, seen)
    deaf = any(
        t.kernel is None
        for o in reply.observations
        for t in o.trials
        if o.family != "unix" and not t.error
    )
    return _host(plan, reply, seen, void, (NO_COUNTERS if deaf else "", *doubts))


def _could_run(key: tuple[str, Family], raw: RawObservation | None) -> Observation:
    """Returns a scenario of which no trial was asked: its reason says why it would not run, ""
    where it would.
    """
    reason = raw.not_run if raw else "the probe did not say whether it would run"
    return Observation(scenario=key[0], family=key[1], ending="not run", trials=0, reason=reason)


def _host(
    plan: HostPlan, reply: Reply, seen: Seen, void: str = "", doubts: Sequence[str] = ()
) -> Audited:
    unseen = reply.capture_note and f"{NO_CAPTURE}: {reply.capture_note}"[:4096]
    return Audited(
        name=plan.name,
        groups=plan.groups,
        kernel=reply.kernel,
        os=reply.os,
        python=reply.python,
        interpreter=reply.interpreter,
        machine_id=reply.machine_id,
        isolation=reply.isolation,
        notes=tuple(filter(None, (reply.isolation_note, unseen, *reply.notes, *doubts))),
        void=void,
        observations=tuple(seen.values()),
        sysctls=dict(sorted(reply.sysctls.items())),
        sysctl_places=_places(reply),
        sysctls_writable=reply.sysctls_writable,
        exposure=reply.exposure,
        elapsed_s=reply.elapsed_s,
    )


def _places(reply: Reply) -> dict[str, tuple[str, ...]] | None:
    """Returns where the sysctls of this reply are set; leaves out all other sysctls."""
    if reply.sysctl_places is None:
        return None
    return {
        key: places for key, places in sorted(reply.sysctl_places.items()) if key in reply.sysctls
    }


def _observation(
    family: Family,
    scenario: Scenario,
    raw: RawObservation | None,
    wanted: int,
    isolation: Isolation,
) -> Observation:
    if raw is None or raw.not_run or not raw.trials:
        lacks = raw is not None and raw.not_run and not raw.failed
        return Observation(
            scenario=scenario.name,
            family=family,
            ending=(
                "not run" if lacks else "inconclusive"
            ),  # the host could, and yet nothing was told
            trials=0,
            reason=(raw.not_run if raw else "") or "the probe did not say why it was not run",
        )
    for trial in raw.trials:
        _check_steps(trial, scenario, family)
    verdicts = [trial_verdict(trial, scenario.steps, family, isolation) for trial in raw.trials]
    endings = Counter[str]()
    for trial, (ending, _) in zip(raw.trials, verdicts, strict=True):
        endings[ending] += trial.count
    ran = sum(endings.values())
    if ran > wanted:
        raise ReplyError(f"the reply has {ran} trials of {scenario.name}, {wanted} were asked")
    at = next((at for at, (_, why) in enumerate(verdicts) if why), 0)
    shown, (ending, reason) = raw.trials[at], verdicts[at]
    if len(endings) > 1:  # show the trial that differs from the most
        usual = endings.most_common(1)[0][0]
        shown = next(t for t, (e, _) in zip(raw.trials, verdicts, strict=True) if e != usual)
        why = "; ".join(dict.fromkeys(r for _, r in verdicts if r))
        ending, reason = (
            "inconclusive",
            f"trials disagree: {_counts(endings)}" + (f" ({why})" if why else ""),
        )
    elif ran < wanted:
        reason = "; ".join(filter(None, (reason, f"{ran} of {wanted} trials ran")))
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=ending,
        trials=ran,
        endings=dict(sorted(endings.items())),
        evidence=_evidence(shown),
        reason=reason,
    )


def _check_steps(trial: RawTrial, scenario: Scenario, family: Family) -> None:
    """Raises `ReplyError` if a trial has steps that the scenario does not have, or in another
    order.
    """
    if trial.peer and any(index >= len(scenario.steps) for index, _ in trial.peer.poll_added):
        raise ReplyError(
            f"the reply tells of a step that {scenario.name} does not have, over {family}"
        )
    began = [index for _, index in trial.steps]
    in_order = began == [*range(min(len(began), len(scenario.steps)))]
    if not in_order or (trial.failed_step or 0) >= len(scenario.steps):
        raise ReplyError(
            f"the reply does not number the steps of {scenario.name} over {family} from 0 to"
            f" {len(scenario.steps) - 1}"
        )


def _counts(endings: Counter[str]) -> str:
    return ", ".join(
        f"{ending} \u00d7{n}"
        for ending, n in sorted(endings.items(), key=lambda kv: (-kv[1], kv[0]))
    )


def _evidence(trial: RawTrial) -> Evidence:
    lost = (
        f"the capture is no witness: {trial.wire_lost} packets found no room in it"
        if trial.wire_lost
        else ""
    )
    return Evidence(
        wire=trial.wire,
        connection=trial.connection,
        wire_note="; ".join(filter(None, (lost, trial.wire_note)))[:4096],
        wire_omitted=trial.wire_omitted,
        peer=trial.peer,
        kernel=trial.kernel,
        steps=trial.steps,
        queue=trial.queue,
        bytes=trial.bytes,
    )


Isolation = Literal["namespace", "host"]

_LESS_THAN = {
    ("RST", "nothing"),
    ("FIN", "nothing"),
    ("FIN, then RST", "FIN"),
    ("FIN, then RST", "nothing"),
}
"""What the wire and the peer say if something left and did not arrive."""


def trial_verdict(
    trial: RawTrial, steps: Sequence[Step], family: Family, isolation: Isolation
) -> tuple[Ending, str]:
    """Returns the ending of one trial, and why if it is not simply what was seen."""
    if trial.error:
        return "inconclusive", _error(trial, steps)
    if family == "unix":
        return _verdict_over_unix(trial.peer, steps)
    wire = _wire_ending(trial)
    peer = (
        _peer_ending(trial.peer, steps) if trial.peer and not _peer_resets(trial, steps) else None
    )
    if wire and peer and _is_forged(steps) and ("RST" in wire or "RST" not in peer):
        # its kernel drops whatever acknowledges what it never sent, so it hears less than was sent
        peer = None
    if (wire, peer) == ("FIN, then RST", "FIN") and trial.peer and trial.peer.state == _CLOSE:
        peer = (
            None  # both FINs were acknowledged: a socket whose connection is over hears of no RST
        )
    if wire is None and peer is None:
        gone = (
            "the peer was gone"
            if trial.peer is None
            else f"the peer's socket said {_words(trial.peer)}"
        )
        return (
            "inconclusive",
            f"no witness: {gone}, and {_evidence(trial).wire_note or 'the wire was not read'}",
        )
    if _made_and_dropped(trial, wire, peer, isolation):
        reason = (
            "the kernel made an RST and could not send it (TCPAbortFailed); is a firewall in"
            " OUTPUT?"
        )
        return "sent, not delivered", reason
    return _together(trial, wire, peer, steps, isolation)


def _together(
    trial: RawTrial,
    wire: Ending | None,
    peer: Ending | None,
    steps: Sequence[Step],
    isolation: Isolation,
) -> tuple[Ending, str]:
    """Returns what the witnesses say together: what left and did not arrive, what may still come,
    what they agree on.
    """
    said = " and ".join(
        f"the {name} says {says}" for name, says in (("wire", wire), ("peer", peer)) if says
    )
    differ = wire is not None and peer is not None and wire != peer
    if differ and trial.outstanding and _over_mptcp(steps):
        return "inconclusive", f"more may come: {trial.outstanding} ({said})"
    if differ and (wire, peer) in _LESS_THAN:
        return "sent, not delivered", f"{said}: it left and did not arrive; {_what_drops(trial)}"
    if differ:
        return "inconclusive", f"the witnesses disagree: {said} ({_words(trial.peer)})"
    ending = wire or peer or "inconclusive"
    if trial.outstanding and "RST" not in ending:
        return "inconclusive", f"more may come: {trial.outstanding} ({said})"
    if disagreement := _kernel_disagrees(trial, steps, ending, isolation):
        return "inconclusive", f"the witnesses disagree: {said}, but {disagreement}"
    return ending, _window_left(trial, steps)


def _what_drops(trial: RawTrial) -> str:
    """Returns what may have dropped a segment on its way."""
    wrong = (trial.kernel or {}).get("InCsumErrors", 0)
    return (
        f"{wrong} segments had a wrong checksum (InCsumErrors)"
        if wrong
        else "is a firewall in INPUT?"
    )


def _error(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns why a trial failed, after the step as the playbook has it."""
    at = trial.failed_step
    return trial.error if at is None else f"step {at + 1} “{steps[at].text}”: {trial.error}"


def _window_left(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns a sentence if a sender was blocked before the receiver's window was zero, else ""."""
    for step in steps:
        receiver = "peer" if step.call[0] == "closer" else "closer"
        left = trial.queue.get(f"{receiver} window")
        if step.call[1] == "send-until-blocked" and left:
            return (
                f"“{step.text}”: the window of the {receiver} did not reach zero, {left} bytes of"
                " it are left"
            )
    return ""


def _peer_resets(trial: RawTrial, steps: Sequence[Step]) -> bool:
    """Returns whether the peer resets the connection itself: the error at its own socket tells
    nothing of the closer.

    It does so with data for which it has shut both ways (tcp_rcv_state_process(), FIN_WAIT1 and
    FIN_WAIT2).
    """
    wire = _whole_wire(trial)
    if wire is not None:
        return any(segment.sender == "peer" and "R" in segment.flags for segment in wire)
    shut = set[str | int]()
    for actor, verb, *words in (step.call for step in steps):
        if actor == "peer" and verb == "shutdown":
            shut |= {"read", "write"} if words[0] == "both" else {words[0]}
        if actor == "closer" and str(verb).startswith("send") and shut == {"read", "write"}:
            return True
    return False


def _whole_wire(trial: RawTrial) -> tuple[Segment, ...] | None:
    """Returns the trace if the capture saw every segment, else None."""
    return None if trial.wire_lost else trial.wire


def _is_forged(steps: Sequence[Step]) -> bool:
    """Returns whether a raw socket sent in the peer's name what its kernel never sent: a FIN, or
    data behind a gap.

    Data sent again is no such case: what acknowledges it acknowledges nothing new.
    """
    return any(step.call[1] in ("resend-fin", "send-out-of-order") for step in steps)


def _made_and_dropped(
    trial: RawTrial, wire: Ending | None, peer: Ending | None, isolation: Isolation
) -> bool:
    """Returns whether the counters tell of an RST that was made, and that nobody saw leave or
    arrive.
    """
    counters = trial.kernel or {}
    failed = counters.get("TCPAbortFailed", 0)
    if isolation == "namespace":
        return bool(failed) and {wire, peer} <= {None, "nothing", "FIN"}
    # In the host's namespace others' RSTs count too: only where nothing was heard, and the counters
    # fit one of ours.
    aborts = sum(n for name, n in counters.items() if name.startswith("TCPAbortOn"))
    return failed == aborts == 1 and {wire, peer} <= {None, "nothing"}


def _wire_ending(trial: RawTrial) -> Ending | None:
    """Returns what the closer's own segments were, or None where the capture cannot tell."""
    closers = [segment for segment in _whole_wire(trial) or () if segment.sender == "closer"]
    if not any("S" in s.flags for s in closers):
        return None  # a capture that missed the beginning may have missed the end
    # RFC 8684, 3.3.3: DATA_FIN is to an MPTCP connection what FIN is to TCP; a subflow's own may
    # come much later.
    fin = next(
        (i for i, s in enumerate(closers) if "F" in s.flags or "DATA_FIN" in s.options), None
    )
    rst = next((i for i, s in enumerate(closers) if "R" in s.flags), None)
    if rst is None:
        return "nothing" if fin is None else "FIN"
    return "RST" if fin is None or rst < fin else "FIN, then RST"


def _peer_ending(peer: PeerWitness, steps: Sequence[Step]) -> Ending | None:
    """Returns what the peer's socket shows, or None where it shows neither an end nor an open
    connection.
    """
    failed = {
        word.removeprefix("send: ") for word in (*peer.recv, peer.so_error) if word != "send: EPIPE"
    }
    shut = any(step.call[:2] == ("peer", "shutdown") and step.call[2] != "read" for step in steps)
    if (
        "send: EPIPE" in peer.recv and not shut
    ):  # where the peer shut writing itself, a send must fail so
        failed.add("EPIPE")
    if (
        {"ECONNRESET", "EPIPE"} & failed
        and peer.state in _OPEN
        and not {"ERR", "HUP"} & {*peer.poll}
    ):
        # poll came first, and knew of no reset: this one answers to the window that recv opened
        return None
    if peer.so_error == "ECONNRESET" and "0" in peer.recv and "ECONNRESET" not in peer.recv:
        # tcp_fin() set SOCK_DONE, by which recv tells the end of file before an error
        return "FIN, then RST"
    if "ECONNRESET" in failed:
        return "RST"
    if (
        "EPIPE" in failed
    ):  # tcp_reset() in CLOSE_WAIT: the FIN had come first; recv says 0 and yet it was reset
        return "FIN, then RST"
    if "ERR" in peer.poll:
        return None
    if peer.state in _NO_FIN_CAME and not _over_mptcp(steps):
        return "nothing"  # an end of file that the peer made itself, by shutting reading
    if "0" in peer.recv:
        return "FIN"
    if "EAGAIN" in failed and not {"HUP", "RDHUP"} & set(peer.poll):
        return "nothing"
    return None


_NO_FIN_CAME = (1, 4, 5)
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2 (include/net/tcp_states.h): no FIN of the other side was taken
in.
"""
_OPEN = (*_NO_FIN_CAME, 8)
"""The same and CLOSE_WAIT: not reset."""
_CLOSE = 7
"""TCP_CLOSE, which also stands for TIME_WAIT: without an error the connection ended with both FINs."""


def _over_mptcp(steps: Sequence[Step]) -> bool:
    return any(step.call[1:3] == ("connect", "mptcp") for step in steps)


def _words(peer: PeerWitness | None) -> str:
    if peer is None:
        return "the peer is gone"
    poll = "|".join(peer.poll) or "none"
    return f"state {peer.state}, poll {poll}, recv {', '.join(peer.recv)}, SO_ERROR {peer.so_error}"


def _kernel_disagrees(
    trial: RawTrial, steps: Sequence[Step], ending: Ending, isolation: Isolation
) -> str:
    """Returns in words how the counters contradict `ending`, or "".

    They count what both sides did. In a namespace of its own the probe is alone, so they must
    match; in the host's, other traffic moves them too, and a counter only has to move by at least
    what the ending needs.
    """
    if trial.kernel is None or _over_mptcp(steps):  # MPTCP: other paths, other counters
        return ""
    resets = trial.kernel.get("OutRsts", 0)
    if "RST" in ending and not resets:
        return "OutRsts did not move"
    if isolation == "host":
        return ""
    aborts = trial.kernel.get("TCPAbortOnClose", 0)
    wire = _whole_wire(trial)
    if wire is None:  # the peer spoke, so its socket is open: only the closer closed one
        return f"TCPAbortOnClose moved by {aborts}" if aborts and "RST" not in ending else ""
    sent = {
        side: sum("R" in s.flags for s in wire if s.sender == side) for side in ("closer", "peer")
    }
    seen = f"the wire has {sent['closer']} RST of the closer and {sent['peer']} of the peer"
    if resets != sum(sent.values()):
        return f"OutRsts moved by {resets}, and {seen}"
    # Each count of tcp_close() is one RST, or one that could not be made.
    if aborts > sum(sent.values()) + trial.kernel.get("TCPAbortFailed", 0):
        return f"TCPAbortOnClose moved by {aborts}, and {seen}"
    return ""


# ---- AF_UNIX
# -------------------------------------------------------------------------------------------------------


def _verdict_over_unix(peer: PeerWitness | None, steps: Sequence[Step]) -> tuple[Ending, str]:
    """Returns the ending of a trial over AF_UNIX, and why if it is inconclusive: there the peer
    alone is a witness.
    """
    if peer is None:
        return "inconclusive", "no witness: AF_UNIX has no segments, and the peer was gone"
    ending = _unix_ending(peer, steps)
    if ending is None:
        return "inconclusive", f"the peer's socket contradicts itself: {_words(peer)}"
    return ending, ""


def _unix_ending(peer: PeerWitness, steps: Sequence[Step]) -> Ending | None:
    """Returns what the closer's steps changed at the peer, or None where the peer's answers
    contradict each other.

    net/unix/af_unix.c: unix_release_sock() shuts the peer's socket both ways, and sets ECONNRESET
    where the closer's receive queue is not empty. unix_shutdown() shuts the peer's reading where
    the closer shuts its writing (RDHUP), and the peer's writing where the closer shuts its reading:
    alone that is no end of what the peer reads. A failed send is no evidence: EPIPE only repeats
    what is shut. docs/scenarios.md has the table.
    """
    reset = "ECONNRESET" in (peer.so_error, *(word.removeprefix("send: ") for word in peer.recv))
    changes = [
        {*events}
        for index, events in peer.poll_added
        if steps[index].call[1:] != ("shutdown", "read")
    ]
    fin = any("ERR" not in change and change & {"RDHUP", "HUP"} for change in changes)
    if not _peer_shut_reading(steps):  # else it reads end of file whatever the closer does
        fin = fin or "0" in takewhile(lambda word: not word.endswith("ECONNRESET"), peer.recv)
    errors = "ERR" in peer.poll or any("ERR" in change for change in changes)
    if (errors and not reset) or ((fin or reset) and peer.recv[-1:] == ("EAGAIN",)):
        return None
    if reset:
        return "FIN, then RST" if fin else "RST"
    return "FIN" if fin else "nothing"


def _peer_shut_reading(steps: Sequence[Step]) -> bool:
    return any(step.call[:2] == ("peer", "shutdown") and step.call[2] != "write" for step in steps)


# ---- back: the controls
# --------------------------------------------------------------------------------------------

Seen = Mapping[tuple[str, Family], Observation]


def _beside_controls(
    plan: HostPlan, seen: Seen
) -> tuple[dict[tuple[str, Family], Observation], str, list[str]]:
    """Returns the observations after their controls are applied, why the host is void, and notes.

    A control counts for the scenarios that name it, over its own family only. The positive control
    counts for the whole host: if it fails, a RST would not have been seen. Over AF_UNIX it counts
    for AF_UNIX only.
    """
    asked = {s.name: s for s in plan.scenarios}
    positive = [key for key in seen if asked[key[0]].is_positive_control]
    failed = [key for key in positive if _failed(seen[key], asked[key[0]])]
    of_host = [key for key in failed if key[1] != "unix"]

    def believed(key: tuple[str, Family]) -> Observation:
        culprit = next(iter(of_host or (failed if key[1] == "unix" else ())), None)
        why = (
            f"void: control {' over '.join(culprit)} failed"
            if culprit
            else _why_not_believed(key, asked, seen)
        )
        return _doubted(seen[key], why) if why and seen[key].trials else seen[key]

    words = [_in_words(seen[key], asked[key[0]]) for key in of_host]
    void = "; ".join(words[:3] + ([f"and {len(words) - 3} more controls"] if words[3:] else []))
    notes = [note for key in positive if (note := _untold_note(key, seen))]
    return {key: believed(key) for key in seen}, void[:4096], notes


def _why_not_believed(key: tuple[str, Family], asked: Mapping[str, Scenario], seen: Seen) -> str:
    """Returns why the control of a scenario makes it inconclusive, "" if it does not or there is
    none.
    """
    control = seen.get((asked[key[0]].control or "", key[1]))
    if control is None:
        return ""
    must = asked[control.scenario]
    if _failed(control, must):
        return f"void: its {_in_words(control, must)}"
    return _not_told(f"its control {control.scenario}", control)


def _failed(control: Observation, must: Scenario) -> bool:
    """Returns whether a control ended in another way than it must. An inconclusive control has not
    failed.
    """
    return bool(must.expect) and control.ending not in (*must.expect, "inconclusive", "not run")


def _not_told(name: str, control: Observation) -> str:
    """Returns why a control has no verdict, "" if it has one."""
    if control.ending not in ("inconclusive", "not run"):
        return ""
    what = "was inconclusive" if control.trials else "was not run"
    return f"{name} {what}: {control.reason[:300]}"


def _untold_note(key: tuple[str, Family], seen: Seen) -> str:
    """Returns a note if the positive control has no verdict over a family over which other
    scenarios ran.
    """
    if not any(o.trials for (_, family), o in seen.items() if family == key[1]):
        return ""
    told = _not_told(f"the positive control {' over '.join(key)}", seen[key])
    return told and f"nothing shows that a RST would have been seen: {told}"


def _in_words(observation: Observation, control: Scenario) -> str:
    why = f" ({observation.reason[:300]})" if observation.reason else ""
    return (
        f"control {observation.scenario} over {observation.family} ended {observation.ending} "
        f"where it must end {' or '.join(control.expect)}{why}"
    )


def _doubted(observation: Observation, why: str) -> Observation:
    """Returns the observation as inconclusive; `endings` keeps what was seen."""
    reason = "; ".join(filter(None, (why, observation.reason)))
    return msgspec.structs.replace(observation, ending="inconclusive", reason=reason)


def _ran_nothing(plan: HostPlan, reply: Reply, first: Observation) -> ReplyError:
    """Returns the error for a host on which not one scenario ran: it was reached, and not audited."""
    hint = "set become: true" if "namespace" in first.reason else ""
    if plan.isolation == "namespace" and reply.isolation == "host":
        hint = "set become: true, or isolation: auto in the playbook"
    return ReplyError(
        f"no scenario ran: {first.reason}", hint=hint, stage="execute", kind="no scenario ran"
    )
