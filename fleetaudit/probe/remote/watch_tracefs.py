"""Reaches tracefs, which many hosts have not mounted, and leaves nothing behind in it.

Where it is not mounted, a child process mounts it in a mount namespace of its own, and this process
reads it as /proc/CHILD/root/sys/kernel/tracing: the host's mounts stay as they are. The same child
removes a tracing instance of this program as soon as this process is gone, whatever ended it.
"""

import os
import re
import signal
import time
from typing import List

from .constants import ERRORS
from .errors import Unsupported, call_or, error_name, message_of
from .files import read_descriptor, read_file
from .system import load_libc
from .watch_format import MAX_FORMAT, ResetFormat

TRACEFS = "/sys/kernel/tracing"
RESET_EVENT = "events/tcp/tcp_send_reset/"
INSTANCE = "fleetaudit-%d"
INSTANCE_NAME = re.compile(r"fleetaudit-(\d{1,10})$")
LOCKDOWN = "/sys/kernel/security/lockdown"
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18
# The same without ctypes. The shell ignores what may end it before it has removed the instance.
MOUNT_SCRIPT = "\n".join(
    (
        "trap '' HUP INT TERM",
        "mount --make-rprivate / && mount -t tracefs tracefs %s || exit 1",
        "printf +",
        "exec >/dev/null 2>&1",
        "read -r _",
        "for i in 1 2 3 4 5 6 7 8 9; do rmdir %s && break; test -d %s || break; sleep 0.1; done",
    )
)
MAX_CPUS = 8192  # as Linux has at most
REMOVE_S = 2.0  # for removing an instance


class CannotWatch(Unsupported):
    """Why a host cannot be watched. `hint` is the next command to type."""

    def __init__(self, problem, hint):
        # type: (str, str) -> None
        Unsupported.__init__(self, problem)
        self.hint = hint


class Tracefs(object):
    """tracefs as this process reads it: `root` is its folder."""

    def __init__(self):
        # type: () -> None
        """Raises CannotWatch if it cannot be mounted."""
        self.is_mounted = os.path.isdir(TRACEFS + "/events")
        self.instance = "%s/instances/%s" % (TRACEFS, INSTANCE % os.getpid())
        self.pid, self.control = 0, -1
        self.root = TRACEFS
        if not self.is_mounted:
            self.start_guard()
            self.root = "/proc/%d/root%s" % (self.pid, TRACEFS)

    def start_guard(self):
        # type: () -> None
        """Starts the child process that mounts tracefs if need be, and cleans up behind this one;
        raises CannotWatch.
        """
        if self.pid:
            return
        out, into = os.pipe()
        held, self.control = os.pipe()
        try:
            self.pid = os.fork()
        except ERRORS as e:
            for fd in (out, into, held, self.control):
                os.close(fd)
            raise CannotWatch("no process could be made: " + message_of(e), "ulimit -u")
        if self.pid == 0:
            os.close(out)
            os.close(self.control)
            guard(self.is_mounted, held, into, self.instance)
        os.close(held)
        os.close(into)
        answer = read_descriptor(out, 1)
        if answer != b"+":  # but what is wrong
            answer += read_descriptor(out, 4096)
        os.close(out)
        if answer != b"+":
            self.close()
            raise mount_problem(answer.decode("utf-8", "replace").strip() or "no answer")

    def close(self):
        # type: () -> None
        """Lets the child process clean up, and waits for its end."""
        if self.pid:
            pid, self.pid = self.pid, 0
            os.close(self.control)
            os.waitpid(pid, 0)

    def read_format(self):
        # type: () -> ResetFormat
        """Returns the tracepoint's format; raises CannotWatch if the kernel has none, or keeps it
        to itself.
        """
        folder = "%s/%s" % (self.root, RESET_EVENT)
        if not os.path.isdir(self.root + "/events"):
            raise mount_problem("its folder is empty")
        if not os.path.isdir(folder):
            raise CannotWatch(
                "this kernel has no tracepoint tcp:tcp_send_reset; it came with Linux 4.15",
                "uname -r",
            )
        try:
            return ResetFormat(
                read_file(folder + "id", 64), read_file(folder + "format", MAX_FORMAT)
            )
        except ERRORS as e:
            raise mount_problem("its files cannot be read (%s)" % error_name(e))

    def remove_stale(self):
        # type: () -> None
        """Removes the instances that earlier runs left. One that is in use stays: its process has
        it open.
        """
        folder = self.root + "/instances"
        for name in call_or([], os.listdir, folder):
            match = INSTANCE_NAME.match(name)
            if match and not os.path.exists("/proc/" + match.group(1)):
                call_or(None, os.rmdir, folder + "/" + name)


