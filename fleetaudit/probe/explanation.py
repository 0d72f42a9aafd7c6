"""What the probe will do on a host, line by line, for people who must approve it. Pure.

Rules: it is made from the call that the host is sent and from the probe's own constants, never from
a copy of them. A path that may be opened, and a program that may be started, stands at the
beginning of a line of its own, with three blanks before it. tests/probe/test_explanation.py traces
the system calls of real runs and fails if one is not named here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import SimpleNamespace
from typing import Any

from fleetaudit import __version__
from fleetaudit.model import HostPlan, Scenario
from fleetaudit.text.sanitize import printable_line

from . import watch_explanation
from .command import COMMAND, NO_PYTHON, REPLY_MARK, SHELL_MARK
from .reply_errors import choice_of, interpreter_of
from .request import probe_text, request_call, request_digest
from .result_line import MAX_LINE

_MIB = 1024 * 1024
_PYTHONS = re.compile(r"for p in (.*?); do")
_FLAGS = re.compile(r'exec "\$@" (.*?) -c')

_FOLDERS = re.compile(r"set -- (/.*?);")
_QUOTE = '"'
_WILDCARDS = frozenset("*?[")
_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6", "unix": "AF_UNIX"}


@dataclass(frozen=True)
class _Request:
    """What is explained: a plan, its call, when the alarm rings, in seconds, and the constants of
    the probe.
    """

    plan: HostPlan
    call: dict[str, Any]
    deadline_s: float
    const: SimpleNamespace

    @property
    def is_isolated(self) -> bool:
        """Whether the probe tries to make a private network namespace."""
        return bool(self.call["isolation"] != "host")

    def steps(self, verb: str) -> list[tuple[str | int, ...]]:
        """Returns the steps with a verb."""
        steps = (step for scenario in self.call["scenarios"] for step in scenario["steps"])
        return [step for step in steps if step[1] == verb]


def explain(plan: HostPlan, *, deadline_s: float) -> str:
    """Returns what the probe will do for the plan of one host, in plain words.

    `deadline_s` is when its alarm rings, in seconds, if somebody else than fleetaudit starts it.
    """
    request = _Request(plan, request_call(plan), deadline_s, _constants())
    sections = (f"{title}\n{_indented(lines(request))}" for title, lines in _SECTIONS.items())
    return "\n".join((_heading(request), *sections))


def _indented(lines: Iterable[str]) -> str:
    """Returns the lines of a section."""
    return "".join(f"   {line}\n" for line in lines)


def _heading(request: _Request) -> str:
    """Returns what stands first: of which call this is the explanation."""
    return f"""\
What the probe of fleetaudit {__version__} does on a host

