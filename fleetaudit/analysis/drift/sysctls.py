"""How the sysctls of one host changed, and whether it is the host that changed or what is wanted of
it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.model import Change, Effect, Sysctl

from .host_diff import HostDiff, expectation, untold


def sysctls(laid: HostDiff) -> Iterator[Change]:
    """Yields the changes of all sysctls that both runs read on this host."""
    other_kernel = laid.before.kernel != laid.after.kernel
    for key in dict.fromkeys([*laid.after.sysctls, *laid.before.sysctls]):
        old, new = laid.before.sysctls.get(key), laid.after.sysctls.get(key)
        # One that only one run has was not collected in the other; a glob that finds more on
        # another kernel is news.
        if (old is not None and new is not None) or other_kernel:
            yield from _sysctl(laid, f"sysctl:{key}", old, new)


def _sysctl(laid: HostDiff, what: str, old: Sysctl | None, new: Sysctl | None) -> Iterator[Change]:
    finding_before, finding_after = laid.findings_before.get(what), laid.findings_after.get(what)
    was, is_ = _sysctl_words(old), _sysctl_words(new)
    told_before = _readable(old) and not untold(finding_before)
    told_after = _readable(new) and not untold(finding_after)
    broken_differs = (finding_before is None) != (finding_after is None)
    broken: Effect = "regression" if finding_after else "fix"
    if told_before != told_after:
        yield laid.change(
            "told again" if told_after else "no longer told", "sysctl", what, was, is_
        )
    elif broken_differs and laid.wanted_in_both(what) and was != is_:
        yield laid.change(broken, "sysctl", what, was, is_)
    elif broken_differs and laid.wanted_in_both(what) and (moved := _default_moved(old, new)):
        yield laid.change(broken, "sysctl", what, *moved)
    else:
        if broken_differs:
            yield expectation(laid, what)  # the playbook has changed, whatever the host did
        if was != is_:
            yield laid.change("changed", "sysctl", what, was, is_)


def _default_moved(old: Sysctl | None, new: Sysctl | None) -> tuple[str, str] | None:
    """Both values with their kernels' own defaults, where those are known and differ."""
    if (
        old is None
        or new is None
        or old.default is None
        or new.default is None
        or old.default == new.default
    ):
        return None
    was, is_ = (
        f"{_sysctl_words(s)} (this kernel's default: {' '.join((s.default or '').split())})"
        for s in (old, new)
    )
    return was, is_


def _readable(sysctl: Sysctl | None) -> bool:
    return sysctl is None or sysctl.value is not None or sysctl.state == "absent"


def _sysctl_words(sysctl: Sysctl | None) -> str:
    if sysctl is None:
        return "absent"
    return sysctl.state or "not read" if sysctl.value is None else " ".join(sysctl.value.split())
