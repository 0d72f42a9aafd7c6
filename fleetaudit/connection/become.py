"""The user that the probe runs as: Ansible's become settings of a host. No I/O.

They come from its variables, the command line and ansible.cfg. Rules: as in Ansible, a method's own
spelling (ansible_sudo_user) overrides the common one, and a login as that user needs nothing. A
setting that would change how or as whom the probe runs, and is not supported, makes the host not
audited.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import get_args

from fleetaudit.model import Become, BecomeMethod

from .options import ConnectionOptions
from .shell_words import UnsupportedArgumentError, describe_word, split_words
from .variables import CannotReachError, Variables, first_set_or

_METHODS: dict[str, BecomeMethod] = {method: method for method in get_args(BecomeMethod)}
_PREFIXES = re.compile(r"^(?:ansible\.builtin\.)?(?:ansible\.legacy\.)?(?:community\.general\.)?")
# Flags that ask for what is done anyway.
_REDUNDANT_FLAGS = {"sudo": frozenset("HSn"), "doas": frozenset("n")}
# What su(1) does with the environment and which shell it takes. Not -P: a terminal would change
# what the program reads.
_FLAGS_OF_SU = re.compile(r"-|--login|--preserve-environment|--fast|-[lmpf]+|--shell=.+|-s.+")
_SHELL_OF_SU = ("-s", "--shell")
_DEFAULT_METHOD, _DEFAULT_USER = "sudo", "root"
_SUFFIXES = ("user", "exe", "flags", "password", "pass", "method")
_SHORT_FLAGS = re.compile(r"-(?:[^-].*)?", re.DOTALL)


def resolve_become(
    variables: Variables, options: ConnectionOptions, user: str | None
) -> Become | None:
    """Returns how the probe becomes another user after a login as `user`; None if it does not.

    `user` is None if the login name is not known, as on this machine. For each field the order is:
    variables, the command line, ansible.cfg, Ansible's default (sudo to root). With the login user
    as the user to become nothing is done, unless ansible.cfg says `become_allow_same_user`. Raises
    `CannotReachError` for a method, flag or variable that is not supported, and `InputError` for a
    value of a wrong type. Ansible: "Understanding privilege escalation: become", and the options of
    the become plugins sudo, su and community.general.doas.
    """
    if not wants_become(variables, options):
        return None
    settings = options.settings
    method = _method(variables, options)
    _check_variables(variables, method)
    own_user = variables.text("ansible_become_user", f"ansible_{method}_user")
    become_user = first_set_or(_DEFAULT_USER, own_user, options.become_user, settings.become_user)
    if become_user == user and not settings.become_allow_same_user:
        return None
    own_program = variables.text("ansible_become_exe", f"ansible_{method}_exe")
    passwords = ("ansible_become_password", "ansible_become_pass", f"ansible_{method}_pass")
    return Become(
        method=method,
        user=become_user,
        program=first_set_or("", own_program, settings.become_exe),
        flags=_flags_of(variables, method),
        password=variables.password(passwords, options.become_password),
    )


def wants_become(variables: Variables, options: ConnectionOptions) -> bool:
    """Returns whether the probe is to run as another user than the login user.

    A variable (`ansible_become`) overrides the command line (-b), and that ansible.cfg, also where
    it says no. Raises `InputError` for a variable that is neither yes nor no.
    """
    if variables.is_set("ansible_become"):
        return variables.truth("ansible_become")
    return options.become or bool(options.settings.become)


def flags_are_redundant(flags: str, method: BecomeMethod) -> bool:
    """Returns whether these flags only ask for what fleetaudit does anyway.

    `flags` are those of become_flags in ansible.cfg, as words for a shell. Flags of su never are:
    they are passed on.
    """
    if method not in _REDUNDANT_FLAGS:
        return False
    try:
        _check_redundant(split_words(flags), method)
    except UnsupportedArgumentError:
        return False
    return True


def _method(variables: Variables, options: ConnectionOptions) -> BecomeMethod:
    """Returns the become method; sudo if nothing names one.

    A name may have the prefix of its collection, such as community.general.doas. Raises
    `CannotReachError` for a method that is not supported, at the place that names it.
    """
    name, settings = "ansible_become_method", options.settings
    written = first_set_or(
        _DEFAULT_METHOD, variables.text(name), options.become_method, settings.become_method
    )
    method = _METHODS.get(_PREFIXES.sub("", written))
    if method:
        return method
    if variables.is_set(name):
        where = f"{name} in {variables.origin(name)}"
    else:
        where = f"become_method in {settings.origins.get('become_method', 'ansible.cfg')}"
    raise CannotReachError(
        f"{where} is not supported; expected sudo, doas or su",
        "set ansible_become_method: sudo",
        "become",
    )


def _check_variables(variables: Variables, method: BecomeMethod) -> None:
    """Raises `CannotReachError` for a variable about becoming that is not supported.

    It may be misspelt, or ask for something that fleetaudit does not do.
    """
    for name in _unknown_variables(variables, method):
        if variables.is_set(name):
            origin = variables.origin(name)
            raise CannotReachError(f"{name} in {origin} is not supported", "leave it out", "become")
    if method != "su":
        _check_flags(variables, method)


def _check_flags(variables: Variables, method: BecomeMethod) -> None:
    """Raises `CannotReachError` for a flag that asks for more than sudo or doas does anyway.

    -i, for example, would run the probe in a login shell, and -E would pass on the environment.
    """
    for name in filter(variables.is_set, _flags_variables(method)):
        try:
            _check_redundant(variables.words(name), method)
        except UnsupportedArgumentError as e:
            raise _unsupported_flag(variables, name, e, method) from None


def _unknown_variables(variables: Variables, method: BecomeMethod) -> Iterator[str]:
    """Yields the host's variables that look like ones about becoming and are unknown.

    Variables of another method are fine: Ansible does not read them either.
    """
    prefixes = ("ansible_become", f"ansible_{method}_")
    for name in variables.host.variables:
        if name.startswith(prefixes) and name not in _known_variables(method):
            yield name


@functools.cache
def _known_variables(method: BecomeMethod) -> frozenset[str]:
    """Returns the variables about becoming that are supported with this method."""
    spellings = itertools.product(("become", method), _SUFFIXES)
    return frozenset({"ansible_become", *(f"ansible_{of}_{what}" for of, what in spellings)})


def _flags_variables(method: str) -> tuple[str, str]:
    """Returns the variables with the flags of a method; the later one wins."""
    return "ansible_become_flags", f"ansible_{method}_flags"


def _flags_of(variables: Variables, method: BecomeMethod) -> tuple[str, ...]:
    """Returns the flags before the user's name: those of su; sudo and doas get none of the host's.

    Raises `CannotReachError` for a flag that is not supported.
    """
    if method != "su":
        return ()
    common, own = _flags_variables("su")
    name = own if variables.is_set(own) else common
    try:
        words = variables.words(name)
        _check_flags_of_su(words)
    except UnsupportedArgumentError as e:
        raise _unsupported_flag(variables, name, e, "su") from None
    return tuple(words)


def _check_flags_of_su(words: Iterable[str]) -> None:
    """Raises `UnsupportedArgumentError` for a flag of su that changes what it runs."""
    rest = iter(words)
    for word in rest:
        if word in _SHELL_OF_SU:
            next(rest, None)  # the shell itself, which may be any word
        elif not _FLAGS_OF_SU.fullmatch(word):
            raise UnsupportedArgumentError(describe_word(word))


def _check_redundant(words: Iterable[str], method: str) -> None:
    """Raises `UnsupportedArgumentError` for the first flag that asks for more than is done anyway.

    Short flags may be joined, as in -HSn.
    """
    for word in words:
        if not _SHORT_FLAGS.fullmatch(word):
            raise UnsupportedArgumentError("a word that is not a short flag")
        if not _REDUNDANT_FLAGS[method].issuperset(word[1:]):
            raise UnsupportedArgumentError(describe_word(word))


def _unsupported_flag(
    variables: Variables, name: str, problem: UnsupportedArgumentError, method: str
) -> CannotReachError:
    """Returns the error about a flag in the variable `name`."""
    return CannotReachError(
        f"{name} in {variables.origin(name)} is not supported: {problem}",
        f"leave it out: the probe needs no more than {method} does by itself",
        "become",
    )
