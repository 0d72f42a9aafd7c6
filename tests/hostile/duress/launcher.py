"""Makes a world, starts a command in it, and reports what the command left there.

    python launcher.py SPEC         what the world is, as JSON (`probing._spec`); the report goes to
                                    its descriptor `report`
    python launcher.py --group NAME whether this machine lets the tests limit a control group

Three processes: this one makes the namespaces; the first process of the new PID namespace makes the
rest of the world, waits and looks around; the third gets the limits and becomes the command. The
standard streams of all are those of this one. Needs root, and nothing but Python and the kernel.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC = 0x20000, 0x40000000, 0x20000000, 0x8000000
MS_NOSUID, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 2, 4096, 8192, 16384, 1 << 18
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
GRACE_S = 5.0
"""How long processes may take to go after the command has ended, on a busy machine."""

Json = dict[str, Any]
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raises `OSError` for a call of the C library that failed."""
    if result:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str, target: Path, kind: str, flags: int = 0, data: str = "") -> None:
    words = (text.encode() for text in (source, str(target), kind))
    check(libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def main() -> int:
    if sys.argv[1] == "--group":
        return can_limit(sys.argv[2])
    spec: Json = json.loads(sys.argv[1])
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC), "unshare")
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    report: Json = {}
    try:
        report = look_after(spec)
    except Exception as e:  # the test reports it
        report = {"failed": f"{type(e).__name__}: {e}"}
        raise
    finally:
        os.write(spec["report"], json.dumps(report).encode())
        os._exit(0)


def look_after(spec: Json) -> Json:
    """Makes the world, runs the command in it, and returns the report."""
    world = World(Path(spec["folder"]), spec.get("groups", {}))
    for script in spec.get("scripts", ()):
        subprocess.run(["/bin/sh", "-ec", script], check=True, stdin=subprocess.DEVNULL)
    if spec.get("files"):
        replace_files(spec["files"])
    before = world.state()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        become(spec, world)
    for fd in (0, 1, 2):
        os.close(fd)
    report = watch(spec, world, pid, began)
    world.remove_groups()
    report["changed"] = differences(before, world.state())
    return report


