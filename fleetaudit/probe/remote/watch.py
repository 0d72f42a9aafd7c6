"""Watches which programs of the host reset their peers."""

from typing import Any, Dict


def watch_host(call):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns what the reply has under "watch"; `call["watch"]` says for how long."""
    problem = "watching for %s s is not supported by this program" % call["watch"]["seconds"]
    return {"problem": problem}
