"""One host's verdicts, or one verdict with its packets and witnesses, as text for a screen.

Rules: pure, and plain text; what a host said passes `terminal_line`. Observation first, the expectation
beside it.
"""

from __future__ import annotations

from fleetaudit.analysis.compare.findings import is_command
from fleetaudit.analysis.compare.hosts import STATES
from fleetaudit.analysis.judge import describe_endings, expectation_status
from fleetaudit.model import (
    Audited,
    AuditRun,
    Connection,
    Evidence,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Observation,
    ScenarioRow,
    Segment,
    step_text,
)
from fleetaudit.probe.segments import syn_scale, window_bytes
from fleetaudit.text.sanitize import terminal_line

from .text_lines import counted, joined, wrapped

_RELATION = {
    "met": "as expected",
    "not met": "NOT as expected",
    "untold": "could not be told",
    "not run": "not run",
    "no expectation": "no expectation",
}


def host_text(run: AuditRun, host: HostResult, *, width: int) -> str:
    """Returns everything about one host: a line a scenario, then what it falls short of and what to
    do about it.
    """
    lines = _head(host, width)
    if isinstance(host, Audited):
        rows = {row.name: row for row in run.scenarios}
        table = [_row(rows.get(o.scenario), o) for o in host.observations]
        widths = [max((len(row[i]) for row in table), default=0) for i in range(3)]
        lines.append("")
        lines += [
            f"  {row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:{widths[2]}}  {row[3]}"
            for row in table
        ]
    for finding in host.findings:
        beside = (
            f"wanted {terminal_line(finding.expected)}, found {terminal_line(finding.observed)}"
        )
        accepted = "waived " if finding.waived is not None else ""
        text = f"{accepted}{finding.severity}  {terminal_line(finding.id)}: {beside}"
        since = f", first seen {terminal_line(finding.since)}" if finding.since else ""
        lines += ["", *wrapped([text + since], width)]
        lines += wrapped(
            [f"Waived: {terminal_line(finding.waived)}"] if finding.waived is not None else [],
            width,
            "  ",
        )
        lines += wrapped(
            [
                f"No longer waived; it was: {terminal_line(w)}"
                for w in _ended_waivers(run, host, finding)
            ],
            width,
            "  ",
        )
        lines += wrapped([terminal_line(finding.because)] if finding.because else [], width, "  ")
        lines += _fix(finding.fix, width)
    return joined(lines)


def _fix(fix: str, width: int) -> list[str]:
    """Returns the remedy; a command is not wrapped, so that it can be copied."""
    if is_command(fix):
        return [f"  {terminal_line(fix)}"]
    return wrapped([terminal_line(fix)] if fix else [], width, "  ")


def _ended_waivers(run: AuditRun, host: HostResult, finding: Finding) -> list[str]:
    """Returns the waivers that the finding had in the run before and no longer has."""
    changes = run.drift.changes if run.drift and finding.waived is None else ()
    return [
        c.before
        for c in changes
        if c.kind == "waiver" and (c.host, c.what) == (host.name, finding.id)
    ]


def verdict_text(run: AuditRun, host: Audited, observation: Observation, *, width: int) -> str:
    """Returns one verdict: the ending beside the expectation, the steps among the packets, and the
    other witnesses.
    """
    row = next((row for row in run.scenarios if row.name == observation.scenario), None)
    title = f": {terminal_line(row.title)}" if row else ""
    lines = [
        *_head(host, width),
        "",
        f"{terminal_line(observation.scenario)} over {observation.family}{title}",
    ]
    seen = (
        f"{terminal_line(describe_endings(observation))} in {counted(observation.trials, 'trial')}"
    )
    lines.append(f"  {seen}; {_expected(row, observation)}")
    if observation.reason:
        lines += wrapped([terminal_line(observation.reason)], width, "  ")
    if same_as := observation.evidence.same_as:
        whose = (
            f"Its witnesses said what those of {terminal_line(same_as)} said, but for times, ports and"
            " windows; these are:"
        )
        lines += wrapped([whose], width)
    if observation.ending != "not run":
        lines += [
            "",
            *_packets(row, observation.evidence, width),
            "",
            *_witnesses(observation.evidence, width),
        ]
    if row and (row.because or row.control):
        lines.append("")
        lines += wrapped([f"Why: {terminal_line(row.because)}"] if row.because else [], width)
        lines += wrapped(
            [f"Control: {terminal_line(row.control)}, which must end otherwise"]
            if row.control
            else [],
            width,
        )
    return joined(lines)


