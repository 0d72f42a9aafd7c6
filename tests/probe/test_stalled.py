"""A host that stalls: processes stopped in the middle of a step, a starved CPU, a loopback that
loses packets.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import Ending
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from tests.support import probe_runs, timed_replies, timing
from tests.support.probe_runs import in_new_network, request, scenario
from tests.support.timed_replies import TimedReply

from .test_faults import plan

STOPS = 2
STOPPED_S = 1.3
"""Longer than the probe waits on a host that is not slow."""
STOPPING = f"""
import os, signal, sys
stops = [{STOPS}]
def stop(frame, event, _):
    caller = frame.f_back.f_code.co_name if frame.f_back else ""
    if event == "return" and stops[0] and caller == "FUNCTION":
        stops[0] -= 1
        os.kill(os.getpid(), signal.SIGSTOP)
sys.setprofile(stop)
"""
"""Lines before the program: it stops itself whenever a function that FUNCTION called returns."""


def is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def run_with_stops(call: dict[str, Any], function: str) -> tuple[TimedReply, int]:
    """Returns the reply of a probe that was stopped in `function`, and the number of stops."""
    process = probe_runs.start(call, before=STOPPING.replace("FUNCTION", function))
    stops = 0
    outputs = list[bytes]()

    def read() -> None:
        assert process.stdout is not None
        outputs.append(process.stdout.read())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        while process.poll() is None:
            if is_stopped(process.pid):
                stops += 1
                time.sleep(STOPPED_S)
                process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
    finally:
        probe_runs.kill(process)
        reader.join()
    return timed_replies.parse_reply(outputs[0]), stops


LARGE = (
    "peer sends 100 bytes; closer sends until blocked; closer half-closes; peer reads to the end;"
    " peer half-closes; closer reads to the end; closer closes"
)
BLOCKED = "closer sets SO_RCVBUF 4096; peer sends until blocked; closer reads all; closer closes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "steps", "ending"),
    [
        ("read_to_end", LARGE, "FIN"),
        ("splice", "peer sends 100000 bytes; closer splices 100000 bytes; closer closes", "FIN"),
        (
            "receive_exactly",
            "peer sends 100000 bytes; closer reads 100000 bytes; closer closes",
            "FIN",
        ),
        ("wait_for_arrival", "peer sends 5 bytes; closer closes", "RST"),
        ("is_complete", "peer sends 5 bytes; closer closes", "RST"),
        ("accept_from", "peer sends 5 bytes; closer closes", "RST"),
        ("comes_back", "peer sends 5 bytes; closer reads 5 bytes; closer closes", "FIN"),
        ("send_until_blocked", BLOCKED, "FIN, then RST"),
        ("find_outstanding", BLOCKED, "FIN, then RST"),
        ("wait_until_nothing_more", "closer sets TCP_LINGER2 -1; closer closes", "FIN, then RST"),
    ],
)
def test_a_probe_that_is_stopped_in_the_middle_of_a_step_loses_no_verdict(
    function: str, steps: str, ending: Ending
) -> None:
    reply, stops = run_with_stops(
        request(scenario("stopped", steps, families=("ipv4",), trials=2)), function
    )
    assert stops == STOPS
    trials = [trial for observation in reply.observations for trial in observation.trials]
    assert sum(trial.count for trial in trials) == 2
    parsed = [parse_step(line) for line in steps.split(";")]
    verdicts = {verdict.trial_verdict(trial, parsed, "ipv4", reply.isolation) for trial in trials}
    assert verdicts == {(ending, "")}


@pytest.mark.slow
def test_a_starved_probe_loses_no_verdict() -> None:
    """A probe of the lowest priority among busy loops on one CPU: each of its turns may be a second
    after the last.
    """
    probe_runs.need_program("taskset", "nice")
    asked = plan(
        "zero-linger-close",
        "drained-close",
        "large-response-close",
        "large-response-lingering-close",
    )
    cpu = max(os.sched_getaffinity(0))
    sent = protocol.make_request(asked, deadline_s=280).decode("ascii")
    with timing.load(6, cpu=cpu):
        printed = probe_runs.run_text(
            sent, seconds=900, within=["taskset", "-c", str(cpu), "nice", "-n", "19"]
        )
    seen = verdict.result_from_output(asked, printed)
    endings = {(o.scenario, o.family): o.ending for o in seen.observations}
    assert endings == {(s.name, f): s.expect[0] for s in asked.scenarios for f in s.families}, seen


# ---- parts of the program, called one by one


def result_of(code: str, *, within: tuple[str, ...] = ()) -> Any:
    """Returns what `code`, run after the program's text, prints as JSON."""
    text = f"{protocol.probe_text()}\nimport json\n{code}"
    return json.loads(probe_runs.run_text(text, within=within))


TRIES = """
tries = []
def fails(t, actor):
    tries.append(actor)
    if len(tries) in FAILED:
        TIMEOUT.record_delay(DELAY)
        raise TimedOut("nothing came")
VERBS["try-read"] = fails
lab = Laboratory(False, [])
steps = [("closer", "try-read"), ("closer", "close")]
found = observe(lab, {"name": "s", "steps": steps, "trials": 3}, "ipv4")
trials = [[t["count"], t.get("error", "")] for t in found["trials"]]
print(json.dumps([len(tries), trials, note_of_repeats(lab.repeated)]))
"""


def tries(failed: tuple[int, ...], delay: float = 0.5) -> tuple[int, list[tuple[int, str]], str]:
    count, trials, note = result_of(
        TRIES.replace("FAILED", repr(failed)).replace("DELAY", repr(delay))
    )
    return count, [tuple(trial) for trial in trials], note


