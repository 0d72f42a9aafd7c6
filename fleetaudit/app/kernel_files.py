"""Finds kernel images among files and folders, and orders those of one series.

Rules: a file that is named and cannot be booted is an error; one in a folder is left out with a
note. Nothing is booted and nothing is written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fleetaudit.analysis.bisection.model import ListedKernel
from fleetaudit.analysis.bisection.order import (
    OrderedKernels,
    describe_kernel,
    order_kernels,
    series_of,
)
from fleetaudit.errors import InputError, NothingToDoError, TransportError, UsageError
from fleetaudit.text.files import expand_home
from fleetaudit.text.kernel_releases import release_key
from fleetaudit.text.phrases import and_more, count_noun
from fleetaudit.transport.kernel.image import load_image

from .reporter import Report

_MOST_NAMED = 4
"""How many files that are left out are named."""


def list_kernels(images: Sequence[str], series: str | None, report: Report) -> OrderedKernels:
    """Returns the kernels of one series, oldest first.

    `images` are files and folders. `series` is such as "6.12", None for the only one. `report` gets
    notes about files that are left out and about the order. Raises `NothingToDoError` for a file
    that is missing and for fewer than two kernels, `InputError` for a file that is not a kernel
    image, and `UsageError` if the series has to be named, or the kernels are of several
    architectures.
    """
    found = [*_find_kernels(images, report)]
    chosen = _select_series(found, series)
    _refuse_several_architectures(chosen)
    ordered = order_kernels(chosen)
    for note in ordered.notes:
        report(f"fleetaudit: note: {note}")
    if len(ordered.kernels) < 2:
        raise NothingToDoError(
            f"{count_noun(len(ordered.kernels), 'kernel image')}; name at least two different ones,"
            " or a folder with them"
        )
    return ordered


def _find_kernels(images: Iterable[str], report: Report) -> Iterator[ListedKernel]:
    """Yields the kernels of files and folders."""
    for image in images:
        path = expand_home(image)
        if path.is_dir():
            yield from _kernels_in(path, report)
            continue
        if not path.exists():
            raise NothingToDoError(f"{image}: no such file")
        try:
            yield _read_kernel(path)
        except TransportError as e:
            raise InputError(e.reason, source=image, hint=e.hint) from e


def _kernels_in(folder: Path, report: Report) -> Iterator[ListedKernel]:
    """Yields the kernels of a folder, and reports the files that are left out."""
    left_out = list[str]()
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        try:
            yield _read_kernel(path)
        except TransportError:
            left_out.append(path.name)
    if left_out:
        names = ", ".join(left_out[:_MOST_NAMED]) + and_more(len(left_out) - _MOST_NAMED)
        report(f"fleetaudit: note: {folder}: left out, because they are not kernel images: {names}")


def _read_kernel(path: Path) -> ListedKernel:
    """Returns a kernel; raises `TransportError` for a file that is not one, or has no version."""
    image = load_image(str(path))
    digest = hashlib.sha256(image.data).hexdigest()
    kernel = describe_kernel(
        str(path), digest, image.version, image.package_version, image.architecture
    )
    if not series_of(kernel):
        raise TransportError(
            "resolve",
            f"the kernel image {path}: its header names no version by which it could be ordered",
            hint="name Debian packages, or images with a version in their header",
        )
    return kernel


def _select_series(kernels: Sequence[ListedKernel], series: str | None) -> list[ListedKernel]:
    """Returns the kernels of a series, None for the only one."""
    counts = Counter(map(series_of, kernels))
    listed = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts, key=release_key))
    if series is None and len(counts) > 1:
        most, _ = counts.most_common(1)[0]
        raise UsageError(
            f"kernels of several series: {listed}\n  a fix reaches each series at another version;"
            f" choose one, such as  --series {most}"
        )
    chosen = [kernel for kernel in kernels if series in (None, series_of(kernel))]
    if kernels and not chosen:
        raise NothingToDoError(f"no kernel image of the series {series}; there are: {listed}")
    return chosen


def _refuse_several_architectures(kernels: Sequence[ListedKernel]) -> None:
    """Raises `UsageError` for kernels of several architectures, whose endings may differ."""
    counts = Counter(kernel.architecture for kernel in kernels)
    if len(counts) > 1:
        listed = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts))
        raise UsageError(
            f"kernels of several architectures: {listed}\n  name the images of one, such as"
            "  fleetaudit bisect linux-image-*_amd64.deb"
        )
