"""A password that a host puts into its reply is in no output, no journal and no log, whatever
happens to the reply.
"""

from __future__ import annotations

import json
import operator
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.model import (
    Become,
    LocalTarget,
    Owner,
    Resets,
    Secret,
    ServiceCheck,
    ServiceResult,
    SshTarget,
    Watched,
)
from fleetaudit.probe import verdict
from fleetaudit.transport.masking import Masking, Maskings
from tests.support import replies
from tests.support.commands import Workspace
from tests.support.sshd import Start

pytestmark = pytest.mark.commands

PASSWORD = "it's \\ “hunter2”"
LOGIN = "Tr0ub4dor&3"
REPLY = "namespace.txt"
# What asks with the prompt that it is given and answers with a reply, in which the password is; or
# only answers.
TALKATIVE = r"""#!@python@ -IS
import re, sys, os
secret, who = @secret@, @who@
if "-p" in sys.argv:
    sys.stderr.write(sys.argv[sys.argv.index("-p") + 1])
    sys.stderr.flush()
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    secret = line.decode().rstrip("\n")
os.write(1, b"fleetaudit-shell/1 " + who + b"\n")
asked = piece = b""
while piece or not asked:
    asked += piece
    if b"\nexec(compile(TEXT" in asked and asked.endswith(b"\n"):
        break
    piece = os.read(0, 65536)
names = {}
exec(asked.rpartition(b"\nexec(")[0], names)
digest = re.findall(r"'digest': '([0-9a-f]*)'", names["TEXT"])[-1]
spelled = "".join("\\u%04x" % ord(c) for c in secret)
body = @body@.replace("@digest@", digest).replace("@nonce@", names["NONCE"])
print("\nfleetaudit-probe/1 " + body.replace("@secret@", spelled))
"""
BODY: dict[str, Any] = {
    "protocol": 2,
    "fleetaudit": "",
    "digest": "@digest@",
    "nonce": "@nonce@",
    "kernel": {"release": "6.12", "version": "#1", "machine": "x86_64"},
    "os": {},
    "python": "3.11",
    "isolation": "host",
    "observations": [],
    "sysctls": {},
    "exposure": None,
    "elapsed_s": 0.1,
}
SEEN: dict[str, Any] = {
    "scenario": "unread-close",
    "family": "ipv4",
    "trials": [],
    "not_run": "@secret@",
}
FAULTS: dict[str, dict[str, Any]] = {
    "isolation": {"isolation": "@secret@"},
    "scenario": {"observations": [{**SEEN, "scenario": "@secret@"}]},
    "family": {"observations": [{**SEEN, "family": "@secret@"}]},
    "not-run": {
        "observations": [
            {**SEEN, "scenario": s} for s in ("zero-linger-close", "drained-close", "unread-close")
        ]
    },
    "words": {
        "notes": ["it printed @secret@"],
        "kernel": {"release": "@secret@", "version": "", "machine": ""},
        "interpreter": "/@secret@",
        "sysctls": {"net.ipv4.@secret@": {"value": "@secret@"}},
    },
}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.write("sysctls.yml", "- name: s\n  hosts: all\n  sysctls: {collect: ['net.ipv4.*']}\n")
    return place


def program(folder: Path, name: str, secret: str = "") -> Path:
    """Writes a program that answers with the fault of its name."""
    (folder / "bin").mkdir(exist_ok=True)
    who = b"0 root" if secret else b"65534 nobody"
    text = TALKATIVE.replace("@python@", os.path.realpath(sys.executable)).replace(
        "@who@", repr(who)
    )
    body = json.dumps({**BODY, **FAULTS[name]})
    path = folder / "bin" / name
    path.write_text(text.replace("@body@", repr(body)).replace("@secret@", repr(secret), 1))
    path.chmod(0o755)
    return path