def test_a_trial_that_timed_out_while_the_host_stalled_is_repeated_and_the_note_says_so() -> None:
    count, trials, note = tries((1, 4))
    assert count == 5
    assert [(n, error) for n, error in trials if error] == []
    assert sum(n for n, _ in trials) == 3
    step = "s over ipv4 (step 1: nothing came)"
    assert note == f"the host stalled, so 2 trials timed out and were repeated: {step}; {step}"


def test_repeats_are_bounded_and_the_last_failure_is_reported_with_the_stall() -> None:
    count, trials, _ = tries((1, 2, 3, 4))
    assert count == 5  # three trials, two repeats
    errors = [error for _, error in trials if error]
    assert errors == ["nothing came; the host stalled for 0.50 s meanwhile"], trials


def test_a_trial_that_timed_out_on_a_host_that_did_not_stall_is_not_repeated() -> None:
    count, trials, note = tries((1, 2), delay=0.0)
    failed = sum(n for n, error in trials if error == "nothing came")
    assert note or (count, failed) == (3, 2)  # this machine itself may stall


LATE = """
lab = Laboratory(False, [])
read, calls = VERBS["read-all"], []
def read_late(c, actor):
    read(c, actor)
    calls.append(actor)
    if len(calls) <= LATE:
        sleep(0.6)
        TIMEOUT.record_delay(0.3)
VERBS["read-all"] = read_late
found = observe(lab, {"name": "s", "steps": STEPS, "trials": 1}, "ipv4")
print(json.dumps([len(calls), [t.get("error", "") for t in found["trials"]], lab.repeated]))
"""


@pytest.mark.parametrize(("late", "error"), [(0, ""), (1, ""), (9, "more bytes came")])
def test_bytes_that_come_between_reading_all_and_closing_make_no_verdict(
    late: int, error: str
) -> None:
    """The peer sends again 0.2 s after its window was opened, so a reader that is stopped there
    has unread bytes after all.
    """
    steps = [list(parse_step(line).call) for line in BLOCKED.split(";")]
    code = LATE.replace("LATE", str(late)).replace("STEPS", repr(steps))
    count, errors, repeated = result_of(code)
    assert (count, len(repeated)) == (1 + min(late, 2), min(late, 2))
    assert [each[: len(error)] for each in errors] == [error]
    assert all("more bytes came after it had read all" in each for each in repeated)


TIMEOUTS = """
TIMEOUT.deadline = now() + LEFT
idle = TIMEOUT.seconds()
TIMEOUT.record_delay(DELAY)
print(json.dumps([idle, TIMEOUT.seconds(), TIMEOUT.stretched(0.05)]))
"""


@pytest.mark.parametrize(
    ("left", "delay", "timeouts"),
    [
        (160, 0.0, (1.0, 1.0, 0.05)),
        (160, 0.1, (1.0, 10.0, 0.4)),  # a hundred times the delay
        (160, 9.0, (1.0, 20.0, 0.625)),  # an eighth of what is left
        (4, 9.0, (1.0, 1.0, 0.05)),
        (1, 9.0, (0.5, 0.5, 0.05)),  # half of what is left where that is less than a second
    ],
)
def test_a_timeout_grows_with_the_hosts_delays_up_to_a_share_of_the_time_that_is_left(
    left: float, delay: float, timeouts: tuple[float, ...]
) -> None:
    found = result_of(TIMEOUTS.replace("LEFT", str(left)).replace("DELAY", str(delay)))
    assert found == pytest.approx(timeouts, rel=0.2)


def dropping_first(packets: str, size: int) -> tuple[str, ...]:
    """Returns a command that runs what follows where the first `size` bytes of such packets are
    lost on `lo`.
    """
    probe_runs.need_program("nft")
    rule = f"{packets} quota until {size} bytes drop"
    table = f"table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}"
    return tuple(in_new_network(f"nft '{table}'"))


FENCES = """
lab = Laboratory(False, [])
for _ in range(3):
    lab.fence.settle()
print(json.dumps([lab.fence.sock is not None, len(lab.fence.sent_at)]))
"""


@pytest.mark.slow
def test_a_fence_that_was_lost_once_is_tried_again_and_one_that_never_returns_is_given_up() -> None:
    assert result_of(FENCES, within=dropping_first("meta l4proto udp", 40)) == [True, 4]
    assert result_of(FENCES, within=dropping_first("meta l4proto udp", 1000000)) == [False, 4]


@pytest.mark.slow
def test_a_family_over_which_one_connection_failed_is_tried_again() -> None:
    within = dropping_first("tcp flags & (syn | ack) == syn", 70)  # one SYN
    call = request(scenario(*probe_runs.UNREAD, families=("ipv4",)), isolation="host")
    reply = probe_runs.run(call, within=within)
    assert [(o.not_run, sum(t.count for t in o.trials)) for o in reply.observations] == [("", 1)]


@pytest.mark.slow
def test_a_family_over_which_no_connection_is_made_is_given_up_after_some_scenarios() -> None:
    many = [scenario(f"s{i}", "closer closes", families=("ipv4",)) for i in range(40)]
    within = dropping_first("tcp flags & (syn | ack) == syn", 1000000)
    reply = probe_runs.run(request(*many, isolation="host", deadline=100), within=within)
    assert {o.not_run for o in reply.observations} == {
        "no connection over IPv4 loopback: timed out"
    }
