"""Replies fetched by other means: the probe run by hand or by Ansible, and `merge` that makes a run
of them.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetaudit.app.reply_files import parse_reply_file
from fleetaudit.model import (
    Audited,
    HostResult,
    NotAudited,
    NotSelected,
)
from fleetaudit.probe import protocol
from fleetaudit.probe.result_line import find_result
from fleetaudit.store.jobs import job_name
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_search import find_runs
from tests import ROOT
from tests.support.commands import Workspace
from tests.support.sshd import Server

DOCS = ROOT / "docs" / "replies.md"
SYSCTLS = "- name: sysctls\n  hosts: {hosts}\n  sysctls: {{collect: [{key}]}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.write("other.yml", SYSCTLS.format(hosts="all", key="net.ipv4.tcp_rfc1337"))
    place.write("web.yml", SYSCTLS.format(hosts="web", key="net.ipv4.tcp_fin_timeout"))
    place.write("sysctls.yml", SYSCTLS.format(hosts="all", key="net.ipv4.tcp_fin_timeout"))
    place.write("inventory.yml", "web:\n  hosts: {web7: , web8: }\ndb:\n  hosts: {db1: }\n")
    return place


def answer(place: Workspace, *words: str) -> bytes:
    """Returns what the program prints that `fleetaudit probe WORDS` makes."""
    program = place.run("probe", *words)
    assert program.returncode == 0, program.stderr
    command = [sys.executable, "-B", "-E", "-s", "-"]
    return subprocess.run(
        command, input=program.stdout.encode(), capture_output=True, timeout=300, check=True
    ).stdout


def merged(place: Workspace, *words: str, status: int) -> dict[str, HostResult]:
    """Returns the hosts of the run that `fleetaudit merge WORDS` makes, by name."""
    done = place.run("merge", *words, "--format", "json", "-o", "out")
    assert done.returncode == status, done.stdout + done.stderr
    last = find_runs(place.path / "out").finished[0].path
    return {host.name: host for host in read_run(last).hosts}


def refused(place: Workspace, *words: str, status: int) -> str:
    done = place.run("merge", *words, "-o", "out")
    assert done.returncode == status, done.stdout + done.stderr
    assert not (place.path / "out").exists()
    return done.stderr


def missing(host: HostResult) -> NotAudited:
    assert isinstance(host, NotAudited), host
    return host


def test_the_probe_run_by_hand_makes_a_run_with_no_option_at_all(place: Workspace) -> None:
    place.write("reply.txt", answer(place).decode())
    hosts = merged(place, "reply.txt", status=0)
    assert list(hosts) == ["reply"]
    assert hosts["reply"].observations
    run = read_run(place.path / "out/latest")
    assert (run.run.inventory, run.run.job) == ((), job_name(run.run))
    assert {row.name for row in run.scenarios} >= {"unread-close"}


def test_verdicts_and_findings_are_those_of_a_run(place: Workspace) -> None:
    place.write(
        "low.yml",
        "- {name: a, hosts: all, sysctls: {expect: {net.ipv4.tcp_fin_timeout: {at_most: 1}}}}\n",
    )
    place.write("web7.reply", answer(place, "-p", "low.yml").decode())
    hosts = merged(place, "-p", "low.yml", "web7.reply", status=2)
    assert [finding.id for finding in hosts["web7"].findings] == ["sysctl:net.ipv4.tcp_fin_timeout"]


def test_a_folder_holds_many_and_text_around_the_line_does_no_harm(place: Workspace) -> None:
    line = answer(place, "-p", "sysctls.yml")
    folder = place.path / "replies"
    folder.mkdir()
    (folder / ".gitkeep").touch()
    (folder / "web7.example.com").write_bytes(
        b"Welcome to web7\r\n" + line.replace(b"\n", b"\r\n") + b"logout\r\n"
    )
    (folder / "web8.txt").write_bytes(b"web8 | CHANGED | rc=0 >>\n" + line)
    (folder / "web9.json").write_bytes(json.dumps({"rc": 0, "stdout": line.decode()}).encode())
    place.run("run", "db1,", "-p", "sysctls.yml", "-e", "ansible_connection=local")
    hosts = merged(place, "-p", "sysctls.yml", "replies", "reports/latest", status=0)
    assert sorted(hosts) == ["db1", "web7.example.com", "web8", "web9"]


def test_a_file_without_a_reply_costs_its_own_host_only(place: Workspace) -> None:
    folder = place.path / "replies"
    folder.mkdir()
    line = answer(place, "-p", "sysctls.yml")
    bodies = {
        "good": line,
        "empty": b"",
        "words": b"bash: python3: command not found\n",
        "twice": line + line,
        "cut": line[:-100],
        "deep": b"{" * 100_000,
        "nested": b'{"stdout": ' + b"[" * 100_000,
        "run": b'{"format": "fleetaudit-run/1", "hosts": [{"name": "other", "status": "audited"}]}',
    }
    for name, body in bodies.items():
        (folder / f"{name}.reply").write_bytes(body)
    os.mkfifo(folder / "pipe")
    hosts = merged(place, "-p", "sysctls.yml", "replies", status=4)
    assert {name for name, host in hosts.items() if isinstance(host, Audited)} == {"good"}
    assert hosts.keys() == {*bodies, "pipe"}
    assert {missing(host).stage for name, host in hosts.items() if name != "good"} == {"decode"}
    assert (
        "replies/words.reply: no result line; it printed “bash: python3: command not found”"
        in hosts["words"].reason
    )
    assert "not a regular file" in hosts["pipe"].reason
    assert missing(hosts["empty"]).reason == "replies/empty.reply: no result line"


def test_a_file_named_like_an_option_of_ssh_is_a_host_in_the_hint(place: Workspace) -> None:
    folder = place.path / "replies"
    folder.mkdir()
    (folder / "-oProxyCommand=id.reply").touch()
    host = merged(place, "-p", "sysctls.yml", "replies", status=4)["-oProxyCommand=id"]
    assert "ssh -- -oProxyCommand=id python3" in missing(host).hint


def test_a_playbook_that_is_missing_is_no_group_that_is(place: Workspace) -> None:
    place.write("web7.reply", "x")
    for words in (("merge", "web7.reply", "-p", "gone.yml"), ("probe", "-p", "gone.yml")):
        done = place.run(*words)
        assert (done.returncode, "gone.yml: no such file" in done.stderr) == (66, True), done.stderr
        assert "inventory" not in done.stderr


def test_with_an_inventory_no_host_is_lost(place: Workspace) -> None:
    place.write("web7.reply", answer(place, "-p", "sysctls.yml").decode())
    hosts = merged(place, "-p", "sysctls.yml", "-i", "inventory.yml", "web7.reply", status=4)
    assert list(hosts) == ["web7", "web8", "db1"]
    assert isinstance(hosts["web7"], Audited)
    assert hosts["web7"].groups == ("web",)
    assert missing(hosts["web8"]).reason == "no reply file"
    only = merged(
        place, "-p", "sysctls.yml", "-i", "inventory.yml", "-l", "web7", "web7.reply", status=0
    )
    assert list(only) == ["web7"]


def test_a_host_of_the_inventory_that_is_in_a_run_needs_no_reply_as_well(place: Workspace) -> None:
    place.write("web7.reply", answer(place, "-p", "sysctls.yml").decode())
    place.run("run", "web8,db1,", "-p", "sysctls.yml", "-e", "ansible_connection=local")
    words = ("-p", "sysctls.yml", "-i", "inventory.yml")
    assert all(
        isinstance(h, Audited)
        for h in merged(place, *words, "reports/latest", "web7.reply", status=0).values()
    )
    without = merged(place, *words, "reports/latest", status=4)
    assert {name for name, host in without.items() if isinstance(host, NotAudited)} == {"web7"}
    place.write("db1.reply", "x")
    done = place.run("merge", *words, "reports/latest", "web7.reply", "db1.reply")
    assert (done.returncode, "also in reports/latest: db1" in done.stderr) == (65, True)


def test_the_commands_of_a_hint_make_the_reply_that_is_missing(place: Workspace) -> None:
    place.write("web7.reply", answer(place, "-p", "web.yml", "inventory.yml", "-l", "web").decode())
    words = ("-p", "web.yml", "-i", "inventory.yml", "-l", "web", "web7.reply")
    hint = merged(place, *words, status=4)["web8"].hint
    tools = place.path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text('#!/bin/sh\ntest "$1" = web8 && shift && exec "$@"\n')
    (tools / "fleetaudit").write_text(f'#!/bin/sh\nexec {sys.executable} -m fleetaudit "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    _, env = place.command(PATH=f"{tools}:{os.environ['PATH']}")
    subprocess.run(["sh", "-ec", hint], cwd=place.path, env=env, timeout=300, check=True)
    assert isinstance(merged(place, *words, "web8.reply", status=0)["web8"], Audited)


def test_a_second_reply_and_a_reply_of_an_unknown_host_are_errors_that_name_the_files(
    place: Workspace,
) -> None:
    for name in ("web7.reply", "web7.txt", "web6.reply"):
        place.write(name, "x")
    assert "a second reply of web7; the first is web7.reply" in refused(
        place, "web7.reply", "web7.txt", status=65
    )
    stranger = refused(place, "-i", "inventory.yml", "web6.reply", status=65)
    assert "web6.reply: web6 is not a selected host that a play matches" in stranger
    missing = refused(place, "web5.reply", status=66)
    assert (
        "web5.reply: no such run, and no such file of a reply; to list the folder: ls ." in missing
    )
    (place.path / "none").mkdir()
    assert "has neither a run nor a reply" in refused(place, "none", status=66)
    (place.path / "reports/2026-11-22T020000Z").mkdir(parents=True)
    assert "it contains the folder 2026-11-22T020000Z" in refused(place, "reports", status=65)
    place.write("two words.reply", "x")
    assert "name the file after its host" in refused(place, "two words.reply", status=65)
    assert "name it with -i" in refused(place, "-l", "web", "web7.reply", status=64)


def test_a_reply_of_another_playbook_or_version_is_refused_with_what_to_do(
    place: Workspace,
) -> None:
    line = answer(place, "-p", "sysctls.yml")
    place.write("web7.reply", line.decode())
    host = missing(merged(place, "-p", "other.yml", "web7.reply", status=4)["web7"])
    assert (host.stage, "was it made with other playbooks?" in host.reason) == ("decode", True)
    assert host.hint.startswith("fleetaudit probe -p other.yml > call.py && ")
    plain = protocol.REPLY_MARK + (find_result(line) or b"") + b"\n"
    old = re.sub(rb'"digest":"[0-9a-f]+"', b'"digest":"0"', plain)
    old = re.sub(rb'"fleetaudit":"[^"]+"', b'"fleetaudit":"0.0.1"', old)
    place.write("web7.reply", old.decode())
    reason = merged(place, "-p", "sysctls.yml", "web7.reply", status=4)["web7"].reason
    assert "answers a call of fleetaudit 0.0.1" in reason


def test_a_play_for_a_group_needs_the_inventory_and_says_so(place: Workspace) -> None:
    alone = place.run("probe", "-p", "web.yml")
    assert alone.returncode == 66, alone.stdout
    assert "fleetaudit probe -p PLAYBOOK INVENTORY -l HOST" in alone.stderr
    place.write("web7.reply", "x")
    assert "-i INVENTORY" in refused(place, "-p", "web.yml", "web7.reply", status=66)
    nobody = place.run("probe", "-p", "web.yml", "inventory.yml", "-l", "db1")
    assert nobody.returncode == 66
    assert "db1" in nobody.stderr


def test_a_host_that_no_play_matches_is_not_selected_and_its_reply_is_an_error(
    place: Workspace,
) -> None:
    place.write("web7.reply", answer(place, "-p", "web.yml", "inventory.yml", "-l", "web").decode())
    hosts = merged(place, "-p", "web.yml", "-i", "inventory.yml", "web7.reply", status=4)
    assert isinstance(hosts["db1"], NotSelected)
    place.write("db1.reply", "x")
    done = place.run("merge", "-p", "web.yml", "-i", "inventory.yml", "web7.reply", "db1.reply")
    assert (done.returncode, "db1 is not a selected host that a play matches" in done.stderr) == (
        65,
        True,
    )


def test_one_program_asks_one_thing(place: Workspace) -> None:
    place.write("both.yml", SYSCTLS.format(hosts="web", key="net.ipv4.tcp_fin_timeout"))
    with (place.path / "both.yml").open("a") as file:
        file.write(SYSCTLS.format(hosts="db", key="net.ipv4.tcp_rfc1337"))
    done = place.run("probe", "-p", "both.yml", "inventory.yml")
    assert done.returncode == 64
    assert "web7 and db1 need different programs" in done.stderr
    assert place.run("probe", "-p", "both.yml", "inventory.yml", "-l", "web").returncode == 0


def test_a_configurations_limit_and_inventory_are_not_for_a_program_of_this_machine(
    place: Workspace,
) -> None:
    place.write("fleetaudit.yml", "inventory: inventory.yml\nlimit: web\nplaybook: sysctls.yml\n")
    place.write("here.reply", answer(place).decode())
    assert list(merged(place, "here.reply", status=0)) == ["here"]
    assert place.run("probe", "--command").returncode == 0
    assert place.run("probe", "--command", "-p", "sysctls.yml").returncode == 64
    assert place.run("probe", "--command", "--compressed").returncode == 64


def test_the_compressed_program_differs_in_docstrings_alone_as_the_documentation_says(
    place: Workspace,
) -> None:
    printed = place.run("probe", "-p", "sysctls.yml").stdout
    sent = place.run("probe", "-p", "sysctls.yml", "--compressed").stdout
    assert len(sent) < len(printed) / 2
    program = sent.removesuffix("exec(compile(TEXT, 'fleetaudit-call', 'exec'))\n")
    assert program != sent
    show = program + "import sys; sys.stdout.write(TEXT)\n"
    shown = subprocess.run(
        [sys.executable, "-B", "-E", "-s", "-"],
        input=show,
        capture_output=True,
        text=True,
        check=True,
    )
    reviewed, ran = printed.splitlines()[2:], shown.stdout.splitlines()
    assert len(reviewed) == len(ran)
    differing = [(one, other) for one, other in zip(reviewed, ran, strict=True) if one != other]
    assert {other.strip().removeprefix("PROGRAM = r'''") for _, other in differing} == {"", '""'}
    assert all('"""' in one for one, other in differing if other)
    assert sent.splitlines()[:2] == printed.splitlines()[:2]


