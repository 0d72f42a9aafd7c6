"""Reads the expectations of sysctls, exposure and kernels of a play; refuses nonsense. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
from .contradictions import bounds_of, is_contradictory
from .expectation_tests import meets, normalize_spaces
from .format import (
    ExposureExpectationFile,
    ExposureExpectFile,
    KernelExpectationFile,
    KernelsExpectFile,
    SysctlExpectationFile,
    WatchExpectFile,
)
from .format_base import ConditionFile
from .patterns import pattern_fault

NOT_A_VALUE = "no value can meet all of this"
_VALUE_TESTS = frozenset({"equals", "one_of", "at_least", "at_most", "matches"})
_TESTS = _VALUE_TESTS | {"is_default", "present"}
SysctlFiles = SysctlExpectationFile | list[SysctlExpectationFile]


class _Common(TypedDict):
    """The fields that every expectation has."""

    severity: Severity
    because: str
    fix: str
    tags: tuple[str, ...]
    when: Condition


def parse_condition(document: Document, file: ConditionFile, where: ValuePath) -> Condition:
    """Returns where an expectation applies.

    `where` is the path of the expectation. Empty names of groups are left out: a condition without
    groups is for every host. Raises `InputError` at a malformed comparison of a kernel release.
    """
    groups = [file.groups] if isinstance(file.groups, str) else file.groups
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
    """Returns the expectations of each sysctl, by its name with dots.

    Raises `InputError` for a name that is no sysctl under net, such as "kernel.ostype" or one with
    slashes, for an expectation that makes no sense, and for several of one sysctl that no value can
    meet together.
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
    """Raises `InputError` if `name` does not match `allowed`, the pattern of sysctls that are read.

    `where` is the path of the name, or with `key` of the entry whose key it is.
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
    """Returns one expectation of a sysctl; raises `InputError` if it makes no sense.

    Also of one expectation the value of `equals` must meet the other tests that stand with it.
    """
    _check_tests(document, file, where)
    expectation = SysctlExpectation(
        equals=_value_text(file.equals),
        one_of=_value_texts(file.one_of),
        at_least=file.at_least,
        at_most=file.at_most,
        matches=file.matches,
        is_default=bool(file.is_default),
        present=file.present,
        position=file.position,
        **_common(document, file, where),
    )
    whole = msgspec.structs.replace(expectation, position=None)
    if whole.equals is not None and not meets(whole.equals, whole):
        raise document.error(NOT_A_VALUE, where)
    return expectation


def _value_text(value: int | str | None) -> str | None:
    """Returns an expected value as the probe reports values; None if none is expected.

    A number in the playbook becomes text, "1" for 1: the values of sysctls are text.
    """
    if value is None:
        return None
    return normalize_spaces(str(value))


def _value_texts(values: Sequence[int | str] | None) -> tuple[str, ...] | None:
    """Returns several expected values as the probe reports values; None if none are expected."""
    if values is None:
        return None
    return tuple(normalize_spaces(str(value)) for value in values)


def _check_tests(document: Document, file: SysctlExpectationFile, where: ValuePath) -> None:
    """Raises `InputError` if the tests of an expectation do not fit together.

    At least one test must be set. `is_default: false` is refused, a position is only for tests of a
    word, `present: false` stands alone, and the pattern of `matches` must be safe to try.
    """
    tests = _set_tests(file)
    if file.is_default is False:
        raise document.error("only “is_default: true” is an expectation", (*where, "is_default"))
    if file.position is not None and not _test_a_word(tests):
        raise document.error(
            "a position is for equals, one_of, at_least, at_most and matches alone", where
        )
    if not tests:
        raise document.error(
            "no test; use equals, one_of, at_least, at_most, matches, is_default or present", where
        )
    if file.present is False and tests != {"present"}:
        raise document.error(NOT_A_VALUE, where)
    if fault := pattern_fault(file.matches or ""):
        raise document.error(f"matches: {fault}", (*where, "matches"))


def _set_tests(file: SysctlExpectationFile) -> set[str]:
    """Returns the names of the tests that an expectation has."""
    return {name for name, _ in _set_fields(file)} & _TESTS


def _test_a_word(tests: set[str]) -> bool:
    """Returns whether there are tests, and all are for one word of a value."""
    return bool(tests) and tests <= _VALUE_TESTS


def build_exposure_expectations(
    document: Document, file: ExposureExpectFile | WatchExpectFile, where: ValuePath
) -> dict[str, tuple[ExposureExpectation, ...]]:
    """Returns the expectations of numbers of production, by name.

    Raises `InputError` for one without a bound, and for one that no number can meet.
    """
    return {
        name: (_build_exposure_expectation(document, each, (*where, name)),)
        for name, each in _set_fields(file)
    }


def _build_exposure_expectation(
    document: Document, file: ExposureExpectationFile, where: ValuePath
) -> ExposureExpectation:
    """Returns one expectation of a number; raises `InputError` if none can meet it."""
    if file.at_least is None and file.at_most is None:
        raise document.error("no test; use at_most or at_least", where)
    expectation = ExposureExpectation(
        at_least=file.at_least, at_most=file.at_most, **_common(document, file, where)
    )
    if bounds_of(expectation).is_empty:
        raise document.error(NOT_A_VALUE, where)
    return expectation


def build_kernel_expectations(
    document: Document, file: KernelsExpectFile, where: ValuePath
) -> dict[str, tuple[Expectation, ...]]:
    """Returns the expectations of the fleet's kernels, by name.

    Raises `InputError` for one that is false: what is not expected is left out.
    """
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
