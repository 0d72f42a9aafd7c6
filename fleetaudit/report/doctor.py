"""The connectivity check of one host as text: a line per stage, and what to type next.

Rules: pure, and plain text; every state is a word. Text from hosts and inventories passes
`terminal_line`. A command to type is on a line of its own and is never wrapped.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from fleetaudit.analysis.doctor import HostCheck, StageResult
from fleetaudit.model import Kernel, Os
from fleetaudit.text.phrases import and_more, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .text_lines import command_line, join_lines, wrap

FAIL = "✗ FAIL"
STOPPED = {"inventory": "and cannot be tried", "interrupted": "the check was interrupted"}
"""What stopped a check before its first stage, by the name of the stage."""
_STATE_TEXTS = {
    "passed": "ok",
    "failed": FAIL,
    "not needed": "–",
    "not reached": "not reached",
    "not told": "unknown",
}
_DURATIONS = ((9.95, 1, "{:.1f} ms"), (999.5, 1, "{:.0f} ms"), (99_950, 1000, "{:.1f} s"))
"""(milliseconds below which it holds, divisor, format) of each form of a time but minutes."""
_MOST_SCENARIOS = 8
_NO_SYSCTLS = (
    "No scenario could set a sysctl: that needs a private network namespace in which /proc/sys is"
    " not read-only"
)
_HOST_NAMESPACE = "A run would measure in the host's own namespace, where its firewall takes part."


def format_duration(ms: float | None) -> str:
    """Returns a time with at most three digits: "0.4 ms", "12 ms", "1.3 s", "2 min"; "" for None.

    `ms` is in milliseconds. A bound between two forms is where rounding would add a digit.
    """
    if ms is None:
        return ""
    for bound, divisor, form in _DURATIONS:
        if ms < bound:
            return form.format(ms / divisor)
    return f"{ms / 60_000:.0f} min"


def progress(check: HostCheck) -> str:
    """Returns the line that is printed as soon as a host is done.

    It is "web1: ready in 1.3 s", or "web1: NOT ready: " with the stage and the reason.
    """
    name = terminal_line(check.name)
    if check.ready:
        return f"{name}: ready in {format_duration(check.ms)}"
    return f"{name}: NOT ready: {check.stage}: {terminal_line(check.reason, 300)}"


def host_check_text(check: HostCheck, *, width: int, next_: str) -> str:
    """Returns the stages of one host, and the next command to type.

    That is the hint of the host, or `next_` if it is ready. Sentences are wrapped to `width`; the
    first line is the verdict, such as "web1: NOT ready, stopped at connect after 1.3 s".
    """
    lines = [_verdict(check), ""]
    for stage in check.steps:
        lines += _stage_lines(stage, check.reason, width)
    if check.stage == "interrupted":
        lines += ["", *wrap([terminal_line(check.reason)], width)]
    lines += _system_lines(check, width)
    if check.ready:
        lines += [*_limits(check, width), *_next(next_)]
    else:
        lines += _next(check.hint)
    return join_lines(lines)


def _next(command: str) -> list[str]:
    """Returns the next command to type, [] without one."""
    if not command:
        return []
    return ["", command_line("next", command)]


def _verdict(check: HostCheck) -> str:
    """Returns whether a host is ready, or at which stage it stopped, with time and attempts."""
    name = terminal_line(check.name)
    time, attempts = format_duration(check.ms), _attempts(check)
    if check.ready:
        return f"{name}: ready{surround(' in ', time)}{attempts}"
    stage = check.stage or ""
    stopped = STOPPED.get(stage, f"stopped at {check.stage}")
    return f"{name}: NOT ready, {stopped}{surround(' after ', time)}{attempts}"


def _attempts(check: HostCheck) -> str:
    """Returns at which attempt the check ended, "" if it was the first."""
    if check.attempts < 2:
        return ""
    return f", at attempt {check.attempts}"


def _stage_lines(stage: StageResult, reason: str, width: int) -> list[str]:
    """Returns the line of one stage; `reason` follows if it failed."""
    head = f"  {stage.stage:12}  {_STATE_TEXTS[stage.state]:6}  {format_duration(stage.ms):>7}  "
    lines = textwrap.wrap(
        terminal_line(stage.found),
        max(width, len(head) + 30),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head]
    if stage.state == "failed":
        lines += wrap([terminal_line(reason)], width, "      ")
    return lines


def _system_lines(check: HostCheck, width: int) -> list[str]:
    """Returns kernel and operating system, and a note if there is no private namespace."""
    lines = list[str]()
    if check.kernel is not None:
        lines += ["", *wrap([_system(check.kernel, check.os or Os())], width, "  ")]
    if check.isolation == "host":
        lines += wrap([_HOST_NAMESPACE], width, "  ")
    return lines


def _system(kernel: Kernel, os: Os) -> str:
    """Returns a kernel, and the operating system if it has a name."""
    release, version = terminal_line(kernel.release), terminal_line(kernel.version)
    text = f"kernel {release} ({version}) {terminal_line(kernel.machine)}"
    return text + surround(", ", terminal_line(os.pretty_name))


def _limits(check: HostCheck, width: int) -> list[str]:
    """Returns what a run could not do on a host that is ready, and the commands that enable it."""
    lines = wrap(_limit_texts(check), width, "  ")
    if not check.missing:
        return lines
    lines += ["", f"  {missing_text(check)}:"]
    for missing in check.missing:
        reason = f"{terminal_line(missing.reason)} ({_scenarios(missing.scenarios)})"
        lines += wrap([f"{missing.verdicts:3} {missing.ending}: {reason}"], width, "    ")
    if check.fixes:
        labels = ("  fix", *["   or"] * len(check.fixes))
        lines += ["", *map(command_line, labels, check.fixes)]
    return lines


def _limit_texts(check: HostCheck) -> Iterator[str]:
    """Yields what a run could not do on any scenario."""
    yield surround("No packet would be captured: ", terminal_line(check.no_capture))
    if check.sets_sysctls is False:
        yield _NO_SYSCTLS


def _scenarios(names: Sequence[str]) -> str:
    """Returns the first scenarios, and how many more there are."""
    text = ", ".join(map(terminal_line, names[:_MOST_SCENARIOS]))
    return text + and_more(len(names) - _MOST_SCENARIOS)


def missing_text(check: HostCheck) -> str:
    """Returns how many verdicts a run would not have on a host.

    For example "A run would lack 3 of 48 verdicts"; the caller adds the punctuation.
    """
    missing = sum(missing.verdicts for missing in check.missing)
    return f"A run would lack {missing:,} of {count_noun(check.verdicts, 'verdict')}"
