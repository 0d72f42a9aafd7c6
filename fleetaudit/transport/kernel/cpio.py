"""Writes cpio archives in the "newc" format, which the kernel unpacks as its initial file system.
Pure.

Rules: names are absolute paths of the guest; a parent folder is written before its contents.
Archives may follow one another in one initramfs, so a part that stays the same is written once.
Format: the kernel's own Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One file of the archive.

    `mode` includes the type (S_IFREG…); `device` is the major and minor number of a device node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(path: str, data: bytes, *, executable: bool = False) -> Entry:
    """Returns a regular file, readable by all."""
    permissions = 0o644
    if executable:
        permissions = 0o755
    return Entry(path, stat.S_IFREG | permissions, data)


def folder(path: str) -> Entry:
    """Returns a folder; parents need not be named."""
    return Entry(path, stat.S_IFDIR | 0o755)


def link(path: str, to: str) -> Entry:
    """Returns a symbolic link at `path`."""
    return Entry(path, stat.S_IFLNK | 0o777, to.encode())


def node(path: str, major: int, minor: int) -> Entry:
    """Returns a character device."""
    return Entry(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """Returns the entries as one archive, with every folder that they need.

    Raises `ValueError` for a path that occurs twice.
    """
    by_path = dict[str, Entry]()
    for entry in entries:
        for parent in reversed(PurePosixPath(entry.path).parents[:-1]):
            by_path.setdefault(str(parent), folder(str(parent)))
        is_new = by_path.setdefault(entry.path, entry) is entry
        if not is_new and not stat.S_ISDIR(entry.mode):
            raise ValueError(f"{entry.path} is twice in the archive")
    records = [_record(n, e.path.lstrip("/"), e) for n, e in enumerate(by_path.values(), 1)]
    return b"".join([*records, _record(0, "TRAILER!!!", Entry("", 0))])


def _record(inode: int, name: str, entry: Entry) -> bytes:
    """Returns the head and the data of one entry, each padded to a multiple of 4 bytes.

    The head is "070701", 13 numbers of eight hexadecimal digits, and the name with a NUL.
    """
    uid = gid = modified = checksum = 0  # modified is 0: the same files give the same bytes
    links = 1 + stat.S_ISDIR(entry.mode)  # a folder has "." as well
    name_size = len(name.encode()) + 1
    owner = (inode, entry.mode, uid, gid, links, modified, len(entry.data))
    fields = (*owner, 0, 0, *entry.device, name_size, checksum)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    """Returns the data, padded to a multiple of 4 bytes."""
    return data + bytes(-len(data) % 4)
