"""Reads the expectations of sysctls, exposure and kernels of a play; refuses nonsense. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import msgspec

from fleetaudit.model import (
    Condition,
    Expectation,
    ExposureExpectation,
    Severity,
    SysctlExpectation,
)
from fleetaudit.text.document import Document, ValuePath

from .conditions import parse_comparisons
from .contradictions import is_contradictory
from .expectation_tests import meets, normalize_spaces
from .format import (
    ConditionFile,
    ExposureExpectationFile,
    ExposureExpectFile,
    KernelExpectationFile,
    KernelsExpectFile,
    SysctlExpectationFile,
)
from .patterns import pattern_fault

NOT_A_VALUE = "no value can meet all of this"
_VALUE_TESTS = ("equals", "one_of", "at_least", "at_most", "matches")
SysctlFiles = SysctlExpectationFile | list[SysctlExpectationFile]


class _Common(TypedDict):
    """The fields that every expectation has."""

    severity: Severity
    because: str
    fix: str
    tags: tuple[str, ...]
    when: Condition


def parse_condition(document: Document, file: ConditionFile, where: ValuePath) -> Condition:
    """Returns where an expectation applies; raises `InputError` at a malformed comparison of a
    kernel release.
    """
    groups = (file.groups,) if isinstance(file.groups, str) else tuple(file.groups)
    try:
        parse_comparisons(file.kernel)
    except ValueError as e:
        raise document.error(
            str(e), (*where, "when", "kernel"), hint="write it as “>=6.1, <6.12” or “==6.1”"
        ) from e
    return Condition(groups=tuple(filter(None, groups)), kernel=normalize_spaces(file.kernel))


def build_sysctl_expectations(
    document: Document, files: Mapping[str, SysctlFiles], where: ValuePath
) -> dict[str, tuple[SysctlExpectation, ...]]:
    """Returns the expectations of each sysctl; raises `InputError` at those that no value can
    meet.
    """
    found = dict[str, tuple[SysctlExpectation, ...]]()
    for key, file in files.items():
        at = (*where, key)
        check_sysctl(document, key, at, r"net(\.[A-Za-z0-9_-]+)+", key=True)
        found[key] = _expectations_of_one(document, file, at)
        if is_contradictory(found[key]):
            raise document.error(NOT_A_VALUE, at)
    return found


def _expectations_of_one(
    document: Document, file: SysctlFiles, where: ValuePath
) -> tuple[SysctlExpectation, ...]:
    """Returns the expectations of one sysctl: one mapping, or a list of mappings."""
    if isinstance(file, SysctlExpectationFile):
        return (_build_sysctl_expectation(document, file, where),)
    if not file:
        raise document.error("an empty list of expectations", where)
    return tuple(
        _build_sysctl_expectation(document, each, (*where, n)) for n, each in enumerate(file)
    )


def check_sysctl(
    document: Document, name: str, where: ValuePath, allowed: str, *, key: bool = False
) -> None:
    """Raises `InputError` if `name` does not match `allowed`, the pattern of sysctls that are
    read.
    """
    if not re.fullmatch(allowed, name, re.ASCII):
        raise document.error(
            f"“{name}” is not a sysctl that fleetaudit reads",
            where,
            key=key,
            hint="names begin with net. and are ASCII",
        )


def _build_sysctl_expectation(
    document: Document, file: SysctlExpectationFile, where: ValuePath
) -> SysctlExpectation:
    """Returns one expectation of a sysctl; raises `InputError` if it makes no sense."""
    _check_tests(document, file, where)
    equals = None if file.equals is None else normalize_spaces(str(file.equals))
    one_of = None if file.one_of is None else tuple(normalize_spaces(str(v)) for v in file.one_of)
    expectation = SysctlExpectation(
        equals=equals,
        one_of=one_of,
        at_least=file.at_least,
        at_most=file.at_most,
        matches=file.matches,
        is_default=bool(file.is_default),
        present=file.present,
        position=file.position,
        **_common(document, file, where),
    )
    # Of one expectation also the value of `equals` must meet the other tests that stand with it.
    whole = msgspec.structs.replace(expectation, position=None)
    if equals is not None and not meets(equals, whole):
        raise document.error(NOT_A_VALUE, where)
    return expectation


def _check_tests(document: Document, file: SysctlExpectationFile, where: ValuePath) -> None:
    """Raises `InputError` if the tests of an expectation do not fit together."""
    tests_value = any(getattr(file, name) is not None for name in _VALUE_TESTS)
    if file.is_default is False:
        raise document.error("only “is_default: true” is an expectation", (*where, "is_default"))
    if file.position is not None:
        _check_position(document, file, where, tests_value)
    if not (tests_value or file.is_default or file.present is not None):
        raise document.error(
            "no test; use equals, one_of, at_least, at_most, matches, is_default or present", where
        )
    if file.present is False and (tests_value or file.is_default):
        raise document.error(NOT_A_VALUE, where)
    if fault := pattern_fault(file.matches or ""):
        raise document.error(f"matches: {fault}", (*where, "matches"))


def _check_position(
    document: Document, file: SysctlExpectationFile, where: ValuePath, tests_value: bool
) -> None:
    """Raises `InputError` if a position stands with tests that are not for one word of the
    value.
    """
    if not tests_value or file.is_default or file.present is not None:
        raise document.error(
            "a position is for equals, one_of, at_least, at_most and matches alone", where
        )


def build_exposure_expectations(
    document: Document, file: ExposureExpectFile, where: ValuePath
) -> dict[str, tuple[ExposureExpectation, ...]]:
    """Returns the expectations of exposure numbers, by name."""
    return {
        name: (_build_exposure_expectation(document, each, (*where, name)),)
        for name, each in _set_fields(file)
    }


def _build_exposure_expectation(
    document: Document, file: ExposureExpectationFile, where: ValuePath
) -> ExposureExpectation:
    """Returns one expectation of an exposure number; raises `InputError` if none can meet it."""
    low, high = file.at_least, file.at_most
    if low is None and high is None:
        raise document.error("no test; use at_most or at_least", where)
    if low is not None and high is not None and low > high:
        raise document.error(NOT_A_VALUE, where)
    return ExposureExpectation(at_least=low, at_most=high, **_common(document, file, where))


def build_kernel_expectations(
    document: Document, file: KernelsExpectFile, where: ValuePath
) -> dict[str, tuple[Expectation, ...]]:
    """Returns the expectations of the fleet's kernels, by name."""
    return {
        name: (_build_kernel_expectation(document, each, (*where, name)),)
        for name, each in _set_fields(file)
    }


def _build_kernel_expectation(
    document: Document, file: bool | KernelExpectationFile, where: ValuePath
) -> Expectation:
    """Returns one expectation of the kernels: `true`, or a mapping with its severity."""
    if file is False:
        raise document.error(
            "only “true”, or a mapping with its severity, is an expectation", where
        )
    mapping = KernelExpectationFile() if isinstance(file, bool) else file
    return Expectation(**_common(document, mapping, where))


def _set_fields(file: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Yields the name and value of each field that is not None."""
    for name in file.__struct_fields__:
        value = getattr(file, name)
        if value is not None:
            yield name, value


def _common(
    document: Document,
    file: SysctlExpectationFile | ExposureExpectationFile | KernelExpectationFile,
    where: ValuePath,
) -> _Common:
    """Returns the fields that every expectation has."""
    return _Common(
        severity=file.severity,
        because=normalize_spaces(file.because),
        fix=file.fix.strip(),
        tags=tuple(file.tags),
        when=parse_condition(document, file.when, where),
    )
