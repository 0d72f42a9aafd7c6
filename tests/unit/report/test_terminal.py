"""The closing text and the explanation: every host counted, and nothing that a terminal obeys."""

from __future__ import annotations

import io
import re
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.drift import compute_drift
from fleetaudit.analysis.judge import judge_host
from fleetaudit.cli.colour import add_colour, has_colour
from fleetaudit.model import (
    Audited,
    AuditRun,
    Ending,
    Evidence,
    HostResult,
    NotAudited,
    Observation,
    PeerWitness,
    Scenario,
    Sysctl,
    SysctlExpectation,
)
from fleetaudit.report.explain import host_text, verdict_text
from fleetaudit.report.html import render
from fleetaudit.report.terminal import progress, summary
from fleetaudit.text.sanitize import is_visible, terminal_line
from tests.support.runs import (
    K612,
    Fleet,
    missing,
    run_of,
    scenario,
    small_fleet,
)

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\u2066\x9b31m\x00\u200b"


def hostile(value: object) -> object:
    """Returns a copy of run.json's data with hostile text added to whatever a host or the way to it
    may word.
    """
    if isinstance(value, dict):
        words = {
            "release",
            "version",
            "machine",
            "reason",
            "hint",
            "observed",
            "expected",
            "recv",
            "so_error",
            "poll",
        }
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


def after_status(text: str) -> str:
    """Returns a closing text from its second block on: the first one is the status."""
    return text.split("\n\n", 1)[1]


def obeyed(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}


def names(run: AuditRun, kind: type[HostResult]) -> list[str]:
    return [host.name for host in run.hosts if isinstance(host, kind)]


@given(st.text())
def test_a_terminal_line_has_no_control_or_direction_characters(text: str) -> None:
    assert obeyed(terminal_line(text)) == set()
    assert "\n" not in terminal_line(text)


@given(
    st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=100).filter(
        is_visible
    )
)
def test_a_terminal_line_keeps_ordinary_text(text: str) -> None:
    assert terminal_line(text) == text


def test_a_terminal_line_is_bounded() -> None:
    assert len(terminal_line("x" * 10_000_000)) < 2100


@pytest.mark.parametrize("problems_only", [False, True])
def test_no_text_of_a_host_moves_the_cursor_in_the_closing_text(problems_only: bool) -> None:
    run = hostile_run()
    text = summary(compare(run), problems_only=problems_only)
    assert r"\x1b]0;owned" in text  # something was there to be made harmless
    assert obeyed(text) == set()
    for host in run.hosts:
        assert obeyed(progress(host)) == set()


def test_no_text_of_a_host_moves_the_cursor_in_an_explanation() -> None:
    run = hostile_run()
    for host in run.hosts:
        assert obeyed(host_text(run, host, width=100)) == set()
        if isinstance(host, Audited):
            for observation in host.observations:
                assert obeyed(verdict_text(run, host, observation, width=100)) == set()


def test_an_explanation_has_the_date_of_a_finding_and_its_waiver() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and host.findings)
    assert "Waived: " not in host_text(run, host, width=200)
    finding, *_ = host.findings
    accepted = msgspec.structs.replace(
        finding, waived="ops until 2027-01-31: old", since="2026-03-01"
    )
    lines = host_text(
        run, msgspec.structs.replace(host, findings=(accepted,)), width=200
    ).splitlines()
    at = next(n for n, line in enumerate(lines) if finding.id in line)
    assert lines[at].endswith(", first seen 2026-03-01")
    assert lines[at + 1].strip() == "Waived: ops until 2027-01-31: old"
    assert lines[at].startswith(f"waived {finding.severity}  {finding.id}")


def test_a_finding_whose_waiver_ended_counts_again() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and host.findings)
    finding, *rest = host.findings
    accepted = msgspec.structs.replace(finding, waived="ops until 2026-11-21: old")
    before = msgspec.structs.replace(host, findings=(accepted, *rest))
    drift = compute_drift(run_of([before]), run_of([host]))
    lines = host_text(msgspec.structs.replace(run, drift=drift), host, width=200).splitlines()
    at = next(n for n, line in enumerate(lines) if finding.id in line)
    assert lines[at].startswith(f"{finding.severity}  {finding.id}")
    assert lines[at + 1].strip() == "No longer waived; it was: ops until 2026-11-21: old"
    assert "  Waived: " not in "\n".join(lines)


