"""What a kernel image is, and the error for bytes that are not one."""

from __future__ import annotations

import msgspec


class Image(msgspec.Struct, frozen=True):
    """A bootable kernel, as QEMU takes it.

    `architecture` is one of `probe.native_program.ARCHITECTURES`. `version` is the version string
    of the kernel (uname -r and more), or "". `package_version` is that of the Debian package that
    it was in, "" for an image file.
    """

    data: bytes
    version: str
    architecture: str = "x86_64"
    package_version: str = ""


class NotAKernelError(Exception):
    """These bytes are not a kernel that can be booted here.

    `found` is what they are, `hint` what to give instead, "" if the caller is to say it.
    """

    def __init__(self, found: str, hint: str = "") -> None:
        self.found, self.hint = found, hint
        super().__init__(found)
