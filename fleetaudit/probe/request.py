"""The request: from a host's plan to what its interpreter reads from stdin. Pure.

Rules: no I/O but reading the probe's own text from the package.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from typing import Any

from fleetaudit import __version__
from fleetaudit.model import HostPlan, Scenario

from .joiner import join
from .reply_errors import interpreter_of

PROTOCOL = 1


@functools.cache
def probe_text() -> str:
    """Returns the probe's text, ASCII, as it is sent: the modules of `remote/`, joined."""
    folder = importlib.resources.files(__package__) / "remote"
    return join(lambda name: (folder / f"{name}.py").read_text("ascii"))


def make_request(plan: HostPlan, *, deadline_s: float) -> bytes:
    """Returns what goes to the interpreter's stdin for one host.

    `deadline_s` is when the probe's own alarm rings, in seconds; it is sent with one decimal. The
    expected endings are sent so that the probe reports the captured headers of trials that deviate.
    They do not change what is measured, so they are not part of the digest: a reply can be judged
    by other expectations.
    """
    call = _call(plan)
    echoed = {"fleetaudit": __version__, "digest": _digest(call)}
    scenarios = zip(call["scenarios"], plan.scenarios, strict=True)
    call["scenarios"] = [{**sent, "expect": list(scenario.expect)} for sent, scenario in scenarios]
    interpreter = interpreter_of(plan)
    return make_script(
        {**call, **echoed, "deadline": round(deadline_s, 1)},
        interpreter.value if interpreter else "",
    )


def request_digest(plan: HostPlan) -> str:
    """Returns the digest of a host's call: of the program, scenarios, sysctls and isolation.

    Names, groups and the deadline are not part of it, so hosts with the same plays share one
    digest.
    """
    return _digest(_call(plan))


def _call(plan: HostPlan) -> dict[str, Any]:
    """Returns the call of a host without its digest, deadline and expected endings."""
    return {
        "protocol": PROTOCOL,
        "isolation": plan.isolation,
        "sysctls": list(plan.sysctls_collect),
        "scenarios": [scenario_call(each, _trials(plan, each)) for each in plan.scenarios],
    }


def _trials(plan: HostPlan, scenario: Scenario) -> int:
    """Returns how often a scenario runs over each family; 0 for all if the plan runs nothing.

    A scenario's own number comes before the plan's, except that none can run in a plan of 0 trials.
    """
    if not plan.trials:
        return 0
    return scenario.trials or plan.trials


def scenario_call(scenario: Scenario, trials: int) -> dict[str, Any]:
    """Returns a scenario as the probe is sent it, without the expected endings.

    `trials` is how often it runs over each family. The probe needs no titles and no texts of steps.
    """
    return {
        "name": scenario.name,
        "steps": [step.call for step in scenario.steps],
        "families": list(scenario.families),
        "trials": trials,
    }


def _digest(call: dict[str, Any]) -> str:
    """Returns the digest of a call and of the program: 32 hexadecimal digits, half a SHA-256."""
    return hashlib.sha256((_program_digest() + repr(call)).encode("utf-8")).hexdigest()[:32]


@functools.cache
def _program_digest() -> str:
    """Returns the digest of the program."""
    return hashlib.sha256(probe_text().encode("ascii")).hexdigest()


def make_script(call: dict[str, Any], interpreter: str = "") -> bytes:
    """Returns the program with `call` as its last line, after a line with the `interpreter` to try
    first.

    The call's strings are ASCII, so its repr means the same in Python 2.7 and 3. The first line is
    for `COMMAND`'s shell; a path may have any bytes (PEP 383). Raises `ValueError` if the probe's
    text cannot be a raw string, which is a mistake in `remote/`.
    """
    text = probe_text()
    if "'''" in text or text.endswith("\\"):
        raise ValueError(
            "the probe's text must contain no ''' and not end in a backslash: it is sent inside"
            " r'''…'''"
        )
    body = (
        f"PROGRAM = r'''{text}'''\nexec(compile(PROGRAM, 'fleetaudit-probe',"
        f" 'exec'))\nmain({call!r}, PROGRAM)\n"
    )
    return (
        f"# {interpreter}".rstrip().encode("utf-8", "surrogateescape")
        + b"\n"
        + body.encode("ascii")
    )
