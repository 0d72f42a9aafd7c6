"""Takes the kernel itself out of a bzImage, so that the guest need not unpack it. Pure.

Rules: what cannot be taken out is no error, because the guest unpacks its kernel as well, but
emulated: that takes a second of CPU for 60 MB of zstd, a sixth of it here. Format:
Documentation/arch/x86/boot.rst in the kernel's source, payload_offset and payload_length.
"""

from __future__ import annotations

import contextlib

from .elf_image import elf
from .image_error import NotAKernelError
from .image_headers import number
from .unpack_image import unpack

_PAYLOAD_SINCE = 0x208  # the first boot protocol that tells where the payload is


def vmlinux_in(image: bytes) -> bytes | None:
    """Returns the vmlinux in a bzImage that `bzimage` recognized.

    None if its compression is not known here (lz4, lzma, bzip2, lzo), or if it has no PVH entry,
    by which QEMU starts it.
    """
    if image[0x202:0x206] != b"HdrS" or number("<H", image, 0x206) < _PAYLOAD_SINCE:
        return None
    kernel = None
    with contextlib.suppress(NotAKernelError):
        kernel = elf(unpack(_payload(image)))
    if not kernel or kernel.architecture != "x86_64":
        return None
    return kernel.data


def _payload(image: bytes) -> bytes:
    """Returns the compressed kernel, which the size of the unpacked one follows."""
    setup_sectors = image[0x1F1] or 4  # 0 stands for 4
    start = (setup_sectors + 1) * 512 + number("<I", image, 0x248)
    return image[start : start + number("<I", image, 0x24C)]
