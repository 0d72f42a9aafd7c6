"""Lies of the shape of a reply: what was not asked for, is there twice, too much or too deep."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .genuine import EVIL, Body, Genuine, Lie, observation, result_line, trial

MANY = 5000


def lies(genuine: Genuine) -> Iterator[Lie]:
    """Yields the lies."""
    for name, send in _lines(genuine).items():
        yield Lie(f"line {name}", send, "refused")
    for name, (change, words) in _REFUSED.items():
        yield Lie(f"shape {name}", genuine.changed(change), "refused", words)
    for name, change in _OWN_ROW.items():
        yield Lie(f"own row {name}", genuine.changed(change), "own row")
    yield from _duplicate_keys(genuine)
    yield from _deep(genuine)


def _zlib(data: bytes) -> bytes:
    """Returns a compressed result line."""
    return result_line(b"zlib:" + base64.b64encode(data))


def _bomb(size: int) -> bytes:
    """Returns zlib data that expands to `size` bytes of blanks."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, packer.flush()])


def _lines(genuine: Genuine) -> dict[str, Callable[[], bytes]]:
    """Returns what makes lines that are no reply, or more than one."""

    def line() -> bytes:
        return genuine.line

    return {
        "is empty": lambda: result_line(b""),
        "is null": lambda: result_line(b"null"),
        "is an array": lambda: result_line(b"[]"),
        "is a number": lambda: result_line(b"7"),
        "has a second line": lambda: result_line(line()) + result_line(line()),
        "has a second line that is empty": lambda: result_line(line()) + result_line(b""),
        "has something after it": lambda: result_line(line() + b" {}"),
        "is cut": lambda: result_line(line()[:-1]),
        "is half": lambda: result_line(line()[: len(line()) // 2]),
        "has a byte order mark": lambda: result_line(b"\xef\xbb\xbf" + line()),
        "is no UTF-8": lambda: result_line(line().replace(b"CPython", b"\xff\xfe\xc0")),
        "is UTF-16": lambda: result_line(line().decode().encode("utf-16-le").replace(b"\n", b"")),
        "has a surrogate": lambda: result_line(line().replace(b"CPython", rb"\ud800")),
        "has a raw NUL": lambda: result_line(line().replace(b"CPython", b"\x00")),
        "is too long": lambda: result_line(b" " * (6 << 20) + line()),
        "is 7 MB of brackets": lambda: result_line(b"[" * (7 << 20)),
        "is 5 MB of brackets": lambda: result_line(b"[" * (5 << 20)),
        "is a bomb of 256 MB": lambda: _zlib(_bomb(1 << 28)),
        "is a bomb of a bomb": lambda: _zlib(zlib.compress(_bomb(1 << 28))),
        "is cut zlib": lambda: _zlib(zlib.compress(line())[:-5]),
        "is zlib with something after it": lambda: _zlib(zlib.compress(line()) + b"x"),
        "is zlib of nothing": lambda: _zlib(zlib.compress(b"")),
        "is no base64": lambda: result_line(b"zlib:####"),
        "is gzip": lambda: _zlib(zlib.compress(line(), wbits=31)),
    }


def _set(*path: str | int, to: Any) -> Callable[[Body], object]:
    """Returns a change of one value."""

    def change(body: Body) -> None:
        inner: Any = body
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return change


def _in_trial(key: str, to: Any) -> Callable[[Body], object]:
    """Returns a change of one value of the first trial of unread-close."""
    return lambda body: trial(body, "unread-close").update({key: to})


def _segment(index: int, to: Any) -> Callable[[Body], object]:
    """Returns a change of one value of a segment."""

    def change(body: Body) -> None:
        trial(body, "unread-close")["wire"][0][index] = to

    return change


def _peer(key: str, to: Any) -> Callable[[Body], object]:
    """Returns a change of what the peer's socket reported."""
    return lambda body: trial(body, "unread-close")["peer"].update({key: to})


def _more(count: int, **values: Any) -> Callable[[Body], object]:
    """Returns a change that adds observations."""
    return lambda body: body["observations"].extend([values] * count)


_NEW = {"scenario": "invented", "family": "ipv4", "trials": [], "not_run": "x"}
_REFUSED: dict[str, tuple[Callable[[Body], object], str]] = {
    "an unknown scenario": (_more(1, **_NEW), "an answer to invented"),
    "an unknown family": (_more(1, **{**_NEW, "family": "ipv5"}), "ipv5"),
    "a scenario with a script": (_more(1, **{**_NEW, "scenario": EVIL}), "an answer to"),
    "a scenario twice": (lambda body: body["observations"].append(body["observations"][0]), "two"),
    "2,001 observations": (_more(2001, **_NEW), "length"),
    "a million observations": (lambda body: body["observations"].extend([{}] * 10**6), ""),
    "observations as an object": (_set("observations", to={}), ""),
    "no observations": (lambda body: body.pop("observations"), "observations"),
    "no kernel": (lambda body: body.pop("kernel"), "kernel"),
    "another digest": (_set("digest", to="0" * 32), "another call"),
    "no digest": (lambda body: body.pop("digest"), "no digest"),
    "the digest of a newer version": (
        lambda body: body.update(digest="1" * 32, fleetaudit="99.0"),
        "99.0",
    ),
    "protocol 1": (_set("protocol", to=1), "protocol 1"),
    "protocol 3": (_set("protocol", to=3), "protocol 3"),
    "protocol as text": (_set("protocol", to="2"), ""),
    "another isolation": (_set("isolation", to="container"), "container"),
    "a release of 257 characters": (_set("kernel", "release", to="6" * 257), "length"),
    "51 notes": (_set("notes", to=["x"] * 51), "length"),
    "a note of 4,097 characters": (_set("notes", to=["x" * 4097]), "length"),
    "5,000 sysctls": (
        lambda body: body["sysctls"].update({f"net.x{n}": {"value": "1"} for n in range(MANY)}),
        "",
    ),
    "3,000 sysctls that were not asked for": (
        lambda body: body["sysctls"].update({f"net.x{n}": {"value": "1"} for n in range(3000)}),
        "not asked for",
    ),
    "a sysctl that was not asked for": (
        _set("sysctls", "kernel.core_pattern", to={"value": "|x"}),
        "the sysctl kernel.core_pattern, which was not asked for",
    ),
    "a sysctl of 4,097 characters": (
        _set("sysctls", "net.ipv4.tcp_x", to={"value": "x" * 4097}),
        "length",
    ),
    "a counter that was not asked for": (
        _set("exposure", "counters", "Invented", to=1),
        "the counter Invented, which was not asked for",
    ),
    "60 counters": (
        lambda body: body["exposure"]["counters"].update({f"x{n}": n for n in range(40)}),
        "not asked for",
    ),
    "100,000 counters": (
        lambda body: body["exposure"]["counters"].update({f"x{n}": n for n in range(100_000)}),
        "length",
    ),
    "a place that is no file of sysctls": (
        _set("sysctl_places", to={"net.ipv4.tcp_rmem": ["/etc/shadow:1"]}),
        "",
    ),
    "a place with a command": (
        _set("sysctl_places", to={"net.ipv4.tcp_rmem": ["/etc/sysctl.d/a.conf;id:1"]}),
        "",
    ),
    "an uptime of 31,000 years": (_set("exposure", "uptime_s", to=1e12), "uptime_s"),
    "a negative uptime": (_set("exposure", "uptime_s", to=-1.0), "uptime_s"),
    "negative aborts": (_set("exposure", "counters", "TCPAbortOnClose", to=-256), ""),
    "a run of a year": (_set("elapsed_s", to=3.2e7), "elapsed_s"),
    "a beginning in the year 2100": (_set("times", "began", 0, to=4.2e9), "began"),
    "no beginning": (lambda body: body["times"]["began"].pop(), "do not fit"),
    "a port too many": (lambda body: body["times"]["ports"].append(1), "do not fit"),
    "a step too many": (lambda body: body["times"]["steps"].append(1), "do not fit"),
    "headers of no connection": (
        lambda body: body["times"].update(headers=[[4000, "x"]]),
        "do not fit",
    ),
    "headers of 32,769 characters": (
        lambda body: body["times"].update(headers=[[0, "x" * 32769]]),
        "length",
    ),
    "1,001 trials as one": (_in_trial("count", 1001), "count"),
    "more trials than planned": (_in_trial("count", 1000), "were asked"),
    "101 trials": (
        lambda body: observation(body, "unread-close").update(
            trials=[trial(body, "unread-close")] * 101
        ),
        "length",
    ),
    "201 segments": (_in_trial("wire", [["peer", "S", 0, 0, 0]] * 201), "length"),
    "a segment of a stranger": (_segment(0, "stranger"), "stranger"),
    "flags of 13 letters": (_segment(1, "S" * 13), "length"),
    "a segment of 2 MB": (_segment(4, 1 << 21), ""),
    "65 steps": (_in_trial("steps", 65), "steps"),
    "an unknown step that failed": (_in_trial("failed_step", 9), "number the steps"),
    "an unknown counter of a trial": (_in_trial("kernel", {"x": 1}), "not asked for"),
    "an unknown queue": (_in_trial("queue", {"x": 1}), "not asked for"),
    "bytes of neither side": (_in_trial("bytes", {"x": 1}), "not asked for"),
    "state 14": (_peer("state", 14), "state"),
    "state -1": (_peer("state", -1), "state"),
    "17 results of recv": (_peer("recv", ["0"] * 17), "length"),
    "17 events": (_peer("poll", ["IN"] * 17), "length"),
    "an event of an unknown step": (_peer("poll_added", [[9, ["HUP"]]]), "tells of a step"),
    "an event of step 64": (_peer("poll_added", [[64, ["HUP"]]]), ""),
}

_OWN_ROW: dict[str, Callable[[Body], object]] = {
    "a script as the kernel": _set(
        "kernel", to=dict.fromkeys(("release", "version", "machine"), EVIL)
    ),
    "NUL in the kernel": _set("kernel", "release", to="6.1\x00.2"),
    "a script as the distribution": _set("os", to={"id": EVIL, "pretty_name": EVIL}),
    "a script as a note": _set("notes", to=[EVIL] * 50),
    "notes of 200 KB": _set("notes", to=["x" * 4096] * 50),
    "a script as a sysctl": _set("sysctls", "net.ipv4.tcp_x", to={"value": EVIL, "default": EVIL}),
    "a path as the machine id": _set("machine_id", to="../../../etc/passwd"),
    "a formula as the Python": _set("python", to="=HYPERLINK(1)"),
    "4,000 sysctls that fit": lambda body: body["sysctls"].update(
        {f"net.ipv4.tcp_{n}": {"value": str(n), "default": "x"} for n in range(4000)}
    ),
    "1,000 sysctls of 2,000 characters": lambda body: body["sysctls"].update(
        {
            f"net.ipv4.tcp_{n}": {"value": f"{n}" * 500, "default": "x" * 1000, "used": "y" * 1000}
            for n in range(1000)
        }
    ),
    "4,000 sysctls of 200 characters": lambda body: body["sysctls"].update(
        {f"net.ipv4.tcp_{n:0190}": {"value": "v" * 200} for n in range(4000)}
    ),
    "a billion aborts of one connection": lambda body: body["exposure"]["counters"].update(
        TCPAbortOnClose=10**9, ActiveOpens=1, PassiveOpens=0
    ),
    "counters of 2^63-1": lambda body: body["exposure"]["counters"].update(
        dict.fromkeys(body["exposure"]["counters"], 2**63 - 1)
    ),
    "unread sockets of 2^63-1": _set(
        "exposure", "unread_sockets", to=dict.fromkeys(("sockets", "bytes", "scanned"), 2**63 - 1)
    ),
    "no exposure": _set("exposure", to=None),
    "an uptime of 0": _set("exposure", "uptime_s", to=0),
    "a beginning in the year 2060": lambda body: body["times"].update(
        began=[2.84e9] * len(body["times"]["began"])
    ),
    "a beginning in 1970": lambda body: body["times"].update(
        began=[0] * len(body["times"]["began"])
    ),
    "times of eleven days": lambda body: body["times"].update(
        at=[10**12] * len(body["times"]["at"])
    ),
    "times before the beginning": lambda body: body["times"].update(
        at=[-(10**12)] * len(body["times"]["at"])
    ),
    "headers that do not expand": lambda body: body["times"].update(headers=[[0, "no zlib"]]),
    "headers that are a bomb": lambda body: body["times"].update(
        headers=[[0, base64.b64encode(_bomb(20 << 20)).decode()]]
    ),
    "unknown keys": lambda body: body.update(more={"x": [1, 2, 3]}, __class__="x"),
    "another machine id": _set("machine_id", to="0" * 32),
    "sequence numbers of 2^32-1": _segment(2, 2**32 - 1),
    "unknown flags": lambda body: trial(body, "late-data")["wire"].__setitem__(
        -1, [*trial(body, "late-data")["wire"][-1][:1], "xyz", 0, 0, 0]
    ),
}


def _duplicate_keys(genuine: Genuine) -> Iterator[Lie]:
    """Yields replies in which keys occur twice: the last one counts, everywhere."""
    for key, value, seen in (
        ("isolation", '"container"', "refused"),
        ("kernel", "7", "refused"),
        ("digest", '"0"', "refused"),
        ("python", '"3.9"', "own row"),
        ("exposure", "null", "own row"),
        ("observations", "[]", "refused"),
    ):
        yield Lie(f"the key {key} twice", partial(_twice, genuine, key, value), seen)


def _twice(genuine: Genuine, key: str, value: str) -> bytes:
    """Returns the reply with a second value of a key."""
    return result_line(genuine.line.rstrip()[:-1] + f',"{key}":{value}}}'.encode())


def _deep(genuine: Genuine) -> Iterator[Lie]:
    """Yields replies that nest 10,000 levels."""
    for opening, closing in (("[", "]"), ('{"x":', "}")):
        deep = opening * 10_000 + "1" + closing * 10_000
        for key in ("more", "observations", "sysctls", "times", "kernel", "notes"):
            name = f"{opening} 10,000 deep in {key}"
            yield Lie(name, partial(_nested, genuine, key, deep), "refused")


def _nested(genuine: Genuine, key: str, deep: str) -> bytes:
    """Returns the reply with this in the place of a value."""
    text = json.dumps(genuine.body | {key: "@deep@"}).replace('"@deep@"', deep)
    return result_line(text.encode())
