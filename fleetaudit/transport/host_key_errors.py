"""The key that a host showed, and the errors that say why it is not trusted.

Rules: each error is of the stage "host key", names the file and line that decided, and has the next
command to type.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.text.phrases import surround

from .host_certificates import HostCertificate
from .known_hosts import USER_FILES, Entry, decode_key, fingerprint
from .ssh_command import shell_join


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The key that a host showed. `name` is the host's name in known_hosts files.

    `certificate` is None if the host showed its plain key only; `refused` says why the certificate
    does not count, "" without a reason.
    """

    target: SshTarget
    name: str
    key_type: str
    blob: bytes
    certificate: HostCertificate | None = None
    refused: str = ""

    @property
    def text(self) -> str:
        """The key in base64."""
        return base64.b64encode(self.blob).decode()

    def __str__(self) -> str:
        return f"{self.key_type} {fingerprint(self.blob)}"

    @property
    def line(self) -> str:
        """The line of a known_hosts file."""
        return f"{self.name} {self.key_type} {self.text}"


def known_hosts_files(target: SshTarget) -> tuple[str, ...]:
    """Returns the known_hosts files for a target."""
    return target.known_hosts or USER_FILES


def unknown_key(key: ShownKey, entries: Sequence[Entry]) -> TransportError:
    """Returns the error for a key of a host of which no key is known.

    `entries` are the lines for the host, and those of its authorities without its port.
    """
    for entry in entries:
        if entry.is_authority:
            return _not_certified(key, entry)
    files = known_hosts_files(key.target)
    scan_to_file = f"{_scan_command(key.target)} >> {shell_join([files[0]])}"
    return TransportError(
        "host key",
        f"unknown host key: {key.name} shows {key}, and no key of it is in {', '.join(files)}",
        hint=(
            f"{scan_to_file}  # after comparing the fingerprint; or --host-key-policy accept-new"
        ),
        kind="host key unknown",
    )


def _not_certified(key: ShownKey, entry: Entry) -> TransportError:
    """Returns the error for a host that is known only by an authority, which did not sign."""
    why = "the host shows no certificate"
    if key.refused:
        why = f"its certificate does not count: {key.refused}"
    return TransportError(
        "host key",
        f"{entry.location} trusts a certificate authority for {key.name}, but {why}; and its own"
        f" key ({key}) is not known",
        hint=_show_certificates(key.target),
        kind="host key not trusted",
    )


def invalid_certificate(target: SshTarget, why: str) -> TransportError:
    """Returns the error for a host whose certificate cannot be read, or is forged."""
    return TransportError(
        "host key",
        f"{target.address} shows a host certificate that is not valid: {why}",
        hint=_show_certificates(target),
        kind="host key not trusted",
    )


def other_key(target: SshTarget, first: bytes, shown: bytes) -> TransportError:
    """Returns the error for a host that shows another key when keys are agreed on again.

    `first` is the key, or certificate, that it showed at the beginning of the connection.
    """
    before, now = fingerprint(first), fingerprint(shown)
    return TransportError(
        "host key",
        f"{target.address} shows another host key in the middle of the connection: {now}, and"
        f" {before} at its beginning; someone may be intercepting the connection",
        hint=f"{_scan_command(target)} | ssh-keygen -lf -",
        kind="host key changed",
        changed_key=(f"{before} (at the beginning)", f"{now} of {target.address}"),
    )


def changed_key(key: ShownKey, entry: Entry) -> TransportError:
    """Returns the error for a key that is not the known one."""
    known = f"{entry.key_type} {fingerprint(decode_key(entry.text))}"
    return TransportError(
        "host key",
        f"changed host key: {key.name} shows {key}, but {entry.location} has {known};"
        " someone may be intercepting the connection, or the host was reinstalled"
        + surround("; its certificate does not count: ", key.refused),
        hint=forget_command(key.name, entry.source),
        kind="host key changed",
        changed_key=(f"{known} ({entry.location})", f"{key} of {key.name}"),
    )


def revoked_key(key: ShownKey, location: str) -> TransportError:
    """Returns the error for a key that a file revokes."""
    reason = f"revoked host key: {key.name} shows {key}, which {location} revokes"
    hint = f"{_scan_command(key.target)} | ssh-keygen -lf -"
    return TransportError("host key", reason, hint=hint, kind="host key revoked")


def _show_certificates(target: SshTarget) -> str:
    """Returns the command that shows the certificates of a host."""
    return f"{_scan_command(target, '-c')} | cut -d ' ' -f 2- | ssh-keygen -Lf -"


def _scan_command(target: SshTarget, *options: str) -> str:
    """Returns the command that shows the keys of a host."""
    command = ["ssh-keyscan", *options, "-p", str(target.port)]
    if target.address.startswith("-"):  # a name that looks like an option must stay a name
        command.append("--")
    return shell_join([*command, target.address])


def forget_command(name: str, file: str) -> str:
    """Returns the command that removes a host's key from a file, with a warning.

    `name` is the host's name in the known_hosts file `file`: a host, or [host]:port (ssh-keygen(1),
    -R).
    """
    command = shell_join(["ssh-keygen", "-R", name, "-f", file])
    return f"{command}  # only once you know why it has changed"
