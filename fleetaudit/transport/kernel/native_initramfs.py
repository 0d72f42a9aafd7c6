"""Packs the guest's file system for the native probe: the program is /init itself.

Rules: nothing of this machine gets into a guest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import cpio

_FOLDERS = ("/proc", "/sys", "/tmp", "/etc", "/run")  # noqa: S108 (the guest's)


def settings_file(sysctls: Mapping[str, str]) -> cpio.Entry:
    """Returns the file with the settings that /init makes, KEY=VALUE, one a line."""
    settings = "".join(f"{key}={value}\n" for key, value in sysctls.items())
    return cpio.file("/fleetaudit/sysctls", settings.encode())


def pack_native(program: bytes, sysctls: Mapping[str, str]) -> Sequence[bytes]:
    """Returns the initramfs that runs `program` under `sysctls`, in pieces that follow one another.

    `program` is a native probe with its request. It is not compressed: QEMU hands it over as fast
    as it reads it, and a kernel may lack the code that unpacks it.
    """
    entries = [
        cpio.file("/init", program, executable=True),
        settings_file(sysctls),
        cpio.node("/dev/console", 5, 1),
        cpio.node("/dev/null", 1, 3),
        *map(cpio.folder, _FOLDERS),
    ]
    return (cpio.archive(entries),)
