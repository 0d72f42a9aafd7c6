"""A shell reads the quoted words of an ssh command as they were meant."""

from __future__ import annotations

import subprocess

from fleetaudit.transport.ssh_command import shell_join


def test_a_home_stays_for_the_shell_to_expand_and_the_rest_is_quoted() -> None:
    line = shell_join(["printf", "%s|", "~/a b", "$(x)", "~"])
    home = subprocess.run(
        ["/bin/sh", "-c", line], env={"HOME": "/h"}, capture_output=True, text=True, check=True
    )
    assert home.stdout == "/h/a b|$(x)|~|"
