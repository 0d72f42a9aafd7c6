"""fleetaudit's probe: closes TCP connections on loopback in many ways and reports what each close put on the wire.

For whoever is asked to let this run:

- It writes no file and changes no setting of the host. It prints one line, `fleetaudit-probe/1 {json}`, and ends.
- It talks to nobody but itself, over 127.0.0.1, ::1 and AF_UNIX, in a private network namespace where it may make one
  (thrown away at the end). There, and only there, it sets sysctls: to the host's own values, and to what a step says.
- Without such a namespace it opens plain sockets on loopback, and does no more than an unprivileged program could,
  but for a packet capture, if it may make one, whose filter passes only the connections that it made itself.
- It reads: uname, os-release, a keyed hash of the machine id, the sysctls it was asked for (never a key) and which
  line of sysctl.d sets them (only of files that everybody may read), and counters from /proc/net; of other people's
  sockets it reports how many have unread data, never who they are.
- It loads no kernel module, leaves no process, and ends by an alarm whatever happens.

Rules: one file, standard library, ASCII; Python 2.7 and 3.6 onwards; no module that Debian's python3-minimal lacks
without doing without it. It is sent as text with a last line that calls `main`; it is never imported.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time

try:  # without it nobody can be shown a filter, and nothing is captured
    import array
except Exception:
    array = None
try:  # without it globs match nothing
    import fnmatch
except Exception:
    fnmatch = None
try:  # without them no captured headers are reported
    import binascii
    import zlib
except Exception:
    zlib = None

MARK = "fleetaudit-probe/1 "
NEEDS_RAW = "needs CAP_NET_RAW or user namespaces; set become: true"
OUT_OF_TIME = "the probe's time ran out"
MERCY = 5.0  # seconds between the soft alarm and the hard one
PATIENCE = 1.0  # seconds that a step waits for what must come, at least: see AdaptiveTimeout
HEARING = 0.05  # seconds that the peer is given to hear of an end that may not come, at least
STALL = 0.01  # seconds of delay in a trial that make it one of a host that stalled; an idle one is late by 0.0001
MAX_REPEATS = 2  # trials of one scenario over one family that are run again because the host stalled
MAX_BULK = 16 * 1024 * 1024  # bytes that one step sends at most
MAX_STRANGERS = 18  # connections that fill an accept queue at most
MAX_TRACE = 200  # segments of one trial that are reported
MAX_HEADERS = 32768  # characters of captured headers in one reply
MAX_SYSCTLS = 4000
SNAP = 160  # bytes of a packet that are captured: every header, never more of the data than fits beside it
PATTERN = b"0123456789abcdef" * 4112  # what is sent: the byte at offset n of a stream is the hex digit of n modulo 16
SIDES = ("closer", "peer")
ERRORS = (OSError, IOError, socket.error, select.error)  # one class in Python 3, four in Python 2

# Where Python has no name for a Linux constant (include/uapi/linux), or had none in 2.7.
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SIOCGSTAMPNS, FIONREAD, SIOCOUTQ, F_SETPIPE_SZ = 0x8907, 0x541B, 0x5411, 1031
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS = 3, 263, 6
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
TCP_INFO, TCP_QUICKACK, TCP_MD5SIG, TCP_ULP, SOL_TLS = 11, 12, 14, 31, 282
MSG_FASTOPEN, MSG_TRUNC, IPPROTO_MPTCP = 0x20000000, 0x20, 262
POLLRDHUP = 0x2000
MD5_KEY = b"fleetaudit probe"  # it protects nothing
QUIET, MSG_NOSIGNAL, MSG_EOR = 0x4040, 0x4000, 0x80  # QUIET: MSG_DONTWAIT and MSG_NOSIGNAL
FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 4, 5, 6, 7, 8, 9, 10, 11
MAX_STATE = 13
GONE = 0  # where there is no socket any more, or only a TIME_WAIT
RESET = struct.pack("B", CLOSE)
TOOK_FIN = [struct.pack("B", state) for state in (TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING)]
TIMER_TIME_WAIT = 3  # idiag_timer

OPTIONS = {  # the step language's names: level and number (TCP_* by number: Python's names came one by one)
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE), "SO_LINGER": (socket.SOL_SOCKET, socket.SO_LINGER),
    "SO_OOBINLINE": (socket.SOL_SOCKET, socket.SO_OOBINLINE), "SO_RCVBUF": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    "SO_RCVLOWAT": (socket.SOL_SOCKET, socket.SO_RCVLOWAT), "SO_SNDBUF": (socket.SOL_SOCKET, socket.SO_SNDBUF),
    "TCP_CORK": (6, 3), "TCP_DEFER_ACCEPT": (6, 9), "TCP_FASTOPEN": (6, 23), "TCP_LINGER2": (6, 8),
    "TCP_MAXSEG": (6, 2), "TCP_NODELAY": (6, 1), "TCP_QUICKACK": (6, 12), "TCP_REPAIR": (6, 19),
    "TCP_USER_TIMEOUT": (6, 18), "TCP_WINDOW_CLAMP": (6, 10),
}

# What each trial watches, and what is reported of the host's own life since boot.
ABORTS = ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnLinger", "TCPAbortOnMemory", "TCPAbortOnTimeout",
          "TCPAbortFailed")
COUNTERS = ABORTS + ("OutRsts", "EstabResets", "MPFastcloseTx", "MPRstTx")
WATCHED = COUNTERS + ("InCsumErrors",)  # by each trial
HEADINGS = (b"TcpExt:", b"Tcp:", b"MPTcpExt:")
NEEDED = ("OutRsts", "TCPAbortOnClose")  # without these two the counters are no witness
EXPOSURE = COUNTERS + ("ListenDrops", "ListenOverflows", "ActiveOpens", "PassiveOpens", "CurrEstab", "MPFastcloseRx",
                       "MPRstRx", "MPCapableSYNRX", "MPCapableSYNTX")


MAX_COUNT, MAX_SECONDS, MAX_MICROS = (1 << 63) - 1, 3.2e9, 10 ** 12  # the largest numbers that a reply may hold
ABSENT = (errno.ENOENT, errno.ENOTDIR)
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)  # and EAGAIN of fork(2), see Child


class TimeIsUp(BaseException):
    """The alarm rang. Not an Exception, so that no guard around a scenario holds it up."""


class NotHere(Exception):
    """What a scenario needs and this host lacks, in plain words."""


class Scarce(NotHere):
    """A host that has it all and gives the probe too little of it."""


class Failed(Exception):
    """Why a step could not be carried out."""


class TimedOut(Failed):
    """A step that waited in vain for what must come."""


# ---- small tools ----


def now():
    """Returns seconds on a clock that nobody sets, for waiting."""
    return getattr(time, "monotonic", time.time)()


def number_of(error):
    """Returns the errno of an exception, 0 where it has none."""
    number = getattr(error, "errno", None) or (error.args[0] if error.args else 0)
    return number if isinstance(number, int) else 0


def name_of(error):
    """Returns an errno's name ("ECONNRESET") for a number or an exception, else the exception's own name."""
    number = error if isinstance(error, int) else number_of(error)
    return errno.errorcode.get(number) or (str(number) if isinstance(error, int) else type(error).__name__)


def would_block(error):
    """Returns whether an exception is EAGAIN."""
    return number_of(error) in (errno.EAGAIN, errno.EWOULDBLOCK)


def read(path, limit=65536):
    """Returns the beginning of a file as text, at most `limit` bytes; raises OSError. A FIFO does not block it."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        chunks = []
        while limit > 0:
            chunk = os.read(fd, limit)
            if not chunk:
                break
            chunks.append(chunk)
            limit -= len(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "replace")


def read_or(path, instead, limit=65536):
    """Returns the beginning of a file as text, or `instead` where it cannot be read."""
    try:
        return read(path, limit)
    except ERRORS:
        return instead


def read_noted(path, notes, limit=65536):
    """Returns the beginning of a file as text, "" if it cannot be read; adds to `notes` unless it is absent."""
    try:
        return read(path, limit)
    except ERRORS as e:
        if number_of(e) not in ABSENT:
            notes.append("%s cannot be read: %s" % (path, name_of(e)))
        return ""


def lines_of(path):
    """Yields the lines of a file as bytes; raises OSError, and ValueError for one that is longer than /proc has any."""
    fd, rest = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
    try:
        chunk = os.read(fd, 65536)
        while chunk:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield line
            if len(rest) > 65536:
                raise ValueError("a line without an end")
            chunk = os.read(fd, 65536)
        if rest:
            yield rest
    finally:
        os.close(fd)


def count_of(text, base=10, most=MAX_COUNT):
    """Returns the number in a file's text; raises ValueError if it is not a number from 0 to `most`."""
    value = int(text, base)
    if not 0 <= value <= most:
        raise ValueError("%d is not from 0 to %d" % (value, most))
    return value


def guarded(notes, what, ask, instead):
    """Returns `ask()`, or `instead` with a note on `what` where that fails: one odd file loses one answer."""
    try:
        return ask()
    except Exception as e:
        how = name_of(e) if isinstance(e, ERRORS) else "%s: %s" % (type(e).__name__, e)
        notes.append(("%s cannot be read: %s" % (what, how))[:1000])
        return instead


class AdaptiveTimeout(object):
    """How long to wait on this host, derived from how slow it shows itself.

    Every wait measures it: how much later than asked a sleep or poll(2) returned, how long a connection and a datagram
    took. `slowest` is the longest such delay in seconds; it shrinks with every trial, since a stall passes.
    """

    def __init__(self):
        self.slowest = self.in_trial = 0.0
        self.deadline = now() + 60.0

    def delayed(self, seconds):
        """Takes down a delay, in seconds."""
        self.slowest = max(self.slowest, seconds)
        self.in_trial = max(self.in_trial, seconds)

    def begin_trial(self):
        self.slowest, self.in_trial = self.slowest * 0.9, 0.0

    def left(self):
        """Returns the seconds until the alarm rings."""
        return max(0.0, self.deadline - now())

    def seconds(self):
        """Returns how long to wait for what must come: PATIENCE, or a hundred times the longest delay, but never more
        than an eighth of the time that is left: one scenario that hangs must not use up the run."""
        return max(min(PATIENCE, self.left() / 2), min(100 * self.slowest, self.left() / 8))

    def stretched(self, seconds):
        """Returns how long to wait for what may not come, `seconds` on an idle host."""
        return max(seconds, min(4 * self.slowest, self.left() / 256))


TIMEOUT = AdaptiveTimeout()


class Wait(object):
    """One wait that is over after `seconds`, or after TIMEOUT's, which grow while it lasts."""

    def __init__(self, seconds=None):
        self.fixed, self.began = seconds, now()

    def is_over(self):
        return now() - self.began >= (TIMEOUT.seconds() if self.fixed is None else self.fixed)

    def restart(self):
        """Begins again: something moved."""
        self.began = now()


def wait_until(test, seconds=None):
    """Returns whether `test()` came true within `seconds`, or TIMEOUT's; looks again after a quarter, then a half...
    millisecond."""
    wait, pause = Wait(seconds), 0.00025
    while not test():
        if wait.is_over():
            return bool(test())  # this process may have been stopped since it last looked
        began = now()
        time.sleep(pause)
        TIMEOUT.delayed(now() - began - pause)
        pause = min(pause * 2, 0.004)
    return True


def polled(sock, mask, seconds):
    """Returns the events that poll(2) tells of a socket within `seconds`; ERR and HUP are always told."""
    poller = select.poll()
    poller.register(sock, mask)
    began = now()
    found = poller.poll(int(seconds * 1000))
    if not found or not seconds:
        TIMEOUT.delayed(now() - began - seconds)
    return found[0][1] if found else 0


def awaited(sock, mask):
    """Returns the events that poll(2) tells of a socket for which something must come, 0 where nothing came in time."""
    wait = Wait()
    found = polled(sock, mask, 0.1)
    while not found and not wait.is_over():
        found = polled(sock, mask, 0.1)
    return found


def names_of(events):
    """Returns the names of poll(2)'s events, without POLL."""
    return [name for bit, name in ((select.POLLIN, "IN"), (select.POLLPRI, "PRI"), (select.POLLOUT, "OUT"),
                                   (select.POLLERR, "ERR"), (select.POLLHUP, "HUP"), (POLLRDHUP, "RDHUP"))
            if events & bit]


