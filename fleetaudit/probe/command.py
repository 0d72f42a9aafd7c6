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
# not by `command -v`, because some are shims that fail; if none works, what the first one that is
# there printed goes to stderr. /dev/null is not needed: some hosts have none, or a broken one.
# `cd /`, -E and -s keep stray modules and PYTHON* variables out; -B writes no bytecode into the
# standard library.
COMMAND = (
    f'/bin/sh -c \'cd /; echo "{SHELL_MARK}$(id -u) $(id -un)"; '
    'read -r m w; case "$w" in "~/"*) w="$HOME/${w#??}";; esac; '
    'run() { e=$("$@" -B -E -s -c "" <&- 2>&1) && exec "$@" -B -E -s -; }; '
    f'test -z "$w" || run "$w" || {{ set -f; run $w; }} || echo "{PYTHON_MARK}$?"; set +f; '
    "for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    'python2.7 python2 python /usr/libexec/platform-python; do run "$p"; '
    'case $(command -v "$p") in /*) f=${f:-"$p: $e"};; esac; done; '
    f'test -z "$f" || echo "$f" >&2; exit {NO_PYTHON}\''
)