# ---- Ansible


def test_what_ansible_prints_of_one_host_is_read(place: Workspace) -> None:
    line = f"\n{protocol.REPLY_MARK.decode()}{{}}\n"
    result = json.dumps({"changed": True, "rc": 0, "stderr": "", "stdout": line}, indent=4)
    for text in (result, f"web7 | CHANGED => {result}\n"):
        assert parse_reply_file(text.encode()).stdout == line.encode()
    gone = parse_reply_file(
        b'web7 | UNREACHABLE! => {"changed": false, "msg": "Permission denied", "unreachable":'
        b" true}"
    )
    assert (gone.stdout, gone.stderr.strip()) == (b"", b"Permission denied")
    assert parse_reply_file(b'{"stdout": 5}').stdout == b'{"stdout": 5}'


LOCAL = ("-c", "local")


def over_ssh(server: Server, place: Workspace) -> tuple[str, ...]:
    """Returns the options with which Ansible reaches a server of the tests' own, on a terminal as
    it does.
    """
    settings = (
        "ansible_host=127.0.0.1",
        f"ansible_port={server.port}",
        f"ansible_ssh_private_key_file={server.keys.user()}",
        f"ansible_ssh_common_args='-F none -o UserKnownHostsFile={server.known_hosts}'",
        # its socket's path may be too long in a temporary folder
        "ansible_ssh_args='-o ControlMaster=no'",
        f"ansible_remote_tmp={place.path}/remote",
    )
    return ("-u", getpass.getuser(), *(word for setting in settings for word in ("-e", setting)))