def test_the_status_comes_first_then_the_verdict_and_the_count_last() -> None:
    run = small_fleet()
    paragraphs = summary(compare(run), width=100).rstrip("\n").split("\n\n")
    assert paragraphs[0].startswith("Act: 1 of 18 audited hosts ")
    assert paragraphs[1].startswith(
        "4 of 7 scenarios as expected on 17 hosts; 0 of 3 other expectations met.\n"
    )
    assert "\nClose with unread data (unread-close" in paragraphs[1]
    assert "reread-fin-close" in paragraphs[1]
    assert "RST on 5.10.0-30" in paragraphs[1].replace("\n    ", " ")
    audited, missing = len(names(run, Audited)), len(names(run, NotAudited))
    assert paragraphs[-1] == f"{audited + missing} hosts: {audited} audited, {missing} not audited."


def test_every_cause_of_hosts_not_audited_has_a_command() -> None:
    run = small_fleet()
    text = summary(compare(run), problems_only=True)
    for host in run.hosts:
        if isinstance(host, NotAudited):
            assert f"{host.stage}: " in text
    assert "      next:  ssh-keygen -R vpn1" in text


def test_a_run_without_problems_has_no_text_if_only_problems_are_shown() -> None:
    run = small_fleet()
    good = [
        host
        for host in run.hosts
        if isinstance(host, Audited)
        and not host.findings
        and not host.void
        and host.isolation == "namespace"
    ]
    assert good
    fine = msgspec.structs.replace(run, hosts=tuple(good))
    assert summary(compare(fine), problems_only=True) == ""
    assert summary(compare(fine)) != ""


def test_a_run_without_audited_hosts_states_nothing_about_kernels() -> None:
    run = small_fleet()
    dark = msgspec.structs.replace(
        run, hosts=tuple(host for host in run.hosts if isinstance(host, NotAudited))
    )
    text = summary(compare(dark))
    assert text.startswith("Cannot say: none of 9 hosts was audited.\n")
    assert after_status(text).startswith("No host was audited")


def test_an_explanation_shows_steps_before_the_packets_that_they_cause() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited) and not host.void)
    observation = next(
        o for o in host.observations if (o.scenario, o.family) == ("unread-close", "ipv4")
    )
    text = verdict_text(run, host, observation, width=100)
    assert (
        text.index("-- peer sends 5 bytes")
        < text.index("Flags [P.]")
        < text.index("-- closer closes")
    )
    assert text.index("-- closer closes") < text.index("Flags [R.]") < text.index("The peer:")
    assert "expected RST: as expected" in text


def test_a_witness_that_could_not_be_read_is_named() -> None:
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
    assert "The peer: its socket was gone, or could not be read" in text
    assert "expected RST: unknown" in text
    peer = msgspec.structs.replace(
        mute, evidence=Evidence(peer=PeerWitness(state=8, recv=("0",), so_error="0"))
    )
    assert "state 8 CLOSE_WAIT; poll nothing; recv 0; SO_ERROR 0" in verdict_text(
        run, host, peer, width=100
    )


def test_explain_shows_what_each_step_added_to_the_poll_of_a_peer_over_af_unix() -> None:
    run = small_fleet()
    host = next(host for host in run.hosts if isinstance(host, Audited))
    peer = PeerWitness(
        poll=("HUP",), recv=("0",), so_error="0", poll_added=((2, ()), (3, ("HUP", "RDH\x1bUP")))
    )
    seen = Observation(
        scenario="unread-unix-close",
        family="unix",
        ending="FIN",
        trials=1,
        evidence=Evidence(peer=peer),
    )
    text = verdict_text(run, host, seen, width=100)
    assert "step 3 added to its poll nothing\n" in text
    assert "step 4 added to its poll HUP|RDH" in text
    assert "\x1b" not in text


# ---- the good news, and the user's own scenarios


def scenarios_of_a_user(count: int) -> list[Scenario]:
    """Returns the control that must reset, the one that must not, and `count` scenarios of the
    user's own.
    """
    zero = scenario("zero-linger-close", "Close with zero linger", "closer closes", control=None)
    drained = scenario("drained-close", "Close", "closer closes", "FIN", control=None)
    return [
        zero,
        drained,
        *(scenario(f"own-{n}", f"Story {n}", "closer closes") for n in range(count)),
    ]


