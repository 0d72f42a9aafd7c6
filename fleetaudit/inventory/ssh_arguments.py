"""Arguments for OpenSSH that inventories carry: which of them matter to a transport that is not OpenSSH, and what
OpenSSH itself is given of them. Pure.

Rules: what only tunes, keeps connections open, or loosens the check of host keys is let be: the command line alone
loosens that policy. Everything else might change where or as whom we connect, and is named.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

_FLAGS = frozenset(["-C", "-q", "-v", "-vv", "-vvv", "-T", "-t", "-tt", "-x", "-X", "-Y", "-A", "-a", "-n"])
_OPTIONS = frozenset(
    """
    addkeystoagent batchmode checkhostip compression connectionattempts connecttimeout controlmaster controlpath
    controlpersist escapechar forwardagent forwardx11 forwardx11trusted hashknownhosts ipqos loglevel rekeylimit
    requesttty serveralivecountmax serveraliveinterval stricthostkeychecking tcpkeepalive updatehostkeys
    userknownhostsfile globalknownhostsfile visualhostkey
    """.split()  # noqa: SIM905 — words are read more easily than a list
)
# Options of which one value asks for what is done anyway.
_AS_IT_IS = {
    ("gssapiauthentication", "no"),
    ("kbdinteractiveauthentication", "no"),
    ("passwordauthentication", "no"),
    ("preferredauthentications", "publickey"),
    ("pubkeyauthentication", "yes"),
    ("proxycommand", "none"),
    ("proxyjump", "none"),
}


def first_that_matters(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that must not be passed over, without its value; None: there is none.

    An argument that is no option is told as such and not repeated, because it may be a secret.
    """
    try:
        words = shlex.split(arguments)
    except ValueError:
        return "a quotation that does not end"
    rest = iter(words)
    for word in rest:
        if word in _FLAGS:
            continue
        if not word.startswith("-o"):
            return word[:2] if word.startswith("-") else "a word that is no option"
        name, _, value = (word[2:] or next(rest, "")).strip().replace("=", " ", 1).partition(" ")
        if name.lower() not in _OPTIONS and (name.lower(), value.strip().lower()) not in _AS_IT_IS:
            return f"-o {name}"[:40]
    return None


# ---- for OpenSSH ---------------------------------------------------------------------------------------------------

_WITH_VALUE = frozenset("bcDeFIiJLlmopRSw")
_WITHOUT = frozenset("46AaCgKkMXxYy")
_OURS = frozenset("qvtT")  # how much ssh tells and whether there is a terminal: the transport's own matter
_OTHER_USE = frozenset({"sessiontype", "stdinnull", "forkafterauthentication"})
_KNOWN_HOSTS = frozenset({"userknownhostsfile", "globalknownhostsfile"})


class Unfit(ValueError):
    """An argument that would make ssh do something else than run a command; the text never repeats a value."""


def for_openssh(arguments: str) -> tuple[str, ...]:
    """Returns `arguments` as words for ssh, each option apart from its value; raises `Unfit`.

    Left out: how much ssh tells, terminals, and /dev/null as known hosts, for the command line alone says how host keys
    are checked.
    """
    try:
        words = iter(shlex.split(arguments))
    except ValueError as e:
        raise Unfit("a quotation that does not end") from e
    return tuple(word for given in words for word in _taken(given, words))


def _taken(word: str, rest: Iterator[str]) -> Iterator[str]:
    if not word.startswith("-") or word.startswith("--") or word == "-":
        raise Unfit("a word that is no option")
    for at, letter in enumerate(word[1:], 2):
        if letter in _WITH_VALUE:
            value = word[at:] or next(rest, "")
            if not value:
                raise Unfit(f"-{letter} without its value")
            if letter != "o" or _fit(value):
                yield from (f"-{letter}", value)
            return
        if letter in _WITHOUT:
            yield f"-{letter}"
        elif letter not in _OURS:
            raise Unfit(f"-{letter}")


def _fit(option: str) -> bool:
    """Returns whether an option is to be given to ssh; raises `Unfit` where it would make ssh another program."""
    name, _, value = option.strip().replace("=", " ", 1).partition(" ")
    if name.lower() in _OTHER_USE:
        raise Unfit(f"-o {name}")
    return not (name.lower() in _KNOWN_HOSTS and value.strip() in ("/dev/null", "none"))


def beyond_paramiko(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that only ssh itself can follow, None where there is none."""
    return first_that_matters(arguments)
