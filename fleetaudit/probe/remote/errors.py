"""Exceptions of the probe, and messages of all exceptions."""

import errno
import os
from typing import Any, Callable, Sequence

from .constants import ERRORS


class TimeIsUp(BaseException):
    """The alarm rang. Not an Exception, so that no handler around a scenario catches it."""


class Unsupported(Exception):
    """What a scenario needs and this host lacks."""


class OutOfResources(Unsupported):
    """The host has what a scenario needs, and gives the probe too little of it."""


class StepFailed(Exception):
    """Why a step could not be carried out."""


class TimedOut(StepFailed):
    """What a step waited for did not come in time."""


def errno_of(error):
    # type: (BaseException) -> int
    """Returns the errno of an exception, 0 if it has none."""
    numbers = (getattr(error, "errno", None),) + error.args[:1]
    return next((number for number in numbers if isinstance(number, int)), 0)


def error_name(error):
    # type: (BaseException) -> str
    """Returns the name of an exception's errno, or of the exception if it has none."""
    return errno.errorcode.get(errno_of(error), type(error).__name__)


def would_block(error):
    # type: (BaseException) -> bool
    """Returns whether an exception is EAGAIN."""
    return errno_of(error) in (errno.EAGAIN, errno.EWOULDBLOCK)


def message_of(error):
    # type: (BaseException) -> str
    """Returns an exception in plain words, bounded: a file of /proc may have any text."""
    if isinstance(error, ERRORS) and errno_of(error):
        return os.strerror(errno_of(error))
    return str(error)[:1000] or type(error).__name__


def reason_of(error):
    # type: (BaseException) -> str
    """Returns why a step failed, with the name of the errno: "Broken pipe (EPIPE)"."""
    if isinstance(error, StepFailed) or not errno_of(error):
        return message_of(error)
    return "%s (%s)" % (message_of(error), error_name(error))


def unsupported(problem, error):
    # type: (str, BaseException) -> Unsupported
    """Returns an error that names its cause: "this kernel has no AF_UNIX (EAFNOSUPPORT)"."""
    return Unsupported("%s (%s)" % (problem, error_name(error)))


def unsupported_if(error, numbers, problem):
    # type: (BaseException, Sequence[int], str) -> BaseException
    """Returns `unsupported` if the errno is one of `numbers`, else the error itself."""
    return unsupported(problem, error) if errno_of(error) in numbers else error


def call_or(default, call, *arguments):
    # type: (Any, Callable[..., Any], *Any) -> Any
    """Returns what a call returns, or `default` if the system refuses it."""
    try:
        return call(*arguments)
    except ERRORS:
        return default