def run_of_a_user(count: int, ending: Ending = "RST") -> AuditRun:
    well = next(
        h for h in small_fleet().hosts if isinstance(h, Audited) and not h.findings and not h.void
    )
    declared = scenarios_of_a_user(count)
    seen = {s.name: s.expect[0] for s in declared} | {"own-0": ending}
    observations = tuple(
        Observation(
            scenario=name, family="ipv4", ending=seen[name], trials=1, endings={seen[name]: 1}
        )
        for name in seen
    )
    host = msgspec.structs.replace(well, observations=observations, expectations=("sysctl:net.x",))
    return run_of([host], declared)


def test_the_scenarios_of_a_small_playbook_are_the_headline_without_controls() -> None:
    text = summary(compare(run_of_a_user(8)), width=120)
    assert after_status(text).startswith(
        "8 of 8 scenarios as expected on 1 host; 1 of 1 other expectation met.\n"
    )
    assert text.count("\nStory ") == 8
    assert "zero-linger-close" not in text
    assert "drained-close" not in text
    many = summary(compare(run_of_a_user(40)), width=120)
    assert after_status(many).startswith("40 of 40 scenarios as expected")
    assert many.count("\nStory ") == 1
    assert "zero-linger-close" not in many


def test_a_scenario_that_deviates_is_not_met() -> None:
    assert after_status(summary(compare(run_of_a_user(3, "FIN")))).startswith(
        "2 of 3 scenarios as expected on 1 host"
    )


def ended(endings: dict[tuple[str, str], Ending]) -> str:
    """Returns the closing text of a fleet with one host a kernel, by release and version; the
    user's one scenario.
    """
    [well] = run_of_a_user(1).hosts
    assert isinstance(well, Audited)
    hosts = list[HostResult]()
    for (release, version), ending in endings.items():
        own = [o for o in well.observations if o.scenario != "own-0"]
        own.append(
            Observation(
                scenario="own-0", family="ipv4", ending=ending, trials=1, endings={ending: 1}
            )
        )
        kernel = msgspec.structs.replace(well.kernel, release=release, version=version)
        hosts.append(
            msgspec.structs.replace(
                well, name=f"host-{len(hosts)}", kernel=kernel, observations=tuple(own)
            )
        )
    return summary(compare(run_of(hosts, scenarios_of_a_user(1))), width=1000)


def test_kernels_never_fold_over_one_with_another_ending() -> None:
    fin = ["5.10.0-46", "6.12.117", "6.18.44", "7.0.1", "7.1.1", "7.2.13", "7.3.4"]
    endings: dict[tuple[str, str], Ending] = {(release, "#1 SMP"): "FIN" for release in fin}
    endings |= {("6.1.0-49", "#1 SMP"): "RST", ("5.10.218", "#1 SMP"): "RST"}
    text = ended(dict(sorted(endings.items(), reverse=True)))
    assert "FIN on 7 kernels (5.10.0-46, 6.12.117 to 7.3.4); RST on 5.10.218, 6.1.0-49." in text
    parted = ended({**endings, ("7.0.1", "#1 SMP"): "RST", ("7.4.1", "#1 SMP"): "FIN"})
    assert (
        "FIN on 7 kernels (5.10.0-46, 6.12.117, 6.18.44, 7.1.1 to 7.4.1); RST on 5.10.218,"
        " 6.1.0-49, 7.0.1." in parted
    )


def test_builds_of_one_release_with_different_endings_have_different_names() -> None:
    text = ended(
        {
            ("6.12.43", "#1 SMP Debian"): "RST",
            ("6.12.43", "#2 SMP ours"): "FIN",
            ("6.18.44", "#1"): "FIN",
        }
    )
    assert (
        "RST on 6.12.43 (#1 SMP Debian, x86_64); FIN on 6.12.43 (#2 SMP ours, x86_64), 6.18.44."
        in text
    )


def test_forty_kernels_with_alternating_endings_are_counted() -> None:
    alternating: dict[tuple[str, str], Ending] = {
        (f"6.{n}", "#1"): "RST" if n % 2 else "FIN" for n in range(40)
    }
    text = ended(alternating)
    assert "FIN on 20 kernels (6.0, 6.2, 6.4, 6.6, 6.8, 6.10, 6.12, 6.14 and 12 more)" in text
    assert " to 6." not in text


