"""Becomes QEMU with as little privilege as possible: a program of its own, between fork and exec.

Rules: read as text and run as `python -I -S -c TEXT PARENT COMMAND…`; the package never imports it.
No preexec_fn, because Python code between fork and exec of a threaded process can deadlock. Nothing
here needs the files of this machine.
"""

# Every import here delays every guest.
# ruff: noqa: PTH116, S606
import ctypes
import os
import resource
import signal
import sys

NOBODY = 65534
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38


def groups_for_kvm() -> "list[int]":
    """Returns the group that may read and write /dev/kvm, none if that is root's."""
    try:
        kvm = os.stat("/dev/kvm")
    except OSError:
        return []
    if not kvm.st_gid or kvm.st_mode & 0o060 != 0o060:
        return []
    return [kvm.st_gid]


def main(parent: int, command: "list[str]") -> None:
    """Drops the privileges of root, dies with the parent, and runs `command`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups(groups_for_kvm())
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    # After the change of user, which clears it: no guest outlives a killed fleetaudit.
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this guest has ended")
    os.execv(command[0], command)


main(int(sys.argv[1]), sys.argv[2:])
