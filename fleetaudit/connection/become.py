"""As whom the probe runs on a host: Ansible's become settings of it, from its variables, the
command line, ansible.cfg.

Rules: as in Ansible, a method's own spelling (ansible_sudo_user) beats the common one, and who logs
in as the wanted user needs nothing. What would change how or as whom the probe runs and is not
honoured makes the host not audited.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, get_args

from fleetaudit.model import Become, BecomeMethod

from .variables import CannotReachError, Variables

if TYPE_CHECKING:
    from .target import ConnectionOptions

_METHODS: dict[str, BecomeMethod] = {method: method for method in get_args(BecomeMethod)}
_PREFIXES = ("ansible.builtin.", "ansible.legacy.", "community.general.")
_ASKED_ANYWAY = {"sudo": set("HSn"), "doas": set("n")}
# What su(1) does with the environment and which shell it takes. Not -P: a terminal would change
# what the program reads.
_FLAGS_OF_SU = re.compile(r"-|--login|--preserve-environment|--fast|-[lmpf]+|--shell=.+|-s.+")
_SHELL_OF_SU = ("-s", "--shell")
_COMMON = ("user", "exe", "flags", "password", "pass", "method")


def resolve_become(
    variables: Variables, options: ConnectionOptions, user: str | None
) -> Become | None:
    """Returns as whom the probe is to run for one who logs in as `user`, None where that is the
    one.

    Raises `CannotReachError`; `InputError` for a value of a wrong type.
    """
    settings = options.settings
    if not wants_become(variables, options):
        return None
    method = _method(variables, options)
    _refuse_others(variables, method)
    become_user = (
        variables.text(("ansible_become_user", f"ansible_{method}_user"))
        or options.become_user
        or settings.become_user
        or "root"
    )
    if become_user == user and not settings.become_allow_same_user:
        return None
    return Become(
        method=method,
        user=become_user,
        program=variables.text(("ansible_become_exe", f"ansible_{method}_exe"))
        or settings.become_exe
        or "",
        flags=_flags_of_su(variables) if method == "su" else (),
        password=variables.password(
            ("ansible_become_password", "ansible_become_pass", f"ansible_{method}_pass"),
            options.become_password,
        ),
    )


def wants_become(variables: Variables, options: ConnectionOptions) -> bool:
    """Returns whether the probe runs as another user than the login user."""
    name = "ansible_become"
    return (
        variables.truth(name)
        if variables.is_set(name)
        else options.become or bool(options.settings.become)
    )


def flags_are_redundant(flags: str, method: BecomeMethod) -> bool:
    """Returns whether these flags only ask for what fleetaudit does anyway."""
    return method in _ASKED_ANYWAY and not _first_flag(flags, method)


def _method(variables: Variables, options: ConnectionOptions) -> BecomeMethod:
    said = (
        variables.text(("ansible_become_method",))
        or options.become_method
        or options.settings.become_method
    )
    said = said or "sudo"
    for prefix in _PREFIXES:
        said = said.removeprefix(prefix)
    if said in _METHODS:
        return _METHODS[said]
    name = "ansible_become_method"
    in_settings = f"become_method in {options.settings.origins.get('become_method', 'ansible.cfg')}"
    where = f"{name} in {variables.origin(name)}" if variables.is_set(name) else in_settings
    raise CannotReachError(
        f"{where} is not supported; expected sudo, doas or su",
        "set ansible_become_method: sudo",
        "become",
    )


def _refuse_others(variables: Variables, method: BecomeMethod) -> None:
    """Raises where a setting about becoming is none that is honoured: one misspelt, one of another
    method's.
    """
    known = {
        "ansible_become",
        *(f"ansible_{of}_{what}" for of in ("become", method) for what in _COMMON),
    }
    for name in variables.host.variables:
        if (
            name.startswith(("ansible_become", f"ansible_{method}_"))
            and name not in known
            and variables.is_set(name)
        ):
            raise CannotReachError(
                f"{name} in {variables.origin(name)} is not honoured", "leave it out", "become"
            )
    for name in _names_of_flags(method) if method != "su" else ():
        if variables.is_set(name) and (word := _first_flag(variables.text((name,)) or "", method)):
            raise _not_honoured(variables, name, word, method)


def _names_of_flags(method: str) -> tuple[str, str]:
    return "ansible_become_flags", f"ansible_{method}_flags"


def _flags_of_su(variables: Variables) -> tuple[str, ...]:
    """Returns the flags before the user's name; raises `CannotReachError` for a flag that is not
    supported.
    """
    names = _names_of_flags("su")
    name = next((name for name in reversed(names) if variables.is_set(name)), names[0])
    try:
        words = shlex.split(variables.text((name,)) or "")
    except ValueError:
        raise _not_honoured(variables, name, "an unclosed quotation", "su") from None
    after_shell = False
    for word in words:
        if not after_shell and word not in _SHELL_OF_SU and not _FLAGS_OF_SU.fullmatch(word):
            raise _not_honoured(
                variables,
                name,
                word[:2] if word.startswith("-") else "a word that is not an option",
                "su",
            )
        after_shell = not after_shell and word in _SHELL_OF_SU
    return tuple(words)


def _not_honoured(variables: Variables, name: str, word: str, method: str) -> CannotReachError:
    return CannotReachError(
        f"{name} in {variables.origin(name)} is not honoured: {word}",
        f"leave it out: the probe needs no more than {method} does by itself",
        "become",
    )


def _first_flag(flags: str, method: str) -> str:
    try:
        words = shlex.split(flags)
    except ValueError:
        return "an unclosed quotation"
    for word in words:
        if (
            not word.startswith("-")
            or word.startswith("--")
            or not set(word[1:]) <= _ASKED_ANYWAY[method]
        ):
            return (
                word[:2]
                if word.startswith("-") and not word.startswith("--")
                else "a word that is no short flag"
            )
    return ""