def safe_close(sock, abort=False):
    """Closes a socket (an RST instead of a TIME_WAIT where `abort`), whatever state it is in."""
    try:
        if abort and hasattr(sock, "setsockopt"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except ERRORS:
        pass
    try:
        sock.close()
    except ERRORS:
        pass


def libc():
    """Returns the C library through ctypes; raises NotHere where this Python has none."""
    try:
        import ctypes
        return ctypes, ctypes.CDLL(None, use_errno=True)
    except Exception:
        raise NotHere("needs Python's ctypes, which this host's Python lacks")


def stay_on_this_cpu():
    """Keeps this process on the CPU that it runs on, where it can: loopback delivers in order on each CPU, but not
    between two, and an ACK that comes late to a socket that is gone is answered with an RST of its own."""
    try:
        cpu = int(read("/proc/self/stat").rpartition(")")[2].split()[36])
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, [cpu])
        else:  # Python 2
            ctypes, library = libc()
            width = 8 * ctypes.sizeof(ctypes.c_ulong)
            mask = (ctypes.c_ulong * (cpu // width + 1))()
            mask[cpu // width] = 1 << cpu % width
            library.sched_setaffinity(0, ctypes.sizeof(mask), mask)
    except (NotHere, ValueError, IndexError) + ERRORS:
        pass


def json_of(value):
    """Returns `value` as JSON in ASCII: dicts, lists, tuples, text, numbers, True, False and None."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(json_of(str(k)) + ":" + json_of(value[k]) for k in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([json_of(v) for v in value]) + "]"
    if isinstance(value, float):
        return "%.6f" % value if abs(value) <= MAX_SECONDS else "null"
    if not isinstance(value, (bytes, type(u""))):
        return str(int(value))
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return '"' + "".join([c if " " <= c <= "~" and c not in '"\\' else escape(c) for c in value]) + '"'


def escape(char):
    """Returns one character as JSON escapes it; beyond U+FFFF as a pair of surrogates."""
    code = ord(char)
    if 0xD800 <= code < 0xE000 and sys.version_info[0] > 2:  # a byte that was no UTF-8; half a pair is no JSON
        code = 0xFFFD
    if code > 0xFFFF:
        code -= 0x10000
        return "\\u%04x\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF))
    return "\\u%04x" % code


# ---- what the host is ----


def look_at_host(call):
    """Returns everything about the host except the experiments. Runs first, in the host's own namespace.

    The answers are independent: if one is unknown, a note says why, and the others are complete.
    """
    sysname, node, release, version, machine = tuple(os.uname())
    implementation = getattr(getattr(sys, "implementation", None), "name", "cpython")
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(implementation, implementation)
    notes = []
    read_sysctls = guarded(notes, "/proc/sys", lambda: sysctls(call.get("sysctls", ())), {})
    return {
        "kernel": {"release": release[:256], "version": version[:256], "machine": machine[:256]},
        "os": guarded(notes, "os-release", lambda: os_release(notes), {}),
        "python": "%d.%d.%d %s" % (tuple(sys.version_info[:3]) + (name,)),
        "interpreter": (sys.executable or "")[:256],
        "machine_id": guarded(notes, "/etc/machine-id", lambda: machine_id(notes), ""),
        "exposure": exposure(notes),
        "sysctls": read_sysctls,
        "sysctl_places": guarded(notes, "the files of sysctl.d", lambda: sysctl_places(read_sysctls), None),
        "sysctls_writable": guarded(notes, "/proc/sys", sysctls_writable, True),
        "notes": notes,
    }


def os_release(notes):
    """Returns os-release(5)'s ID, VERSION_ID and PRETTY_NAME as far as there are any; nothing of it is executed."""
    text = read_noted("/etc/os-release", notes, 16384) or read_noted("/usr/lib/os-release", notes, 16384)
    found = {}
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        if equals and key in ("ID", "VERSION_ID", "PRETTY_NAME"):
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[key.lower()] = value.replace("\\", "")[:256]
    if text and not found:
        notes.append("os-release names no ID, VERSION_ID or PRETTY_NAME")
    return found


def machine_id(notes):
    """Returns a hash keyed to this program of /etc/machine-id, which itself must not leave the host (machine-id(5))."""
    raw = read_noted("/etc/machine-id", notes, 64).strip()
    if not raw:
        return ""
    if len(raw) != 32 or raw.strip("0123456789abcdefABCDEF"):
        notes.append("/etc/machine-id is not 32 hexadecimal digits")
        return ""
    try:
        import hashlib
    except Exception:
        return ""
    return hashlib.sha256(b"fleetaudit machine id 1\n" + raw.encode("utf-8")).hexdigest()[:32]


def path_of(key):
    """Returns the file of a sysctl; a dot in an interface's name is written as a slash, as sysctl(8) has it."""
    return "/proc/sys/" + key.replace("/", "\0").replace(".", "/").replace("\0", ".")


def asked_for(patterns):
    """Returns the names that exact names and globs ask for, at most MAX_SYSCTLS; exact ones whether there or not."""
    found = []
    for pattern in patterns:
        found.extend(matching(pattern.split("."), "/proc/sys", ""))
    return sorted(set(found))[:MAX_SYSCTLS]


def matching(parts, folder, prefix):
    """Returns the sysctls under `folder` whose names match one pattern a level; without wildcards, unlooked."""
    part, rest = parts[0], parts[1:]
    if any(c in part for c in "*?[") and fnmatch:
        try:
            names = [n for n in sorted(os.listdir(folder)) if fnmatch.fnmatchcase(n, part)]
        except ERRORS:
            names = []
        names = [n for n in names if os.path.isdir(folder + "/" + n) == bool(rest)]
    else:
        names = [part.replace("/", ".")]
    if not rest:
        return [prefix + n.replace(".", "/") for n in names]
    found = []
    for n in names[:MAX_SYSCTLS]:
        found.extend(matching(rest, folder + "/" + n, prefix + n.replace(".", "/") + "."))
    return found


def read_sysctl(key):
    """Returns (value, state): tabs and newlines of the value as single spaces; value None says that state tells why."""
    if key.endswith(("_key", "_secret")):
        return None, "unreadable: a secret, not read"
    try:
        return " ".join(read(path_of(key), 4096).split()), ""
    except ERRORS + (ValueError,) as e:
        return None, "absent" if number_of(e) in ABSENT else "unreadable: " + name_of(e)


def sysctls(patterns):
    """Returns what is reported of the sysctls that exact names and globs ask for."""
    return dict((key, sysctl_entry(key)) for key in asked_for(patterns))


def sysctl_entry(key):
    """Returns what is reported of one sysctl."""
    value, state = read_sysctl(key)
    return {"value": value, "default": None, "state": state, "used": None}


def sysctls_writable():
    """Returns whether /proc/sys is mounted for writing; in most containers it is not."""
    return not os.statvfs("/proc/sys/net").f_flag & 1  # ST_RDONLY


def sysctl_places(keys):
    """Returns the places ("FILE:LINE") that set a sysctl at boot, by key; None where not all files could be read.

    There are two where `sysctl --system` of procps and systemd-sysctl obey different lines, that of procps first: it
    reads /etc/sysctl.conf last, and systemd-sysctl only by a link. Only files that everybody may read, up to a bound.
    """
    try:
        folders = []
        for path in sysctl_files():
            folders += assignments(path)
        tables = [assigned(folders + assignments(SYSCTL_CONF), False), assigned(folders, True)]
        found = {}
        for key in keys:
            name = path_of(key)[len("/proc/sys/"):]
            places = [place for place in [place_in(table, name) for table in tables] if place]
            if places:
                found[key] = sorted(set(places), key=places.index)
        return found
    except NotHere:
        return None


SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
SYSCTL_CONF = "/etc/sysctl.conf"
PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-/"


def sysctl_files():
    """Returns the files of the folders in the order in which they are applied (sysctl.d(5)): by name, whatever the
    folder, and of one name only that in the first folder."""
    found = {}
    for folder in SYSCTL_FOLDERS:
        if os.path.isdir(folder):
            try:
                names = os.listdir(folder)
            except ERRORS as e:
                raise NotHere(name_of(e))
            for name in names:
                if name.endswith(".conf") and not name.startswith("."):
                    found.setdefault(name, folder + "/" + name)
    if len(found) > 500:
        raise NotHere("too many files")
    return [found[name] for name in sorted(found)]


def assignments(path):
    """Returns what a file assigns as (name, place), in order: the name as a path below /proc/sys, perhaps with
    wildcards; the place "" where the name is only kept from being set by wildcards. Raises NotHere."""
    found = []
    for number, line in enumerate(configuration(path).split("\n"), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, _ = line.partition("=")
        if not equals and not line.startswith("-"):
            continue
        key = key.lstrip("-").strip()
        separators = [c for c in key if c in "./"]
        if separators[:1] == ["."]:
            key = key.replace("/", "\0").replace(".", "/").replace("\0", ".")
        found.append((key, "%s:%d" % (place_name(path), number) if equals else ""))
    return found


def configuration(path, limit=65536):
    """Returns the text of a file that everybody may read, "" of one that is not there; raises NotHere."""
    try:
        mode = os.stat(path).st_mode
        if mode & 0o170000 != 0o100000:  # a link to /dev/null hides the files of that name
            return ""
        if not mode & 0o004:
            raise NotHere("not for everybody")
        text = read(path, limit + 1)
    except ERRORS as e:
        if number_of(e) == errno.ENOENT:
            return ""
        raise NotHere(name_of(e))
    if len(text) > limit:
        raise NotHere("too long")
    return text


def place_name(path):
    """Returns the name to show of a file: that of /etc/sysctl.conf for a link to it; raises NotHere for an odd one."""
    if os.path.realpath(path) == os.path.realpath(SYSCTL_CONF):
        path = SYSCTL_CONF
    if len(path) > 200 or path.strip(PLAIN):
        raise NotHere("an odd name")
    return path


def assigned(lines, takes_back):
    """Returns the last place of each name, and the patterns with wildcards, the last first. `takes_back`: a name that
    is kept from wildcards loses its own line above, as with systemd-sysctl."""
    exact, patterns = {}, []
    for name, place in lines:
        if any(c in name for c in "*?["):
            patterns.insert(0, (name.split("/"), place))
        elif place or takes_back or name not in exact:
            exact[name] = place
    if patterns and not fnmatch:
        raise NotHere("needs Python's fnmatch")
    return exact, patterns


def place_in(table, name):
    """Returns where a name is set, "" where it is not: its own line counts before any with wildcards."""
    exact, patterns = table
    if name in exact:
        return exact[name]
    parts = name.split("/")
    for pattern, place in patterns:
        if len(pattern) == len(parts) and all(fnmatch.fnmatchcase(*pair) for pair in zip(parts, pattern)):
            return place
    return ""


def exposure(notes):
    """Returns what production already felt: counters since boot, and how many sockets have unread data now."""
    counters = Counters(EXPOSURE, notes)
    found = guarded(notes, "the counters of /proc/net", counters.read, None) or {}
    counters.close()
    return {
        "uptime_s": guarded(notes, "/proc/uptime", uptime, None),
        "counters": found,
        "unread_sockets": guarded(notes, "/proc/net/tcp", lambda: unread_sockets(notes), None),
    }


def uptime():
    """Returns the seconds since boot; raises OSError and ValueError."""
    text = read("/proc/uptime", 64)
    seconds = float(text.split()[0] if text.strip() else "nan")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("no number of seconds")
    return seconds


def unread_sockets(notes, seconds=0.2, lines=100000):
    """Returns how many TCP sockets of this host hold unread data, None where that cannot be read.

    Counts and bytes only: neither address nor port is looked at. Bounded in time and in lines (`partial`).
    """
    end, result = now() + seconds, {"sockets": 0, "bytes": 0, "scanned": 0, "partial": False}
    opened = 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        number = 0
        try:
            for line in lines_of(path):
                number += 1
                if number == 1 and b"local_address" in line:
                    continue
                if result["scanned"] >= lines or (result["scanned"] % 256 == 0 and now() > end):
                    result["partial"] = True
                    return result
                fields = line.split(None, 5)
                state, unread = count_of(fields[3], 16), count_of(fields[4].partition(b":")[2], 16, 0xFFFFFFFF)
                if not 1 <= state <= CLOSE_WAIT:
                    continue
                result["scanned"] += 1
                if unread:
                    result["sockets"] += 1
                    result["bytes"] += unread
            if not number:
                raise ValueError("empty")
            opened += 1
        except ERRORS as e:
            if path != "/proc/net/tcp6" or number_of(e) not in ABSENT:  # without IPv6 there is no tcp6
                notes.append("%s cannot be read: %s" % (path, name_of(e)))
        except (IndexError, ValueError):
            notes.append("%s lists no sockets: line %d is not as Linux writes it" % (path, max(1, number)))
            result["partial"] = True
    return result if opened else None


class Counters(object):
    """The kernel's TCP counters of the namespace that this was made in. Columns vary by kernel: parsed by name.

    `notes` get a line for a file that names a counter and has no number for it; that counter is unknown, not 0.
    """

    def __init__(self, names, notes=None):
        self.names = frozenset(names)
        self.notes = [] if notes is None else notes
        self.columns = {}
        self.files = []
        for path in ("/proc/net/netstat", "/proc/net/snmp"):
            try:
                self.files.append((path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
            except ERRORS as e:
                self.notes.append("%s cannot be read: %s" % (path, name_of(e)))

    def read(self):
        """Returns the counters by name, None where /proc tells none."""
        found = {}
        for path, fd in self.files:
            try:
                os.lseek(fd, 0, os.SEEK_SET)
                lines = os.read(fd, 65536).split(b"\n")[:-1]  # the last is empty, or was cut
            except ERRORS as e:
                lines, missing = [], [name_of(e)]
            else:
                missing = [] if any(line.startswith(HEADINGS) for line in lines) else ["any counter"]
            for heading, values in zip(lines, lines[1:] + [b""]):
                if heading.startswith(HEADINGS):
                    missing += self.take(heading, values.split(), found)
            if missing and len(self.notes) < 20:
                self.notes.append(("%s has no number for: %s" % (path, ", ".join(missing)))[:1000])
        return found or None

    def take(self, heading, values, found):
        """Adds the counters of one heading and the line below it to `found`; returns the names without a number."""
        if heading not in self.columns:
            names = heading.decode("ascii", "replace").split()
            self.columns[heading] = [(i, n) for i, n in enumerate(names) if n in self.names]
        if not self.columns[heading]:  # the line with the values
            return []
        missing = []
        same = values[:1] == heading.split(None, 1)[:1]
        for i, name in self.columns[heading]:
            try:
                found[name] = count_of(values[i] if same else b"")
            except (IndexError, ValueError):
                missing.append(name)
        return missing

    def close(self):
        for _, fd in self.files:
            os.close(fd)
        self.files = []


# ---- a network namespace of one's own ----


def namespace_id():
    """Returns this process's network namespace as the kernel names it, None where that cannot be read."""
    try:
        return os.readlink("/proc/self/ns/net")
    except ERRORS:
        return None


def unshare_by_os(flags):
    """Leaves namespaces by os.unshare, which Python has since 3.12."""
    if not hasattr(os, "unshare"):
        raise NotHere("this Python has no os.unshare")
    os.unshare(flags)


def unshare_by_ctypes(flags):
    """Leaves namespaces by the C library's unshare(2)."""
    ctypes, library = libc()
    if library.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def enter_with(unshare):
    """Moves this process into a network namespace of its own; raises OSError or NotHere, then half-moved perhaps."""
    uid, gid = os.geteuid(), os.getegid()
    before = namespace_id()
    try:
        if uid != 0:
            raise OSError(errno.EPERM, "not root")
        unshare(CLONE_NEWNET)
    except OSError:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        if os.path.exists("/proc/self/setgroups"):  # since 3.19, and then gid_map wants it
            write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", "0 %d 1" % uid)
        write("/proc/self/gid_map", "0 %d 1" % gid)
    check_private(before)


def check_private(before):
    """Brings `lo` up and checks that this is another namespace than `before`; the return code of unshare(2) proves
    nothing: Ubuntu 24.04's AppArmor lets it succeed and then denies all that it is for."""
    with_lo = struct.Struct("16sh22x")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        flags = with_lo.unpack(fcntl.ioctl(sock, SIOCGIFFLAGS, with_lo.pack(b"lo", 0)))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, with_lo.pack(b"lo", flags | IFF_UP))
    finally:
        sock.close()
    if before is not None and namespace_id() == before:
        raise NotHere("the namespace did not change")


def write(path, text):
    """Writes a file of /proc in one write(2)."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def tried(attempt):
    """Returns why `attempt(fd)` fails in a child of its own, "" where it succeeds: one that fails half-way must not
    leave this process half-moved."""
    try:
        out, into = os.pipe()
    except ERRORS as e:
        return reason_of(e)
    try:
        child = os.fork()
    except ERRORS as e:
        os.close(out)
        os.close(into)
        return "no process could be made: " + reason_of(e)
    if child == 0:
        try:
            os.close(out)
            attempt(into)
            os.write(into, b"+")
        except BaseException as e:
            os.write(into, reason_of(e).encode("ascii", "replace")[:200])
        finally:
            os._exit(0)
    os.close(into)
    reason = b""
    while True:
        piece = os.read(out, 4096)
        if not piece:
            break
        reason += piece
    os.close(out)
    os.waitpid(child, 0)
    return "" if reason.endswith(b"+") else reason.decode("ascii", "replace") or "no answer"


def reason_of(error):
    """Returns an exception in plain words."""
    if isinstance(error, ERRORS) and number_of(error):
        return os.strerror(number_of(error))
    return str(error) or type(error).__name__


def words_of(error):
    """Returns why a step failed, in words and with the errno's name: "Broken pipe (EPIPE)"."""
    if isinstance(error, Failed) or not number_of(error):
        return reason_of(error)
    return "%s (%s)" % (reason_of(error), name_of(error))


# What the program `unshare` is made to run first, to see whether its namespace is of any use.
TEST_LO = """
import fcntl, os, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flags = struct.unpack("16sh22x", fcntl.ioctl(s, 0x8913, struct.pack("16sh22x", b"lo", 0)))[1]
fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"lo", flags | 1))
os.write(1, b"+")
"""


def by_program(arguments):
    """Becomes util-linux's `unshare` running this interpreter with `arguments`; raises OSError."""
    kinds = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    os.execvp("unshare", ["unshare"] + kinds + [sys.executable or "/proc/self/exe", "-E", "-s"] + arguments)


def test_program(write_to):
    """Becomes `unshare` with TEST_LO, which says "+" on `write_to`, as do errors that `unshare` has to tell."""
    os.dup2(write_to, 1)
    os.dup2(write_to, 2)
    by_program(["-c", TEST_LO])


def start_over_inside(call, program, carried):
    """Becomes `unshare` with this same program in it, sent through a pipe that holds it all; raises OSError.

    The process keeps its number, its alarm (which exec does not clear) and its output; what was seen is in the call.
    """
    spell = ascii if sys.version_info[0] > 2 else repr
    quotes = "'" * 3
    data = ("PROGRAM = r" + quotes + program + quotes + "\nexec(compile(PROGRAM, 'fleetaudit-probe', 'exec'))\nmain("
            + spell(dict(call, carried=carried)) + ", PROGRAM)\n").encode("ascii")
    out, into = os.pipe()
    fcntl.fcntl(into, F_SETPIPE_SZ, max(65536, 1 << len(data).bit_length()))
    fcntl.fcntl(into, fcntl.F_SETFL, os.O_NONBLOCK)
    if os.write(into, data) != len(data):
        raise NotHere("the pipe is too small for the program")
    os.close(into)
    os.dup2(out, 0)
    os.close(out)
    by_program(["-"])


def copied_settings():
    """Returns the sysctls that the experiment copies from the host, in the order in which they must be written."""
    try:
        names = sorted(os.listdir("/proc/sys/net/ipv4"))
    except ERRORS:
        names = []
    keys = ["net.ipv4." + n for n in names if n.startswith("tcp_") and not n.startswith(NOT_COPIED)]
    keys += ["net.ipv4.ip_default_ttl", "net.ipv4.ip_no_pmtu_disc",
             "net.core.somaxconn", "net.ipv6.bindv6only", "net.ipv6.conf.all.disable_ipv6",
             "net.ipv6.conf.lo.disable_ipv6"]
    keys += asked_for(["net.mptcp.*"])
    return [k for k in keys if os.access(path_of(k), os.F_OK)]


# With tcp_invalid_ratelimit 0, two sockets that a forged segment has set at odds send ACKs to each other without end.
NOT_COPIED = ("tcp_available_", "tcp_allowed_", "tcp_fastopen_key", "tcp_ehash_entries", "tcp_child_ehash_entries",
              "tcp_invalid_ratelimit")
NO_DEFAULT = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_congestion_control",
              "net.ipv4.tcp_available_congestion_control", "net.ipv4.tcp_allowed_congestion_control",
              "net.ipv4.tcp_available_ulp")


def read_defaults(sysctls):
    """Fills in this kernel's own defaults, as a namespace that nobody touched yet tells them.

    Not what a new namespace copies from the first one, nor what is one value for the whole machine (read-only here).
    """
    for key, entry in sysctls.items():
        if key not in NO_DEFAULT and ".conf." not in key and ".neigh." not in key and is_writable(key):
            entry["default"] = read_sysctl(key)[0]


def is_writable(key):
    """Returns whether a sysctl is there and has a write bit."""
    try:
        return bool(os.stat(path_of(key)).st_mode & 0o200)
    except ERRORS:
        return False


def copy_settings(host_values, sysctls):
    """Writes the host's settings into this namespace, and returns a sentence on what could not be copied, or ""."""
    failed = []
    for key, wanted in host_values:
        have, state = read_sysctl(key)
        if have is None or have == wanted:
            continue  # one value for the whole machine, or nothing to do
        try:
            write(path_of(key), wanted)
        except ERRORS + (ValueError,) as e:
            failed.append("%s (%s)" % (key, name_of(e)))
            continue
        if read_sysctl(key)[0] != wanted:
            failed.append(key)
    for key, entry in sysctls.items():
        used = read_sysctl(key)[0] if is_writable(key) else None
        if used is not None and entry["value"] is not None and used != entry["value"]:
            entry["used"] = used
    if not failed:
        return ""
    if all("(EROFS)" in f for f in failed):
        return ("/proc/sys is mounted read-only, so the experiment ran under this kernel's defaults where the host's "
                "settings differ: " + ", ".join(failed))
    return "these settings of the host could not be copied into the namespace: " + ", ".join(failed)


# ---- the wire ----


def program_of(lines):
    """Returns a classic BPF program as bytes. A line: label or "", code, operand, labels to go to if true and false."""
    at = dict((line[0], i) for i, line in enumerate(lines) if line[0])
    packed = []
    for i, (_, code, operand, yes, no) in enumerate(lines):
        packed.append(struct.pack("HBBI", code, at[yes] - i - 1 if yes else 0, at[no] - i - 1 if no else 0, operand))
    return b"".join(packed)


def filter_for(ports):
    """Returns the filter that passes TCP between 127.0.0.1 and itself, or ::1 and itself, from or to `ports`.

    Each packet on `lo` comes by twice; the one on its way out (pkttype 4) is left out. Without ports nothing passes.
    """
    byte, half, word, indexed, header, mask, equals, give = 0x30, 0x28, 0x20, 0x48, 0xB1, 0x54, 0x15, 0x06
    lines = [
        ("", word, 0xFFFFF004, "", ""),  # SKF_AD_OFF + SKF_AD_PKTTYPE
        ("", equals, 4, "no", "version"),
        ("version", byte, 0, "", ""),
        ("", mask, 0xF0, "", ""),
        ("", equals, 0x60, "v6", "v4?"),
        ("v4?", equals, 0x40, "v4", "no"),
        ("v4", byte, 9, "", ""),
        ("", equals, 6, "source4", "no"),
        ("source4", word, 12, "", ""),
        ("", equals, 0x7F000001, "target4", "no"),
        ("target4", word, 16, "", ""),
        ("", equals, 0x7F000001, "whole", "no"),
        ("whole", half, 6, "", ""),
        ("", mask, 0x1FFF, "", ""),
        ("", equals, 0, "ports4", "no"),
        ("ports4", header, 0, "", ""),
        ("", indexed, 0, "", ""),
    ]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", indexed, 2, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", give, 0, "", ""), ("v6", byte, 6, "", ""), ("", equals, 6, "word0", "no")]
    for i, wanted in enumerate((0, 0, 0, 1, 0, 0, 0, 1)):
        lines += [("word%d" % i, word, 8 + 4 * i, "", ""), ("", equals, wanted, "word%d" % (i + 1), "no")]
    lines += [("word8", half, 40, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", half, 42, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("no", give, 0, "", ""), ("yes", give, SNAP, "", "")]
    return program_of(lines)


def attach(sock, program):
    """Attaches a classic BPF program to a socket; raises NotHere where Python cannot tell a buffer's address."""
    if not array:
        raise NotHere("needs Python's array module")
    held = array.array("B", bytearray(program))
    address, length = held.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", length // 8, address))


class Packet(object):
    """One captured TCP segment; `at` in seconds of the wall clock, `options` the words that are reported, `scale` the
    window scale that a SYN offers or None, `headers` the bytes of the IP and the TCP header."""

    __slots__ = ("at", "source", "target", "seq", "ack", "bits", "window", "urgent", "length", "options", "stamp",
                 "scale", "headers")


def packet_of(data, at):
    """Returns the TCP segment in an IP packet, or None."""
    try:
        if ord(data[0:1]) >> 4 == 4:
            start = (ord(data[0:1]) & 15) * 4
            end = struct.unpack_from("!H", data, 2)[0]
        else:
            start = 40
            end = 40 + struct.unpack_from("!H", data, 4)[0]
        fields = struct.unpack_from("!HHIIBBHHH", data, start)
    except struct.error:
        return None
    p = Packet()
    p.at = at
    p.source, p.target, p.seq, p.ack, offset, p.bits, p.window, _, p.urgent = fields
    header = (offset >> 4) * 4
    p.length = max(0, end - start - header)
    if not p.bits & 0x20:
        p.urgent = 0
    p.headers = data[:start + header]
    p.options, p.stamp, p.scale = options_of(data[start + 20:start + header], p.bits)
    return p


MPTCP_WORDS = {0: "MP_CAPABLE", 1: "MP_JOIN", 6: "MP_FAIL", 7: "MP_FASTCLOSE", 8: "MP_RST"}


def options_of(data, bits):
    """Returns (words, timestamps, scale): the options that matter, the timestamp option's two numbers or None, and a
    SYN's window scale or None."""
    words, stamp, scale, at = [], None, None, 0
    data, syn = bytearray(data), bits & 0x02
    while at < len(data) and data[at]:
        if data[at] == 1:  # NOP
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        if data[at] == 8 and size == 10:
            stamp = struct.unpack("!II", bytes(data[at + 2:at + 10]))
            if syn:
                words.append("TS")
        elif data[at] == 3 and size == 3 and syn:
            scale = data[at + 2]
        elif data[at] == 5:
            words.append("SACK")
        elif data[at] == 19 and bits & 0x07:  # of SYN, FIN and RST alone: all others have it too
            words.append("MD5")
        elif data[at] == 34 and syn:
            words.append("TFO")
        elif data[at] == 30:
            kind = data[at + 2] >> 4
            if kind in MPTCP_WORDS:
                words.append(MPTCP_WORDS[kind])
            elif kind == 2 and data[at + 3] & 0x10:  # DSS
                words.append("DATA_FIN")
        at += size
    return " ".join(words), stamp, scale


def flags_of(bits):
    """Returns TCP flags as tcpdump writes them, but for urgent data: "P.U"."""
    word = "".join(c for bit, c in ((0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"), (0x10, "."), (0x20, "U"))
                   if bits & bit)
    return word or "none"


class Capture(object):
    """One packet socket on `lo` for the whole run: closing one costs a grace period of the kernel."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            attach(self.sock, filter_for(()))  # before bind, so that not one foreign packet gets in
            for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
                try:
                    self.sock.setsockopt(socket.SOL_SOCKET, option, 32 * 1024 * 1024)
                    break
                except ERRORS:
                    pass
            self.sock.bind(("lo", ETH_P_ALL))
            self.sock.setblocking(False)
            self.stamp()
        except Exception:
            self.sock.close()
            raise
        self.ports = ()

    def watch(self, ports):
        """Lets these listeners' connections in, and none else."""
        ports = tuple(sorted(ports))
        if ports != self.ports:
            attach(self.sock, filter_for(ports))
            self.ports = ports

    def stamp(self):
        """Returns when the kernel saw the packet that was read last, to the microsecond (the first call switches
        stamps on)."""
        try:
            seconds, fraction = struct.unpack("ll", fcntl.ioctl(self.sock, SIOCGSTAMPNS, b"\0" * struct.calcsize("ll")))
            return seconds + fraction // 1000 / 1e6
        except ERRORS:
            return time.time()

    def drain(self, port, into):
        """Reads what came by, and appends the segments of the connection with client port `port` to `into`."""
        while True:
            try:
                data = self.sock.recv(SNAP)
            except ERRORS as e:
                if would_block(e) or number_of(e) == errno.ENETDOWN:  # `lo` is down: nothing will come
                    return
                raise
            packet = packet_of(data, self.stamp())
            if packet is not None and port in (packet.source, packet.target):
                into.append(packet)

    def lost(self):
        """Returns how many packets found no room since this was last asked."""
        return struct.unpack("II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]


def trace_of(packets, client, client_side, began):
    """Returns (rows, kept): the segments as they are reported, with relative numbers, cut in the middle, and the
    packet of each."""
    first = {}
    rows = []
    for p in packets:
        mine = p.source == client
        syn = p.bits & 0x02
        if syn and mine not in first:
            first[mine] = p.seq
        seq = 0 if syn else (p.seq - first.get(mine, p.seq)) & 0xFFFFFFFF
        ack = (p.ack - first.get(not mine, p.ack)) & 0xFFFFFFFF if p.bits & 0x10 else 0
        rows.append((micros(p.at - began + 5e-7), client_side if mine else other(client_side), flags_of(p.bits), seq,
                     ack, p.length, p.urgent, p.options, p.window))
    if len(rows) <= MAX_TRACE:
        return rows, packets[:]
    marked = [any(c in row[2] for c in "SFRU") for row in rows]
    room = max(0, MAX_TRACE - sum(marked))
    plain = [i for i, m in enumerate(marked) if not m]
    among = set(plain[:room // 2] + plain[len(plain) - (room - room // 2):])
    kept = [i for i in range(len(rows)) if marked[i] or i in among]
    if len(kept) > MAX_TRACE:
        kept = kept[:MAX_TRACE // 2] + kept[-(MAX_TRACE // 2):]
    return [rows[i] for i in kept], [packets[i] for i in kept]


def connection_of(packets, client, client_side, began):
    """Returns when the trial began and each side's port and window scale, the closer's first; None without a SYN."""
    ports, scales = {}, {}
    for p in packets:
        if p.bits & 0x02:
            side = client_side if p.source == client else other(client_side)
            ports[side], ports[other(side)] = p.source, p.target
            scales.setdefault(side, p.scale)
    if not ports:
        return None
    began = max(0.0, min(MAX_SECONDS, began))
    return {"began": began, "ports": [ports[side] for side in SIDES],
            "scales": [scales.get(side) for side in SIDES]}


def packed(packets):
    """Returns the IP and TCP headers of packets, one after the other, compressed and in base64; "" without zlib."""
    if not zlib:
        return ""
    data = zlib.compress(b"".join([p.headers for p in packets]), 9)
    return binascii.b2a_base64(data).decode("ascii").strip()


def deviates(trial, expect):
    """Returns whether a trial needs more than its rows: a step failed, more may come, the closer's segments are no
    ending that is expected, or the peer heard of another. It only chooses what is reported in full."""
    flags = [row[2] + ("F" if "DATA_FIN" in row[7] else "") for row in trial["wire"] if row[1] == "closer"]
    ends = ["RST" if "R" in f else "FIN" for f in flags if "R" in f or "F" in f]
    ending = "FIN, then RST" if ends[:1] == ["FIN"] and "RST" in ends else (ends or ["nothing"])[0]
    if trial["error"] or trial["outstanding"] or (expect and ending not in expect):
        return True
    if not trial["peer"]:
        return False
    heard = " ".join(trial["peer"]["recv"] + [trial["peer"]["so_error"]])
    return ("RST" in ending) != ("ECONNRESET" in heard or "EPIPE" in heard)


def micros(seconds):
    """Returns whole microseconds, bounded: somebody may set the clock during a trial."""
    return max(-MAX_MICROS, min(MAX_MICROS, int(seconds * 1e6)))


def other(side):
    """Returns the other side."""
    return "peer" if side == "closer" else "closer"


# ---- the laboratory: what all trials share ----


class Laboratory(object):
    """Where the trials run: listeners, the packet socket, counters, and what of all that is to be had."""

    def __init__(self, private, available_ulp):
        self.private = private
        self.available_ulp = available_ulp
        stay_on_this_cpu()
        self.counters = Counters(WATCHED)
        self.listeners = {}
        self.checked, self.tries = {}, {}  # by family: why no connection could be made, "" where one could; how often
        self.repeated = []
        self.capture, self.no_capture, self.wire_note = None, "", ""
        self.capture_where_possible()
        self.fence, self.fences_lost = self.fence_socket(), 0
        self.fences = []  # when each datagram was sent; its number is its text
        # With receive packet steering each flow has a CPU of its own, and the fence may come before what it follows.
        self.steered = not private and read_or("/sys/class/net/lo/queues/rx-0/rps_cpus", "").strip("0,\n")
        self.raw = {}
        self.room = MAX_HEADERS
        self.listing_is_cheap = None  # not known yet
        try:
            self.diagnosis, self.no_diagnosis = Diagnosis(), ""
        except (NotHere,) + ERRORS as e:
            self.diagnosis, self.no_diagnosis = None, reason_of(e)

    def capture_where_possible(self):
        try:
            self.capture = Capture()
        except (NotHere,) + ERRORS as e:
            refused = number_of(e) in (errno.EPERM, errno.EACCES)
            self.no_capture = needs_raw() if refused else "no packet socket: " + reason_of(e)
            self.wire_note = "a packet capture " + self.no_capture if refused else self.no_capture

    def fence_socket(self):
        """Returns a UDP socket connected to itself: what it sends comes back after all that was sent before."""
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            return sock
        except ERRORS:
            return None

    def settle(self):
        """Waits until loopback has delivered what is on its way, in order on one CPU; returns whether it has."""
        if self.fence is None:
            return False
        try:
            if self.fence_returns() or self.fence_returns():
                return True
            self.fences_lost += 1
        except ERRORS as e:
            self.fences_lost += 1 if number_of(e) in SCARCE else 2
        if self.fences_lost >= 2:
            self.fence = None  # a firewall drops it: wait for it no more
        return False

    def fence_returns(self):
        """Returns whether a datagram came back in time. One that comes back late shows how slow the host is."""
        self.fences.append(now())
        number = len(self.fences)
        self.fence.send(b"%d" % number)
        while awaited(self.fence, select.POLLIN):
            came = int(self.fence.recv(16))
            TIMEOUT.delayed(now() - self.fences[came - 1])
            if came == number:
                self.fences_lost = 0
                if self.steered:
                    time.sleep(TIMEOUT.stretched(0.002))
                return True
        return False

    def check(self, family):
        """Raises NotHere where no connection can be made over a family at all.

        What failed is tried twice for each scenario, six times at most: a host may be stalled for a while.
        """
        for _ in range(2):
            if family == "unix" or self.checked.get(family) == "":
                return
            if self.tries.get(family, 0) < 6:
                self.checked[family] = self.try_family(family)
                self.tries[family] = self.tries.get(family, 0) + 1
        if self.checked[family]:
            raise NotHere(self.checked[family])

    def try_family(self, family):
        """Returns why no connection can be made over a family, "" where one can."""
        name = "IPv6" if family == "ipv6" else "IPv4"
        client, began = None, now()
        try:
            listener = self.listener(family)
            client = socket.socket(listener.family, socket.SOCK_STREAM)
            client.settimeout(TIMEOUT.seconds())
            client.connect(listener.getsockname()[:2])
            server = accept_from(listener, client.getsockname()[:2])
            TIMEOUT.delayed(now() - began)
            safe_close(server, abort=True)
            return ""
        except ERRORS as e:
            if number_of(e) in SCARCE:
                raise Scarce("this host gives the probe too little to work with (%s)" % name_of(e))
            if number_of(e) in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                self.tries[family] = 6
                return "no %s loopback address: %s is switched off on this host" % (name, name)
            return "no connection over %s loopback: %s" % (name, reason_of(e))
        except Failed as e:
            return "no connection over %s loopback: %s" % (name, e)
        finally:
            if client is not None:
                safe_close(client, abort=True)

    def listener(self, family, kind="tcp"):
        """Returns the listener that all plain trials of a family and kind share."""
        key = (family, kind)
        if key not in self.listeners:
            self.listeners[key] = new_listener(family, kind)
            self.watch()
        return self.listeners[key]

    def watch(self, extra=()):
        """Lets the capture see the shared listeners' connections and `extra` ports."""
        if self.capture:
            self.capture.watch([s.getsockname()[1] for s in self.listeners.values()] + list(extra))

    def add_headers(self, trials, packets, expect):
        """Adds the headers of a scenario's trials as they were captured, where trials differ or deviate."""
        differ = len(trials) > 1
        for trial, kept in zip(trials, packets):
            if trial["connection"] and (differ or deviates(trial, expect)):
                headers = packed(kept)
                if len(headers) <= self.room:
                    self.room -= len(headers)
                    trial["connection"]["headers"] = headers

    def diagnosed(self, near, far):
        """Returns what the kernel says of the socket with these addresses (see Diagnosis.look), None where it is not
        asked. One socket that cannot be asked about says nothing of the next."""
        if self.diagnosis:
            try:
                return self.diagnosis.look(near, far)
            except ERRORS:
                pass
        return None

    def listed(self, near, far):
        """Returns the same from the tables of /proc/net, None where they cannot be read to their end in good time."""
        try:
            return listed(near, far)
        except (IndexError, ValueError) + ERRORS:
            return None

    def rx_queue(self, near, far, steps):
        """Returns a closer's rx_queue by the cheapest way that tells it; None rather than at too high a price, and
        where the connection is over, which leaves data in a socket that no table lists."""
        found = self.diagnosed(near, far)
        if found is None and (self.is_listing_cheap() or any(s[1] in ("send-urgent", "resend-fin") for s in steps)):
            found = self.listed(near, far)  # else FIONREAD tells the same, but for urgent bytes and a FIN
        return found[2] if found and found[0] != GONE else None

    def is_listing_cheap(self):
        """Returns whether /proc/net/tcp is listed within 2 ms here; measured once, so that all trials do alike."""
        if self.listing_is_cheap is None:
            began = now()
            self.listed((socket.AF_INET, "127.0.0.1", 0), (socket.AF_INET, "127.0.0.1", 0))
            self.listing_is_cheap = now() - began < 0.002
        return self.listing_is_cheap

    def raw_socket(self, family):
        """Returns a raw TCP socket, for sending alone: its own filter lets nothing in."""
        if family not in self.raw:
            sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
            attach(sock, program_of([("", 0x06, 0, "", "")]))
            self.raw[family] = sock
        return self.raw[family]


def new_listener(family, kind="tcp", backlog=16):
    """Returns a socket that listens on a free port of this family's loopback address; raises OSError or NotHere."""
    protocol = IPPROTO_MPTCP if kind == "mptcp" else 0
    try:
        sock = socket.socket(socket.AF_INET if family == "ipv4" else socket.AF_INET6, socket.SOCK_STREAM, protocol)
    except ERRORS as e:
        if kind == "mptcp" and number_of(e) in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL):
            raise NotHere("this kernel has no MPTCP, or net.mptcp.enabled is 0 (%s)" % name_of(e))
        raise
    try:
        if kind == "mapped":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address_of(family, kind), 0))
        sock.listen(backlog)
    except ERRORS:
        sock.close()
        raise
    return sock


def address_of_socket(sock):
    """Returns the local address of a socket as (family, text, port)."""
    return (sock.family,) + tuple(sock.getsockname()[:2])


def address_of(family, kind):
    """Returns the loopback address of a family."""
    return "127.0.0.1" if family == "ipv4" else "::ffff:127.0.0.1" if kind == "mapped" else "::1"


def accept_from(listener, wanted):
    """Returns the accepted end of the connection from `wanted`, (text, port), whose socket may be gone by now; whoever
    else found the port is hung up on. Raises Failed."""
    for _ in range(8):
        if not awaited(listener, select.POLLIN):
            raise TimedOut("no connection came to be accepted")
        sock, address = listener.accept()
        sock.setblocking(True)
        if address[:2] == wanted:
            return sock
        sock.close()
    raise Failed("other programs connect to the port of this test")


def needs_raw():
    """Returns in words what a packet socket needs that this process lacks."""
    return NEEDS_RAW if os.geteuid() else "needs CAP_NET_RAW, which root lacks here"


class Child(object):
    """A process that holds a copy of some sockets until it is told otherwise, or until this one is gone."""

    def __init__(self, drop):
        ready, say_ready = os.pipe()
        wait, self.tell = os.pipe()
        try:
            self.pid = os.fork()
        except ERRORS as e:
            for fd in (ready, say_ready, wait, self.tell):
                os.close(fd)
            raise Scarce("this host lets the probe make no process (%s)" % name_of(e))
        if self.pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.close(ready)
                os.close(self.tell)
                for sock in drop:
                    sock.close()
                os.write(say_ready, b".")
                os.close(say_ready)
                if os.read(wait, 1) == b"e":  # an empty read: the parent is gone
                    self.execute()
            finally:
                os._exit(0)
        os.close(say_ready)
        os.close(wait)
        try:
            if not os.read(ready, 1):
                raise Failed("the child process did not start")
        finally:
            os.close(ready)

    def execute(self):
        try:
            os.execv("/bin/true", ["true"])
        except OSError:
            pass
        try:
            os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", ""])
        finally:
            os._exit(97)

    def end(self, how):
        """Ends it: "exit", "exec", "kill" or "term"; returns when it is gone."""
        if how in ("kill", "term"):
            os.kill(self.pid, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        else:
            os.write(self.tell, b"e" if how == "exec" else b"x")
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        os.close(self.tell)
        if how == "exec" and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 97:
            raise NotHere("there is no program to exec")

    def close(self):
        """Ends it whatever it does, and does nothing where it is gone."""
        if self.pid:
            self.end("kill")


# ---- one trial ----
#
# When an ending is final: once the kernel has nothing more to send of its own accord that could change what the closer
# sent. To be quiet for a while is not enough. The functions are those of net/ipv4.
#
# - The peer's socket is in CLOSE: tcp_reset() or the last ACK took it there, and it sends and takes nothing any more.
# - The closer's FIN was sent and is not acknowledged (FIN_WAIT1, CLOSING, LAST_ACK): the ACK may be answered by a RST,
#   since tcp_rcv_state_process() gives an orphan with TCP_LINGER2 below zero no FIN_WAIT2. The peer may put that ACK
#   off by 40 ms; tcp_cleanup_rbuf() sends it when the FIN was read and TCP_QUICKACK is set, so both are done.
# - The closer's FIN is queued behind data for which the peer has no room: it leaves when the peer reads. Where nothing
#   moves although the kernel had the time to probe the window (tcp_probe_timer(), from the RTO on), it stays so, since
#   no step is left. The same holds for what the peer still has for a closer that has not closed.
# - The closer is closed, or has sent FIN and shut reading, and the peer has bytes that are not acknowledged: they will
#   be sent (tcp_write_xmit(), tcp_probe_timer()) and answered by a RST (tcp_v4_rcv(), tcp_rcv_state_process()).
# - The closer is in FIN_WAIT2 or TIME_WAIT, or gone: tcp_close() and tcp_time_wait() leave no timer that sends.
# - MPTCP: mptcp_worker() passes on to the socket what its subflows got (mptcp_check_fastclose(),
#   mptcp_check_data_fin()), some milliseconds later.
#
# Who says so: TCP_INFO and SIOCOUTQ of a socket that is still open, sock_diag(7) or /proc/net/tcp for one that is not.
# What is outstanding after two timeouts without progress is reported: the ending is not known.


class Trial(object):
    """One connection from its beginning to its end, and what three witnesses said of the end."""

    def __init__(self, lab, family, steps):
        self.lab, self.family, self.steps = lab, family, steps
        self.kind = "unix" if family == "unix" else "tcp"
        self.socks = {"closer": None, "peer": None}
        self.sent = {"closer": 0, "peer": 0}
        self.received = {"closer": 0, "peer": 0}
        self.gone = set()  # sides that ended
        self.address = {}  # by side: what a socket that is gone cannot be asked for any more
        self.listener, self.own_listener, self.listener_options, self.backlog = None, False, [], None
        self.queue_is_full = False
        self.client_side, self.client, self.waiting, self.signed = None, 0, False, False
        self.references, self.children, self.restore = [], [], []
        self.packets, self.marks, self.peer_recv, self.queue = [], [], [], {}
        self.beyond = 0  # where the bytes end that were sent out of order
        self.messages, self.poll_added = False, []
        self.kept = []  # those of `packets` that are reported
        self.ended = False  # the closer's first ending step was done
        self.left = 0  # bytes of the closer that were not acknowledged before its last ending step
        self.sent_before, self.heard_at, self.hastened = 0, 0.0, False  # segments of the peer when it heard a FIN
        self.shut_reading, self.outstanding = False, ""
        self.forged = False  # the peer's kernel did not send it all, and drops what acknowledges the rest
        self.timed_out = False
        self.cleanups = []

    def run(self):
        """Runs the steps and returns the trial as it is reported; raises NotHere."""
        lab = self.lab
        TIMEOUT.begin_trial()
        if lab.capture:
            lab.capture.drain(-1, [])
            lab.capture.lost()
        before = lab.counters.read()
        self.began = int(time.time() * 1e6) / 1e6
        error, failed_step = "", None
        try:
            try:
                for i, step in enumerate(self.steps):
                    self.marks.append((micros(time.time() - self.began), i))
                    self.step(i, step)
            except (Failed,) + ERRORS as e:
                if number_of(e) in SCARCE:
                    raise Scarce("this host gives the probe too little to work with (%s)" % name_of(e))
                error, failed_step = words_of(e), i
                self.timed_out = isinstance(e, (TimedOut, socket.timeout))
            self.hold()
            after = lab.counters.read()
            return dict(self.report(error, self.witness(), before, after), failed_step=failed_step)
        finally:
            self.clean_up()

    def step(self, i, step):
        actor, verb = step[0], step[1]
        if actor in ("closer", "peer", "both") and verb not in ("connect", "sign") and self.client_side is None:
            self.connect_first("tcp")
        if (verb == "fill-queue" or (actor, verb) == ("listener", "close")) and self.client_side is None:
            self.connect_first("unaccepted")
        if self.kind == "unix":
            self.step_over_unix(i, step)
            return
        ends = verb in ENDS and tuple(step[1:3]) != ("shutdown", "read")
        if not (ends or (self.ended and verb.startswith("send"))):
            VERBS[verb](self, actor, *step[2:])
            return
        if ends and actor in ("closer", "listener"):
            if not self.ended or verb != "shutdown":  # after a half-close more may have come
                self.look_at_queue()
            self.ended = True
        watcher = other(actor) if actor in SIDES and ends else "peer"
        before, sent = self.events(watcher), self.segments_out(watcher)
        took = self.took_fin(watcher)
        stuck = actor == "peer" and (took or self.number(actor, SIOCOUTQ) > 0)  # hears nothing, yet
        if actor == "closer":
            self.left = max([0] + [self.number_of(s, SIOCOUTQ) for s in self.open_sockets("closer")])
        VERBS[verb](self, actor, *step[2:])
        if ends and actor == "peer":
            if not stuck and not self.hear(watcher, before) and not self.took_fin(watcher):
                raise TimedOut("the closer did not hear of it")
        else:
            at_once = self.lab.settle() and self.kind != "mptcp"  # TCP has sent it then; MPTCP tells the socket later
            self.hear(watcher, before, 0 if at_once else TIMEOUT.stretched(HEARING))
            if ends and watcher == "peer" and not took:  # also where it hears of it later
                self.sent_before, self.heard_at = sent, now()
        if ends and i + 1 < len(self.steps) and not took:
            self.wait_for_ack(watcher, sent)

    def connect_first(self, how):
        """Connects the two where no step says how; raises Failed."""
        try:
            connect(self, "peer", how)
        except (Failed,) + ERRORS as e:
            if number_of(e) in SCARCE:
                raise
            raise Failed("they could not be connected: " + words_of(e))

    def step_over_unix(self, i, step):
        """Carries out a step over AF_UNIX, where a call has done all that it does when it returns.

        Notes which of the peer's events each ending step of the closer adds; the peer can bring about some itself.
        """
        actor, verb = step[0], step[1]
        if actor != "closer" or verb not in ENDS:
            VERBS[verb](self, actor, *step[2:])
            return
        if not self.ended:
            self.look_at_queue()
            self.ended = True
        before = self.events("peer")
        VERBS[verb](self, actor, *step[2:])
        self.poll_added.append((i, names_of(self.events("peer") & ~before)))

    # -- what the verbs stand on --

    def sock(self, side):
        """Returns a side's socket, accepting it first where that was put off; raises Failed where it is gone."""
        if self.socks[side] is None and self.waiting and side != self.client_side:
            self.accept()
        if self.socks[side] is None:
            raise Failed("the %s has no socket" % side)
        return self.socks[side]

    def accept(self):
        side = other(self.client_side)
        self.socks[side] = accept_from(self.listener, self.address[self.client_side][1:])
        self.waiting = False

    def events(self, side):
        """Returns what poll(2) says of a side now, without waiting."""
        sock = self.socks[side]
        return polled(sock, POLLRDHUP, 0) if sock is not None else 0

    def hear(self, side, before, seconds=None):
        """Returns whether a side hears more of an end within `seconds`, or TIMEOUT's, than the events `before` said."""
        sock = self.socks[side]
        if sock is None or before & (select.POLLERR | select.POLLHUP):
            return True
        if before & POLLRDHUP:
            return bool(polled(sock, 0, TIMEOUT.stretched(HEARING / 2) if seconds is None else seconds))
        return bool(awaited(sock, POLLRDHUP) if seconds is None else polled(sock, POLLRDHUP, seconds))

    def took_fin(self, side):
        """Returns whether a side has no socket, or its TCP has taken a FIN; shut reading itself, it hears of none."""
        return self.socks[side] is None or self.info(side)[0:1] in TOOK_FIN

    def segments_out(self, side):
        """Returns how many segments this side's kernel sent (tcpi_segs_out, since 4.2), None where unknown. The SYN-ACK
        does not count, so that it is 0 for a side that accepted and was only spoken to."""
        info = self.info(side)
        return struct.unpack_from("I", info, 136)[0] if len(info) >= 140 else None

    def wait_for_ack(self, side, before):
        """Waits until a side that heard a FIN has acknowledged it, which it may put off by 40 ms: a closer that is
        still in FIN_WAIT1 goes other ways in what follows. `before` is what segments_out was."""
        if before is not None and self.events(side) & (POLLRDHUP | select.POLLHUP | select.POLLERR) == POLLRDHUP:
            if side == "peer":
                self.hasten_ack()
            wait_until(lambda: (self.segments_out(side) or 0) > before, TIMEOUT.stretched(0.25))
            self.lab.settle()  # it was sent; it has to arrive

    def info(self, side):
        """Returns a side's struct tcp_info as bytes, b"" where there is none."""
        return self.info_of(self.socks[side])

    def info_of(self, sock):
        """Returns a socket's struct tcp_info as bytes, b"" where there is none."""
        if sock is None or self.kind == "unix":
            return b""
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
        except ERRORS:
            return b""

    def received_by_kernel(self, side):
        """Returns how many bytes this side's kernel took in (tcpi_bytes_received, since 4.1), None where unknown."""
        info = self.info(side)
        return struct.unpack_from("Q", info, 128)[0] if len(info) >= 136 else None

    def number(self, side, request):
        """Returns what FIONREAD or SIOCOUTQ says of a side, 0 where it cannot say."""
        return self.number_of(self.socks[side], request)

    def number_of(self, sock, request):
        """Returns what FIONREAD or SIOCOUTQ says of a socket, 0 where there is none or it cannot say."""
        try:
            return 0 if sock is None else struct.unpack("i", fcntl.ioctl(sock, request, b"\0\0\0\0"))[0]
        except ERRORS:
            return 0

    def window(self, side):
        """Returns how many bytes wide the window is that a side announced last, as the other side's kernel has it
        (tcpi_snd_wnd, since 5.4), None where it does not tell."""
        info = self.info(other(side))
        return struct.unpack_from("I", info, 228)[0] if len(info) >= 232 else None

    def announces_zero(self, side):
        """Returns whether a side's window is known to be zero without tcpi_snd_wnd: the last segment that was captured
        of it says so, or the other side's kernel probes it, which it does only where not one more byte fits."""
        self.drain()
        sent = self.packets_of(side)
        if sent and sent[-1].window == 0:
            return True
        retransmits, probes, backoff = (bytearray(self.info(other(side))[2:5]) or (0, 0, 0))
        return bool(probes or (backoff and not retransmits))

    def note_window(self, side, left):
        """Notes how many bytes of a side's window are left, where that is known and there is a window."""
        if left is not None and self.kind != "unix":
            self.queue[side + " window"] = left

    def rto(self, side):
        """Returns a side's retransmission timeout in seconds (tcpi_rto), 0 where unknown."""
        info = self.info(side)
        return struct.unpack_from("I", info, 8)[0] / 1e6 if len(info) >= 12 else 0.0

    def persist_time(self, side):
        """Returns after how many seconds without any progress a sender is blocked for good: its persist timer first
        goes off after one RTO, and what answers to that may be put off by 40 ms."""
        return min(4 * max(self.rto(side), 0.2), 4.0)

    def acknowledge(self, side):
        """Has a side send now the acknowledgment that it may put off by 40 ms; returns whether its kernel lets it."""
        try:
            self.socks[side].setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
            return True
        except (AttributeError,) + ERRORS:
            return False

    def arrive(self, sender):
        """Waits until what a side sent is in the other's receive queue, or that is full, or the sender was reset for
        it; raises Failed."""
        receiver = other(sender)
        if self.kind == "unix":
            return
        if receiver in self.gone or self.queue_is_full:
            self.lab.settle()  # what is sent to nobody is reset
            return
        if self.socks[receiver] is None:
            if not wait_until(lambda: self.number(sender, SIOCOUTQ) == 0 or self.info(sender)[0:1] == RESET):
                raise TimedOut("the bytes were not acknowledged")
            return
        seen = [-1, now()]  # how many bytes, and since when

        def arrived():
            if self.info(sender)[0:1] == RESET:
                return True
            got = self.received_by_kernel(receiver)
            if self.beyond and got > self.sent[sender]:
                self.forged = True  # the gap was filled, see send_out_of_order
            if got is None:
                return self.number(receiver, FIONREAD) > 0 or self.number(sender, SIOCOUTQ) == 0
            if got != seen[0]:
                seen[:] = [got, now()]
            # Full: nothing moved for 10 ms or more though there is something to move.
            quiet = now() - seen[1] > TIMEOUT.stretched(0.01)
            return got >= self.sent[sender] or (got > 0 and quiet and self.number(sender, SIOCOUTQ))

        while not wait_until(arrived):
            if now() - seen[1] >= TIMEOUT.seconds():
                raise TimedOut("the bytes did not arrive")

    def took(self, side, result):
        """Notes what a recv gave; the peer's after the end are testimony. Consecutive numbers are one."""
        count = result if isinstance(result, int) else 0
        self.received[side] += count
        if side == "peer" and self.ended:
            said = self.peer_recv
            if count and said and said[-1].isdigit() and said[-1] != "0":
                said[-1] = str(int(said[-1]) + count)
            elif len(said) < 15 and said[-1:] != [str(result)]:  # a reply has room for 16
                said.append(str(result))

    def note_refused_send(self, side, error):
        """Notes the error of a send by the peer after the end: what it learns of the end. Raises any other."""
        if not self.ended or side != "peer":
            raise error
        if len(self.peer_recv) < 10:  # a reply has room for 16, and recv comes later
            self.peer_recv.append("send: " + name_of(error))

    def recv(self, side, size, flags=0, wait=False):
        """Returns the bytes that one recv gives, which waits for what must come where `wait` is true; raises OSError,
        also EAGAIN."""
        sock = self.sock(side)
        if wait:
            awaited(sock, select.POLLIN | POLLRDHUP)
        try:
            data = sock.recv(size, QUIET | flags)
        except ERRORS as e:
            if not would_block(e):
                self.took(side, name_of(e))
            raise
        if not flags & socket.MSG_PEEK:
            self.took(side, len(data))
        return data

    def gather(self, side, count, flags=0):
        """Receives exactly `count` bytes; raises Failed where they do not come."""
        left, wait = count, Wait()
        while left > 0:
            try:
                size = len(self.recv(side, min(left, 65536), flags, True))
            except ERRORS as e:
                if would_block(e) and not wait.is_over():
                    continue
                kind, why = (TimedOut, "no more came") if would_block(e) else (Failed, words_of(e))
                raise kind("%s after %d of %d bytes" % (why, count - left, count))
            if size == 0:
                raise Failed("end of file after %d of %d bytes" % (count - left, count))
            left -= size
            wait.restart()

    def look_at_queue(self):
        """Notes what the closer's receive queue holds; rx_queue tells more than FIONREAD, but lists a namespace."""
        sock = self.socks["closer"]
        if sock is None:
            return
        self.queue["fionread"] = self.number("closer", FIONREAD)
        self.queue.pop("rx_queue", None)
        if self.lab.private and self.kind in ("tcp", "mapped"):
            unread = self.lab.rx_queue(self.address["closer"], self.address["peer"], self.steps)
            if unread is not None:
                self.queue["rx_queue"] = unread

    # -- what the witnesses say --

    def hold(self):
        """Waits until the ending is final, and takes in what was captured. Before the peer is asked: its recv opens a
        window that was shut, and what comes through then is no part of the ending."""
        self.outstanding = "" if self.kind == "unix" else self.wait_for_the_end()
        if self.kind == "mptcp":
            self.wait_for_quiet()
        for _ in range(2):  # an ACK that left just now, and a RST that answers to it
            self.lab.settle()
        self.drain()

    def wait_for_the_end(self):
        """Returns "" once nothing more can come, else what may still come; see the head of this section."""
        amount, limit, pause, least = None, now() + 2 * TIMEOUT.seconds(), 0.0005, 0.0
        if self.kind == "mptcp":  # its worker may be late by more than any timer of TCP
            least = TIMEOUT.seconds()
        while True:
            self.deliver()
            what, left = self.may_come()
            if not what:
                return ""
            if left != amount:
                amount, end = left, now() + max(least, self.two_timeouts())
            if now() > min(end, limit):
                return "" if self.waits_for_a_reader() else what
            time.sleep(pause)
            pause = min(2 * pause, 0.008)

    def deliver(self):
        """Has everything delivered that is on its way, the peer's ACK of a FIN with it."""
        self.lab.settle()
        self.hasten_ack()
        for _ in range(2):  # and once more for what answers to that
            self.lab.settle()
        self.drain()

    def hasten_ack(self):
        """Has the peer acknowledge at once a FIN that it heard and before which nothing is left to read."""
        if any(tuple(step[:2]) == ("closer", "send-urgent") for step in self.steps):
            return  # a recv would step over the urgent byte, which FIONREAD does not count
        heard = self.events("peer") & (POLLRDHUP | select.POLLERR | select.POLLHUP)
        if heard == POLLRDHUP and not self.number("peer", FIONREAD):
            try:
                self.recv("peer", 1)
                self.hastened = self.acknowledge("peer") or self.hastened
            except ERRORS:
                pass

    def may_come(self):
        """Returns (what may still come, an amount that shrinks on the way), or ("", 0)."""
        peer = self.state_of("peer")
        if self.kind == "mptcp" and self.is_worker_late(peer):
            return "MPTCP has not told the peer's socket of it", 1
        if peer[0] == CLOSE and self.socks["peer"] is not None:
            return "", 0
        closer = self.state_of("closer", peer[0])
        if closer is None:
            return "what the closer still has to send cannot be read", 1
        if closer[0] in (FIN_WAIT1, CLOSING, LAST_ACK) and closer[1] and not self.forged:
            return "the closer's FIN is not acknowledged", closer[1]
        if peer[0] != GONE and peer[1] and self.is_deaf(closer[0]):
            return "the peer still sends to a socket that was closed", peer[1]
        return "", 0

    def state_of(self, side, others=GONE):
        """Returns (tcpi_state, bytes that are not acknowledged, FIN with them) of a side, GONE where its socket is no
        more and None where that cannot be read; `others` is the state of the other side's socket."""
        for sock in self.open_sockets(side):
            info = self.info_of(sock)
            if info:
                return ord(info[0:1]), self.number_of(sock, SIOCOUTQ)
        if side not in self.address:
            return GONE, 0
        ends = self.address[side], self.address[other(side)]
        found = self.lab.diagnosed(*ends)
        if found is None and others in (CLOSE_WAIT, LAST_ACK, CLOSING):  # its FIN came, and with it all before that
            return (GONE, 0) if self.is_fin_acknowledged() else (FIN_WAIT1, 1)
        if found is None and others != GONE and not self.left and not self.number("peer", FIONREAD):
            return GONE, 0  # a FIN with nothing before it had left
        return found or self.lab.listed(*ends)

    def open_sockets(self, side):
        """Returns the sockets of a side that this process still holds."""
        kept = self.references if side == "closer" and self.socks["closer"] is None else ()
        return [s for s in [self.socks[side]] + list(kept) if hasattr(s, "getsockopt")]

    def is_fin_acknowledged(self):
        """Returns whether the peer, which heard a FIN, has sent a segment since; all put off no longer than 0.2 s."""
        sent = self.segments_out("peer")
        if sent is None or self.sent_before is None:
            return self.hastened or now() > self.heard_at + TIMEOUT.stretched(0.25)
        return self.hastened or sent > self.sent_before

    def is_deaf(self, state):
        """Returns whether the closer answers new data with a RST: closed, or shut both ways."""
        if self.forged and self.beyond > self.sent["peer"]:
            return False  # nothing new is left: the closer took it from behind a gap
        return "closer" in self.gone or (self.shut_reading and state in (FIN_WAIT1, FIN_WAIT2, CLOSING))

    def is_worker_late(self, peer):
        """Returns whether the peer's MPTCP socket has still to hear of what its subflow got."""
        if self.socks["peer"] is None or self.events("peer") & (POLLRDHUP | select.POLLHUP | select.POLLERR):
            return False
        closers = self.packets_of("closer")
        ended = any(p.bits & 0x01 or "DATA_FIN" in p.options for p in closers)
        return peer[0] == CLOSE or (ended and not any(p.bits & 0x04 for p in closers))

    def waits_for_a_reader(self):
        """Returns whether a side keeps what is outstanding out, with data in its queue that it does not read."""
        peer_does = not self.took_fin("peer") and self.has_unread("peer")
        return peer_does or ("closer" not in self.gone and self.has_unread("closer"))

    def has_unread(self, side):
        """Returns whether a side has data to read; FIONREAD ends before an urgent byte, rx_queue does not."""
        ends = self.address[side], self.address[other(side)]
        found = self.lab.diagnosed(*ends) or self.lab.listed(*ends)
        return bool(found and found[2]) or self.number(side, FIONREAD) > 0

    def two_timeouts(self):
        """Returns twice the time after which the peer sends again or probes a window (tcpi_rto, tcpi_backoff)."""
        backoff = ord(self.info("peer")[4:5] or b"\0")
        return min(max(0.1, 2 * (self.rto("peer") or 0.25) * 2 ** min(backoff, 4)), 2 * PATIENCE)

    def witness(self):
        """Returns what the peer's socket says: state and poll first, which consume nothing, SO_ERROR last, which
        shares one pending error with recv."""
        sock = self.socks["peer"]
        if sock is None:
            return None
        info = self.info("peer")
        state = ord(info[0:1]) if info else None
        if state is not None and state > MAX_STATE:
            state = None
        bits = polled(sock, select.POLLIN | select.POLLPRI | select.POLLOUT | POLLRDHUP, 0)
        poll = names_of(bits)
        self.ended = True
        for _ in range(3):
            try:
                if not self.recv("peer", 65536):
                    break
            except ERRORS as e:
                if would_block(e):
                    self.took("peer", name_of(e))
                    break
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return {"state": state, "poll": poll, "recv": self.peer_recv, "so_error": name_of(error) if error else "0",
                "poll_added": self.poll_added}

    def wait_for_quiet(self):
        """Waits until nothing was captured for a while: MPTCP ends its subflows from a worker, a little later."""
        if self.lab.capture:
            end = now() + TIMEOUT.stretched(HEARING)
            while now() < end and polled(self.lab.capture.sock, select.POLLIN, TIMEOUT.stretched(0.005)):
                self.drain()

    def drain(self):
        """Moves what was captured of this connection into `packets`."""
        if self.lab.capture and self.client:
            self.lab.capture.drain(self.client, self.packets)

    def packets_of(self, side):
        """Returns those of `packets` that a side sent."""
        return [p for p in self.packets if (p.source == self.client) == (side == self.client_side)]

    def report(self, error, peer, before, after):
        lab = self.lab
        wire, note, lost, omitted, connection = None, lab.wire_note, 0, 0, None
        if self.kind == "unix":
            note = "AF_UNIX has no segments"
        elif lab.capture:
            lost = lab.capture.lost()
            wire, self.kept = trace_of(self.packets, self.client, self.client_side, self.began)
            omitted = len(self.packets) - len(self.kept)
            connection = connection_of(self.packets, self.client, self.client_side, self.began)
            if connection and self.kind == "mapped":
                connection["mapped"] = True
        moved = None
        if before and after and all(n in before and n in after for n in NEEDED):
            grown = ((n, after[n] - before[n]) for n in after if n in before)
            moved = dict((n, min(by, 0xFFFFFFFF)) for n, by in grown if by > 0)
        amounts = {}
        for side in SIDES:
            amounts[side + " sent"], amounts[side + " received"] = self.sent[side], self.received[side]
        return {"count": 1, "wire": wire, "wire_note": note, "wire_lost": lost, "wire_omitted": omitted, "peer": peer,
                "connection": connection,
                "kernel": moved, "steps": self.marks, "queue": self.queue, "bytes": amounts, "error": error,
                "outstanding": self.outstanding}

    def clean_up(self):
        """Leaves nothing behind: no process, no setting, no TIME_WAIT where an RST can prevent it."""
        for child in self.children:
            child.close()
        for reference in self.references:
            safe_close(reference, abort=True)
        if self.own_listener:
            self.lab.watch()
        elif self.waiting:  # accept failed: the next trial must not find this connection in the queue
            safe_close(self.lab.listeners.pop((self.family, self.kind)))
        for side in SIDES:
            if self.socks[side] is not None:
                safe_close(self.socks[side], abort=True)
        for undo in self.cleanups:  # after the sockets: what the other side still sends is reset by theirs
            try:
                undo()
            except ERRORS:
                pass
        if self.own_listener and self.listener is not None:
            safe_close(self.listener)
        for key, value in reversed(self.restore):
            write(path_of(key), value)
        if self.kind == "mptcp":  # its worker's last segments must not count for the next trial
            self.wait_for_quiet()
        self.lab.settle()


def listed(near, far, seconds=0.2):
    """Returns (state, unsent or unacknowledged bytes, unread bytes) of the socket with these addresses from the tables
    of /proc/net; the state is GONE where it is in none, or only in TIME_WAIT. None where the time runs out; raises
    OSError, IndexError and ValueError. An address is (family, text, port)."""
    here, there = listed_address(near), listed_address(far)
    end, number = now() + seconds, 0
    for line in lines_of("/proc/net/tcp" if near[0] == socket.AF_INET else "/proc/net/tcp6"):
        number += 1
        if number % 256 == 0 and now() > end:
            return None
        if here in line and there in line:
            fields = line.split(None, 5)
            if (fields[1], fields[2]) == (here, there):
                if count_of(fields[5][:2], 16) == TIMER_TIME_WAIT:
                    return GONE, 0, 0
                out, _, into = fields[4].partition(b":")
                return count_of(fields[3], 16, MAX_STATE), count_of(out, 16, 0xFFFFFFFF), count_of(into, 16, 0xFFFFFFFF)
    return GONE, 0, 0


def listed_address(address):
    """Returns an address (family, text, port) as /proc/net/tcp writes it: words of 32 bits in the machine's order."""
    packed = socket.inet_pton(address[0], address[1])
    words = struct.unpack("=%dI" % (len(packed) // 4), packed)
    return ("".join(["%08X" % word for word in words]) + ":%04X" % address[2]).encode("ascii")


class Diagnosis(object):
    """sock_diag(7): asks the kernel about one socket, or has it destroyed. Listing /proc/net/tcp instead takes
    milliseconds on a machine with much memory, even where a namespace has one connection."""

    ASK, DESTROY = 20, 21

    def __init__(self):
        release = os.uname()[2]
        folder = "/lib/modules/" + release
        if not (os.path.exists("/sys/module/tcp_diag") or not os.path.exists(folder)
                or "tcp_diag.ko" in read_or(folder + "/modules.builtin", "", 1 << 20)):
            raise NotHere("the kernel's tcp_diag module is not loaded, and the probe loads none")
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
        self.check()

    def check(self):
        """Raises NotHere unless the kernel knows a socket that is there: without tcp_diag it says ENOENT of all."""
        known = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            known.bind(("127.0.0.1", 0))
            known.listen(1)
            near = (socket.AF_INET,) + known.getsockname()
            self.request(self.ASK, near, (socket.AF_INET, "127.0.0.1", 1))
        except ERRORS as e:
            raise NotHere("the kernel does not answer for TCP (%s)" % name_of(e))
        finally:
            known.close()

    def request(self, kind, near, far):
        """Returns the kernel's answer about the TCP socket with these addresses, each (family, text, port); raises
        OSError with what it refuses with, ENOENT where there is no such socket."""
        ends = [(socket.inet_pton(a[0], a[1]), a[2]) for a in (near, far)]
        body = struct.pack("=BBBxI", near[0], socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        body += struct.pack("!HH16s16s", ends[0][1], ends[1][1], ends[0][0], ends[1][0])
        body += struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
        flags = 5 if kind == self.DESTROY else 1  # NLM_F_REQUEST, and NLM_F_ACK where there is no other answer
        self.sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        if not awaited(self.sock, select.POLLIN):
            raise OSError(errno.ETIMEDOUT, "netlink")
        answer = self.sock.recv(4096)
        if len(answer) < 20:
            raise OSError(errno.EBADMSG, "sock_diag")
        if struct.unpack_from("=H", answer, 4)[0] == 2:  # NLMSG_ERROR, 0 is the ACK
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number:
                raise OSError(number, "sock_diag")
        return answer

    def look(self, near, far):
        """Returns what `listed` does, out of struct inet_diag_msg; raises OSError."""
        try:
            answer = self.request(self.ASK, near, far)
        except OSError as e:
            if number_of(e) == errno.ENOENT:
                return GONE, 0, 0
            raise
        if len(answer) < 80:
            raise OSError(errno.EBADMSG, "sock_diag")
        _, state, timer = struct.unpack_from("=BBB", answer, 16)
        unread, unsent = struct.unpack_from("=II", answer, 16 + 4 + 48 + 4)
        # A listener answers for a connection of its port that is in no table any more.
        return (GONE, 0, 0) if timer == TIMER_TIME_WAIT or state == LISTEN else (state, unsent, unread)


# ---- the verbs: one function each, called with the trial, the actor and the step's other words ----


def connect(t, actor, how, size=0):
    lab, server = t.lab, other(actor)
    t.client_side = actor
    if how in ("unix", "seqpacket"):
        t.kind, t.messages = "unix", how == "seqpacket"
        t.socks[actor], t.socks[server] = unix_pair(t.messages)
        return
    t.kind = kind = how if how in ("mptcp", "mapped") else "tcp"
    put_off = how == "unaccepted"
    # A listener hands on the sysctls of when it was made (tcp_rmem), so a trial that sets one has its own.
    if (t.listener_options or t.backlog is not None or t.restore or t.signed or how in ("fastopen", "unaccepted")
            or any(step[1] == "fill-queue" for step in t.steps)):
        t.listener, t.own_listener = new_listener(t.family, kind, 16 if t.backlog is None else t.backlog), True
        names = [option[0] for option in t.listener_options]
        for option in t.listener_options:
            set_on(t.listener, *option)
        if how == "fastopen" and "TCP_FASTOPEN" not in names:
            set_on(t.listener, "TCP_FASTOPEN", 16)
        put_off = put_off or "TCP_DEFER_ACCEPT" in names
    else:
        t.listener = lab.listener(t.family, kind)
    client = socket.socket(t.listener.family, socket.SOCK_STREAM, IPPROTO_MPTCP if kind == "mptcp" else 0)
    t.socks[actor] = client
    if kind == "mapped":
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    client.bind((address_of(t.family, kind), 0))
    t.client = client.getsockname()[1]
    t.address = {actor: address_of_socket(client), server: address_of_socket(t.listener)}
    if t.signed:
        for sock in (client, t.listener):
            expect_signature(sock, address_of(t.family, kind))
    if t.own_listener:
        lab.watch([t.client])  # not the listener's port: that may be somebody else's before the trial is over
    client.settimeout(TIMEOUT.seconds())
    if how == "fastopen":
        connect_with_data(t, actor, client, size)
    else:
        client.connect(t.listener.getsockname()[:2])
    client.settimeout(None)
    t.waiting = True
    if not put_off:
        t.accept()
        if how == "fastopen":
            t.arrive(actor)


def unix_pair(messages):
    """Returns two connected AF_UNIX sockets: SOCK_SEQPACKET where `messages`, else SOCK_STREAM."""
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if messages else socket.SOCK_STREAM)
    except ERRORS as e:
        if number_of(e) in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTOTYPE):
            kind = "SOCK_SEQPACKET over AF_UNIX" if messages else "AF_UNIX"
            raise NotHere("this kernel has no %s (%s)" % (kind, name_of(e)))
        raise


def expect_signature(sock, address):
    """Has a socket sign what it sends to an address, and drop what comes from there unsigned (RFC 2385). No module is
    loaded: CONFIG_TCP_MD5SIG has CONFIG_CRYPTO_MD5 built in."""
    packed = socket.inet_pton(sock.family, address)
    end = struct.pack("=HH", sock.family, 0) + (packed if sock.family == socket.AF_INET else b"\0" * 4 + packed)
    value = struct.pack("=128sBBHI80s", end, 0, 0, len(MD5_KEY), 0, MD5_KEY)  # struct tcp_md5sig
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, value)
    except ERRORS as e:
        raise NotHere("this kernel refuses TCP_MD5SIG on a socket (%s)" % name_of(e))


def connect_with_data(t, actor, client, size):
    """Connects by TCP Fast Open; the bits that it needs without a cookie are 1 and 4 here, 2 and 512 at the server."""
    value = read_sysctl("net.ipv4.tcp_fastopen")[0]
    if value is None or not value.isdigit() or int(value) & 0x207 != 0x207:
        raise NotHere("needs net.ipv4.tcp_fastopen 519; it is %s" % value)
    client.sendto(PATTERN[:size], MSG_FASTOPEN | MSG_NOSIGNAL, t.listener.getsockname()[:2])
    t.sent[actor] += size
    info = t.info(actor)
    if len(info) > 5 and not ord(info[5:6]) & 32:  # TCPI_OPT_SYN_DATA
        raise Failed("the data in the SYN was not taken")


def accept(t, actor):
    if not t.waiting:
        raise Failed("nothing waits to be accepted")
    t.accept()


def set_backlog(t, actor, size):
    t.backlog = size


def fill_queue(t, actor):
    """Connects strangers, which send a byte for TCP_DEFER_ACCEPT, until the accept queue is full: tcpi_unacked of a
    listener is its length, tcpi_sacked the backlog (sk_acceptq_is_full())."""
    for _ in range(MAX_STRANGERS):
        waiting, backlog = struct.unpack_from("II", t.info_of(t.listener), 24)
        if waiting > backlog:
            t.queue_is_full = t.ended = True
            return
        sock = socket.socket(t.listener.family, socket.SOCK_STREAM)
        t.cleanups.append(lambda sock=sock: safe_close(sock, abort=True))
        sock.settimeout(TIMEOUT.seconds())
        sock.connect(t.listener.getsockname()[:2])
        sock.send(b".")
        t.lab.settle()
    raise Failed("%d connections do not fill the accept queue" % MAX_STRANGERS)


def set_option(t, actor, name, *values):
    if actor == "listener":
        t.listener_options.append((name,) + values)
    else:
        set_on(t.sock(actor), name, *values)


def set_on(sock, name, *values):
    """Sets a socket option; raises NotHere where the kernel has none of that name or does not let us."""
    try:
        sock.setsockopt(*(OPTIONS[name] + (struct.pack("i" * len(values), *values),)))
    except ERRORS as e:
        if number_of(e) in (errno.EPERM, errno.EACCES):
            raise NotHere("%s needs CAP_NET_ADMIN or user namespaces; set become: true" % name)
        if number_of(e) in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            raise NotHere("this kernel has no %s here (%s)" % (name, name_of(e)))
        raise


def send(t, actor, size, flags=0):
    sock, left = t.sock(actor), size
    while left > 0:
        start, count = t.sent[actor] % 16, left if t.messages else min(left, 65536)
        pattern = PATTERN * (1 + (start + count) // len(PATTERN))
        try:
            done = sock.send(pattern[start:start + count], QUIET | flags)
        except ERRORS as e:
            if would_block(e):
                if not awaited(sock, select.POLLOUT) & select.POLLOUT:
                    raise TimedOut("the send blocked after %d of %d bytes" % (size - left, size))
                continue
            t.note_refused_send(actor, e)
            return
        left -= done
        t.sent[actor] += done
    t.arrive(actor)


def send_urgent(t, actor, size):
    try:
        send(t, actor, size, socket.MSG_OOB)
    except ERRORS as e:
        if number_of(e) == errno.EOPNOTSUPP:
            raise NotHere("this kernel has no urgent data over %s" % ("AF_UNIX" if t.kind == "unix" else t.kind))
        raise


def send_until_blocked(t, actor):
    """Sends until the other side's window is zero and the send queue is full, and notes what is left of that window.

    A segment longer than what is left of a window waits 200 ms for the persist timer, and until then the window is not
    zero. So one send fills the window, and MSG_EOR (since 4.7) keeps the next from joining its segment; an unknown
    window is waited for. It may never be zero: some kernels drop what finds no room, and announce the old window.
    """
    t.sock(actor)  # accepts it where that was put off
    receiver, limit = other(actor), t.sent[actor] + MAX_BULK
    while t.sent[actor] < limit:
        window, queued = t.window(receiver), t.number(actor, SIOCOUTQ)
        filled = window and queued and not t.events(actor) & (select.POLLERR | select.POLLHUP)
        try:
            if not filled and send_piece(t, actor, window):
                continue
        except ERRORS as e:
            t.note_refused_send(actor, e)
            return
        if t.kind == "unix" or window == 0 or (window is None and t.announces_zero(receiver)):
            t.note_window(receiver, 0)
            return

        def has_moved():
            t.acknowledge(receiver)
            moved = (t.window(receiver), t.number(actor, SIOCOUTQ)) != (window, queued)
            return moved or (window is None and t.announces_zero(receiver))

        if not wait_until(has_moved, TIMEOUT.stretched(t.persist_time(actor))):
            t.note_window(receiver, window)
            return
    raise Failed("the send did not block after %d bytes" % MAX_BULK)


def send_piece(t, actor, window):
    """Returns whether something could be sent: as much as fills the window, where that is known and not zero."""
    start, size = t.sent[actor] % 16, min(window or 65536, 65536)
    flags = QUIET | MSG_EOR if window and t.kind != "mptcp" else QUIET
    try:
        t.sent[actor] += t.sock(actor).send(PATTERN[start:start + size], flags)
        return True
    except ERRORS as e:
        if not would_block(e):
            raise
        return False


def read_some(t, actor, size):
    t.gather(actor, size)


def read_waitall(t, actor, size):
    """Receives in one call that waits for `size` bytes: a timeout of the socket ends it."""
    sock, began, seconds = t.sock(actor), now(), TIMEOUT.seconds()
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)  # its length is that of struct timeval here
    timeout = struct.pack("=qq" if len(before) == 16 else "=ii", *divmod(int(seconds * 1000000), 1000000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    try:
        count = len(sock.recv(size, socket.MSG_WAITALL))
    except ERRORS as e:
        if would_block(e):
            raise TimedOut("none of %d bytes came" % size)
        t.took(actor, name_of(e))
        raise Failed("%s, none of %d bytes came" % (words_of(e), size))
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, before)
    t.took(actor, count)
    if count < size and now() - began >= seconds:
        raise TimedOut("%d of %d bytes within %.1f s" % (count, size, seconds))


def read_all(t, actor):
    try:
        while t.recv(actor, 65536):
            pass
    except ERRORS as e:
        if not would_block(e) and not (t.ended and actor == "peer"):
            raise


def read_to_end(t, actor):
    wait = Wait()
    while True:
        try:
            if not t.recv(actor, 65536, 0, True):
                return
            wait.restart()
        except ERRORS as e:
            if not would_block(e):
                return
            if wait.is_over():
                raise TimedOut("no end of file and no error within %.1f s" % (now() - wait.began))


def try_read(t, actor):
    try:
        t.recv(actor, 65536)
    except ERRORS as e:
        if would_block(e):
            t.took(actor, name_of(e))


def read_urgent(t, actor):
    try:
        data = t.recv(actor, 1, socket.MSG_OOB)
    except ERRORS as e:
        # RFC 1122's reading of the pointer: the byte is ordinary data, and that is what there is to see.
        if would_block(e) and read_sysctl("net.ipv4.tcp_stdurg")[0] == "1":
            return
        raise
    if len(data) != 1:
        raise Failed("no urgent byte")


def peek(t, actor, size):
    def peeked():
        try:
            return len(t.recv(actor, size, socket.MSG_PEEK)) >= size
        except ERRORS as e:
            if would_block(e):
                return False
            raise

    if not wait_until(peeked):
        raise TimedOut("fewer than %d bytes to peek at" % size)


def discard(t, actor, size):
    t.gather(actor, size, MSG_TRUNC)


def splice(t, actor, size):
    sock = t.sock(actor)
    if not hasattr(os, "splice"):
        ctypes, library = libc()
    out, into = os.pipe()
    try:
        left = size
        while left > 0 and awaited(sock, select.POLLIN | POLLRDHUP):
            some = min(left, 32768)
            if hasattr(os, "splice"):
                done = os.splice(sock.fileno(), into, some)
            else:
                library.splice.restype = ctypes.c_ssize_t
                done = library.splice(sock.fileno(), None, into, None, ctypes.c_size_t(some), 0)
                if done < 0:
                    raise OSError(ctypes.get_errno(), "splice")
            if done == 0:
                raise Failed("end of file after %d of %d bytes" % (size - left, size))
            os.read(out, done)
            t.took(actor, done)
            left -= done
        if left:
            raise TimedOut("only %d of %d bytes were spliced" % (size - left, size))
    finally:
        os.close(out)
        os.close(into)


def enable_ktls(t, actor):
    # struct tls12_crypto_info_aes_gcm_128: version 1.2, cipher 51, iv, key, salt, sequence. The key protects nothing.
    keys = struct.pack("HH8s16s4s8s", 0x0303, 51, b"\0" * 8, b"fleetaudit probe", b"salt", b"\0" * 8)
    for side in SIDES:
        try:
            t.sock(side).setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            for direction in (1, 2):
                t.sock(side).setsockopt(SOL_TLS, direction, keys)
        except ERRORS as e:
            raise NotHere("this kernel refuses TLS on a socket (%s)" % name_of(e))


def sign(t, actor):
    t.signed = True


def wait(t, actor, time_ms):
    time.sleep(time_ms / 1000.0)


def shut(t, actor, way):
    t.shut_reading = t.shut_reading or (actor == "closer" and way != "write")
    try:
        t.sock(actor).shutdown({"write": socket.SHUT_WR, "read": socket.SHUT_RD, "both": socket.SHUT_RDWR}[way])
    except ERRORS as e:
        if number_of(e) != errno.ENOTCONN or t.info(actor)[0:1] != RESET:
            raise  # else the other side has reset it, and a program that shuts it down meets the same


def close(t, actor):
    if actor == "listener":
        t.listener.close()
        t.listener, t.waiting = None, False
        t.gone.add(other(t.client_side))
        return
    sock = t.sock(actor)
    t.socks[actor] = None
    if not t.references:
        t.gone.add(actor)
    sock.close()


def end(t, actor, how):
    sock = t.sock(actor)
    if how == "exec":
        fcntl.fcntl(sock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    child = Child([s for s in (t.socks[other(actor)], t.listener) if s is not None])
    t.children.append(child)
    t.socks[actor] = None
    t.gone.add(actor)
    sock.close()
    child.end(how)


def disconnect(t, actor):
    ctypes, library = libc()
    if library.connect(t.sock(actor).fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) != 0:
        raise OSError(ctypes.get_errno(), "connect")
    t.gone.add(actor)


def destroy(t, actor):
    """Destroys a socket from outside, as `ss -K` does (sock_diag(7)), in the private namespace only."""
    if not t.lab.diagnosis:
        raise NotHere("needs sock_diag(7): " + t.lab.no_diagnosis)
    try:
        t.sock(actor)
        ends = t.address[actor], t.address[other(actor)]
        if t.lab.diagnosis.look(*ends)[0] != GONE:  # else it would be the listener that is destroyed
            t.lab.diagnosis.request(Diagnosis.DESTROY, *ends)
    except ERRORS as e:
        raise NotHere("this kernel does not let sockets be destroyed (%s)" % name_of(e))
    t.gone.add(actor)


def refer(t, actor, how):
    sock = t.sock(actor)
    if how == "dup":
        t.references.append(socket.fromfd(sock.fileno(), sock.family, sock.type))
    elif how == "fork":
        child = Child([s for s in (t.socks[other(actor)], t.listener) if s is not None])
        t.children.append(child)
        t.references.append(child)
    else:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        t.references.append(far)  # what is in flight towards it goes with it
        near.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", sock.fileno()))])


def close_other(t, actor):
    if not t.references:
        raise Failed("there is no other reference to the socket")
    reference = t.references.pop()
    if isinstance(reference, Child):
        reference.end("exit")
    else:
        reference.close()
    if not t.references and t.socks[actor] is None:
        t.gone.add(actor)


def set_sysctl(t, actor, key, value):
    old = read_sysctl(key)[0]
    try:
        write(path_of(key), value)
    except ERRORS as e:
        raise NotHere("%s cannot be set in a network namespace (%s)" % (key, name_of(e)))
    t.restore.append((key, old))
    if read_sysctl(key)[0] != value:
        raise Failed("%s is %s after that" % (key, read_sysctl(key)[0]))


def raw_sender(t, actor):
    """Returns send(offset, size, bits, urgent), which sends a raw segment with the bytes of a side's stream at `offset`
    and returns a test whether the other side answered. The capture has seen the numbers."""
    closer = t.sock("closer")
    forth, back = [], []

    def answers():
        t.drain()
        forth[:], back[:] = t.packets_of(actor), t.packets_of(other(actor))
        return len(back)

    if not wait_until(lambda: answers() and sum(p.length for p in forth) >= t.sent[actor]):
        raise TimedOut("the capture did not see the peer's bytes")
    if not forth[0].bits & 0x02:
        raise Failed("the capture did not see the connection begin")
    family = socket.AF_INET if t.kind == "mapped" else closer.family  # on the wire a mapped address is an IPv4 one
    near, far = [(a.replace("::ffff:", ""), port) for _, a, port in (t.address[actor], t.address["closer"])]
    try:
        raw = t.lab.raw_socket(family)
    except (NotHere,) + ERRORS:
        raise NotHere(needs_raw())
    start = forth[0].seq + 1
    ack = (back[-1].seq + back[-1].length + (back[-1].bits & 1) + (back[-1].bits >> 1 & 1)) & 0xFFFFFFFF
    stamp = (forth[-1].stamp[0], back[-1].stamp[0]) if forth[-1].stamp and back[-1].stamp else None

    def send(offset, size, bits, urgent=""):
        before, data = answers(), PATTERN[offset % 16:offset % 16 + size]
        raw.sendto(segment(family, near, far, (start + offset) & 0xFFFFFFFF, ack, bits | (0x20 if urgent else 0),
                           forth[-1].window, size if urgent else 0, stamp, data), (far[0], 0))
        return lambda: answers() > before

    def break_off():
        """Resets the side that knows nothing of the segments, whose kernel drops what the other acknowledges: orphaned,
        it would send its FIN again and again, into later trials."""
        answers()
        raw.sendto(segment(family, far, near, forth[-1].ack, 0, 0x04, 0, 0, None, b""), (near[0], 0))

    t.cleanups.append(break_off)
    return send


def resend(t, actor, size, urgent="", fin=0):
    """Sends the last `size` bytes of the peer once more; with FIN, as a retransmission after a lost ACK may be."""
    send = raw_sender(t, actor)
    if size > t.sent[actor]:
        raise Failed("the peer sent %d bytes only" % t.sent[actor])
    if fin:
        t.forged = True
        # Whatever becomes of the closer, it must not retransmit into the next trial.
        t.cleanups.append(lambda: send(t.sent[actor] + 1, 0, 0x04))
    answered = send(t.sent[actor] - size, size, 0x18 | fin, urgent)
    if not wait_until((lambda: t.took_fin("closer")) if fin else answered):
        raise TimedOut("the closer did not take the segment")


def resend_fin(t, actor, size, urgent=""):
    resend(t, actor, size, urgent, 0x01)


def send_out_of_order(t, actor, size):
    """Sends `size` bytes without the byte before them, so that they wait in the closer's out-of-order queue."""
    send = raw_sender(t, actor)
    first = max(t.sent[actor], t.beyond) + 1
    t.beyond = first + size
    # As above: a RST that follows the highest SACK block is taken, too (tcp_validate_incoming()).
    t.cleanups.append(lambda: send(t.beyond, 0, 0x04))
    if not wait_until(send(first, size, 0x18)):
        raise TimedOut("the closer did not take the segment")


def segment(family, near, far, seq, ack, bits, window, pointer, stamp, data):
    """Returns a TCP segment with its checksum (RFC 9293, section 3.1), for a raw socket that adds the IP header."""
    options = struct.pack("!BBBBII", 1, 1, 8, 10, *stamp) if stamp else b""
    length = 20 + len(options) + len(data)
    ends = socket.inet_pton(family, near[0]) + socket.inet_pton(family, far[0])
    pseudo = ends + (struct.pack("!BBH", 0, 6, length) if family == socket.AF_INET else struct.pack("!II", length, 6))

    def with_checksum(value):
        return struct.pack("!HHIIBBHHH", near[1], far[1], seq, ack, (5 + len(options) // 4) << 4, bits, window, value,
                           pointer) + options + data

    summed = pseudo + with_checksum(0) + b"\0" * (length % 2)
    total = sum(struct.unpack("!%dH" % (len(summed) // 2), summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return with_checksum(~total & 0xFFFF)


VERBS = {
    "accept": accept, "backlog": set_backlog, "close": close, "close-other": close_other, "connect": connect,
    "destroy": destroy, "discard": discard, "disconnect": disconnect, "end": end, "fill-queue": fill_queue,
    "ktls": enable_ktls, "peek": peek, "read": read_some, "read-all": read_all, "read-to-end": read_to_end,
    "read-urgent": read_urgent, "read-waitall": read_waitall, "reference": refer, "resend": resend,
    "resend-fin": resend_fin, "send": send, "send-out-of-order": send_out_of_order,
    "send-until-blocked": send_until_blocked, "send-urgent": send_urgent, "set": set_option, "shutdown": shut,
    "sign": sign, "splice": splice, "sysctl": set_sysctl, "try-read": try_read, "wait": wait,
}
ENDS = ("close", "close-other", "destroy", "disconnect", "end", "shutdown")


# ---- what a scenario needs ----


def check_needs(lab, family, steps):
    """Raises NotHere where the host lacks what these steps need, or where nobody could see how they end. Nothing of
    them has run by then."""
    for step in steps:
        if step[1] in NEEDS:
            NEEDS[step[1]](lab, family, *step[2:])
    if any(step[0] == "peer" and step[1] in ("close", "end") for step in steps):  # its socket is gone at the end
        if family == "unix":
            raise NotHere("nobody sees how it ends: over AF_UNIX only the peer's socket shows that, and it is closed")
        need_capture(lab)
    if family != "unix" and peer_resets(steps):
        need_capture(lab)


def peer_resets(steps):
    """Returns whether the peer resets the connection itself, with data for which it has shut both ways: what its socket
    shows is then its own doing (tcp_rcv_state_process(), FIN_WAIT1 and FIN_WAIT2)."""
    shut = set()
    for step in steps:
        if step[:2] == ("peer", "shutdown"):
            shut.update(("read", "write") if step[2] == "both" else step[2:3])
        if step[0] == "closer" and step[1].startswith("send") and len(shut) == 2:
            return True
    return False


def need_capture(lab):
    if lab.capture is None:
        raise NotHere("needs a capture (%s)" % lab.no_capture)


def need_namespace(lab, family, *words):
    if not lab.private:
        raise NotHere("needs a private network namespace")


def need_own_settings(lab, family, key, value):
    if not lab.private or namespace_id() is None:
        raise NotHere("needs a private network namespace: the probe changes no setting of the host")
    found, state = read_sysctl(key)
    if found is None:
        raise NotHere("%s cannot be read in a network namespace (%s)" % (key, state))
    try:
        os.close(os.open(path_of(key), os.O_WRONLY))
    except ERRORS as e:
        raise NotHere("%s cannot be set in a network namespace (%s)" % (key, name_of(e)))


def need_raw_segment(lab, family, *words):
    if not lab.private and lab.capture:
        raise NotHere("a raw segment is sent in a private network namespace only")
    need_capture(lab)


def need_option(lab, family, name, *values):
    """Repair mode needs a right that a socket of its own shows; it has no peer, so nobody notices."""
    if name == "TCP_REPAIR":
        sock = socket.socket(socket.AF_INET6 if family == "ipv6" else socket.AF_INET, socket.SOCK_STREAM)
        try:
            set_on(sock, name, *values)
        finally:
            sock.close()


def need_kind(lab, family, how, *words):
    if how == "mptcp":
        lab.listener(family, how)


def need_tls(lab, family):
    if "tls" not in lab.available_ulp:
        raise NotHere("the kernel's tls module is not loaded, and the probe loads none")


def need_passing(lab, family, how):
    if how == "pass" and not hasattr(socket.socket, "sendmsg"):
        raise NotHere("needs sendmsg, which Python 2 lacks")


NEEDS = {"connect": need_kind, "destroy": need_namespace, "disconnect": lambda *words: libc(), "ktls": need_tls,
         "reference": need_passing, "resend": need_raw_segment, "resend-fin": need_raw_segment,
         "send-out-of-order": need_raw_segment, "set": need_option, "sysctl": need_own_settings}


# ---- the whole ----


def observe(lab, scenario, family):
    """Returns one scenario over one family: its trials, those that are alike as one, or why it was not run."""
    found = {"scenario": scenario["name"], "family": family, "trials": [], "not_run": ""}
    alike, kept = {}, []
    try:
        lab.check(family)
        check_needs(lab, family, scenario["steps"])
        repeats = Repeats(lab, scenario["name"], family)
        for _ in range(scenario["trials"]):
            trial = repeats.run(scenario["steps"])
            same = dict(trial, steps=len(trial["steps"]), wire=essence(trial["wire"] or ()), wire_omitted=0,
                        connection=None)
            if any(step[1] == "send-until-blocked" for step in scenario["steps"]):
                same = coarse(same)
            key = repr(sorted(same.items()))
            if key in alike:
                alike[key]["count"] += 1
            else:
                alike[key] = trial
                found["trials"].append(trial)
                kept.append(repeats.kept)
        lab.add_headers(found["trials"], kept, scenario.get("expect", ()))
    except NotHere as e:
        if found["trials"]:
            found["trials"].append(failure(e))
        else:
            found["not_run"], found["failed"] = str(e), isinstance(e, Scarce)
    except Exception as e:  # one odd scenario must not cost the others
        found["trials"].append(failure(e))
    found["trials"] = [without_defaults(trial) for trial in found["trials"]]
    return found


class Repeats(object):
    """Runs the trials of one scenario over one family; a trial that timed out while the host was stalled is repeated.

    Only such a trial: one that came to an end is never run again, however it ended. Repeats are told in a note.
    `kept` are the packets that the last trial reported.
    """

    def __init__(self, lab, name, family):
        self.lab, self.name, self.family, self.left = lab, name, family, MAX_REPEATS

    def run(self, steps):
        """Returns one trial as it is reported."""
        while True:
            if gone_away():
                os._exit(1)
            trial = Trial(self.lab, self.family, steps)
            found, self.kept = trial.run(), trial.kept
            if not trial.timed_out or TIMEOUT.in_trial < STALL:
                return found
            if not self.left:
                found["error"] += "; the host stalled for %.2f s meanwhile" % TIMEOUT.in_trial
                return found
            self.left -= 1
            words = (self.name, self.family, found["failed_step"] + 1, found["error"])
            self.lab.repeated.append("%s over %s (step %d: %s)" % words)


def note_of_repeats(repeated):
    """Returns a note on the trials that were repeated, "" where none was."""
    if not repeated:
        return ""
    words = "the host stalled, so %d trials timed out and were repeated: %s" % (len(repeated), "; ".join(repeated))
    return words[:4000]


def without_defaults(trial):
    """Returns a trial without what is usual, a tenth of a reply."""
    usual = ("connection", "wire_note", "wire_lost", "wire_omitted", "error", "outstanding")
    return dict((key, value) for key, value in trial.items() if value or key not in usual)


def essence(wire):
    """Returns a trace without what only time decides: how data was cut into segments, which ACKs went alone, windows.

    What is left are the segments with SYN, FIN, RST, URG or an option but SACK, each with how far both sides had got.
    """
    reached, kept = {}, []
    for _, sender, flags, seq, _, length, urgent, options, _ in wire:
        reached[sender] = max(reached.get(sender, 0), seq + length)
        if options not in ("", "SACK") or any(c in flags for c in "SFRU"):
            kept.append((sender, flags.replace("P", ""), urgent, options, sorted(reached.items())))
    return kept + [sorted(reached.items())]


def coarse(value):
    """Returns a value with every number above 9999 as 10000: how much is sent until a sender blocks depends on when
    acknowledgments come."""
    if isinstance(value, dict):
        return dict((k, coarse(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return [coarse(v) for v in value]
    if isinstance(value, str) and value.isdigit():  # what a recv gave
        value = int(value)
    return min(value, 10000) if isinstance(value, int) else value


def failure(error):
    """Returns a trial in which the probe itself failed."""
    return {"count": 1, "wire": None, "peer": None, "kernel": None,
            "error": ("the probe failed: %s: %s" % (type(error).__name__, error))[:4000]}


def gone_away():
    """Returns whether nobody reads this program's output any more."""
    poller = select.poll()
    poller.register(1, 0)
    return bool(poller.poll(0))


def main(call, program):
    """Does all, and prints the one line. `program` is this text, for the way into a namespace that starts it again."""
    carried = call.get("carried")
    started = carried["started"] if carried else time.time()
    reply = {"protocol": 1, "fleetaudit": call.get("fleetaudit", ""), "digest": call.get("digest", ""),
             "kernel": {"release": "", "version": "", "machine": ""}, "os": {}, "python": "", "machine_id": "",
             "isolation": "host", "isolation_note": "", "capture_note": "", "notes": [], "sysctls": {},
             "sysctl_places": None, "sysctls_writable": True, "exposure": None, "observations": []}
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, ring)
    left = max(0.1, started + call["deadline"] - time.time())
    signal.setitimer(signal.ITIMER_REAL, left)
    TIMEOUT.deadline = now() + left
    try:
        try:
            work(call, program, carried, started, reply)
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the hard one; whoever reads slowly may use what is left
            signal.setitimer(signal.ITIMER_REAL, max(0.0, started + call["deadline"] - time.time()) + MERCY)
    except TimeIsUp:
        reply["notes"].append("the alarm rang after %s s: what was not done by then is not run" % call["deadline"])
    except Exception as e:  # what was seen until then is still told
        reply["reason"] = failure(e)["error"]
        reply["notes"].append(reply["reason"])
    fill_in(call, reply, reply.pop("reason", "") or OUT_OF_TIME)
    used = os.times()
    reply["cpu_s"] = sum(used[:4])
    reply["elapsed_s"] = max(0.0, min(MAX_SECONDS, time.time() - started))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    say("\n" + MARK + json_of(reply) + "\n")


def ring(_number, _frame):
    """Ends the experiments; should the program be stuck, the next alarm ends it by default action."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, MERCY)
    raise TimeIsUp


def say(text):
    """Writes all of `text` to standard output."""
    data = text.encode("ascii")
    while data:
        try:
            data = data[os.write(1, data):]
        except ERRORS as e:
            if not would_block(e):
                raise
            poller = select.poll()
            poller.register(1, select.POLLOUT)
            poller.poll(1000)


def fill_in(call, reply, reason):
    """Adds what was not observed, as not run, so that nothing asked for is missing."""
    done = set((o["scenario"], o["family"]) for o in reply["observations"])
    for scenario in call["scenarios"]:
        for family in scenario["families"]:
            if (scenario["name"], family) not in done:
                reply["observations"].append({"scenario": scenario["name"], "family": family, "trials": [],
                                              "not_run": reason, "failed": True})


def work(call, program, carried, started, reply):
    """Looks at the host, moves into a namespace where that is wanted and possible, and runs the scenarios."""
    private = False
    if carried:  # started over by start_over_inside
        reply.update(carried["seen"])
        check_private(carried["namespace"])
        host_values, available_ulp, private = carried["settings"], carried["ulp"], True
    else:
        seen = look_at_host(call)
        reply.update(seen)
        available_ulp = (read_sysctl("net.ipv4.tcp_available_ulp")[0] or "").split()
        if call["isolation"] != "host":
            host_values = [(k, v) for k, v in ((k, read_sysctl(k)[0]) for k in copied_settings()) if v is not None]
            carried = {"seen": seen, "namespace": namespace_id(), "settings": host_values, "ulp": available_ulp,
                       "started": started}
            note = isolate(call, program, carried)
            private = not note
            reply["isolation_note"] = note
            if note and call["isolation"] == "namespace":
                reply["reason"] = note
                return
    if private:
        reply["isolation"] = "namespace"
        if namespace_id() is None:
            reply["notes"].append("/proc/self/ns/net cannot be read, so no sysctl was written: the experiment ran "
                                  "under this kernel's defaults")
        else:
            read_defaults(reply["sysctls"])
            note = copy_settings(host_values, reply["sysctls"])
            if note:
                reply["notes"].append(note[:4000])
    lab = Laboratory(private, available_ulp)
    reply["capture_note"] = lab.no_capture
    try:
        for scenario in call["scenarios"]:
            for family in scenario["families"]:
                reply["observations"].append(observe(lab, scenario, family))
    finally:
        reply["notes"].extend([note for note in [note_of_repeats(lab.repeated)] if note])


def isolate(call, program, carried):
    """Moves into a private network namespace by the first way that works, and returns "", or why there is none."""
    reasons = []
    for name, unshare in (("os.unshare", unshare_by_os), ("ctypes", unshare_by_ctypes)):
        reason = tried(lambda fd: enter_with(unshare))
        if not reason:
            enter_with(unshare)
            return ""
        reasons.append("%s: %s" % (name, reason))
    reason = tried(test_program)
    if not reason:
        try:
            start_over_inside(call, program, carried)
        except (NotHere,) + ERRORS as e:
            reason = reason_of(e)
    reasons.append("the program unshare: " + " ".join(reason.split())[:200])
    return "no private network namespace (%s)" % "; ".join(reasons)