def all_text(place: Workspace, *more: str) -> str:
    files = [
        path
        for path in (place.path / "reports").rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    assert {"run.json", "store.jsonl", "report.html"} <= {path.name for path in files}
    return "\n".join([*(path.read_text("utf-8", "replace") for path in files), *more])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sudo_password_in_a_reply_is_in_no_output(place: Workspace, fault: str) -> None:
    place.write("secret", PASSWORD + "\n").chmod(0o600)
    place.write(
        "inventory.yml",
        "all: {hosts: {h: {ansible_connection: local, ansible_become: true,"
        f" ansible_become_user: nobody, ansible_become_exe: {program(place.path, fault)}}}}}}}\n",
    )
    check(place, fault, PASSWORD, "--become-password-file", "secret")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_login_password_in_the_reply_of_a_forced_command_is_in_no_output(
    place: Workspace, fault: str, start_sshd: Start
) -> None:
    sshd = start_sshd(f"ForceCommand {program(place.path, fault, LOGIN)}")
    place.write("secret", LOGIN + "\n").chmod(0o600)
    place.write(
        "inventory.yml",
        f"all: {{hosts: {{h: {{ansible_host: 127.0.0.1, ansible_port: {sshd.port}, "
        f"ansible_ssh_private_key_file: {sshd.keys.user()}}}}}}}\n",
    )
    more = ("--connection-password-file", "secret", "--known-hosts", str(sshd.known_hosts))
    check(place, fault, LOGIN, *more)


def check(place: Workspace, fault: str, password: str, *arguments: str) -> None:
    """Runs it, and looks for the password in all that it writes, however it is written there."""
    formats = "html,json,junit,csv,sarif,prometheus,text,pcap"
    playbook = "quick.yml" if fault == "not-run" else "sysctls.yml"
    run = ("run", "inventory.yml", "-p", playbook, "--format", formats, "-vv")
    done = place.run(*run, *arguments, FLEETAUDIT_LOG_PATH="log")
    assert done.returncode == (0 if fault == "words" else 4), done.stdout + done.stderr
    log = (place.path / "log").read_text()
    text = all_text(place, done.stdout, done.stderr, log)
    assert "Traceback" not in text
    for form in (
        password,
        repr(password)[1:-1],
        ascii(password)[1:-1],
        json.dumps(password)[1:-1],
        "hunter2",
        "Tr0ub",
    ):
        assert form not in text, form
    assert "…" in text
    explained = place.run("explain", "latest", "h")
    assert "hunter2" not in explained.stdout


def test_a_value_is_not_masked_for_a_password_that_is_a_word() -> None:
    """Else the hole that is left would tell it."""
    host = verdict.result_from_output(replies.plan(), replies.stored("namespace.txt"))
    for word in ("linux", "debian", "x86_64", "60", "SMP"):
        target = LocalTarget(become=Become(password=Secret(word)))
        masked = Masking(target).audited(host)
        assert (masked.kernel, masked.os, masked.sysctls) == (host.kernel, host.os, host.sysctls)


@pytest.mark.parametrize("password", ["nginx", LOGIN])
def test_a_watch_and_services_have_no_password_in_their_sentences(password: str) -> None:
    """In their values only one that cannot be there by chance is masked."""
    told, owner = f"it printed {password}", Owner(executable=f"/usr/sbin/{password}")
    check = ServiceCheck(check="idle", problem=told, wire_note=told)
    host = replace(
        verdict.result_from_output(replies.plan(), replies.stored("namespace.txt")),
        watch=Watched(
            problem=told,
            notes=(told,),
            resets=(Resets(owner=owner, port=80, reason="linger 0", count=1),),
        ),
        services=(ServiceResult(name="s", problem=told, checks=(check,)),),
    )
    masked = Masking(LocalTarget(become=Become(password=Secret(password)))).audited(host)
    assert masked.watch
    assert masked.services
    (row,), (service,) = masked.watch.resets, masked.services
    sentences = (masked.watch.problem, *masked.watch.notes, service.problem)
    assert {*sentences, service.checks[0].problem, service.checks[0].wire_note} == {"it printed …"}
    assert row.owner.executable == ("/usr/sbin/…" if password == LOGIN else "/usr/sbin/nginx")


def test_a_hint_can_be_typed_where_the_password_is_a_word_in_it() -> None:
    target = SshTarget(address="h", password=Secret("audit"))
    assert Masking(target).data("ssh audit@h true") == "ssh audit@h true"
    assert Masking(SshTarget(address="h", password=Secret(LOGIN))).data(f"x {LOGIN}") == "x …"


def test_observations_that_hosts_share_are_looked_through_once_and_stay_shared() -> None:
    maskings, host = Maskings(), verdict.result_from_output(replies.plan(), replies.stored(REPLY))
    target = SshTarget(address="h", password=Secret(LOGIN))
    masking = maskings.of(target)
    assert maskings.of(SshTarget(address="other", password=Secret(LOGIN))) is masking
    assert maskings.of(SshTarget(address="h", password=Secret(PASSWORD))) is not masking
    assert masking.audited(host).observations is host.observations
    first, *others = host.observations
    tellers = (
        replace(first, reason=f"it printed {LOGIN}"),
        replace(first, evidence=replace(first.evidence, queue={LOGIN: 1})),
        replace(first, evidence=replace(first.evidence, wire_note=f"{LOGIN} and {LOGIN[:-1]}…")),
    )
    for teller in tellers:
        telling = replace(host, observations=(teller, *others))
        masked = [masking.audited(telling), masking.audited(replace(telling, name="other"))]
        assert LOGIN[:-1] not in repr(masked)
        assert masked[0].observations is masked[1].observations
        assert all(map(operator.is_, masked[0].observations[1:], others))
        assert masking.audited(host).observations is host.observations
