"""`fleetaudit probe --explain` is true: real runs are traced, and open, write, start and connect to
nothing that it does not name.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetaudit.app.probe_program import ProgramRequest, probe_program
from fleetaudit.errors import UsageError
from fleetaudit.probe.offer import new_offer
from fleetaudit.probe.protocol import COMMAND, ONLY_NATIVE, probe_text
from fleetaudit.probe.result_line import find_result
from tests.support import probe_runs
from tests.support.native import built
from tests.support.sshd import require

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CALLS = (
    "open,openat,openat2,creat,execve,execveat,socket,connect,bind,sendto,sendmsg,mkdir,mkdirat,mknod,mknodat,"
    "unlink,unlinkat,rename,renameat,renameat2,rmdir,link,linkat,symlink,symlinkat,truncate,chmod,"
    "fchmodat,chown,fchownat,lchown,setxattr,mount,umount2,sethostname,init_module,finit_module,"
    "ptrace,setns,chroot,pivot_root"
)
OPENS = re.compile(r'\b(?:open|openat|openat2|creat)\((?:AT_FDCWD, )?"([^"]*)", ([^)<]*)')
STARTS = re.compile(r'\bexecve(?:at)?\((?:AT_FDCWD, )?"([^"]*)"[^=]*(= -1)?')
FAMILIES = re.compile(r"\bsocket\((AF_\w+|PF_\w+)")
ADDRESSES = re.compile(r'inet_addr\("([^"]+)"|inet_pton\(AF_INET6, "([^"]+)"')
HARMLESS = {"open", "openat", "openat2", "execve", "socket", "connect", "bind", "sendto", "sendmsg"}
NAMES = re.compile(r"^\d+ +(\w+)\(")


def explanation(**how: object) -> str:
    return probe_program(ProgramRequest(explain=True, **how))  # type: ignore[arg-type]


def section(text: str, title: str) -> list[str]:
    """Returns the lines of a section, without their indentation."""
    body = text.split(f"\n{title}\n", 1)[1].split("\n\n", 1)[0]
    return [line.removeprefix("   ") for line in body.splitlines()]


def paths(lines: list[str]) -> list[str]:
    """Returns the paths that lines begin with."""
    return [line.split()[0] for line in lines if line.startswith("/")]


def is_named(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


@pytest.fixture(scope="module", params=["root", "nobody"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the system calls of a whole run of the shipped playbook, by the command line."""
    within = [] if request.param == "root" else probe_runs.as_nobody()
    return traced(tmp_path_factory.mktemp("trace"), *within)


def traced(folder: Path, *within: str, **how: object) -> str:
    """Returns the system calls of a probe that the command line starts."""
    program = probe_program(ProgramRequest(**how))  # type: ignore[arg-type]
    return recorded(folder, program.encode(), *within)


