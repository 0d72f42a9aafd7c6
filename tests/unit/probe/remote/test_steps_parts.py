"""Parts of the steps: what is recorded of a recv, what scenarios need, and how long is waited."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleetaudit.probe.remote import errors, files, needs, options, scenario, sending, waiting
from fleetaudit.probe.remote.connection import Connection
from fleetaudit.probe.remote.finality import find_outstanding
from fleetaudit.probe.remote.receiving import (
    Arrival,
    record_received,
    record_refused_send,
    record_result,
)


def connection(*, ending: bool = True) -> Connection:
    laboratory: Any = None
    made = Connection(laboratory, "ipv4", [])
    made.ending = ending
    return made


def test_bytes_that_the_peer_receives_after_the_end_are_one_number() -> None:
    c = connection()
    for count in (5, 7, 0):
        record_received(c, "peer", count)
    record_result(c, "peer", "EAGAIN")
    record_received(c, "peer", 3)
    assert c.peer_results == ["12", "0", "EAGAIN", "3"]
    assert c.received == {"closer": 0, "peer": 15}


def test_results_that_repeat_are_kept_once_and_all_are_bounded() -> None:
    c = connection()
    for _ in range(3):
        record_result(c, "peer", "ECONNRESET")
    assert c.peer_results == ["ECONNRESET"]
    for number in range(100):
        record_result(c, "peer", f"E{number}")
    assert len(c.peer_results) == 15


@pytest.mark.parametrize(("side", "ending"), [("closer", True), ("peer", False)])
def test_only_the_peers_results_after_the_end_are_evidence(side: str, ending: bool) -> None:
    c = connection(ending=ending)
    record_received(c, side, 5)
    record_result(c, side, "ECONNRESET")
    assert c.peer_results == []
    assert c.received[side] == 5
    with pytest.raises(BrokenPipeError):
        record_refused_send(c, side, BrokenPipeError(errno.EPIPE, ""))


def test_a_send_of_the_peer_that_is_refused_after_the_end_is_evidence() -> None:
    c = connection()
    record_refused_send(c, "peer", BrokenPipeError(errno.EPIPE, ""))
    assert c.peer_results == ["send: EPIPE"]


def test_a_closed_peer_whose_state_cannot_be_read_may_still_send() -> None:
    c = connection()
    c.addresses = {"peer": (2, "127.0.0.1", 1), "closer": (2, "127.0.0.1", 2)}
    c.lab = cast(Any, SimpleNamespace(find=lambda near, far: None))
    assert find_outstanding(c) == ("what the peer still has to send cannot be read", 1)


@pytest.mark.parametrize(
    ("received", "unread", "unacked", "complete"),
    [
        (5, 0, 0, True),
        (4, 4, 1, False),
        (0, 0, 5, False),
        (None, 1, 5, True),  # a kernel before 4.1
        (None, 0, 5, False),
        (None, 0, 0, True),
    ],
)
@pytest.mark.parametrize("gap_end", [0, 9])
def test_bytes_have_arrived(
    received: int | None, unread: int, unacked: int, complete: bool, gap_end: int
) -> None:
    c = SimpleNamespace(
        sent={"peer": 5},
        gap_end=gap_end,
        forged=False,
        tcp_info=lambda side: b"\x01",
        bytes_received=lambda side: received,
        unread=lambda side: unread,
        unacked=lambda side: unacked,
    )
    assert Arrival(cast(Any, c), "peer").is_complete() is complete
    assert not c.forged


@pytest.mark.parametrize("offset", [0, 5, 16, 65530])
@pytest.mark.parametrize("size", [0, 1, 40, 65536, 200000])
def test_a_byte_of_a_stream_is_the_hex_digit_of_its_offset(offset: int, size: int) -> None:
    found = sending.stream_bytes(offset, size)
    assert len(found) == size
    assert all(found[i] == b"0123456789abcdef"[(offset + i) % 16] for i in range(0, size, 7))


@pytest.mark.parametrize(
    ("steps", "resets"),
    [
        ([("peer", "shutdown", "both"), ("closer", "send", 5)], True),
        (
            [("peer", "shutdown", "read"), ("peer", "shutdown", "write"), ("closer", "send", 5)],
            True,
        ),
        ([("closer", "send", 5), ("peer", "shutdown", "both")], False),
        ([("peer", "shutdown", "write"), ("closer", "send", 5)], False),
        ([("peer", "shutdown", "both"), ("peer", "send", 5)], False),
    ],
)
def test_a_peer_that_shut_both_directions_resets_new_data_itself(
    steps: list[tuple[Any, ...]], resets: bool
) -> None:
    assert needs.resets_itself(steps) is resets


@pytest.mark.parametrize(
    ("family", "steps", "problem"),
    [
        ("ipv4", [("peer", "close")], "needs a capture (no rights)"),
        ("ipv4", [("closer", "close")], ""),
        ("unix", [("peer", "end", "kill")], "over AF_UNIX only the peer's socket shows the ending"),
        ("unix", [("closer", "close")], ""),
        ("ipv4", [("closer", "destroy")], "needs a private network namespace"),
        ("ipv4", [("closer", "ktls")], "the kernel's tls module is not loaded"),
        ("ipv4", [("peer", "resend", 5)], "needs a capture (no rights)"),
    ],
)
def test_what_a_host_lacks_is_known_before_a_step_runs(
    family: str, steps: list[tuple[Any, ...]], problem: str
) -> None:
    bare: Any = SimpleNamespace(
        private=False, capture=None, no_capture="no rights", available_ulp=()
    )
    if not problem:
        needs.check_needs(bare, family, steps)
        return
    with pytest.raises(errors.Unsupported) as error:
        needs.check_needs(bare, family, steps)
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EPERM, "TCP_REPAIR needs CAP_NET_ADMIN or user namespaces; set become: true"),
        (errno.ENOPROTOOPT, "this kernel has no TCP_REPAIR here (ENOPROTOOPT)"),
    ],
)
def test_an_option_that_the_kernel_refuses_is_named(number: int, message: str) -> None:
    with pytest.raises(errors.Unsupported) as error:
        options.set_socket_option(Refusing(number), "TCP_REPAIR", 1)
    assert str(error.value) == message


def test_any_other_error_of_an_option_is_raised_as_it_is() -> None:
    with pytest.raises(OSError, match="setsockopt") as error:
        options.set_socket_option(Refusing(errno.EINVAL), "SO_LINGER", 1, 0)
    assert error.value.errno == errno.EINVAL


class Refusing:
    """A socket whose options are refused."""

    def __init__(self, number: int) -> None:
        self.number = number

    def setsockopt(self, *_: object) -> None:
        raise OSError(self.number, "setsockopt")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EPIPE, "x"), "Broken pipe (EPIPE)"),
        (errors.TimedOut("it did not come"), "it did not come"),
        (ValueError(), "ValueError"),
        (KeyError("k"), "'k'"),
    ],
)
def test_why_a_step_failed(error: Exception, message: str) -> None:
    assert errors.reason_of(error) == message


def test_a_wait_tests_once_more_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0])  # the process was stopped in between
    monkeypatch.setattr(waiting, "now", lambda: next(times))
    answers = iter([False, True])
    assert waiting.wait_until(lambda: next(answers), 1.0)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1e9])
def test_the_clock_of_python_2_does_not_follow_the_steps_of_the_clock(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]  # since some moment in the past
    is_set = [0.0]
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + seconds[0] + is_set[0])
    monkeypatch.setattr(os, "times", lambda: (0, 0, 0, 0, round(seconds[0], 2)))
    clock = waiting.CorrectedClock()
    assert clock() == pytest.approx(100.0, abs=0.02)
    for _ in range(50):
        seconds[0] += 0.123
        is_set[0] = step if is_set[0] == 0.0 else 0.0
        assert clock() == pytest.approx(seconds[0], abs=0.7)
    before = clock()
    seconds[0] += 0.0012  # an exact difference where nobody sets it
    assert clock() - before == pytest.approx(0.0012, abs=1e-6)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "this host gives the probe too few resources (MemoryError)"),
        (OSError(errno.EMFILE, "x"), "this host gives the probe too few resources (EMFILE)"),
        (OSError(errno.ENOBUFS, "x"), "this host gives the probe too few resources (ENOBUFS)"),
        (ValueError(errno.EMFILE), ""),
        (OSError(errno.EPERM, "x"), ""),
    ],
)
def test_a_resource_that_has_run_out_is_no_failure_of_the_probe(
    error: Exception, text: str
) -> None:
    found = scenario.explain(error)
    assert (found is error) == (text == "")
    assert str(found) == (text or str(error))


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EADDRNOTAVAIL])
def test_without_a_free_port_the_reason_names_the_range(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario, "sysctl_value", lambda key: "40000 40000")
    found = scenario.explain(OSError(number, "x"))
    assert str(found) == "no free local port: ip_local_port_range is 40000 40000"


def test_a_reason_is_bounded_whatever_a_file_of_proc_holds() -> None:
    assert len(errors.reason_of(errors.StepFailed("9" * 10_000))) == 1000


def test_nothing_but_a_file_of_proc_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    os.mkfifo(tmp_path / "pipe")
    for name, number in (("file", errno.EINVAL), ("pipe", errno.ENXIO), ("none", errno.ENOENT)):
        with pytest.raises(OSError, match=rf"\[Errno {number}\]"):
            files.write_file(str(tmp_path / name), "1")
    assert (tmp_path / "file").read_text() == "kept"
    files.write_file("/proc/self/comm", "pytest")


def test_delays_of_earlier_trials_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = waiting.AdaptiveTimeout()
    timeout.deadline = waiting.now() + 10**6
    timeout.record_delay(1.0)
    assert timeout.in_trial == 1.0
    for _ in range(100):
        timeout.begin_trial()
    assert timeout.in_trial == 0.0
    assert timeout.slowest < 0.001
    assert timeout.seconds() == pytest.approx(1.0)
