"""Makes the result of a host that could not be audited: bounded, and with secrets masked."""

from __future__ import annotations

import re
import shlex
import traceback
from typing import get_args

from fleetaudit.errors import FailureKind, FleetauditError, ReplyError, TransportError
from fleetaudit.log import get_logger
from fleetaudit.model import Finding, HostPlan, NoTarget, NotAudited, Stage, Target
from fleetaudit.text.sanitize import bounded_text
from fleetaudit.transport.masking import Masking
from fleetaudit.transport.registry import transport_of

log = get_logger(__name__)

MAX_AT = 200
"""Maximum length of the name of a jump host."""
_STAGES: dict[str, Stage] = {stage: stage for stage in get_args(Stage)}


def not_audited(
    host: HostPlan,
    stage: str,
    reason: str,
    hint: str = "",
    *,
    kind: FailureKind = "",
    at: str = "",
    changed_key: tuple[str, str] | None = None,
) -> NotAudited:
    """Returns the result of a host that could not be audited.

    Every text is masked and bounded here, because each may contain text of the host. A stage that
    `model.Stage` does not have becomes "execute". `changed_key` are the known and the shown host
    key of `TransportError`; they make a finding.
    """
    masking = Masking(host.target)
    hint = masking.data(hint)
    findings = tuple[Finding, ...]()
    if changed_key:
        known, shown = map(masking.data, changed_key)
        findings = (_changed_host_key(known, shown, hint),)
    return NotAudited(
        name=host.name,
        groups=host.groups,
        stage=_STAGES.get(stage, "execute"),
        kind=kind,
        at=bounded_text(masking.data(at), MAX_AT),
        reason=bounded_text(masking.text(reason)),
        hint=bounded_text(hint),
        findings=findings,
    )


def not_audited_after(host: HostPlan, e: FleetauditError) -> NotAudited:
    """Returns the result of a host whose audit raised an error of fleetaudit."""
    match e:
        case TransportError():
            return not_audited(
                host, e.stage, e.reason, e.hint, kind=e.kind, at=e.at, changed_key=e.changed_key
            )
        case ReplyError():
            log.debug("%s: %s failed (%s): %s", host.name, e.stage, e.kind, e.reason)
            hint = e.hint or _manual_command(host.target)
            return not_audited(host, e.stage, e.reason, hint, kind=e.kind)
        case _:
            return not_audited(host, "execute", str(e))


def not_audited_by_bug(host: HostPlan, e: BaseException) -> NotAudited:
    """Returns the result of a host for which fleetaudit failed; the traceback goes to the log."""
    text = Masking(host.target).text("".join(traceback.format_exception(e)))
    log.error("a bug in fleetaudit, met at host %s\n%s", host.name, text.rstrip())
    reason = f"a bug in fleetaudit: {type(e).__name__}: {e}"
    return not_audited(host, "execute", reason, kind="bug in fleetaudit")


def _manual_command(target: Target | NoTarget) -> str:
    """Returns the command that shows the answer of the host, "" if there is none.

    Such as `fleetaudit probe | ssh web1 'python3 -B -E -s -'`.
    """
    if isinstance(target, NoTarget):
        return ""
    line = transport_of(target).command_line(target, f"{_python_command(target)} -B -E -s -")
    return f"fleetaudit probe | {line}" if line else ""


def _python_command(target: Target) -> str:
    """Returns the Python of a host as words for a shell: the inventory's, or else python3.

    A path with a blank cannot be distinguished from words such as "/usr/bin/env python3", so
    harmless text is not quoted. Text that a shell would interpret is.
    """
    name = target.interpreter.value if target.interpreter else ""
    if not name:
        return "python3"
    is_harmless = re.fullmatch(r"(~/)?[\w@%+=:,./ -]+", name, re.ASCII)
    return name if is_harmless else shlex.quote(name)


def _changed_host_key(known: str, shown: str, hint: str) -> Finding:
    """Returns the finding of a changed host key.

    It is a finding, so that nobody overlooks it among hosts that are down.
    """
    return Finding(
        id="host-key:changed",
        severity="error",
        expected=bounded_text(known),
        observed=bounded_text(shown),
        because=(
            "Someone may be in between, or the host was installed anew: nothing was sent to it."
        ),
        fix=bounded_text(hint),
    )
