"""AF_UNIX on this machine's kernel: each ending that a connection can have there, and the evidence
of the peer, as the model of af_unix.c predicts them.
"""

from __future__ import annotations

import functools
import socket

import pytest

from fleetaudit.playbook.step_order import order_problem
from fleetaudit.probe import verdict
from tests.support import probe_runs
from tests.truth.cases import UNIX_SAMPLE, over_unix
from tests.truth.unix import (
    CONNECT,
    ENDINGS,
    Type,
    combinations,
    parsed,
    predict,
)


@functools.cache
def urgent_bytes() -> str:
    """Returns how this kernel closes an AF_UNIX stream whose urgent byte was read: "FIN", "RST"
    (before 2a5a4841846b), or "" where it has no urgent data there.
    """
    closer, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with peer:
        with closer:
            try:
                peer.send(b"!", socket.MSG_OOB)
            except OSError:
                return ""
            closer.recv(1, socket.MSG_OOB)
        try:
            return "RST" if peer.recv(1) else "FIN"
        except ConnectionResetError:
            return "RST"


def deviations(sk_type: Type, ending: str, python: str = "") -> dict[str, object]:
    """Returns by scenario what the kernel, or the verdict, made of it that the model did not
    predict.
    """
    texts = combinations(sk_type, ending, urgent=bool(urgent_bytes()))
    asked = [probe_runs.scenario(str(n), text) for n, text in enumerate(texts)]
    call = probe_runs.request(*asked, isolation="host", deadline=600)
    reply = probe_runs.run(call, python=python or probe_runs.public_python())
    assert len(reply.observations) == len(texts) > 150
    found = dict[str, object]()
    for n, text in enumerate(texts):
        steps = parsed(text)
        assert order_problem(steps) == ""
        trial = probe_runs.trial_of(reply, str(n), "unix")
        assert trial.peer is not None
        right = predict(steps, oob_is_skipped=urgent_bytes() == "FIN")
        seen = ({*trial.peer.poll}, trial.peer.recv, trial.peer.so_error)
        decided = verdict.trial_verdict(trial, steps, "unix", "host")
        if decided != (right.ending, "") or seen != (right.poll, right.recv, right.so_error):
            found[text] = (decided, seen, right)
    return found


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("sk_type", CONNECT)
def test_every_ending_is_what_the_kernels_source_says(sk_type: Type, ending: str) -> None:
    assert deviations(sk_type, ending) == {}


def test_make_truth_takes_a_sample_with_every_ending_of_both_types() -> None:
    found = over_unix()
    assert (
        len({case.scenario.name for case in found}) == len(found) == 2 * len(ENDINGS) * UNIX_SAMPLE
    )
    for how in ("unix", "seqpacket"):
        endings = {case.scenario.expect for case in found if case.scenario.steps[0].call[2] == how}
        assert {("FIN",), ("RST",), ("FIN, then RST",), ("nothing",)} <= endings


@pytest.mark.parametrize("version", ["2.7", "3.6"])
@pytest.mark.parametrize("sk_type", CONNECT)
def test_old_pythons_see_the_same_endings(sk_type: Type, version: str) -> None:
    ending = "closer half-closes; closer is killed"
    assert deviations(sk_type, ending, probe_runs.interpreter(version)) == {}
