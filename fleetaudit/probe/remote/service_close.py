"""How a service closes: a second request behind one that asks for the close, and one that it does
not understand.
"""

from typing import Any, Dict, Iterator

from .service_capture import ServiceCapture
from .service_client import ServiceClient, repeated
from .service_http import request_head
from .service_target import Target

CLOSE_S = 5.0  # of one try of "pipelined"
UNREAD_S = 2.0  # of one try of "unread request": one that is open then is not closed by it
PAYLOAD = b"\xff\xfefleetaudit: no request of any protocol\r\n\r\n"


def pipelined(service, target, capture, end):
    # type: (Dict[str, Any], Target, ServiceCapture, float) -> Iterator[Dict[str, Any]]
    """Yields what each try saw in which two requests go out at once, and the first asks the server
    to close.
    """
    first = request_head(target, "GET", "Connection: close")
    return exchanges(service["tries"], first + request_head(target, "GET"), target, capture, end)


def unread_request(service, target, capture, end):
    # type: (Dict[str, Any], Target, ServiceCapture, float) -> Iterator[Dict[str, Any]]
    """Yields what each try saw in which bytes are sent that the service need not understand."""
    data = service["payload"].encode("utf-8") or PAYLOAD
    return exchanges(service["tries"], data, target, capture, end, UNREAD_S)


def exchanges(tries, data, target, capture, end, seconds=CLOSE_S):
    # type: (int, bytes, Target, ServiceCapture, float, float) -> Iterator[Dict[str, Any]]
    """Yields what each try saw in which these bytes are sent and all that comes is read."""
    return repeated(tries, lambda most: exchange(data, target, capture, most), seconds, end)


def exchange(data, target, capture, seconds):
    # type: (bytes, Target, ServiceCapture, float) -> Dict[str, Any]
    """Returns what one try saw; raises CannotAsk."""
    client = ServiceClient(target, seconds, capture)
    try:
        sent = len(data) if client.send_all(data) else 0
        client.read_answer()
        seen = client.seen("", sent)
        if client.ending == "RST":
            seen["evidence"] = capture.evidence(target.port)
    finally:
        client.close()
    return seen
