"""Puts kernel images into the order of their versions, within one series. Pure.

Rules: the version of the package orders packages, as dpkg does; the release orders images that name
no package. What the order leaves open is reported, never hidden.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from fleetaudit.text.debian_versions import debian_version_key
from fleetaudit.text.kernel_releases import release_key, release_series
from fleetaudit.text.phrases import surround

from .model import ListedKernel, Order

_PACKAGE_VERSION = re.compile(r" Debian (\S{1,200}) \(\d{4}-\d\d-\d\d\)")
"""Debian's kernels name the version of their package in their own version."""
_FLAVOUR = re.compile(r"-(?!rc[0-9])([A-Za-z].*)")


class OrderedKernels(NamedTuple):
    """Kernels, oldest first, by what they are ordered, and what there is to note about it."""

    kernels: tuple[ListedKernel, ...]
    order: Order
    notes: tuple[str, ...]


def describe_kernel(
    file: str, sha256: str, header: str, package_version: str, architecture: str
) -> ListedKernel:
    """Returns a kernel with its versions; `header` is the version string of its image.

    Its release is "" if the header names none.
    """
    release = header.partition(" ")[0]
    found = _PACKAGE_VERSION.search(header)
    if not package_version and found:
        package_version = found[1]
    label = release + surround(" (", package_version, ")")
    return ListedKernel(
        label=label or file.rpartition("/")[2],
        file=file,
        sha256=sha256,
        architecture=architecture,
        release=release,
        package_version=package_version,
    )


def series_of(kernel: ListedKernel) -> str:
    """Returns the series of a kernel, such as "6.12"; "" if it is unknown."""
    return release_series(kernel.release or kernel.package_version)


def order_kernels(kernels: Iterable[ListedKernel]) -> OrderedKernels:
    """Returns the kernels in their order, each image once, and with labels that differ."""
    given = [*kernels]
    by_image = {kernel.sha256: kernel for kernel in reversed(given)}
    distinct = [*by_image.values()]
    order: Order = "release"
    if all(kernel.package_version for kernel in distinct):
        order = "package version"
    key = _KEYS[order]
    ordered = sorted(distinct, key=lambda kernel: (key(kernel), kernel.release, kernel.file))
    labelled = _with_distinct_labels(ordered)
    notes = (
        *_repeated_notes(given, by_image),
        *_tie_notes(labelled, order),
        *_flavour_notes(labelled),
    )
    return OrderedKernels(labelled, order, notes)


def _by_package(kernel: ListedKernel) -> Any:
    """Returns the sort key of the version of a kernel's package."""
    return debian_version_key(kernel.package_version)


def _by_release(kernel: ListedKernel) -> Any:
    """Returns the sort key of a kernel's release."""
    return release_key(kernel.release or kernel.package_version)


_KEYS = {"package version": _by_package, "release": _by_release}


def _with_distinct_labels(kernels: Sequence[ListedKernel]) -> tuple[ListedKernel, ...]:
    """Returns the kernels; those with equal labels are named by their files as well."""
    counts = Counter(kernel.label for kernel in kernels)
    return tuple(
        replace(kernel, label=f"{kernel.label} [{kernel.file}]")
        if counts[kernel.label] > 1
        else kernel
        for kernel in kernels
    )


def _repeated_notes(
    given: Iterable[ListedKernel], by_image: dict[str, ListedKernel]
) -> Iterator[str]:
    """Yields a note for each file whose image another file has as well."""
    for kernel in given:
        first = by_image[kernel.sha256]
        if first is not kernel:
            yield f"{kernel.file}: the same image as {first.file}; it is booted once"


def _tie_notes(kernels: Sequence[ListedKernel], order: Order) -> Iterator[str]:
    """Yields a note for each two neighbours with the same version."""
    key = _KEYS[order]
    for one, two in itertools.pairwise(kernels):
        if key(one) == key(two):
            yield (
                f"{one.label} and {two.label} have the same {order}: which of the two is older is"
                " unknown; they are ordered by name"
            )


def _flavour_notes(kernels: Iterable[ListedKernel]) -> Iterator[str]:
    """Yields a note if the kernels have different flavours."""
    found = (_FLAVOUR.search(kernel.release) for kernel in kernels)
    flavours = sorted({flavour[1] for flavour in filter(None, found)})
    if len(flavours) > 1:
        yield (
            f"kernels of several flavours ({', '.join(flavours)}): an ending that changes between"
            " two of them may come from their configuration, not from their version"
        )