def test_a_host_on_which_nothing_ran_is_not_counted_as_expected() -> None:
    run = run_of_a_user(3)
    [well] = run.hosts
    assert isinstance(well, Audited)
    nothing = tuple(
        (
            msgspec.structs.replace(o, ending="not run", trials=0, endings={})
            if o.scenario != "drained-close"
            else o
        )
        for o in well.observations
    )
    mute = msgspec.structs.replace(well, name="mute", observations=nothing)
    text = summary(compare(run_of([well, mute], scenarios_of_a_user(3))), width=120)
    assert after_status(text).startswith("3 of 3 scenarios as expected on 1 host;")
    assert "\nNo verdict: 1 host on which no scenario ran; the report has the reasons.\n" in text
    alone = summary(compare(run_of([mute], scenarios_of_a_user(3))), width=120)
    assert after_status(alone).startswith("1 of 1 expectation met on 1 host.\n")
    assert "No verdict: 1 host" in alone
    assert "No verdict" not in summary(compare(run), width=120)


def test_missing_verdicts_are_counted_in_the_summary() -> None:
    run = run_of_a_user(3)
    [well] = run.hosts
    assert isinstance(well, Audited)
    first, *others = well.observations
    lacks = msgspec.structs.replace(
        first, ending="not run", trials=0, endings={}, reason="needs a capture"
    )
    hosts = [
        well,
        *(
            msgspec.structs.replace(well, name=f"bare{n}", observations=(lacks, *others))
            for n in range(3)
        ),
    ]
    text = summary(compare(run_of(hosts, scenarios_of_a_user(3))), width=120)
    total = 4 * len(well.observations)
    assert (
        f"Not run: 3 of {total} verdicts (one per scenario, family and host), on 3 hosts:"
        f" 3 verdicts: needs a capture ({first.scenario}): bare[0-2]" in " ".join(text.split())
    )
    assert "Not run" not in summary(compare(run), width=120)


def test_the_fix_is_shown_with_its_finding() -> None:
    text = summary(compare(small_fleet()), width=100)
    findings = text[text.index("Findings: ") : text.index("Not audited: ")]
    lines = findings.splitlines()
    at = next(n for n, line in enumerate(lines) if "net.ipv4.tcp_fin_timeout" in line)
    assert lines[at + 1].startswith("      fix:  ")
    assert "tcp_fin_timeout" in lines[at + 1]


def test_counts_of_one_are_in_the_singular_on_page_and_terminal() -> None:
    plural = re.compile(
        r"\b1 (?:\w+"
        r" )?(?:hosts|scenarios|kernels|builds|causes|columns|sysctls|expectations|changes|"
        r"trials)\b"
        r"|\b1 host (?:close|are|were|have|run|show|fall|reset)\b|\bthese 1\b|\b1"
        r" (?:scenario|sysctl)s? (?:are|were)\b"
    )
    fleet = small_fleet()
    runs = [run_of([host]) for host in fleet.hosts] + [run_of_a_user(1), run_of_a_user(1, "FIN")]
    for run in runs:
        comparison = compare(run)
        page = re.sub(
            r"<(script|style).*?</\1>", "", render(comparison, generated=""), flags=re.DOTALL
        )
        words = " ".join(re.sub(r"<[^>]*>", " ", page).split()) + " ".join(
            re.findall(r'aria-label="([^"]*)"', page)
        )
        for text in (words, " ".join(summary(comparison).split())):
            assert not plural.findall(text)


# ---- colour


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "on_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR": "0"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_colour_follows_the_environment_and_the_terminal(
    environment: dict[str, str], on_a_terminal: bool, elsewhere: bool
) -> None:
    assert has_colour(Screen(), environment) is on_a_terminal
    assert has_colour(io.StringIO(), environment) is elsewhere


@pytest.mark.parametrize(
    "line",
    [
        "  unread-close  ipv4  inconclusive  expected RST: unknown: x: NOT as expected",
        "  unread-close  ipv4  not run  no expectation: NOT as expected",
        "web1: kernel ✗ FAIL (NOT ready) x86_64",
        "web1: NOT ready: execute: it printed “web2: NOT ready ✗ FAIL”",
        "      error and ✗ FAIL",
        "Act: kernel 6.12.43 (#1) x86_64",
        "Watch: not audited",
        "First: kernel 6.12.43 (#1) x86_64",
        "    Act: all 3 audited hosts",
    ],
)
def test_text_of_a_host_is_never_coloured(line: str) -> None:
    own = len("web1: NOT ready") if line.startswith("web1: NOT ready") else 0
    assert add_colour(line)[-len(line[own:]) :] == line[own:]
    assert (add_colour(line) != line) is bool(own)


