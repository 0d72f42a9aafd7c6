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
from .service import Service
from .target import KernelTarget, LocalTarget, SshTarget
from .watch import Watch


class HostPlan(Frozen, frozen=True, kw_only=True):
    """What one host is to do, and how it is reached.

    `target` is `NotAudited` if the inventory already shows that the host cannot be reached, and
    `NotSelected` if no play matches it. `origin` is file:line of the inventory. If `trials` is 0,
    nothing runs, and the probe only reports of each scenario whether it could run. `watch` is None,
    and `services` empty, unless a play asks for them.
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
    watch: Watch | None = None
    watch_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    services: tuple[Service, ...] = ()
    origin: str = ""

    @property
    def extra_s(self) -> float:
        """The seconds that the host may need beyond its deadline: to watch, and to ask services."""
        watched = self.watch.seconds if self.watch else 0.0
        return watched + sum(service.longest_s for service in self.services)


class Plan(Frozen, frozen=True, kw_only=True):
    """Every selected host exactly once, in inventory order.

    `lines` has the playbook and the line of each expectation, by id as in `Playbook`. `positions`
    has the position of each host in the whole plan, from 0, if this is a part of it; else it is ().
    """

    playbooks: tuple[str, ...]
    hosts: tuple[HostPlan, ...]
    lines: dict[str, tuple[str, int]] = {}
    positions: tuple[int, ...] = ()
