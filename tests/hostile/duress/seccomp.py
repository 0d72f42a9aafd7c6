"""Seccomp filters: system calls that a world refuses, or that end the process (seccomp(2))."""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS: SIGSYS
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ARCH_OFFSET, _X86_64 = 4, 0xC000003E

# arch/x86/entry/syscalls/syscall_64.tbl
NUMBERS = {
    "poll": 7, "lseek": 8, "ioctl": 16, "pipe": 22, "sched_yield": 24, "dup": 32, "dup2": 33,
    "nanosleep": 35, "setitimer": 38, "getpid": 39, "socket": 41, "connect": 42, "accept": 43,
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49,
    "listen": 50, "getsockname": 51, "getpeername": 52, "socketpair": 53, "setsockopt": 54,
    "getsockopt": 55, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "wait4": 61, "kill": 62,
    "uname": 63, "fcntl": 72, "getcwd": 79, "chdir": 80, "readlink": 89, "times": 100,
    "getuid": 102, "statfs": 137, "prctl": 157, "setrlimit": 160, "gettid": 186,
    "sched_setaffinity": 203, "sched_getaffinity": 204, "epoll_create": 213, "getdents64": 217,
    "clock_gettime": 228, "clock_nanosleep": 230, "epoll_wait": 232, "epoll_ctl": 233,
    "ppoll": 271, "unshare": 272, "splice": 275, "accept4": 288, "epoll_create1": 291,
    "dup3": 292, "pipe2": 293, "setns": 308, "getrandom": 318, "clone3": 435, "pidfd_open": 434,
}  # fmt: skip


class Rule(NamedTuple):
    """The action for a system call, perhaps only with one value of an argument."""

    call: str
    action: int
    argument: int = -1
    value: int = 0


def refuse(name: str, *calls: str, argument: int = -1, value: int = 0) -> tuple[Rule, ...]:
    """Returns rules that make calls fail with an errno; "" has them succeed and do nothing."""
    action = _ERRNO | (getattr(errno, name) if name else 0)
    return tuple(Rule(call, action, argument, value) for call in calls)


def kill(*calls: str, argument: int = -1, value: int = 0) -> tuple[Rule, ...]:
    """Returns rules that end the process that makes one of these calls."""
    return tuple(Rule(call, KILL, argument, value) for call in calls)


def assemble(rules: tuple[Rule, ...]) -> bytes:
    """Returns the filter in classic BPF, for x86_64."""
    lines = [(_LOAD, 0, 0, _ARCH_OFFSET), (_EQUAL, 1, 0, _X86_64), (_RETURN, 0, 0, ALLOW)]
    for rule in rules:
        test = [(_RETURN, 0, 0, rule.action)]
        if rule.argument >= 0:
            place = 16 + 8 * rule.argument  # struct seccomp_data, the lower half
            test = [(_LOAD, 0, 0, place), (_EQUAL, 0, 1, rule.value), *test]
        number = NUMBERS[rule.call]
        lines += [(_LOAD, 0, 0, 0), (_EQUAL, 0, len(test), number), *test]
    lines.append((_RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
