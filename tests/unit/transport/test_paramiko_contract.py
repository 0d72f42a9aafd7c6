"""What of paramiko is used that it does not promise: each name and signature, so that a release
that changes one fails here and by name. pyproject.toml allows the releases that this test has seen.
"""

from __future__ import annotations

import ast
import inspect
import math
from pathlib import Path
from typing import Any, cast

import paramiko
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.packet import Packetizer
from paramiko.transport import SecurityOptions

from fleetaudit.model import SshConfig
from fleetaudit.transport.host_certificates import SUFFIX
from fleetaudit.transport.ssh import paramiko_transport, session
from fleetaudit.transport.ssh.aead import Aead
from fleetaudit.transport.ssh.link import LinkError
from fleetaudit.transport.ssh.packet_stream import PacketStream

SESSION, TRANSPORT = Path(session.__file__), Path(paramiko_transport.__file__)

METHODS: dict[tuple[type, str], list[str]] = {
    (paramiko.Transport, "get_security_options"): [],
    (paramiko.Transport, "_send_kex_init"): [],
    (paramiko.Transport, "_send_message"): ["data"],
    (paramiko.Transport, "_parse_kex_init"): ["m"],
    (paramiko.Transport, "_filter_algorithm"): ["type_"],
    (paramiko.Transport, "_log"): ["level", "msg", "*args"],
    (paramiko.Transport, "_add_K"): ["m"],
    (paramiko.Transport, "_verify_key"): ["host_key", "sig"],
    (paramiko.Transport, "_compute_key"): ["id", "nbytes"],
    (paramiko.Transport, "_expect_packet"): ["*ptypes"],
    (paramiko.Transport, "_enforce_strict_kex"): ["ptype"],
    (paramiko.Transport, "_negotiate_keys"): ["m"],
    (paramiko.Transport, "_parse_newkeys"): ["m"],
    (paramiko.Transport, "_parse_global_request"): ["m"],
    (paramiko.Transport, "_parse_channel_open"): ["m"],
    (Packetizer, "__init__"): ["socket"],
    (Packetizer, "read_all"): ["n", "check_rekey=False"],
    (Packetizer, "write_all"): ["out"],
    (Packetizer, "set_inbound_cipher"): [
        "block_engine",
        "block_size",
        "mac_engine",
        "mac_size",
        "mac_key",
        "etm=False",
        "aead=False",
        "iv_in=None",
    ],
    (Packetizer, "set_outbound_cipher"): [
        "block_engine",
        "block_size",
        "mac_engine",
        "mac_size",
        "mac_key",
        "sdctr=False",
        "etm=False",
        "aead=False",
        "iv_out=None",
    ],
    (Packetizer, "read_message"): [],
    (Packetizer, "send_message"): ["data"],
}
"""Parameters after self of what session.py calls, and of what paramiko_transport.py and
packet_stream.py call or replace.
"""

AT_FIRST: dict[str, Any] = {
    "remote_version": "",
    "initial_kex_done": False,
    "host_key": None,
    "session_id": None,
    "kex_engine": None,
    "_expected_packet": (),
    "local_kex_init": None,
    "remote_kex_init": None,
    "in_kex": False,
    "host_key_type": None,
    "local_cipher": "",
    "remote_cipher": "",
    "local_mac": None,
    "remote_mac": None,
    "local_compression": None,
    "remote_compression": None,
    "agreed_on_strict_kex": False,
}
"""Attributes of a Transport that session.py and paramiko_transport.py read or set, and their values
before anything was sent.
"""

LATER = {
    "local_version",
    "clear_to_send",
    "_latest_kex_init",
    "_remote_ext_info",
    "H",
    "packetizer",
}
"""Further attributes, which the tests below look at."""

SHARED = {"clear_to_send"}
"""What all connections have together: nobody waits for it."""

PUBLIC = {"_preferred_keys": "preferred_keys"}
"""What paramiko reads instead of an attribute, and we replace by it."""

OURS = {
    "shown_key",
    "_offer",
    "_keep",
    "propose",
    "parse_key_exchange",
    "_secret_and_hash",
    "__init__",
    "__dict__",
}
"""Names of the subclass's own."""


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


