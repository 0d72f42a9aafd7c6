"""The nouns of a bisection: its kernels in their order, and the endings that change."""

from __future__ import annotations

from typing import Literal

from fleetaudit.model import Family, Frozen

BISECT_FORMAT: Literal["fleetaudit-bisect/1"] = "fleetaudit-bisect/1"
Order = Literal["package version", "release"]


class ListedKernel(Frozen, frozen=True, kw_only=True):
    """A kernel image of the list.

    `file` is its path as it was found, and `sha256` the digest of the image, which in a package is
    a part of the file. `architecture` is such as "x86_64". `release` is that of uname -r.
    `package_version` is the version of the Debian package, out of the package or out of the image's
    header; "" if neither names one. `label` names the kernel for people, each differently.
    """

    label: str
    file: str
    sha256: str
    architecture: str
    release: str
    package_version: str


class BisectedKernel(ListedKernel, frozen=True, kw_only=True):
    """A kernel with what it did. `endings` has the known endings by "SCENARIO/FAMILY".

    A kernel that was not audited has `stage`, `kind`, `reason` and `hint`, as in run.json; `reason`
    of one that was audited says why no ending that is followed is known, "" if one is.
    """

    status: Literal["audited", "not audited", "not booted"]
    stage: str = ""
    kind: str = ""
    reason: str = ""
    hint: str = ""
    endings: dict[str, str] = {}


class SkippedKernel(Frozen, frozen=True, kw_only=True):
    """A kernel between two others whose ending is unknown, and why."""

    label: str
    reason: str


class EndingChange(Frozen, frozen=True, kw_only=True):
    """An ending that differs between two kernels, by their labels.

    `skipped` are the kernels between the two, none if they are neighbours: the first kernel with
    the new ending is the first of these, or `after`.
    """

    scenario: str
    family: Family
    title: str
    before: str
    after: str
    ending_before: str
    ending_after: str
    skipped: tuple[SkippedKernel, ...] = ()


class Bisection(Frozen, frozen=True, kw_only=True):
    """The result of a bisection, as `fleetaudit bisect --format json` prints it.

    `kernels` are in their order, oldest first. `oldest` and `newest` are the labels of the ends
    that were compared, null if no two kernels could be. `compared` counts the endings that are
    known at both ends, `unknown` those that are not. `complete` is whether every change lies
    between two neighbours.
    """

    format: Literal["fleetaudit-bisect/1"] = BISECT_FORMAT
    fleetaudit: str
    series: str
    order: Order
    kernels: tuple[BisectedKernel, ...]
    oldest: str | None
    newest: str | None
    compared: int
    unknown: int
    changes: tuple[EndingChange, ...]
    complete: bool

    @property
    def booted(self) -> int:
        """How many kernels were booted, those included that did not come up."""
        return sum(
            kernel.status != "not booted" and kernel.stage != "resolve" for kernel in self.kernels
        )
