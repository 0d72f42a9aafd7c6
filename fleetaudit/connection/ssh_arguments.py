"""Arguments for OpenSSH in inventories: which matter, and which only OpenSSH can follow. Pure.

Rules: what only tunes, keeps connections open, or loosens the check of host keys is ignored: the
command line alone loosens that policy. Everything else might change where or as whom we connect,
and is named in an error or passed on. No message repeats a value or a word that is not an option,
because it may be a secret.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from .shell_words import UnsupportedArgumentError, describe_word, split_words
from .ssh_keywords import (
    FOLLOWED,
    KNOWN_HOSTS_FILES,
    LOGIN_METHODS,
    OPENSSH_ONLY,
    OTHER_USES,
    TRUSTED_KEYS,
    TUNING,
    WITHOUT_EFFECT,
)

_IGNORED_FLAGS = frozenset("-C -q -v -vv -vvv -T -t -tt -x -X -Y -A -a -n".split())  # noqa: SIM905 — a list of words
_IGNORED_OPTIONS = TUNING | {"checkhostip"}
_NO_FILES = ("/dev/null", "none")
_FILES_OF_KEYS = KNOWN_HOSTS_FILES | {"revokedhostkeys"}
# Values that ask for what is done anyway.
_REDUNDANT = frozenset(
    [
        ("gssapiauthentication", "no"),
        ("pubkeyauthentication", "yes"),
        ("proxycommand", "none"),
        ("proxyjump", "none"),
        *((name, value) for name in _FILES_OF_KEYS for value in _NO_FILES),
        *(
            ("stricthostkeychecking", value)
            for value in ("no", "off", "false", "ask", "accept-new")
        ),
    ]
)
_REDUNDANT_WITHOUT_PASSWORD = frozenset(
    [
        ("kbdinteractiveauthentication", "no"),
        ("passwordauthentication", "no"),
        ("preferredauthentications", "publickey"),
    ]
)
# Letters of ssh's own options, by how they are treated.
_WITH_VALUE = frozenset("bcDeFIiJLlmopRSw")
_WITHOUT_VALUE = frozenset("46AaCgKkXxYy")
# Logging, terminals and the master connection (-M overrides ControlMaster=no): the transport sets
# these itself.
_LEFT_OUT = frozenset("qvtTM")
_PKCS11_AND_KERBEROS = frozenset({"-I", "-K"})
_SHORT_OPTIONS = re.compile(r"-[^-].*", re.DOTALL)
_MAX_NAME = 40
_NAMES_A_FILE = "-F"
_PROGRAMS = frozenset({"proxycommand", "localcommand", "knownhostscommand", "include", "match"})
"""Keywords of ssh_config whose value is a program, or a file that may name one."""


class _Option(NamedTuple):
    """What follows -o: the name as it is written, and the value."""

    name: str
    value: str

    @property
    def keyword(self) -> str:
        """The name in lower case, as ssh compares it."""
        return self.name.lower()

    @property
    def setting(self) -> tuple[str, str]:
        """The keyword and the value in lower case."""
        return self.keyword, self.value.lower()

    def __str__(self) -> str:
        return f"-o {self.name}"[:_MAX_NAME]


def _parse_option(text: str) -> _Option:
    """Returns the option in what follows -o: `Name=value` or `Name value`."""
    name, _, value = text.strip().replace("=", " ", 1).partition(" ")
    return _Option(name, value.strip())


@functools.lru_cache(maxsize=1024)  # most hosts have the same arguments
def first_significant_argument(arguments: str, *, password: bool = False) -> str | None:
    """Returns the first of OpenSSH's `arguments` that must not be ignored, without its value.

    `arguments` are words for a shell, as Ansible's ssh_args, ssh_common_args and ssh_extra_args are
    (documentation of the plugin ansible.builtin.ssh). `password` says whether there is a password
    that could be sent. Returns None if nothing matters, and the problem itself for an unclosed
    quotation; raises nothing.
    """
    try:
        words = split_words(arguments)
    except UnsupportedArgumentError as e:
        return str(e)
    return next(_significant_arguments(words, password=password), None)


def _significant_arguments(words: Iterable[str], *, password: bool) -> Iterator[str]:
    """Yields the arguments that must not be ignored, without their values."""
    rest = iter(words)
    for word in rest:
        if word.startswith("-o"):
            option = _parse_option(_value_in(word[2:], rest))
            if _is_significant(option, password=password):
                yield str(option)
        elif word not in _IGNORED_FLAGS:
            yield describe_word(word)


def _value_in(end_of_word: str, rest: Iterator[str]) -> str:
    """Returns the value of an option: the end of its word, else the next word; "" without any."""
    return end_of_word or next(rest, "")


def _is_significant(option: _Option, *, password: bool) -> bool:
    """Returns whether an option may change where or as whom we connect.

    With a password to send, an option that turns off password logins matters, too.
    """
    if option.keyword in _IGNORED_OPTIONS or option.setting in _REDUNDANT:
        return False
    return password or option.setting not in _REDUNDANT_WITHOUT_PASSWORD


@functools.lru_cache(maxsize=1024)
def openssh_arguments(arguments: str) -> tuple[str, ...]:
    """Returns `arguments` as words for ssh, each option apart from its value.

    Left out are logging, terminals, master connections (-M), and /dev/null as known hosts or as
    revoked keys: the command line alone says how host keys are checked. Letters that are joined are
    taken apart, so that each word is one option or one value. Raises `UnsupportedArgumentError` for
    a word that is no option, for an option that ssh(1) does not have or with which it would not run
    a command, for a missing value and for an unclosed quotation.
    """
    words = iter(split_words(arguments))
    accepted = list[str]()
    for word in words:
        accepted += _accepted_words(word, words)
    return tuple(accepted)


def _accepted_words(word: str, rest: Iterator[str]) -> Iterator[str]:
    """Yields what ssh gets of one word; `rest` are the words after it, for its value.

    Letters may be joined, as in -Cq; the value of the last one may be in the same word, as in -p22.
    Raises `UnsupportedArgumentError` for a letter that ssh does not know or that is not supported.
    """
    if not _SHORT_OPTIONS.fullmatch(word):
        raise UnsupportedArgumentError("a word that is not an option")
    for position, letter in enumerate(word[1:], 2):
        if letter in _WITH_VALUE:
            yield from _option_with_value(letter, _value_in(word[position:], rest))
            return
        if letter in _WITHOUT_VALUE:
            yield f"-{letter}"
        elif letter not in _LEFT_OUT:
            raise UnsupportedArgumentError(f"-{letter}")


def _option_with_value(letter: str, value: str) -> tuple[str, ...]:
    """Returns the two words of an option with its value, none for one that is left out.

    Raises `UnsupportedArgumentError` for a missing value, and for an option with which ssh would
    not run a command.
    """
    if not value:
        raise UnsupportedArgumentError(f"-{letter} without its value")
    if letter != "o":
        return f"-{letter}", value
    option = _parse_option(value)
    if option.keyword in OTHER_USES:
        raise UnsupportedArgumentError(f"-o {option.name}")
    if option.keyword in _FILES_OF_KEYS and option.value.strip('"').lower() in _NO_FILES:
        return ()
    return "-o", value


def _words_if_accepted(arguments: str) -> tuple[str, ...]:
    """Returns the words of `openssh_arguments`, () for arguments that it refuses."""
    try:
        return openssh_arguments(arguments)
    except UnsupportedArgumentError:
        return ()


@functools.lru_cache(maxsize=1024)
def first_openssh_only_argument(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that only ssh itself can follow.

    Without its value: hosts behind a smart card or Kerberos need it, and so do options that the
    built-in client does not know. Returns None without such an argument, and for arguments that
    `openssh_arguments` refuses: whoever passes them on reports them.
    """
    words = _words_if_accepted(arguments)
    return next(_openssh_only_arguments(words), None)


