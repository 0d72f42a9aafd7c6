"""One `ssh -G` for hosts that ssh_config cannot tell apart: its answer is the one that ssh itself
gives about each of them.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.transport import Deadline
from fleetaudit.transport.ssh_config import EffectiveConfig, SshConfigs
from fleetaudit.transport.ssh_config_names import (
    ConfigFile,
    NameClasses,
    is_about_names,
    read_classes,
)
from tests.support.sshd import require

NAMES = (
    "web1", "web2", "web10", "db1", "web1.example.com", "web2.example.com", "db.eu.example.com",
    "10.0.0.1", "10.0.0.2", "192.168.1.77", "WEB1", "Web2.example.com", "127.1", "10.1.1.010", "77",
    "0x7f000001", "bob@web1", "::1", "fe80::1", "a_b", "x-y.example.com", "web1.", "münchen",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _ssh() -> None:
    require("ssh")


class Asking(SshConfigs):
    """Counts how often ssh is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def query(
        self, program: str, arguments: Sequence[str], name: str, deadline: Deadline
    ) -> EffectiveConfig:
        self.asked.append(name)
        return super().query(program, arguments, name, deadline)


def answer(configs: SshConfigs, arguments: Sequence[str], name: str, *, shared: bool) -> object:
    """Returns what ssh has for a name except ControlPath, or the reason why it has nothing."""
    deadline = Deadline.after(300)
    try:
        if shared:
            found = configs.query_shared("ssh", arguments, name, deadline, {"controlpath"})
        else:
            found = configs.query("ssh", arguments, name, deadline)
    except TransportError as e:
        return e.reason
    return {key: value for key, value in found.values.items() if key != "controlpath"}


def asked_about(file: Path, names: Sequence[str] = NAMES, *more: str) -> list[str]:
    """Returns the names that ssh was asked about, once all answers are the ones of ssh itself."""
    configs, alone = Asking(), SshConfigs()
    arguments = ("-F", str(file), *more)
    for name in names:
        expected = answer(alone, arguments, name, shared=False)
        assert answer(configs, arguments, name, shared=True) == expected, name
    return configs.asked


def config(folder: Path, text: str, name: str = "ssh_config") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


PLAIN = ["web1", "web2", "db1", "web1.example.com", "10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", 1),
        ("User audit\nPort 2222\nIdentityFile ~/.ssh/%h\nProxyCommand nc %h %p\n", 1),
        ("Host *\n  ControlPath ~/.ssh/%r@%h:%p\nMatch all\n  ProxyJump bastion\n", 1),
        ("Host web*\n  User w\nHost *\n  User other\n", 2),
        ("Host web* !web2\n  User w\n", 3),
        ("Host web1\n  HostName 10.0.0.9\n", 2),
        ("Host web1 db1\n  User x\n", 3),
        ("Host ???1\n  Port 77\nHost *.*\n  User dotted\n", 3),
        ("Host=web?\n  User = w\n  # a comment: München, %h\n", 2),
        # Host names of their own: the first name that is asked about must not be one.
        ("HostName web1\n", 2),
    ],
)
def test_ssh_is_asked_once_for_names_that_it_cannot_tell_apart(
    tmp_path: Path, text: str, asked: int
) -> None:
    assert len(asked_about(config(tmp_path, text), PLAIN)) == asked


@pytest.mark.parametrize(
    "text",
    [
        "HostName %h.example.com\n",
        'Match exec "test %h = web1"\n  User w\n',
        "Match host web1\n  User w\n",
        "Match originalhost web*,!web2\n  User w\n",
        "Match user root\n  Port 9\n",
        "Match !all\n  Port 9\n",
        "CanonicalizeHostname yes\nCanonicalDomains invalid\nCanonicalizeFallbackLocal yes\n",
        "UserKnownHostsFile ~/.ssh/known_hosts.%n\n",
        "IdentityAgent ~/agents/%h\n",
        'Host "web1"\n  User quoted\n',
        "Host web1,web2\n  User comma\n",
        "Include ${HOME}/nothing\n",
        '"User" w\n',
        "User\x0bw\n",
        "Nonsense\n",
    ],
)
def test_ssh_is_asked_about_each_name_where_it_may_matter(tmp_path: Path, text: str) -> None:
    assert asked_about(config(tmp_path, text), PLAIN) == PLAIN


def test_a_name_that_ssh_may_change_is_asked_about_alone(tmp_path: Path) -> None:
    odd = [name for name in NAMES if name.lower() != name or not set(name).isdisjoint("@:ü")]
    odd += ["127.1", "10.1.1.010", "77", "0x7f000001", "web1."]
    asked = asked_about(config(tmp_path, "Host *\n  User w\n"))
    assert set(odd) <= set(asked)
    assert len(asked) == len(odd) + 1


