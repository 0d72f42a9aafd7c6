"""ssh_config for the built-in client: OpenSSH reads it, and what it says is what is done."""

from __future__ import annotations

import getpass
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import Secret, SshTarget
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh.hops import resolve_hops
from fleetaudit.transport.ssh_config import SshConfigs, has_relevant_options
from fleetaudit.transport.ssh_tokens import Tokens, UnknownTokenError
from tests.support.sshd import (
    Server,
    Start,
    failure_of,
    generate,
    require,
)
from tests.support.timing import BUSY_S

ME = getpass.getuser()
CANONICAL = (
    "CanonicalDomains",
    "CanonicalizeFallbackLocal",
    "CanonicalizeHostname",
    "CanonicalizeMaxDots",
    "CanonicalizePermittedCNAMEs",
)
AddKeys = Callable[..., None]


@pytest.fixture(autouse=True)
def _ssh() -> None:
    require("ssh")


def config(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def through(file: Path, name: str = "web", **changes: object) -> SshTarget:
    fields: dict[str, object] = {"arguments": ("-F", str(file)), "use_agent": False, **changes}
    return SshTarget(address=name, **fields)  # type: ignore[arg-type]


def run(target: SshTarget, command: str = "echo in", seconds: float = 300) -> Output:
    return Transports().run(target, command, b"", Deadline.after(seconds), Limits())


def failure(target: SshTarget, seconds: float = 300) -> TransportError:
    return failure_of(lambda: run(target, seconds=seconds))


def host(server: Server, *more: str) -> str:
    """Returns what a ssh_config says about a server; the lines take the place of the usual ones."""
    given = {line.split()[0] for line in more}
    usual = (
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"User {ME}",
        f"IdentityFile {server.keys.user()}",
        f"UserKnownHostsFile {server.known_hosts}",
        "GlobalKnownHostsFile /dev/null",
    )
    lines = (*more, *(line for line in usual if line.split()[0] not in given))
    return "".join(f"  {line}\n" for line in lines if line.split()[1:])


# ---- whether there is anything to read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", False),
        (
            (
                "# HostName x\n\nHost *\n  SendEnv LANG\n  HashKnownHosts"
                " yes\n\tGSSAPIAuthentication=yes\n"
            ),
            False,
        ),
        ("ControlMaster auto\nControlPath ~/x\nMatch all\n  LogLevel = VERBOSE\n", False),
        ("Host *\n  hostname x\n", True),
        ("Port=22\n", True),
        *((f"{keyword} x\n", True) for keyword in CANONICAL),
        ("PasswordAuthentication no\n", True),
        ("KbdInteractiveAuthentication no\n", True),
        ("CheckHostIP yes\n", True),
        ("  IdentitiesOnly\tyes\n", True),
        ("Something new\n", True),
        ("Include ${X}/c\n", True),
    ],
)
def test_only_files_with_more_than_ignored_keywords_are_relevant(
    tmp_path: Path, text: str, says: bool
) -> None:
    assert has_relevant_options(str(config(tmp_path / "c", text))) is says


def test_included_files_are_relevant_also_by_a_pattern_and_a_circle_ends(
    tmp_path: Path,
) -> None:
    quiet = config(tmp_path / "quiet", f'Include "{tmp_path}/conf.d/*.conf"\n')
    assert not has_relevant_options(str(quiet))
    (tmp_path / "conf.d").mkdir()
    config(tmp_path / "conf.d" / "a.conf", "Host x\n  ProxyJump y\n")
    assert has_relevant_options(str(quiet))
    circle = config(tmp_path / "circle", f"Include {tmp_path}/circle\n")
    assert has_relevant_options(str(circle))  # which ssh refuses, with a message
    assert not has_relevant_options(str(tmp_path / "missing"))