def _openssh_only_arguments(words: Iterable[str]) -> Iterator[str]:
    """Yields the arguments that only ssh itself can follow, without their values.

    `words` are those of `openssh_arguments`: a word is an option, and its value is the next one.
    """
    rest = iter(words)
    for word in rest:
        if word in _PKCS11_AND_KERBEROS:
            yield word
        elif word == "-o":
            yield from _openssh_only_option(next(rest))
        elif word[1:] in _WITH_VALUE:
            next(rest)


@functools.lru_cache(maxsize=1024)
def first_program_argument(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that names a program, without its value.

    -F counts, too, because its file may have a ProxyCommand or a Match exec. Returns None without
    such an argument, and for arguments that `openssh_arguments` refuses: whoever passes them on
    reports them.
    """
    words = _words_if_accepted(arguments)
    return next(_program_arguments(words), None)


def _program_arguments(words: Iterable[str]) -> Iterator[str]:
    """Yields the arguments that name a program, or a file that may name one.

    `words` are those of `openssh_arguments`, so each option and its value are apart.
    """
    rest = iter(words)
    for word in rest:
        value = next(rest) if word[1:] in _WITH_VALUE else ""
        option = _parse_option(value)
        if word == _NAMES_A_FILE and value not in _NO_FILES:
            yield word
        elif word == "-o" and option.keyword in _PROGRAMS and option.value.lower() != "none":
            yield str(option)


@functools.lru_cache(maxsize=1024)
def first_trust_argument(arguments: str) -> str | None:
    """Returns the first of OpenSSH's `arguments` that decides which host keys are trusted.

    Returns None without such an argument, and for arguments that `openssh_arguments` refuses.
    """
    words = _words_if_accepted(arguments)
    options = (_parse_option(value) for word, value in pairwise(words) if word == "-o")
    return next((str(option) for option in options if option.keyword in TRUSTED_KEYS), None)


def _openssh_only_option(text: str) -> Iterator[str]:
    """Yields the name of what follows -o, if the built-in client cannot do what it asks for."""
    option = _parse_option(text)
    if _is_openssh_only(option):
        yield str(option)


def _is_openssh_only(option: _Option) -> bool:
    """Returns whether the built-in client cannot do what an option asks for.

    An option that is in none of the tables is unknown, and so left to OpenSSH.
    """
    keyword, value = option.setting
    if keyword in OPENSSH_ONLY:
        return value not in ("no", "none")
    if keyword == "preferredauthentications":
        return not LOGIN_METHODS.keys() >= set(value.split(","))
    return keyword not in TUNING | WITHOUT_EFFECT | FOLLOWED
