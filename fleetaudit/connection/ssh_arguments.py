"""Arguments for OpenSSH that inventories carry: which of them matter to a transport that is not
OpenSSH, what OpenSSH itself is given of them, and what only it can follow. Pure.

Rules: what only tunes, keeps connections open, or loosens the check of host keys is let be: the
command line alone loosens that policy. Everything else might change where or as whom we connect,
and is named.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator

_FLAGS = frozenset(
    ["-C", "-q", "-v", "-vv", "-vvv", "-T", "-t", "-tt", "-x", "-X", "-Y", "-A", "-a", "-n"]
)
_OPTIONS = frozenset(
    [
        "addkeystoagent",
        "batchmode",
        "checkhostip",
        "compression",
        "connectionattempts",
        "controlmaster",
        "controlpath",
        "controlpersist",
        "escapechar",
        "forwardagent",
        "forwardx11",
        "forwardx11trusted",
        "hashknownhosts",
        "ipqos",
        "loglevel",
        "rekeylimit",
        "requesttty",
        "tcpkeepalive",
        "updatehostkeys",
        "visualhostkey",
    ]
)
# Options of which one value asks for what is done anyway.
_AS_IT_IS = {
    ("gssapiauthentication", "no"),
    ("pubkeyauthentication", "yes"),
    ("proxycommand", "none"),
    ("proxyjump", "none"),
    *(
        (name, value)
        for name in ("userknownhostsfile", "globalknownhostsfile")
        for value in ("/dev/null", "none")
    ),
    *(("stricthostkeychecking", value) for value in ("no", "off", "false", "ask", "accept-new")),
}

# Without a password these do, too.
_NO_PASSWORD = {
    ("kbdinteractiveauthentication", "no"),
    ("passwordauthentication", "no"),
    ("preferredauthentications", "publickey"),
}


@functools.lru_cache(maxsize=1024)  # most hosts share theirs
def first_significant_argument(arguments: str, *, password: bool = False) -> str | None:
    """Returns the first of OpenSSH's `arguments` that must not be passed over, without its value;
    None: there is none.

    `password` says whether there is one that could be sent. An argument that is no option is told
    as such and not repeated, because it may be a secret.
    """
    try:
        words = shlex.split(arguments)
    except ValueError:
        return "an unclosed quotation"
    rest = iter(words)
    for word in rest:
        if word in _FLAGS:
            continue
        if not word.startswith("-o"):
            return word[:2] if word.startswith("-") else "a word that is no option"
        name, value = _named(word[2:] or next(rest, ""))
        said = (name.lower(), value.lower())
        as_it_is = said in _AS_IT_IS or (said in _NO_PASSWORD and not password)
        if name.lower() not in _OPTIONS and not as_it_is:
            return f"-o {name}"[:40]
    return None


def _named(option: str) -> tuple[str, str]:
    """Returns the name and the value of what follows -o."""
    name, _, value = option.strip().replace("=", " ", 1).partition(" ")
    return name, value.strip()


# ---- for OpenSSH

_WITH_VALUE = frozenset("bcDeFIiJLlmopRSw")
_WITHOUT = frozenset("46AaCgKkXxYy")
# How much ssh tells, whether there is a terminal, and whether it makes a master connection (-M goes
# above ControlMaster=no): the transport's own matter.
_OURS = frozenset("qvtTM")
_OTHER_USE = frozenset({"sessiontype", "stdinnull", "forkafterauthentication"})
_KNOWN_HOSTS = frozenset({"userknownhostsfile", "globalknownhostsfile"})


class UnsupportedArgumentError(ValueError):
    """An argument that would make ssh do something else than run a command; the text never repeats
    a value.
    """


@functools.lru_cache(maxsize=1024)
def openssh_arguments(arguments: str) -> tuple[str, ...]:
    """Returns `arguments` as words for ssh, each option apart from its value; raises `UnsupportedArgumentError`.

    Left out: how much ssh tells, terminals, master connections (-M), and /dev/null as known hosts,
    for the command line alone says how host keys are checked.
    """
    try:
        words = iter(shlex.split(arguments))
    except ValueError as e:
        raise UnsupportedArgumentError("an unclosed quotation") from e
    return tuple(word for given in words for word in _taken(given, words))


def _taken(word: str, rest: Iterator[str]) -> Iterator[str]:
    if not word.startswith("-") or word.startswith("--") or word == "-":
        raise UnsupportedArgumentError("a word that is no option")
    for at, letter in enumerate(word[1:], 2):
        if letter in _WITH_VALUE:
            value = word[at:] or next(rest, "")
            if not value:
                raise UnsupportedArgumentError(f"-{letter} without its value")
            if letter != "o" or _fit(value):
                yield from (f"-{letter}", value)
            return
        if letter in _WITHOUT:
            yield f"-{letter}"
        elif letter not in _OURS:
            raise UnsupportedArgumentError(f"-{letter}")


def _fit(option: str) -> bool:
    """Returns whether an option is to be given to ssh; raises `UnsupportedArgumentError` where it would make ssh
    another program.
    """
    name, value = _named(option)
    if name.lower() in _OTHER_USE:
        raise UnsupportedArgumentError(f"-o {name}")
    return not (name.lower() in _KNOWN_HOSTS and value in ("/dev/null", "none"))


# ---- for the built-in client

# What it follows, and what there is nothing to follow of: forwards and terminals are never asked
# for.
_FOLLOWED = _OPTIONS | frozenset(
    [
        "connecttimeout",
        "globalknownhostsfile",
        "serveralivecountmax",
        "serveraliveinterval",
        "stricthostkeychecking",
        "userknownhostsfile",
        "addressfamily",
        "bindaddress",
        "canonicaldomains",
        "canonicalizefallbacklocal",
        "canonicalizehostname",
        "canonicalizemaxdots",
        "canonicalizepermittedcnames",
        "certificatefile",
        "challengeresponseauthentication",
        "channeltimeout",
        "ciphers",
        "clearallforwardings",
        "dynamicforward",
        "enableescapecommandline",
        "exitonforwardfailure",
        "fingerprinthash",
        "forwardx11timeout",
        "gatewayports",
        "hostkeyalgorithms",
        "hostkeyalias",
        "hostname",
        "identitiesonly",
        "identityagent",
        "identityfile",
        "ignoreunknown",
        "kbdinteractiveauthentication",
        "kexalgorithms",
        "localcommand",
        "localforward",
        "logverbose",
        "macs",
        "nohostauthenticationforlocalhost",
        "numberofpasswordprompts",
        "passwordauthentication",
        "permitlocalcommand",
        "permitremoteopen",
        "port",
        "proxycommand",
        "proxyjump",
        "pubkeyauthentication",
        "remotecommand",
        "remoteforward",
        "revokedhostkeys",
        "sendenv",
        "streamlocalbindmask",
        "streamlocalbindunlink",
        "syslogfacility",
        "tag",
        "tunnel",
        "tunneldevice",
        "user",
        "xauthlocation",
    ]
)
_NEVER = frozenset(
    [
        "gssapiauthentication",
        "gssapidelegatecredentials",
        "gssapikeyexchange",
        "gssapitrustdns",
        "hostbasedauthentication",
        "pkcs11provider",
        "proxyusefdpass",
        "verifyhostkeydns",
        "knownhostscommand",
    ]
)
"""Options that only OpenSSH can do, unless their value says that it is not to be done."""
_LETTERS = frozenset("IK")  # a PKCS#11 library, Kerberos
_METHODS = frozenset({"publickey", "password", "keyboard-interactive"})


@functools.lru_cache(maxsize=1024)
def first_openssh_only_argument(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that only ssh itself can follow, None where there
    is none.

    What `openssh_arguments` refuses is not judged here.
    """
    try:
        words = openssh_arguments(arguments)
    except UnsupportedArgumentError:
        return None
    rest = iter(words)
    for word in rest:
        if word[1:] in _LETTERS:
            return word
        if word[1:] in _WITH_VALUE and (option := next(rest)) and word == "-o" and _beyond(option):
            return f"-o {_named(option)[0]}"[:40]
    return None


def _beyond(option: str) -> bool:
    name, value = _named(option)
    if name.lower() in _NEVER:
        return value.lower() not in ("no", "none")
    if name.lower() == "preferredauthentications":
        return not set(value.lower().split(",")) <= _METHODS
    return name.lower() not in _FOLLOWED
