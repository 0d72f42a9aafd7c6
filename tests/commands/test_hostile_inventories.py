"""Inventories that are mistaken, or mean harm: the real command ends in time and in bounds, at a
file and a line.

Each command runs under limits of memory and CPU that its bug would hit. Nothing here may end with a
traceback.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fleetaudit.errors import InputError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.entries import Origin
from fleetaudit.inventory.host_names import InvalidNameError, check_host_name
from fleetaudit.inventory.ini_values import split_words
from fleetaudit.inventory.printing import render_list
from fleetaudit.text.regular_expressions import InvalidExpressionError, MatchBudget, TimeUsedUpError
from fleetaudit.text.sanitize import escape_line, is_visible
from tests.support.commands import Workspace
from tests.support.sshd import require
from tests.support.timing import BUSY_S

MEMORY, CPU_S, WALL_S = 1 << 30, 30, 100
YAML = "all:\n  hosts:\n    {}\n"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def run(place: Workspace, *arguments: str, unprivileged: bool = False) -> tuple[int, str, str]:
    """Returns the exit status, stdout and stderr of the real command under limits.

    Unprivileged means as somebody whom the modes of files hold back, which root only is without two
    capabilities.
    """
    command, environment = place.command(*arguments)
    if unprivileged and os.getuid() == 0:
        require("setpriv")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    ended = subprocess.run(
        command,
        cwd=place.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WALL_S,
        preexec_fn=limit,
    )
    out, err = ended.stdout.decode("utf-8", "surrogateescape"), ended.stderr.decode()
    assert "Traceback" not in err, err
    assert "bug in fleetaudit" not in err, err
    return ended.returncode, out, err


def refused(place: Workspace, *arguments: str, unprivileged: bool = False) -> str:
    """Returns the error about an inventory: it is short, and has nothing that a terminal obeys."""
    status, out, err = run(place, "inventory", *arguments, "--list", unprivileged=unprivileged)
    assert (status, out) == (65, ""), err
    assert len(err) < 1500
    assert all(line.isprintable() for line in err.splitlines())
    return err


# ---- files


def aliases(deep: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join(
        lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, deep)]
    )


def groups(count: int) -> str:
    return "".join(f"[g{n}:children]\ng{n + 1}\n" for n in range(count)) + f"[g{count}]\nh\n"


FILES: dict[str, tuple[str, str | bytes, str]] = {
    # name: file, content, what stderr has
    "a billion laughs": ("hosts.yml", aliases(12), r"hosts\.yml:7:\d+: more than 5000000 values"),
    "a quadratic bomb of a long text": (
        "hosts.yml",
        (
            f"s: &s {'x' * 1_000_000}\nall: {{vars: {{l: [{', '.join(['*s'] * 100_000)}]}}, hosts:"
            " {a: }}\n"
        ),
        r"hosts\.yml:2:\d+: more than 5000000 values",
    ),
    "a quadratic bomb of mappings": (
        "hosts.yml",
        f"b: &b {{{', '.join(f'k{n}: 0' for n in range(5000))}}}\n"
        + "".join(f"m{n}: *b\n" for n in range(2000)),
        r"hosts\.yml:\d+:\d+: more than 5000000 values",
    ),
    "a bomb of merge keys": (
        "hosts.yml",
        f"b: &b {{{', '.join(f'k{n}: 0' for n in range(5000))}}}\n"
        + "".join(f"m{n}: {{<<: [{', '.join(['*b'] * 100)}]}}\n" for n in range(50)),
        r"hosts\.yml:\d+:\d+: more than 5000000 values",
    ),
    "a number of sixties": (
        "hosts.yml",
        YAML.format(f"a: {{x: 1{':00' * 300_000}}}"),
        r"hosts\.yml:3:\d+: a number",
    ),
    "a number in hex": (
        "hosts.yml",
        YAML.format(f"a: {{x: 0x{'f' * 10_000}}}"),
        r"hosts\.yml:3:\d+: a number",
    ),
    "a number of digits": (
        "hosts.yml",
        YAML.format(f"a: {{x: {'9' * 10_000}}}"),
        r"hosts\.yml:3:\d+: a number",
    ),
    "a number in an INI": (
        "hosts",
        f"a\nb x=0x{'f' * 10_000}\n",
        r"hosts:2: the value of “x” has too long a number",
    ),
    "a number in a list in an INI": (
        "hosts",
        f"a x=[0x{'f' * 10_000}]\n",
        r"hosts:1: the value of “x” has too long",
    ),
    "a tag of Python": (
        "hosts.yml",
        YAML.format("a: !!python/object/apply:os.system [id]"),
        r":3:\d+: .*not run code",
    ),
    "an unknown tag": (
        "hosts.yml",
        YAML.format("a: {x: !reference [b]}"),
        r"hosts\.yml:3:\d+: the tag !reference",
    ),
    "a tag of a megabyte": (
        "hosts.yml",
        YAML.format(f"a: {{x: !{'t' * 900} y}}"),
        r"hosts\.yml:3:\d+: the tag !t+…",
    ),
    "a loop of groups": (
        "hosts",
        "[a:children]\nb\n[b:children]\na\n[a]\nh\n",
        r"hosts:\d: a loop of groups: ",
    ),
    "a loop of a thousand groups": (
        "hosts",
        "".join(f"[g{n}:children]\ng{(n + 1) % 1000}\n" for n in range(1000)) + "[g0]\nh\n",
        r"hosts:\d+: a loop of groups: .*…",
    ),
    "a group in itself": (
        "hosts",
        "[a]\nh\n[a:children]\na\n",
        r"hosts:4: a loop of groups: a > a",
    ),
    "groups 5,000 deep": ("hosts", groups(5000), r"hosts:\d+: groups nested deeper than 100"),
    "a group's name of a megabyte": (
        "hosts",
        f"a\n[{'b' * 1_000_000}]\na\n",
        r"hosts:2: “b+…” is longer than 1024",
    ),
    "a name with a Hangul filler": ("hosts", "web\u31641\n", r"hosts:1: .*U\+3164, in the name"),
    "a blank Braille pattern": ("hosts", "web\u2800\n", r"hosts:1: .*U\+2800, in the name"),
    "a group with a variation selector": ("hosts", "a\n[web\ufe0f]\na\n", r"hosts:2: .*U\+FE0F"),
    "a group in JSON with a filler": (
        "hosts.json",
        '{"web\u3164": {"hosts": ["a"]}}',
        r"hosts\.json:1:\d+: .*U\+3164, in the name",
    ),
    "marks over other text": (
        "hosts",
        f"web{5 * chr(0x301)}\n",
        r"hosts:1: .*U\+0301, in the name",
    ),
    "a mark at the beginning": (
        "hosts.yml",
        YAML.format('"\u0338web": {}'),
        r"hosts\.yml:3:\d+: .*U\+0338",
    ),
    "a name of a megabyte": (
        "hosts",
        f"a\n{'b' * 1_000_000}\n",
        r"hosts:2: “b+…” is longer than 1024",
    ),
    "a line of a megabyte": (
        "hosts",
        "a\n" + "b " * 500_000 + "\n",
        r"hosts:2: a word without “=”",
    ),
    "a port of a megabyte": (
        "hosts",
        "a:" + "1" * 900 + "\n",
        r"hosts:1: “1+…” in “a:1+…” is not a port",
    ),
    "a key of a megabyte twice": (
        "hosts.json",
        '{"%s": 1, "%s": 2}' % (("k" * 1_000_000,) * 2),
        r"hosts\.json:1:\d+: ",
    ),
    "200,000 hosts in a range": (
        "hosts",
        "a\nh[1:200000]\n",
        r"hosts:2: “h\[1:200000\]” stands for 200000 names",
    ),
    "a range of ranges": (
        "hosts",
        "h[1:9999][1:9999][1:9999]\n",
        r"hosts:1: .*more than the 100000 allowed",
    ),
    "a hundred large ranges": (
        "hosts",
        "".join(f"h{n}-[1:100000]\n" for n in range(100)),
        r"hosts:3: more than 250000 hosts",
    ),
    "one large range a thousand times": (
        "hosts",
        "h[1:100000]\n" * 1000,
        r"hosts:51: more than 5000000 entries",
    ),
    "flow lists 10,000 deep": (
        "hosts.yml",
        "a:\n " + "[" * 10_000 + "]" * 10_000,
        r"hosts\.yml:2:\d+: nested deeper",
    ),
    "flow mappings 10,000 deep": (
        "hosts.yml",
        "{a: " * 10_000,
        r"hosts\.yml:1:\d+: nested deeper than 100",
    ),
    "blocks 10,000 deep": (
        "hosts.yml",
        "- " * 10_000 + "a",
        r"hosts\.yml:1:\d+: nested deeper than 100",
    ),
    "JSON 100,000 deep": (
        "hosts.json",
        "\n" + "[" * 100_000 + "]" * 100_000,
        r"hosts\.json:2:101: nested deeper",
    ),
    "JSON objects 10,000 deep": (
        "hosts",
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        r"hosts:1:\d+: nested deeper",
    ),
    "JSON of 20 million values": (
        "hosts.json",
        '{"a": [' + "1," * 20_000_000 + "1]}",
        r"hosts\.json: more than 5000000",
    ),
    "a tab": ("hosts.yml", "all:\n\thosts:\n", r"hosts\.yml:2:1: a tab"),
    "NUL in YAML": (
        "hosts.yml",
        YAML.format("a: {x: b\0}"),
        r"hosts\.yml:3:\d+: the character NUL",
    ),
    "NUL in a name in an INI": ("hosts", "a\nb\0c\n", r"hosts:2: a control character, U\+0000"),
    "an escape sequence in a name": (
        "hosts",
        "a\x1b[2Jb\n",
        r"hosts:1: a control character, U\+001B",
    ),
    "an escape sequence in a name, escaped": (
        "hosts.yml",
        YAML.format(r'"a\x1b[2J": '),
        r":3:\d+: a control character",
    ),
    "an escape sequence of one character": (
        "hosts.yml",
        YAML.format(r'"a\x9b2J": '),
        r":3:\d+: an invisible character, U\+009B",
    ),
    "a right-to-left mark in a name": (
        "hosts",
        "a\u202eb\n",
        r"hosts:1: an invisible character, U\+202E",
    ),
    "a right-to-left mark in a group": (
        "hosts",
        "[a\u202eb]\nh\n",
        r"hosts:1: an invisible character",
    ),
    "a right-to-left mark in a key": (
        "hosts.yml",
        "web: {hosts: {a: }, h\u202ests: }\n",
        r":1:\d+: unknown key",
    ),
    "an escape sequence in a group": (
        "hosts.yml",
        '"a\\x1b[2J": {hosts: {h: }}\n',
        r"hosts\.yml:1:1: an invisible character",
    ),
    "a newline in a name": (
        "hosts.yml",
        YAML.format(r'"a\nb": '),
        r"hosts\.yml:3:\d+: “a b” is not a host name",
    ),
    "a newline in JSON": (
        "hosts.json",
        '{"web": {"hosts": {"a\\nb": null}}}',
        r"hosts\.json:1:\d+: “a b” is not a host",
    ),
    "blanks in a name": (
        "hosts.yml",
        YAML.format("a b: "),
        r"hosts\.yml:3:\d+: “a b” is not a host name",
    ),
    "invalid UTF-8": (
        "hosts.yml",
        b"all:\n  hosts:\n    caf\xe9: \n",
        r"hosts\.yml:3:8: byte 0xe9",
    ),
    "invalid UTF-8 in an INI": ("hosts", b"a\ncaf\xe9\n", r"hosts:2:4: byte 0xe9"),
    "UTF-16": (
        "hosts.yml",
        YAML.format("a: ").encode("utf-16"),
        r"hosts\.yml: UTF-16; only UTF-8 is read",
    ),
    "half a character": (
        "hosts.json",
        '{"web": {"hosts": {"\\ud800": null}}}',
        r"hosts\.json:1:\d+: half a character",
    ),
    "a duplicate key": (
        "hosts.yml",
        "all:\n  hosts:\n    a: \n    b: \n    a: \n",
        r"hosts\.yml:5:5: duplicate key “a”; the first is in line 3",
    ),
    "a duplicate key in JSON": (
        "hosts.json",
        '{"web":\n{}, "web": {}}',
        r"hosts\.json:2:5: .*first is in line 1",
    ),
    "a port of 65536": ("hosts", "a:65536\n", r"hosts:1: “65536” in “a:65536” is not a port"),
    "a port of 0": (
        "hosts.yml",
        YAML.format("'a:0': "),
        r"hosts\.yml:3:\d+: “0” in “a:0” is not a port",
    ),
    "a port below 0": ("hosts", "a:-1\n", r"hosts:1: “-1” in “a:-1” is not a port"),
    "a name that is no text": (
        "hosts.yml",
        YAML.format("no: "),
        r"hosts\.yml:3:\d+: .*put the name in quotes|:3:\d+: ",
    ),
    "an empty file": ("hosts.yml", "", r"hosts\.yml: empty"),
    "nothing but comments": ("hosts", "# a\n; b\n", r"hosts: empty"),
    "nothing but blanks and a BOM": ("hosts.yml", b"\xef\xbb\xbf\n \n", r"hosts\.yml: empty"),
    "broken variables of a group": ("group_vars/all", "a: [\n", r"group_vars/all:2:\d+: "),
    "variables of a group that are a bomb": (
        "group_vars/all.yml",
        aliases(12),
        r"group_vars/all\.yml:7:\d+: more than",
    ),
    "a garbled vault": ("hosts", "$ANSIBLE_VAULT;9.9;ROT13\nzz\n", r"hosts:1: "),
    "a script that may not be run": (
        "hosts",
        "#!/bin/sh\n",
        r"hosts: the program is not executable",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_in_bounded_time_and_memory_with_its_line(
    name: str, place: Workspace
) -> None:
    file, content, message = FILES[name]
    (place.path / file).parent.mkdir(exist_ok=True)
    (place.path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    if file.startswith("group_vars"):
        place.write("hosts", "a\n")
    err = refused(place, "hosts" if file.startswith("group_vars") else file)
    assert re.search(message, err), err


@pytest.mark.parametrize(
    ("content", "host", "variables"),
    [
        (b"\xef\xbb\xbfall:\r\n  hosts:\r\n    a: {x: 1}\r\n", "a", '"x": 1'),
        (b"\xef\xbb\xbf[web]\r\na x=1\r\n", "a", '"x": 1'),
        (b"all: {hosts: {a: {x: 0022, y: 12:30, z: yes, t: 'yes'}}}\n", "a", '"t": "yes"'),
        (f"a x='{'y' * 1_000_000}'\n".encode(), "a", '"x": "yyy'),
        (f"all: {{hosts: {{a: {{x: {'y' * 1_000_000}}}}}}}\n".encode(), "a", '"x": "yyy'),
        (b'{"w": {"hosts": {"a": {"x": "yyy' + b"y\\n" * 5_000_000 + b'"}}}}', "a", '"x": "yyy'),
        (b"a x=" + b"[" * 10_000 + b"]" * 10_000 + b"\n", "a", '"x": "[[['),
        (b"../../etc/passwd x=1\n..\n[../..]\nb\n", "../../etc/passwd", '"x": 1'),
    ],
)
def test_unusual_but_valid_inventories_are_read(
    place: Workspace, content: bytes, host: str, variables: str
) -> None:
    (place.path / "hosts").write_bytes(content)
    status, out, err = run(place, "inventory", "hosts", "--list")
    assert (status, err) == (0, "")
    assert f'"{host}": {{' in out
    assert variables in out


def test_a_hundred_thousand_hosts_of_a_range_are_read(place: Workspace) -> None:
    place.write("hosts", "h[1:100000] x=1\n")
    status, out, _ = run(place, "inventory", "hosts", "--list-hosts")
    assert (status, out.count("\n")) == (0, 100_000)


def test_a_graph_that_doubles_at_every_level_is_refused(place: Workspace) -> None:
    levels = "".join(
        f"[g{n}:children]\na{n}\nb{n}\n[a{n}:children]\ng{n + 1}\n[b{n}:children]\ng{n + 1}\n"
        for n in range(40)
    )
    place.write("hosts", f"{levels}[g40]\nh\n")
    status, out, err = run(place, "inventory", "hosts", "--graph")
    assert (status, out) == (65, "")
    assert "a graph of more than" in err
    assert run(place, "inventory", "hosts", "--list-hosts")[:2] == (0, "h\n")


def test_control_characters_in_a_value_are_printed_as_escapes(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(YAML.format(r'a: {x: "\x9b2J\u202e\x7f ü 😀 \U000e0001"}'))
    inventory = load_inventory([str(tmp_path / "hosts.yml")])
    text = render_list(inventory, ["a"])
    assert r'"x": "\u009b2J\u202e\u007f ü 😀 \udb40\udc01"' in text


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_any_name_that_is_accepted_is_visible(name: str) -> None:
    try:
        check_host_name(name)
    except InvalidNameError:
        return
    assert is_visible(name)
    assert escape_line(name) == name
    assert " " not in name


@given(st.text("ab'\"\\# \t=", max_size=14))
def test_a_line_of_an_ini_file_splits_as_in_a_shell(line: str) -> None:
    def split(how: Callable[[], list[str]]) -> list[str] | None:
        try:
            return how()
        except (ValueError, InputError):
            return None

    line = line.strip()
    assume(line)  # the reader passes over the others
    assert split(lambda: split_words(line, Origin("hosts"))) == split(
        lambda: shlex.split(line, comments=True)
    )


# ---- what is no file


def test_a_pipe_a_device_or_a_socket_is_refused_without_waiting(place: Workspace) -> None:
    os.mkfifo(place.path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(place.path):
        listener.bind("socket")
    for name in ("fifo", "socket", "/dev/zero", "/dev/null", "/dev/tty"):
        assert f"{name}: cannot be read: it is a pipe, a socket or a device" in refused(place, name)


@pytest.mark.parametrize("where", ["hosts/a", "group_vars/all", "host_vars/h.yml"])
def test_a_pipe_next_to_or_inside_an_inventory_is_refused_too(place: Workspace, where: str) -> None:
    for folder in ("group_vars", "host_vars"):
        (place.path / folder).mkdir()
    if where.startswith("hosts"):
        (place.path / "hosts").mkdir()
    else:
        place.write("hosts", "h\n")
    os.mkfifo(place.path / where)
    assert f"{where}: cannot be read: it is a pipe" in refused(place, "hosts")


def test_a_list_of_patterns_or_a_playbook_that_is_a_pipe_is_refused(place: Workspace) -> None:
    place.write("hosts", "h\n")
    os.mkfifo(place.path / "fifo")
    status, _, err = run(place, "inventory", "hosts", "--list", "-l", "@fifo")
    assert status == 65
    assert "it is a pipe" in err
    status, _, err = run(place, "run", "-C", "hosts", "-p", "fifo")
    assert status == 66
    assert "it is a pipe" in err


@pytest.mark.parametrize(
    ("closed", "mode"),
    [
        ("hosts", 0),
        ("hosts/a", 0),
        ("hosts/inner", 0),
        ("hosts/inner", 0o444),
        ("hosts", 0o444),
        ("hosts/group_vars", 0),
        ("hosts/group_vars", 0o444),
        ("hosts/group_vars/web", 0),
        ("hosts/group_vars/web/x.yml", 0),
        ("hosts/group_vars/web", 0o400),
        ("hosts/host_vars/h", 0),
    ],
)
def test_an_unreadable_file_is_refused_by_name(place: Workspace, closed: str, mode: int) -> None:
    for name, text in {
        "hosts/a": "[web]\nh\n",
        "hosts/inner/b": "i\n",
        "hosts/group_vars/web/x.yml": "x: 1\n",
        "hosts/host_vars/h": "y: 1\n",
    }.items():
        (place.path / name).parent.mkdir(parents=True, exist_ok=True)
        place.write(name, text)
    (place.path / closed).chmod(mode)
    try:
        err = refused(place, "hosts", unprivileged=True)
    finally:
        (place.path / closed).chmod(0o700)
    assert re.search(rf"{closed}\S*: cannot be read: Permission denied", err), err


def test_a_file_in_a_folder_that_is_not_searchable_is_refused(place: Workspace) -> None:
    (place.path / "closed").mkdir()
    place.write("closed/hosts", "a\n")
    (place.path / "closed").chmod(0)
    try:
        err = refused(place, "closed/hosts", unprivileged=True)
    finally:
        (place.path / "closed").chmod(0o700)
    assert "closed/hosts: cannot be read: Permission denied" in err


def test_unreadable_variables_of_the_current_folder_are_not_an_error(
    place: Workspace,
) -> None:
    (place.path / "inv").mkdir()
    place.write("inv/hosts", "a\n")
    (place.path / "group_vars").mkdir(0o000)
    try:
        status, out, err = run(place, "inventory", "inv/hosts", "--list-hosts", unprivileged=True)
    finally:
        (place.path / "group_vars").chmod(0o700)
    assert (status, out.split()) == (0, ["a"])
    assert "group_vars in the current folder is not read" in err


def test_loops_of_links_and_too_long_names_are_errors(place: Workspace) -> None:
    (place.path / "self").symlink_to("self")
    assert "Too many levels of symbolic links" in refused(place, "self")
    (place.path / "folder").mkdir()
    place.write("folder/hosts", "a\n")
    for name in ("x", "y"):
        (place.path / "folder" / name).symlink_to("../folder")
    assert "a loop of links?" in refused(place, "folder")
    assert "File name too long" in refused(place, "a" * 300)
    assert "File name too long" in refused(place, "a/" * 3000)


# ---- programs

GOOD = """{"web": {"hosts": ["h"]}, "_meta": {"hostvars": {}}}"""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('printf \'{"web": {"hosts": ["h"\'', "printed no JSON"),
        ("printf '\\033[2J no JSON'", "printed no JSON"),
        (":", "printed no JSON"),
        ("head -c 1000000000 /dev/zero", "printed more than"),
        ("echo '{\"web\": ['; yes '\"h\",'", "printed more than"),
        (
            f"echo '{GOOD}'; printf 'no\\033[31m \\342\\200\\256way\\n' >&2; exit 1",
            "ended with status 1: no",
        ),
        ('echo \'{"web": {"hosts": {"h": 5}}}\'', "the hosts of “web” are not a list of names"),
        ('echo \'{"web": {"hosts": [5, null]}}\'', "a host's name that is not text"),
        ('echo \'{"web": {"vars": []}}\'', "the vars of “web” are not a mapping"),
        ('echo \'{"web": ["h"], "_meta": 5}\'', "it has no mapping “hostvars”"),
        ("echo '[1, 2]'", "not a mapping of groups"),
    ],
)
def test_a_program_with_an_invalid_answer_is_refused(
    place: Workspace, script: str, message: str
) -> None:
    place.write("hosts", f"#!/bin/sh\n{script}\n").chmod(0o700)
    err = refused(place, "hosts")
    assert "hosts --list" in err
    assert message in err


def test_a_child_that_keeps_a_programs_output_open_delays_little(
    place: Workspace,
) -> None:
    place.write("hosts", f"#!/bin/sh\nsleep 300 &\necho $! >child\necho '{GOOD}'\n").chmod(0o700)
    began = time.monotonic()
    assert run(place, "inventory", "hosts", "--list-hosts")[:2] == (0, "h\n")
    assert time.monotonic() - began < 60 + BUSY_S
    stat = Path("/proc", (place.path / "child").read_text().strip(), "stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() - began < 90 + BUSY_S


# ---- regular expressions

ENDLESS = "~(a*)*b"


def test_a_pattern_that_never_ends_is_an_error_with_its_place(place: Workspace) -> None:
    place.write("hosts", f"web1\n{'a' * 60}\n")
    place.write(
        "plays.yml",
        f"- name: none\n  trials: 1\n  hosts: '{ENDLESS}'\n  sysctls: {{collect: [net.ipv4.*]}}\n",
    )
    place.write(
        "waivers.yml",
        f"- {{finding: 'sysctl:*', hosts: '{ENDLESS}', owner: a, reason: b, expiry: 2999-01-01}}\n",
    )
    for where, arguments in {
        "pattern": ["inventory", "hosts", "--list-hosts", "-l", ENDLESS],
        "plays.yml:3": ["run", "-C", "hosts", "-p", "plays.yml"],
        "waivers.yml:1": ["run", "hosts", "--waivers", "waivers.yml", "-p", "quick.yml"],
    }.items():
        status, out, err = run(place, *arguments)
        assert (status, out) == (65, ""), err
        assert f"{where}: “{ENDLESS}” is not a host pattern: it takes too long to match" in err


def test_a_pattern_that_never_ends_is_ended_in_another_thread_too() -> None:
    def in_a_thread(seconds: float, expression: str, names: list[str]) -> list[str]:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(MatchBudget(seconds).matching, expression, names).result()

    names = ["web1", "a" * 60]
    with pytest.raises(TimeUsedUpError):
        in_a_thread(0.5, "(a*)*b", names)
    assert in_a_thread(60, "a(?!b)", names) == names[1:]
    with pytest.raises(InvalidExpressionError, match="unterminated"):
        in_a_thread(60, "(", names)


# ---- hosts that would become options


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("what", ["name", "address", "user"])
def test_a_name_that_looks_like_an_option_of_ssh_never_becomes_one(
    place: Workspace, client: str, what: str
) -> None:
    option = "-oProxyCommand=touch${IFS}owned"
    name, variables = (
        ("host", {"ansible_host": option})
        if what == "address"
        else ("host", {"ansible_user": option})
    )
    if what == "name":
        name, variables = option, {}
    if what == "user":
        variables |= {"ansible_host": "127.0.0.1", "ansible_port": "1"}
    settings = "".join(f", {key}: '{value}'" for key, value in variables.items())
    place.write("hosts.yml", YAML.format(f"'{name}': {{ansible_connection: {client}{settings}}}"))
    status, out, err = run(
        place, "run", "hosts.yml", "-p", "quick.yml", "--retries", "0", "-T", "3"
    )
    assert status == 4, out + err
    assert not (place.path / "owned").exists()
    assert len(place.runs()) == 1


# ---- templates


def twenty_times(value: str) -> str:
    """Returns the inside of a mapping of twenty keys with one value."""
    return ", ".join(f"k{n}: '{value}'" for n in range(20))


BIG = "big: " + "x" * 60_000
TEMPLATES: dict[str, tuple[str, str]] = {
    # name: the template, more variables of the host
    "a long product": ("{{ 'a' * 10**9 }}", ""),
    "a product of products": ("{{ ([[1] * 60000] * 60000) | string }}", ""),
    "rounding up to many digits": ("{{ 1 | round(999999999, 'ceil') }}", ""),
    "rounding to tens and more": ("{{ 1 | round(-999999999) }}", ""),
    "a map that grows": ("{{ big | list | map('replace', 'x', big) | list }}", BIG),
    "a join of what a map gives": ("{{ big | list | map('replace', 'x', big) | join }}", BIG),
    "a sum of lists": ("{{ [big | list, big | list] | sum(start=[]) | length }}", BIG),
    "tildes": ("{{ " + " ~ ".join(["big"] * 100) + " }}", BIG),
    "lists of lists of lists": (
        "{{ v0 }}",
        ", ".join(f"v{n}: '{{{{ [{f'v{n + 1},' * 100}] }}}}'" for n in range(9)) + ", v9: 1",
    ),
    "mappings of mappings of mappings": (
        "{{ m0 }}",
        ", ".join(f"m{n}: {{{twenty_times(f'{{{{ m{n + 1} }}}}')}}}" for n in range(12))
        + ", m12: 1",
    ),
    "other hosts' variables, doubled at every step": (
        "{{ hostvars.bad.v0 }}",
        ", ".join(
            f"v{n}: '{{{{ hostvars.bad.v{n + 1} }}}}{{{{ hostvars.bad.v{n + 1} }}}}'"
            for n in range(18)
        )
        + ", v18: 1",
    ),
    "numbers that are squared": (
        "{{ v0 }}",
        ", ".join(f"v{n}: '{{{{ v{n + 1} * v{n + 1} * v{n + 1} }}}}'" for n in range(18))
        + ", v18: 99999999",
    ),
    "a search in a list, for each of it": (
        "{{ big | list | select('in', big | list) | list | length }}",
        BIG,
    ),
    "parentheses": ("{{ " + "(" * 1000 + "1" + ")" * 1000 + " }}", ""),
    "lists in lists": ("{{ " + "[" * 250 + "1" + "]" * 250 + " }}", ""),
    "ifs in ifs": ("{% if 1 %}" * 120 + "x" + "{% endif %}" * 120, ""),
    "many parts": ("{{ " + "1 + " * 900 + "1 }}", ""),
    "a loop": ("{% for i in range(10**9) %}x{% endfor %}", ""),
    "a macro that calls itself": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", ""),
    "itself": ("{{ ansible_host }}", ""),
    "a class": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", ""),
    "a class by its name in brackets": ("{{ ''['__class__'] }}", ""),
    "a class by a filter": ("{{ ['']|map(attribute='__class__')|list }}", ""),
    "a lookup": ("{{ lookup('pipe', 'touch owned') }}", ""),
    "a value that is no text": ("{{ [1, 2] }}", ""),
    "an include": ("{% include '/etc/passwd' %}", ""),
    "a filter of ours": ("{{ ['a'] | _joined }}", ""),
    "a garbled vault": ("x", "ansible_user: !vault garbage"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_expensive_template_costs_only_its_own_host(name: str, place: Workspace) -> None:
    text, more = TEMPLATES[name]
    quoted = text.replace("'", "''")
    bad = f"bad: {{ansible_host: '{quoted}'{', ' if more else ''}{more}}}"
    place.write(
        "hosts.yml", YAML.format(f"good: {{ansible_connection: local}}\n    {bad}\n    fine: ")
    )
    status, out, err = run(place, "run", "-C", "hosts.yml", "-p", "quick.yml")
    assert (status, err) == (4, "")
    good, lost, fine = out.splitlines()
    assert good.startswith("good  this machine")
    assert lost.startswith("bad  cannot be audited: inventory")
    assert " in hosts.yml:4 of “bad”" in lost
    assert fine.startswith("fine  ssh fine  ")
    assert not (place.path / "owned").exists()


def test_a_template_that_asks_for_the_groups_takes_no_longer_among_more_hosts(
    tmp_path: Path,
) -> None:
    from fleetaudit.connection.options import ConnectionOptions
    from fleetaudit.connection.target import resolve_target

    (tmp_path / "hosts").write_text(
        "[web]\nh[1:20000] ansible_host=\"{{ groups['web'][0] ~ hostvars['h1'].x }}\" x=y\n"
    )
    inventory = load_inventory([str(tmp_path / "hosts")])
    began = time.process_time()
    for host in inventory.hosts[:2000]:
        assert getattr(resolve_target(host, ConnectionOptions(), inventory), "address", "") == "h1y"
    # Anew for each host, the groups and hosts of the fleet would be 80 million entries.
    assert time.process_time() - began < 5


def test_two_hundred_names_of_this_machine_are_each_audited_once(place: Workspace) -> None:
    names = [f"localhost{n}" for n in range(199)]
    lines = "".join(
        f"    {name}: {{ansible_host: localhost, ansible_connection: local}}\n" for name in names
    )
    place.write(
        "hosts.yml", f"all:\n  hosts:\n    localhost: {{ansible_connection: local}}\n{lines}"
    )
    status, out, _ = run(place, "run", "-C", "hosts.yml", "-p", "quick.yml")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["localhost", *names]


def test_one_invalid_source_makes_the_run_an_error(place: Workspace) -> None:
    place.write("good", "a\n")
    place.write("bad", "[\n")
    assert "bad" in refused(place, "good", "bad")
    with pytest.raises(InputError):
        load_inventory([str(place.path / "good"), str(place.path / "bad")])