def test_our_own_verdicts_are_coloured() -> None:
    for before, words, after in (
        ("  unread-close  ipv4  FIN  expected RST: ", "NOT as expected", ": x"),
        ("  FIN in 3 trials; expected RST or FIN: ", "NOT as expected", ""),
        ("h000    51 ms  ", "✗ FAIL", "     81 ms"),
        ("  host key      ", "✗ FAIL", "  0.1 ms"),
        ("web1: ", "NOT ready", ": connect: x"),
        ("", "Act", ": 1 of 2 audited hosts sends FIN"),
    ):
        assert add_colour(before + words + after) == f"{before}\x1b[1;31m{words}\x1b[0m{after}"


def test_colour_never_changes_the_text() -> None:
    for text in (
        summary(compare(hostile_run())),
        summary(compare(small_fleet())),
        summary(compare(run_of_a_user(2))),
    ):
        assert re.sub(r"\x1b\[[\d;]*m", "", add_colour(text)) == text
    seen = add_colour(summary(compare(small_fleet())))
    assert "  \x1b[1;31merror\x1b[0m  " in seen
    assert "  \x1b[33mwarning\x1b[0m  " in seen
    assert seen.startswith("\x1b[1;31mAct\x1b[0m: 1 of 18 audited hosts ")
    assert "\n\x1b[1mFirst\x1b[0m, for db3.example.net:  Look for " in seen
    watched = add_colour(
        summary(
            compare(run_of([*run_of_a_user(2).hosts, missing("a", "connect", "refused", "nc a")]))
        )
    )
    assert watched.startswith("\x1b[33mWatch\x1b[0m: the one audited host ")
    assert add_colour(summary(compare(run_of([])))).startswith("\x1b[35mCannot say\x1b[0m: no ")
    assert "\x1b[1mNot audited\x1b[0m: 9 hosts" in seen
    fine = add_colour(summary(compare(run_of_a_user(2))))
    assert fine.startswith("\x1b[32mAll as expected\x1b[0m: the one audited host meets ")
    assert after_status(fine).startswith("\x1b[32m2 of 2 scenarios as expected\x1b[0m")
    assert (
        add_colour("1 of 2 scenarios as expected on 1 host.")
        == "1 of 2 scenarios as expected on 1 host."
    )
    assert add_colour("      error  from a host\n") == "      error  from a host\n"


def test_a_remedy_is_one_line_with_its_hosts_if_hosts_need_different_ones() -> None:
    asked = Fleet(scenarios=(), rules={"net.x": SysctlExpectation(equals="1")})
    places = {"a": "/etc/sysctl.d/10-a.conf:3", "b": "/etc/sysctl.d/20-b.conf:4"}
    hosts = []
    for name, place in places.items():
        host = asked.host(name, K612, sysctls={"net.x": Sysctl(value="0")})
        hosts.append(
            judge_host(
                msgspec.structs.replace(host, sysctl_places={"net.x": (place,)}), asked.plan(name)
            )
        )
    run = run_of(hosts, ())
    commands = {host.name: host.findings[0].fix for host in hosts}
    lines = summary(compare(run), width=60).splitlines()
    for name, command in commands.items():
        assert f"      fix on {name}:  {command}" in lines
    for host in hosts:
        assert f"  {commands[host.name]}" in host_text(run, host, width=60).splitlines()
    same = summary(compare(run_of(hosts[:1], ())), width=60).splitlines()
    assert f"      fix:  {commands['a']}" in same


def test_a_verdict_that_was_not_run_has_its_reason_and_no_trials() -> None:
    host = Fleet().host("a", K612)
    lacks = msgspec.structs.replace(
        host.observations[0], ending="not run", trials=0, endings={}, reason="no tls module"
    )
    text = verdict_text(run_of([host]), host, lacks, width=100)
    assert "\n  not run: no tls module\n" in text
    assert "0 trials" not in text


def test_a_reason_that_names_its_host_is_not_followed_by_the_host() -> None:
    hosts = [
        msgspec.structs.replace(
            missing(name, "resolve", f"the name '{name}' has no address: unknown", "see DNS"),
            kind="name not found",
        )
        for name in ("a", "b")
    ]
    text = summary(compare(run_of(hosts)), width=120)
    assert "the name 'a' has no address: unknown\n" in text
    assert "unknown (a)" not in text
