"""Expectations of sysctls, of production and of kernels, as a play says them, into rules; nonsense
is refused. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from fleetaudit.model import (
    Condition,
    Expectation,
    ExposureExpectation,
    Severity,
    SysctlExpectation,
)
from fleetaudit.text.yaml_lines import Document, ValuePath

from .expectation_tests import (
    are_disjoint,
    is_contradictory,
    meets,
    normalize_spaces,
    parse_comparisons,
    pattern_fault,
)
from .format import (
    ConditionFile,
    ExposureExpectationFile,
    ExposureExpectFile,
    KernelExpectationFile,
    KernelsExpectFile,
    SysctlExpectationFile,
)

NOT_A_VALUE = "no value can meet all of this"


class _Common(TypedDict):
    severity: Severity
    because: str
    fix: str
    tags: tuple[str, ...]
    when: Condition


def parse_condition(document: Document, file: ConditionFile, where: ValuePath) -> Condition:
    """Returns where an expectation applies; raises `InputError` for what is no comparison of a
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
    document: Document,
    files: Mapping[str, SysctlExpectationFile | list[SysctlExpectationFile]],
    where: ValuePath,
) -> dict[str, tuple[SysctlExpectation, ...]]:
    """Returns the rules of each sysctl; raises `InputError` where no value can meet all that is
    wanted of one.
    """
    rules = dict[str, tuple[SysctlExpectation, ...]]()
    for key, file in files.items():
        at = (*where, key)
        check_sysctl(document, key, at, r"net(\.[A-Za-z0-9_-]+)+", key=True)
        if isinstance(file, SysctlExpectationFile):
            rules[key] = (_sysctl_rule(document, file, at),)
        else:
            if not file:
                raise document.error("an empty list of rules", at)
            rules[key] = tuple(_sysctl_rule(document, one, (*at, n)) for n, one in enumerate(file))
        if is_contradictory(rules[key]):
            raise document.error(NOT_A_VALUE, at)
    return rules


def check_sysctl(
    document: Document, name: str, where: ValuePath, allowed: str, *, key: bool = False
) -> None:
    """Raises `InputError` where `name` is no sysctl that is read (`allowed` is the pattern of those
    that are).
    """
    if not re.fullmatch(allowed, name, re.ASCII):
        raise document.error(
            f"“{name}” is no sysctl that is read",
            where,
            key=key,
            hint="names begin with net. and are ASCII",
        )


def _sysctl_rule(
    document: Document, file: SysctlExpectationFile, where: ValuePath
) -> SysctlExpectation:
    equals = None if file.equals is None else normalize_spaces(str(file.equals))
    one_of = (
        None
        if file.one_of is None
        else tuple(normalize_spaces(str(value)) for value in file.one_of)
    )
    valued = any(t is not None for t in (equals, one_of, file.at_least, file.at_most, file.matches))
    if file.is_default is False:
        raise document.error("only “is_default: true” is an expectation", (*where, "is_default"))
    if file.position is not None and (not valued or file.is_default or file.present is not None):
        raise document.error(
            "a position is for equals, one_of, at_least, at_most and matches alone", where
        )
    if not (valued or file.is_default or file.present is not None):
        raise document.error(
            "no test; say equals, one_of, at_least, at_most, matches, is_default or present", where
        )
    if file.present is False and (valued or file.is_default):
        raise document.error(NOT_A_VALUE, where)
    if file.matches is not None and (fault := pattern_fault(file.matches)):
        raise document.error(f"matches: {fault}", (*where, "matches"))
    rule = SysctlExpectation(
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
    # One rule is held to more than several are: each of its candidates is one that was written
    # here.
    if equals is not None and not meets(equals, msgspec.structs.replace(rule, position=None)):
        raise document.error(NOT_A_VALUE, where)
    return rule


def build_exposure_expectations(
    document: Document, file: ExposureExpectFile, where: ValuePath
) -> dict[str, tuple[ExposureExpectation, ...]]:
    """Returns what is wanted of the numbers that production shows, by name."""
    rules = dict[str, tuple[ExposureExpectation, ...]]()
    for name, one in _given(file):
        at = (*where, name)
        if one.at_least is None and one.at_most is None:
            raise document.error("no test; say at_most or at_least", at)
        if one.at_least is not None and one.at_most is not None and one.at_least > one.at_most:
            raise document.error(NOT_A_VALUE, at)
        rules[name] = (
            ExposureExpectation(
                at_least=one.at_least, at_most=one.at_most, **_common(document, one, at)
            ),
        )
    return rules


def build_kernel_expectations(
    document: Document, file: KernelsExpectFile, where: ValuePath
) -> dict[str, tuple[Expectation, ...]]:
    """Returns what is wanted of the fleet's kernels, by name."""
    rules = dict[str, tuple[Expectation, ...]]()
    for name, one in _given(file):
        if one is False:
            raise document.error(
                "only “true”, or a mapping with its severity, is an expectation", (*where, name)
            )
        rules[name] = (
            Expectation(
                **_common(document, KernelExpectationFile() if one is True else one, (*where, name))
            ),
        )
    return rules


def _given(file: Any) -> list[tuple[str, Any]]:
    names: Sequence[str] = file.__struct_fields__
    return [(name, one) for name in names if (one := getattr(file, name)) is not None]


def _common(
    document: Document,
    file: SysctlExpectationFile | ExposureExpectationFile | KernelExpectationFile,
    where: ValuePath,
) -> _Common:
    return _Common(
        severity=file.severity,
        because=normalize_spaces(file.because),
        fix=file.fix.strip(),
        tags=tuple(file.tags),
        when=parse_condition(document, file.when, where),
    )


def find_contradiction(one: Any, other: Any) -> str:
    """Returns the first sysctl or number of which two plays, on one host, want what no value can
    meet; "" for none.
    """
    for key in one.sysctls_expect.keys() & other.sysctls_expect.keys():
        if is_contradictory((*one.sysctls_expect[key], *other.sysctls_expect[key])):
            return str(key)
    for name in one.exposure_expect.keys() & other.exposure_expect.keys():
        both = (*one.exposure_expect[name], *other.exposure_expect[name])
        if are_disjoint((rule.at_least, rule.at_most, rule.when) for rule in both):
            return str(name)
    return ""
