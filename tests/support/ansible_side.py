"""Run as a program by a Python that has ansible-core: prints what ansible-inventory prints, one
call after another.

It imports Ansible once and forks for each command line, so that none sees the caches of another.
Each line of stdin is JSON, {"arguments": [...], "cwd": "..."}; each line of stdout too, {"status":
0, "stdout": "...", "stderr": "..."}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from typing import Any


def answer(command: type[Any], arguments: list[str], cwd: str) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                os.chdir(cwd)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                command(["ansible-inventory", *arguments]).run()
            except SystemExit as e:
                status = e.code if isinstance(e.code, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return {
            "status": status,
            "stdout": out.read().decode(),
            "stderr": err.read().decode("utf-8", "replace"),
        }


def main() -> None:
    command = importlib.import_module("ansible.cli.inventory").InventoryCLI  # it has no types
    for name in ("host_list", "script", "auto", "yaml", "ini", "toml"):
        importlib.import_module(
            f"ansible.plugins.inventory.{name}"
        )  # once, and not again in every fork
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(answer(command, case["arguments"], case["cwd"])), flush=True)


if __name__ == "__main__":
    main()
