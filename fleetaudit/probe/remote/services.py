"""Asks services of the host how they answer and close."""

from typing import Any, Dict, List

from .service_listener import listener_of


def ask_services(call):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """Returns what the reply has under "services"; `call["services"]` says what is asked."""
    return [ask_service(each) for each in call["services"]]


def ask_service(service):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns what is known of one service."""
    result = {"name": service["name"], "problem": "asking services is not supported yet"}
    result.update(listener_of(service["address"], service["port"]))
    return result