def attributes(tree: ast.AST, *owners: str) -> set[str]:
    """Returns the attributes of these expressions that a module uses."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if ast.unparse(node.value) in owners}


def test_session_and_paramiko_transport_use_no_other_internal_of_a_transport() -> None:
    module = ast.parse(TRANSPORT.read_text("utf-8"))
    (ours,) = (node for node in module.body if getattr(node, "name", "") == "ParamikoTransport")
    replaced = {node.name for node in ast.walk(ours) if isinstance(node, ast.FunctionDef)}
    used = (
        attributes(ast.parse(SESSION.read_text("utf-8")), "self._paramiko")
        | attributes(module, "template")
        | attributes(ours, "self", "super()")
        | replaced
        | set(paramiko_transport._AGREED)
    )
    named = {name for owner, name in METHODS if owner is paramiko.Transport}
    assert used - OURS == named | AT_FIRST.keys() | LATER


def kexinit(engine: Any, number: int = 0, **lists: str) -> paramiko.Message:
    """Returns the KEXINIT of a host that has our algorithms, with a new cookie."""
    strict = "kex-strict-s-v00@openssh.com"
    kex = lists.get("kex", f"{','.join(engine.get_security_options().kex)},ext-info-s,{strict}")
    options = engine.get_security_options()
    listed = [kex, ",".join(options.key_types)]
    listed += [lists.get("ciphers", ",".join(options.ciphers))] * 2
    listed += [",".join(options.digests)] * 2 + ["none"] * 2 + [""] * 2
    message = paramiko.Message().add_bytes(bytes([number]) * 16)
    for names in listed:
        message.add_string(names)
    message.add_boolean(False).add_int(0)
    answer = paramiko.Message(message.asbytes())
    answer.seqno = 0
    return answer


def agreed(engine: Any) -> dict[str, Any]:
    """Returns what two sides agreed on."""
    found = {name: getattr(engine, name) for name in paramiko_transport._AGREED}
    return {**found, "kex": type(engine.kex_engine), "theirs": engine.remote_kex_init}


@pytest.mark.parametrize("secret", [2**255 - 19, 7, b"\xff" * 32], ids=["mpint", "short", "string"])
@pytest.mark.parametrize("kind", ["curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512"])
def test_keys_are_those_that_paramiko_itself_makes(
    engine: Any, sent: _Sent, secret: object, kind: str
) -> None:
    ours = paramiko_transport.ParamikoTransport(sent)
    for exchange_hash in (b"h" * 32, b"i" * 32):
        for one in (engine, ours):
            one.K, one.H, one.session_id = secret, exchange_hash, b"s" * 32
            one.kex_engine = one._kex_info[kind](one)
        for letter in "ABCDEF":
            for size in (12, 16, 32, 64, 100):
                assert ours._compute_key(letter, size) == engine._compute_key(letter, size)


class _Received(_Sent):
    """Reads what another one sent."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        data, self.data = self.data[:n], self.data[n:]
        return data