def recorded(folder: Path, stdin: bytes, *within: str) -> str:
    """Returns the system calls of the command line with this input, and of all that it starts."""
    require("strace", "setpriv")
    probe_runs.need_root()
    file = folder / "calls"
    strace = ["strace", "-f", "-qq", "-s", "300", "-o", str(file), "-e", f"trace={CALLS}", *within]
    done = subprocess.run(
        [*strace, "/bin/sh", "-c", COMMAND],
        input=stdin,
        env={"PATH": PATH},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert find_result(done.stdout), done.stderr
    return file.read_text()


def test_a_host_without_python_opens_and_starts_nothing_that_is_not_named(tmp_path: Path) -> None:
    """Its own shell and programs read their libraries, which are those of any host."""
    built()
    program = new_offer(probe_runs.plan_of("unread-close"), deadline_s=60).native_for_shell(
        "x86_64"
    )
    shell = b"%b\n%b %d\n" % (ONLY_NATIVE.encode(), b"0123abcd", len(program))
    lines = section(explanation(), "Where no Python works")
    named = [*paths(section(explanation(), "What is read")), *paths(lines)]
    calls = recorded(tmp_path, shell + program.compressed())
    started = {path for line in of_the_command(calls) for path, _ in STARTS.findall(line)}
    programs = {"sh", "id", *(line.split()[0] for line in lines if "  " in line)}
    assert {Path(path).name for path in started if path != "/proc/self/fd/4"} <= programs
    assert "/proc/self/fd/4" in started & {*named}
    opened = {path: flags for line in of_the_command(calls) for path, flags in OPENS.findall(line)}
    made = [path for path, flags in opened.items() if "O_CREAT" in flags]
    assert made[0] == "/dev/shm/.fleetaudit-0123abcd"
    assert [path for path in made if not is_named(path, [*paths(lines), "/proc/self/fd/4"])] == []
    written = {"/proc/self/fd/3", *paths(section(explanation(), "What is written"))}
    assert [path for path in opened if not is_named(path, [*named, *written])] == []


def of_the_command(trace: str) -> Iterator[str]:
    """Yields the calls from the moment on when the command line's own shell begins."""
    began = False
    for line in trace.splitlines():
        began = began or '["/bin/sh", "-c", "cd /' in line
        if began:
            yield line


def test_every_file_that_is_opened_is_named(trace: str) -> None:
    named = paths(section(explanation(), "What is read"))
    written = paths(section(explanation(), "What is written"))
    opened = {path for line in of_the_command(trace) for path, _ in OPENS.findall(line)}
    assert "/proc/sys/net/ipv4/tcp_fin_timeout" in opened
    assert sorted(path for path in opened if not is_named(path, [*named, *written])) == []


def test_nothing_is_written_but_what_is_named(trace: str) -> None:
    written = paths(section(explanation(), "What is written"))
    for line in of_the_command(trace):
        for path, flags in OPENS.findall(line):
            if re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", flags):
                assert is_named(path, [*written, "/dev/null"]), line
    assert all(path.startswith("/proc/") for path in written)


def test_no_call_changes_a_file_or_the_machine(trace: str) -> None:
    calls = {name for line in of_the_command(trace) for name in NAMES.findall(line)}
    assert {"execve", "socket"} <= calls
    assert calls - HARMLESS == set()


def test_every_program_that_is_started_is_named(trace: str) -> None:
    lines = section(explanation(), "What is started")
    named = [line.split()[0] for line in lines if "  " in line or len(line.split()) == 1]
    started = {path for line in of_the_command(trace) for path, _ in STARTS.findall(line)}
    assert {Path(path).name for path in started} >= {"sh", "id", "python3", "true"}
    assert [p for p in started if not {p, Path(p).name} & {*named}] == []


def test_sockets_are_of_the_named_families_and_reach_loopback_only(trace: str) -> None:
    text = "\n".join(section(explanation(), "Sockets"))
    lines = [*of_the_command(trace)]
    families = {family for line in lines for family in FAMILIES.findall(line)}
    words = {"AF_INET": "TCP", "AF_INET6": "::1", "AF_UNIX": "AF_UNIX"}
    assert [family for family in families if words.get(family, family) not in text] == []
    reached = {a or b for line in lines for a, b in ADDRESSES.findall(line)}
    assert "127.0.0.1" in reached
    assert reached <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_every_path_in_the_probes_text_is_named() -> None:
    named = explanation()
    texts = {
        node.value for node in ast.walk(ast.parse(probe_text())) if isinstance(node, ast.Constant)
    }
    found = [text for text in texts if isinstance(text, str) and re.fullmatch(r"/[\w./-]+", text)]
    assert len(found) > 20
    assert [path for path in found if path.rstrip("/") not in named] == []


def test_it_follows_the_playbook_and_its_isolation(tmp_path: Path) -> None:
    playbook = tmp_path / "small.yml"
    playbook.write_text(
        "- name: Small\n  hosts: all\n  trials: 7\n  isolation: host\n"
        "  scenarios: [unread-close/unread-close, unread-close/drained-close]\n"
        "  sysctls: {collect: [net.ipv4.tcp_keepalive_time]}\n"
    )
    text = explanation(playbooks=(str(playbook),))
    assert paths(section(text, "What is written")) == []
    assert "/proc/sys/net/ipv4/tcp_keepalive_time" in paths(section(text, "What is read"))
    assert "/proc/sys/net/ipv4/tcp_*" not in text
    scenarios = section(text, "Scenarios")
    assert len([line for line in scenarios if not line.startswith(" ")]) == 3
    assert "   1. peer sends 5 bytes" in scenarios
    assert all("7 times each" in line for line in scenarios if not line.startswith(" "))
    assert len(section(explanation(), "Scenarios")) > 10 * len(scenarios)


def test_it_names_the_python_that_the_inventory_has_tried_first(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all: {hosts: {a: {}, b: {ansible_python_interpreter: /opt/of/b}}}\n")
    named = "/opt/of/b  is tried first, by ansible_python_interpreter"
    assert named in section(explanation(sources=(str(hosts),), limit="b"), "What is started")
    assert "tried first" not in explanation(sources=(str(hosts),), limit="a")
    with pytest.raises(UsageError, match="a and b try different Pythons first"):
        explanation(sources=(str(hosts),))
    program = probe_program(ProgramRequest(sources=(str(hosts),)))  # others choose a Python
    assert "/opt/of/b" not in program


def test_it_follows_the_probe_that_the_inventory_names(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        "all: {hosts: {a: {}, b: {fleetaudit_probe: python}, c: {fleetaudit_probe: native}}}\n"
    )
    with pytest.raises(UsageError, match="a and b run different probes"):
        explanation(sources=(str(hosts),))
    only = section(explanation(sources=(str(hosts),), limit="b"), "Where no Python works")
    assert only == ["Nothing: it is not audited (fleetaudit_probe: python)."]
    text = explanation(sources=(str(hosts),), limit="c")
    assert "No Python is tried (fleetaudit_probe: native)" in text


def test_the_folders_in_which_it_looks_for_sysctls_are_named(tmp_path: Path) -> None:
    playbook = tmp_path / "sysctls.yml"
    playbook.write_text(
        "- name: Small\n  hosts: all\n  trials: 1\n  scenarios: [unread-close/unread-close]\n"
        "  sysctls:\n    collect:\n      - net.ipv4.conf.*.rp_filter\n"
        "      - net.ipv[46].neigh.*.mcast_solicit\n      - net.ipv4.tcp_?ack\n"
    )
    calls = traced(tmp_path, playbooks=(str(playbook),))
    named = paths(section(explanation(playbooks=(str(playbook),)), "What is read"))
    opened = {path for line in of_the_command(calls) for path, _ in OPENS.findall(line)}
    assert {"/proc/sys/net", "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/neigh"} <= opened
    written = paths(section(explanation(), "What is written"))
    assert [path for path in opened if not is_named(path, [*named, *written])] == []
    assert {"/proc/sys/net", "/proc/sys/net/ipv[46]/neigh"} <= {*named}
    assert named.count("/proc/sys/net/ipv4") == 1 + 1  # of the pattern, and to copy settings


# ---- a watch


@pytest.fixture(scope="module", params=["with ctypes", "without ctypes"])
def watching_trace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """Returns the explanation of a run that watches, and its system calls."""
    folder = tmp_path_factory.mktemp("watch")
    book = folder / "watch.yml"
    book.write_text("[{name: Watch, hosts: all, watch: 2s}]")
    text = explanation(playbooks=(str(book),))
    program = probe_program(ProgramRequest(playbooks=(str(book),)))
    if request.param == "without ctypes":
        program = program.replace("#\n", f"#\n{probe_runs.NO_CTYPES}", 1)
    return text, recorded(folder, program.encode())


def test_a_watch_opens_writes_and_starts_nothing_that_is_not_named(
    watching_trace: tuple[str, str],
) -> None:
    text, calls = watching_trace
    written = paths(section(text, "What is written"))
    named = [*paths(section(text, "What is read")), *written, "/dev/null"]
    lines = [*of_the_command(calls)]
    opened = {path: flags for line in lines for path, flags in OPENS.findall(line)}
    assert any(path.endswith("/events/tcp/tcp_send_reset/format") for path in opened)
    assert sorted(path for path in opened if not is_named(path, named)) == []
    for path, flags in opened.items():
        if re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", flags):
            assert is_named(path, [*written, "/dev/null"]), path
    programs = {line.split()[0] for line in section(text, "What is started") if "  " in line}
    started = {Path(path).name for line in lines for path, failed in STARTS.findall(line)}
    assert {name for name in started if not name.startswith("python")} <= {
        Path(name).name for name in programs
    }


def test_a_watch_is_explained_only_where_there_is_one(tmp_path: Path) -> None:
    book = tmp_path / "watch.yml"
    book.write_text("[{name: Watch, hosts: all, watch: {for: 5m, peers: true}}]")
    text = explanation(playbooks=(str(book),))
    assert "Watch: 300 s" in text
    assert "networks (/24 and /64)" in text
    assert "perf_event_open" not in explanation()


@pytest.mark.parametrize("name", ["firewall", "restarts"])
def test_what_the_stories_open_is_named_and_they_load_nothing(name: str, tmp_path: Path) -> None:
    text = explanation(playbooks=(name,))
    named = [*paths(section(text, "What is read")), *paths(section(text, "What is written"))]
    lines = [*of_the_command(traced(tmp_path, playbooks=(name,)))]
    opened = {path for line in lines for path, _ in OPENS.findall(line)}
    assert ("/proc/kallsyms" in opened) == (name == "firewall")
    assert sorted(path for path in opened if not is_named(path, named)) == []
    assert {call for line in lines for call in NAMES.findall(line)} - HARMLESS == set()