class World:
    """The root of this process from now on: an overlay of the machine's, with mounts of its own."""

    def __init__(self, folder: Path, groups: dict[str, str]) -> None:
        mount("", Path("/"), "", MS_REC | MS_PRIVATE)
        mount("tmpfs", folder, "tmpfs")
        self.groups = [make_group(folder, *setting) for setting in groups.items()]
        upper, work, root, own = (folder / name for name in ("upper", "work", "root", "proc"))
        for path in (upper, work, root, own):
            path.mkdir()
        mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={upper},workdir={work},xino=off")
        mount("proc", own, "proc")
        self.proc = os.open(own, os.O_RDONLY)
        self.upper = os.open(upper, os.O_RDONLY)
        mount("proc", root / "proc", "proc")
        mount("sysfs", root / "sys", "sysfs")
        make_devices(root / "dev")
        # As switch_root(8) does: nobody can make a user namespace in a mere chroot(2).
        os.chdir(root)
        mount(str(root), Path("/"), "", MS_MOVE)
        os.chroot(".")
        os.chdir("/")
        bring_up_lo()

    def join_groups(self) -> None:
        """Moves this process into the control groups of the world."""
        for _, _, members in self.groups:
            os.write(members, b"0")

    def remove_groups(self) -> None:
        for root, name, members in self.groups:
            os.close(members)
            with suppress(OSError):
                os.rmdir(name, dir_fd=root)
            os.close(root)

    def processes(self) -> list[int]:
        """Returns all processes of the world but this one."""
        with os.scandir(self.proc) as entries:
            found = [int(entry.name) for entry in entries if entry.name.isdigit()]
        return [pid for pid in found if pid != os.getpid()]

    def describe(self, pid: int) -> str:
        """Returns the state and the command line of a process, "" if it is gone."""
        with suppress(OSError):
            status = self.read(f"{pid}/stat").rpartition(")")[2].split()[0]
            return f"{pid} {status} {self.read(f'{pid}/cmdline')[:60]!r}"
        return ""

    def read(self, path: str) -> str:
        fd = os.open(path, os.O_RDONLY, dir_fd=self.proc)
        with os.fdopen(fd, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")

    def state(self) -> Json:
        """Returns everything that the command must leave as it is."""
        found: Json = {}
        for path, _, names, fd in os.fwalk(".", dir_fd=self.upper):
            for name in ("", *names):
                status = os.stat(name or ".", dir_fd=fd, follow_symlinks=False)
                times = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
                found[f"file {path[1:]}/{name}"] = times if name else status.st_mode
        for path, folders, names in os.walk("/dev"):
            found |= {f"device {path}/{name}": "" for name in (*folders, *names)}
        for path, _, names, fd in os.fwalk("sys/net", dir_fd=self.proc):
            found |= {f"sysctl {path}/{name}": value_of(name, fd) for name in names}
        for line in self.read("self/mountinfo").splitlines():
            found[f"mount {line.split()[0]}"] = line
        for _, name in socket.if_nameindex():
            found[f"interface {name}"] = interface_flags(name)
        for kind in ("msg", "sem", "shm"):
            found[f"ipc {kind}"] = self.read(f"sysvipc/{kind}")
        return found


def value_of(name: str, folder: int) -> str:
    """Returns the value of a sysctl, "" for one that nobody can read."""
    with suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(fd, "rb") as file:
            return file.read().decode("utf-8", "replace")
    return ""


def differences(before: Json, after: Json) -> list[str]:
    """Returns the names of what is new, gone or different."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def make_devices(folder: Path) -> None:
    mount("tmpfs", folder, "tmpfs", MS_NOSUID, "mode=755")
    for name, minor in DEVICES.items():
        os.mknod(folder / name, 0o20666, os.makedev(1, minor))
        (folder / name).chmod(0o666)
    os.mknod(folder / "tty", 0o20666, os.makedev(5, 0))
    (folder / "shm").mkdir(mode=0o1777)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (folder / name).symlink_to(f"/proc/self/fd{target}")


def interface_flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, 0x8913, struct.pack("16sh22x", name.encode(), 0))
    return int(struct.unpack("16sh22x", answer)[1])


def bring_up_lo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", b"lo", interface_flags("lo") | 1))


# ---- control groups

V1 = {"memory.max": "memory.limit_in_bytes"}
"""Names of settings in version 1 that are not those of version 2."""
Group = tuple[int, str, int]
"""A control group: its parent folder, its name, and the file through which processes join it."""


def make_group(folder: Path, setting: str, value: str) -> Group:
    """Makes a control group with one setting, in whichever version has its controller; raises
    `OSError`. The hierarchy is mounted for this world: /sys may lack it.
    """
    controller = setting.partition(".")[0]
    place = folder / f"group-{setting}"
    place.mkdir()
    mount("none", place, "cgroup2")
    own = place / f"fleetaudit-duress-{time.monotonic_ns()}"
    values, members = {setting: value}, "cgroup.procs"
    if controller not in (place / "cgroup.subtree_control").read_text().split():
        check(libc.umount2(str(place).encode(), 0), "umount")
        mount("none", place, "cgroup", 0, controller)
        values = {V1.get(setting, setting): value}
        if setting == "cpu.max":
            quota, period = value.split()
            values = {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota}
    own.mkdir()
    for name, text in values.items():
        (own / name).write_text(text)
    root = os.open(place, os.O_RDONLY)
    return root, own.name, os.open(own / members, os.O_WRONLY)


def can_limit(setting: str) -> int:
    """Returns the exit status that says whether a control group can have a setting."""
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("", Path("/"), "", MS_REC | MS_PRIVATE)
    folder = Path("/mnt")
    mount("tmpfs", folder, "tmpfs")
    values = {"cpu.max": "1000 100000", "memory.max": str(64 << 20), "pids.max": "10"}
    root, name, members = make_group(folder, setting, values[setting])
    os.close(members)
    os.rmdir(name, dir_fd=root)
    return 0


# ---- odd files


def replace_files(files: dict[str, str]) -> None:
    """Puts odd files in the place of some, by their path: below /proc and /sys in a tree of links
    to the real ones, because a mount over /proc/net would hold for one process and namespace only.
    """
    for path, how in files.items():
        place = Path(path)
        top = Path("/", place.parts[1])
        if str(top) in ("/proc", "/sys") and not (top / ".real").exists():
            real = Path("/run/real" + str(top).replace("/", "-"))
            real.mkdir(parents=True)
            mount(str(top), real, "", MS_BIND | MS_REC)
            mount("tmpfs", top, "tmpfs", 0, "mode=755")
            (top / ".real").symlink_to(real)
            link_entries(top, real)
        for parent in reversed(place.parents[:-2]):
            if parent.is_symlink() and str(top) in ("/proc", "/sys"):
                real = Path(str(parent).replace(str(top), str(Path(top / ".real").readlink()), 1))
                parent.unlink()
                parent.mkdir()
                link_entries(parent, real)
        with suppress(FileNotFoundError):
            place.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        ODD[how](place)


def link_entries(folder: Path, real: Path) -> None:
    for entry in real.iterdir():
        if not (entry.name.isdigit() and real.name == "real-proc"):
            (folder / entry.name).symlink_to(entry)


def write(content: bytes) -> Any:
    return lambda path: path.write_bytes(content)


ODD: dict[str, Any] = {
    "absent": lambda path: None,
    "empty": write(b""),
    "binary": write(random.Random(1).randbytes(5000)),
    "10 MB without a newline": write(b"9" * 10_000_000),
    "10 MB of newlines": write(b"\n" * 10_000_000),
    "10 MB of words": write(b"7 x 0: \n" * 1_250_000),
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "a loop of links": lambda path: path.symlink_to(path),
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),  # EIO, for root as well
    "negative": write(b"-1 -1 -1\nTcpExt: -1\nTcp: -1\n"),
}


# ---- the command


def become(spec: Json, world: World) -> None:
    """Becomes the command, with the limits of the world; never returns."""
    try:
        os.setsid()
        os.close(spec["report"])
        world.join_groups()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if spec.get("uid"):
            os.setgroups([])
            os.setresgid(*[spec["uid"]] * 3)
            os.setresuid(*[spec["uid"]] * 3)
        for fd in spec.get("closed", ()):
            os.close(fd)
        environment = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environment |= spec.get("environment", {})
        for name, value in spec.get("limits", {}).items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        if spec.get("filter"):
            install_filter(bytes.fromhex(spec["filter"]))
        os.execve("/bin/sh", ["sh", "-c", "exec " + spec["command"]], environment)
    except BaseException as e:
        os.write(2, f"the world cannot be made: {e}\n".encode())
    finally:
        os._exit(99)


def install_filter(program: bytes) -> None:
    """Has the kernel run a classic BPF program on every system call from now on (seccomp(2))."""
    held = ctypes.create_string_buffer(program, len(program))
    packed = struct.pack("HP", len(program) // 8, ctypes.addressof(held))
    filtered = ctypes.create_string_buffer(packed, len(packed))
    if os.geteuid():
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filtered, 0, 0), "seccomp")


# ---- what happens meanwhile


def watch(spec: Json, world: World, pid: int, began: float) -> Json:
    """Waits for the command, with what the world does to it meanwhile; reaps as an init does."""
    status: int | None = None
    events = [(began + event["at"], event) for event in spec.get("events", ())]
    end = began + spec["most"]
    done: list[str] = []
    while status is None and time.monotonic() < end:
        status = reap(pid, status)
        if events and time.monotonic() >= events[0][0]:
            done += act(events.pop(0)[1], world, pid)
        elif spec.get("share"):
            run_for_a_share(spec["share"], world)
        else:
            time.sleep(0.002)
    seconds = time.monotonic() - began
    return {
        "status": status,
        "seconds": seconds,
        "done": done,
        "left": wait_for_the_rest(world, pid, status),
    }


def reap(pid: int, status: int | None) -> int | None:
    """Reaps what has ended; returns the status of the command if it was among it."""
    with suppress(ChildProcessError):
        found, how = os.waitpid(-1, os.WNOHANG)
        while found:
            status = os.waitstatus_to_exitcode(how) if found == pid else status
            found, how = os.waitpid(-1, os.WNOHANG)
    return status


def act(event: Json, world: World, pid: int) -> list[str]:
    """Sends a signal to the command, to all processes, or to one by chance."""
    chosen = sorted(world.processes())
    if event["to"] == "command":
        chosen = [pid]
    elif event["to"] == "one":
        chosen = [random.Random(event["seed"]).choice(chosen)] if chosen else []
    done = [world.describe(each) for each in chosen]
    send(event["signal"], chosen)
    return done


def send(number: int, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def run_for_a_share(share: float, world: World) -> None:
    """Lets the world run for a share of a tenth of a second, and stops it for the rest."""
    send(signal.SIGCONT, world.processes())
    time.sleep(0.1 * share)
    send(signal.SIGSTOP, world.processes())
    time.sleep(0.1 * (1 - share))
    send(signal.SIGCONT, world.processes())


def wait_for_the_rest(world: World, pid: int, status: int | None) -> list[str]:
    """Returns the processes that are left once the command has ended, after a while."""
    if status is None:
        send(signal.SIGKILL, [pid])
    end = time.monotonic() + GRACE_S
    while world.processes() and time.monotonic() < end:
        reap(pid, status)
        time.sleep(0.005)
    return list(filter(None, map(world.describe, world.processes())))


if __name__ == "__main__":
    sys.exit(main())