class _Packets:
    """A link that returns the given bytes, and keeps what is written."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def exchange(self, out: bytearray, until: object, meanwhile: object) -> bytes:
        data, self.data = self.data, b""
        return data

    def flush(self, out: bytearray) -> None:
        self.data = bytes(out)

    def close(self) -> None:
        pass


def gcm(key: bytes = b"k" * 16, **iv: bytes) -> dict[str, Any]:
    """Returns a cipher as paramiko passes it."""
    mac = {"mac_engine": None, "mac_size": 16, "mac_key": None}
    return {"block_engine": AESGCM(key), "block_size": 16, "aead": True, **mac, **iv}


MESSAGES = [bytes([50]) + bytes(range(256))[:size] for size in (*range(40), 255)]


@pytest.mark.parametrize("iv", [bytes(12), b"\xff" * 4 + bytes(6) + b"\xff\xfe"])
def test_our_packets_are_read_by_paramiko_and_its_packets_by_us(iv: bytes) -> None:
    link = _Packets()
    stream = PacketStream(link, lambda: math.inf)
    stream.set_outbound_cipher(**gcm(iv_out=iv))
    for message in MESSAGES:
        stream.send_message(paramiko.Message(message))
    stream.flush()
    reader = _Received(link.data)
    reader.set_inbound_cipher(**gcm(iv_in=iv))
    writer = _Sent()
    writer.set_outbound_cipher(**gcm(iv_out=iv))
    for message in MESSAGES:
        number, fields = reader.read_message()
        assert bytes([number]) + fields.asbytes() == message
        writer.send_message(paramiko.Message(message))
    stream = PacketStream(_Packets(b"".join(writer.out)), lambda: math.inf)
    stream.set_inbound_cipher(**gcm(iv_in=iv))
    for message in MESSAGES:
        number, fields = stream.read_message()
        assert bytes([number]) + fields.asbytes() == message
    assert not stream.has_unread


def test_the_counter_of_packets_begins_again_after_its_last_value() -> None:
    iv = b"abcd" + b"\xff" * 8
    here, there = Aead(AESGCM(b"k" * 16), iv), Aead(AESGCM(b"k" * 16), iv)
    for message in MESSAGES[:3]:
        sealed = here.seal(message)
        assert there.open(sealed[:4], sealed[4:]) == message
    assert here._nonce() == b"abcd" + (2).to_bytes(8, "big")


@pytest.mark.parametrize("at", [0, 3, 4, 20, -1])
def test_a_packet_with_one_bit_changed_is_refused(at: int) -> None:
    sealed = bytearray(Aead(AESGCM(b"k" * 16), bytes(12)).seal(b"\x5e" + b"x" * 60))
    sealed[at] ^= 1
    stream = PacketStream(_Packets(bytes(sealed) + bytes(2**25)), lambda: math.inf)
    stream.allowance = 2**30
    stream.set_inbound_cipher(**gcm(iv_in=bytes(12)))
    with pytest.raises((InvalidTag, LinkError)):
        stream.read_message()


def test_a_packet_without_a_message_is_refused() -> None:
    cipher = AESGCM(b"k" * 16)
    for plain in (bytes([15]) + bytes(15), bytes([255]) + bytes(15)):
        length = len(plain).to_bytes(4, "big")
        stream = PacketStream(
            _Packets(length + cipher.encrypt(bytes(12), plain, length)), lambda: math.inf
        )
        stream.set_inbound_cipher(**gcm(iv_in=bytes(12)))
        with pytest.raises(IndexError):
            stream.read_message()


def proposing(sent: _Sent) -> paramiko_transport.ParamikoTransport:
    """Returns an engine that has sent our KEXINIT."""
    made = paramiko_transport.ParamikoTransport(sent)
    made.propose(paramiko_transport.offer_for(SshConfig(), ()))
    return made


def test_our_key_exchange_begins_with_what_paramiko_itself_would_send(
    engine: Any, sent: _Sent
) -> None:
    made = proposing(sent)
    for name, algorithms in made._offer.preferences.items():
        assert set(algorithms) == set(getattr(engine, PUBLIC.get(name, name)))
        # To the host keys paramiko adds the algorithms of their certificates, in the same order.
        plain = [algorithm for algorithm in algorithms if not algorithm.endswith(SUFFIX)]
        setattr(engine, name, tuple(plain))
    engine._send_kex_init()
    assert engine.clear_to_send.is_set() is made.clear_to_send.is_set() is False
    assert len(engine.local_kex_init) == len(made.local_kex_init)
    assert engine.local_kex_init[17:] == made.local_kex_init[17:]
    assert engine._latest_kex_init == engine.local_kex_init
    assert made._latest_kex_init == made.local_kex_init
    assert made.local_kex_init != proposing(sent).local_kex_init, "the cookie is random"


@pytest.mark.parametrize(
    "lists", [{}, {"kex": "curve25519-sha256@libssh.org"}, {"ciphers": "aes256-ctr,aes128-ctr"}]
)
def test_what_was_agreed_on_before_is_what_paramiko_itself_would_agree_on(
    sent: _Sent, lists: dict[str, str]
) -> None:
    paramiko_transport._agreements.clear()
    first, again = proposing(sent), proposing(sent)
    first._parse_kex_init(kexinit(first, 1, **lists))
    assert len(paramiko_transport._agreements) == 1
    again._parse_kex_init(kexinit(first, 1, **lists))
    assert agreed(first) == agreed(again)
    third = proposing(sent)
    third._parse_kex_init(kexinit(first, 3, **lists))
    assert third.remote_kex_init == b"\x14" + kexinit(first, 3, **lists).asbytes()
    assert len(paramiko_transport._agreements) == 1


def test_a_connection_changes_nothing_that_others_begin_with(sent: _Sent) -> None:
    before = {name: repr(value) for name, value in paramiko_transport._new_transport().items()}
    one = proposing(sent)
    one._parse_kex_init(kexinit(one))
    one.kex_engine.start_kex()
    one._set_K_H(7, b"h" * 32)
    one._activate_outbound()
    one._expect_packet(21)
    one._parse_newkeys(paramiko.Message())
    after = {name: repr(value) for name, value in paramiko_transport._new_transport().items()}
    assert {name for name in before if before[name] != after[name]} <= SHARED
    assert proposing(sent).host_key is None
    fresh = paramiko_transport.ParamikoTransport(sent)
    for name, value in AT_FIRST.items():
        assert getattr(fresh, name) == value, name


def test_a_key_exchange_that_is_not_the_first_message_is_refused_also_for_known_lists(
    sent: _Sent,
) -> None:
    first, late = proposing(sent), proposing(sent)
    first._parse_kex_init(kexinit(first))
    message = kexinit(first)
    message.seqno = 1
    with pytest.raises(paramiko.SSHException, match="KEXINIT was not the first packet"):
        late._parse_kex_init(message)


def test_a_second_key_exchange_takes_nothing_from_a_first_one(sent: _Sent) -> None:
    paramiko_transport._agreements.clear()
    first, second = proposing(sent), proposing(sent)
    plain = "curve25519-sha256@libssh.org"
    first._parse_kex_init(kexinit(first, kex=plain))
    assert not first.agreed_on_strict_kex
    second._parse_kex_init(kexinit(first))
    second.initial_kex_done = True
    second._parse_kex_init(kexinit(first, kex=plain))
    assert second.agreed_on_strict_kex, "a rekey does not name it, and it stays"


def test_hosts_with_many_different_lists_do_not_fill_the_memory(sent: _Sent) -> None:
    paramiko_transport._agreements.clear()
    one = proposing(sent)
    for number in range(paramiko_transport._MAX_AGREEMENTS + 5):
        kex = f"curve25519-sha256@libssh.org,of-{number}"
        one._parse_kex_init(kexinit(one, kex=kex))
    one._parse_kex_init(kexinit(one, kex=f"curve25519-sha256@libssh.org,{'x' * 10_000}"))
    assert len(paramiko_transport._agreements) == 5


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
