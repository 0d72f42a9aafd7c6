"""The command that starts the probe on a host, and the lines that it prints before the reply.

The command is a constant, so that it can be a forced command or one sudoers line.
"""

from __future__ import annotations

import re

REPLY_MARK = b"fleetaudit-probe/1 "
"""The beginning of the line that is the reply."""
SHELL_MARK = "fleetaudit-shell/2 "
"""The beginning of the line that `COMMAND` prints first: the number of its user, a blank, and the
user's name follow. An earlier `COMMAND`, which may be a forced command somewhere, prints version 1:
it reads the Python program up to the end of its standard input and knows no other.
"""
PYTHON_MARK = "fleetaudit-python/1 "
"""The beginning of the line that `COMMAND` prints if the Python to try first does not work: its
exit status follows.
"""
NATIVE_MARK = "fleetaudit-native/1 "
"""The beginning of the line that `COMMAND` prints if it waits for a native program: what `uname -m`
prints, a blank, and the program that expands or copies what is sent.
"""
FOLDERS_MARK = "fleetaudit-folders/1 "
"""The beginning of the line that `COMMAND` prints if no folder will do for the native program: each
with a colon and the step that failed there.
"""
NATIVE_LINE = re.compile(
    rb"^"
    + re.escape(NATIVE_MARK.encode())
    + rb"(?P<machine>[^\r\n]{0,100}?)(?: (?P<tool>cat|gzip -dc))?\r?\n",
    re.MULTILINE,
)
"""That line. The machine may be anything that a program called `uname` prints."""
NO_PYTHON = 86
"""The exit status of `COMMAND` if no interpreter works."""
NO_FOLDER = 87
"""The exit status of `COMMAND` if no folder will do for the native program."""
CUT_SHORT = 88
"""The exit status of `COMMAND` if the native program did not arrive whole, or did not fit."""
ONLY_NATIVE = "#native"
"""The first word of standard input for a host on which no Python is to be tried."""
END_OF_PYTHON = "#end"
"""The last line of a Python program whose length the first word tells ("#54321")."""

# Which Python to try first is read from stdin, whose first line is a comment to Python. Ansible
# 2.19 takes it as one path, older versions as words for a shell. Interpreters are found by trying,
# not by `command -v`, because some are shims that fail; if none works, what the first one that is
# there printed goes to stderr. /dev/null is not needed: some hosts have none, or a broken one.
# `cd /`, -E and -s keep stray modules and PYTHON* variables out; -B writes no bytecode into the
# standard library. If the first word tells the length of the program, Python reads no further: a
# native program may follow, so the end of stdin comes late. Without a length it reads all.
_PYTHON = (
    'run() { e=$("$@" -B -E -s -c "" <&- 2>&1) && '
    'exec "$@" -B -E -s -c "import sys; exec(sys.stdin.read(${m#?}))"; }; '
    f'test -z "$w" || run "$w" || {{ set -f; run $w; }} || echo "{PYTHON_MARK}$?"; set +f; '
    "for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    'python2.7 python2 python /usr/libexec/platform-python; do run "$p"; '
    'case $(command -v "$p") in /*) f=${f:-"$p: $e"};; esac; done; '
    f'test -z "$f" || echo "$f" >&2; test "$m" = "#" && exit {NO_PYTHON}; '
    f'while read -r x; do case $x in "{END_OF_PYTHON}") break;; esac; done'
)
# The native program is a file only because nothing else can be executed. Its name, which contains
# a nonce, is removed before anything is in the file; from then on the file is /proc/self/fd/4. No
# writing descriptor is open when it is executed (ETXTBSY of execve(2)). `set -C` creates it only if
# there is nothing of that name, not even a link. Whether a folder allows execution and has room is
# found by trying: an empty script, and as many blanks. All of it happens in a subshell. Whichever
# of the two shells is killed, the other one removes the name. Neither could where no `rm` works or
# no process starts, so `rm` is tried before, with a name that does not exist.
_NATIVE = (
    'g=cat; test "$(echo 1 | gzip 2>&1 | gzip -dc 2>&1)" = 1 && g="gzip -dc"; '
    f'echo "{NATIVE_MARK}$(uname -m) $g"; read -r n s || exit {CUT_SHORT}; '
    'set -- /dev/shm /run /tmp /var/tmp "$HOME"; '
    '( umask 77; set -C; t=; v=; test -e /proc/self/fd || { v=" /proc:find"; set --; }; '
    'rm -f "/.fleetaudit-$n" || { v="$v rm:run"; set --; }; for d; do '
    't=create; f="$d/.fleetaudit-$n"; '
    '{ rm "$f" && exec 4</proc/self/fd/3 && chmod 700 /proc/self/fd/4; } 3>"$f" && '
    "t=execute && /proc/self/fd/4 && "
    't=fill && printf "%${s}s" "" >|/proc/self/fd/4 && t=done && break; v="$v $d:$t"; done; '
    f'test "$t" = done || {{ echo "{FOLDERS_MARK}${{v#?}}"; exit {NO_FOLDER}; }}; '
    '$g >|/proc/self/fd/4; test "$(wc -c </proc/self/fd/4)" -eq "$s" || '
    f"exit {CUT_SHORT}; exec /proc/self/fd/4 ); "
    'e=$?; for d; do test -e "$d/.fleetaudit-$n" && rm "$d/.fleetaudit-$n"; done; exit $e'
)
COMMAND = (
    f'/bin/sh -c \'cd /; echo "{SHELL_MARK}$(id -u) $(id -un)"; '
    'read -r m w; case "$w" in "~/"*) w="$HOME/${w#??}";; esac; '
    f'case $m in "{ONLY_NATIVE}") ;; *) {_PYTHON};; esac; {_NATIVE}\''
)