def mount_problem(problem):
    # type: (str) -> CannotWatch
    """Returns why tracefs cannot be used, with what an administrator can look at."""
    if "[confidentiality]" in call_or("", read_file, LOCKDOWN, 256):
        return CannotWatch("the kernel's lockdown keeps tracefs closed", "cat " + LOCKDOWN)
    if not os.path.isdir(TRACEFS):
        sentence = "this kernel has no tracefs: there is no folder " + TRACEFS
        return CannotWatch(sentence, "ls -d /sys/kernel/tracing")
    sentence = "tracefs cannot be used: %s; it needs CAP_SYS_ADMIN outside a container" % problem
    return CannotWatch(sentence[:1000], "grep CapEff /proc/self/status")


def guard(is_mounted, control, answer, instance):
    # type: (bool, int, int, str) -> None
    """Is the child process: waits until nobody has the other end of `control`, removes the
    instance, and ends.
    """
    try:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # Nobody may have to wait for this process's end of the output.
        os.dup2(control, 0)
        os.dup2(answer, 1)
        os.dup2(answer, 2)
        if not is_mounted:
            mount_privately(instance)
        os.write(1, b"+")
        for fd in (1, 2, answer):
            os.close(fd)
        os.read(0, 1)
        remove_instance(instance)
    except BaseException as e:
        call_or(None, os.write, 2, message_of(e).encode("ascii", "replace"))
    finally:
        os._exit(0)


def mount_privately(instance):
    # type: (str) -> None
    """Mounts tracefs in a new mount namespace; becomes a shell that does so without ctypes. Raises
    OSError and Unsupported.
    """
    try:
        ctypes, library = load_libc()
    except Unsupported:
        script = MOUNT_SCRIPT % (TRACEFS, instance, instance)
        call_or(None, os.execvp, "unshare", ["unshare", "-m", "sh", "-c", script])
        raise Unsupported("this host has neither Python's ctypes nor the program unshare")
    library.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    target = TRACEFS.encode("ascii")
    steps = (
        (library.unshare, CLONE_NEWNS),
        (library.mount, b"none", b"/", None, MS_REC | MS_PRIVATE, None),
        (library.mount, b"tracefs", target, b"tracefs", 0, None),
    )
    for step in steps:
        if step[0](*step[1:]) != 0:
            raise OSError(ctypes.get_errno(), "mount")


def remove_instance(instance):
    # type: (str) -> None
    """Removes a tracing instance. The kernel refuses as long as another process has it open."""
    end = time.time() + REMOVE_S
    while os.path.isdir(instance) and time.time() < end:
        call_or(None, os.rmdir, instance)
        time.sleep(0.02)


def online_cpus(path="/sys/devices/system/cpu/online"):
    # type: (str) -> List[int]
    """Returns the numbers of the CPUs that run: "0-3,6"."""
    cpus = []  # type: List[int]
    for part in call_or("0", read_file, path, 4096).strip().split(",")[:MAX_CPUS]:
        first, _, last = part.partition("-")
        cpus += range(int(first), min(int(last or first), MAX_CPUS) + 1)
    return cpus[:MAX_CPUS]
