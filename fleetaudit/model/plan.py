"""The plan of each host of a run: its target, scenarios and expectations."""

from __future__ import annotations

from .base import Frozen
from .host_result import NotAudited, NotSelected
from .playbook import (
    Expectation,
    ExposureExpectation,
    Isolation,
    Scenario,
    SysctlExpectation,
)
from .target import KernelTarget, LocalTarget, SshTarget


class HostPlan(Frozen, frozen=True, kw_only=True):
    """What one host is to do, and how it is reached.

    `target` is `NotAudited` if the inventory already shows that the host cannot be reached, and
    `NotSelected` if no play matches it. `origin` is file:line of the inventory. If `trials` is 0,
    nothing runs, and the probe only reports of each scenario whether it could run.
    """

    name: str
    groups: tuple[str, ...]
    target: SshTarget | LocalTarget | KernelTarget | NotAudited | NotSelected
    scenarios: tuple[Scenario, ...]
    trials: int
    isolation: Isolation
    sysctls_collect: tuple[str, ...]
    sysctls_expect: dict[str, tuple[SysctlExpectation, ...]]
    exposure_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: dict[str, tuple[Expectation, ...]] = {}
    origin: str = ""


class Plan(Frozen, frozen=True, kw_only=True):
    """Every selected host exactly once, in inventory order.

    `lines` has the playbook and the line of each expectation, by id as in `Playbook`. `positions`
    has the position of each host in the whole plan, from 0, if this is a part of it; else it is ().
    """

    playbooks: tuple[str, ...]
    hosts: tuple[HostPlan, ...]
    lines: dict[str, tuple[str, int]] = {}
    positions: tuple[int, ...] = ()
