"""The closing text and the explanation: what matters first, nobody hidden, nothing that a terminal obeys."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.compare import compare
from fleetaudit.model import Audited, AuditRun, Evidence, HostResult, NotAudited, Observation, PeerWitness
from fleetaudit.report.explain import host_text, verdict_text
from fleetaudit.report.terminal import progress, safe, summary

from .runs import small_fleet

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\u2066\x9b31m\x00\u200b"


def hostile(value: object) -> object:
    """Returns a copy of run.json's data with hostile text added to whatever a host or the way to it may word."""
    if isinstance(value, dict):
        words = {"release", "version", "machine", "reason", "hint", "observed", "expected", "recv", "so_error", "poll"}
        words |= {"wire_note", "notes", "python", "void", "because", "fix", "options"}
        return {key: worse(item) if key in words else hostile(item) for key, item in value.items()}
    return [hostile(item) for item in value] if isinstance(value, list) else value


def worse(value: object) -> object:
    if isinstance(value, str):
        return (value + HOSTILE)[:200]
    return [worse(item) for item in value] if isinstance(value, list) else value


def hostile_run() -> AuditRun:
    data = hostile(msgspec.json.decode(msgspec.json.encode(small_fleet())))
    return msgspec.convert(data, AuditRun)


def obeyed(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}


def names(run: AuditRun, kind: type[HostResult]) -> list[str]:
    return [host.name for host in run.hosts if isinstance(host, kind)]


@given(st.text())
def test_safe_text_is_one_line_without_control_or_direction(text: str) -> None:
    assert obeyed(safe(text)) == set()
    assert "\n" not in safe(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=100))
def test_safe_leaves_ordinary_text_alone(text: str) -> None:
    assert safe(text) == text


def test_safe_text_is_bounded() -> None:
    assert len(safe("x" * 10_000_000)) < 2100


@pytest.mark.parametrize("problems_only", [False, True])
def test_nothing_a_host_said_moves_the_cursor_in_the_closing_text(problems_only: bool) -> None:
    run = hostile_run()
    text = summary(compare(run), problems_only=problems_only)
    assert "�" in text  # something was there to be made harmless
    assert obeyed(text) == set()
    for host in run.hosts:
        assert obeyed(progress(host)) == set()


def test_nothing_a_host_said_moves_the_cursor_in_an_explanation() -> None:
    run = hostile_run()
    for host in run.hosts:
        assert obeyed(host_text(run, host, width=100)) == set()
        if isinstance(host, Audited):
            for observation in host.observations:
                assert obeyed(verdict_text(run, host, observation, width=100)) == set()


def test_an_explanation_says_since_when_a_finding_stands_and_who_accepted_it() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and host.findings)
    assert "Waived: " not in host_text(run, host, width=200)
    (finding, *_) = host.findings
    accepted = msgspec.structs.replace(finding, waived="ops until 2027-01-31: old", since="2026-03-01")
    lines = host_text(run, msgspec.structs.replace(host, findings=(accepted,)), width=200).splitlines()
    at = next(n for n, line in enumerate(lines) if finding.id in line)
    assert lines[at].endswith(", first seen 2026-03-01")
    assert lines[at + 1].strip() == "Waived: ops until 2027-01-31: old"


def test_the_verdict_comes_first_and_the_count_last() -> None:
    run = small_fleet()
    paragraphs = summary(compare(run), width=100).rstrip("\n").split("\n\n")
    assert paragraphs[0].startswith("Close with unread data (unread-close")
    assert "reread-fin-close" in paragraphs[0]
    assert "RST on 5.10.0-30" in paragraphs[0].replace("\n    ", " ")
    audited, missing = len(names(run, Audited)), len(names(run, NotAudited))
    assert paragraphs[-1] == f"{audited + missing} hosts: {audited} audited, {missing} not audited."


def test_every_cause_of_not_being_audited_is_shown_with_a_command() -> None:
    run = small_fleet()
    text = summary(compare(run), problems_only=True)
    for host in run.hosts:
        if isinstance(host, NotAudited):
            assert f"{host.stage}: " in text
    assert "      next:  ssh-keygen -R vpn1" in text


def test_a_run_without_problems_says_nothing_when_only_problems_are_asked_for() -> None:
    run = small_fleet()
    good = [
        host
        for host in run.hosts
        if isinstance(host, Audited) and not host.findings and not host.void and host.isolation == "namespace"
    ]
    assert good
    fine = msgspec.structs.replace(run, hosts=tuple(good))
    assert summary(compare(fine), problems_only=True) == ""
    assert summary(compare(fine)) != ""


def test_a_run_in_which_nobody_answered_claims_nothing_about_kernels() -> None:
    run = small_fleet()
    dark = msgspec.structs.replace(run, hosts=tuple(host for host in run.hosts if isinstance(host, NotAudited)))
    assert summary(compare(dark)).startswith("No host was audited")


def test_a_verdict_shows_its_steps_before_the_packets_they_caused() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and not host.void)
    observation = next(o for o in host.observations if (o.scenario, o.family) == ("unread-close", "ipv4"))
    text = verdict_text(run, host, observation, width=100)
    assert text.index("-- peer sends 5 bytes") < text.index("Flags [P.]") < text.index("-- closer closes")
    assert text.index("-- closer closes") < text.index("Flags [R.]") < text.index("The peer:")
    assert "expected RST: as expected" in text


def test_a_witness_that_could_not_speak_is_told_as_silent() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited))
    mute = Observation(
        scenario="unread-close",
        family="ipv4",
        ending="inconclusive",
        trials=1,
        endings={"inconclusive": 1},
        evidence=Evidence(wire=None, wire_note="no right to capture", peer=None, kernel=None),
        reason="no witness spoke",
    )
    text = verdict_text(run, host, mute, width=100)
    assert "No packets: no right to capture" in text
    assert "its counters could not be read" in text
    assert "could not be asked" in text
    assert "could not be told" in text
    peer = msgspec.structs.replace(mute, evidence=Evidence(peer=PeerWitness(state=8, recv=("0",), so_error="0")))
    assert "state 8 CLOSE_WAIT; poll nothing; recv 0; SO_ERROR 0" in verdict_text(run, host, peer, width=100)
