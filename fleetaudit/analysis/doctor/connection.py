"""Describes the connection to a host, and the stages that it has. Pure."""

from __future__ import annotations

from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import (
    Become,
    KernelTarget,
    LocalTarget,
    NoTarget,
    NotAudited,
    NotSelected,
    SshTarget,
    Target,
)

AnyTarget = Target | NoTarget


def describe_connection(target: AnyTarget) -> str:
    """Returns in a few words how a host is reached and as which user, "" if that is unknown."""
    match target:
        case SshTarget():
            return _describe_ssh(target)
        case LocalTarget():
            return f"this machine{_describe_become(target.become)}"
        case KernelTarget():
            return f"kernel {target.image}"
        case NotAudited() | NotSelected():
            return ""


def _describe_ssh(target: SshTarget) -> str:
    """Returns in a few words how a host is reached by SSH."""
    user = f"{target.user}@" if target.user else ""
    has_port = target.port_is_explicit or target.port != 22
    port = f" port {target.port}" if has_port else ""
    client = f", by the system's {target.program}" if target.client == "openssh" else ""
    return f"ssh {user}{target.address}{port}{client}{_describe_become(target.become)}"


def _describe_become(become: Become | None) -> str:
    """Returns as which user the probe runs, "" for the login user."""
    return f", as {become.user} by {become.method}" if become else ""


def stages_of(target: AnyTarget) -> tuple[CheckStage, ...]:
    """Returns the stages that a target has, in order."""
    match target:
        case SshTarget(become=None):
            return tuple(stage for stage in CHECK_STAGES if stage != "become")
        case LocalTarget(become=None):
            return "inventory", "interpreter", "namespaces"
        case LocalTarget():
            return "inventory", "become", "interpreter", "namespaces"
        case KernelTarget():
            return "inventory", "resolve", "connect", "interpreter", "namespaces"
        case _:
            return CHECK_STAGES