def test_ssh_is_needed_only_for_a_relevant_file_and_then_its_absence_is_reported(
    sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, loud = (
        config(tmp_path / "quiet", "SendEnv LANG\n"),
        config(tmp_path / "loud", "Host x\n Port 3\n"),
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    done = Transports(ssh_configs=SshConfigs([str(quiet)])).run(
        sshd.target(), "echo in", b"", Deadline.after(20), Limits()
    )
    assert done.stdout == b"in\n"
    with pytest.raises(TransportError, match="there is no ssh to read them") as e:
        Transports(ssh_configs=SshConfigs([str(loud)])).run(
            sshd.target(), "true", b"", Deadline.after(20), Limits()
        )
    assert (e.value.stage, "openssh-client" in e.value.hint) == ("connect", True)


# ---- settings are followed


def test_host_match_include_and_canonical_names_mean_what_they_mean_to_ssh(
    sshd: Server, tmp_path: Path
) -> None:
    more = config(tmp_path / "more", f"Match host 127.0.0.1 exec true\n  Port {sshd.port}\n")
    file = config(
        tmp_path / "config",
        f"Include {more}\nHost web*\n  HostName 127.0.0.1\nMatch final host"
        f" 127.0.0.1\n{host(sshd, 'HostName')}",
    )
    assert run(through(file, "web7")).stdout == b"in\n"
    assert failure(through(file, "db7")).stage == "resolve"


def test_explicit_fields_of_a_target_take_precedence_over_ssh_config(
    sshd: Server, tmp_path: Path
) -> None:
    file = config(tmp_path / "config", "Host web\n" + host(sshd))
    assert run(through(file)).stdout == b"in\n"
    named = failure(through(file, port=22, port_is_explicit=True))
    assert (named.stage, "127.0.0.1 port 22: connection refused" in named.reason) == (
        "connect",
        True,
    )
    assert failure(through(file, user="nobody-at-all")).stage == "authenticate"


def test_errors_in_a_file_are_reported_with_the_message_of_ssh(tmp_path: Path) -> None:
    e = failure(through(config(tmp_path / "config", "Host web\n  NoSuchWord 1\n")))
    assert e.stage == "connect"
    assert "Bad configuration option" in e.reason
    assert e.hint.startswith("ssh -G ")


def test_a_match_exec_that_never_ends_costs_the_connect_timeout_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    file = config(tmp_path / "config", 'Match exec "sleep 680.25"\n  Port 1\n')
    began = time.monotonic()
    e = failure(through(file, connect_timeout_s=1.0))
    assert time.monotonic() - began < 5 + BUSY_S
    assert (e.stage, "not read in time" in e.reason) == ("connect", True)
    lines = [
        path.read_bytes()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.parent.name != "self"
    ]
    assert not [line for line in lines if b"680.25" in line]


def test_the_order_of_arguments_is_that_of_ansible(tmp_path: Path) -> None:
    file = config(tmp_path / "config", "Host web\n  User filed\n  HostName h\n  Port 7\n")
    target = through(
        file,
        arguments=("-F", str(file), "-o", "Port=5"),
        late_arguments=("-o", "User=late", "-o", "HostName=late", "-o", "Port=6"),
        user="named",
    )
    [found] = resolve_hops(target, SshConfigs(), Deadline.after(20))
    assert (found.address, found.port, found.user) == ("late", 5, "named")


# ---- canonical names

_IN_NAMESPACE = """
mount --bind "$1" /etc/hosts
mount --bind "$2" /etc/ssh/ssh_config
shift 2
exec "$@"
"""
_BOTH_CLIENTS = """
import sys
import msgspec
from fleetaudit.errors import TransportError
from fleetaudit.model import Secret, SshTarget
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
for target in msgspec.json.decode(sys.argv[1], type=list[SshTarget]):
    try:
        output = Transports().run(target, "echo in", b"", Deadline.after(60), Limits())
        print(output.stdout.decode().strip())
    except TransportError as e:
        print(f"{e.stage}: {e.reason}")
"""


def in_namespace(
    tmp_path: Path, server: Server, ssh_config: str, *argv: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command where web7.corp.test is this machine and the system's ssh_config is this
    text.
    """
    if os.getuid() != 0 or not Path("/etc/ssh/ssh_config").exists():
        pytest.skip("missing: root and /etc/ssh/ssh_config")
    require("unshare")
    hosts, file = tmp_path / "hosts", tmp_path / "system_config"
    # ssh asks for the name with a dot at its end, which a file of hosts knows only where it has it
    # so.
    hosts.write_text("127.0.0.1 localhost\n127.0.0.1 web7.corp.test web7.corp.test.\n")
    file.write_text(ssh_config)
    known = tmp_path / "known"
    known.write_text(server.known_hosts.read_text().replace("[127.0.0.1]", "[web7.corp.test]"))
    command: list[str | Path] = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        _IN_NAMESPACE,
        "sh",
        hosts,
        file,
        *argv,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_canonical_names_lead_both_clients_to_the_same_host_as_ssh(
    sshd: Server, tmp_path: Path
) -> None:
    text = "CanonicalizeHostname yes\nCanonicalDomains corp.test\nCanonicalizeFallbackLocal no\n"
    known = str(tmp_path / "known")
    ssh = (
        "ssh",
        "-F",
        "/etc/ssh/ssh_config",
        "-p",
        str(sshd.port),
        "-i",
        str(sshd.keys.user()),
        "-o",
        f"UserKnownHostsFile={known}",
        "-o",
        "BatchMode=yes",
        "web7",
        "echo in",
    )
    assert in_namespace(tmp_path, sshd, text, *ssh).stdout == "in\n"
    fields: dict[str, object] = {"address": "web7", "known_hosts": (known,)}
    targets = [sshd.target(client=client, **fields) for client in ("paramiko", "openssh")]
    nowhere = [
        sshd.target(client=client, **(fields | {"address": "web8"}))
        for client in ("paramiko", "openssh")
    ]
    words = msgspec.json.encode([*targets, *nowhere]).decode()
    done = in_namespace(tmp_path, sshd, text, sys.executable, "-c", _BOTH_CLIENTS, words)
    *right, built_in, openssh = done.stdout.splitlines()
    assert right == ["in", "in"], done.stderr
    assert built_in.startswith(
        "resolve: the name 'web8' has no address in the domains of CanonicalDomains"
    )
    assert openssh == 'resolve: Could not resolve host "web8"'


# ---- how one logs in


@pytest.mark.parametrize(
    ("lines", "keys", "methods"),
    [
        ((), True, ("keyboard-interactive", "password")),
        (("PasswordAuthentication no",), True, ("keyboard-interactive",)),
        (("KbdInteractiveAuthentication no",), True, ("password",)),
        (("NumberOfPasswordPrompts 0",), True, ()),
        (
            ("PreferredAuthentications password,keyboard-interactive",),
            False,
            ("password", "keyboard-interactive"),
        ),
        (("PreferredAuthentications publickey",), True, ()),
        (("PubkeyAuthentication no",), False, ("keyboard-interactive", "password")),
    ],
)
def test_the_login_methods_are_those_that_ssh_config_allows(
    tmp_path: Path, lines: tuple[str, ...], keys: bool, methods: tuple[str, ...]
) -> None:
    file = config(
        tmp_path / "config",
        "Host web\n  HostName 127.0.0.1\n" + "".join(f"  {line}\n" for line in lines),
    )
    [found] = resolve_hops(through(file), SshConfigs(), Deadline.after(60))
    assert found.ssh_config
    assert (found.ssh_config.public_keys, found.ssh_config.password_methods) == (keys, methods)


def test_no_password_is_sent_to_a_host_for_which_ssh_config_allows_none(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE", "PasswordAuthentication yes")
    lines = ("PasswordAuthentication no", "KbdInteractiveAuthentication no", "IdentityFile none")
    file = config(tmp_path / "config", "Host web\n" + host(server, *lines))
    e = failure(through(file, password=Secret("sesame")))
    assert (e.stage, "ssh_config allows none" in e.reason) == ("authenticate", True)
    assert "Failed password" not in server.log.read_text()


# ---- host keys


def test_hashed_names_and_an_alias_are_found_in_the_files_that_ssh_config_names(
    sshd: Server, tmp_path: Path
) -> None:
    hashed = tmp_path / "hashed"
    shutil.copy(sshd.known_hosts, hashed)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", hashed], check=True, capture_output=True)
    assert "127.0.0.1" not in hashed.read_text()
    file = config(tmp_path / "config", "Host web\n" + host(sshd, f"UserKnownHostsFile {hashed}"))
    assert run(through(file)).stdout == b"in\n"
    alias = tmp_path / "alias"
    alias.write_text(sshd.known_hosts.read_text().replace(f"[127.0.0.1]:{sshd.port}", "the-web"))
    lines = (f"UserKnownHostsFile {alias}", "HostKeyAlias the-web")
    assert run(through(config(file, "Host web\n" + host(sshd, *lines)))).stdout == b"in\n"
    e = failure(through(config(file, "Host web\n" + host(sshd, "HostKeyAlias another"))))
    assert (e.stage, e.reason.startswith("unknown host key: another shows")) == ("host key", True)


def test_ssh_config_makes_the_check_stricter_and_never_looser(
    sshd: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fleetaudit")
    lines = ("UserKnownHostsFile /dev/null", "StrictHostKeyChecking no")
    file = config(tmp_path / "config", "Host web\n" + host(sshd, *lines))
    assert failure(through(file)).stage == "host key"
    assert "stricthostkeychecking" in caplog.text
    config(
        file, "Host web\n" + host(sshd, "UserKnownHostsFile /dev/null", "StrictHostKeyChecking yes")
    )
    assert failure(through(file, host_key_policy="accept-new")).stage == "host key"
    config(file, "Host web\n" + host(sshd, "UserKnownHostsFile /dev/null"))
    assert run(through(file, host_key_policy="accept-new")).stdout == b"in\n"


def test_a_revoked_key_is_refused_and_a_list_that_cannot_be_read_trusts_none(
    sshd: Server, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text(
        "".join(f"{sshd.keys.public(sshd.keys.host(k))}\n" for k in ("ed25519", "ecdsa", "rsa"))
    )
    file = config(tmp_path / "config", "Host web\n" + host(sshd, f"RevokedHostKeys {revoked}"))
    assert "revoked host key" in failure(through(file)).reason
    revoked.write_text(sshd.keys.public(sshd.keys.user()) + "\n")
    assert run(through(file)).stdout == b"in\n"
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, f"{sshd.keys.user()}.pub"], check=True)
    assert run(through(file)).stdout == b"in\n"
    revoked.write_bytes(revoked.read_bytes()[:-1])
    assert "cannot be used: it ends in the middle" in failure(through(file)).reason
    revoked.unlink()
    assert failure(through(file)).stage == "host key"


# ---- keys


def test_identity_files_agents_and_identities_only_are_as_ssh_config_says(
    start_sshd: Start, tmp_path: Path, agent: AddKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    stranger = generate(tmp_path / "stranger", "ed25519")
    agent(server.keys.user("ecdsa"))
    of_agent = through(
        config(tmp_path / "c", "Host web\n" + host(server, f"IdentityFile {stranger}")),
        use_agent=True,
    )
    assert run(of_agent).stdout == b"in\n"
    only = "Host web\n" + host(server, f"IdentityFile {stranger}", "IdentitiesOnly yes")
    assert failure(through(config(tmp_path / "c", only), use_agent=True)).stage == "authenticate"
    none = "Host web\n" + host(server, f"IdentityFile {stranger}", "IdentityAgent none")
    assert failure(through(config(tmp_path / "c", none), use_agent=True)).stage == "authenticate"
    path = os.environ["SSH_AUTH_SOCK"]
    monkeypatch.delenv("SSH_AUTH_SOCK")
    named = "Host web\n" + host(server, "IdentityFile none", f"IdentityAgent {path}")
    assert run(through(config(tmp_path / "c", named), use_agent=True)).stdout == b"in\n"
    no_key = "Host web\n" + host(server, "IdentityFile none")
    assert "IdentityFile none" in failure(through(config(tmp_path / "c", no_key))).reason
    refused = failure(
        through(config(tmp_path / "c", "Host web\n" + host(server, "PubkeyAuthentication no")))
    )
    assert (refused.stage, "PubkeyAuthentication no" in refused.reason) == ("authenticate", True)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_file_logs_in_with_the_key_it_is_about(
    start_sshd: Start, tmp_path: Path, kind: str
) -> None:
    ca, user = generate(tmp_path / "ca", "ed25519"), generate(tmp_path / "me", kind)
    subprocess.run(["ssh-keygen", "-q", "-s", ca, "-I", "me", "-n", ME, f"{user}.pub"], check=True)
    elsewhere = (tmp_path / "me-cert.pub").rename(tmp_path / "certificate")
    server = start_sshd(f"TrustedUserCAKeys {ca}.pub", authorized=())
    lines = (f"IdentityFile {user}", f"CertificateFile {elsewhere}")
    file = config(tmp_path / "config", "Host web\n" + host(server, *lines))
    assert run(through(file)).stdout == b"in\n"
    config(file, "Host web\n" + host(server, lines[0]))
    assert failure(through(file)).stage == "authenticate"


def test_tokens_are_expanded_as_ssh_expands_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_VALUE", "v%h")
    text = "~/a-%%-%C-%d-%h-%i-%k-%l-%L-%n-%p-%r-%u-${SOME_VALUE}"
    file = config(
        tmp_path / "config",
        f"Host web\n  HostName 127.0.0.1\n  Port 9\n  User me\n  IdentityFile {text}\n",
    )
    done = subprocess.run(
        ["ssh", "-vvv", "-F", file, "-o", "ProxyCommand=false", "--", "web", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.search(r"identity file (\S+) type", done.stderr)
    assert said
    [found] = resolve_hops(through(file), SshConfigs(), Deadline.after(20))
    assert found.private_keys == (said[1],)


def test_an_unknown_token_and_an_unset_variable_are_named(tmp_path: Path) -> None:
    tokens = Tokens(name="n", host="h", port=1, user="u")
    assert tokens.command("nc %h %p %% %r@%n %k ${X} ~") == "nc h 1 % u@n n ${X} ~"
    for text in ("%T", "a%", "${NOT_SET_AT_ALL}"):
        with pytest.raises(UnknownTokenError):
            tokens.path(text)
    e = failure(
        through(config(tmp_path / "config", "Host web\n  IdentityFile ${NOT_SET_AT_ALL}\n"))
    )
    assert (e.stage, "NOT_SET_AT_ALL" in e.reason) == ("connect", True)


@pytest.mark.parametrize(
    "keyword", ["IdentityFile", "CertificateFile", "UserKnownHostsFile", "IdentityAgent"]
)
def test_each_keyword_expands_as_in_ssh(
    sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyword: str
) -> None:
    monkeypatch.setenv("SOME_PART", "part")
    path = f"{tmp_path}/%%-%h-%n-%p-%r-%k-${{SOME_PART}}"
    expanded = f"{tmp_path}/%-127.0.0.1-web-{sshd.port}-{ME}-web-part"
    file = config(tmp_path / "config", "Host web\n" + host(sshd, f"{keyword} {path}"))
    [found] = resolve_hops(through(file, use_agent=True), SshConfigs(), Deadline.after(60))
    assert found.ssh_config
    has = {
        "IdentityFile": found.private_keys,
        "CertificateFile": found.ssh_config.certificates,
        "UserKnownHostsFile": found.known_hosts,
        "IdentityAgent": (found.ssh_config.agent,),
    }
    assert expanded in has[keyword]


def test_revoked_host_keys_are_read_from_the_same_path_as_ssh_reads(
    sshd: Server, tmp_path: Path
) -> None:
    """ssh 9.2 expands nothing but ~ there; newer ones do, and `ssh -G` then prints what it is."""
    asked = subprocess.run(
        ["ssh", "-G", "-F", "none", "-o", f"RevokedHostKeys={tmp_path}/%h", "web"],
        capture_output=True,
        text=True,
        check=True,
    )
    printed = re.search(r"^revokedhostkeys (.*)$", asked.stdout, re.MULTILINE)
    assert printed
    file = config(tmp_path / "config", f"Host web\n  RevokedHostKeys {tmp_path}/%h\n")
    [found] = resolve_hops(through(file), SshConfigs(), Deadline.after(60))
    assert found.ssh_config
    assert found.ssh_config.revoked_host_keys == (printed[1],)


# ---- algorithms and addresses


def test_algorithms_are_those_that_ssh_config_lists(start_sshd: Start, tmp_path: Path) -> None:
    lines = (
        "Ciphers aes256-ctr",
        "MACs hmac-sha2-512",
        "KexAlgorithms ecdh-sha2-nistp384",
        "HostKeyAlgorithms rsa-sha2-256",
    )
    strict = start_sshd("LogLevel DEBUG1")
    file = config(tmp_path / "config", "Host web\n" + host(strict, *lines))
    assert run(through(file)).stdout == b"in\n"
    log = strict.log.read_text()
    assert "kex: algorithm: ecdh-sha2-nistp384" in log
    assert "kex: host key algorithm: rsa-sha2-256" in log
    assert "cipher: aes256-ctr MAC: hmac-sha2-512" in log
    foreign = failure(
        through(config(file, "Host web\n" + host(strict, "Ciphers chacha20-poly1305@openssh.com")))
    )
    assert foreign.stage == "connect"
    assert (
        "ssh_config has chacha20-poly1305@openssh.com, the built-in client knows aes128-ctr"
        in foreign.reason
    )


def test_an_algorithm_that_the_host_does_not_have_is_reported(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("Ciphers aes128-ctr")
    file = config(tmp_path / "config", "Host web\n" + host(server, "Ciphers aes256-ctr"))
    assert failure(through(file)).stage == "connect"


def test_address_family_and_bind_address_are_those_of_ssh_config(
    start_sshd: Start, tmp_path: Path
) -> None:
    server = start_sshd("LogLevel VERBOSE")
    file = config(tmp_path / "config", "Host web\n" + host(server, "BindAddress 127.0.0.9"))
    assert run(through(file)).stdout == b"in\n"
    assert "Connection from 127.0.0.9" in server.log.read_text()
    config(file, "Host web\n" + host(server, "AddressFamily inet6"))
    assert failure(through(file)).stage == "resolve"
    config(file, "Host web\n" + host(server, "BindAddress 192.0.2.1"))
    assert failure(through(file)).stage == "connect"


def test_options_that_are_not_supported_are_logged_once_and_dangerous_ones_are_refused(
    sshd: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fleetaudit")
    file = config(
        tmp_path / "config", "Host web\n" + host(sshd, "VerifyHostKeyDNS yes", "Compression yes")
    )
    transports = Transports()
    for _ in range(2):
        transports.run(through(file), "true", b"", Deadline.after(20), Limits())
    assert (
        caplog.text.count(
            "not supported by the built-in client: verifyhostkeydns; --transport openssh"
        )
        == 1
    )
    e = failure(through(config(file, "Host web\n  ProxyUseFdpass yes\n  ProxyCommand false\n")))
    assert (e.stage, "--transport openssh" in e.hint) == ("connect", True)


# ---- a file of secrets


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("through_include", [False, True])
def test_no_line_of_a_secret_file_is_in_a_reason(
    tmp_path: Path, client: str, through_include: bool
) -> None:
    secret = config(tmp_path / "secret", "root:$6$C4n4ry$x:19876:0:99999:7:::\nC4n4ryBase64\n")
    file = secret
    if through_include:
        file = config(tmp_path / "config", f"Include {secret}\nUser x\n")
    e = failure(through(file, "127.0.0.1", port=1, client=client))
    assert f"{secret}" in e.reason
    assert "c4n4ry" not in f"{e.reason} {e.hint}".lower()


# ---- --no-exec


@pytest.mark.parametrize(
    "line",
    [
        "Match exec {touch}",
        "match host * exec {touch}",
        '  "Match" !exec {touch}',
        "=Match=exec {touch}",
        "Match final exec {touch}",
        "Include {included}",
        '"include" "{included}"',
    ],
)
def test_a_match_exec_is_refused_with_its_place_before_ssh_reads_it(
    tmp_path: Path, line: str
) -> None:
    touch = f'"touch {tmp_path}/owned"'
    included = config(tmp_path / "included", f"Host *\nMatch exec {touch}\n  User x\n")
    text = line.format(touch=touch, included=included)
    file = config(tmp_path / "config", f"User me\n{text}\n  Port 1\n")
    e = failure(through(file, "127.0.0.1", no_exec=True))
    place = f"{included}:2" if "nclude" in line else f"{file}:2"
    assert (e.stage, f"a Match exec starts a program in {place}" in e.reason) == ("connect", True)
    assert "--no-exec allows no program" in e.reason
    assert not (tmp_path / "owned").exists()
    failure(through(file, "127.0.0.1", port=1))
    assert (tmp_path / "owned").exists(), "the attack itself does not work"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ProxyCommand touch {owned}; false", "ssh_config has a ProxyCommand for it"),
        ("ProxyJump gate\nHost gate\nProxyCommand touch {owned}; false", "jump host gate: ssh_con"),
        ("Include ${{HOME}}/x", "an Include that only ssh can follow may start a program"),
    ],
)
def test_a_program_of_ssh_config_is_refused(tmp_path: Path, text: str, what: str) -> None:
    owned = tmp_path / "owned"
    file = config(tmp_path / "config", "Host web\n" + text.format(owned=owned) + "\n")
    e = failure(through(file, no_exec=True))
    assert (e.stage, e.kind) == ("connect", "ssh_config not usable")
    assert what in e.reason
    assert not owned.exists()


def test_ssh_config_is_followed_where_it_starts_no_program(sshd: Server, tmp_path: Path) -> None:
    file = config(tmp_path / "config", "Match host nobody\n  Port 1\nHost web\n" + host(sshd))
    assert run(through(file, no_exec=True)).stdout == b"in\n"
