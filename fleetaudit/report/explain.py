"""The verdicts of one host, or one verdict with its packets and witnesses, as text for a terminal.

Rules: pure, and plain text; text from hosts passes `terminal_line`. The observation comes first,
the expectation after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from fleetaudit.analysis.causes import is_command
from fleetaudit.analysis.compare.traces import sequence_range, tcp_state
from fleetaudit.analysis.explanation import ended_waivers
from fleetaudit.analysis.judge import describe_endings, expectation_status
from fleetaudit.model import (
    UNDECLARED,
    Audited,
    AuditRun,
    Connection,
    Evidence,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Observation,
    PeerWitness,
    ScenarioRow,
    Segment,
    step_text,
)
from fleetaudit.probe.segments import syn_scale, window_bytes
from fleetaudit.text.phrases import count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .common import RECEIVERS
from .service_text import host_service_lines
from .text_lines import align, join_lines, wrap
from .watch_text import host_watch_lines

MOST_SEGMENTS = 12
"""How many segments of a client of a service are shown."""
_STATUS_TEXTS = {
    "met": "as expected",
    "not met": "NOT as expected",
    "untold": "unknown",
    "not run": "not run",
    "no expectation": "no expectation",
}


def host_text(run: AuditRun, host: HostResult, *, width: int) -> str:
    """Returns everything about one host: a line per scenario, who resets, its services, then
    its findings and remedies.

    `host` is one of `run.hosts`. Sentences are wrapped to `width`; the table and the commands are
    not. A host that was not audited has its reason and its hint, and findings if it has any.
    """
    lines = _host_lines(host, width)
    if isinstance(host, Audited):
        for block in _blocks(run, host, width):
            lines += ["", *block]
    for finding in host.findings:
        lines += ["", *_finding_lines(run, host, finding, width)]
    return join_lines(lines)


def _blocks(run: AuditRun, host: Audited, width: int) -> Iterator[list[str]]:
    """Returns the verdicts of a host, who resets there, and how its services answer and close."""
    blocks = (
        _observation_table(run, host),
        host_watch_lines(host, width),
        host_service_lines(host, width),
        [*_service_packets(host)],
    )
    return filter(None, blocks)


def _observation_table(run: AuditRun, host: Audited) -> list[str]:
    """Returns a line per scenario and family, in columns."""
    scenarios = run.scenarios_by_name()
    rows = [_observation_row(scenarios.get(o.scenario, UNDECLARED), o) for o in host.observations]
    return align(rows, "  ")


def _observation_row(row: ScenarioRow, o: Observation) -> tuple[str, str, str, str]:
    """Returns scenario, family, ending and verdict of one observation."""
    reason = surround(": ", terminal_line(o.reason, 200))
    scenario, endings = terminal_line(o.scenario), terminal_line(describe_endings(o))
    return scenario, o.family, endings, _expectation(row, o) + reason


def _finding_lines(run: AuditRun, host: HostResult, finding: Finding, width: int) -> list[str]:
    """Returns one finding: expected, observed, waivers, why, and the remedy."""
    since = surround(", first seen ", terminal_line(finding.since))
    expected, observed = terminal_line(finding.expected), terminal_line(finding.observed)
    title = (
        f"{_severity(finding)}  {terminal_line(finding.id)}: expected {expected},"
        f" observed {observed}{since}"
    )
    details = [*_waiver_texts(run, host, finding), terminal_line(finding.because)]
    return [
        *wrap([title], width),
        *wrap(details, width, "  "),
        *_fix(finding.fix, width),
    ]


def _severity(finding: Finding) -> str:
    """Returns the severity of a finding: "warning", or "waived warning"."""
    if finding.is_open:
        return finding.severity
    return f"waived {finding.severity}"


def _waiver_texts(run: AuditRun, host: HostResult, finding: Finding) -> list[str]:
    """Returns the waiver of a finding, or those that it had in the earlier run."""
    if finding.waived is not None:
        return [f"Waived: {terminal_line(finding.waived)}"]
    ended = ended_waivers(run, host, finding)
    return [f"No longer waived; it was: {terminal_line(waiver)}" for waiver in ended]


def _fix(fix: str, width: int) -> list[str]:
    """Returns the remedy; a command is not wrapped, so that it can be pasted."""
    text = terminal_line(fix)
    if is_command(fix):
        return [f"  {text}"]
    return wrap([text], width, "  ")


def verdict_text(run: AuditRun, host: Audited, observation: Observation, *, width: int) -> str:
    """Returns one verdict: ending, expectation, the steps among the packets, and the witnesses.

    `observation` is one of `host`, which is one of `run.hosts`. Packets are in the format of
    tcpdump, with relative sequence numbers, each after its moment in milliseconds; sentences are
    wrapped to `width`.
    """
    row = run.scenarios_by_name().get(observation.scenario, UNDECLARED)
    title = surround(": ", terminal_line(row.title))
    lines = [
        *_host_lines(host, width),
        "",
        f"{terminal_line(observation.scenario)} over {observation.family}{title}",
        *_verdict_lines(row, observation, width),
        *_evidence_lines(row, observation, width),
    ]
    reasons = wrap(_reasons(row), width)
    if reasons:
        lines += ["", *reasons]
    return join_lines(lines)


def _verdict_lines(row: ScenarioRow, o: Observation, width: int) -> list[str]:
    """Returns the ending with its expectation, the reason, and the host of the evidence."""
    endings = terminal_line(describe_endings(o))
    other_host = surround(
        "The evidence is that of ",
        terminal_line(o.evidence.same_as),
        ": the same except for times, ports and windows.",
    )
    if o.ending == "not run":
        return wrap([f"not run: {terminal_line(o.reason) or 'no reason reported'}"], width, "  ")
    return [
        f"  {endings} in {count_noun(o.trials, 'trial')}; {_expectation(row, o)}",
        *wrap([terminal_line(o.reason)], width, "  "),
        *wrap([other_host], width),
    ]


def _evidence_lines(row: ScenarioRow, o: Observation, width: int) -> list[str]:
    """Returns the packets and the other witnesses, [] if the scenario did not run."""
    if o.ending == "not run":
        return []
    return ["", *_packets(row.steps, o.evidence, width), "", *_witnesses(o.evidence, width)]


def _reasons(row: ScenarioRow) -> list[str]:
    """Returns why the playbook expects the ending, and the control of the scenario."""
    control = terminal_line(row.control or "")
    return [
        surround("Why: ", terminal_line(row.because)),
        surround("Control: ", control, ", which must end differently"),
    ]


def _host_lines(host: HostResult, width: int) -> list[str]:
    """Returns the host: its kernel and how it was measured, or why it was not audited."""
    name = terminal_line(host.name)
    if isinstance(host, NotSelected):
        return [f"{name}: {terminal_line(host.reason)}"]
    if isinstance(host, NotAudited):
        return [f"{name}: not audited", *_failure_lines(host, width)]
    return [
        f"{name}: {_kernel(host)}",
        f"  measured in {_namespace(host)}, by {terminal_line(host.measured_by)}",
        *wrap(_qualifications(host), width, "  "),
    ]


def _failure_lines(host: NotAudited, width: int) -> list[str]:
    """Returns why a host was not audited, and its hint, which is not wrapped."""
    lines = wrap([f"{host.stage}: {terminal_line(host.reason)}"], width, "  ")
    if host.hint:
        lines.append(f"  {terminal_line(host.hint)}")
    return lines


def _kernel(host: Audited) -> str:
    """Returns the kernel of a host in words."""
    kernel = host.kernel
    release, version = terminal_line(kernel.release), terminal_line(kernel.version)
    return f"kernel {release} ({version}) {terminal_line(kernel.machine)}"


def _namespace(host: Audited) -> str:
    """Returns the network namespace of the experiment, in words."""
    if host.isolation == "namespace":
        return "a private network namespace"
    return "the host's own namespace"


def _qualifications(host: Audited) -> list[str]:
    """Returns what limits the verdicts on a host."""
    return [surround("VOID: ", terminal_line(host.void)), *map(terminal_line, host.notes)]


def _expectation(row: ScenarioRow, observation: Observation) -> str:
    """Returns the expected endings and the verdict."""
    if not row.expect:
        return "no expectation"
    verdict = _STATUS_TEXTS[expectation_status(observation, row.expect)]
    return f"expected {' or '.join(row.expect)}: {verdict}"


# ---- packets


def _packets(steps: Sequence[str], evidence: Evidence, width: int) -> list[str]:
    """Returns the steps among the segments, as tcpdump prints them; a step precedes its effects."""
    moments = [(at, 0, f"-- {terminal_line(step_text(steps, i))}") for at, i in evidence.steps]
    moments += [(s.at_us, 1, _segment(s, evidence.connection)) for s in evidence.segments]
    moments.sort(key=lambda moment: moment[:2])
    return [
        *(f"{at / 1000:11.3f} ms  {text}" for at, _, text in moments),
        *wrap([_omitted(evidence.wire_omitted)], width, "  "),
        *wrap([_wire_note(evidence)], width),
    ]


def _service_packets(host: Audited) -> Iterator[str]:
    """Yields the last segments of the first client of each check of a service that lost its answer
    or was reset; the server is the closer.
    """
    for result in host.asked_services:
        for check in filter(attrgetter("wire"), result.checks):
            shown = check.wire[-MOST_SEGMENTS:]
            name = terminal_line(result.name)
            yield f"The last segments of one client of {name}, {check.check}:"
            yield from (f"{s.at_us / 1000:11.3f} ms  {_segment(s, None)}" for s in shown)


def _omitted(segments: int) -> str:
    """Returns how many segments the probe left out, "" if none."""
    if not segments:
        return ""
    return f"{count_noun(segments, 'segment')} left out in the middle"


def _wire_note(evidence: Evidence) -> str:
    """Returns what the probe notes about the capture, "" without a note."""
    note = terminal_line(evidence.wire_note)
    if evidence.wire is None:
        return f"No packets: {note or 'they could not be read'}"
    return note


def _segment(s: Segment, connection: Connection | None) -> str:
    """Returns a segment in the format of tcpdump.

    For example "closer > peer    Flags [R.], seq 1, ack 11, win 512, length 0".
    """
    flags = f"Flags [{terminal_line(s.flags)}]"
    window, options = _window(s, connection), _options(s, connection)
    return (
        f"   {s.sender:>6} > {RECEIVERS[s.sender]:6}  {flags}, seq {sequence_range(s)}{_ack(s)}"
        f"{window}{surround(', urg ', s.urgent)}{options}, length {s.length}"
    )


def _ack(s: Segment) -> str:
    """Returns the acknowledgment number, which only counts with the flag ACK."""
    if "." not in s.flags:
        return ""
    return f", ack {s.ack}"


def _window(s: Segment, connection: Connection | None) -> str:
    """Returns the field as tcpdump prints it, and the bytes if a scale changes the number."""
    if s.window is None:
        return ""
    size = window_bytes(s, connection)
    if size is None:
        return f", win {s.window} (scale unknown)"
    if size == s.window:
        return f", win {s.window}"
    return f", win {s.window} ({size} bytes)"


def _options(s: Segment, connection: Connection | None) -> str:
    """Returns the options of a segment in the format of tcpdump."""
    options = [terminal_line(s.options)]
    scale = syn_scale(s, connection)
    if scale is not None:
        options.insert(0, f"wscale {scale}")
    return surround(", options [", ", ".join(filter(None, options)), "]")


# ---- the other witnesses


def _witnesses(evidence: Evidence, width: int) -> list[str]:
    """Returns the receive queue, the peer, the counters of the kernel, and the bytes."""
    lines = (
        _join_counts("Receive queue before the close: ", _of_others(evidence.queue, False)),
        _join_counts("In the accept queue: ", _of_others(evidence.queue, True)),
        *_peer(evidence.peer),
        _kernel_counters(evidence.kernel),
        _join_counts("Bytes: ", evidence.bytes),
    )
    return wrap(lines, width)


def _of_others(queue: Mapping[str, int], are_others: bool) -> dict[str, int]:
    """Returns the numbers of the strangers who waited in the accept queue, or all but those."""
    return {k: count for k, count in queue.items() if k.startswith("others ") == are_others}


def _peer(peer: PeerWitness | None) -> Iterator[str]:
    """Yields what the socket of the peer reported."""
    if peer is None:
        yield "The peer: its socket was gone, or could not be read"
        return
    state = surround("state ", tcp_state(peer.state), "; ")
    recv = _join(peer.recv, ", then ")
    error = terminal_line(peer.so_error) or "not read"
    yield f"The peer: {state}poll {_join(peer.poll)}; recv {recv}; SO_ERROR {error}"
    for index, events in peer.poll_added:
        yield f"          step {index + 1} added to its poll {_join(events)}"


def _join(texts: Sequence[str], separator: str = "|") -> str:
    """Returns the texts in one line, "nothing" without any."""
    return separator.join(map(terminal_line, texts)) or "nothing"


def _kernel_counters(counters: Mapping[str, int] | None) -> str:
    """Returns the counters that changed during the trial."""
    if counters is None:
        return "The kernel: its counters could not be read"
    return _join_counts("The kernel: ", counters, "+") or "The kernel: no counter changed"


def _join_counts(title: str, counts: Mapping[str, int], sign: str = "") -> str:
    """Returns the counts in one line, "" without any."""
    named = (f"{terminal_line(name)} {sign}{n}" for name, n in counts.items())
    return surround(title, ", ".join(named))