def _head(host: HostResult, width: int) -> list[str]:
    if isinstance(host, NotSelected):
        return [f"{terminal_line(host.name)}: {terminal_line(host.reason)}"]
    if isinstance(host, NotAudited):
        lines = [
            f"{terminal_line(host.name)}: not audited",
            *wrapped([f"{host.stage}: {terminal_line(host.reason)}"], width, "  "),
        ]
        return lines + ([f"  {terminal_line(host.hint)}"] if host.hint else [])
    where = (
        "a private network namespace"
        if host.isolation == "namespace"
        else "the host's own namespace"
    )
    kernel = (
        f"kernel {terminal_line(host.kernel.release)} ({terminal_line(host.kernel.version)})"
        f" {terminal_line(host.kernel.machine)}"
    )
    lines = [
        f"{terminal_line(host.name)}: {kernel}",
        f"  measured in {where}, by Python {terminal_line(host.python)}",
    ]
    lines += wrapped([f"VOID: {terminal_line(host.void)}"] if host.void else [], width, "  ")
    return lines + wrapped([terminal_line(note) for note in host.notes], width, "  ")


def _row(row: ScenarioRow | None, o: Observation) -> tuple[str, str, str, str]:
    reason = f": {terminal_line(o.reason, 200)}" if o.reason else ""
    return (
        terminal_line(o.scenario),
        o.family,
        terminal_line(describe_endings(o)),
        _expected(row, o) + reason,
    )


def _expected(row: ScenarioRow | None, observation: Observation) -> str:
    if row is None or not row.expect:
        return "no expectation"
    return f"expected {' or '.join(row.expect)}: {_RELATION[expectation_status(observation, row.expect)]}"


def _packets(row: ScenarioRow | None, evidence: Evidence, width: int) -> list[str]:
    """The steps at their moments among the segments, as tcpdump prints them; a step comes before
    what it caused.
    """
    texts = row.steps if row else ()
    steps = [(at, 0, f"-- {terminal_line(step_text(texts, i))}") for at, i in evidence.steps]
    segments = [(s.at_us, 1, _segment(s, evidence.connection)) for s in evidence.wire or ()]
    lines = [
        f"{at / 1000:11.3f} ms  {text}"
        for at, _, text in sorted(steps + segments, key=lambda moment: moment[:2])
    ]
    if evidence.wire_omitted:
        lines.append(f"  {counted(evidence.wire_omitted, 'segment')} of the middle left out")
    if evidence.wire is None:
        lines += wrapped(
            [f"No packets: {terminal_line(evidence.wire_note) or 'they could not be read'}"], width
        )
    elif evidence.wire_note:
        lines += wrapped([terminal_line(evidence.wire_note)], width)
    return lines


def _segment(s: Segment, connection: Connection | None) -> str:
    other = "peer" if s.sender == "closer" else "closer"
    seq = f"seq {s.seq}:{s.seq + s.length}" if s.length else f"seq {s.seq}"
    ack = f", ack {s.ack}" if "." in s.flags else ""
    urgent = f", urg {s.urgent}" if s.urgent else ""
    window, options = _window(s, connection), _options(s, connection)
    return (
        f"   {s.sender:>6} > {other:6}  Flags [{terminal_line(s.flags)}],"
        f" {seq}{ack}{window}{urgent}{options}, length {s.length}"
    )


def _window(s: Segment, connection: Connection | None) -> str:
    """The field as tcpdump prints it, and in bytes if a scale makes these another number."""
    if s.window is None:
        return ""
    size = window_bytes(s, connection)
    if size is None:
        return f", win {s.window} (scale unknown)"
    return f", win {s.window}" + (f" ({size} bytes)" if size != s.window else "")


def _options(s: Segment, connection: Connection | None) -> str:
    scale = syn_scale(s, connection)
    words = [] if scale is None else [f"wscale {scale}"]
    words += [terminal_line(s.options)] if s.options else []
    return f", options [{', '.join(words)}]" if words else ""


def _witnesses(evidence: Evidence, width: int) -> list[str]:
    lines = list[str]()
    if evidence.queue:
        lines.append("Receive queue before the close: " + _pairs(evidence.queue))
    if peer := evidence.peer:
        state = (
            ""
            if peer.state is None
            else f"state {peer.state} {STATES.get(peer.state, '')}".rstrip() + "; "
        )
        poll, recv = (
            ("|".join(map(terminal_line, peer.poll)) or "nothing"),
            (", then ".join(map(terminal_line, peer.recv)) or "nothing"),
        )
        lines.append(
            f"The peer: {state}poll {poll}; recv {recv}; SO_ERROR"
            f" {terminal_line(peer.so_error) or 'not asked'}"
        )
        for index, events in peer.poll_added:
            lines.append(
                f"          step {index + 1} added to its poll"
                f" {'|'.join(map(terminal_line, events)) or 'nothing'}"
            )
    else:
        lines.append("The peer: its socket was gone, or it could not be asked")
    if evidence.kernel is None:
        lines.append("The kernel: its counters could not be read")
    else:
        lines.append("The kernel: " + (_pairs(evidence.kernel, "+") or "no counter moved"))
    if evidence.bytes:
        lines.append("Bytes: " + _pairs(evidence.bytes))
    return wrapped(lines, width)


def _pairs(values: dict[str, int], sign: str = "") -> str:
    return ", ".join(f"{terminal_line(name)} {sign}{n}" for name, n in values.items())
