"""The key that a host showed, and the errors that say why it is not trusted.

Rules: each error is of the stage "host key", names the file and line that decided, and has the next
command to type.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import SshTarget

from .known_hosts import USER_FILES, Entry, decode_key, fingerprint
from .ssh_command import shell_join


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The key that a host showed. `name` is the host's name in known_hosts files."""

    target: SshTarget
    name: str
    key_type: str
    blob: bytes

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
    """Returns the error for a key of a host of which no key is known."""
    for entry in entries:
        if entry.marker == "@cert-authority":
            return _certificate_authority(key, entry)
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


def _certificate_authority(key: ShownKey, entry: Entry) -> TransportError:
    """Returns the error for a host that is known only by a certificate authority."""
    return TransportError(
        "host key",
        f"{entry.location} trusts a certificate authority for {key.name}, and host certificates are"
        f" not supported by the built-in client: the host's own key ({key}) is not known",
        hint=rerun_hint("--transport", "openssh"),
        kind="host key not trusted",
    )


def changed_key(key: ShownKey, entry: Entry) -> TransportError:
    """Returns the error for a key that is not the known one."""
    known = f"{entry.key_type} {fingerprint(decode_key(entry.text))}"
    return TransportError(
        "host key",
        f"changed host key: {key.name} shows {key}, but {entry.location} has {known};"
        " someone may be intercepting the connection, or the host was reinstalled",
        hint=forget_command(key.name, entry.source),
        kind="host key changed",
        changed_key=(f"{known} ({entry.location})", f"{key} of {key.name}"),
    )


def revoked_key(key: ShownKey, location: str) -> TransportError:
    """Returns the error for a key that a file revokes."""
    reason = f"revoked host key: {key.name} shows {key}, which {location} revokes"
    hint = f"{_scan_command(key.target)} | ssh-keygen -lf -"
    return TransportError("host key", reason, hint=hint, kind="host key revoked")


def _scan_command(target: SshTarget) -> str:
    """Returns the command that shows the keys of a host."""
    command = ["ssh-keyscan", "-p", str(target.port)]
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
