"""What of paramiko is used that it does not promise: each name and signature, so that a release
that changes one fails here and by name. pyproject.toml allows the releases that this test has seen.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, cast

import paramiko
import pytest
from paramiko.packet import Packetizer
from paramiko.transport import SecurityOptions

from fleetaudit.transport.ssh import session

SESSION = Path(session.__file__)

METHODS: dict[tuple[type, str], list[str]] = {
    (paramiko.Transport, "get_security_options"): [],
    (paramiko.Transport, "_send_kex_init"): [],
    (paramiko.Transport, "_expect_packet"): ["*ptypes"],
    (paramiko.Transport, "_enforce_strict_kex"): ["ptype"],
    (paramiko.Transport, "_negotiate_keys"): ["m"],
    (paramiko.Transport, "_parse_newkeys"): ["m"],
    (paramiko.Transport, "_parse_global_request"): ["m"],
    (paramiko.Transport, "_parse_channel_open"): ["m"],
    (Packetizer, "__init__"): ["socket"],
    (Packetizer, "read_all"): ["n", "check_rekey=False"],
    (Packetizer, "write_all"): ["out"],
    (Packetizer, "read_message"): [],
    (Packetizer, "send_message"): ["data"],
}
"""Parameters after self of what session.py calls and stream.py calls or replaces."""

AT_FIRST: dict[str, Any] = {
    "remote_version": "",
    "initial_kex_done": False,
    "host_key": None,
    "session_id": None,
    "kex_engine": None,
    "_expected_packet": (),
}
"""Attributes of a Transport that session.py reads or sets, and their values before anything was
sent.
"""


class _Socket:
    """Fails where Transport does more with a socket than to set its timeout."""

    def settimeout(self, seconds: float) -> None:
        pass


class _Sent(Packetizer):
    """Keeps what is to be sent."""

    def __init__(self) -> None:
        super().__init__(cast(Any, None))
        self.out: list[bytes] = []

    def write_all(self, out: Any) -> None:
        self.out.append(bytes(out))


@pytest.fixture
def sent() -> _Sent:
    return _Sent()


@pytest.fixture
def engine(sent: _Sent) -> Any:
    return cast(Any, paramiko.Transport)(_Socket(), packetizer_class=lambda _: sent)


def parameters(function: Any) -> list[str]:
    found = list(inspect.signature(function).parameters.values())
    return [
        str(one.replace(annotation=inspect.Parameter.empty)) for one in found if one.name != "self"
    ]


@pytest.mark.parametrize(
    ("owner", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_method_of_paramiko_is_there_with_the_parameters_that_we_know(
    owner: type, name: str
) -> None:
    method = getattr(owner, name, None)
    assert method is not None, f"paramiko {paramiko.__version__} has no {owner.__name__}.{name}"
    assert parameters(method) == METHODS[owner, name], (
        f"paramiko {paramiko.__version__}: {owner.__name__}.{name}"
    )


@pytest.mark.parametrize("name", AT_FIRST)
def test_an_attribute_of_a_transport_is_there_with_the_value_that_we_know(
    engine: Any, name: str
) -> None:
    assert getattr(engine, name, "missing") == AT_FIRST[name], (
        f"paramiko {paramiko.__version__}: Transport.{name}"
    )


def test_session_uses_no_other_internal_of_a_transport() -> None:
    used = set[str]()
    for node in ast.walk(ast.parse(SESSION.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
            "engine",
            "self._engine",
        ):
            used.add(node.attr)
    named = (
        {name for owner, name in METHODS if owner is paramiko.Transport}
        | AT_FIRST.keys()
        | {"local_version"}
    )
    assert used == named


def test_a_transport_says_its_version_and_expects_packets_by_number(engine: Any) -> None:
    assert engine.local_version.startswith("SSH-2.0-paramiko")
    engine._expect_packet(20, 21)
    assert engine._expected_packet == (20, 21)


@pytest.mark.parametrize("name", ["ciphers", "digests", "kex", "key_types"])
def test_algorithms_are_chosen_by_the_security_options(engine: Any, name: str) -> None:
    options: SecurityOptions = engine.get_security_options()
    last = getattr(options, name)[-1]
    setattr(options, name, (last,))
    assert getattr(engine.get_security_options(), name) == (last,)


def test_what_is_sent_goes_through_the_packet_layer_that_was_passed_in(
    engine: Any, sent: _Sent
) -> None:
    engine._send_kex_init()
    (packet,) = sent.out
    assert packet[5] == paramiko.common.MSG_KEXINIT


def test_every_key_exchange_takes_a_message_by_its_number(engine: Any) -> None:
    for name in engine.get_security_options().kex:
        assert parameters(engine._kex_info[name].parse_next) == ["ptype", "m"], name


def test_strict_key_exchange_refuses_a_message_in_its_midst(engine: Any) -> None:
    engine.agreed_on_strict_kex = True
    with pytest.raises(paramiko.SSHException):
        engine._enforce_strict_kex(paramiko.common.MSG_IGNORE)