Call {request_digest(request.plan)}, which the reply repeats: it stands for the program, the
scenarios, the sysctls and the isolation. `fleetaudit probe` prints the program itself.
"""


@functools.cache
def _constants() -> SimpleNamespace:
    """Returns the constants of the probe, from the text that is sent."""
    found: dict[str, Any] = {}
    for node in ast.parse(probe_text()).body:
        if isinstance(node, ast.Assign) and _is_constant(node.value):
            with contextlib.suppress(NameError):  # made from one that is not constant here
                exec(compile(ast.Module([node], []), "constants", "exec"), found)  # noqa: S102 - our own text
    return SimpleNamespace(**found)


def _is_constant(value: ast.expr) -> bool:
    """Returns whether an expression is made from numbers, texts and names only."""
    return all(isinstance(node, _CONSTANT) for node in ast.walk(value))


_CONSTANT = (
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.Name,
    ast.BinOp,
    ast.operator,
    ast.expr_context,
)


# -- what starts


def _programs(request: _Request) -> Iterator[str]:
    """Yields the programs that may be started."""
    yield "Somebody starts this command line, the same for every host: sshd, sudo, or a person."
    yield f"    {COMMAND}"
    yield "/bin/sh  runs it, in the folder /"
    yield f"id  prints the user, in the first line: {SHELL_MARK}UID NAME"
    yield f"A Python is looked for by an empty program ({_python_flags()} -c '')."
    yield "The first that works is taken:"
    interpreter = interpreter_of(request.plan)
    if interpreter and interpreter.value:
        yield f"{printable_line(interpreter.value)}  is tried first, by {interpreter.name}"
    yield from _python_names()
    yield "It replaces the shell and reads the program from standard input. Its flags keep PYTHON*"
    yield "variables and modules of the user out, and it writes no bytecode."
    yield _IF_NONE_WORKS[choice_of(request.plan)]
    if request.is_isolated:
        yield (
            "unshare  of util-linux, only if Python itself cannot make the namespace; it starts"
            " that Python again"
        )
    if request.steps("end"):
        yield "/bin/true  for a step “… execs”; if it is missing, that Python with an empty program"
    yield from watch_explanation.programs(request.call)
    yield "No other program is started."


def _python_names() -> list[str]:
    """Returns the names and paths of the interpreters that the command line tries."""
    found = _PYTHONS.search(COMMAND)
    return found[1].split() if found else []


def _python_flags() -> str:
    """Returns the flags of the interpreter."""
    found = _FLAGS.search(COMMAND)
    return found[1] if found else ""


# -- files


def _files_read(request: _Request) -> Iterator[str]:
    """Yields the files that may be read."""
    yield from _own_files()
    yield "By the probe:"
    yield "/etc/os-release  ID, VERSION_ID and PRETTY_NAME"
    yield "/usr/lib/os-release  the same, if the first is missing"
    yield "/etc/machine-id  only a keyed hash of it leaves the host"
    yield "/proc/uptime"
    yield f"Counters since boot: {', '.join(request.const.SINCE_BOOT)}:"
    yield from request.const.COUNTER_FILES
    yield "How many sockets hold unread data, and how much (no address, port or user leaves the"
    yield "host), and the state of the probe's own sockets:"
    yield "/proc/net/tcp"
    yield "/proc/net/tcp6"
    yield "/proc/self/stat  on which CPU the probe runs; it stays there"
    yield "/proc/self/ns/net  the name of its network namespace"
    yield "/proc/self/exe  only if Python does not know its own path"
    yield f"{request.const.STEERING}  whether loopback is steered between CPUs"
    yield "/sys/module/tcp_diag  whether it is loaded: the probe loads no kernel module"
    yield "/lib/modules/*/modules.builtin  the same"
    yield "/proc/sys/net/ipv4/tcp_available_ulp"
    if request.steps("drop"):
        yield "/proc/kallsyms  whether nftables and conntrack are in the kernel's memory"
    yield from watch_explanation.files_read(request.call)
    yield from _sysctls_asked(request)
    yield from _settings_copied(request)
    yield "A name that ends in _key or _secret is never read."


def _own_files() -> Iterator[str]:
    """Yields the files that the programs read for themselves, where Debian has them."""
    yield "By /bin/sh, id and Python for themselves (a Python elsewhere has its files there):"
    yield "/etc/ld.so.cache"
    yield "/lib/*.so*  shared libraries"
    yield "/lib64/*.so*"
    yield "/usr/lib/*.so*"
    yield "/usr/lib64/*.so*"
    yield "/usr/lib/python*  Python's own library"
    yield "/usr/lib64/python*"
    yield "/usr/local/lib/python*"
    yield "/usr/bin/py*  Python's own configuration"
    yield "/usr/pyvenv.cfg"
    yield "/usr/lib/locale/*  language"
    yield "/usr/lib/*gconv*"
    yield "/usr/share/locale/*"
    yield "/etc/localtime  time zone"
    yield "/usr/lib/ssl/openssl.cnf  by Python's hashlib"
    yield "/etc/ssl/openssl.cnf"
    yield "/proc/filesystems  by id, if it has SELinux"
    yield "/etc/nsswitch.conf  by id: the name of the user, from where this host keeps its users"
    yield "/etc/passwd"
    yield "/  names of files, to find a python3"
    yield "/usr/bin/"
    yield "/usr/local/bin/"


def _sysctls_asked(request: _Request) -> Iterator[str]:
    """Yields the sysctls that the playbook asks for, and the files that set them at boot."""
    names = request.call["sysctls"]
    if names:
        yield f"The {len(names)} sysctls of the playbook, of this host and the kernel's defaults:"
    yield from map(_sysctl_path, names)
    for folder in dict.fromkeys(chain.from_iterable(map(_folders_listed, names))):
        yield f"{folder}  names of files"
    yield "Where these are set at boot, the file and the line, if everybody may read the file:"
    for folder in request.const.SYSCTL_FOLDERS:
        yield f"{folder}  names of files"
        yield f"{folder}/*.conf"
    yield request.const.SYSCTL_CONF


def _folders_listed(pattern: str) -> Iterator[str]:
    """Yields the folders whose names a pattern is compared with: one for each level that has a
    wildcard.
    """
    levels = pattern.split(".")
    for number, level in enumerate(levels):
        if not _WILDCARDS.isdisjoint(level):
            yield _sysctl_path(".".join(levels[:number]))


def _sysctl_path(name: str) -> str:
    """Returns the path of a sysctl, whose name may have wildcards."""
    dots_and_slashes = str.maketrans("./", "/.")  # the name of an interface may have a dot
    return f"/proc/sys/{name.translate(dots_and_slashes)}"


def _settings_copied(request: _Request) -> Iterator[str]:
    """Yields the settings of the host that are copied into the private namespace."""
    if not request.is_isolated:
        return
    yield "The settings that are copied into the private namespace:"
    yield "/proc/sys/net/ipv4  names of files"
    left_out = ", ".join(request.const.NOT_COPIED)
    yield f"/proc/sys/net/ipv4/tcp_*  except names that begin with {left_out}"
    yield from map(_sysctl_path, request.const.ALSO_COPIED)
    yield "/proc/sys/net/mptcp  names of files"
    yield "/proc/sys/net/mptcp/*"


def _files_written(request: _Request) -> Iterator[str]:
    """Yields what is written."""
    yield "No file of a disk: none is created, changed, renamed or removed."
    yield from watch_explanation.files_written(request.call)
    if not request.is_isolated:
        yield "Nothing at all: this call makes no namespace."
        return
    yield "Without root, these make the user namespace of the probe's own process:"
    yield "/proc/self/setgroups"
    yield "/proc/self/uid_map"
    yield "/proc/self/gid_map"
    yield "Inside the private network namespace, which ends with the probe, the copied settings:"
    yield "/proc/sys/net/ipv4/tcp_*"
    yield from map(_sysctl_path, request.const.ALSO_COPIED)
    yield "/proc/sys/net/mptcp/*"
    yield "By steps, also inside, and back to the host's value after each trial:"
    yield from dict.fromkeys(_sysctl_path(str(step[2])) for step in request.steps("sysctl"))


# -- without a Python

_IF_NONE_WORKS = {
    "auto": "If no Python works, the native probe is taken: see “Where no Python works”.",
    "native": "No Python is tried (fleetaudit_probe: native): see “Where no Python works”.",
    "python": f"If no Python works, the command ends with status {NO_PYTHON}.",
}
"""What happens without a Python, by the probe that a host may run."""


def _without_python(request: _Request) -> Iterator[str]:
    """Yields what else happens on a host that runs the native probe."""
    if choice_of(request.plan) == "python":
        yield "Nothing: it is not audited (fleetaudit_probe: python)."
        return
    yield "The shell takes the native probe, which does the same as this Python, by these programs:"
    yield "uname  prints the machine (-m)"
    yield "gzip  expands the probe (-dc); whether it works is found by trying"
    yield "cat  copies the probe if there is no gzip"
    yield "rm  removes the name of the file, which is still empty"
    yield "chmod  lets its owner execute the file, which has no name any more"
    yield "wc  counts its bytes (-c)"
    yield "/proc/self/fd/4  is the file: an empty script at first, then the native probe"
    yield "The file is created in the first of these folders that allows execution and has room."
    yield "Its name, which has a random number, is removed before anything is written into it:"
    folders = _FOLDERS.search(COMMAND)
    for folder in folders[1].split() if folders else ():
        yield f"{folder.strip(_QUOTE)}/.fleetaudit-*"


# -- the rest


def _namespaces(request: _Request) -> Iterator[str]:
    """Yields the namespaces that are made."""
    yield from watch_explanation.namespaces(request.call)
    if not request.is_isolated:
        yield "None: the playbook says `isolation: host`."
        return
    yield "A private network namespace (unshare CLONE_NEWNET) for each process that runs scenarios."
    yield "Without root also a user namespace (CLONE_NEWUSER), which has no right outside itself."
    yield "Its only interface is its own lo. The kernel removes both when the probe ends."
    yield _WITHOUT_NAMESPACE[request.call["isolation"]]


_WITHOUT_NAMESPACE = {
    "auto": "If the host allows neither, sockets on the host's own lo are used instead.",
    "namespace": "If the host allows neither, no scenario runs.",
}


def _sockets(request: _Request) -> Iterator[str]:
    """Yields the sockets that are opened."""
    yield "TCP and MPTCP from 127.0.0.1 to itself, and ::1 to itself; the kernel chooses the ports."
    yield "UDP from 127.0.0.1 to itself, to see that loopback has delivered everything."
    yield "AF_UNIX pairs, without a name."
    yield "AF_NETLINK: the state of the probe's own sockets (sock_diag)."
    yield (
        f"AF_PACKET on lo: the first {request.const.SNAP} bytes of packets, by a filter for the"
        " probe's own ports, which is set before the first packet"
    )
    if any(map(request.steps, ("resend", "resend-fin", "send-out-of-order"))):
        yield "Raw TCP, for steps that send a segment; in a private namespace only."
    if request.steps("drop"):
        yield "AF_NETLINK (nfnetlink): one table, in a private namespace only, for one trial."
    yield "id may ask the host's own name service (/var/run/nscd/socket, LDAP) for the user's name."
    yield "No address but loopback is ever connected to, listened on or sent to."


def _scenarios(request: _Request) -> Iterator[str]:
    """Yields the steps of every scenario."""
    for scenario, sent in zip(request.plan.scenarios, request.call["scenarios"], strict=True):
        yield from _scenario(scenario, sent)


def _scenario(scenario: Scenario, sent: dict[str, Any]) -> Iterator[str]:
    """Yields one scenario."""
    families = ", ".join(_FAMILIES[family] for family in sent["families"])
    yield f"{scenario.name}: {scenario.title} ({families}; {sent['trials']} times each)"
    for number, step in enumerate(scenario.steps, 1):
        yield f"   {number}. {step.text}"


def _bounds(request: _Request) -> Iterator[str]:
    """Yields the bounds."""
    const = request.const
    yield f"Time: an alarm rings after {request.deadline_s:g} s; if fleetaudit starts the probe,"
    yield "after what is left of --host-deadline. What is not done then is not run."
    yield f"{const.MERCY:g} s later the kernel ends the probe, whatever it does."
    yield f"Processes: {const.MAX_WORKERS + 1} that run scenarios, on one CPU, and each of them has"
    yield "one more at a time for a step, or to try a namespace."
    yield f"Bytes: at most {const.MAX_BULK // _MIB} MiB in one step, over loopback."
    yield f"Connections: at most {const.MAX_STRANGERS} at once, and the two ends of a trial."
    buffer = f"its capture in the kernel ({const.CAPTURE_BUFFER // _MIB} MiB)"
    yield f"Memory: no more than such a step, {buffer} and the reply need."
    yield f"Repeats: at most {const.MAX_REPEATS} trials of a scenario, if the host stalled."
    yield f"Sysctls: at most {const.MAX_SYSCTLS}."
    yield f"Segments reported: at most {const.MAX_TRACE} of a trial."
    yield from watch_explanation.bounds(request.call)
    yield f"Reply: one line; a longer one than {MAX_LINE // _MIB} MiB is refused."


def _reply(request: _Request) -> Iterator[str]:
    """Yields what comes back."""
    mark = REPLY_MARK.decode().strip()
    yield f"One line on standard output, {mark} and JSON: kernel, operating"
    yield "system, Python, the sysctls and counters above, and of each trial its segments, the"
    yield "peer's socket and the counters that moved. No other content of files, no environment,"
    yield "no process list, no user list."
    yield from watch_explanation.reply(request.call)


def _never(request: _Request) -> Iterator[str]:
    """Yields what the probe never does."""
    yield "It leaves nothing on a disk, changes no setting of the host and loads no kernel module."
    yield "It sees no packet of others: the filter of its capture lets its own ports through only."
    yield "It sends nothing to another machine, and resolves no host name."
    yield "It touches no process but its own, and starts nothing that outlives it."


def _end(request: _Request) -> Iterator[str]:
    """Yields how the probe ends."""
    yield "By itself, after its line; by its alarm; or when the connection ends (SIGHUP, SIGPIPE)."
    yield "Killed at any moment, it leaves nothing: the kernel ends its other process with it, and"
    yield "removes its sockets and namespaces."


_Lines = Callable[[_Request], Iterator[str]]
_SECTIONS: dict[str, _Lines] = {
    "What is started": _programs,
    "What is read": _files_read,
    "What is written": _files_written,
    "Where no Python works": _without_python,
    "Namespaces": _namespaces,
    "Sockets": _sockets,
    "Scenarios": _scenarios,
    "Bounds": _bounds,
    "What comes back": _reply,
    "What it never does": _never,
    "How it ends": _end,
}
