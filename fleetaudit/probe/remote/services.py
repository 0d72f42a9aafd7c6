"""Asks services of the host how they answer and close."""

from typing import Any, Dict, List


def ask_services(call):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """Returns what the reply has under "services"; `call["services"]` says what is asked."""
    problem = "asking services is not supported by this program"
    return [{"name": each["name"], "problem": problem} for each in call["services"]]
