"""Exceptions of the probe, and the text of any exception."""

import errno
import os

from .constants import ERRORS


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


def number_of(error):
    """Returns the errno of an exception, 0 where it has none."""
    number = getattr(error, "errno", None) or (error.args[0] if error.args else 0)
    return number if isinstance(number, int) else 0


def name_of(error):
    """Returns an errno's name ("ECONNRESET") for a number or an exception, else the exception's own name."""
    number = error if isinstance(error, int) else number_of(error)
    return errno.errorcode.get(number) or (
        str(number) if isinstance(error, int) else type(error).__name__
    )


def would_block(error):
    """Returns whether an exception is EAGAIN."""
    return number_of(error) in (errno.EAGAIN, errno.EWOULDBLOCK)


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
