"""How a host with a fault is reached."""

from __future__ import annotations

import getpass
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from fleetaudit.model import Secret, SshTarget

from .fault import AUDITED, Fault, Says

RELAY = Path(__file__).with_name("relay.py")


@dataclass(frozen=True)
class Place:
    """The ports of the faulty and of the good server, and the files for both: `key`, `known_hosts`
    and `ssh_config` of the folder.
    """

    folder: Path
    faulty: int
    good: int
    host_key: str

    def write_known_hosts(self) -> Path:
        path = self.folder / "known_hosts"
        lines = (f"[127.0.0.1]:{port} {self.host_key}\n" for port in (self.faulty, self.good))
        path.write_text("".join(lines))
        return path


@dataclass(frozen=True)
class Route:
    """A way to the host. `far` is its name in ssh_config; without one it is reached directly."""

    name: str
    client: str = "paramiko"
    far: str = ""

    def target(self, place: Place, fault: Fault) -> SshTarget:
        """Returns the host as this way leads to it."""
        known = place.write_known_hosts()
        password = fault.login.get("password")
        target = SshTarget(
            address="127.0.0.1",
            port=place.faulty,
            user=getpass.getuser(),
            private_keys=() if password else (str(place.folder / "user"),),
            known_hosts=(str(known),),
            use_agent=False,
            client=self.client,  # type: ignore[arg-type]
            password=Secret(password) if password else None,
        )
        if not self.far:
            return target
        path = place.folder / "ssh_config"
        path.write_text(self._config(place, known))
        path.chmod(0o600)
        return SshTarget(
            address=self.far,
            arguments=("-F", str(path)),
            use_agent=False,
            client=self.client,  # type: ignore[arg-type]
            password=target.password,
        )

    def _config(self, place: Place, known: Path) -> str:
        relay = shlex.join([sys.executable, "-S", "-E", str(RELAY)])
        return f"""\
Host far
  Port {place.good}
  ProxyJump faulty
Host behind
  Port {place.faulty}
  ProxyJump good
Host proxied
  Port {place.faulty}
  ProxyCommand {relay} %h %p
Host faulty
  Port {place.faulty}
Host good
  Port {place.good}
Host *
  HostName 127.0.0.1
  User {getpass.getuser()}
  IdentityFile {place.folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
"""

    def _of_jump_host(self, fault: Fault) -> Says | None:
        """Returns what must be reported if the fault is a jump host's.

        OpenSSH reaches it by another ssh, which tells ours nothing: not even whether it logged in.
        """
        if fault.jump is None or self.client != "openssh" or fault.jump.stage == AUDITED:
            return fault.jump
        return Says("connect", or_stage="authenticate")

    def says(self, fault: Fault) -> Says | None:
        """Returns what must be reported of a fault that is met this way; None if it cannot be."""
        if self.client == "openssh" and fault.login:
            return None
        if self.far == "far":
            return self._of_jump_host(fault)
        if self.client == "openssh":
            return fault.openssh
        if self.far == "proxied" and any("hung up" in words for words in fault.says.words):
            return Says(fault.says.stage, ("the ProxyCommand ended with status 0",))
        return fault.says


ROUTES = (
    Route("direct"),
    Route("jump host", far="far"),
    Route("behind a jump host", far="behind"),
    Route("ProxyCommand", far="proxied"),
    Route("openssh", client="openssh"),
    Route("openssh, jump host", client="openssh", far="far"),
    Route("openssh, ProxyCommand", client="openssh", far="proxied"),
)
