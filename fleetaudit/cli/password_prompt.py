"""Asks for a password on the terminal.

Rules: no password is typed where it is shown; without a terminal the question is an error at once.
"""

from __future__ import annotations

import getpass
import os
import termios

from fleetaudit.errors import UsageError
from fleetaudit.model import Secret, core_dumps


def prompt_password(
    prompt: str, option: str, alternative: str, *, empty: Secret | None = None
) -> Secret:
    """Returns the password that somebody types, `empty` if that is nothing.

    `option` is the option that prompts, `alternative` the one that names a file instead. Raises
    `UsageError`.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as e:
        raise UsageError(
            f"{option} needs a terminal, and there is none:  {alternative} FILE"
        ) from e
    text = _read(prompt, option, alternative)
    if text:
        return Secret(text)
    if empty is None:
        raise UsageError(f"{option}: no password was given")
    return empty


def _read(prompt: str, option: str, alternative: str) -> str:
    """Returns the line that is typed, "" at the end of the input."""
    core_dumps.disable()
    try:
        return getpass.getpass(prompt)
    except EOFError:
        return ""
    except UnicodeDecodeError:
        # The error has in it what was typed, so it must not be a cause that a log could show.
        raise UsageError(
            f"{option}: what was typed is not valid text in this terminal's encoding"
        ) from None
    except (OSError, termios.error) as e:
        raise UsageError(
            f"{option} needs a terminal, and the terminal was closed:  {alternative} FILE"
        ) from e
