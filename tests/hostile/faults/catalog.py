"""Every fault, with the stage and the words that are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from paramiko import common

from . import before_ssh, commands, messages
from .before_ssh import GREETING, HTTP, MEGABYTE, NOISE, leaves, repeats, says, trickles
from .fault import AUDITED, Fault, Says
from .server import Command, Do, Field, Raw, Script, message

KEXINIT, KEX_REPLY, NEWKEYS = common.MSG_KEXINIT, 31, common.MSG_NEWKEYS
SERVICE_ACCEPT = common.MSG_SERVICE_ACCEPT
REFUSED, LOGGED_IN = common.MSG_USERAUTH_FAILURE, common.MSG_USERAUTH_SUCCESS
OPENED, STARTED = common.MSG_CHANNEL_OPEN_SUCCESS, common.MSG_CHANNEL_SUCCESS

IGNORE = message(common.MSG_IGNORE, b"")
DEBUG = message(common.MSG_DEBUG, True, b"", b"")
UNIMPLEMENTED = message(common.MSG_UNIMPLEMENTED, 0)
KEEPALIVE = message(common.MSG_GLOBAL_REQUEST, b"keepalive@openssh.com", True)
ANSWER = message(common.MSG_REQUEST_SUCCESS)
CHANNEL_OPEN = message(common.MSG_CHANNEL_OPEN, b"session", 7, 1, 1)
BANNER = message(common.MSG_USERAUTH_BANNER, b"hello\n", b"")
UNKNOWN = message(192, b"what")
BYE = message(common.MSG_DISCONNECT, 11, b"go away", b"")


def _raw(name: str, play: Raw, words: str, openssh: str = "") -> Fault:
    """Returns a fault before SSH's greeting, or right after it."""
    said = Says("connect", (words,))
    return Fault(name, Script(raw=play), said, Says("connect", (openssh,)), said)


def before() -> Iterator[Fault]:
    """Yields servers that do not come to the key exchange."""
    dumb, late = "does not speak SSH", "no SSH greeting came"
    gone = "hung up before its SSH greeting"
    yield _raw("no banner", before_ssh.until_gone, late)
    yield _raw("banner: 10 MB in a line", says(b"SSH-2.0-" + b"x" * 10 * MEGABYTE), dumb)
    yield _raw("banner: 10 MB of lines before it", says(b"hello\r\n" * 1_500_000), dumb)
    yield _raw("banner: lines without end", repeats(b"x" * 100 + b"\r\n"), dumb)
    yield _raw("banner: empty lines without end", repeats(b"\n" * 1000), dumb)
    yield _raw("banner: one byte a second", trickles(b"SSH-2.0-slow" * 100, 1), late)
    yield _raw("banner: HTTP", says(HTTP), late)
    yield _raw("banner: HTTP, then FIN", leaves(HTTP), gone)
    yield _raw("banner: noise", says(NOISE * 300), dumb)
    yield _raw("banner: version 1", says(b"SSH-1.5-old\r\n"), "a different version of SSH")
    yield _raw("banner: not text", says(b"SSH-2.0-\xff\xfe\r\n"), dumb)
    yield _raw("banner: FIN at once", leaves(), gone)
    yield _raw("banner: RST at once", leaves(reset=True), gone)
    yield _raw("banner: half of one, then FIN", leaves(b"SSH-2.0-Op"), gone)
    yield _raw("after the banner: silence", says(GREETING), "stalled in the key exchange")
    yield _raw("after the banner: FIN", leaves(GREETING), "hung up in the key exchange")
    yield _raw("after the banner: garbage", says(GREETING, b"\x93garbage" * 500), "not valid SSH")
    yield _raw("after the banner: HTTP", says(GREETING, HTTP), "not valid SSH")
    yield _raw("after the banner: zeros", repeats(bytes(1000), GREETING), "not valid SSH")


def _kex(name: str, number: int, do: Do, words: str, openssh: str = "") -> Fault:
    """Returns a fault in the key exchange."""
    said = Says("connect", (words,))
    return Fault(name, Script(number=number, do=do), said, Says("connect", (openssh,)), said)


