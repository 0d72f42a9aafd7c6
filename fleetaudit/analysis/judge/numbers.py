"""Numbers of production, known or not, and whether they meet an expectation. Pure."""

from __future__ import annotations

from typing import NamedTuple

from fleetaudit.model import ExposureExpectation
from fleetaudit.playbook.expectation_tests import describe_bounds, is_within

from .findings import Unmet


class Number(NamedTuple):
    """A number of production, None if it is unknown. `is_partial`: it is at least this, because the
    scan was cut short.
    """

    value: float | None
    is_partial: bool = False
    note: str = ""

    def __str__(self) -> str:
        """Returns the number with its note, or why it is unknown.

        Such as "4.32 (83 of 19213 connections)", "12", "2 or more", "sockets could not be read".
        """
        if self.value is None:
            return self.note
        more = " or more" if self.is_partial else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self._digits}{more}{note}"

    @property
    def _digits(self) -> str:
        """The value with two decimals if it is a rate, a count as it is."""
        return f"{self.value:.2f}" if isinstance(self.value, float) else f"{self.value}"


def check_number(number: Number, expectation: ExposureExpectation) -> Unmet | None:
    """Returns the expectation as unmet, None if it is met."""
    is_met = is_within(number.value, expectation.at_least, expectation.at_most)
    is_known = _is_decided(expectation, number, is_met=is_met)
    if is_met and is_known:
        return None
    bounds = describe_bounds(expectation.at_least, expectation.at_most)
    return Unmet(expectation, " and ".join(bounds), is_known=is_known)


def _is_decided(expectation: ExposureExpectation, number: Number, *, is_met: bool) -> bool:
    """Returns whether the number is known well enough to tell whether the expectation is met.

    A number that was cut short can only show that there are too many, or enough.
    """
    if number.value is None:
        return False
    if not number.is_partial:
        return True
    if expectation.at_most is None:
        return is_met
    return number.value > expectation.at_most
