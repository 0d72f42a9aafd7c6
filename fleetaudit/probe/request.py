r"""The request: from a host's plan to what its interpreter reads from stdin. Pure.

Rules: no I/O but reading the probe's own text from the package. A program whose text was cut off
does not run, because the call is its last line.

The program as it is read, which `fleetaudit probe` prints:

    # /opt/bin/python                      the Python to try first, usually none: read by `COMMAND`
    import sys; sys.path = [p for p in sys.path if p]; DEADLINE, NONCE = 57.3, ''
    PROGRAM = r'''…the text that `probe_text` returns…'''
    exec(compile('\n' * 2 + PROGRAM, 'fleetaudit-probe', 'exec'))
    main({'protocol': 2, …, 'nonce': NONCE, 'deadline': DEADLINE}, PROGRAM)

So the lines of a traceback are those of this text. The second line keeps out the modules of the
current folder, where Python looks first for a program on stdin: whoever runs it by hand may stand
anywhere. The program as it is sent, 55 KB instead of 161:

    # /opt/bin/python
    import sys; sys.path = [p for p in sys.path if p]; DEADLINE, NONCE = 57.3, '5f0c…'
    …the text of `unpacking/`…
    TEXT = unpack('''…the program from its third line on, in zlib and base64…''')
    exec(compile(TEXT, 'fleetaudit-call', 'exec'))

Where the native program may have to follow, the first word of the first line is not "#" but has the
number of bytes of the rest ("#54321"), the interpreter reads no more than these, and the last line
is `#end`: a shell that finds no interpreter reads up to it. See `command.py`.

Everything from the third line on is equal for all hosts with an equal plan, and made once: first
the objects of the plan are looked up by identity, since hosts that the same plays match share them,
then the text by equality. Of zlib's levels 9 costs 7 ms once; base85 would save 3 KB, and Python
2.7 lacks it. The docstrings are empty in what is sent, with as many lines as before: they are a
fourth of it, and without them it needs one round trip less of TCP's slow start. The comments stay.

The call contains a digest of itself, and the reply repeats it: so a reply answers one call and no
other. The second line has a nonce, random for each attempt, which the reply repeats, too: so a
reply answers one request, and an older one cannot be sent again. The program that is printed has
none: its reply is recorded.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import importlib.resources
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Any

from fleetaudit import __version__
from fleetaudit.model import HostPlan, Scenario, Service

from .command import END_OF_PYTHON
from .joiner import join
from .plan_cache import MAX_PLANS, PlanCache
from .reply import PROTOCOL
from .reply_errors import interpreter_of

_DOCSTRING = re.compile(r'^([ \t]*)"""(?!").*?"""$', re.DOTALL | re.MULTILINE)
_LINE = 120
NO_STRAY_MODULES = "import sys; sys.path = [p for p in sys.path if p]"
"""Python that looks for no module in the current folder. `sys` is always built in."""
_NONCE_BYTES = 16
_OF_ONE_REQUEST = ("nonce", "deadline")


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to the interpreter's stdin for one attempt at a host, in two parts: `head`, its own
    two lines, and `body`, the same object for all hosts with an equal plan.

    They are joined only while they are sent: a host keeps its request as long as it runs, and 60 KB
    for each of hundreds would be most of their memory. The reply must repeat `nonce`.
    """

    head: bytes
    body: bytes
    nonce: str

    def with_length(self) -> bytes:
        """Returns the program for a stdin that something else may follow on: its first word tells
        the number of its bytes from the second line on, and its last line is its end.
        """
        first, _, second = self.head.partition(b"\n")
        program = b"%b%b%b\n" % (second, self.body, END_OF_PYTHON.encode())
        return b"#%d%b\n%b" % (len(program), first.removeprefix(b"#"), program)

    def __bytes__(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True)
class _Call:
    """What hosts with an equal plan share: `body` is the program from its third line on."""

    digest: str
    body: str
    parts: tuple[str, ...]


PARTS = {"watch": "watch_host", "services": "ask_services"}
"""The modules of `remote/` that only a call with their key needs, each with the function that
returns what the reply has under that key.
"""


STEP_PARTS = {
    "stories": frozenset({"queue-up", "reconnect", "share", "vanish"}),
    "firewall": frozenset({"drop"}),
}
"""The modules of `remote/` that only a call with one of these verbs needs."""
ALL_PARTS = (*PARTS, *STEP_PARTS)


@functools.cache
def probe_text(parts: tuple[str, ...] = ()) -> str:
    """Returns the probe's text, ASCII: the modules of `remote/`, joined, with these of `PARTS`
    and `STEP_PARTS`.
    """
    return _joined("remote", "main", *parts)


@functools.cache
def _unpack_text() -> str:
    """Returns the text of `unpacking/`, which stands before the compressed program."""
    return _joined("unpacking", "unpack")


def _joined(folder: str, *first: str) -> str:
    """Returns the modules `first` of a folder of this package, with all that they import."""
    files = importlib.resources.files(__package__) / folder
    return join(lambda name: (files / f"{name}.py").read_text("ascii"), *first)


def new_request(plan: HostPlan, *, deadline_s: float) -> Request:
    """Returns the program of one host, compressed, with a nonce of its own; see `make_request`."""
    nonce = secrets.token_hex(_NONCE_BYTES)
    return Request(_first_lines(plan, deadline_s, nonce), _packed_call(plan), nonce)


def make_request(plan: HostPlan, *, deadline_s: float) -> bytes:
    """Returns the program of one host, compressed and without a nonce: its reply is recorded.

    `deadline_s` is when the probe's own alarm rings, in seconds; it is sent with one decimal. The
    expected endings are sent so that the probe reports the captured headers of trials that deviate.
    They do not change what is measured, so they are not part of the digest: a reply can be judged
    by other expectations.
    """
    return _request(_first_lines(plan, deadline_s), _packed_call(plan))


def _packed_call(plan: HostPlan) -> bytes:
    """Returns the program of a plan from its third line on, compressed."""
    call = _call_of(plan)
    return _packed(call.body, call.parts)


@functools.lru_cache(maxsize=16)
def _request(first_lines: bytes, packed: bytes) -> bytes:
    """Returns a request, the same object for hosts with the same first lines."""
    return first_lines + packed


def make_program(plan: HostPlan, *, deadline_s: float) -> str:
    """Returns the program of one host as it is read: what `make_request` compresses."""
    first_lines = _first_lines(plan, deadline_s).decode("utf-8", "replace")
    return first_lines + _call_of(plan).body


def make_script(call: dict[str, Any]) -> bytes:
    """Returns the program with any `call`, as it is read, without a Python to try first."""
    rest = {key: value for key, value in call.items() if key not in _OF_ONE_REQUEST}
    return (_heading("", call["deadline"]) + _body(rest)).encode("ascii")


def request_digest(plan: HostPlan) -> str:
    """Returns the digest of a host's call: of the program, scenarios, sysctls and isolation.

    Names, groups and the deadline are not part of it, so hosts with the same plays share one
    digest.
    """
    return _call_of(plan).digest


def _first_lines(plan: HostPlan, deadline_s: float, nonce: str = "") -> bytes:
    """Returns the two lines that are a host's own. The first is for `COMMAND`'s shell; a path may
    have any bytes (PEP 383).
    """
    interpreter = interpreter_of(plan)
    value = interpreter.value if interpreter else ""
    heading = _heading(value, round(float(deadline_s), 1), nonce)
    return heading.encode("utf-8", "surrogateescape")


def _heading(interpreter: str, deadline_s: float, nonce: str = "") -> str:
    """Returns the two lines before what hosts share."""
    first = f"# {interpreter}".rstrip()
    return f"{first}\n{NO_STRAY_MODULES}; DEADLINE, NONCE = {deadline_s!r}, {nonce!r}\n"


def _make_call(plan: HostPlan) -> _Call:
    """Returns the call of a plan."""
    call = request_call(plan)
    digest = _digest(call)
    scenarios = zip(call["scenarios"], plan.scenarios, strict=True)
    call["scenarios"] = [{**sent, "expect": list(scenario.expect)} for sent, scenario in scenarios]
    body = _body({**call, "fleetaudit": __version__, "digest": digest})
    return _Call(digest, body, parts_of(call))


_call_of = PlanCache(_make_call)


def request_call(plan: HostPlan) -> dict[str, Any]:
    """Returns the call of a host without its digest, deadline and expected endings."""
    call: dict[str, Any] = {
        "protocol": PROTOCOL,
        "isolation": plan.isolation,
        "sysctls": list(plan.sysctls_collect),
        "scenarios": [scenario_call(each, trials_of(plan, each)) for each in plan.scenarios],
    }
    if plan.watch:
        call["watch"] = {"seconds": plan.watch.seconds, "peers": plan.watch.peers}
    if plan.services:
        call["services"] = list(map(service_call, plan.services))
    return call


def service_call(service: Service) -> dict[str, Any]:
    """Returns a service as the probe is sent it: what is asked, and nothing of what is expected."""
    return {
        "name": service.name,
        "url": service.url,
        "address": service.address,
        "port": service.port,
        "method": service.method,
        "body": service.body,
        "tries": service.tries,
        "payload": service.payload,
        "checks": list(service.checks),
        "writings": list(service.writings),
        "idle_at_most": service.idle_at_most,
    }


def trials_of(plan: HostPlan, scenario: Scenario) -> int:
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
    program = _program_digest(parts_of(call))
    return hashlib.sha256((program + repr(call)).encode("utf-8")).hexdigest()[:32]


def parts_of(call: dict[str, Any]) -> tuple[str, ...]:
    """Returns the modules of `PARTS` and `STEP_PARTS` that a call needs."""
    verbs = {step[1] for scenario in call["scenarios"] for step in scenario["steps"]}
    found = [part for part in PARTS if part in call]
    return (*found, *(part for part, known in STEP_PARTS.items() if not verbs.isdisjoint(known)))


@functools.cache
def _program_digest(parts: tuple[str, ...]) -> str:
    """Returns the digest of the program with these parts."""
    return hashlib.sha256(probe_text(parts).encode("ascii")).hexdigest()


def _body(call: dict[str, Any]) -> str:
    """Returns the program from its third line on, with `call` as its last line.

    The call's strings are ASCII, so its repr means the same in Python 2.7 and 3. Raises
    `ValueError` if the probe's text cannot be a raw string, which is a mistake in `remote/`.
    """
    parts = parts_of(call)
    text = probe_text(parts)
    functions = "".join(f", {part}={PARTS[part]}" for part in parts if part in PARTS)
    if "'''" in text or text.endswith("\\"):
        raise ValueError(
            "the probe's text must contain no ''' and not end in a backslash: it is sent inside"
            " r'''…'''"
        )
    return (
        f"PROGRAM = r'''{text}'''\n"
        "exec(compile('\\n' * 2 + PROGRAM, 'fleetaudit-probe', 'exec'))\n"
        f"main({repr(call)[:-1]}, 'nonce': NONCE, 'deadline': DEADLINE}}, PROGRAM{functions})\n"
    )


@functools.lru_cache(MAX_PLANS)
def _packed(body: str, parts: tuple[str, ...]) -> bytes:
    """Returns Python that runs a body with these parts, which it contains compressed, with empty
    docstrings.
    """
    short = body.replace(probe_text(parts), _short_text(parts), 1).encode("ascii")
    data = binascii.b2a_base64(zlib.compress(short, 9), newline=False).decode("ascii")
    lines = "\n".join(data[i : i + _LINE] for i in range(0, len(data), _LINE))
    program = (
        f"{_unpack_text()}\nTEXT = unpack('''\n{lines}\n''')\n"
        "exec(compile(TEXT, 'fleetaudit-call', 'exec'))\n"
    )
    return program.encode("ascii")


@functools.cache
def _short_text(parts: tuple[str, ...]) -> str:
    """Returns the probe's text with empty docstrings; each line keeps its number.

    In that text three double quotes at the beginning of a line always begin a docstring, and at its
    end always end one.
    """
    return _DOCSTRING.sub(_empty_docstring, probe_text(parts))


def _empty_docstring(docstring: re.Match[str]) -> str:
    """Returns an empty docstring with as many lines."""
    return docstring[1] + '""' + "\n" * docstring[0].count("\n")
