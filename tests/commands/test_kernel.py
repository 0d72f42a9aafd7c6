"""The Python that guests of the kernel transport run starts outside of any virtual environment."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.transport.kernel import initramfs
from tests.unit.transport.test_kernel import unpacked


def test_the_base_is_packed_once_with_a_python_that_starts_outside_of_any_environment() -> None:
    first, own = initramfs.pack(b"print(1)\n", {"net.ipv4.tcp_fin_timeout": "7"})
    again, _ = initramfs.pack(b"print(2)\n", {})
    assert first is again
    assert len(first) < 48 * 1024 * 1024
    back = unpacked(first)
    interpreter = back["python"][1].decode()
    assert interpreter in initramfs.interpreters()
    assert not (Path(interpreter).parent.parent / "pyvenv.cfg").exists()
    assert back[interpreter[1:]][1] == Path(interpreter).read_bytes()
    assert back["init"][1].startswith(b"#!/python ")
    assert not [name for name in back if "site-packages" in name or "fleetaudit/transport" in name]
    small = unpacked(own)
    assert small["fleetaudit/program"][1] == b"print(1)\n"
    assert small["fleetaudit/sysctls"][1] == b"net.ipv4.tcp_fin_timeout=7\n"