def ansible(place: Workspace, program: str, *words: str, connection: Sequence[str]) -> None:
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    way = ["-i", "web7,", *connection, "-e", f"ansible_python_interpreter={sys.executable}"]
    _, env = place.command(ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8")
    done = subprocess.run(
        [found, *way, *words], cwd=place.path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def program_file(place: Workspace) -> None:
    place.write("call.py", place.run("probe", "-p", "sysctls.yml").stdout)
    (place.path / "replies").mkdir()


@pytest.mark.conformance
def test_the_playbook_of_the_documentation_fetches_replies_over_ssh(
    place: Workspace, sshd: Server
) -> None:
    program_file(place)
    block = DOCS.read_text().split("`fetch.yml`:\n\n", 1)[1]
    lines = [line.removeprefix("    ") for line in block.splitlines()]
    place.write("fetch.yml", "\n".join(lines[: lines.index("mkdir -p replies")]))
    ansible(place, "ansible-playbook", "fetch.yml", connection=over_ssh(sshd, place))
    assert isinstance(merged(place, "-p", "sysctls.yml", "replies", status=0)["web7"], Audited)


@pytest.mark.conformance
def test_the_ad_hoc_command_of_the_documentation_fetches_replies(place: Workspace) -> None:
    program_file(place)
    (arguments,) = re.findall(
        r"-m ansible\.builtin\.script -a '([^']+)' --tree replies", DOCS.read_text()
    )
    words = ("all", "-m", "ansible.builtin.script", "-a", arguments, "--tree", "replies")
    ansible(place, "ansible", *words, connection=LOCAL)
    assert isinstance(merged(place, "-p", "sysctls.yml", "replies", status=0)["web7"], Audited)
