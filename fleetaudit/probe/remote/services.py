"""Asks services of the host how they answer and close.

For the security review, what the probe does more if a playbook names services:

- It connects to these listeners, on addresses of the host itself: to no other host, whatever the
  call says, and it follows no redirect. Over TLS it verifies nothing and sends no secret.
- It sends the requests that `service_early.py`, `service_idle.py` and `service_close.py` have: a
  body of the size that the call says a few times, and small requests.
- It reads answers up to a bound, and the segments of these own connections if it may capture.
- It reads /proc for the executable and the unit of the program that listens.
"""

from typing import Any, Callable, Dict, Iterable, List, Optional

from .errors import reason_of
from .service_capture import ServiceCapture
from .service_close import pipelined, unread_request
from .service_early import early_answers
from .service_http import server_of
from .service_idle import IdleConnection, look_at, wait_idle
from .service_listener import listener_of
from .service_target import CannotAsk, Target
from .waiting import TIMEOUT, now

SERVICE_S = 60.0  # of one service, without its idle wait: SERVICE_BUDGET_S of model/service.py
RESERVE_S = 5.0  # what is left of the probe's time for what comes after
OF_HTTP = ("early answer", "pipelined")
CHECKS = {
    "early answer": early_answers,
    "pipelined": pipelined,
    "unread request": unread_request,
}
OUTCOME = ("writing", "status", "unread_status", "ending", "error")


class AskedService(object):
    """One service, and what is known of it so far."""

    def __init__(self, service):
        # type: (Dict[str, Any]) -> None
        self.service, self.server = service, ""
        self.target = None  # type: Optional[Target]
        self.refusal = {}  # type: Dict[str, str]
        self.checks = {}  # type: Dict[str, Dict[str, Any]]
        self.idle = None  # type: Optional[IdleConnection]
        self.result = {"name": service["name"]}  # type: Dict[str, Any]

    def ask(self, end):
        # type: (float) -> None
        """Does all checks except the idle wait. `end` is when the time is over."""
        try:
            self.target = target = Target(self.service)
        except Exception as e:
            self.refusal = problem_of(e)
            return
        capture = ServiceCapture(target.address)
        try:
            for name in filter(CHECKS.get, self.service["checks"]):
                self.checks[name] = {"check": name, "wire_note": capture.note}
                self.check(self.checks[name], target, capture, end)
        finally:
            capture.close()
        self.result.update(listener_of(target.address, target.port))

    def check(self, found, target, capture, end):
        # type: (Dict[str, Any], Target, ServiceCapture, float) -> None
        """Does one check, and adds what it saw to `found`."""
        name, tries = found["check"], []  # type: str, List[Dict[str, Any]]
        if target.is_http < (name in OF_HTTP):
            found["problem"] = "needs a service with a URL"
            return
        try:
            for seen in self.tries_of(name, target, capture, end):
                tries.append(self.take(seen, found))
        except Exception as e:  # one service, or one odd answer, costs no other the result
            self.refusal = problem_of(e)
        found["tries"] = fold_tries(tries)
        found.update(self.refusal)
        if not tries:
            found.setdefault("problem", "the time for this service ran out")

    def tries_of(self, name, target, capture, end):
        # type: (str, Target, ServiceCapture, float) -> Iterable[Dict[str, Any]]
        """Returns an iterator over the tries of a check, an empty one if the service could not be
        asked before.
        """
        return () if self.refusal else CHECKS[name](self.service, target, capture, end)

    def take(self, seen, found):
        # type: (Dict[str, Any], Dict[str, Any]) -> Dict[str, Any]
        """Returns one try without what is not reported of it: the beginning of the answer, and the
        segments, of which the check keeps the first.
        """
        head, _ = seen.pop("head"), seen.pop("is_late")
        self.server = self.server or server_of(head)
        rows, note = seen.pop("evidence", ((), ""))
        if rows and "wire" not in found:
            found.update({"wire": rows, "wire_note": note})
        return seen

    def begin_idle(self, meanwhile):
        # type: (Callable[[], None]) -> None
        """Opens the connection of the check "idle", if that is asked for and possible. What is to
        be done `meanwhile` is done again and again as long as that takes.
        """
        if self.refusal or not self.target or "idle" not in self.service["checks"]:
            return
        try:
            self.target.meanwhile = meanwhile
            self.idle = IdleConnection(self.target, self.service["idle_at_most"])
        except Exception as e:
            self.refusal = problem_of(e)

    def end_idle(self, seen):
        # type: (Dict[str, Any]) -> None
        """Takes what was seen of the idle connection."""
        found = self.checks["idle"] = {"check": "idle"}
        found["tries"] = fold_tries([self.take(seen, found)])

    def reply(self):
        # type: () -> Dict[str, Any]
        """Returns what the reply has about this service: of one that could not be asked at all only
        why.
        """
        self.result["server"] = self.server
        if self.refusal and not any(each.get("tries") for each in self.checks.values()):
            self.result.update(self.refusal)
            return self.result
        missing = {name: dict(self.refusal, check=name) for name in self.service["checks"]}
        missing.update(self.checks)
        self.result["checks"] = [missing[name] for name in self.service["checks"]]
        return self.result


def problem_of(error):
    # type: (BaseException) -> Dict[str, str]
    """Returns why a check could not be done, or not to its end."""
    if isinstance(error, CannotAsk):
        return {"problem": error.problem, "hint": error.hint}
    return {"problem": reason_of(error)}


def fold_tries(tries):
    # type: (List[Dict[str, Any]]) -> List[Dict[str, Any]]
    """Returns equal tries as one, with their number, in the order of the first of each. Of the
    bytes that were sent the smallest number counts.
    """
    folded, order = {}, []  # type: Dict[Any, Dict[str, Any]], List[Any]
    for each in tries:
        key = tuple([each[name] for name in OUTCOME])
        if key not in folded:
            order.append(key)
        one = folded.setdefault(key, dict(each, count=0))
        one["count"] += 1
        one["sent"] = min(one["sent"], each["sent"])
    return [folded[key] for key in order]


def ask_services(call):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """Returns what the reply has under "services"; `call["services"]` says what is asked. The
    services are asked one after the other, and their idle connections are waited for together.
    """
    asked = [AskedService(each) for each in call["services"]]
    last = now() + TIMEOUT.remaining() - RESERVE_S
    for each in asked:
        each.ask(min(now() + SERVICE_S, last))
    waiting = {}  # type: Dict[IdleConnection, AskedService]
    for each in asked:
        each.begin_idle(lambda: look_at(list(waiting), last))
        waiting.update({each.idle: each} if each.idle else {})
    for idle, seen in wait_idle(list(waiting), last).items():
        waiting[idle].end_idle(seen)
    return [each.reply() for each in asked]