@pytest.mark.parametrize(
    "more",
    [
        ("-o", "HostName=web1"),
        ("-oHostname web2",),
        ("-o", "CanonicalizeHostname=yes"),
        ("-o", "UserKnownHostsFile=/tmp/%n"),
    ],
)
def test_an_argument_about_names_makes_ssh_be_asked_about_each(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    assert asked_about(config(tmp_path, "User w\n"), PLAIN, *more) == PLAIN


def test_included_files_tell_names_apart_as_ssh_reads_them(tmp_path: Path) -> None:
    config(tmp_path, "Host web2\n  Port 5\n", "b.conf")
    config(tmp_path, f"Host *.com\n  Include {tmp_path}/b.conf\n  User c\n", "a.conf")
    file = config(tmp_path, f"Host *\n  Include {tmp_path}/a.con* {tmp_path}/missing\nPort 22\n")
    assert len(asked_about(file, PLAIN)) == 3
    config(tmp_path, f"Include {tmp_path}/ssh_config\n", "b.conf")
    assert asked_about(file, PLAIN) == PLAIN, "a circle"


def test_random_files_give_the_answers_of_ssh_itself(tmp_path: Path) -> None:
    rng = random.Random(20)
    patterns = [
        "*",
        "web*",
        "web?",
        "*.example.com",
        "!web1",
        "10.0.*",
        "db1",
        "web1",
        "?eb2*",
        "77",
    ]
    lines = [
        "User a", "User b", "Port 2222", "Port=2200", "HostName 10.9.9.9", "HostName db1",
        "IdentityFile ~/.ssh/%r@%h", "ProxyJump jump", "ProxyCommand nc %h %p", "Match all",
        "ControlPath ~/%C", "IdentitiesOnly yes", "  # note", "", "Ciphers aes128-ctr",
        "UserKnownHostsFile ~/.ssh/a ~/.ssh/b", "StrictHostKeyChecking accept-new",
        "HostKeyAlias alias", "ConnectTimeout 5", "CertificateFile ~/c-%n", "Compression yes",
    ]  # fmt: skip
    saved = 0
    for number in range(12):
        text = []
        for _ in range(rng.randint(1, 4)):
            if rng.random() < 0.8:
                text.append("Host " + " ".join(rng.sample(patterns, rng.randint(1, 3))))
            text += rng.sample(lines, rng.randint(0, 5))
        file = config(tmp_path, "\n".join((*text, "")), f"random{number}")
        names = [*rng.sample(NAMES, 8), *rng.sample(PLAIN, 4)]
        saved += len(names) - len(asked_about(file, names))
    assert saved > 20


def test_classes_are_never_coarser_than_ssh_on_host_patterns(tmp_path: Path) -> None:
    classes = read_classes([ConfigFile(str(config(tmp_path, "Host a* !ab? *c\n")), "/", "/")])
    assert isinstance(classes, NameClasses)
    alike = [
        pair
        for pair in itertools.combinations(["a", "ab", "abx", "abc", "c", "b"], 2)
        if classes.class_of(pair[0]) == classes.class_of(pair[1])
    ]
    assert alike == [("a", "ab")]


@pytest.mark.parametrize(
    ("argument", "about"),
    [
        ("-oHost=x", True),
        ("match all", True),
        ("canonicaldomains=x", True),
        ("ProxyCommand=nc %h", True),
        ('IdentityFile="a%%b c"', False),
        ("HostKeyAlias=x", False),
        ("HostbasedAuthentication=no", False),
        ("-F", False),
    ],
)
def test_which_arguments_are_about_names(argument: str, about: bool) -> None:
    assert is_about_names([argument]) is about


def test_many_hosts_at_once_wait_for_one_answer(tmp_path: Path) -> None:
    configs, file = Asking(), config(tmp_path, "User w\n")
    found: list[object] = []

    def ask(number: int) -> None:
        found.append(answer(configs, ("-F", str(file)), f"host{number}", shared=True))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {value["hostname"] for value in found if isinstance(value, dict)}
    assert names == {(f"host{n}",) for n in range(20)}
    assert len(configs.asked) == 1


def test_an_error_of_ssh_names_the_host_that_it_is_about(tmp_path: Path) -> None:
    configs, file = Asking(), config(tmp_path, "Port many\n")
    for name in ("web1", "web2"):
        with pytest.raises(TransportError) as e:
            configs.query_shared("ssh", ("-F", str(file)), name, Deadline.after(60))
        assert e.value.hint.endswith(f"-- {name} true")
    assert configs.asked == ["web1", "web1", "web2"]
