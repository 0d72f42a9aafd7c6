"""The command that starts the probe on a host, and the lines that it prints before the reply.

The command is a constant, so that it can be a forced command or one sudoers line.
"""

from __future__ import annotations

REPLY_MARK = b"fleetaudit-probe/1 "
"""The beginning of the line that is the reply."""
SHELL_MARK = "fleetaudit-shell/1 "
"""The beginning of the line that `COMMAND` prints first: the number of its user, a blank, and the
user's name follow.
"""
PYTHON_MARK = "fleetaudit-python/1 "
"""The beginning of the line that `COMMAND` prints if the Python to try first does not work: its
exit status follows.
"""
NO_PYTHON = 86
"""The exit status of `COMMAND` if no interpreter works."""

# Which Python to try first is read from stdin, whose first line is a comment to Python. Ansible
# 2.19 takes it as one path, older versions as words for a shell. Interpreters are found by trying,
# not by `command -v`, because some are shims that fail. `cd /`, -E and -s keep stray modules and
# PYTHON* variables out.
COMMAND = (
    f'/bin/sh -c \'cd /; echo "{SHELL_MARK}$(id -u) $(id -un)"; '
    'read -r m w; case "$w" in "~/"*) w="$HOME/${w#??}";; esac; '
    'run() { "$@" -E -s -c "" </dev/null >/dev/null 2>&1 && exec "$@" -E -s -; }; '
    f'test -z "$w" || run "$w" || {{ set -f; run $w; }} || echo "{PYTHON_MARK}$?"; set +f; '
    "for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    'python2.7 python2 python /usr/libexec/platform-python; do run "$p"; done; '
    f"exit {NO_PYTHON}'"
)