def key_exchange() -> Iterator[Fault]:
    """Yields servers that fail in the key exchange."""
    for what, number in (("KEXINIT", KEXINIT), ("its reply", KEX_REPLY)):
        yield _kex(f"kex, {what}: stall", number, messages.stall, "stalled in the key exchange")
        yield _kex(f"kex, {what}: FIN", number, messages.hang_up, "hung up in the key exchange")
        yield _kex(f"kex, {what}: RST", number, messages.reset, "hung up in the key exchange")
        yield _kex(
            f"kex, {what}: bye", number, messages.instead(BYE), "ended the key exchange: “go away”"
        )
        damages = {
            "the longest length": messages.longest,
            "a length of 0": messages.nothing,
            "noise": messages.noise,
        }
        for title, alter in damages.items():
            yield _kex(f"kex, {what}: {title}", number, messages.damaged(alter), "not valid SSH")
        yield _kex(
            f"kex, {what}: half of it",
            number,
            messages.changed(lambda data: data[: len(data) // 2]),
            "no acceptable" if number == KEXINIT else "not valid SSH",
        )
        yield _kex(f"kex, {what}: unknown message", number, messages.instead(UNKNOWN), "not valid")
    yield _kex("kex: flood of ignore", KEX_REPLY, messages.flood(IGNORE), "strict key exchange")
    # A strict key exchange allows none of them, so that OpenSSH says so as well.
    yield _kex(
        "kex: no method in common",
        KEXINIT,
        messages.changed(_with_methods(b"diffie-hellman-group1-sha1")),
        "it offers the key exchanges diffie-hellman-group1-sha1",
        "Unable to negotiate",
    )
    names = messages.changed(_with_methods(b"x," * 100_000))
    yield _kex("kex: 200 KB of names", KEXINIT, names, "it offers")
    yield _kex(
        "kex: wrong signature",
        KEX_REPLY,
        messages.changed(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        "signature",
    )
    yield _kex(
        "kex: a point of zeros",
        KEX_REPLY,
        messages.changed(_without_point),
        "not valid SSH",
    )


def _with_methods(names: bytes) -> Callable[[bytes], bytes]:
    """Returns what replaces the first list of a KEXINIT."""

    def change(data: bytes) -> bytes:
        length = int.from_bytes(data[17:21], "big")
        return data[:17] + len(names).to_bytes(4, "big") + names + data[21 + length :]

    return change


def _without_point(data: bytes) -> bytes:
    """Returns a reply of the key exchange whose public value is 0."""
    key = int.from_bytes(data[1:5], "big")
    begin = 5 + key + 4
    return data[:begin] + bytes(32) + data[begin + 32 :]


def _login(name: str, script: Script, words: str, openssh: str = "", **login: str) -> Fault:
    """Returns a fault of the login."""
    said = Says("authenticate", (words,))
    jump = None if login else said
    return Fault(name, script, said, Says("authenticate", (openssh,)), jump, login)


def _at(number: int, do: Do) -> Script:
    """Returns what does something at the first message of a number."""
    return Script(number=number, do=do)


def authentication() -> Iterator[Fault]:
    """Yields servers that fail in the login."""
    stalled, gone = "stalled while", "hung up while"
    for what, number in (("the service", SERVICE_ACCEPT), ("success", LOGGED_IN)):
        at = partial(_at, number)
        yield _login(f"login, {what}: FIN", at(messages.hang_up), gone)
        yield _login(f"login, {what}: RST", at(messages.reset), gone)
        yield _login(f"login, {what}: bye", at(messages.instead(BYE)), "go away")
        yield _login(f"login, {what}: unknown message", at(messages.instead(UNKNOWN)), "not valid")
        yield _login(
            f"login, {what}: wrong MAC", at(messages.damaged(messages.last_byte)), "damaged"
        )
        longest = at(messages.damaged(messages.longest))
        yield _login(f"login, {what}: the longest length", longest, "a packet of")
    at = partial(_at, LOGGED_IN)
    yield _login("login, success: stall", at(messages.stall), stalled)
    service = Script(number=SERVICE_ACCEPT, do=messages.stall)
    yield _login("login, the service: stall", service, stalled)
    refusal = Script(number=REFUSED, do=messages.stall, proof=common.AUTH_FAILED)
    yield _login("login, refusal: stall", refusal, stalled)
    yield _login("login: refused", Script(proof=common.AUTH_FAILED), "key")
    accepted = Script(proof=common.AUTH_PARTIALLY_SUCCESSFUL)
    yield _login("login: one more proof, without end", accepted, "also requires")
    yield _login(
        "login: methods without end",
        Script(proof=common.AUTH_PARTIALLY_SUCCESSFUL, methods=",".join(["publickey"] * 20_000)),
        "also requires",
    )
    yield _login("login: refusals without end", at(messages.flood(message(51, "x", False))), "")
    yield _login(
        "login: questions without end",
        Script(methods="keyboard-interactive", proof=common.AUTH_FAILED, asks=True),
        "messages without end",
        password="secret",
    )
    yield _login("login: half a success of key", at(messages.instead(message(60))), "")
    flooded = "messages without content"
    yield from first_sealed()
    floods = {
        "ignore": IGNORE,
        "debug": DEBUG,
        "keepalive": KEEPALIVE,
        "unimplemented": UNIMPLEMENTED,
        "answers": ANSWER,
        "channel-open": CHANNEL_OPEN,
        "banner": BANNER,
    }
    for title, one in floods.items():
        yield _login(f"login: flood of {title}", at(messages.flood(one)), flooded)


def first_sealed() -> Iterator[Fault]:
    """Yields servers that fail at the messages between the key exchange and the login."""
    for what, number in (("NEWKEYS", NEWKEYS), ("extensions", common.MSG_EXT_INFO)):
        at = partial(_at, number)
        yield _first(f"login, {what}: stall", at(messages.stall), "stalled while")
        yield _first(f"login, {what}: FIN", at(messages.hang_up), "hung up while")
        yield _first(f"login, {what}: RST", at(messages.reset), "hung up while")
        yield _first(f"login, {what}: noise", at(messages.damaged(messages.noise)), "not valid SSH")
        yield _first(f"login, {what}: unknown message", at(messages.instead(UNKNOWN)), "not valid")


def _first(name: str, script: Script, words: str) -> Fault:
    """Returns a fault that OpenSSH meets before its login begins, and the built-in client, which
    does not wait, in it.
    """
    said = Says("authenticate", (words,))
    return Fault(name, script, said, Says("authenticate", or_stage="connect"), said)


SEALS = {
    "CTR": ("aes128-ctr", "hmac-sha2-256"),
    "CTR, MAC last": ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
}


def other_ciphers() -> Iterator[Fault]:
    """Yields servers that damage what they send, with ciphers that have a MAC of their own."""
    damages = {
        "wrong MAC": (messages.last_byte, "(MAC) is wrong"),
        "another byte": (messages.middle, "(MAC) is wrong"),
        "the longest length": (messages.longest, ""),
        "a long length": (messages.long_packet, ""),
        "noise": (messages.noise, ""),
    }
    for seal, names in SEALS.items():
        for title, (alter, words) in damages.items():
            script = Script(
                number=STARTED,
                do=messages.damaged(alter),
                command=commands.says_nothing,
                sealed_by=names,
            )
            name = f"exec, {seal}: {title}"
            yield Fault(name, script, Says("execute", (words,)), Says("execute"), None)


def first_data() -> Iterator[Fault]:
    """Yields servers that fail at the first data of a channel: of a command or of a tunnel."""
    data = common.MSG_CHANNEL_DATA
    flooded = "messages without content"
    stall = _channel("data: stall", data, messages.stall, "", "no SSH greeting came")
    # It may come before the answer to the request, or after it.
    late = ("in time", "did not answer the request to run the command")
    yield replace(stall, says=Says("execute", late))
    yield _channel("data: FIN", data, messages.hang_up, "broke off", "hung up before its SSH")
    yield _channel("data: bye", data, messages.instead(BYE), "go away", "go away")
    yield _channel("data: flood of ignore", data, messages.flood(IGNORE), flooded, flooded)
    yield _channel("data: flood of keepalive", data, messages.flood(KEEPALIVE), flooded, flooded)
    last_byte = messages.damaged(messages.last_byte)
    yield _channel("data: wrong MAC", data, last_byte, "damaged", "damaged")
    yield _channel("data: unknown message", data, messages.instead(UNKNOWN), "192", "192")


def _channel(name: str, number: int, do: Do, words: str, jump: str, openssh: str = "") -> Fault:
    """Returns a fault of the opening of a channel."""
    said = Says("execute", (words,))
    of_jump = Says("connect", (jump,)) if jump else None
    # What runs prints nothing: it would race with the answer.
    command = commands.says_nothing if number == STARTED else None
    script = Script(number=number, do=do, command=command)
    return Fault(name, script, said, Says("execute", (openssh,)), of_jump)


def channel() -> Iterator[Fault]:
    """Yields servers that fail at opening the channel, or at starting the command."""
    asked = "asked for 127.0.0.1"
    no_session = "did not answer the request to open a session"
    no_exec = "did not answer the request to run the command"
    yield _channel("channel: stall", OPENED, messages.stall, no_session, asked, no_session)
    yield _channel("channel: FIN", OPENED, messages.hang_up, "broke off", asked)
    yield _channel("channel: RST", OPENED, messages.reset, "broke off", asked)
    yield _channel("channel: bye", OPENED, messages.instead(BYE), "go away", asked)
    refusal = message(common.MSG_CHANNEL_OPEN_FAILURE, 0, 4, b"no room", b"")
    yield _channel("channel: refused", OPENED, messages.instead(refusal), "no room", "no room")
    other = message(OPENED, 99, 0, 1 << 20, 1 << 15)
    yield _channel("channel: another number", OPENED, messages.instead(other), no_session, asked)
    no_room, room = "takes no input", "jump host faulty: the host takes no input"
    shut = messages.instead(message(OPENED, 0, 0, 0, 1 << 15))
    yield _channel("channel: no window", OPENED, shut, no_room, room, no_room)
    tiny = message(OPENED, 0, 0, 1 << 20, 0)
    yield _channel("channel: packets of 0 bytes", OPENED, messages.instead(tiny), "at most 0", "")
    yield _channel("exec: stall", STARTED, messages.stall, no_exec, "", no_exec)
    yield _channel("exec: no answer, and no output", STARTED, messages.drop, no_exec, "")
    yield _channel("exec: FIN", STARTED, messages.hang_up, "broke off", "")
    yield _channel("exec: RST", STARTED, messages.reset, "broke off", "")
    refused = message(common.MSG_CHANNEL_FAILURE, 0)
    yield _channel("exec: refused", STARTED, messages.instead(refused), "refuses to run", "")
    yield _channel("exec: wrong MAC", STARTED, messages.damaged(messages.last_byte), "damaged", "")
    longest = messages.damaged(messages.longest)
    yield _channel("exec: the longest length", STARTED, longest, "a packet of", "")
    yield _channel("exec: unknown message", STARTED, messages.instead(UNKNOWN), "not valid", "")


def _command(
    name: str, play: Command, stage: str, words: str = "", openssh: str | None = None
) -> Fault:
    """Returns a fault of a command. `openssh` are words of its reason if that differs."""
    other = Says(stage, (words if openssh is None else openssh,))
    return Fault(name, Script(command=play), Says(stage, (words,)), other, None)


def ends() -> Iterator[Fault]:
    """Yields commands that end in odd ways."""
    no_end, not_begun = "did not end in time", "was not started in time"
    yield _command("end: no output, no end", commands.says_nothing, "execute", not_begun)
    yield _command("end: no status", commands.no_status, AUDITED)
    yield _command("end: EOF, and nothing else", commands.no_status_no_close, "execute", "no exit")
    yield _command("end: nothing", commands.nothing_at_the_end, "execute", no_end)
    yield _command("end: status before the data", commands.status_first, AUDITED)
    yield _command("end: no EOF", commands.no_eof, AUDITED)
    # OpenSSH waits for the close, as it does for a process in the background.
    left = Says("execute", ("CHANNEL_CLOSE",))
    alone = _command("end: status alone", commands.no_eof_no_close, AUDITED)
    yield replace(alone, openssh=left)
    yield _command("end: data after the status", commands.data_after_exit, AUDITED)
    endless = _command("end: data after the status, no end", commands.endless_after_exit, AUDITED)
    yield replace(endless, openssh=left)
    yield _command("end: data after the close", commands.data_after_close, AUDITED)
    yield _command("end: a signal", commands.signalled, "execute", "status 137", "status 255")
    yield _command(
        "end: close at once", commands.at_once("close"), "execute", "without running", "status 255"
    )
    yield _command("end: EOF at once", commands.at_once("eof"), "execute", "no exit")
    status = commands.at_once("status", "eof")
    yield _command("end: status 0 at once", status, "execute", "status 0", "CHANNEL_CLOSE")
    yield _command("end: half a reply, FIN", commands.half_then_hang_up, "execute", "broke off")
    yield _command("end: half a reply, stall", commands.half_then_stall, "execute", no_end)
    yield _command("end: half a reply, close", commands.half_then_close, "decode", "")


def output() -> Iterator[Fault]:
    """Yields commands that print too much."""
    more, far_more, late = "more on {} than is read", "far more", "in time"
    yield _command("output: 1 GB on stdout", commands.prints(1), "decode", more.format("stdout"))
    yield _command("output: 1 GB on stderr", commands.prints(2), "decode", more.format("stderr"))
    yield _command("output: 1 GB on both", commands.prints(1, 2), "decode", "than is read")
    yield _command(
        "output: 1 GB past the window", commands.prints(1, within=False), "decode", "than is read"
    )
    yield _command("output: 1 GB on stream 7", commands.other_streams, "execute", far_more, late)
    bytewise = commands.prints(1, piece=b"x")
    yield _command("output: bytes one by one", bytewise, "execute", far_more, late)
    yield _command("output: 8 MB of newlines", commands.reply_then(b"\n" * 8_000_000), "decode")
    before = commands.prints_first(b"\n" * 8_000_000)
    yield _command("output: 8 MB of newlines before the command", before, AUDITED)
    yield _command("output: 5 MB of [", commands.reply_then(b"[" * 5_000_000), "decode")
    yield _command(
        "output: a reply of 5 MB of [",
        commands.reply_then(b"fleetaudit-probe/1 " + b"[" * 5_000_000 + b"\n"),
        "decode",
    )


def floods() -> Iterator[Fault]:
    """Yields commands under which a host floods its client."""
    flooded, late = "messages without content", "in time"
    request = common.MSG_CHANNEL_REQUEST
    of_channel: dict[str, tuple[int, *tuple[Field, ...]]] = {
        "empty data": (common.MSG_CHANNEL_DATA, b""),
        "empty errors": (common.MSG_CHANNEL_EXTENDED_DATA, 1, b""),
        "window adjust": (common.MSG_CHANNEL_WINDOW_ADJUST, 1),
        "channel requests": (request, b"what@example.com", False),
        "exit statuses": (request, b"exit-status", False, 0),
        "EOF": (common.MSG_CHANNEL_EOF,),
        "exec answers": (common.MSG_CHANNEL_SUCCESS,),
    }
    for title, (number, *fields) in of_channel.items():
        yield _command(
            f"exec: flood of {title}",
            commands.without_end(number, fields),
            "execute",
            flooded,
            late,
        )
    others: dict[str, tuple[int, *tuple[Field, ...]]] = {
        "ignore": (common.MSG_IGNORE, b""),
        "debug": (common.MSG_DEBUG, False, b"", b""),
        "unimplemented": (common.MSG_UNIMPLEMENTED, 0),
        "keepalive": (common.MSG_GLOBAL_REQUEST, b"keepalive@openssh.com", True),
        "channel-open": (common.MSG_CHANNEL_OPEN, b"session", 7, 1, 1),
    }
    for title, (number, *fields) in others.items():
        play = commands.without_end(number, fields, channel=False)
        yield _command(f"exec: flood of {title}", play, "execute", flooded, late)
    keys = "key exchange"
    endless = _command("rekey: without end", commands.asks_for_keys(answers=True), "execute")
    # A server that is slow comes to no bound before the deadline.
    yield replace(endless, says=Says("execute", (keys, "in time")))
    yield _command("rekey: stall", commands.asks_for_keys(answers=False), "execute", keys)
    yield replace(
        _command("exec: a byte of window at a time", commands.tiny_window, "execute", flooded, ""),
        script=Script(
            command=commands.tiny_window,
            number=OPENED,
            do=messages.instead(message(OPENED, 0, 0, 1, 1 << 15)),
        ),
    )
    huge = commands.then(common.MSG_CHANNEL_WINDOW_ADJUST, 0xFFFFFFFF)
    yield _command("exec: a window of 4 GB, and no end", huge, "execute", late, "overflows")
    other = commands.then(common.MSG_CHANNEL_DATA)
    yield _command("exec: data without a field", other, "execute", late, "incomplete message")


def faults() -> tuple[Fault, ...]:
    """Returns every fault."""
    kinds = (
        before,
        key_exchange,
        authentication,
        channel,
        first_data,
        other_ciphers,
        ends,
        output,
        floods,
    )
    return tuple(fault for kind in kinds for fault in kind())


RUNS_WELL = Fault("runs well", Script(), Says(AUDITED), Says(AUDITED), Says(AUDITED))
