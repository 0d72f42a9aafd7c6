"""The text of a crontab line, and of a systemd service with its timer, for a nightly job. Pure.

Rules: nothing is installed here. Every argument is quoted for its reader: cron's shell and its “%”,
systemd's own quoting and its “%” and “$”. The service may do what an audit needs, namespaces and
sudo included, and little else. Sources: crontab(5), systemd.service(5), systemd.exec(5),
systemd.timer(5).
"""

from __future__ import annotations

import shlex

import msgspec

_NEEDS_QUOTES = frozenset(" \t'\"\\;")
"""Characters that stand in a word of ExecStart= only between quotes."""
_LINE_BREAKS = frozenset("\n\r\0")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command with its arguments, the folder to run it in, and the local time of day.

    The default is a time that every day has in every time zone: clocks are put forward between
    22:00 and 04:00.
    """

    command: tuple[str, ...]
    folder: str
    hour: int = 4
    minute: int = 17
    written: str = ""
    """The absolute path of a folder outside /var/lib that the command writes to, "" for none."""


def crontab_line(job: Job) -> str:
    """Returns one line for `crontab -e`; the shell of cron is /bin/sh.

    Raises ValueError for a line break or a name that is not UTF-8 in the command or the folder.
    """
    line = f"cd {shlex.quote(job.folder)} && {shlex.join(job.command)}"
    _refuse_unusable(line)
    # crontab(5): an unescaped % is a newline, and what follows it is the command's input, inside of
    # quotes as well.
    return f"{job.minute} {job.hour} * * * " + line.replace("%", "\\%") + "\n"


def service(job: Job, *, user: str, name: str = "fleetaudit") -> str:
    """Returns a systemd service that runs the job once as `user`, with few privileges.

    `name` is the name of the unit without its ending, and of its folder below /var/lib. A job that
    becomes another user keeps the privileges that sudo, doas and su need. Raises ValueError as
    `crontab_line`.
    """
    return _SERVICE.format(
        name=name,
        user=_value(user),
        folder=_value(job.folder),
        command=" ".join(map(_argument, job.command)),
        written=_written_folder(job),
        privileges=_MORE_PRIVILEGES if _becomes(job) else _NO_MORE_PRIVILEGES,
    )


def _written_folder(job: Job) -> str:
    """Returns the setting that lets the job write to its other folder; one may be missing."""
    if not job.written:
        return ""
    _refuse_unusable(job.written)
    escaped = job.written.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'ReadWritePaths="-{escaped}"\n'


def _becomes(job: Job) -> bool:
    """Returns whether the probe runs as another user, which may be on this machine, too."""
    return not {"-b", "--become"}.isdisjoint(job.command)


def timer(job: Job) -> str:
    """Returns the text of the timer of `service`: every night, spread over half an hour."""
    return _TIMER.format(hour=job.hour, minute=job.minute)


def _argument(word: str) -> str:
    """Returns one argument quoted for ExecStart=, with % (specifiers) and $ (variables) escaped."""
    _refuse_unusable(word)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    if not word or not _NEEDS_QUOTES.isdisjoint(word):
        return f'"{escaped}"'
    return escaped


def _value(text: str) -> str:
    """Returns the value of a setting, with % escaped."""
    _refuse_unusable(text)
    return text.replace("%", "%%")


def _refuse_unusable(text: str) -> None:
    """Raises ValueError for text that cannot be in a crontab or a unit."""
    if not _LINE_BREAKS.isdisjoint(text):
        raise ValueError(f"{text!r}: a line break cannot be scheduled")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{text!r}: a name that is not UTF-8 cannot be scheduled")


# Left out because the probe of this machine needs it: namespaces (RestrictNamespaces=yes,
# PrivateUsers), sysctls that are copied into them (ProtectKernelTunables), packets
# (RestrictAddressFamilies without AF_PACKET and AF_NETLINK).
_SERVICE = """\
# Write this to /etc/systemd/system/{name}.service, the timer to {name}.timer there, then:
#   systemctl daemon-reload && systemctl enable --now {name}.timer
[Unit]
Description=Audit how every host of the fleet closes TCP connections
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
WorkingDirectory={folder}
ExecStart={command}
# 2, 4, 6: findings, or hosts that were not audited; 8 more: changes. They are in the report.
SuccessExitStatus=2 4 6 8 10 12 14
TimeoutStartSec=6h
StateDirectory={name}
StateDirectoryMode=0700
Environment=FLEETAUDIT_OUTPUT_DIR=/var/lib/{name}
StandardInput=null
UMask=0077
ProtectSystem=strict
ProtectHome=read-only
{written}PrivateTmp=yes
PrivateDevices=no
ProtectControlGroups=yes
TasksMax=2048
{privileges}"""

# Each of these settings implies the first one where the service is not root's: systemd.exec(5),
# NoNewPrivileges=.
_NO_MORE_PRIVILEGES = """\
NoNewPrivileges=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
RestrictNamespaces=user net mnt
"""
_MORE_PRIVILEGES = """\
# The probe becomes another user: on this machine by sudo, doas or su, which NoNewPrivileges= would
# stop. So would every setting that implies it: Restrict…=, ProtectKernel…=, ProtectClock=,
# ProtectHostname=, LockPersonality=, SystemCall…=.
"""

_TIMER = """\
[Unit]
Description=Audit the fleet every night

[Timer]
OnCalendar=*-*-* {hour:02}:{minute:02}:00
RandomizedDelaySec=30min
Persistent=yes

[Install]
WantedBy=timers.target
"""
